"""Values of a program's own classes from plain JSON, each class taken at its word.

Text is no number, true is not 1, one text is no list of texts, and a key that a class does not have is refused. All that
does not fit is told at once, each with its place.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs
from attrs import frozen

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["ParamsRefused", "Wrong", "is_class_of_params", "structured"]

_Path: TypeAlias = tuple[str | int, ...]
_Read: TypeAlias = Callable[[Any, Any], Any]


@frozen
class Wrong:
    """What is wrong with a part of a value."""

    path: _Path  #: keys and numbers from the outermost on; empty: the whole
    message: str

    def __str__(self) -> str:
        """The place, if it is not the whole, and the message."""
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return f"{steps.removeprefix('.')}: {self.message}" if steps else self.message


class ParamsRefused(ValueError):  # noqa: N818 - it says what happened
    """Raised when a value does not fit its class."""

    def __init__(self, wrong: tuple[Wrong, ...]) -> None:
        self.wrong = wrong  #: everything, at least one
        super().__init__("; ".join(map(str, wrong)))


def is_class_of_params(kind: Any) -> bool:
    """Whether a class says which fields it has: one of attrs, or a dataclass."""
    return isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind))


def structured(kind: Any, data: Any) -> Any:
    """Make a value of a type from plain JSON, strictly.

    Raises:
        ParamsRefused: with all that does not fit, also what a class says of its own values.
    """
    try:
        return _converter().structure(data, kind)
    except Exception as error:  # classes are other people's code
        raise ParamsRefused(tuple(_wrong(error, ()))) from error


_WORDS: Final[Mapping[type, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}
_ACCEPTED: Final[Mapping[type, tuple[type, ...]]] = {float: (int, float), list: (list, tuple)}
"""By what is asked for: the types of values that will do, where these are more than the type itself."""


@cache
def _converter() -> Converter:
    """A strict converter: by itself, cattrs makes text of numbers, and a list of the letters of a text."""
    from cattrs import Converter  # noqa: PLC0415 - slow to import, and few programs have actions of their own
    from cattrs.cols import is_frozenset, is_mapping, is_sequence, is_set  # noqa: PLC0415
    from cattrs.strategies import configure_union_passthrough  # noqa: PLC0415

    converter = Converter(forbid_extra_keys=True)
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, _only(kind, lambda value, target: target(value)))
    for is_list in (is_sequence, is_set, is_frozenset):
        _make_strict(converter, is_list, list)
    for is_dict in (is_mapping, is_class_of_params):
        _make_strict(converter, is_dict, dict)
    converter.register_structure_hook_func(_is_literal, _read_word)
    configure_union_passthrough(str | int | float | bool | None, converter)
    return converter


def _make_strict(converter: Converter, is_kind: Callable[[Any], bool], shape: type) -> None:
    """Let a kind of types be read as before, but from values of one shape alone."""
    asked: list[Any] = []  # types whose former readers are being looked up: not these

    def reader(kind: Any) -> _Read:
        asked.append(kind)
        try:
            former: _Read = converter.get_structure_hook(kind, cache_result=False)
        finally:
            asked.pop()
        return _only(shape, former)

    converter.register_structure_hook_factory(lambda kind: kind not in asked and is_kind(kind), reader)


def _only(shape: type, read: _Read) -> _Read:
    """A reader that refuses values of any other shape."""
    accepted = _ACCEPTED.get(shape, (shape,))

    def reading(value: object, target: Any) -> Any:
        given = type(value)
        if given in accepted:
            return read(value, target)
        found = _WORDS.get(given, given.__name__)
        raise TypeError(f"must be {_WORDS[shape]}, not {found}")

    return reading


def _is_literal(kind: Any) -> bool:
    origin: Any = typing.get_origin(kind)
    return origin is Literal


def _read_word(value: Any, kind: Any) -> Any:
    words = typing.get_args(kind)
    if any(type(word) is type(value) and word == value for word in words):
        return value
    raise ValueError(f"{value!r} is none of {', '.join(map(repr, words))}")


def _wrong(error: BaseException, path: _Path) -> Iterator[Wrong]:
    """Everything that an error of cattrs is made of."""
    from cattrs.errors import (  # noqa: PLC0415 - as above
        ClassValidationError,
        ForbiddenExtraKeysError,
        IterableValidationError,
    )

    match error:
        case ClassValidationError():
            fields, others = error.group_exceptions()
            yield from _all_wrong([((*path, note.name), inner) for inner, note in fields])
            yield from _all_wrong([(path, inner) for inner in others])
        case IterableValidationError():
            items, others = error.group_exceptions()
            yield from _all_wrong([((*path, note.index), inner) for inner, note in items])
            yield from _all_wrong([(path, inner) for inner in others])
        case ForbiddenExtraKeysError():
            yield from (Wrong(path, f"unknown key {key!r}") for key in sorted(error.extra_fields))
        case KeyError():
            yield Wrong(path, "is missing")
        case _:
            first = error.args[0] if error.args else ""  # validators of attrs put more behind the sentence
            yield Wrong(path, first if isinstance(first, str) and first else repr(error))


def _all_wrong(placed: list[tuple[_Path, Exception]]) -> Iterator[Wrong]:
    for path, error in placed:
        yield from _wrong(error, path)
