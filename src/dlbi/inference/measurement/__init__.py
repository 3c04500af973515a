"""What a movie tells before any fluorophore is sampled, from defective pixels to cumulants."""
