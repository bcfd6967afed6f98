"""Gaussians and their mixtures, and how they are fitted to a density."""
