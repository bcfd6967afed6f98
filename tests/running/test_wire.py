"""What comes out of a cell's pipe is a message, or is refused; it never waits and never runs."""

from __future__ import annotations

import json
import pickle

import pytest

from bench.processes.plain import NotPlainError, count, figures, number, text, worded
from bench.processes.wire import JunkError, Reader, encode
from bench.running.events import Doing, Ended, Event, Measured, packed, unpacked
from bench.store import Row

ROW = Row(0, True, 1.5, 10, 20, 100, "mmd", 0.25, 0.01, "exact", "ok", "a note")
EVENTS = [Doing("fitting"), Measured((ROW,)), Ended("partial", "why", {"rhat": 1.0})]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_crosses_as_it_is_in_pieces_of_any_size(event: Event) -> None:
    data, reader = encode(packed(event)) * 3, Reader()
    found = [each for i in range(len(data)) for each in reader.feed(data[i : i + 1])]
    assert [unpacked(each) for each in found] == [event] * 3
    assert not reader.midway


JUNK = {
    "text": b"no message at all",
    "an empty message": b"\0\0\0\0",
    "a length past all messages": b"\xff\xff\xff\xff",
    "a pickle": b"\0\0\0\x10" + pickle.dumps(JunkError)[:16].ljust(16, b"."),
    "a list": b"\0\0\0\x02[]",
    "no UTF-8": b"\0\0\0\x02\xff\xff",
    "brackets without end": b"\0\1\0\0" + b"[" * 2**16,
    "a number past all limits": b"\0\0\x20\0" + b'{"doing":' + b"1" * (2**13 - 10) + b"}",
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_refused(name: str) -> None:
    with pytest.raises(JunkError, match="is no message"):
        list(Reader().feed(JUNK[name]))


FORGED: dict[str, dict[str, object]] = {
    "no event": {"hello": 1},
    "no status": {"ended": {"status": "fine", "reason": "", "diagnostics": {}}},
    "no text": {"doing": 3},
    "rows that are none": {"rows": 3},
    "a row without fields": {"rows": [{}]},
    "a count past SQLite": {"rows": [{**vars(ROW), "gradients": 2**63}]},
    "a count below zero": {"rows": [{**vars(ROW), "draws": -1}]},
    "a figure that is text": {"rows": [{**vars(ROW), "value": "1"}]},
    "a diagnostic that is text": {"ended": {**vars(EVENTS[2]), "diagnostics": {"a": "b"}}},
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_event_is_refused(name: str) -> None:
    with pytest.raises(JunkError, match="is no event"):
        unpacked(json.loads(json.dumps(FORGED[name])))


def test_a_surrogate_that_was_forged_is_made_plain() -> None:
    assert unpacked(json.loads('{"doing": "a\\udc80b"}')) == Doing("a\\udc80b")


def test_texts_are_plain_and_not_too_long() -> None:
    assert text("a\udc80b") == "a\\udc80b"
    cut = text("x" * 10_000)
    assert len(cut) == 2000
    assert cut.endswith("... (10,000 letters in all)")
    assert text(cut) == cut
    assert worded(ValueError("no")) == "ValueError: no"


@pytest.mark.parametrize(
    "value", [None, "1", True, [1.0], 10**400, 1j, object()], ids=lambda value: type(value).__name__
)
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(NotPlainError, match="is not a number"):
        number(value)


@pytest.mark.parametrize("value", [2**63 + 2**12, 0.5, float("inf"), float("nan")])
def test_what_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(NotPlainError, match="whole number"):
        count(value)


def test_figures_keep_what_they_can() -> None:
    found, left_out = figures({1: 2, "1": 3, ("a",): 0.5, "b": "c"})
    assert found == {"1": 2.0, "('a',)": 0.5}
    assert len(left_out) == 2
