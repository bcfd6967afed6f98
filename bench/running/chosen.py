"""Which metrics a matrix is measured by: those it names, or a few that say most."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import PluginError, UserError
from bench.plugins import registry, spec
from bench.plugins.built_in import AMORTISED, BUILT_IN, STANDARD, Group
from bench.plugins.spec import Spec
from bench.store import COSTS

ALL = "all"  # every metric there is, named as a metric


def chosen_metrics(
    named: Sequence[str] | None, group: Group = "metrics"
) -> tuple[tuple[Spec, ...], tuple[str, ...]]:
    """The metrics of a matrix, and why others were left out.

    Args:
        named: those that it names, ``all`` perhaps among them; None for ``STANDARD`` and those of
            installed plugins. Plugins that cannot be used are left out unless named.
        group: ``metrics``, or ``figures`` for those of generative models. Of the names those that
            are of the other group alone are passed over, and where none is left it is as if none
            were named.

    Raises:
        UserError: if a named one cannot be used; if two have one name, or one the name of a cost,
            so that their rows could not be told apart.
    """
    both: tuple[Group, ...] = ("metrics", AMORTISED["metrics"])
    found: dict[str, Spec] = {}
    for name in (name for name in named or () if name != ALL):
        if group in registry.find_any(both, spec.name_of(name)):
            _add(found, spec.parse(group, name))
    if not found and named is not None and ALL not in named:
        named = None
    reasons: list[str] = []
    if named is None or ALL in named:
        usable, refused = registry.entries(group)
        reasons += refused.values()
        taken = {chosen.entry.name for chosen in found.values()}
        for name in usable:
            if name in taken or (named is None and not _by_default(group, name)):
                continue
            try:
                _add(found, spec.parse(group, name))
            except UserError as error:
                reasons.append(str(error))
    return tuple(found.values()), tuple(reasons)


def _by_default(group: Group, name: str) -> bool:
    return name in STANDARD[group] or name not in BUILT_IN[group]


def _add(found: dict[str, Spec], metric: Spec) -> None:
    """Take a metric into the list under the name that its rows will have."""
    name = getattr(registry.load(metric.entry), "name", None)
    if not isinstance(name, str) or not name:
        raise PluginError(
            f"The metric {metric.entry.name!r} of {metric.entry.package} has no name; set"
            ' name: ClassVar[str] = "..." on the class.'
        )
    if name in COSTS:
        raise UserError(
            f"The metric {metric.entry.name!r} of {metric.entry.package} is named {name!r}, which"
            " is a cost that every cell has; give it another name."
        )
    if name in found:
        raise UserError(
            f"Two metrics are named {name!r}: {found[name].entry.name} of"
            f" {found[name].entry.package}, and {metric.entry.name} of {metric.entry.package}."
            " Their rows could not be told apart; name one of them once, in one matrix a time."
        )
    found[name] = metric
