"""What a movie tells before any fluorophore is sampled: noise, background, PSF, cumulants."""
