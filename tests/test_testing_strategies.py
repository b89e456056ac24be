"""The strategies for users' tests: what is drawn is valid, covers all that it promises to, and shrinks."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest
from hypothesis import find, given, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from actorflow import load_dict
from actorflow.core.checkpoint import freeze, thaw
from actorflow.core.events import Event
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.runtime.inputs import checked_inputs
from actorflow.spec import WorkflowSpec
from actorflow.spec.definition import from_json, to_json
from actorflow.spec.surface.schema import workflow_schema
from actorflow.testing.agents import Hangs, ScriptedAgent
from actorflow.testing.strategies import (
    EVERY_FEATURE,
    History,
    definitions,
    documents,
    histories,
    inputs_for,
    outcomes,
)
from actorflow.testing.strategies.features import OF_HOOKS
from tests.promises_of_recovery import read_history
from tests.scenarios import snapshot

EDITOR = Draft202012Validator(workflow_schema())


def drawn(strategy: st.SearchStrategy[Any], count: int, number: int = 0) -> list[Any]:
    """So many examples, other ones for each number."""
    found: list[Any] = []

    def note(each: Any) -> None:
        found.append(each)

    settings(max_examples=count, database=None, deadline=None)(seed(number)(given(strategy)(note)))()
    return found


@contextmanager
def warnings_of(name: str) -> Iterator[list[str]]:
    """What a logger is told meanwhile."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)


@settings(max_examples=120, deadline=None)
@given(documents(features=EVERY_FEATURE))
def test_every_document_loads_without_a_problem_and_is_kept_as_it_is(document: dict[str, Any]):
    assert [error.message for error in EDITOR.iter_errors(document)] == []
    with warnings_of("actorflow") as told:
        spec = load_dict(json.loads(json.dumps(document)), may_reach=True)
    assert told == []
    assert from_json(to_json(spec)) == spec


@settings(max_examples=50, deadline=None)
@given(definitions(3, agents=["alone"], hooks=False))
def test_a_definition_has_the_tasks_and_agents_that_it_may_have(spec: WorkflowSpec):
    assert 1 <= len(spec.tasks) <= 3
    assert set(spec.agent_names) == {"alone"}
    assert spec.hooks_of_run == (spec.hooks, spec.default_hooks, *(task.hooks for task in spec.tasks))
    assert not any(hooks.lists for hooks in spec.hooks_of_run)


Tasks = list[dict[str, Any]]


def tasks_of(document: dict[str, Any]) -> Tasks:
    tasks = document["tasks"]
    return list(tasks.values()) if isinstance(tasks, dict) else tasks


def of_tasks(*keys: str) -> Callable[[dict[str, Any]], bool]:
    """Whether some task has one of these keys."""
    return lambda document: any(key in task for task in tasks_of(document) for key in keys)


def of_failures(*keys: str) -> Callable[[dict[str, Any]], bool]:
    """The same of what a task says of its failure."""
    return lambda document: any(
        key in task.get("on_error", {}) for task in tasks_of(document) for key in keys
    )


def edges(on: str) -> Callable[[dict[str, Any]], bool]:
    def found(document: dict[str, Any]) -> bool:
        ends = [edge for task in tasks_of(document) for edge in task.get("depends_on", ())]
        return any((edge["on"] if isinstance(edge, dict) else "success") == on for edge in ends)

    return found


def hooks_of(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    holders = [document, document.get("defaults", {}), *tasks_of(document)]
    lists = [entry for holder in holders for entry in holder.get("hooks", {}).items()]
    return [(event, hook) for event, found in lists if event != "inherit" for hook in found]


def hooks(is_wanted: Callable[[str, dict[str, Any]], bool]) -> Callable[[dict[str, Any]], bool]:
    return lambda document: any(is_wanted(event, hook) for event, hook in hooks_of(document))


def is_blocking(event: str, hook: dict[str, Any]) -> bool:
    is_usual = event in ("pre_workflow", "on_error", "post_workflow")
    return hook.get("mode", "blocking" if is_usual else "async") == "blocking"


SHOWS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "dependencies": edges("success"),
    "failure_edges": edges("failure"),
    "always_edges": edges("always"),
    "transitions": lambda document: of_tasks("on_success")(document) or of_failures("next")(document),
    "stages": lambda document: "workflows" in document,
    "when": of_tasks("when"),
    "priorities": of_tasks("priority"),
    "sleeps": of_tasks("sleep"),
    "inputs": lambda document: "inputs" in document,
    "templates": of_tasks("with"),
    "outputs": lambda document: "outputs" in document or of_tasks("outputs")(document),
    "agents": lambda document: "agents" in document,
    "defaults": lambda document: "defaults" in document,
    "details": of_tasks("description", "options", "metadata", "sensitive"),
    "retries": lambda document: of_tasks("retry")(document) or "retry" in document.get("defaults", {}),
    "fallbacks": of_failures("fallback_agent"),
    "fallback_values": of_failures("fallback_value"),
    "strategies": of_failures("strategy"),
    "breakers": of_failures("circuit_breaker"),
    "budgets": lambda document: "retry_budget" in document.get("limits", {}),
    "deadlines": lambda document: of_tasks("deadline")(document) or "deadline" in document.get("limits", {}),
    "timeouts": lambda document: of_tasks("timeout")(document) or of_failures("timeout")(document),
    "losses": lambda document: of_tasks("idempotent")(document) or of_failures("max_losses")(document),
    "soft_errors": of_tasks("soft_errors"),
    "parallelism": lambda document: "max_parallel" in document.get("limits", {}),
    "blocking_hooks": hooks(is_blocking),
    "async_hooks": hooks(lambda event, hook: event != "signal_received" and not is_blocking(event, hook)),
    "signals": hooks(lambda event, _: event == "signal_received"),
    "transforms": hooks(lambda _, hook: hook["type"] == "transform"),
    "notices": of_tasks("on_complete"),
    "dispatches": hooks(lambda _, hook: hook["type"] == "dispatch_task"),
    "webhooks": hooks(lambda _, hook: hook["type"] == "webhook"),
}
"""How each feature shows in a document."""

