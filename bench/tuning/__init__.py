"""Searches the settings of a method at an equal budget, and holds what it found against the
defaults on seeds that the search has not seen.
"""
