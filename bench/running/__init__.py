"""From a matrix to cells, from cells to processes, and from what they report to the store."""
