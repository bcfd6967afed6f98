"""Learners that are killed and go on from their last state, to the last digit."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.amortised.base import Learned, Learner
from methods.amortised.checkpoints import Checkpoints, FileCheckpoints, State, checkpoints_of
from methods.base import Budget
from problems.generative.base import GenerativeModel
from problems.generative.digits import Digits
from problems.generative.four_points import FourPoints
from tests.methods.test_learners import Seen, learner


@dataclass
class Keeping(Seen):
    """Training data with a place for a learner's state."""

    checkpoints: Checkpoints = field(default_factory=Checkpoints)


def figures(learned: Learned, model: GenerativeModel) -> list[Tensor]:
    """The decoder's weights, and draws of the encoder."""
    z = learned.encoder.sample(model.test[:2], 3, torch.Generator().manual_seed(0))
    return [*learned.decoder.state_dict().values(), z]


def run(found: Learner, data: Seen, seed: int = 0) -> Any:
    return found.run(data, Budget(), torch.Generator().manual_seed(seed))


def same(one: Learned, other: Learned, model: GenerativeModel) -> bool:
    pairs = zip(figures(one, model), figures(other, model), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["vae", "vae-flow", "iwae", "avb", "avb-contrast", "avb-parts"])
def test_a_learner_that_was_killed_goes_on_to_the_figures_of_an_undisturbed_one(
    name: str, tmp_path: Path
) -> None:
    """Digits are binarised anew at every read: there the position in the data counts."""
    model = Digits(latent=2, hidden=(8,))
    found: Any = replace(learner(name, 12), every=3)  # type: ignore[type-var]
    alone = Seen(model)
    undisturbed = list(run(found, alone))

    file = FileCheckpoints(tmp_path / "run" / "state.npz", 0)
    killed = list(itertools.islice(run(found, Keeping(model, checkpoints=file)), 3))
    again = Keeping(model, checkpoints=FileCheckpoints(file.path, 0))
    rest = list(run(found, again))

    assert len(undisturbed) == 5  # after 1, 3, 6, 9 and 12 iterations
    assert len(rest) == 3  # the last of those that were yielded before comes again
    assert all(same(a, b, model) for a, b in zip(killed, undisturbed[:3], strict=True))
    assert all(same(a, b, model) for a, b in zip(rest, undisturbed[2:], strict=True))
    assert not same(undisturbed[3], undisturbed[4], model)
    assert again.rows == alone.rows


def test_a_run_that_had_ended_yields_its_last_pair_once_more(tmp_path: Path) -> None:
    model, found = FourPoints(hidden=(8,)), learner("vae", 5)
    file = FileCheckpoints(tmp_path / "state.npz", 0)
    ended = list(run(found, Keeping(model, checkpoints=file)))
    once_more = list(run(found, Keeping(model, checkpoints=file)))
    assert len(once_more) == 1
    assert same(once_more[0], ended[-1], model)


def test_a_state_is_given_back_to_the_same_learner_and_seed_alone(tmp_path: Path) -> None:
    model = FourPoints(hidden=(8,))
    file = FileCheckpoints(tmp_path / "state.npz", 0)
    list(run(learner("vae", 2), Keeping(model, checkpoints=file)))
    for found, seed in ((learner("vae", 3), 0), (learner("vae", 2), 1)):
        with pytest.raises(ValueError, match="begin anew"):
            list(run(found, Keeping(model, checkpoints=file), seed))
    with pytest.raises(ValueError, match="other weights than these networks"):
        list(run(learner("vae", 2), Keeping(FourPoints(hidden=(9,)), checkpoints=file)))


def test_states_are_kept_so_many_seconds_apart_and_by_default_nowhere(tmp_path: Path) -> None:
    model, found = FourPoints(hidden=(8,)), learner("vae", 2)
    hourly = FileCheckpoints(tmp_path / "state.npz", 3600)
    list(run(found, Keeping(model, checkpoints=hourly)))
    assert not hourly.path.exists()
    assert checkpoints_of(Seen(model)).last() is None
    with pytest.raises(ValueError, match=r"FileCheckpoints\(seconds="):
        FileCheckpoints(hourly.path, -1)


def test_a_file_that_is_no_state_is_refused_and_a_kill_while_writing_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = FileCheckpoints(tmp_path / "state.npz")
    file.save(State({"a": torch.arange(3)}, {"of": "x", "iterations": 1}))

    def torn(target: Any, **arrays: Any) -> None:
        target.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", torn)
        with pytest.raises(KeyboardInterrupt):
            file.save(State({}, {}))
    kept = file.last()
    assert kept is not None
    assert kept.facts == {"of": "x", "iterations": 1}
    assert torch.equal(kept.tensors["a"], torch.arange(3))
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    whole = file.path.read_bytes()
    for bad in (b"", b"half", whole[: len(whole) // 2]):
        file.path.write_bytes(bad)
        with pytest.raises(ValueError, match="delete it to begin anew"):
            file.last()


def test_a_file_that_holds_code_is_refused_unread(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    path = tmp_path / "state.npz"
    trapped: Any = np.array([Trap()], dtype=object)
    np.savez(path, text=np.array(json.dumps({})), **{"tensor a": trapped}, allow_pickle=True)
    with pytest.raises(ValueError, match="holds no state"):
        FileCheckpoints(path).last()
    assert not (tmp_path / "sprung").exists()
