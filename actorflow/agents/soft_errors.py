"""Outputs that say of themselves that they are errors, from agents that succeed in every other way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from actorflow.agents.failure import AgentFailed, failure_of
from actorflow.core.events import Failure

__all__ = ["soft_failure"]

# where an error that is an object says what is wrong
_SAYINGS: Final = ("message", "detail", "reason", "title")
_CODES: Final = ("code", "type", "status")
_MOST_READ: Final = 4096  # characters of a text; a message is cut to as many bytes anyway


def soft_failure(
    output: Any, record: Mapping[str, Any] | None = None, *, quotes: bool = True
) -> Failure | None:
    """The failure that an output speaks of: an object with an `error` that is not empty, or with `success: false`.

    Its type is `soft_error`, its message what the output says, at most 4 KiB.

    Args:
        output: plain JSON.
        record: the facts beside the output, which the failure keeps.
        quotes: whether the message may say what the output says; False for outputs that are not shown.
    """
    if not isinstance(output, dict):
        return None
    answer = cast("dict[str, Any]", output)
    error = answer.get("error")
    if not _is_empty(error):
        says = _said(error)
    elif answer.get("success") is False:
        says = "; ".join(["success is false", *_found(answer, _SAYINGS)[:1]])
    else:
        return None
    message = f"the output is an error: {says}" if quotes else "the output is an error"
    return failure_of(AgentFailed("soft_error", message, record))


def _is_empty(error: Any) -> bool:
    return not (error.strip() if isinstance(error, str) else error)


def _said(error: Any) -> str:
    if isinstance(error, str):
        return error.strip()
    if isinstance(error, dict):
        facts = cast("dict[str, Any]", error)
        sayings = _found(facts, _SAYINGS)
        if sayings:
            code = _found(facts, _CODES)[:1]
            return f"{sayings[0]} ({code[0]})" if code else sayings[0]
    return json.dumps(error, ensure_ascii=False)[:_MOST_READ]


def _found(facts: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    """The texts and numbers under these keys."""
    values = [facts.get(key) for key in keys]
    return [
        str(value).strip()[:_MOST_READ]
        for value in values
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip()
    ]
