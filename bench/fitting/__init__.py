"""Drives one method under a budget, on a density that is counted."""
