"""`retry_delay_secs` and `exponential_backoff` beside a number of retries: a retry with a delay."""

from __future__ import annotations

from typing import Final

from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.trees import laid_over, mapping, mark_of
from actorflow.spec.readers.words import RETRY
from actorflow.spec.text.nodes import MapNode, Node

__all__ = ["has_plain_retry", "with_paced_retry", "with_plain_retry"]

_SHORTEST: Final = "1ms"  # a delay of ours is never none
_DELAY_KEYS: Final = ("retry_delay_secs", "exponential_backoff")


def has_plain_retry(holder: Node) -> bool:
    """Whether an `on_error`, or a `retry`, is written as that tool's."""
    if not isinstance(holder, MapNode):
        return False
    return not holder.keys().isdisjoint(_DELAY_KEYS) or has_plain_retry(holder.get("retry"))


def with_paced_retry(holder: MapNode) -> MapNode:
    """What has a `retry:` mapping (a task, its `on_error`, `defaults`), with our words in it for the tool's delays."""
    retry = holder.get("retry")
    if not isinstance(retry, MapNode) or retry.keys().isdisjoint(_DELAY_KEYS):
        return holder
    grows = retry.get("exponential_backoff", False)
    if not isinstance(grows, bool):
        return holder  # read as it stands, those keys are unknown: that is the message to give
    copy = holder.without(())
    copy["retry"] = _beside_ours(retry, grows=grows)
    return copy


def with_plain_retry(task: MapNode, aside: SetAside) -> MapNode:
    """The task with the tool's delays read: constant and without jitter, unless they are to grow.

    A fallback to the task's own agent, which that tool allows there, is set aside.
    """
    task = with_paced_retry(task)
    on_error = task.get("on_error")
    if not isinstance(on_error, MapNode) or not has_plain_retry(on_error):
        return task
    if on_error.keys().isdisjoint(_DELAY_KEYS):
        copy = task.without(())
        copy["on_error"] = with_paced_retry(on_error)
        return copy
    retries, grows = on_error.get("retry", 0), on_error.get("exponential_backoff", False)
    if isinstance(retries, bool) or not isinstance(retries, int) or not isinstance(grows, bool):
        return task  # read as it stands, those keys are unknown: that is the message to give
    if "fallback_agent" in on_error and on_error["fallback_agent"] == task.get("agent"):
        on_error = aside.strip(
            on_error, ("fallback_agent",), "the task's own agent cannot stand in for itself"
        )
    copy = task.without(())
    if retries < 0:
        copy["on_error"] = on_error.without(_DELAY_KEYS)  # the number is the problem to tell
    elif RETRY.words.isdisjoint(on_error):
        copy["on_error"] = _written_out(on_error, retries, grows=grows)
    else:
        copy["on_error"] = _beside_ours(on_error, grows=grows)
    return copy


def _written_out(on_error: MapNode, retries: int, *, grows: bool) -> MapNode:
    mark = mark_of(on_error, "retry")
    retry = mapping(mark, {"max_attempts": retries + 1} | _pace(grows=grows))
    for key, value in _delay(on_error).items():
        retry.put(key, mark, value, mark_of(on_error, "retry_delay_secs"))
    return laid_over(on_error.without(_DELAY_KEYS), {"retry": retry}, mark)


def _beside_ours(on_error: MapNode, *, grows: bool) -> MapNode:
    """The tool's delays beside keys of our retries, which stand right in `on_error` and come first."""
    entries = _delay(on_error) | _pace(grows=grows)
    if "delay" in on_error and "delay" in entries:
        return on_error  # two delays: the loader names the one that it does not know
    missing = {key: value for key, value in entries.items() if key not in on_error}
    return laid_over(on_error.without(_DELAY_KEYS), missing, mark_of(on_error, "retry_delay_secs"))


def _pace(*, grows: bool) -> dict[str, Node]:
    return {} if grows else {"backoff": "constant", "jitter": "none"}


def _delay(on_error: MapNode) -> dict[str, Node]:
    delay = on_error.get("retry_delay_secs")
    if delay is None:
        return {}
    return {"delay": _SHORTEST if delay == 0 and not isinstance(delay, bool) else delay}
