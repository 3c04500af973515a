"""Blinking kinetics from the cumulants of a movie: expectation, prior and posterior."""
