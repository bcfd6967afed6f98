"""The `postbench` command. Imports the rest only when a command needs it, so that help is
instant.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from bench.errors import StoppedError, UserError

STOPPED = 130  # the exit status of what Ctrl-C has ended

ADDRESS = re.compile(r"local|\S+://\S+|\S+\.json|[\w.-]+:\d+")  # what --dask takes as its value

app = typer.Typer(
    name="postbench",
    help=(
        "How far is a posterior approximation from the truth, how sure are we, and what did it"
        " cost?\n\nStart with `postbench run`: Adversarial Variational Bayes, Gaussian VB and NUTS"
        " on three posteriors whose truth is known, in five to twelve minutes. `postbench list`"
        " shows what there is; `postbench new method NAME` begins a method of your own."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

Problems = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--problem",
        help="NAME[:field=value,...] or FILE.py:Class; repeat for more. Replaces the preset's.",
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--method",
        help="NAME[:field=value,...] or FILE.py:Class; repeat for more. Replaces the preset's.",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="Metric to measure; repeat for more. Default: a few that say most; all: every one.",
    ),
]
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)
]


class _Run(TyperCommand):
    """The command ``run``, whose ``--dask`` may stand without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        completed = []
        for word, following in itertools.zip_longest(args, args[1:], fillvalue=""):
            completed.append(word)
            if word == "--dask" and not ADDRESS.fullmatch(following):
                completed.append("local")
        return super().parse_args(ctx, completed)


@app.command(cls=_Run)
def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[PRESET | FILE.toml]",
            help="What to run; `postbench list presets` shows the presets.",
        ),
    ] = "quick",
    problem: Problems = None,
    method: Methods = None,
    metric: Metrics = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="How many seeds per problem and method, for all of them.", min=1),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Fitting time per cell; then figures depend on the machine."),
    ] = None,
    gradients: Annotated[int | None, typer.Option(help="Gradient evaluations per cell.")] = None,
    checkpoints: Annotated[
        int | None, typer.Option(help="Measure at that many log-spaced points of the budget.")
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            metavar="exact | reference", help="Judge by the exact truth, or by stored references."
        ),
    ] = None,
    tuned: Annotated[
        bool,
        typer.Option("--tuned", help="Every method at the settings that `postbench tune` found."),
    ] = False,
    draws: Annotated[int | None, typer.Option(help="Draws that the metrics compare.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Cells side by side; default: one per core. 0: in this process, for debugging.",
            min=0,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where results go; default: results/TITLE.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Run again the cells that did not end well.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="published | FILE",
            help="Run the methods of -m alone, on the published problems, and show them among the"
            " published rows.",
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="[tcp://HOST:PORT | FILE.json]",
            help="Run the cells on the Dask cluster of that scheduler; without an address, on one"
            " that is started here, with --jobs workers.",
        ),
    ] = None,
) -> None:
    """Run a matrix of problems, methods and seeds, measure each cell against the truth, and write
    the report.

    The same command again continues where it was stopped, and does nothing when all is done.

    Examples: `postbench run` · `postbench run smoke` ·
    `postbench run -p eight-schools -m avb:contrast=full -m pyro-nuts` ·
    `postbench run -p ring-2d -m mine.py:Mine -m exact` · `postbench run study.toml --out study` ·
    `postbench run -m mine.py:Mine --against published` ·
    `postbench run survey --dask tcp://10.0.0.1:8786`
    """
    from bench.commands.run import run_matrix

    budget = {"seconds": seconds, "gradients": gradients, "checkpoints": checkpoints}
    matrix = {
        "problems": problem,
        "methods": method,
        "metrics": metric,
        "seeds": seeds,
        "draws": draws,
        "truth": truth,
        "tuned": tuned or None,
    }
    rows = None
    if against is not None:
        from bench.commands.published import Against

        rows = Against(against, problem or [], method or [], source)
        matrix |= {"problems": None, "methods": None}
    if not run_matrix(source, {**matrix, "budget": budget}, jobs, out, retry, rows, dask):
        raise typer.Exit(1)


