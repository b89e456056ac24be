"""JSON of a user's values: what is not JSON is refused here, whatever orjson could make of it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

#: without these orjson would write what does not come back as it went
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(value: object) -> bytes:
    """Write a value as JSON.

    Raises:
        TypeError: it is none.
    """
    return orjson.dumps(value, _plain, _OPTIONS)


def is_storable(name: str) -> bool:
    """Whether a store can hold a text at all: one with a lone surrogate, such as a shell may give, is in none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: object) -> object:
    """Take mappings that are not dicts, and refuse the rest."""
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    msg = f"{type(value).__name__} is not JSON"
    raise TypeError(msg)
