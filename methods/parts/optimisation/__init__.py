"""Where a descent begins, how it steps and when it ends."""
