"""What several problems share: quadrature, hierarchies, scales, validation, data, stored
references.
"""
