"""References with a certificate: posteriors known by two long, independent simulations that agree,
checked again in seconds.

``build.build`` makes one, ``verify.verify`` checks those that are stored, ``table.table`` lists
them, ``referenced.referenced`` has a problem judged by its own.
"""
