"""What is recorded of an exception: a type, a message, and facts that are JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, cast

from attrs import evolve

from actorflow.agents.call import AgentFailed
from actorflow.agents.output import plain_facts
from actorflow.core.events import Failure
from actorflow.secrecy.hiding import NOTHING_HIDDEN, Hiding

__all__ = ["AgentFailed", "failure_of"]

_LONGEST_MESSAGE: Final = 4096  # bytes of UTF-8
_LONGEST_NAME: Final = 256
_SHOWN_IN_MESSAGE: Final = 3  # errors of a group that its message tells
_SHOWN_IN_DETAIL: Final = 10
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def failure_of(exc: BaseException, hiding: Hiding = NOTHING_HIDDEN) -> Failure:
    """Describe an exception, whatever it is; never raises.

    A group of one error is that error; a group of several tells the first three, and ten in `detail`. Messages hold no
    lone surrogates and at most 4 KiB of UTF-8; `detail` is JSON. An exception with a number of seconds as `retry_after`
    has `retry_after_s` there, unless its own facts say otherwise.

    Args:
        exc: what an attempt raised.
        hiding: takes secrets out of types, messages and facts, before anything is cut.
    """
    try:
        failure = _described(exc, hiding)
        return evolve(failure, detail=hiding.data(failure.detail)) if hiding.is_needed else failure
    except BaseException as error:  # noqa: BLE001 - an exception's attributes are other people's code
        message = f"(it cannot be shown: {type(error).__name__} on reading it)"
        return Failure(_text(hiding.text(type(exc).__name__), _LONGEST_NAME), message)


def _described(exc: BaseException, hiding: Hiding) -> Failure:
    if isinstance(exc, AgentFailed):
        name, message = hiding.text(str(exc.type)), hiding.text(str(exc.message))
        detail = {**_retry_after(exc), **plain_facts(exc.detail)}
        return Failure(_text(name, _LONGEST_NAME), _text(message, _LONGEST_MESSAGE), detail)
    if isinstance(exc, BaseExceptionGroup):
        return _of_group(cast("BaseExceptionGroup[BaseException]", exc), hiding)
    if type(exc) is RuntimeError and isinstance(exc.__cause__, StopIteration | StopAsyncIteration):
        # Python's own wrapping of one that leaves a coroutine (PEP 479)
        return _described(exc.__cause__, hiding)
    return Failure(
        _text(hiding.text(type(exc).__name__), _LONGEST_NAME), _message(exc, hiding), _retry_after(exc)
    )


def _retry_after(exc: BaseException) -> Mapping[str, Any]:
    """The wait that an exception asks for, as those of HTTP clients do; anything but a sensible number is none."""
    try:
        asked = getattr(exc, "retry_after", None)
        if isinstance(asked, bool) or not isinstance(asked, int | float):
            return {}
        seconds = float(asked)
    except Exception:  # noqa: BLE001 - other people's code, or a number beyond all floats
        return {}
    return {"retry_after_s": seconds} if isfinite(seconds) and seconds >= 0 else {}


def _of_group(group: BaseExceptionGroup[BaseException], hiding: Hiding) -> Failure:
    errors = _leaves(group)
    if len(errors) == 1:
        return _described(errors[0], hiding)
    failures = [failure_of(error, hiding) for error in errors[:_SHOWN_IN_DETAIL]]
    shown = [f"{failure.type}: {failure.message}" for failure in failures[:_SHOWN_IN_MESSAGE]]
    more = f"; and {len(errors) - len(shown)} more" if len(errors) > len(shown) else ""
    message = f"{len(errors)} errors: {'; '.join(shown)}"
    detail = {"errors": [{"type": failure.type, "message": failure.message} for failure in failures]}
    return Failure(
        _text(hiding.text(type(group).__name__), _LONGEST_NAME),
        _text(message, _LONGEST_MESSAGE - len(more)) + more,
        detail,
    )


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        exc = pending.pop()
        if isinstance(exc, BaseExceptionGroup):
            pending.extend(reversed(cast("BaseExceptionGroup[BaseException]", exc).exceptions))
        else:
            leaves.append(exc)
    return leaves


def _message(exc: BaseException, hiding: Hiding) -> str:
    try:
        return _text(hiding.text(str(exc)), _LONGEST_MESSAGE)
    except BaseException as error:  # noqa: BLE001 - a `__str__` is other people's code
        return f"(its message cannot be shown: {type(error).__name__} in __str__)"


def _text(text: str, longest: int) -> str:
    """The text without lone surrogates, and cut to so many bytes of UTF-8."""
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text[: longest + 1])
    data = text.encode()
    if len(data) <= longest:
        return text
    return data[: longest - 3].decode(errors="ignore") + "…"
