"""Draws that other programs made, read from their files and brought to a problem's coordinates; and
draws of a run, written for them.
"""
