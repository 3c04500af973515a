"""From a movie to fluorophores: background, noise, deconvolution and the factorial HMM (paper 2.3)."""
