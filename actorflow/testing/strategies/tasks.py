"""Tasks of drawn definitions, part by part: what comes before each, what it is given, and what becomes of its failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen

from actorflow.testing.strategies.drawing import FAILURE_TYPES, Drawing, Json
from actorflow.testing.strategies.features import Feature
from actorflow.testing.strategies.hooks import hooks_of_task

__all__ = ["Place", "draw_retry", "draw_task"]

_EDGES: Final[tuple[tuple[str, Feature], ...]] = (
    ("success", "dependencies"),
    ("failure", "failure_edges"),
    ("always", "always_edges"),
)


@frozen
class Place:
    """Where a task stands: edges lead to later tasks alone, so there is no circle."""

    id: str
    earlier: list[str]
    later: list[str]
    inputs: list[str]  #: declared ones


def draw_task(at: Drawing, place: Place) -> Json:
    """Draw a task; it has an agent, and all else only where features have it."""
    task: Json = {"agent": at.one(*at.agents)}
    edges = _edges(at, place)
    if edges:
        task["depends_on"] = edges
    needs = [edge if isinstance(edge, str) else str(edge["task"]) for edge in edges]
    for part in _PARTS:
        task.update(part(at, place, needs))
    if on_error := _on_error(at, place, str(task["agent"]), has_timeout="timeout" in task):
        task["on_error"] = on_error
    allows = at.has("transforms", rarer=2)
    if allows:
        task["allow_transform"] = True
    if hooks := hooks_of_task(at, [place.id, *needs], may_replace=allows):
        task["hooks"] = hooks
    return task


def _edges(at: Drawing, place: Place) -> list[str | Json]:
    """Edges of the kinds that may be; each task before it has one at most."""
    kinds = [on for on, feature in _EDGES if feature in at.features]
    if not kinds or not place.earlier:
        return []
    needs = at.some(place.earlier[::-1], 0, 3)
    found: list[str | Json] = []
    for need in needs:
        on = at.one(*kinds[:1] * 3, *kinds)
        is_short = on == "success" and at.one(True, True, False)
        found.append(need if is_short else {"task": need, "on": on})
    return found


def _condition(at: Drawing, place: Place, needs: list[str]) -> Json:
    if not at.has("when"):
        return {}
    reading = [f"tasks.{need}.{fact}" for need in needs for fact in ("output > 0", "status == 'success'")]
    reading += [f"input.{name} == 1" for name in place.inputs]
    return {"when": at.one("true", "false", "{{ workflow.name != '' }}", *reading)}


def _given(at: Drawing, place: Place, needs: list[str]) -> Json:
    """What the agent is given; some of it cannot be rendered, at times or ever."""
    if not at.has("templates"):
        return {}
    reading = [
        f"{{{{ tasks.{need}.{fact} }}}}" for need in needs for fact in ("output", "attempts", "error.message")
    ]
    reading += [f"{{{{ input.{name} }}}}" for name in place.inputs]
    return {"with": {"x": at.one(1, "{{ task.id }}", "{{ 6 / (task.attempt - 2) }}", *reading)}}


def _made(at: Drawing, _place: Place, _needs: list[str]) -> Json:
    if not at.has("outputs", rarer=2):
        return {}
    return {"outputs": {"made": at.one("{{ output }}", 1, "{{ output }} in all", "{{ output.n }}")}}


def _times(at: Drawing, _place: Place, _needs: list[str]) -> Json:
    times: Json = {}
    if at.has("sleeps"):
        times["sleep"] = at.one(1, "500ms", "2m")
    if at.has("timeouts"):
        times["timeout"] = at.one(5, "2s", 0.5)
    if at.has("deadlines"):
        times["deadline"] = at.one(5, 1.5, "1m")
    return times


def _retries(at: Drawing, _place: Place, _needs: list[str]) -> Json:
    return {"retry": draw_retry(at)} if at.has("retries") else {}


def draw_retry(at: Drawing) -> int | Json:
    """How often something is tried again, and after which delays."""
    if at.one(True, False):
        return at.one(1, 2)
    delay = at.one(1, 4, "500ms")
    retry: Json = {"max_attempts": at.one(2, 3), "delay": delay, "max_delay": at.one(60, 4, "10s")}
    if at.one(False, True):
        retry |= {
            "backoff": at.one("constant", "linear", "exponential"),
            "jitter": at.one("none", "equal", "full"),
            "factor": at.one(2, 1, 1.5),
        }
    for key in ("retry_on", "no_retry_on"):
        if at.one(False, False, True):
            retry[key] = at.one(FAILURE_TYPES[0], [FAILURE_TYPES[1], "timeout"], 503)
    return retry


def _onward(at: Drawing, place: Place, _needs: list[str]) -> Json:
    """Where a success leads."""
    if not place.later or not at.has("transitions"):
        return {}
    target = at.near(place.later)
    return {"on_success": at.one(target, {"next": target}, {"next": target, "with": {"y": "{{ output }}"}})}


def _rest(at: Drawing, _place: Place, _needs: list[str]) -> Json:
    rest: Json = {}
    if at.has("priorities"):
        rest["priority"] = at.one(1, -1)
    if at.has("losses", rarer=2):
        rest["idempotent"] = False
    if at.has("soft_errors", rarer=2):
        rest["soft_errors"] = True
    if at.has("notices", rarer=2):
        rest["on_complete"] = {"notify": at.one("done", "{{ task.id }} gave {{ output }}")}
    return rest | (_details(at) if at.has("details", rarer=2) else {})


def _details(at: Drawing) -> Json:
    return at.one(
        {"description": "what an agent reads"},
        {"sensitive": True},
        {"options": {"size": 3}},
        {"metadata": {"team": "sales"}},
    )


_PARTS: Final[tuple[Callable[[Drawing, Place, list[str]], Json], ...]] = (
    _condition,
    _given,
    _made,
    _times,
    _retries,
    _onward,
    _rest,
)
"""What a task may say beside its agent and edges: each gives keys, out of its place and the tasks right before it."""


def _on_error(at: Drawing, place: Place, agent: str, *, has_timeout: bool) -> Json:
    """What becomes of a failure when nobody tries again."""
    said: Json = {}
    others = [each for each in at.agents if each != agent]
    if others and at.has("fallbacks"):
        chosen = at.some(others, 1, 2)
        said["fallback_agent"] = at.one(chosen[0], chosen) if len(chosen) == 1 else chosen
    if at.has("fallback_values"):
        said["fallback_value"] = at.one(1, None, {"saved": True}, "{{ error.message }}")
    if at.has("strategies"):
        said["strategy"] = at.one("skip", "finish", "abort")
    if at.has("losses", rarer=2):
        said["max_losses"] = at.one(1, 0, 2)
    if at.has("breakers"):
        said["circuit_breaker"] = _breaker(at)
    if place.later and at.has("transitions"):
        said["next"] = at.near(place.later)
        said |= at.one({}, {"with": {"why": "{{ error.message }}"}})
    if not has_timeout and at.has("timeouts", rarer=2):
        said["timeout"] = 3
    return said


def _breaker(at: Drawing) -> dict[str, Any]:
    breaker: dict[str, Any] = {
        "threshold": at.one(1, 2),
        "window": at.one(60, 2),
        "cooldown": at.one(4, "1s", 30),
    }
    return breaker | at.one({}, {"key": "shared"})
