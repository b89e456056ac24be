"""From plain data to classes: a form for each type of a field, made of its annotation when it is first needed.

What a class does not know is refused, and no value is turned into another: text is no number, and true is not 1. Most
fields hold what JSON has as well, so a look at the value's type is all that they cost.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, Literal, NoReturn, TypeAlias, Union

import attrs
from attrs import fields, frozen

__all__ = ["Choose", "Form", "Forms", "key_of"]

Read: TypeAlias = Callable[[Any], Any]
Choose: TypeAlias = Callable[[dict[str, Any]], type[Any]]
"""Which class of a union a mapping is meant to be; may take what says so out of it."""

_JSON: Final[frozenset[type]] = frozenset({str, int, float, bool, types.NoneType, list, dict})
_LIST: Final[frozenset[type]] = frozenset({list})
_PLAIN: Final[Mapping[Any, frozenset[type]]] = {
    Any: _JSON,
    str: frozenset({str}),
    int: frozenset({int}),
    float: frozenset({float, int}),
    bool: frozenset({bool}),
    types.NoneType: frozenset({types.NoneType}),
    list[Any]: _LIST,
    Mapping[str, Any]: frozenset({dict}),
}


@frozen(eq=False)
class Form:
    """How the values of a type are read."""

    plain: frozenset[type]  #: values of these very types are taken as they are
    read: Read  #: what makes a value of anything else, or refuses it

    def of(self, value: Any) -> Any:
        """Read one value."""
        return value if type(value) in self.plain else self.read(value)


def key_of(name: str) -> str:
    """The key of a field, which cannot be called `with` or `while`."""
    return name.rstrip("_")


class Forms:
    """The forms of a family of frozen classes."""

    def __init__(self, unions: Mapping[Any, Choose], special: Mapping[tuple[type[Any], str], Any]) -> None:
        """Say what annotations leave open.

        Args:
            unions: by union of classes: which of them a mapping is.
            special: by class and field: the type to read, where the annotation says less.
        """
        self._unions = {frozenset(typing.get_args(union)): choose for union, choose in unions.items()}
        self._special = special
        self.of: Final[Callable[[Any], Form]] = cache(self._of)

    def _of(self, kind: Any) -> Form:
        """The form of a type; reading raises TypeError, ValueError, KeyError or AttributeError for anything else."""
        if kind in _PLAIN:
            return Form(_PLAIN[kind], _refuse)
        if attrs.has(kind):
            return Form(frozenset(), self._reader_of(kind))
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is Literal:
            return Form(frozenset(), _one_of(frozenset(arguments)))
        if origin is tuple:
            return Form(frozenset(), _tuple_of(self.of(arguments[0])))
        if origin in {Union, types.UnionType}:
            return self._of_union(frozenset(arguments))
        return Form(frozenset(), _mapping_of(*map(self.of, arguments)))

    def _of_union(self, kinds: frozenset[Any]) -> Form:
        classes = frozenset(kind for kind in kinds if attrs.has(kind))
        others = [self.of(kind) for kind in kinds - classes]
        reads = [form.read for form in others if form.read is not _refuse]
        if classes:
            reads.append(self._chosen_reader(classes))
        plain = frozenset[type]().union(*(form.plain for form in others))
        return Form(plain, reads[0] if reads else _refuse)

    def _chosen_reader(self, classes: frozenset[type[Any]]) -> Read:
        choose = self._unions.get(classes)
        if choose is None:
            (only,) = classes
            return self.of(only).read
        return lambda data: self.of(choose(data)).read(data)

    def _reader_of(self, kind: type[Any]) -> Read:
        forms: dict[str, tuple[str, frozenset[type], Read]] = {}

        def read(data: Any) -> Any:
            if not forms:  # at last, as a class may hold itself
                forms.update(self._fields_of(kind))
            given = {}
            for key, value in data.items():
                name, plain, read_value = forms[key]
                given[name] = value if type(value) in plain else read_value(value)
            return kind(**given)

        return read

    def _fields_of(self, kind: type[Any]) -> dict[str, tuple[str, frozenset[type], Read]]:
        hints = typing.get_type_hints(kind)
        forms = {name: self.of(self._special.get((kind, name), hints[name])) for name in _names_of(kind)}
        return {key_of(name): (name, form.plain, form.read) for name, form in forms.items()}


def _names_of(kind: type[Any]) -> list[str]:
    return [each.name for each in fields(kind)]


def _refuse(value: Any) -> NoReturn:
    msg = f"{type(value).__name__} is not expected here"
    raise TypeError(msg)


def _one_of(words: frozenset[Any]) -> Read:
    def read(value: Any) -> Any:
        if value in words:
            return value
        msg = f"{value!r} is none of {sorted(words)}"
        raise ValueError(msg)

    return read


def _tuple_of(item: Form) -> Read:
    def read(values: Any) -> Any:
        if type(values) not in _LIST:
            _refuse(values)
        return tuple([item.of(value) for value in values])

    return read


def _mapping_of(key: Form, value: Form) -> Read:
    return lambda values: {key.of(name): value.of(item) for name, item in values.items()}
