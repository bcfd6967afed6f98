"""What several generative models share: pictures, and the evidence over a latent plane."""
