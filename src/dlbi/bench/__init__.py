"""The paper's experiments on data that can be made here or are given: what ``dlbi bench`` runs."""
