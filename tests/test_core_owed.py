"""What async hooks are owed: which event of the lifecycle comes of what, how often, and what each delivery says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core.events import CancelRequested, PauseRequested, Resumed
from actorflow.core.owed import OwedDelivery, functions_of, owed_by, owed_paths, owes_hooks
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.spec import load_dict
from actorflow.spec.model import HookSpec, InputSpec, Transition, WorkflowSpec
from tests.random_hooks import with_async_hooks
from tests.random_runs import random_workflow
from tests.scenarios import BROKEN, TIMEOUT, hook_lists, hooks_on, script_of, task, workflow
from tests.scripted import ScriptedRun
from tests.test_core_naive import ComparedRun, accidents

TELL = HookSpec(action="log", mode="async")
TOLD = ("task_finished", "on_error", "workflow_finished", "post_workflow")


def owed(run: ScriptedRun) -> list[OwedDelivery]:
    """All that a run's events have owed, each judged from the state right behind it."""
    state, found = RunState(run.state.plan), list[OwedDelivery]()
    for seq, event in enumerate(run.journal, 1):
        state.apply(event)
        assert state.started is not None
        functions = functions_of(state.started.flags)
        here = list(owed_by(state, seq, event, functions))
        assert owed_paths(state, event, functions) == tuple(each.entry.path for each in here)
        found += here
    return found


def lines(deliveries: Iterable[OwedDelivery]) -> list[str]:
    """Each as a line: the event, its task, the status."""
    contexts = (each.context for each in deliveries)
    return [" ".join([c.event, *([c.task["id"]] if c.task is not None else []), c.status]) for c in contexts]


def observed(*tasks: Any, events: Sequence[str] = TOLD, **more: Any) -> WorkflowSpec:
    """A workflow with one async hook on each of these events."""
    hooks = hooks_on(**{event: [*more.pop(event, ()), TELL] for event in events})
    return workflow(*tasks, hooks=hooks, **more)


def cancel(run: ScriptedRun) -> None:
    run.happen(CancelRequested(run.now, ""))


def pause_and_go_on(run: ScriptedRun) -> None:
    run.happen(PauseRequested(run.now, "SIGTERM"))
    run.crash()


def crash_at_each_event(run: ScriptedRun) -> None:
    while run.state.phase != "ended":
        run.crash()
        run.now = max(run.now, run.state.next_due_at() or 0.0)
        run.happen(*[run.outcome(name) for name in list(run.running)])


def open_again(run: ScriptedRun) -> None:
    run.finish()
    run.next_generation()


@frozen
class Cause:
    """Something that ends tasks and runs, and what is told of that."""

    name: str
    told: Sequence[str]
    spec: WorkflowSpec
    results: Mapping[str, Sequence[object]] = {}
    accident: Callable[[ScriptedRun], None] = ScriptedRun.finish

    def __str__(self) -> str:
        return self.name.replace(" ", "_")


SUCCESS = ["post_workflow success", "workflow_finished success"]
FAILURE = ["on_error failed", "post_workflow failed", "workflow_finished failed"]
CANCELED = ["post_workflow canceled", "workflow_finished canceled"]
A_FAILED = ["task_finished a failed", *FAILURE]
SKIPS = (*TOLD, "task_skipped")
BOTH = ["task_finished a failed", "task_finished b success", *SUCCESS]

