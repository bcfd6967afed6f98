"""Data with latent variables: what learners of amortised inference are given."""
