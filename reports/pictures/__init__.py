"""The pictures of a page: each method over the truth, and what its quality cost."""
