"""The network as users run it: what it sees of a movie, the passes, calibrated uncertainty."""
