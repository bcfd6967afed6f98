"""Learners: methods that learn q(z | x) for every x at once, and p(x | z) with it."""
