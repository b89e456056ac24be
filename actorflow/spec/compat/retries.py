"""`retry_delay_secs` and `exponential_backoff` beside a number of retries: a retry with a delay."""

from __future__ import annotations

from typing import Final

from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.trees import laid_over, mapping, mark_of
from actorflow.spec.text.nodes import MapNode, Node

__all__ = ["has_plain_retry", "with_plain_retry"]

_DELAY_KEYS: Final = ("retry_delay_secs", "exponential_backoff")


def has_plain_retry(on_error: Node) -> bool:
    """Whether an `on_error` is written as that tool's."""
    return isinstance(on_error, MapNode) and not on_error.keys().isdisjoint(_DELAY_KEYS)


def with_plain_retry(task: MapNode, aside: SetAside) -> MapNode:
    """The task with the tool's delays read: constant and without jitter, unless they are to grow.

    A fallback to the task's own agent, which that tool allows there, is set aside.
    """
    on_error = task.get("on_error")
    if not isinstance(on_error, MapNode) or not has_plain_retry(on_error):
        return task
    retries, grows = on_error.get("retry", 0), on_error.get("exponential_backoff", False)
    if isinstance(retries, bool) or not isinstance(retries, int) or not isinstance(grows, bool):
        return task  # read as it stands, those keys are unknown: that is the message to give
    if "fallback_agent" in on_error and on_error["fallback_agent"] == task.get("agent"):
        on_error = aside.strip(
            on_error, ("fallback_agent",), "the task's own agent cannot stand in for itself"
        )
    copy = task.without(())
    copy["on_error"] = _written_out(on_error, retries, grows=grows)
    return copy


def _written_out(on_error: MapNode, retries: int, *, grows: bool) -> MapNode:
    mark = mark_of(on_error, "retry")
    delay = on_error.get("retry_delay_secs")
    entries: dict[str, Node] = {"max_attempts": retries + 1}
    if not grows:
        entries |= {"backoff": "constant", "jitter": "none"}
    retry = mapping(mark, entries)
    if delay is not None and delay != 0:
        retry.put("delay", mark, delay, mark_of(on_error, "retry_delay_secs"))
    return laid_over(on_error.without(_DELAY_KEYS), {"retry": retry}, mark)
