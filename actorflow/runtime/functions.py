"""Functions that a program has for events of the lifecycle: for which events, and under which names."""

from __future__ import annotations

import re
from typing import Final, get_args

from actorflow.errors import BadInputError
from actorflow.expression.names import did_you_mean
from actorflow.spec.model import NOT_FIRED_YET, HookEvent

__all__ = ["refuse_event", "refuse_function_name"]

_FUNCTION_NAME: Final = re.compile(r"[^\s,]+")


def refuse_event(event: object) -> None:
    """Raise BadInputError for what no function could be called for."""
    events = get_args(HookEvent)
    if event not in events:
        hint = did_you_mean(event, events) if isinstance(event, str) else "; an event is a text"
        raise BadInputError((f"there is no event {event!r}{hint}",))
    if event in NOT_FIRED_YET:
        raise BadInputError((f"nothing in this version fires {event}: the function would never be called",))


def refuse_function_name(name: object) -> None:
    """Raise BadInputError for what cannot be the name of a function for an event: ACTORFLOW_HOOKS lists them."""
    if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name):
        raise BadInputError(
            (f"{name!r} cannot be the name of a function: write a text without blanks and commas",)
        )
