"""What every metric is worth: tried on pairs of q and p whose divergence is known."""
