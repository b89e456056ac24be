"""What a definition may say to an action of the program's own: its params, by a class, and how it is tried.

The loader knows such actions by their contracts alone; who performs them is no matter of a definition.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Final

import attrs
from attrs import field, frozen

from actorflow.spec.strict_params import ParamsRefused, is_class_of_params, structured

__all__ = ["CONTRACTS", "ActionContract", "Param", "ParamsRefused", "structured"]


@frozen
class Param:
    """One key of an action's params."""

    kind: Any  #: the type of its value
    is_required: bool


@frozen(kw_only=True)
class ActionContract:
    """An action as the loader knows it.

    Raises:
        TypeError: `params` is neither an attrs class nor a dataclass, or a type in it cannot be resolved.
    """

    name: str  #: what hooks call it in `type`
    params: type[Any] = field()  #: an attrs class or a dataclass
    timeout: float = 5.0  #: seconds of a try, unless the hook has its own
    max_attempts: int = 1  #: tries, unless the hook has a retry

    @params.validator
    def _check_params(self, _attribute: object, value: Any) -> None:
        if not is_class_of_params(value):
            msg = f"params of the action {self.name!r}: {value!r} is no attrs class and no dataclass"
            raise TypeError(msg)
        try:
            _params_of(value)
        except NameError as error:
            msg = f"params of the action {self.name!r}: {error}; say types that their module has when it is imported"
            raise TypeError(msg) from error

    @property
    def keys(self) -> Mapping[str, Param]:
        """The params, in the order of the class."""
        return _params_of(self.params)

    def structured(self, params: Any) -> Any:
        """An object of the params' class, from rendered params.

        Raises:
            ParamsRefused: with all that does not fit.
        """
        return structured(self.params, params)


CONTRACTS: Final[dict[str, ActionContract]] = {}
"""The actions that are registered for the whole process, by name: what is loaded by where nobody says others."""


def _params_of(kind: type[Any]) -> Mapping[str, Param]:
    hints = typing.get_type_hints(kind, include_extras=True)
    if attrs.has(kind):
        return {
            each.name: Param(hints.get(each.name, Any), each.default is attrs.NOTHING)
            for each in attrs.fields(kind)
            if each.init
        }
    none = dataclasses.MISSING
    return {
        each.name: Param(hints[each.name], each.default is none and each.default_factory is none)
        for each in dataclasses.fields(kind)
        if each.init
    }
