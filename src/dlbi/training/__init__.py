"""Training of the networks of `dlbi.learning`; needs PyTorch (extra `train`)."""
