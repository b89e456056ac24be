"""Hooks of drawn definitions: on every event that this version fires, with every action that needs no command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, get_args

from attrs import frozen

from actorflow.core.hook_config import BLOCKING, OF_RUNS
from actorflow.spec.model import NOT_FIRED_YET, HookEvent
from actorflow.testing.strategies.drawing import Drawing, Json
from actorflow.testing.strategies.features import Feature

__all__ = ["hooks_of_run", "hooks_of_task"]

_SIGNAL: Final = "signal_received"
_FIRED: Final[tuple[HookEvent, ...]] = tuple(
    event for event in get_args(HookEvent) if event not in NOT_FIRED_YET and event != _SIGNAL
)
_OF_TASKS: Final = tuple(event for event in _FIRED if event not in OF_RUNS)
_WAITED_FOR: Final = frozenset({"pre_workflow", "on_error", "post_workflow"})
"""Blocking, if a hook does not say otherwise."""
_CANNOT_FAIL: Final = frozenset({"on_error", "post_workflow"})
_BATCHED: Final = frozenset({"log", "metric", "webhook"})
_MOST_HOOKS: Final = 2


@frozen
class _Spot:
    """Where a hook is to stand."""

    event: str
    is_blocking: bool
    tasks: Sequence[str]  #: those that it may read
    may_replace: bool  #: whether it may replace an output

    @property
    def is_of_task(self) -> bool:
        """Whether it is told of a task."""
        return self.event not in OF_RUNS and self.event != _SIGNAL


def hooks_of_task(at: Drawing, readable: Sequence[str], *, may_replace: bool) -> Json:
    """Draw the `hooks` of a task, or those by default; mostly none.

    Args:
        at: the example.
        readable: the tasks that templates may read.
        may_replace: whether a transform may replace the output.
    """
    hooks = _lists(at, _OF_TASKS, readable, may_replace=may_replace)
    return hooks | at.one({}, {}, {"inherit": False}) if hooks else {}


def hooks_of_run(at: Drawing, tasks: Sequence[str]) -> Json:
    """Draw the `hooks` of a workflow."""
    return _lists(at, _FIRED, tasks, may_replace=True)


def _lists(at: Drawing, events: Sequence[str], tasks: Sequence[str], *, may_replace: bool) -> Json:
    """Hooks on a few of the events that may have some."""
    kinds: tuple[tuple[Feature, list[str], bool], ...] = (
        ("blocking_hooks", [event for event in events if event in BLOCKING], True),
        ("async_hooks", list(events), False),
        ("signals", [_SIGNAL], False),
    )
    lists: Json = {}
    for feature, found, is_blocking in kinds:
        if at.has(feature):
            for event in at.some(found, 1, 3):
                spot = _Spot(event, is_blocking, tasks, may_replace)
                lists.setdefault(event, []).extend(at.part(partial(_list, spot=spot)))
    return lists


def _list(at: Drawing, spot: _Spot) -> list[Json]:
    """The hooks of one kind on one event: what a transform sets, those behind it may read."""
    count = at.one(1, _MOST_HOOKS)
    hooks = [at.part(partial(_hook, spot=spot)) for _ in range(count)]
    if at.has("transforms"):
        hooks.insert(0, _as_hook(at, spot, "transform", _computed(at, spot)))
    return hooks


def _hook(at: Drawing, spot: _Spot) -> Json:
    rare = [action for action, feature in _RARE_ACTIONS.items() if _is_for(spot, action) and at.has(feature)]
    action = at.one(*rare) if rare else at.one("log", "metric", "notify")
    return _as_hook(at, spot, action, _PARAMS[action](at, spot))


_RARE_ACTIONS: Final[Mapping[str, Feature]] = {"dispatch_task": "dispatches", "webhook": "webhooks"}


def _is_for(spot: _Spot, action: str) -> bool:
    return action != "dispatch_task" or spot.is_of_task


def _as_hook(at: Drawing, spot: _Spot, action: str, params: Json) -> Json:
    hook: Json = {"type": action, "params": params}
    if spot.is_blocking != (spot.event in _WAITED_FOR):
        hook["mode"] = "blocking" if spot.is_blocking else "async"
    hook |= _policy(at, spot)
    if at.one(False, False, True):
        hook |= _terms(at, spot, action)
    return hook


def _policy(at: Drawing, spot: _Spot) -> Json:
    """What its failure means."""
    may_fail = spot.is_blocking and spot.event not in _CANNOT_FAIL
    on_error = at.one(None, None, "continue", "disable", *(["fail"] if may_fail else []))
    if on_error is None:
        return {}
    return {"on_error": on_error} | ({"disable_after": at.one(1, 2)} if on_error == "disable" else {})


def _terms(at: Drawing, spot: _Spot, action: str) -> Json:
    """When it acts, and how it is tried."""
    whens = ["true", "false"]
    if spot.is_of_task:
        whens += ["task.status == 'success'", "task.attempt > 1"]
    choices: list[Json] = [
        *({"when": when} for when in whens),
        {"enabled": "false"},
        {"name": "teller", "description": "tells"},
        {"timeout": "2s"},
        {"retry": {"max_attempts": 2, "delay": 1}},
        {"rate_limit": "10/s"},
        {"circuit_breaker": {"threshold": 1, "cooldown": 1}},
        {"ordered": False},
        {"max_age": "1h"},
    ]
    if action in _BATCHED:
        choices.append({"batch": {"max": 2, "window": 1}})
    return at.one(*choices)


def _text(at: Drawing, spot: _Spot) -> str:
    """A message; some of them cannot be rendered, at times or ever."""
    known = [f"{{{{ tasks.{task}.output }}}}" for task in spot.tasks]
    if spot.is_of_task:
        known += ["{{ task.id }}: {{ task.status }}", "{{ output }}"]
    if spot.event == _SIGNAL:
        known.append("{{ signal.name }}")
    return at.one("told", "{{ workflow.name }}", "{{ error.message }}", *known)


def _logged(at: Drawing, spot: _Spot) -> Json:
    return {"message": _text(at, spot)} | at.one({}, {"level": "warning", "fields": {"n": 1}})


def _noticed(at: Drawing, spot: _Spot) -> Json:
    return {"message": _text(at, spot)} | at.one({}, {"title": "Stuck", "priority": "high"})


def _measured(at: Drawing, spot: _Spot) -> Json:
    is_told_more = spot.is_of_task and at.one(False, True)
    return {"name": f"drawn_{spot.event}"} | ({"tags": {"task": "{{ task.id }}"}} if is_told_more else {})


def _dispatched(at: Drawing, _spot: _Spot) -> Json:
    return {"task_id": at.one(*at.agents)} | at.one({}, {"input": {"by": "{{ task.id }}"}})


def _sent(at: Drawing, spot: _Spot) -> Json:
    url = at.one("https://hooks.example.com/told", "https://hooks.example.com/{{ workflow.name }}")
    more: list[Json] = [{}, {"body": {"told": _text(at, spot)}}, {"method": "PUT"}]
    return {"url": url, **at.one(*more)}


def _computed(at: Drawing, spot: _Spot) -> Json:
    """What a transform sets; the output of a task only where the hook is waited for."""
    numbers = ["1", *(f"tasks.{task}.attempts" for task in spot.tasks)]
    if spot.is_of_task:
        numbers += ["output", "output + 1"]
    replaces = spot.may_replace and spot.is_blocking and spot.event == "task_finished"
    computed: Json = {"set": {"n": at.one(*numbers)}}
    if replaces and at.one(False, True, True):
        computed["output"] = at.one("{{ vars.n }}", 1)
    return computed


_PARAMS: Final[Mapping[str, Callable[[Drawing, _Spot], Json]]] = {
    "log": _logged,
    "metric": _measured,
    "notify": _noticed,
    "dispatch_task": _dispatched,
    "webhook": _sent,
}
