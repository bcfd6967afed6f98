"""The conformance tests that any plugin can be held against: each a named sentence, a reason and a
verdict.
"""
