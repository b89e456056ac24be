"""What can happen to a run, at random: what it waits for, and what nobody has asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from hypothesis import strategies as st

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptSucceeded,
    AttemptTimedOut,
    CancelRequested,
    DefinitionChanged,
    Event,
    Failure,
    HookFinished,
    HookStatus,
    PauseRequested,
    Resumed,
    SignalReceived,
)
from actorflow.core.hook_line import HookLine
from actorflow.core.rendering import outcome
from actorflow.core.step import cut_off
from actorflow.core.task_state import TaskState
from actorflow.spec.definition import spec_definition
from actorflow.testing.strategies.drawing import FAILURE_TYPES, pick, pick_from_few, pick_some, values
from actorflow.testing.strategies.driving import Driven, Meanwhile

__all__ = ["can_go_on", "finish", "go_on", "have_accident"]

_FAILURES: Final = (
    *(Failure(kind, "no luck") for kind in FAILURE_TYPES),
    Failure("did_not_stop", "goes on"),
    Failure("Busy", "come again", {"retry_after_s": 3}),
)
_TIMEOUT: Final = Failure("timeout", "took too long")
_ENDINGS: Final = ("succeeds", "fails", "succeeds", "fails", "times out")
_OUTPUTS: Final = st.sampled_from([1, 0, None]) | values()
_STATUSES: Final[Sequence[HookStatus]] = ("ok", "ok", "ok", "failed", "timed_out")
_GAPS: Final = (0.0, 0.0, 3.0, 100.0)
_SHARES: Final = (1.0, 1.0, 1.0, 0.5, 1.5)
_ONE_IN_FOUR: Final = (False, False, False, True)
_MEANWHILE: Final[Sequence[Meanwhile]] = ("nothing", "nothing", "nothing", "it opened", "it is probed")
_IDLE_S: Final = 1.0
_STEPS_LEFT: Final = 10_000


def can_go_on(run: Driven) -> bool:
    """Whether the run waits for anything."""
    return run.state.phase != "ended" and bool(_possible(run))


def go_on(run: Driven, draw: st.DrawFn) -> None:
    """Let something happen that the run waits for."""
    pick_from_few(draw, _possible(run))(run, draw)


_Move: TypeAlias = Callable[[Driven, st.DrawFn], None]


def _possible(run: Driven) -> list[_Move]:
    return [move for is_possible, move in _WAITED_FOR if is_possible(run)]


def have_accident(run: Driven, draw: st.DrawFn) -> None:
    """Let something happen that the run does not wait for, if anything can."""
    possible = [move for is_possible, move in _ACCIDENTS if is_possible(run)]
    if possible:
        pick_from_few(draw, possible)(run, draw)


def finish(run: Driven) -> None:
    """Go on to the end of the run, without drawing: all that is left goes well."""
    for _ in range(_STEPS_LEFT):
        state = run.state
        if state.phase == "ended":
            return
        if run.owed:
            run.hear_breaker()
        elif state.is_pausing:
            run.happen(Resumed(run.now))
        elif state.running or state.running_lines():
            run.happen(*_good_ends(run))
        else:
            _pass_time(run, 1.0)
    raise AssertionError(f"{run.run_id} does not end: {run.batches}")


def _good_ends(run: Driven) -> list[Event]:
    ends: list[Event] = [_end_of_hook(run, line, "ok") for line in run.state.running_lines()]
    tasks = [run.state.tasks[index] for index in run.state.running]
    return ends + [_success(run, task, None) for task in tasks]


# What it waits for


def _attempts_end(run: Driven, draw: st.DrawFn) -> None:
    running = list(run.state.running)
    chosen = pick_some(draw, running, 1, 3)
    run.happen(*[_end_of_attempt(run, draw, run.state.tasks[index]) for index in chosen])


def _end_of_attempt(run: Driven, draw: st.DrawFn, task: TaskState) -> Event:
    """However it was told to end, it may have done something else first."""
    if run.is_unwanted(task.id) and not pick(draw, _ONE_IN_FOUR):
        return AttemptCanceled(run.now, task.id, task.attempt)
    match pick(draw, _ENDINGS):
        case "succeeds":
            return _success(run, task, draw(_OUTPUTS))
        case "fails":
            return AttemptFailed(run.now, task.id, task.attempt, pick(draw, _FAILURES))
        case _:
            return AttemptTimedOut(run.now, task.id, task.attempt, _TIMEOUT)


def _success(run: Driven, task: TaskState, output: object) -> Event:
    """A success, unless the task's own `outputs` cannot be made of it."""
    return outcome(run.state, AttemptSucceeded(run.now, task.id, task.attempt, output))


