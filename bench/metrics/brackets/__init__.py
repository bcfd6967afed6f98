"""KL(q||p) of a map without a density, between a bound from below and a bound from above."""
