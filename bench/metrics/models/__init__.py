"""Density models and classifiers that metrics fit to draws."""
