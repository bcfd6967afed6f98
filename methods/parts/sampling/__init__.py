"""What moves chains and particles, and how they adapt."""