CAUSES = [
    Cause("success", ["task_finished a success", *SUCCESS], observed(task("a"))),
    Cause("fatal failure", A_FAILED, observed(task("a")), {"a": [BROKEN]}),
    Cause("attempts used up", A_FAILED, observed(task("a", attempts=3)), {"a": [BROKEN]}),
    Cause("timeout", A_FAILED, observed(task("a")), {"a": [TIMEOUT]}),
    Cause("deadline", A_FAILED, observed(task("a", attempts=9, deadline=0.5)), {"a": [BROKEN]}),
    Cause(
        "tolerated",
        ["task_finished a failed", *SUCCESS],
        observed(task("a", strategy="skip")),
        {"a": [BROKEN]},
    ),
    Cause(
        "handled by next",
        BOTH,
        observed(
            evolve(task("a"), on_error=evolve(task("a").on_error, next=Transition(next="b"))), task("b")
        ),
        {"a": [BROKEN]},
    ),
    Cause("handled by an edge", BOTH, observed(task("a"), task("b", on_failure_of=("a",))), {"a": [BROKEN]}),
    Cause(
        "saved by a fallback",
        ["task_finished a success", *SUCCESS],
        observed(task("a", fallbacks=["second"])),
        {"a": [BROKEN, 1]},
    ),
    Cause(
        "saved by a fallback value",
        ["task_finished a success", *SUCCESS],
        observed(task("a", value=1)),
        {"a": [BROKEN]},
    ),
    Cause(
        "canceled by the user",
        ["task_skipped b skipped", "task_finished a canceled", *CANCELED],
        observed(task("a"), task("b", "a"), events=SKIPS),
        accident=cancel,
    ),
    Cause(
        "sibling canceled by an abort",
        ["task_finished a failed", "task_finished b canceled", *FAILURE],
        observed(task("a"), task("b")),
        {"a": [BROKEN]},
        lambda run: run.happen(run.outcome("a")),
    ),
    Cause(
        "when is false",
        ["task_skipped a skipped", *SUCCESS],
        observed(task("a", when="false"), events=SKIPS),
    ),
    Cause(
        "not reached",
        ["task_finished a success", "task_skipped b skipped", *SUCCESS],
        observed(task("a"), task("b", on_failure_of=("a",)), events=SKIPS),
    ),
    Cause(
        "SIGTERM and resume",
        ["workflow_paused paused", "workflow_resumed running", "task_finished a success", *SUCCESS],
        observed(task("a"), events=(*TOLD, "workflow_paused", "workflow_resumed")),
        accident=pause_and_go_on,
    ),
    Cause(
        "killed at each event",
        A_FAILED,
        observed(task("a", attempts=2)),
        {"a": [BROKEN]},
        crash_at_each_event,
    ),
    Cause(
        "another generation",
        ["task_finished a success", "task_finished b failed", *FAILURE, "task_finished b success", *SUCCESS],
        observed(task("a"), task("b", "a")),
        {"b": [BROKEN, 1]},
        open_again,
    ),
    Cause(
        "a lost attempt runs again",
        ["task_started a running", "task_lost a waiting", "task_finished a success", *SUCCESS],
        observed(task("a"), events=("task_started", "task_lost", *TOLD)),
        accident=ScriptedRun.crash,
    ),
    Cause(
        "retries",
        ["task_started a running", "task_retrying a waiting", "retries_exhausted a running", *A_FAILED],
        observed(task("a", attempts=2), events=("task_started", "task_retrying", "retries_exhausted", *TOLD)),
        {"a": [BROKEN]},
    ),
]


@pytest.mark.parametrize("cause", CAUSES, ids=str)
def test_each_cause_tells_what_it_must_and_no_more(cause: Cause) -> None:
    run = ScriptedRun(cause.spec, script_of(cause.results))
    cause.accident(run)
    run.finish()
    assert lines(owed(run)) == list(cause.told)


def test_a_set_up_hook_that_fails_is_told_as_the_failure_of_the_run() -> None:
    set_up = HookSpec(command="true", on_error="fail")
    hooks = hooks_on(pre_workflow=[set_up, TELL], **{event: [TELL] for event in SKIPS})
    run = ScriptedRun(workflow(task("a"), hooks=hooks), hook=lambda hook: "failed").finish()
    assert lines(owed(run)) == ["pre_workflow running", "task_skipped a skipped", *FAILURE]
    assert owed(run)[-1].context.error_text.startswith("hook pre_workflow[0] failed")


