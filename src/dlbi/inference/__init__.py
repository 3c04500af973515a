"""From a movie to fluorophores: background, noise, deconvolution, factorial HMM (paper 2.3)."""
