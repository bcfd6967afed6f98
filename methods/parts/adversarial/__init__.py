"""The game of Adversarial Variational Bayes: its players, rounds and contrasts."""
