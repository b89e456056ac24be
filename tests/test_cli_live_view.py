"""The live view, without a terminal: what it knows of a run, and how that looks at every size."""

from __future__ import annotations

import time
from collections import Counter
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from actorflow.cli.live.frame import frame
from actorflow.cli.live.lines import Symbols
from actorflow.cli.live.view import RunView, shown_status
from actorflow.core.events import Failure, RetryScheduled, SleepStarted
from actorflow.core.state import RunState
from actorflow.journal.output_log import OutputLine
from actorflow.runtime.result import HookCounts
from tests.random_runs import random_workflow
from tests.scenarios import hook_lists, script_of, task, workflow
from tests.scripted import ScriptedRun

UNICODE = Symbols.for_terminal(is_unicode=True)
ASCII = Symbols.for_terminal(is_unicode=False)
FAILURE = Failure("jam", "out of paper")
NOW = 1000.0


def told(run: ScriptedRun, until: int | None = None) -> RunView:
    """The view of a run that was told so many of its events."""
    view = RunView(run.state.plan.spec)
    for event in run.journal[:until]:
        view.apply(event)
    return view


def side_by_side(
    count: int, *, failing: int = 0, slots: int | None = None, ends: bool = True, **more: Any
) -> RunView:
    """A view of so many tasks, the first of which fail."""
    tasks = [task(f"t{number:05}", strategy="finish") for number in range(count)]
    results = {f"t{number:05}": (FAILURE,) for number in range(failing)}
    run = ScriptedRun(workflow(*tasks, max_parallel=slots or count, **more), script_of(results))
    return told(run.finish() if ends else run)


def texts(view: RunView, width: int = 80, height: int = 24, now: float = NOW) -> list[str]:
    return [line.plain for line in frame(view, now, width, height, UNICODE)]


def printed(task: str, text: str, attempt: int = 1) -> OutputLine:
    return OutputLine(NOW, task, attempt, 0, "stdout", text)


@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(20, 200), st.integers(3, 60), st.booleans())
def test_no_line_is_wider_and_no_view_is_higher_than_the_window(
    seed: int, part: float, width: int, height: int, is_unicode: bool
):
    draw = Random(seed)
    run = ScriptedRun(random_workflow(draw), lambda _: draw.choice([1, 2, FAILURE]))
    for _ in range(draw.randint(0, 30)):
        if run.running:
            run.happen(run.outcome(draw.choice(sorted(run.running))))
    view = told(run, round(len(run.journal) * part))
    view.note_output([printed(each.id, "漢字" * draw.randint(0, 40)) for each in view.state.tasks])
    lines = frame(view, run.now + 1, width, height, Symbols.for_terminal(is_unicode=is_unicode))
    assert 2 <= len(lines) <= height
    assert max(cell_len(line.plain) for line in lines) <= width


@given(st.integers(0, 10**6))
def test_a_view_knows_what_a_fold_of_the_run_knows(seed: int):
    draw = Random(seed)
    run = ScriptedRun(random_workflow(draw), lambda _: draw.choice([1, 2, FAILURE]))
    for _ in range(draw.randint(0, 30)):
        if run.running:
            run.happen(run.outcome(draw.choice(sorted(run.running))))
    view, state = RunView(run.state.plan.spec), RunState(run.state.plan)
    for event in run.journal:
        view.apply(event)
        state.apply(event)
        assert view.counts == Counter(map(shown_status, state.tasks))
    assert [view.row(number).status for number in range(len(state.tasks))] == [
        *map(shown_status, state.tasks)
    ]


@given(st.integers(1, 40), st.integers(0, 40), st.integers(8, 60))
def test_all_tasks_that_failed_are_shown_where_half_of_the_room_is_enough(
    count: int, failing: int, height: int
):
    failing = min(failing, count)
    shown = "\n".join(texts(side_by_side(count, failing=failing), height=height))
    failed = [f"t{number:05}" for number in range(failing)]
    if failing <= (height - 2) // 2 or count <= height - 2:
        assert all(name in shown for name in failed)
    else:
        assert sum(name in shown for name in failed) >= (height - 2) // 2


def test_what_has_no_room_is_counted():
    lines = texts(side_by_side(40, failing=2, slots=40), height=8)
    assert lines[1].endswith("40/40 tasks  2 failed")
    assert lines[2:] == [
        "  ✗ t00000  failed  0.00 s  main  jam: out of paper",
        "  ✗ t00001  failed  0.00 s  main  jam: out of paper",
        "  … 38 done",
    ]


def test_what_runs_comes_before_what_has_ended_and_what_comes_next():
    lines = texts(side_by_side(50, slots=3, ends=False), height=8, now=NOW + 7)
    assert lines[2:] == [
        "  ● t00000  running  7 s  main",
        "  ● t00001  running  7 s  main",
        "  ● t00002  running  7 s  main",
        "  · t00003  pending",
        "  · t00004  pending",
        "  … 45 pending",
    ]


def test_stages_stand_above_their_tasks_with_how_far_they_are():
    stages = {"build": ["a", "b"], "ship": ["c"]}
    run = ScriptedRun(workflow(task("a"), task("b"), task("c"), stages=stages), script_of({}))
    run.happen(run.outcome("a"))
    assert texts(told(run))[2:] == [
        " build  1 of 2",
        "  ✓ a  success  0.00 s  main",
        "  ● b  running     0 s  main",
        " ship  0 of 1",
        "  · c  pending",
    ]


