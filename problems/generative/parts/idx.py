"""Files in the IDX format, in which MNIST, Fashion-MNIST and their like are published.

A file is four bytes (0, 0, the type of an entry, the number of dimensions), the sizes as big-endian
words of 32 bits, and the entries. It may be compressed with gzip, whose checksum is then held
against the contents.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits, 1998.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

BYTES = 0x08  # the type of an entry that is an unsigned byte, the only one of image files
GZIPPED = b"\x1f\x8b"
SUMS = {"SHA256SUMS": "sha256", "MD5SUMS": "md5"}  # as sha256sum and md5sum write them


def read_idx(path: Path, dims: int) -> Tensor:
    """The entries of a file of unsigned bytes, [*sizes], uint8.

    Args:
        path: the file, compressed with gzip or not, whatever it is called.
        dims: how many dimensions it must have: 3 for images, 1 for labels.

    Raises:
        ValueError: if it is damaged, or no such file, with what is wrong.
    """
    raw = path.read_bytes()
    _hold_against_sums(path, raw)
    content = _unpacked(path, raw) if raw[:2] == GZIPPED else raw
    start = 4 + 4 * dims
    wanted = bytes([0, 0, BYTES, dims])
    if content[:4] != wanted:
        raise ValueError(
            f"{path} is no IDX file of unsigned bytes in {dims} dimension(s): it begins with"
            f" {content[:4].hex() or 'nothing'}, not {wanted.hex()}."
        )
    if len(content) < start:
        raise ValueError(f"{path} ends inside its header, after {len(content)} bytes of {start}.")
    sizes = struct.unpack(f">{dims}I", content[4:start])
    told, held = math.prod(sizes), len(content) - start
    if held != told:
        shape = " x ".join(map(str, sizes))
        raise ValueError(
            f"{path} {'is cut short' if held < told else 'has bytes too many'}: its header"
            f" announces {shape} = {told} entries, and {held} follow; fetch it again."
        )
    entries = torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8) if told else None
    return torch.zeros(sizes, dtype=torch.uint8) if entries is None else entries.reshape(sizes)


def _unpacked(path: Path, raw: bytes) -> bytes:
    try:
        return gzip.decompress(raw)
    except EOFError as error:
        raise ValueError(f"{path} is cut short: its gzip stream has no end; fetch it again.") from (
            error
        )
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); fetch it again.") from error


def _hold_against_sums(path: Path, raw: bytes) -> None:
    """Compare a file with the list of checksums beside it, where there is one that names it."""
    for name, algorithm in SUMS.items():
        if not (path.parent / name).is_file():
            continue
        for line in (path.parent / name).read_text(encoding="utf-8").splitlines():
            told, _, file = line.partition(" ")
            if file.strip().lstrip("*") != path.name:
                continue
            found = hashlib.new(algorithm, raw, usedforsecurity=False).hexdigest()
            if found != told.lower():
                raise ValueError(
                    f"{path} has the wrong checksum: {algorithm} {found}, and {name} says"
                    f" {told.lower()}; fetch it again, or correct {name}."
                )
