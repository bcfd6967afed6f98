"""What is to be inferred: posteriors whose truth is known."""