def test_a_task_that_waits_says_for_what_and_how_much_longer():
    run = ScriptedRun(workflow(task("a", attempts=3), task("b", sleep=60.0)), script_of({}))
    run.script = script_of({"a": (FAILURE,)})
    run.happen(run.outcome("a"))
    view = told(run)
    assert isinstance(view.row(view.state.plan.index["a"]).wait, RetryScheduled)
    assert isinstance(view.row(view.state.plan.index["b"]).wait, SleepStarted)
    assert texts(view, now=run.now + 0.3)[2:] == [
        "  ◷ a  waiting  1/3  0 s  main  retry: attempt 2 in 1 s, after jam: out of paper",
        "  ◷ b  waiting                  sleep: starts in 60 s",
    ]


def test_of_what_a_running_attempt_printed_the_last_line_is_shown():
    view = side_by_side(2, ends=False)
    view.note_output([printed("t00000", "first"), printed("t00000", "last\tone"), printed("t00000", "  ")])
    view.note_output([printed("t00001", "of another attempt", attempt=2)])
    assert texts(view)[2:] == [
        "  ● t00000  running  0 s  main  last    one",
        "  ● t00001  running  0 s  main",
    ]


def test_where_a_line_is_too_narrow_for_the_output_it_stands_below():
    view = side_by_side(1, ends=False)
    view.note_output([printed("t00000", "x" * 99)])
    assert texts(view, width=30)[2:] == ["  ● t00000  running  0 s", f"    {'x' * 25}…"]
    assert texts(view, width=30, height=3)[2:] == ["  ● t00000  running  0 s  xxx…"]


def test_nothing_that_somebody_else_made_up_reaches_the_terminal_as_it_is():
    view = side_by_side(1, ends=False)
    view.note_output([printed("t00000", "\x1b[2J\x1b]0;gotcha\x07\u202e")])
    line = texts(view, width=120)[2]
    assert line.endswith("\\x1b[2J\\x1b]0;gotcha\\x07\\u202e")


def test_wide_characters_take_the_room_that_they_take():
    view = side_by_side(1, ends=False)
    view.note_output([printed("t00000", "漢字" * 40)])
    assert [cell_len(line) for line in texts(view, width=61)][2] in (60, 61)


def test_a_hook_that_a_run_waits_for_is_shown_while_it_runs():
    run = ScriptedRun(workflow(task("a"), hooks=hook_lists(pre_workflow=1)), script_of({}))
    assert texts(told(run), now=run.now + 3)[2:] == [
        "  ● hook pre_workflow[0]  running  3 s  pre_workflow 0",
        "  · a                     pending",
    ]


def test_hooks_are_counted_where_there_are_any():
    view = side_by_side(1)
    assert len(texts(view)) == 3
    view.note_hooks(HookCounts(delivered=3, failed=1, pending=2, dead_letters=0))
    assert texts(view)[-1] == "  hooks: 3 done, 1 failed, 2 owed"


def test_what_is_said_of_the_process_stands_in_place_of_the_status():
    view = side_by_side(1, ends=False)
    view.note_owner("running (pid 7)")
    assert texts(view, now=NOW + 9)[0] == "● running (pid 7)  9 s  w  r-1"


def test_the_time_since_a_run_has_crashed_is_nobodys():
    view = side_by_side(1, ends=False)
    view.note_owner("crashed")
    lines = texts(view, now=NOW + 9)
    assert (lines[0], lines[2]) == ("✗ crashed  0 s  w  r-1", "  ● t00000  running  0 s  main")


def test_a_view_can_be_drawn_in_ascii():
    lines = frame(side_by_side(30, failing=1), NOW, 80, 10, ASCII)
    assert all(line.plain.isascii() for line in lines)


def test_a_view_changes_its_version_only_when_there_is_something_new():
    view = side_by_side(1, ends=False)
    before = view.version
    view.note_owner("")
    view.note_output([printed("t00000", " ")])
    assert view.version == before
    view.note_output([printed("t00000", "news")])
    assert view.version > before


def test_a_view_of_ten_thousand_tasks_is_drawn_as_fast_as_one_of_a_hundred():
    small, large = side_by_side(100, slots=50, ends=False), side_by_side(10_000, slots=50, ends=False)
    assert seconds_of(large) < 5 * seconds_of(small) + 0.005


def seconds_of(view: RunView) -> float:
    """The best of several times, each of several frames."""
    times: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(5):
            frame(view, NOW, 80, 24, UNICODE)
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_new_generation_opens_what_did_not_succeed():
    run = ScriptedRun(workflow(task("a"), task("b", "a")), script_of({"b": (FAILURE, 1)})).finish()
    assert texts(told(run))[0].startswith("✗ failed")
    before = len(run.journal)
    run.next_generation()
    lines = texts(told(run, before + 2))
    assert lines[0] == "● running  0 s  w  r-1  generation 2"
    assert lines[2:] == [
        "  ✓ a  success      0.00 s  main",
        "  ● b  running  #2     0 s  main",
    ]
