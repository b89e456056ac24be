"""The bars of `actorflow show`: each attempt is seen, none is wider than there is room, and what was not a success looks it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from actorflow.cli import main
from actorflow.cli.gantt import ROWS_SHOWN, Chart, Marks, Scale, axis, gantt_lines, spread
from actorflow.cli.terminal import Terminal, cells
from actorflow.cli.timeline import Attempt, Outcome, Timeline, timeline_of
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    Event,
    Failure,
    GenerationStarted,
    Resumed,
    RunFinished,
)

Capture = pytest.CaptureFixture[str]

WIDE, PLAIN = Terminal(width=50), Terminal(width=50, is_unicode=False)


def tried(
    task: str, start: float, end: float | None, outcome: Outcome | None = "success", *, attempt: int = 1
) -> Attempt:
    return Attempt(task, attempt, 0, "live", 1, start, end, outcome)


def chart(
    *attempts: Attempt, now: float = 110.0, is_alive: bool = True, waiting: Sequence[str] = ()
) -> Chart:
    return Chart(timeline=Timeline(attempts), now=now, is_alive=is_alive, waiting=frozenset(waiting))


@pytest.mark.parametrize(
    ("outcome", "mark", "word"),
    [
        ("failed", "×", "failed"),
        ("timed_out", "!", "timed out"),
        ("canceled", "○", "canceled"),
        ("lost", "~", "lost"),
        (None, "▒", "running"),
    ],
)
def test_what_is_no_success_has_a_mark_of_its_own_that_is_explained(
    outcome: Outcome | None, mark: str, word: str
):
    end = None if outcome is None else 105.0
    lines = gantt_lines(chart(tried("pay", 100.0, 105.0), tried("ship", 105.0, end, outcome)), WIDE)
    assert re.fullmatch(rf"ship  +{re.escape(mark)}+", lines[1])
    assert lines[-1] == f"█ success  {mark} {word}"


def test_between_two_attempts_a_task_waits():
    first, second = tried("pay", 100.0, 102.0, "failed"), tried("pay", 108.0, 110.0, attempt=2)
    assert gantt_lines(chart(first, second), WIDE)[0] == "pay  ×××××××××···························█████████"


def test_a_task_that_waits_does_so_up_to_now():
    lines = gantt_lines(chart(tried("pay", 100.0, 105.0, "failed"), waiting=["pay"]), WIDE)
    assert re.fullmatch(r"pay  ×+·+", lines[0])
    assert len(lines[0]) == WIDE.width


def test_where_nobody_is_at_a_run_its_time_ends_with_what_it_tried_last():
    lines = gantt_lines(chart(tried("pay", 100.0, 105.0, "failed"), waiting=["pay"], is_alive=False), WIDE)
    assert re.fullmatch(r"pay  ×+", lines[0])


def test_what_has_no_end_is_lost_where_nobody_runs_it():
    lines = gantt_lines(chart(tried("pay", 100.0, None, None), is_alive=False), WIDE)
    assert lines[-1] == "~ lost"


def test_nothing_but_success_needs_no_explanation():
    lines = gantt_lines(chart(tried("pay", 100.0, 110.0)), WIDE)
    assert lines == [f"pay  {'█' * 45}", "     ├0 s─────├2 s─────├4 s─────├6 s─────├8 s─────"]


def test_where_box_characters_do_not_come_through_all_is_ascii():
    outcomes: list[Outcome] = ["success", "failed", "timed_out", "canceled", "lost"]
    attempts = [tried(f"a-name-that-is-long-{each}", 100.0, 105.0, each) for each in outcomes]
    lines = gantt_lines(chart(*attempts, tried("pay", 105.0, None, None)), PLAIN)
    assert "".join(lines).isascii()
    bars = [line.split("  ", 1)[1].strip()[0] for line in lines[:6]]
    assert bars == ["#", "x", "!", "o", "~", ">"]


def test_where_nothing_was_tried_there_is_no_chart():
    assert gantt_lines(chart(), WIDE) == []


def test_time_in_which_the_run_rested_is_left_out():
    first, second = tried("pay", 100.0, 4_000.0, "lost"), tried("pay", 4_000.0, 4_005.0, attempt=2)
    rested = evolve(chart(first, second), timeline=Timeline((first, second), ((105.0, 4_000.0),)))
    lines = gantt_lines(rested, WIDE)
    assert lines[0] == f"pay  {'~' * 22}{'█' * 23}"
    assert lines[1] == "     ├0 s─────├2 s─────├4 s/────├6 s─────├8 s─────"
    assert lines[-1] == "█ success  ~ lost  / rested"


def test_of_many_tasks_those_that_failed_and_the_longest_are_shown_in_the_order_in_which_they_began():
    attempts = [tried(f"t{i}", 100.0 + i / 1_000, 101.0 + i / 1_000) for i in range(1_000)]
    attempts[3] = tried("t3", 100.003, 100.004, "failed")
    attempts[500] = tried("t500", 100.5, 109.0)
    lines = gantt_lines(chart(*attempts), WIDE)
    names = [line.split()[0] for line in lines[:ROWS_SHOWN]]
    assert {"t3", "t500"} < set(names)
    assert names == sorted(names, key=lambda name: int(name[1:]))
    assert "… 960 more; --all shows them" in lines
    assert len(gantt_lines(chart(*attempts), WIDE, shows_all=True)) == 1_000 + 2


def test_in_colours_a_chart_has_the_same_marks():
    some = chart(tried("pay", 100.0, 105.0, "failed"), tried("ship", 105.0, 110.0))
    coloured = gantt_lines(some, evolve(WIDE, is_coloured=True))
    assert "\x1b[31m×" in coloured[0]
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == gantt_lines(some, WIDE)


_TIMES = st.floats(0.0, 1.0).flatmap(lambda start: st.tuples(st.just(start), st.floats(start, 1.0)))


@given(st.lists(_TIMES, max_size=30).map(sorted), st.integers(0, 170))
def test_each_bar_has_a_cell_and_none_covers_another(spans: list[tuple[float, float]], more: int):
    width = len(spans) + more
    places = spread(spans, width)
    taken = [cell for start, end in places for cell in range(start, end)]
    assert all(end > start for start, end in places)
    assert taken == sorted(set(taken))
    assert all(0 <= cell < width for cell in taken)


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    """Attempts of some tasks one after the other, with rests between them."""
    attempts: list[Attempt] = []
    for number in range(draw(st.integers(1, 20))):
        at = draw(st.floats(0.0, 10.0))
        for attempt in range(1, draw(st.integers(1, 4))):
            end = at + draw(st.sampled_from([0.0, 0.001, 1.0, 3_000.0]))
            outcome = draw(st.sampled_from(["success", "failed", "timed_out", "canceled", "lost"]))
            attempts.append(
                tried(f"task_{number}" * draw(st.integers(1, 3)), at, end, outcome, attempt=attempt)
            )
            at = end + draw(st.sampled_from([0.0, 0.5]))
    attempts.sort(key=lambda each: each.started_at)
    return chart(*attempts, now=draw(st.floats(10.0, 20.0)), is_alive=draw(st.booleans()))


@given(charts(), st.integers(40, 200), st.booleans())
def test_no_line_is_wider_than_the_terminal_and_each_attempt_is_seen(
    drawn: Chart, width: int, is_unicode: bool
):
    lines = gantt_lines(drawn, Terminal(width=width, is_unicode=is_unicode), shows_all=True, indent="    ")
    assert max(map(cells, lines), default=0) <= width
    tasks: dict[str, list[Attempt]] = {}
    for attempt in drawn.timeline.attempts:
        tasks.setdefault(attempt.task, []).append(attempt)
    for line, attempts in zip(lines, tasks.values(), strict=False):
        bars = re.sub(r"^ +\S+ +", "", line)
        assert len(re.sub(r"[·. ]", "", bars)) >= len(attempts)


@given(st.floats(0.001, 1e9), st.integers(10, 200))
def test_an_axis_is_as_wide_as_its_bars_and_begins_with_its_start(seconds: float, width: int):
    line = axis(Scale(0.0, seconds, width, ()), Marks({}, tick="|", line="-", more=".."))
    assert len(line) == width
    assert line.startswith("|0 ")


FAILED = Failure("exit_status", "busy")
EVENTS: list[Event] = [
    GenerationStarted(100.0, 1, "start"),
    AttemptStarted(100.0, "a", 1, 0, "x"),
    AttemptStarted(100.0, "b", 1, 0, "y"),
    AttemptStarted(101.0, "c", 1, 0, "y"),
    AttemptFailed(102.0, "a", 1, FAILED),
    AttemptStarted(103.0, "a", 2, 0, "x"),
    AttemptLost(200.0, "b", 1, 0),
    Resumed(200.0),
    AttemptStarted(200.0, "b", 1, 1, "y"),
    AttemptTimedOut(201.0, "b", 1, FAILED),
    AttemptCanceled(202.0, "c", 1),
    AttemptSucceeded(203.0, "a", 2, None),
    RunFinished(203.0, "failed"),
    GenerationStarted(300.0, 2, "resume"),
    AttemptStarted(301.0, "b", 2, 0, "y"),
]


def test_attempts_are_read_with_their_generations_losses_and_ends():
    timeline = timeline_of(enumerate(EVENTS))
    rows = [
        (each.task, each.attempt, each.loss, each.generation, each.ended_at, each.outcome)
        for each in timeline.attempts
    ]
    assert rows == [
        ("a", 1, 0, 1, 102.0, "failed"),
        ("b", 1, 0, 1, 200.0, "lost"),
        ("c", 1, 0, 1, 202.0, "canceled"),
        ("a", 2, 0, 1, 203.0, "success"),
        ("b", 1, 1, 1, 201.0, "timed_out"),
        ("b", 2, 0, 2, None, None),
    ]
    assert [each.task for each in timeline.of_generation(2).attempts] == ["b"]


def test_a_run_rests_from_the_last_that_is_known_of_it_to_its_going_on():
    assert timeline_of(enumerate(EVENTS)).rests == ((103.0, 200.0), (203.0, 300.0))


ORDER = """
tasks:
  pay: {command: "test -e paid || exit 3", retry: {max_attempts: 2, delay: 1ms}}
  ship: {command: "true", depends_on: [pay]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    (tmp_path / "order.yaml").write_text(ORDER, encoding="utf-8")
    return tmp_path


def test_a_run_is_shown_with_the_bars_of_its_last_generation_if_not_all_are_wanted(
    folder: Path, capsys: Capture
):
    assert main(["run", "order.yaml", "--run-id", "order-1"]) == 1
    (folder / "paid").touch()
    assert main(["resume", "order-1"]) == 0
    capsys.readouterr()

    assert main(["show", "order-1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^  attempts:\n    pay   █+\n    ship +█+\n +├0 s", shown, re.MULTILINE)
    assert main(["show", "order-1", "--all"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^  attempts:\n    pay   ×[×·]* *█+\n    ship +█+\n", shown, re.MULTILINE)
    assert main(["show", "order-1", "--json"]) == 0
    document: Any = json.loads(capsys.readouterr().out)
    told = [(each["task"], each["generation"], each["outcome"]) for each in document["attempts"]]
    assert told == [("pay", 1, "failed"), ("pay", 1, "failed"), ("pay", 2, "success"), ("ship", 2, "success")]
    assert set(document["attempts"][0]) == {
        "task", "attempt", "loss", "agent", "generation", "started_at", "ended_at", "outcome",
    }  # fmt: skip
