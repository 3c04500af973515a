"""The guided factorial hidden Markov model: one chain, sweeps over many, maps of the posterior."""