@pytest.mark.parametrize(("status", "told"), [("ok", "success"), ("failed", "failed")])
def test_an_end_that_hooks_are_waited_for_is_told_once_they_are_done(status: Any, told: str) -> None:
    strict = HookSpec(command="true", on_error="fail")
    spec = workflow(task("a"), hooks=hooks_on(task_finished=[strict, TELL]))
    run = ScriptedRun(spec, hook=lambda hook: status)
    run.happen(run.outcome("a"))
    assert not owed(run)
    run.finish()
    assert lines(owed(run)) == [f"task_finished a {told}"]


MERGED: dict[str, Any] = {
    "name": "w",
    "defaults": {"hooks": {"task_finished": [{"type": "log", "params": {"message": "d"}}]}},
    "hooks": {
        "use": ["audit"],
        "task_finished": [{"type": "log", "params": {"message": "w"}}],
        "workflow_finished": [{"type": "log", "params": {"message": "end"}}],
    },
    "hook_sets": {"audit": {"task_finished": [{"type": "log", "params": {"message": "s"}}]}},
    "tasks": {
        "a": {"agent": "x"},
        "b": {
            "agent": "x",
            "on_complete": {"notify": "b is done"},
            "hooks": {"task_finished": [{"type": "log", "params": {"message": "b"}}]},
        },
        "c": {
            "agent": "x",
            "hooks": {"inherit": False, "task_finished": [{"type": "log", "params": {"message": "c"}}]},
        },
    },
}
AROUND = ["task_finished[0] w", "task_finished[1] s", "defaults.task_finished[0] d"]
WHOSE = {
    "a": AROUND,
    "b": ["tasks.b.on_complete b is done", "tasks.b.task_finished[0] b", *AROUND],
    "c": ["tasks.c.task_finished[0] c"],
}


def test_lists_are_merged_from_the_task_outwards_and_hooks_keep_their_paths() -> None:
    run = ScriptedRun(load_dict(MERGED, trust="own")).finish()
    found: dict[str, list[str]] = {}
    for each in owed(run):
        if each.context.task is not None:
            told = f"{each.entry.path} {each.context.params['message']}"
            found.setdefault(each.context.task["id"], []).append(told)
    assert found == WHOSE
    ids = [each.context.delivery_id for each in owed(run)]
    assert len(set(ids)) == len(ids)
    assert ids[-1] == f"r-1/{len(run.journal)}/workflow_finished[0]"


def test_a_notice_is_owed_for_a_success_alone() -> None:
    spec = workflow(task("a", notify="done"), task("b", notify="done", strategy="finish"))
    run = ScriptedRun(spec, script_of({"b": [BROKEN]})).finish()
    assert [(each.entry.path, each.skip) for each in owed(run)] == [
        ("tasks.a.on_complete", ""),
        ("tasks.b.on_complete", "the task has not succeeded"),
    ]


def test_a_delivery_says_what_its_event_was_about() -> None:
    params = {"given": "{{ task.input.n }}", "why": "{{ error.message }}", "set": "{{ vars.n }}"}
    spec = workflow(
        task("a", with_={"n": 7}),
        hooks=hooks_on(
            task_finished=[
                HookSpec(action="transform", mode="async", params={"set": {"n": "{{ task.attempt * 10 }}"}}),
                evolve(TELL, params=params),
                evolve(TELL, when="task.status == 'success'"),
                evolve(TELL, enabled="false"),
                evolve(TELL, params={"n": "{{ output.n }}"}),
            ]
        ),
    )
    first, told, unwanted, disabled, broken = owed(ScriptedRun(spec, lambda start: BROKEN).finish())
    assert first.record == {"vars": {"n": 10}}
    assert told.context.params == {"given": 7, "why": "no luck", "set": 10}
    assert told.context.vars == {"n": 10}
    assert told.context.task is not None
    assert (told.context.task["status"], told.context.task["attempt"]) == ("failed", 1)
    assert told.context.error == {"type": "Broken", "message": "no luck", "attempt": 1, "task": "a"}
    assert (unwanted.skip, disabled.skip) == ("when is false", "not enabled")
    assert "output" in broken.fault
    assert broken.context.params is None


