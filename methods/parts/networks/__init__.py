"""Networks, and what they make of noise: samplers, discriminators and flows."""