def _hook_ends(run: Driven, draw: st.DrawFn) -> None:
    line = pick_from_few(draw, run.state.running_lines())
    run.happen(_end_of_hook(run, line, pick(draw, _STATUSES)))


def _end_of_hook(run: Driven, line: HookLine, status: HookStatus) -> HookFinished:
    event, index = line.head
    ended = "canceled" if run.is_unwanted(event, str(index), line.subject) else status
    return HookFinished(run.now, event, index, ended, subject=line.subject)


def _breaker_answers(run: Driven, draw: st.DrawFn) -> None:
    """Most of the time as it is; or other runs have opened it, or are at its probe."""
    run.hear_breaker(pick(draw, _MEANWHILE))


def _time_passes(run: Driven, draw: st.DrawFn) -> None:
    _pass_time(run, pick(draw, _SHARES))


def _pass_time(run: Driven, share: float) -> None:
    """On to when something is due, or part of the way there, or past it."""
    due_at = run.state.next_due_at()
    run.now += _IDLE_S if due_at is None else max(0.0, due_at - run.now) * share
    run.happen()


_WAITED_FOR: Final[list[tuple[Callable[[Driven], bool], _Move]]] = [
    (lambda run: bool(run.state.running), _attempts_end),
    (lambda run: bool(run.state.running_lines()), _hook_ends),
    (lambda run: bool(run.owed), _breaker_answers),
    (lambda run: run.state.next_due_at() is not None, _time_passes),
]


# What it does not wait for


def _crash(run: Driven, draw: st.DrawFn) -> None:
    run.die(pick(draw, _GAPS))


def _pause(run: Driven, _draw: st.DrawFn) -> None:
    run.happen(PauseRequested(run.now, "by a test"))


def _cut_off(run: Driven, _draw: st.DrawFn) -> None:
    """The grace of a pause is over: what runs still is lost."""
    run.unwanted.clear()
    run.happen(*cut_off(run.state, run.now))


def _resume(run: Driven, draw: st.DrawFn) -> None:
    run.now += pick(draw, _GAPS)
    run.happen(Resumed(run.now))


def _cancel(run: Driven, _draw: st.DrawFn) -> None:
    run.happen(CancelRequested(run.now, "by a test"))


def _signal(run: Driven, draw: st.DrawFn) -> None:
    payload = draw(values())
    run.happen(SignalReceived(run.now, "go", payload, f"signal-{len(run.state.signal_ids) + 1}"))


def _close_for_others(run: Driven, draw: st.DrawFn) -> None:
    keys = list(dict.fromkeys(run.state.breakers.refused.values()))
    run.close_for_others(pick_from_few(draw, keys))


def _change(run: Driven, _draw: st.DrawFn) -> None:
    """The run is moved to the definition that it is driven by."""
    name, _ = spec_definition(run.state.plan.spec)
    run.happen(DefinitionChanged(run.now, name, run.state.bindings))


def _begin_again(run: Driven, draw: st.DrawFn) -> None:
    run.begin_generation(pick(draw, _GAPS))


def _retry_letters(run: Driven, draw: st.DrawFn) -> None:
    run.begin_generation(retried=pick_some(draw, run.letters, 1, 3))


def _is_going(run: Driven) -> bool:
    return run.state.phase != "ended"


def _has_failed(run: Driven) -> bool:
    ending = run.state.ending
    return not _is_going(run) and ending is not None and ending.outcome != "success"


_ACCIDENTS: Final[list[tuple[Callable[[Driven], bool], _Move]]] = [
    (_is_going, _crash),
    (lambda run: bool(run.state.running_lines()), _crash),
    (_is_going, _signal),
    (lambda run: _is_going(run) and not run.state.is_pausing, _pause),
    (lambda run: _is_going(run) and run.state.is_pausing, _resume),
    (lambda run: run.state.is_pausing and bool(run.state.running or run.state.running_lines()), _cut_off),
    (lambda run: _is_going(run) and not run.state.is_canceled and len(run.batches) > 4, _cancel),
    (lambda run: run.state.phase == "tasks" and bool(run.state.breakers.refused), _close_for_others),
    (lambda run: run.state.definition != spec_definition(run.state.plan.spec)[0], _change),
    (_has_failed, _begin_again),
    (lambda run: _has_failed(run) and bool(run.letters), _retry_letters),
]
