"""The whole state of a learner, kept so that a run which was killed goes on from it with the same
figures as an undisturbed one, to the last digit.

A learner asks for ``checkpoints_of(model)``: whoever runs it may have given the training data an
attribute ``checkpoints``, and where there is none nothing is kept. What a learner's state is made
of: weights, optimisers, the generator (and with it the position in the data, since a batch is drawn
by it alone), the number of iterations behind it.

    data.checkpoints = FileCheckpoints(folder / "learner.npz", seconds=60)
    for learned in learner.run(data, budget, generator):
        ...

Where a file is there, ``run`` goes on from it: it charges the gradients that were spent, yields the
pair of that state again, and then what an undisturbed run would have yielded. A file holds arrays
and text, no code: numpy's .npz, read with ``allow_pickle=False``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor

TEXT = "text"  # the entry of a file that holds what is no tensor, as JSON


@dataclass(frozen=True, eq=False)
class State:
    """What a learner needs to go on.

    Args:
        tensors: by name; on any device, and not changed after they were put in here.
        facts: numbers and text by name, among them ``of``: which learner, with which settings, for
            how many iterations. A state is given back to the same alone.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str | int | float]


class Checkpoints:
    """Where states are kept; this one keeps none."""

    def due(self) -> bool:
        """Whether it is time to save: a state costs more than a step."""
        return False

    def save(self, state: State) -> None:
        """Keep a state in the place of the one before."""

    def last(self) -> State | None:
        """The state that was kept last; None where there is none."""
        return None


class FileCheckpoints(Checkpoints):
    """One file, which is replaced as a whole: a kill while it is written leaves the one before.

    Args:
        path: of the file, an .npz; its folder is made where it is not there.
        seconds: between two of them, at least; 0 for every one that a learner offers.

    Raises:
        ValueError: if the seconds are negative or not finite; from ``last``, if the file cannot be
            read.
    """

    def __init__(self, path: Path, seconds: float = 60.0) -> None:
        if not 0 <= seconds < math.inf:
            raise ValueError(f"FileCheckpoints(seconds=...) must be 0 or more, got {seconds}.")
        self.path, self.seconds = path, seconds
        self._since = monotonic()

    def due(self) -> bool:
        return monotonic() - self._since >= self.seconds

    def save(self, state: State) -> None:
        arrays: dict[str, Any] = {
            f"tensor {name}": tensor.detach().cpu().numpy()
            for name, tensor in state.tensors.items()
        }
        arrays[TEXT] = np.array(json.dumps(dict(state.facts), sort_keys=True))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            with half.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            half.replace(self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                half.unlink()
        self._since = monotonic()

    def last(self) -> State | None:
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                facts = json.loads(str(archive[TEXT]))
                tensors = {
                    name.removeprefix("tensor "): torch.from_numpy(archive[name])
                    for name in archive.files
                    if name != TEXT
                }
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self.path} holds no state of a learner ({error}); delete it to begin anew."
            ) from error
        return State(tensors, facts)


NOWHERE = Checkpoints()


def checkpoints_of(model: object) -> Checkpoints:
    """Where the state of a learner of these training data is to be kept."""
    found: Checkpoints = getattr(model, "checkpoints", NOWHERE)
    return found
