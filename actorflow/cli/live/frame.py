"""What a live view looks like: a view of a run, a time and a size in, lines out. Nothing here knows a terminal.

From above: the run, a bar over all tasks, the tasks by stage, how many are left out, and the hooks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from actorflow.cli.layout import between, duration
from actorflow.cli.live.choice import Choice, chosen_rows
from actorflow.cli.live.lines import STYLES, Symbols, cut, hook_line, laid_out, seconds_text, task_line
from actorflow.cli.live.view import RunView, plain
from actorflow.cli.report import counts_text

__all__ = ["frame"]

_TOLD_BESIDE_BAR: Final = ("failed", "running", "waiting", "skipped", "canceled")
_WIDEST_BAR: Final = 40


def frame(view: RunView, now: float, width: int, height: int, symbols: Symbols) -> Sequence[Text]:
    """At most `height` lines of at most `width` columns.

    Args:
        view: of the run.
        now: in epoch seconds.
        width: columns, at least 1.
        height: lines, at least 1.
        symbols: to draw with.
    """
    if not view.goes_on:
        now = view.state.last_at  # time that passes since is nobody's
    hooks = _hook_counts(view) if height >= _LEAST_FOR_HOOKS else None
    below = [] if hooks is None else [hooks]
    body = _body(view, now, width, height - 2 - len(below), symbols)
    lines = [_head(view, now, symbols), _bar(view, width, symbols), *body, *below]
    return [cut(line, width) for line in lines[:height]]


_LEAST_FOR_HOOKS: Final = 6  # lines; with less, they are for tasks


def _head(view: RunView, now: float, symbols: Symbols) -> Text:
    state = view.state
    status = view.status
    style = STYLES.get(status.partition(" ")[0], "")
    text = Text().append(symbols.of_run(status), style).append(f" {plain(status)}", style)
    if state.started is not None:
        has_ended = state.phase == "ended"
        took = duration(between(state.run_started_at, state.ended_at))
        text.append(f"  {took if has_ended else seconds_text(now - state.generation_started_at)}")
    text.append(f"  {plain(view.spec.name)}", "bold")
    if state.started is not None:
        text.append(f"  {plain(state.run_id)}")
    if state.generation > 1:
        text.append(f"  generation {state.generation}", "dim")
    return text


def _bar(view: RunView, width: int, symbols: Symbols) -> Text:
    total, ended = len(view.state.tasks), view.ended_count
    size = min(_WIDEST_BAR, max(width // 3, 4))
    full = size if total == 0 else size * ended // total
    style = "red" if view.state.fatal is not None else "yellow" if "failed" in view.counts else "green"
    text = Text().append(symbols.full * full, style).append(symbols.empty * (size - full), "dim")
    text.append(f"  {ended}/{total} tasks")
    told = [f"{view.counts[status]} {status}" for status in _TOLD_BESIDE_BAR if status in view.counts]
    return text.append(f"  {', '.join(told)}" if told else "")


def _body(view: RunView, now: float, width: int, height: int, symbols: Symbols) -> Iterator[Text]:
    """The blocking hooks that run, and the tasks under the names of their stages."""
    if height <= 0:
        return
    hooks = view.running_hooks[: max(height // 3, 1)]
    choice = chosen_rows(view, height - len(hooks))
    columns = [*(hook_line(hook, now) for hook in hooks), *(task_line(row, now) for row in choice.rows)]
    stages = {row.stage for row in choice.rows if row.stage}
    spare = height - len(columns) - len(stages) - bool(choice.folded)
    drawn = laid_out(columns, symbols, width, spare)
    for lines in drawn[: len(hooks)]:
        yield from lines
    stage = ""
    for row, lines in zip(choice.rows, drawn[len(hooks) :], strict=True):
        if row.stage != stage:
            stage = row.stage
            yield _stage_name(view, stage)
        yield from lines
    if choice.folded:
        yield _folded(choice, symbols)


def _stage_name(view: RunView, stage: str) -> Text:
    ended, total = view.stage_counts(stage)
    return Text(f" {plain(stage)}", "bold").append(f"  {ended} of {total}", "not bold dim")


def _folded(choice: Choice, symbols: Symbols) -> Text:
    """How many tasks are left out."""
    told = ", ".join(f"{count} {_WORDS.get(status, status)}" for status, count in choice.folded.items())
    return Text(f"  {symbols.more} {told}", "dim")


_WORDS: Final = {"success": "done"}


def _hook_counts(view: RunView) -> Text | None:
    hooks = view.hooks
    if not (hooks.delivered or hooks.failed or hooks.pending or hooks.dead_letters):
        return None
    return Text(f"  {counts_text(hooks)}", "red" if hooks.failed or hooks.dead_letters else "dim")
