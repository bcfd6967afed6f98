"""The house: imports run one way and in no circle, and the harness names no implementation."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from bench.plugins.built_in import BUILT_IN

ROOT = Path(__file__).parent.parent
ROOMS = ("problems", "methods", "bench", "reports")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}
# What stands on the same floor does not know each other; ``commands`` and ``cli`` are the roof.
FLOORS = (
    ("problems",),
    ("methods",),
    ("bench.errors",),
    ("bench.seeds", "bench.provenance", "bench.store"),
    ("bench.processes",),
    ("bench.plugins", "bench.fitting", "bench.metrics", "bench.outside"),
    ("bench.running", "bench.checks", "bench.calibration"),
    ("bench.reference", "bench.tuning", "bench.published"),
    ("reports",),
    ("bench.commands",),
    ("bench.cli",),
    ("bench.__main__",),
)
# The types that the harness knows, and the module that reads the references it writes.
CONTRACT = {"methods", "methods.base", "problems", "problems.base", "problems.parts.stored"}
CONTRACT |= {"methods.amortised.base", "problems.generative.base"}
CONTRACT |= {"methods.amortised.checkpoints"}
# Parts of samplers that references are made with; they implement no method by themselves.
FOR_REFERENCES = {f"methods.parts.sampling.{n}" for n in ("hmc", "adapt", "ladder", "learning")}
# Flows and mixtures, which density models of metrics are made of, too.
FOR_MODELS = {"methods.parts.networks.zuko_flow", "methods.parts.gaussians.mixtures"}
# What the evidence of a generative model is made of, and log p(x) bounded by.
FOR_PAIRS = {
    "methods.parts.sampling.annealed",
    "problems.generative.parts.latent_grid",
}
FOR_REPORTS = {"bench.store", "bench.errors"}
MOST_AT_ROOT = 8  # Python files of bench, so that a newcomer sees them all at a glance


def imported(path: Path) -> Iterator[str]:
    """Every module of the house that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            deeper = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in deeper]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ROOMS)


GRAPH = {name: set(imported(path)) - {name} for name, path in MODULES.items()}


def floor(module: str) -> tuple[int, str]:
    """The floor that a module stands on, and its room."""
    for level, rooms in enumerate(FLOORS):
        for room in rooms:
            if module == room or module.startswith(f"{room}."):
                return level, room
    raise LookupError(f"{module} stands in no room of the plan")


def names(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def test_no_two_files_import_each_other() -> None:
    try:
        list(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", [name for name in MODULES if name != "bench"])
def test_imports_go_down_the_stairs(module: str) -> None:
    level, room = floor(module)
    for name in GRAPH[module]:
        below, other = floor(name) if name != "bench" else (-1, "bench")
        assert other == room or below < level, f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in MODULES if names(name, "bench")])
def test_the_harness_names_no_implementation(module: str) -> None:
    known = CONTRACT | FOR_REFERENCES if names(module, "bench.reference") else CONTRACT
    known = known | FOR_MODELS if names(module, "bench.metrics.models") else known
    pairs = any(names(module, room) for room in ("bench.metrics.amortised", "bench.calibration"))
    known = known | FOR_PAIRS if pairs else known
    for name in GRAPH[module]:
        if name.split(".")[0] in ("methods", "problems"):
            assert name in known, f"{module} imports {name}; BUILT_IN names implementations"


@pytest.mark.parametrize("module", [name for name in MODULES if names(name, "reports")])
def test_pages_are_made_of_the_store_alone(module: str) -> None:
    for name in GRAPH[module]:
        assert name in FOR_REPORTS or names(name, "reports"), f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(FOR_REPORTS))
def test_the_store_needs_no_torch(module: str) -> None:
    source = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found = {alias.name for n in ast.walk(source) if isinstance(n, ast.Import) for alias in n.names}
    assert not {"torch", "pyro", "problems", "methods"} & {name.split(".")[0] for name in found}
    assert not any(names(name, room) for name in GRAPH[module] for room in ("problems", "methods"))


def test_the_root_of_the_harness_is_read_at_a_glance() -> None:
    found = sorted(path.name for path in (ROOT / "bench").glob("*.py"))
    assert len(found) <= MOST_AT_ROOT, f"{len(found)} files: {', '.join(found)}"


def test_every_name_that_ships_leads_to_a_file_of_the_house() -> None:
    for group in BUILT_IN.values():
        for name, reference in group.items():
            assert reference.partition(":")[0] in MODULES, f"{name} leads to {reference}"