@app.command()
def published(
    source: Annotated[
        str, typer.Argument(metavar="[published | FILE]", help="A .parquet file of your own.")
    ] = "published",
    make: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Write such a file from the folder of a run instead; repeatable."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where --make writes; default: that of the suite."),
    ] = None,
) -> None:
    """List the results that ship with the suite: problems, methods, seeds, when and with which
    versions they were made; those are marked stale whose code has changed since.

    `postbench run -m mine.py:Mine --against published` shows a method among them.
    """
    from bench.commands.published import publish, show_published

    if not make:
        show_published(source)
    else:
        publish(make, to)


@app.command()
def tune(
    method: Annotated[
        str,
        typer.Argument(
            help="NAME[:field=value,...] or FILE.py:Class; fields that are given stay as they are.",
            show_default=False,
        ),
    ],
    problem: Problems = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "-f", "--field", help="A field to search; repeat for more. Default: all that can be."
        ),
    ] = None,
    gradients: Annotated[
        int | None, typer.Option(help="Gradient evaluations per cell; default: 100,000.", min=1)
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Settings to try, the defaults first; default: 30.", min=2)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Seeds per trial and problem; default: 2.", min=1)
    ] = None,
    fresh: Annotated[
        int | None,
        typer.Option(help="Seeds of the comparison with the defaults; default: 5.", min=2),
    ] = None,
    guard: Annotated[
        float | None, typer.Option(help="Seconds of fitting per cell at most; default: 300.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the search.", min=0)] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Cells side by side; default: one per core. 0: in this process.", min=0),
    ] = None,
) -> None:
    """Search a method's settings on problems, hold the best against the defaults on fresh seeds,
    and write it to tuned/METHOD.toml, which a matrix takes by `tuned = true`.

    Every trial has the same budget of gradients. Stopped halfway, the same command goes on where it
    was.
    """
    from bench.commands.tune import tune as conduct

    options = {
        "fields": tuple(field or ()),
        "gradients": gradients,
        "trials": trials,
        "seeds": seeds,
        "fresh": fresh,
        "guard": guard,
        "seed": seed,
    }
    conduct(method, problem or [], options, jobs)


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[problems | methods | metrics | models | learners | figures | presets]",
            help="Default: all. Models, learners and figures are those of amortised inference.",
        ),
    ] = "all",
    posteriordb: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="List the posteriors of a clone of posteriordb instead."),
    ] = None,
    trait: Annotated[
        list[str] | None,
        typer.Option(
            help="Problems that have it; repeat for those that have all. `any` lists the traits."
        ),
    ] = None,
) -> None:
    """List what can be run, from the suite and from installed plugins."""
    from bench.commands.show import print_list, print_posteriors, print_traits

    if posteriordb is not None:
        print_posteriors(posteriordb)
    elif trait:
        print_traits(trait)
    else:
        print_list(what)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="What `postbench list` shows, or FILE.py:Class.")],
    columns: Annotated[
        bool,
        typer.Option("--columns", help="Of a problem: the header of a file of draws, for judge."),
    ] = False,
) -> None:
    """Show one thing: prose, fields with their defaults, the truth where there is one, and where it
    comes from.
    """
    if columns:
        from bench.commands.judge import columns as names

        print(",".join(f'"{name}"' if "," in name else name for name in names(name)))
        return
    from bench.commands.show import print_one

    print_one(name)


