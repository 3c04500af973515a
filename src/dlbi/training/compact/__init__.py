"""The compact network: reads temporal statistics and a deconvolution, trains on a CPU."""