COMES_WITH = {
    "defaults": {"retries"},
    "transforms": {"async_hooks"},
    "dispatches": {"async_hooks"},
    "webhooks": {"async_hooks"},
}
"""Features that stand on others."""


def shown_by(document: dict[str, Any]) -> set[str]:
    return {feature for feature, is_shown in SHOWS.items() if is_shown(document)}


def test_all_features_appear_where_all_may():
    assert SHOWS.keys() == EVERY_FEATURE
    found = [shown_by(document) for document in drawn(documents(features=EVERY_FEATURE), 180)]
    assert set().union(*found) == EVERY_FEATURE
    assert set() in found


@pytest.mark.parametrize("feature", sorted(EVERY_FEATURE))
def test_only_those_features_appear_that_may(feature: str):
    wanted = {feature} | COMES_WITH.get(feature, set())
    shown = set().union(*(shown_by(document) for document in drawn(documents(4, features=wanted), 25)))
    assert shown == wanted


def test_there_are_no_hooks_where_there_may_be_none():
    found = drawn(documents(features=EVERY_FEATURE, hooks=False), 60)
    assert not OF_HOOKS & set().union(*map(shown_by, found))


def test_what_shrinks_goes_to_one_plain_task():
    once = settings(max_examples=100, database=None)
    smallest = find(documents(3), of_tasks("retry"), settings=once)
    assert smallest == {"name": "drawn", "tasks": {"t0": {"agent": "main", "retry": 1}}}


@settings(max_examples=40, deadline=None)
@given(definitions(1, features={"inputs"}).flatmap(lambda spec: st.tuples(st.just(spec), inputs_for(spec))))
def test_inputs_are_those_that_the_workflow_takes(example: tuple[WorkflowSpec, dict[str, Any]]):
    spec, inputs = example
    taken = checked_inputs(spec, inputs)
    assert {name: taken[name] for name in inputs} == inputs


@settings(max_examples=50, deadline=None)
@given(histories(definitions(features=EVERY_FEATURE)), st.integers(0, 40))
def test_every_history_is_legal_and_may_be_folded_in_two_parts(history: History, first: int):
    read_history(history.spec, history.run_id, list(history.events))
    frozen = freeze(history.state_after(first))
    kept = json.loads(json.dumps({"body": frozen.body, "rows": list(frozen.rows)}))
    thawed = thaw(plan_of(history.spec), kept["body"], kept["rows"])
    assert isinstance(thawed, RunState)
    for event in history.events[first:]:
        thawed.apply(event)
    assert snapshot(thawed) == snapshot(history.state)


@settings(max_examples=30, deadline=None)
@given(histories(definitions(3), is_ended=True, run_id="mine"))
def test_a_history_goes_to_the_end_if_it_is_to(history: History):
    assert history.run_id == history.state.run_id == "mine"
    assert history.state.phase == "ended"


RUNS: list[set[str]] = [
    {"retries", "budgets"},
    {"fallbacks", "fallback_values"},
    {"breakers", "deadlines"},
    {"blocking_hooks", "stages", "sleeps"},
]
"""Features of small workflows that between them come to everything."""


def test_histories_have_every_kind_of_event():
    missing = set(get_args(Event))
    for number in range(10):
        for words in RUNS:
            for history in drawn(histories(definitions(2, features=words)), 30, number):
                missing.difference_update(map(type, history.events))
        if not missing:
            return
    pytest.fail(f"no history has {missing}")


def test_outcomes_are_steps_of_an_agent_which_hang_only_if_they_can():
    steps = drawn(outcomes(), 60)
    assert ScriptedAgent(*steps)
    assert {type(step).__name__ for step in steps} == {"Returns", "Fails"}
    assert any(isinstance(step, Hangs) for step in drawn(outcomes(can_hang=True), 60))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"features": {"retrys"}}, "there is no feature 'retrys' of definitions; did you mean 'retries'?"),
        ({"max_tasks": 0}, "max_tasks is 0; a definition has at least one task"),
        ({"agents": []}, "agents must be one name or more, each once, and not []"),
        ({"agents": ["a", "a"]}, "agents must be one name or more, each once, and not ['a', 'a']"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_drawn_is_told_at_once(arguments: dict[str, Any], said: str):
    with pytest.raises(ValueError) as raised:
        definitions(**arguments)
    assert str(raised.value) == said


def test_hypothesis_is_imported_by_the_strategies_alone_and_missed_with_advice():
    program = (
        "import sys, actorflow.testing\n"
        "assert 'hypothesis' not in sys.modules\n"
        "sys.modules['hypothesis'] = None\n"
        "import actorflow.testing.strategies\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        "ImportError: actorflow.testing.strategies needs hypothesis: pip install 'actorflow[testing]'"
    )
