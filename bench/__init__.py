"""The harness: run a matrix of problems, methods and seeds, measure each cell against the truth,
keep the results.
"""
