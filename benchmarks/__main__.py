"""`python -m benchmarks core`, `hooks`, `resume`, `load` and `python -m benchmarks profile W2`."""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import anyio
import click

from benchmarks import hooks
from benchmarks.load import table, time_failing, time_large
from benchmarks.measure import BACKENDS, Backend, Kind, Measured, measure
from benchmarks.profiling import profile
from benchmarks.report import document, fail_status, machine, tables, to_stderr
from benchmarks.resume import measure_resume
from benchmarks.workloads import NAMES, Name, workload

_COUNT = click.option("--count", default=1000, show_default=True, help="Tasks of W1 to W3, runs of W4.")
_FOLDER = click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the databases lie while it runs: on the disk that is meant. [default: the system's temporary folder]",
)


@click.group()
def main() -> None:
    """Measure what actorflow costs."""


@main.command()
@click.option("--backend", type=click.Choice([*BACKENDS, "both"]), default="both", show_default=True)
@click.option(
    "--workload", "names", type=click.Choice(NAMES), multiple=True, help="Repeatable. [default: all]"
)
@click.option("--rounds", default=15, show_default=True, help="Turns of each contestant.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON document.")
@_COUNT
@_FOLDER
def core(  # noqa: PLR0917 - click passes them by name
    backend: str, names: tuple[Name, ...], rounds: int, is_json: bool, count: int, folder: Path | None
) -> None:
    """Compare actorflow with a bare coordinator and with bare tasks; status 1 if a target is missed."""
    backends: list[Backend] = [one for one in BACKENDS if backend in (one, "both")]
    with tempfile.TemporaryDirectory(prefix="actorflow-benchmark-", dir=folder) as temporary:
        facts = machine(Path(temporary))
        results: list[Measured] = []
        for name in names or NAMES:
            for each in backends:
                to_stderr(f"{name} on {each} …")
                results.append(_measured(name, each, count, rounds, Path(temporary)))
    print(json.dumps(document(results, facts), indent=1) if is_json else tables(results, facts))
    sys.exit(fail_status(results))


@main.command("resume")
@click.option("--backend", type=click.Choice(BACKENDS), default="asyncio", show_default=True)
@click.option(
    "--count", default=100_000, show_default=True, help="Tasks that were recorded before the crash."
)
@click.option("--rounds", default=3, show_default=True)
@_FOLDER
def resume_command(backend: Backend, count: int, rounds: int, folder: Path | None) -> None:
    """Resume a large run from its last checkpoint, and from its first event."""
    with tempfile.TemporaryDirectory(prefix="actorflow-benchmark-", dir=folder) as temporary:
        print(anyio.run(measure_resume, count, rounds, Path(temporary), backend=backend))


@main.command("hooks")
@click.option("--backend", type=click.Choice([*BACKENDS, "both"]), default="both", show_default=True)
@click.option("--rounds", default=7, show_default=True, help="Pairs of runs.")
@_COUNT
@_FOLDER
def hooks_command(backend: str, rounds: int, count: int, folder: Path | None) -> None:
    """What async and blocking hooks cost; status 1 if a target is missed."""
    is_met = True
    with tempfile.TemporaryDirectory(prefix="actorflow-benchmark-", dir=folder) as temporary:
        print(hooks.facts(Path(temporary)))
        for each in [one for one in BACKENDS if backend in (one, "both")]:
            own = Path(temporary, each)
            for name in ("no-op", "work"):
                (own / name).mkdir(parents=True)
            lines, has_met = anyio.run(hooks.report, count, rounds, own, each, backend=each)
            print(lines)
            is_met = is_met and has_met
    sys.exit(0 if is_met else 1)


@main.command("load")
@click.option("--count", default=1000, show_default=True, help="Tasks of the large file.")
@click.option("--rounds", default=7, show_default=True)
def load_command(count: int, rounds: int) -> None:
    """Time the checking of a large workflow file, beside a plain YAML loader, and the refusal of hostile ones."""
    print(table(time_large(count, rounds), time_failing(rounds), count))


@main.command("profile")
@click.argument("name", type=click.Choice(NAMES))
@click.option("--backend", type=click.Choice(BACKENDS), default="asyncio", show_default=True)
@click.option("--durable/--memory", default=False, show_default=True)
@click.option("--rounds", default=20, show_default=True)
@click.option("--top", default=40, show_default=True, help="Functions in each list.")
@_COUNT
@_FOLDER
def profile_command(  # noqa: PLR0917 - likewise
    name: Name, backend: Backend, durable: bool, rounds: int, top: int, count: int, folder: Path | None
) -> None:
    """Run one workload under cProfile and print the dearest functions."""
    work = workload(name, count)
    with tempfile.TemporaryDirectory(prefix="actorflow-benchmark-", dir=folder) as temporary:
        kind: Kind = "durable" if durable else "memory"
        profile(work, backend, kind, rounds=rounds, folder=Path(temporary), top=top)


def _measured(name: Name, backend: Backend, count: int, rounds: int, folder: Path) -> Measured:
    work = workload(name, count)
    return anyio.run(partial(measure, work, backend, rounds=rounds, folder=folder), backend=backend)


if __name__ == "__main__":
    main()
