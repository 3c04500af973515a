"""Scores of a reconstruction: against a known truth, and against the movie it came from."""