@app.command()
def judge(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="CSV (CmdStan's too), .parquet, .npz or .nc; several files are chains.",
            show_default=False,
        ),
    ],
    problem: Annotated[
        str, typer.Option("-p", "--problem", help="Whose posterior the draws are of.")
    ],
    name: Annotated[str, typer.Option(help="What tables call the draws.")] = "draws",
    seconds: Annotated[float | None, typer.Option(help="What they cost, if you know.")] = None,
    gradients: Annotated[int | None, typer.Option(help="What they cost, if you know.")] = None,
    into: Annotated[
        Path, typer.Option(metavar="DIR", help="A run's folder, to file them beside its methods.")
    ] = Path("results/judged"),
    metric: Metrics = None,
    draws: Annotated[
        int | None,
        typer.Option(help="Draws that the metrics compare; default: all, 4,000 at most."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="File them as that seed, where a sampler ran several times.", min=0)
    ] = 0,
    unconstrained: Annotated[
        bool, typer.Option("--unconstrained", help="Columns are the problem's coordinates.")
    ] = False,
    spare_columns: Annotated[
        bool, typer.Option("--spare-columns", help="Pass over columns that no parameter has.")
    ] = False,
    group: Annotated[
        str,
        typer.Option(help="Of a netCDF file with several: the group whose `posterior` is meant."),
    ] = "",
) -> None:
    """Measure draws that another program made as any method is measured, and report on them.

    Columns are the parameters in the model's own units: `postbench show PROBLEM --columns` prints
    the header. `chain` and `draw` columns are heeded.

    Examples: `postbench judge chain1.csv chain2.csv -p eight-schools --name cmdstan` ·
    `postbench judge fit.nc -p eight-schools --name pymc --seconds 12 --into results/quick`
    """
    from bench.commands.judge import Request, judge_files

    request = Request(
        files=tuple(files),
        problem=problem,
        name=name,
        seconds=seconds,
        gradients=gradients,
        metrics=tuple(metric or ()),
        draws=draws,
        seed=seed,
        unconstrained=unconstrained,
        spare=spare_columns,
        group=group,
    )
    if not judge_files(request, into):
        raise typer.Exit(1)


@app.command()
def report(
    folder: Folder,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: DIR/report.html.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: DIR/report.md.")
    ] = None,
    problem: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--problem",
            help="A problem to draw, as the report calls it; repeat for more. Default: all.",
        ),
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The tables for a paper: booktabs, every figure with its interval."
        ),
    ] = None,
    pdf: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The page as Chromium prints it; needs postbench[browser]."
        ),
    ] = None,
) -> None:
    """Write the comparison report of a run, as one self-contained HTML file and as Markdown; or its
    tables in LaTeX, or the page as PDF.
    """
    if pdf is None or any((html, markdown, latex)):
        from bench.commands.report import write_report

        write_report(folder, html, markdown, problem or [], latex)
    if pdf is not None:
        from bench.commands.pdf import write_pdf

        write_pdf(folder, pdf, problem or [])


@app.command()
def compare(
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="The folder of a run.", show_default=False)
    ],
    new: Annotated[
        Path,
        typer.Argument(
            metavar="NEW", help="The folder of the run to hold against it.", show_default=False
        ),
    ],
    fail_if_worse: Annotated[
        str | None,
        typer.Option(
            metavar="5%",
            help=(
                "A gate: exit status 1 if any metric is worse by more than that, 3 if that cannot"
                " be told. Costs take part where --metric names them."
            ),
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Metric or cost to compare; repeat for more. Default: all."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="A method under another name in the new run: avb=avb:steps=2; repeat for more.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The same text.")] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same for programs.")
    ] = None,
) -> None:
    """Compare two runs: what is better, worse or the same, by how much, and how sure that is."""
    from bench.commands.compare import compare_runs

    pages = {"html": html, "markdown": markdown, "json": json}
    status = compare_runs((old, new), fail_if_worse, metric or [], names or [], pages)
    if status:
        raise typer.Exit(status)


