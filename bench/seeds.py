"""The one way from words to random numbers: what a generator is for decides what it draws."""

from __future__ import annotations

import hashlib

from torch import Generator


def seed_of(*words: object) -> int:
    """A seed in [0, 2^56) that depends on every word and on their order."""
    text = "/".join(map(str, words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def generator_of(*words: object) -> Generator:
    """A generator of its own for each purpose, so that no figure depends on what else was drawn."""
    return Generator().manual_seed(seed_of(*words))
