"""What each command of `postbench` does, once the words are parsed, and how it speaks to the
terminal.
"""
