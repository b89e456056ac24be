"""The shortest scenario that breaks the same: less and less of it, as long as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from attrs import evolve

from actorflow.testing.agents import AgentStep, Returns
from tests.simulator.scenario import Life, Scenario

T = TypeVar("T")

MOST_TRIES: Final = 400
"""Worlds that are performed for one shrinking."""

_PLAIN: Final = Returns(1)


def shortest(scenario: Scenario, breaks: Callable[[Scenario], bool]) -> Scenario:
    """Leave out of a scenario whatever it can do without.

    Args:
        scenario: one that breaks something.
        breaks: whether another one breaks the same.
    """
    tries, place, kept = 0, 0, 0
    candidates = list(_smaller(scenario))
    while candidates and kept < len(candidates) and tries < MOST_TRIES:
        place %= len(candidates)
        tries += 1
        if breaks(candidates[place]):
            scenario, kept = candidates[place], 0
            candidates = list(_smaller(scenario))  # the next thing stands where the one stood that is gone
        else:
            place, kept = place + 1, kept + 1
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios with one thing less, the largest things first."""
    for starts in _without_one(scenario.starts, least=1):
        yield _tidied(evolve(scenario, starts=starts))
    if len(scenario.definitions) > len({start.definition for start in scenario.starts}):
        yield _tidied(scenario)
    for lives in _without_one(scenario.lives, least=1):
        yield evolve(scenario, lives=lives)
    for number, document in enumerate(scenario.definitions):
        for simpler in _simpler_documents(document):
            definitions = [*scenario.definitions]
            definitions[number] = simpler
            yield evolve(scenario, definitions=definitions)
    for name in ("acts", "answers", "exits"):
        for fewer in _without_one(getattr(scenario, name)):
            yield evolve(scenario, **{name: fewer})
    for number, life in enumerate(scenario.lives):
        for simpler_life in _simpler_lives(life):
            lives = [*scenario.lives]
            lives[number] = simpler_life
            yield evolve(scenario, lives=lives)
    for name, steps in scenario.agents.items():
        for fewer_steps in _simpler_steps(steps):
            yield evolve(scenario, agents={**scenario.agents, name: fewer_steps})


def _without_one(items: Sequence[T], least: int = 0) -> Iterator[list[T]]:
    if len(items) > least:
        for index in range(len(items)):
            yield [*items[:index], *items[index + 1 :]]


def _tidied(scenario: Scenario) -> Scenario:
    """Without the definitions that no run is of any more."""
    used = sorted({start.definition for start in scenario.starts})
    starts = [evolve(start, definition=used.index(start.definition)) for start in scenario.starts]
    return evolve(scenario, starts=starts, definitions=[scenario.definitions[number] for number in used])


def _simpler_lives(life: Life) -> Iterator[Life]:
    if life.crash is not None:
        yield evolve(life, crash=None)
    if life.faults:
        yield evolve(life, faults=[])
    if life.takes_over:
        yield evolve(life, takes_over=False)


def _simpler_steps(steps: Sequence[AgentStep]) -> Iterator[list[AgentStep]]:
    yield from _without_one(steps, least=1)
    for index, step in enumerate(steps):
        if step != _PLAIN:
            yield [*steps[:index], _PLAIN, *steps[index + 1 :]]


def _simpler_documents(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    tasks: Mapping[str, Mapping[str, Any]] = document["tasks"]
    if len(tasks) > 1:
        for name in tasks:
            yield _without_task(document, name)
    for event, hooks in document["hooks"].items():
        for fewer in _without_one(hooks):
            others = {other: each for other, each in document["hooks"].items() if other != event}
            yield {**document, "hooks": {**others, event: fewer} if fewer else others}
        for index, hook in enumerate(hooks):
            for key in hook.keys() - {"type", "mode", "params"}:
                plainer = {other: value for other, value in hook.items() if other != key}
                yield {
                    **document,
                    "hooks": {**document["hooks"], event: [*hooks[:index], plainer, *hooks[index + 1 :]]},
                }
    for name, task in tasks.items():
        for key in sorted(task.keys() - {"agent"}):
            plainer = {other: value for other, value in task.items() if other != key}
            yield {**document, "tasks": {**tasks, name: plainer}}
        for key in sorted(task.get("on_error", {}).keys() - {"with"}):
            gone = ("next", "with") if key == "next" else (key,)
            on_error = {other: value for other, value in task["on_error"].items() if other not in gone}
            yield {**document, "tasks": {**tasks, name: {**task, "on_error": on_error}}}
    for key in sorted(document["limits"]):
        yield {
            **document,
            "limits": {other: value for other, value in document["limits"].items() if other != key},
        }
    for part in ("workflows", "outputs"):
        if part in document:
            yield {key: value for key, value in document.items() if key != part}


def _without_task(document: Mapping[str, Any], gone: str) -> Mapping[str, Any]:
    """A document without a task, and without what else speaks of it."""
    tasks = {name: _without_mentions(task, gone) for name, task in document["tasks"].items() if name != gone}
    smaller = {**document, "tasks": tasks}
    if f"tasks.{gone}." in str(document.get("outputs")):
        del smaller["outputs"]
    if "workflows" in document:
        steps = [
            {**step, "tasks": [name for name in step["tasks"] if name != gone]}
            for step in document["workflows"]["all"]["steps"]
        ]
        full = [step["stage"] for step in steps if step["tasks"]]
        smaller["workflows"] = {"all": {"steps": [_after(full, step) for step in steps if step["tasks"]]}}
    return smaller


def _after(stages: Sequence[str], step: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stage that depends on those alone that there are."""
    if "depends_on" not in step:
        return step
    return {**step, "depends_on": [stage for stage in step["depends_on"] if stage in stages]}


def _without_mentions(task: Mapping[str, Any], gone: str) -> Mapping[str, Any]:
    plain = {key: value for key, value in task.items() if f"tasks.{gone}." not in str(value)}
    if "depends_on" in plain:
        plain["depends_on"] = [edge for edge in task["depends_on"] if edge["task"] != gone]
    if plain.get("on_success", {}).get("next") == gone:
        del plain["on_success"]
    if plain.get("on_error", {}).get("next") == gone:
        plain["on_error"] = {
            key: value for key, value in plain["on_error"].items() if key not in ("next", "with")
        }
    return plain