@app.command()
def power(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="The folder of a run that is the pilot. Default: one is run.",
            show_default=False,
        ),
    ] = None,
    problem: Annotated[
        list[str] | None,
        typer.Option("-p", "--problem", help="Repeat for more. Default: all of the run."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("-m", "--method", help="The two methods to tell apart: -m A -m B."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Default: the divergence of each problem.")
    ] = None,
    difference: Annotated[
        str, typer.Option(metavar="SHARE", help="To be shown, of the figure of the first method.")
    ] = "10%",
    chance: Annotated[
        str, typer.Option(metavar="SHARE", help="Of showing a difference that is there.")
    ] = "80%",
    seeds: Annotated[
        int | None, typer.Option(help="Of a pilot that is run; default: 5.", min=2)
    ] = None,
    gradients: Annotated[
        int | None, typer.Option(help="Gradient evaluations per cell of the pilot.")
    ] = None,
    draws: Annotated[int | None, typer.Option(help="Draws that its metrics compare.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Its cells side by side; default: one per core. 0: here.", min=0),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it goes; default: results/pilot.")
    ] = None,
) -> None:
    """Say how many seeds and draws show a given difference of two methods, from a pilot run: that
    of a folder, or one that is run now.

    Examples: `postbench power -p eight-schools -m laplace -m gaussian-vb` ·
    `postbench power results/quick -m avb -m gaussian-vb --difference 5%`
    """
    from bench.commands.power import Pilot, show_power

    pilot = Pilot(seeds, gradients, draws, jobs, out)
    show_power(folder, problem or [], method or [], metric, difference, chance, pilot)


@app.command()
def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of runs.", show_default=False)
    ],
    into: Annotated[
        Path, typer.Option(metavar="DIR", help="Where they become one.", show_default=False)
    ],
) -> None:
    """Merge runs of several machines into one: cells, draws and logs; a cell that has different
    figures in two of them is named, and nothing is written.
    """
    from bench.commands.merge import merge_runs

    merge_runs(folders, into)


@app.command()
def export(
    folder: Folder,
    to: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="FILE.csv or FILE.parquet: rows; FILE.nc: draws, for ArviZ.",
            show_default=False,
        ),
    ],
) -> None:
    """Write the tidy rows of a run, one per cell, checkpoint and metric; or, to FILE.nc, the draws
    of every cell and of the truth.
    """
    from bench.commands.export import export_run

    export_run(folder, to)


@app.command()
def check(
    name: Annotated[
        list[str],
        typer.Argument(
            metavar="[KIND] NAME",
            help="NAME[:field=value,...], FILE.py:Class, or a problem's FILE.stan:data=FILE.json."
            " KIND is method, problem, metric, learner, model or figure: which, where two have one"
            " name.",
            show_default=False,
        ),
    ],
    same_as: Annotated[
        str | None,
        typer.Option(
            metavar="PROBLEM",
            help="Another problem: is it the same posterior, in the same coordinates?",
        ),
    ] = None,
) -> None:
    """Hold a method, a problem or a metric, or what amortised inference has in their place, against
    the contract, and print each check with pass or fail, and why.

    With `--same-as`, hold two problems against each other: by gradient, and whether their log
    densities differ by one constant.
    """
    from bench.commands.check import check_one, check_same, named

    group, subject = named(name)
    if not (check_one(subject, group) if same_as is None else check_same(subject, same_as)):
        raise typer.Exit(1)


@app.command()
def new(
    kind: Annotated[
        str,
        typer.Argument(metavar="method | problem | metric | learner | model", show_default=False),
    ],
    name: Annotated[str, typer.Argument(help="Its name, such as my-method.", show_default=False)],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where to write it.")] = Path(),
) -> None:
    """Write a small working plugin to start from; it passes `postbench check` as it is."""
    from bench.commands.new import write_plugin

    write_plugin(kind, name, folder)


