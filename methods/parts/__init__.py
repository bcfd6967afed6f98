"""What several methods share: networks, contrasts, an optimiser, recording, diagnostics,
validation.
"""
