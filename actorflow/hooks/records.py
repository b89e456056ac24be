"""The facts that are kept of a try: JSON, and not too much of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from actorflow.core.json_values import checked_json
from actorflow.errors import ExpressionError
from actorflow.hooks.reasons import one_line, reason_of

__all__ = ["LARGEST", "bounded", "plain_record"]

LARGEST: Final = 65_536  #: bytes of a record as JSON
_NOT_KEPT_SHOWN: Final = 10


def plain_record(facts: Mapping[Any, Any]) -> dict[str, Any]:
    """A copy of what is JSON of some facts; `not_kept` says why the rest is none, ten times at most.

    Tuples become lists, and keys below the first level text, as JSON has it.
    """
    kept: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in facts.items():
        try:
            kept.update(checked_json(json.loads(json.dumps({key: value}, allow_nan=False))))
        except ExpressionError as error:
            problems.append(error.message)
        except Exception as error:  # noqa: BLE001 - other people's objects
            problems.append(one_line(f"$.{key}: {reason_of(error)}"))
    return {**kept, "not_kept": problems[:_NOT_KEPT_SHOWN]} if problems else kept


def bounded(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A plain record within the bound: of long texts the end is kept, what else is too large is left out.

    One that was cut says so: `truncated` is true.
    """
    if _size(record) <= LARGEST:
        return record
    sizes = {key: _size({key: value}) for key, value in record.items()}
    kept: dict[str, Any] = {}
    left = LARGEST - _size({"truncated": True})
    by_size = sorted(sizes, key=sizes.__getitem__)  # what the small ones leave is for the large
    for count, key in enumerate(by_size):
        share = left // (len(sizes) - count)
        value = record[key]
        if sizes[key] > share:
            size = share - _size({key: ""})
            if not isinstance(value, str) or size < 0:
                continue
            value = _end_of(value, size)
        kept[key] = value
        left -= min(sizes[key], share)
    return {**{key: kept[key] for key in record if key in kept}, "truncated": True}


def _end_of(text: str, size: int) -> str:
    """As much of a text's end as JSON has in so many bytes between its quotes."""
    text = text[max(0, len(text) - size) :]
    while (actual := _size(text) - 2) > size:
        text = text[len(text) - len(text) * size // actual :]
    return text


def _size(value: Any) -> int:
    return len(_as_json(value).encode())


_as_json: Final = json.JSONEncoder(ensure_ascii=False).encode  # `dumps` would make an encoder for each