@app.command()
def calibrate(
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Where trials are kept as they end, and the page is written."
        ),
    ] = Path("results/calibration"),
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=(
                "A page with the two calibration marks, such as docs/calibration.md: the table goes"
                " between them too."
            ),
        ),
    ] = None,
    dim: Annotated[
        list[int] | None,
        typer.Option(help="Dimension of the pairs; repeat for more. Default: 2, 5, 10, 30."),
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(help="Number of draws; repeat for more. Default: 1,000, 10,000 and 100,000."),
    ] = None,
    cheap: Annotated[
        int, typer.Option(help="Repetitions of estimators that are cheap.", min=2)
    ] = 100,
    costly: Annotated[
        int, typer.Option(help="Repetitions of estimators that fit a model.", min=2)
    ] = 20,
    jobs: Annotated[
        int | None, typer.Option(help="Processes; default: one per core.", min=1)
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A pair by its name, as in 't, nu = 1.5'; repeat for more. Default: all.",
        ),
    ] = None,
) -> None:
    """Measure the metrics: bias, spread and coverage of each on pairs where what it should read is
    known.

    Stopped halfway, the same command goes on where it was; a change to the code of metrics or pairs
    starts anew.
    """
    from bench.calibration.calibrate import Repetitions
    from bench.commands.calibrate import write_calibration

    write_calibration(
        out, into, dim or [], size or [], Repetitions(cheap, costly), jobs, pair or []
    )


references = typer.Typer(
    help="Posteriors known by long, certified simulation: build, verify and list them.",
    no_args_is_help=True,
)
app.add_typer(references, name="reference")
Place = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where references are; default: ./references, then those that ship with the suite.",
    ),
]


@references.command("build")
def reference_build(
    name: Annotated[
        str,
        typer.Argument(
            help="A problem: NAME[:field=value,...] or FILE.py:Class.", show_default=False
        ),
    ],
    seed: Annotated[int, typer.Option(help="What all randomness derives from.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to store it; default: ./references.")
    ] = None,
) -> None:
    """Simulate a posterior by two independent routes, hold the result against the limits, and store
    it if it keeps to all.
    """
    from bench.commands.reference import build_reference

    build_reference(name, seed, out)


@references.command("verify")
def reference_verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Problems; default: every stored reference.", show_default=False),
    ] = None,
    folder: Place = None,
) -> None:
    """Check stored references again, in seconds: hashes, shapes, moments against the certificate,
    Stein identities.
    """
    from bench.commands.reference import verify_references

    if not verify_references(names or [], folder):
        raise typer.Exit(1)


@references.command("list")
def reference_list(folder: Place = None) -> None:
    """Show the stored references and the figures of their certificates."""
    from bench.commands.reference import list_references

    list_references(folder)


def _version(wanted: bool) -> None:
    if wanted:
        from bench.provenance import version

        typer.echo(f"postbench {version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Hold the options that come before a command."""


def main() -> None:
    """Run the command; a user's mistake ends in one sentence and exit status 2, Ctrl-C in 130."""
    _prepare()
    try:
        app()
    except UserError as error:
        _say(f"postbench: {error}")
        sys.exit(2)
    except StoppedError as error:
        _say(str(error))
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        _say("Stopped.")
        sys.exit(STOPPED)
    except OSError as error:  # a disk or an output that is full, a folder that went away
        _say(f"postbench: {error.filename or 'output'}: {error.strerror or error}.")
        _drop_output()
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == STOPPED:  # typer's end of a Ctrl-C that no command caught
            _say("Stopped.")
        raise


def _prepare() -> None:
    """Let the output take every letter, a second Ctrl-C not disturb the clean-up after the first,
    and sockets find room for their names.
    """
    from bench.commands import plainly

    plainly.take_any_text()
    plainly.stop_once()
    plainly.shorten_temporary_folder()


def _drop_output() -> None:
    """Forget what standard output still holds: where it could not be written it would be said
    again at the end.
    """
    from bench.commands import plainly

    plainly.drop(sys.stdout)


def _say(sentence: str) -> None:
    """Print to standard error; where that is closed there is nobody to tell."""
    with contextlib.suppress(OSError):
        typer.secho(sentence, err=True, fg="red")


if __name__ == "__main__":
    main()