def test_an_output_that_a_hook_has_replaced_is_the_one_that_is_told() -> None:
    replace = HookSpec(
        action="transform", params={"set": {"was": "{{ output }}"}, "output": "{{ output + 1 }}"}
    )
    reader = task("b", "a", with_={"n": "{{ tasks.a.output }}"}, hooks=hooks_on(inherit=False))
    spec = workflow(
        task("a"),
        reader,
        hooks=hooks_on(task_finished=[replace, evolve(TELL, params={"was": "{{ vars.was }}"})]),
    )
    run = ScriptedRun(spec, lambda start: 1).finish()
    (told,) = owed(run)
    assert (told.context.output, told.context.vars, told.context.params) == (2, {"was": 1}, {"was": 1})
    assert run.starts[-1].input == {"n": 2}


def test_what_is_sensitive_is_shown_to_who_names_it_alone() -> None:
    hook = evolve(TELL, params={"key": "{{ input.key }}", "out": "{{ output }}"})
    spec = workflow(
        task("a", sensitive=True),
        hooks=hooks_on(task_finished=[hook]),
        inputs={"key": InputSpec(sensitive=True), "n": InputSpec()},
    )
    run = ScriptedRun(spec, lambda start: "o", inputs={"key": "k", "n": 1}).finish()
    (told,) = owed(run)
    assert (told.context.input, told.context.output) == ({"key": "***", "n": 1}, "***")
    assert told.context.params == {"key": "k", "out": "o"}


def test_functions_of_the_program_come_after_the_hooks_of_the_file() -> None:
    flags = {"hooks": [["task_finished", "page"], ["workflow_finished", "page"], ["task_finished", "count"]]}
    run = ScriptedRun(observed(task("a"), events=["task_finished"]), flags=flags).finish()
    assert [each.entry.path for each in owed(run)] == [
        "task_finished[0]",
        "code.task_finished[page]",
        "code.task_finished[count]",
        "code.workflow_finished[page]",
    ]
    plain = ScriptedRun(workflow(task("a")), flags=flags)
    assert owes_hooks(plain.state)
    assert not owes_hooks(ScriptedRun(workflow(task("a"), hooks=hook_lists(post_workflow=1))).state)


def test_what_was_owed_does_not_depend_on_who_asks_or_when() -> None:
    run = ScriptedRun(observed(task("a", attempts=2), task("b", "a")), script_of({"a": [BROKEN, 1]}))
    early = owed(run)
    run.crash()
    run.happen(PauseRequested(run.now, ""), Resumed(run.now))
    run.finish()
    assert owed(run)[: len(early)] == early
    assert owed(run) == owed(run)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**48))
def test_async_hooks_hold_nothing_up_and_change_nothing(seed: int) -> None:
    journals = []
    for is_observed in (False, True):
        draw = Random(seed)
        spec = random_workflow(draw)
        run = ComparedRun(with_async_hooks(spec) if is_observed else spec)
        for kind, number in accidents(draw.randbytes(60)):
            run.let_happen(kind, number)
        journals.append(run.state.journal)
    assert journals[0] == journals[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**48))
def test_each_task_starts_and_ends_once_a_generation_whatever_happens(seed: int) -> None:
    draw = Random(seed)
    spec = with_async_hooks(random_workflow(draw))
    run = ComparedRun(spec)
    for kind, number in accidents(draw.randbytes(80)):
        run.let_happen(kind, number)
    state, told = RunState(plan_of(spec)), list[tuple[int, str, str, str]]()
    for seq, event in enumerate(run.state.journal, 1):
        state.apply(event)
        for each in owed_by(state, seq, event):
            if each.context.task is not None and each.context.event in ("task_started", "task_finished"):
                told.append((state.generation, each.context.event, each.entry.path, each.context.task["id"]))
    assert len(set(told)) == len(told)
