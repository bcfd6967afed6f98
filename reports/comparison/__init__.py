"""Two runs held against each other: what became better, worse, or stayed the same."""
