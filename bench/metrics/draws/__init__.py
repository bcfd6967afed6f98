"""What metrics ask of draws: fitness, order in chains, coordinates, averages with their errors."""
