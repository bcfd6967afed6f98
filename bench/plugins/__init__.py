"""From a name, with its fields, to a problem, a method or a metric: of the suite, of a package, or
of a file.
"""
