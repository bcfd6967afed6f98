"""The compiled passes of the networks: they agree with torch's, see what is not a number, and are
done without where they cannot be had.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from methods.parts.compiled import library as kept
from methods.parts.compiled.networks import ready
from methods.parts.networks.discriminator import Activation, Discriminator
from methods.parts.networks.heads import HeadedSampler
from methods.parts.networks.sampler import Sampler
from methods.parts.record import Recorded

needs_compiler = pytest.mark.skipif(kept.library() is None, reason="no C compiler, or no AVX-512")
NETWORKS = "methods.parts.networks"


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Look for the library as a new process would, with an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(kept.OFF, raising=False)

    def look() -> Any:
        kept.library.cache_clear()
        return kept.library()

    yield look
    monkeypatch.undo()
    look()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def by_both(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], tuple[Tensor, ...]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """What the compiled passes make of some work, and what torch does."""
    assert ready()
    compiled = work()
    for module in ("discriminator", "heads", "sampler"):
        monkeypatch.setattr(f"{NETWORKS}.{module}.ready", lambda *_: False)
    return zip(compiled, work(), strict=True)


@needs_compiler
@pytest.mark.parametrize("activation", ["silu", "leaky-relu"])
@pytest.mark.parametrize(
    ("inputs", "width", "blocks", "rows"),
    [(11, 64, 2, 512), (3, 17, 1, 386), (1, 8, 0, 2), (20, 33, 3, 30)],
)
def test_the_discriminators_passes_agree_with_torchs(
    inputs: int,
    width: int,
    blocks: int,
    rows: int,
    activation: Activation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    discriminator = Discriminator(inputs, width, blocks, activation)
    weights = discriminator.init(Generator().manual_seed(0))
    weights = weights + 0.1 * normal(*weights.shape)
    x, offset, shares = normal(rows, inputs), normal(rows, seed=1), normal(rows, seed=2).abs()

    def work() -> tuple[Tensor, ...]:
        taught = discriminator.loss_gradient(weights, x, offset, shares)
        return taught, *discriminator.judge(weights, x)

    for found, expected in by_both(monkeypatch, work):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(shares.sum()))


@needs_compiler
@pytest.mark.parametrize(
    ("sampler", "shape"),
    [
        (HeadedSampler(8, 10), (8, 64, 10)),
        (HeadedSampler(4, 2, (16, 7, 33)), (4, 300, 2)),
        (HeadedSampler(3, 5, (20,)), (3, 11, 5)),
        (Sampler(10, 10, (128, 128), skip=False), (500, 10)),
        (Sampler(3, 2, (8, 9, 7), skip=True), (77, 3)),
        (Sampler(1, 17, (4,), skip=True), (5, 1)),
    ],
)
def test_the_samplers_passes_agree_with_torchs(
    sampler: Sampler | HeadedSampler, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = sampler.init(Generator().manual_seed(0), 1.3)
    weights = weights + 0.1 * normal(*weights.shape)
    eps, direction = normal(*shape), normal(*shape[:-1], sampler.dim, seed=1)

    def work() -> tuple[Tensor, ...]:
        z, hidden = sampler.forward(weights, eps)
        return z, *hidden, sampler.gradient(weights, eps, hidden, direction)

    for found, expected in by_both(monkeypatch, work):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@needs_compiler
def test_a_recorded_pass_reads_the_tensors_of_its_own_call() -> None:
    discriminator = Discriminator(3, 16, 1)
    recorded = Recorded(discriminator.judge)
    weights = discriminator.init(Generator().manual_seed(0))
    for seed in range(3):
        x = normal(50, 3, seed=seed)
        for found, expected in zip(
            recorded(weights, x), discriminator.judge(weights, x), strict=True
        ):
            assert torch.equal(found, expected)
        weights = weights + 0.1


@needs_compiler
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    discriminator, sampler = Discriminator(3, 16, 1), Sampler(3, 2, (16,))
    generator = Generator().manual_seed(0)
    weights, x = discriminator.init(generator), normal(40, 3)
    x[7, 1] = bad
    shares = torch.full((40,), 1 / 40)
    assert not discriminator.loss_gradient(weights, x, torch.zeros(40), shares).isfinite().all()
    assert not discriminator.judge(weights, x)[0][7].isfinite()
    z, _ = sampler.forward(sampler.init(generator, 1.0), x)
    assert not z[7].isfinite().all()
    assert z[8:].isfinite().all()


@needs_compiler
def test_double_precision_and_autograd_are_left_to_torch() -> None:
    x = normal(4, 3)
    assert ready(x)
    assert not ready(x, x.double())
    assert not ready(x, x.clone().requires_grad_())
    with torch.no_grad():
        assert ready(x.clone().requires_grad_())


@needs_compiler
def test_the_library_is_built_once_and_kept(
    anew: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert anew() is not None
    assert [path.suffix for path in (tmp_path / "postbench").iterdir()] == [".so"]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert anew() is not None


def test_where_it_cannot_be_had_there_is_none_and_no_error(
    anew: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with monkeypatch.context() as patch:  # nowhere to keep it
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert anew() is None
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda _: None)
        assert anew() is None
    with monkeypatch.context() as patch:  # one that fails at everything
        patch.setattr(shutil, "which", lambda _: "/bin/false")
        assert anew() is None
    with monkeypatch.context() as patch:
        patch.setattr(kept, "WANTED", "instructions that no processor has")
        assert anew() is None
    with monkeypatch.context() as patch:
        patch.setenv(kept.OFF, "0")
        assert anew() is None
