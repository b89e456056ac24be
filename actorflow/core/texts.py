"""Rendered values as texts, which may have places for secrets in them."""

from __future__ import annotations

from typing import Any, TypeAlias

from actorflow.errors import ExpressionError
from actorflow.expression import Sealed

Text: TypeAlias = str | Sealed
"""What is given to a process or sent to a host: text, or text with places for secrets, which who acts fills in at the last moment."""


def text_of(value: Any, where: str) -> Text:
    """A rendered value as a process or a host is given it; `where` names its place.

    Raises:
        ExpressionError: it is a list or a mapping.
    """
    match value:
        case str() | Sealed():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            raise ExpressionError(f"{where} is a {type(value).__name__}, not text")
