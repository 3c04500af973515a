"""The network of the paper and its adversarial training (section 2.2)."""
