"""`actorflow metrics`: what the runs of a store measure up to, told from its journal without running anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import click

from actorflow.cli.hooks.hiding import HookHiding
from actorflow.cli.layout import columns
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Exit
from actorflow.cli.store.opening import named_run, reading
from actorflow.cli.terminal import cells, terminal_of
from actorflow.metrics.collecting import collect
from actorflow.metrics.exposition import PrometheusMissing, prometheus_text
from actorflow.metrics.snapshot import Distribution, Family, Series, Snapshot

Format: TypeAlias = Literal["text", "prometheus"]

_HEAD: Final = ("METRIC", "TAGS", "VALUE")


def show_metrics(settings: Settings, run: str | None, form: Format) -> int:
    """Show the metrics of all runs of the store, or of one.

    Raises:
        click.UsageError: two forms are wanted, or the one is not to be had.
        RunNotFoundError: there is no such run.
    """
    screen = settings.screen
    if screen.is_json and form == "prometheus":
        raise click.UsageError("--json and --format prometheus are two forms; choose one", _context())
    with reading(settings) as journal:
        rows = journal.runs() if run is None else [named_run(journal, run)]
        snapshot = collect(journal, rows, lambda plan: HookHiding(plan.spec).hides)
    if screen.is_json:
        screen.document(snapshot.document())
    elif form == "prometheus":
        screen.result(_exposed(snapshot))
    elif rows:
        screen.result("\n".join(_table(snapshot, terminal_of(screen.out).width)))
    else:
        screen.note("there are no runs in this store")
    return Exit.SUCCESS


def _exposed(snapshot: Snapshot) -> str:
    try:
        return prometheus_text(snapshot).removesuffix("\n")
    except PrometheusMissing as error:
        raise click.UsageError(f"--format prometheus: {error}", _context()) from error


def _context() -> click.Context:
    return click.get_current_context()


def _table(snapshot: Snapshot, width: int | None) -> list[str]:
    """The lines of the table; where its columns have no room, values stand right behind their tags, and nothing is cut."""
    rows = [_HEAD, *_rows(snapshot)]
    lines = columns(rows)
    if width is None or all(cells(line) <= width for line in lines):
        return lines
    return columns([(name, f"{tags}  {value}") for name, tags, value in rows], width=width)


def _rows(snapshot: Snapshot) -> Iterator[tuple[str, str, str]]:
    """A row for each series; a metric's name stands in its first."""
    for family in snapshot.families:
        for place, series in enumerate(family.series):
            yield ("" if place else family.name, _tags_text(series), _value_text(family, series.value))


def _tags_text(series: Series) -> str:
    return " ".join(f"{name}={value}" for name, value in series.tags.items()) or "-"


def _value_text(family: Family, value: float | Distribution) -> str:
    if not isinstance(value, Distribution):
        return _amount(family, value)
    average, largest = _amount(family, value.average), _amount(family, value.largest)
    return f"{value.count} × {average} on average, {largest} at most"


def _amount(family: Family, value: float) -> str:
    """A number with its unit; of times as many digits as matter."""
    if family.unit != "seconds":
        return f"{value:.10g}"
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:,.2f} s"
