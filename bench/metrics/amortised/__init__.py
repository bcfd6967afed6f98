"""Figures of a learned decoder and its encoder: averages over x, and of the aggregate of all."""
