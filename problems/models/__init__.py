"""Posteriors that others wrote: Pyro models as problems."""
