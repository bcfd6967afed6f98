"""Problems by trait: those that a problem declares, and those that dimension and truth tell.

A word of a matrix such as ``trait:multimodal`` stands for every problem of the suite and of
installed plugins that has it, its fields at their defaults.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.errors import PluginError, UserError, unknown
from bench.plugins import facts, registry
from bench.plugins.built_in import Entry
from bench.plugins.spec import Spec

MARK = "trait:"
PLANE, MANY = 2, 50  # dimensions of what is called planar, and from which on high-dimensional
# those that are not declared, with their meaning
TOLD = {
    "planar": f"it has {PLANE} dimensions",
    "high-dimensional": f"it has {MANY} dimensions or more",
    "exact-truth": "its truth is known from mathematics",
    "certified": "its truth is a certified reference",
}


def traits(entry: Entry) -> frozenset[str]:
    """All traits of a problem at the defaults of its fields; none where it has no such.

    Raises:
        PluginError: if it cannot be imported.
    """
    found = facts.shipped(entry.name) if entry.package == "postbench" else None
    if found is None:
        try:
            found = facts.worked_out(registry.load(entry)())
        except PluginError:
            raise
        except Exception:  # it wants fields, or is a first draft
            return frozenset()
    told = {
        "planar": found.dim == PLANE,
        "high-dimensional": found.dim >= MANY,
        "exact-truth": found.kind == facts.EXACT,
        "certified": found.kind == facts.REFERENCE,
    }
    return frozenset((*found.traits, *(trait for trait, has in told.items() if has)))


def known(problem: Spec) -> frozenset[str]:
    """The traits of a problem with its settings, told without making it."""
    if not problem.settings and facts.shipped(problem.entry.name) is not None:
        return traits(problem.entry)
    declared = getattr(registry.load(problem.entry), "traits", ())
    return frozenset(declared if isinstance(declared, tuple) else ())


def having(wanted: Iterable[str]) -> tuple[str, ...]:
    """The names of the problems that have all of some traits, in the order of the list.

    Raises:
        UserError: if there is no such trait, or no problem has them all.
    """
    asked = list(wanted)
    known = meanings()
    for trait in asked:
        if trait not in known:
            raise unknown("trait", trait, known, "")
    found = []
    for name, entry in registry.entries("problems")[0].items():
        try:
            if set(asked) <= traits(entry):
                found.append(name)
        except PluginError:  # `postbench list` says what is wrong with it
            continue
    if not found:
        raise UserError(f"No problem is {' and '.join(asked)}.")
    return tuple(found)


def meanings() -> dict[str, str]:
    """Every trait with what it means."""
    from problems.base import TRAITS

    return {**dict(TRAITS.items()), **TOLD}
