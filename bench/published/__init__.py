"""Results that ship with the suite, so that a method of one's own is seen among them without
running the others.
"""
