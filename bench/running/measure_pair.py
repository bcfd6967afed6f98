"""Measures a learned decoder and encoder on the test data of their generative model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.fitting import surroundings
from bench.fitting.fit import Checkpoint
from bench.fitting.resume import Measured
from bench.metrics.amortised.base import LEAST_DRAWS, Pair, PairMetric
from bench.processes.plain import worded
from bench.running.finite import DivergedError
from bench.running.matrix import Cell
from bench.running.measuring import Measuring, generator
from bench.running.shown_pair import Shown
from bench.store import kept_label
from bench.store.draws import DrawsFolder
from methods.amortised.base import Encoder, Learned
from problems.generative.base import Decoder, GenerativeModel

MOST_X = 1000  # test data that figures are taken on: of more, so many that are evenly spread
MOST_DRAWS = 1_000_000  # of z, of all test data together
KEPT = 4000  # draws of the aggregate posterior that are kept


class OfPair(Measuring[Learned, Pair, PairMetric]):
    """All that is measured of a learner on one generative model. Of ``cell.draws`` draws of each
    q(z | x) so many are taken that all of them together are at most a million.

    Args:
        cell, metrics, folder, tell: as of ``Measuring``.
        model: as built.
    """

    uncounted: ClassVar[frozenset[str]] = frozenset({"evaluations"})

    def __init__(
        self,
        cell: Cell,
        model: GenerativeModel,
        metrics: Sequence[PairMetric],
        folder: DrawsFolder,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(cell, metrics, folder, tell)
        self.model = model
        x = model.test.double()
        chosen = torch.linspace(0, len(x) - 1, min(len(x), MOST_X)).round().long()
        self.x = x[chosen].clone()
        self.shown = Shown(model, self.x, generator("pictures", cell).initial_seed())

    def compared(self, checkpoint: Checkpoint[Learned]) -> tuple[Pair, float]:
        learned = checkpoint.approximation
        _must_be_learned(learned)
        each = max(LEAST_DRAWS, min(self.cell.draws, MOST_DRAWS // len(self.x)))
        pair = Pair(
            *(self.model, learned.decoder.at_rest(), learned.encoder, self.x.clone()),
            *(generator("metric", self.cell).initial_seed(), each),
        )
        started = time.perf_counter()
        with torch.no_grad():
            z = pair.z
        sampling = time.perf_counter() - started
        _must_be_draws(z, (len(self.x), each, self.model.latent_dim))
        with torch.no_grad():
            likely = pair.log_likelihood
        if not bool(likely.isfinite().all()):
            bad = int((~likely.isfinite()).sum())
            raise DivergedError(f"{bad} of {likely.numel()} log p(x | z) are not finite.")
        self._pristine = z.clone()
        self._keep(checkpoint, pair)
        return pair, sampling * 1000 / z.shape[:2].numel()

    def go_on(self, before: Measured) -> None:
        """Take over what an earlier process has measured of the same cell."""
        self.remarks += before.remarks
        self.shown.go_on(before.arrays)

    def so_far(self, rows: list[dict[str, Any]]) -> Measured:
        """What has been measured, these rows among it, for a process that goes on from here."""
        return Measured(list(rows), list(self.remarks), self.shown.so_far())

    def figure(self, metric: PairMetric, comparison: Pair) -> Any:
        return metric.measure(comparison)

    def waits(self, metric: PairMetric | Exception) -> bool:
        assert self._comparison is not None
        return isinstance(metric, PairMetric) and metric.slow(self._comparison)

    def draws(self, comparison: Pair) -> int:
        return comparison.z.shape[:2].numel()

    def diagnosed(self, checkpoint: Checkpoint[Learned]) -> Any:
        return checkpoint.approximation.diagnostics

    def restored(self, comparison: Pair) -> tuple[Pair, str]:
        harmed = []
        if not torch.equal(comparison.x, self.x):
            harmed.append("x")
        if not torch.equal(comparison.z, self._pristine):
            harmed.append("z")
        if not harmed:
            return comparison, ""
        fresh = Pair(
            *(self.model, comparison.decoder, comparison.encoder, self.x.clone()),
            *(comparison.seed, comparison.draws),
        )
        return fresh, " and ".join(harmed)

    def _keep(self, checkpoint: Checkpoint[Learned], pair: Pair) -> None:
        """Keep draws and pictures; where that fails, the figures are worth as much without."""
        cell, labels = self.cell, [f"z{i + 1}" for i in range(self.model.latent_dim)]
        name = f"truth-{kept_label(cell.problem.name, cell.problem_settings)}"
        try:
            with surroundings.kept(), surroundings.deadline(self.most), torch.no_grad():
                more = self.shown.at(checkpoint, pair)
            of_each = -(-KEPT // len(self.x))
            draws = pair.z[:, :of_each].flatten(0, 1)[:KEPT]
            failed = self.folder.save(cell.key, draws.numpy(), labels, more=more)
            if not failed and (cell.seed == 0 or self.folder.found(name) is None):
                prior = torch.randn(
                    *draws.shape, generator=generator("truth", cell), dtype=torch.float64
                )
                failed = self.folder.save(name, prior.numpy(), labels)
        except (Exception, SystemExit, surroundings.DeadlineError) as error:
            failed = f"The draws could not be kept: {worded(error)}."
        if failed:
            self.remark(failed)


def _must_be_learned(learned: Any) -> None:
    kind = type(learned).__name__
    if not isinstance(learned, Learned):
        raise TypeError(f"run() yielded a {kind}; expected a methods.amortised.base.Learned.")
    for name, base in (("decoder", Decoder), ("encoder", Encoder)):
        part = getattr(learned, name)
        if not isinstance(part, base):
            raise TypeError(
                f"run() yielded a {kind} whose {name} is a {type(part).__name__}; expected a"
                f" {base.__module__}.{base.__name__}."
            )


def _must_be_draws(z: Any, shape: tuple[int, ...]) -> None:
    """Check draws [N, S, L] of an encoder.

    Raises:
        TypeError, ValueError: if they are something else.
        DivergedError: if they are not all finite.
    """
    if not isinstance(z, Tensor) or tuple(z.shape) != shape:
        seen = list(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise ValueError(
            f"encoder.sample(x, {shape[1]}) returned shape {seen} for {shape[0]} x; expected"
            f" {list(shape)}."
        )
    if z.dtype != torch.float64 or z.requires_grad or z.device.type != "cpu":
        raise ValueError(
            f"encoder.sample() returned {z.dtype} on {z.device}, requires_grad={z.requires_grad};"
            " expected torch.float64 on the CPU, without a gradient."
        )
    bad = int((~z.isfinite()).any(-1).sum())
    if bad:
        raise DivergedError(f"{bad} of {shape[0] * shape[1]} draws of q(z | x) are not finite.")
