"""The actions that hooks can name: those that are built in, and those that a program registers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

from actorflow.core.hook_channels import channel_action
from actorflow.core.hook_config import FUNCTION
from actorflow.hooks.actions.action import Action
from actorflow.hooks.actions.channels import FileChannel, ServiceChannel
from actorflow.hooks.actions.command import CommandAction
from actorflow.hooks.actions.custom import CodeAction, CustomAction, CustomFunction
from actorflow.hooks.actions.dispatch import DispatchAction
from actorflow.hooks.actions.messages import LogAction, NotifyAction
from actorflow.hooks.actions.metric import MetricAction
from actorflow.hooks.actions.payloads import SERVICES
from actorflow.hooks.actions.webhook import WebhookAction
from actorflow.spec.action_contracts import CONTRACTS, ActionContract
from actorflow.spec.model.words import HookAction

__all__ = ["REGISTRY", "HookRegistry", "checked_function", "hook_action"]

_Function = TypeVar("_Function", bound=CustomFunction)
_AnyFunction = TypeVar("_AnyFunction", bound=Callable[..., Any])

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

_OF_FILES: Final[Mapping[str, Action]] = {
    "command": CommandAction(),
    "log": LogAction(),
    "notify": NotifyAction(),
    "webhook": WebhookAction(),
    "metric": MetricAction(),
    "dispatch_task": DispatchAction(),
}
_BUILT_IN: Final[Mapping[str, Action]] = {
    **_OF_FILES,
    **{channel_action(kind): ServiceChannel(service) for kind, service in SERVICES.items()},
    channel_action("file"): FileChannel(),
    FUNCTION: CodeAction(),
}
_RESERVED: Final = frozenset({*get_args(HookAction), *_BUILT_IN})


class HookRegistry:
    """The actions of a program: the built-in ones, and its own.

    A runtime that is given none goes by `REGISTRY`, and so does `load`; one that is given another must have its
    definitions loaded with `load(…, actions=registry.contracts)`.
    """

    def __init__(self) -> None:
        self._contracts: dict[str, ActionContract] = {}
        self._own: dict[str, CustomAction] = {}

    @classmethod
    def filling(cls, contracts: dict[str, ActionContract]) -> HookRegistry:
        """A registry that keeps its contracts where others look for them."""
        registry = cls()
        registry._contracts = contracts
        return registry

    def hook_action(
        self, name: str, *, params: type[Any], timeout: float = 5.0, max_attempts: int = 1
    ) -> Callable[[_Function], _Function]:
        """Register a coroutine function as the action `name`, which hooks call by `type: NAME`.

        It is called with the HookContext and an object of the class `params`. A mapping that it returns is kept in the
        record of the try; what it raises is a failed try. Cancellation, at the hook's timeout too, has to end it: one
        that goes on holds up its own hook, and the end of the runtime.

        Args:
            name: letters, digits, `_`, `.` and `-`, no digit first; none of the built-in actions.
            params: an attrs class or a dataclass, whose fields are what `params:` of a hook may hold.
            timeout: seconds of a try, where a hook says nothing else.
            max_attempts: tries, all counted, where a hook says nothing else.

        Raises:
            TypeError: `params` is no such class, or what is registered no coroutine function with two arguments.
            ValueError: the name cannot be taken, or a number is out of range.
        """
        if name in _RESERVED:
            raise ValueError(f"{name!r} is an action that is built in; choose another name")
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be the name of an action: letters, digits, '_', '.' and '-', no digit first"
            )
        if not 0 < timeout < float("inf"):
            raise ValueError(
                f"timeout of the action {name!r} must be a number of seconds above 0, not {timeout!r}"
            )
        if max_attempts < 1:
            raise ValueError(f"max_attempts of the action {name!r} must be at least 1, not {max_attempts!r}")
        contract = ActionContract(name=name, params=params, timeout=timeout, max_attempts=max_attempts)

        def register(function: _Function) -> _Function:
            self._register(contract, checked_function(function, "the HookContext", "its params"))
            return function

        return register

    @property
    def contracts(self) -> Mapping[str, ActionContract]:
        """What `load` has to know of the registered actions; a live view."""
        return MappingProxyType(self._contracts)

    def names(self) -> tuple[str, ...]:
        """All actions that hooks of a file can name here, in alphabetical order."""
        return tuple(sorted(_OF_FILES.keys() | self._own.keys()))

    def action(self, name: str) -> Action | None:
        """The action under a name, if there is one."""
        return _BUILT_IN.get(name) or self._own.get(name)

    def _register(self, contract: ActionContract, function: CustomFunction) -> None:
        name = contract.name
        known = self._own.get(name)
        if known is not None and _place_of(known.function) != _place_of(function):
            raise ValueError(
                f"the action {name!r} is registered already, as {'.'.join(_place_of(known.function))}; "
                f"{'.'.join(_place_of(function))} needs another name"
            )
        self._own[name] = CustomAction(function, contract)
        self._contracts[name] = contract


REGISTRY: Final = HookRegistry.filling(CONTRACTS)
"""The actions of the whole process."""


def hook_action(
    name: str, *, params: type[Any], timeout: float = 5.0, max_attempts: int = 1
) -> Callable[[_Function], _Function]:
    """Register a coroutine function as an action for the whole process; see `HookRegistry.hook_action`."""
    return REGISTRY.hook_action(name, params=params, timeout=timeout, max_attempts=max_attempts)


def checked_function(function: _AnyFunction, *takes: str) -> _AnyFunction:
    """The function itself, which is known to be a coroutine function of so many positional arguments.

    Raises:
        TypeError: it is not; hooks share the loop with the tasks, so that a synchronous one would hold them all up.
    """
    name = ".".join(_place_of(function))
    if not _is_async(function):
        raise TypeError(f"{name} is not a coroutine function; define it with 'async def'")
    try:
        inspect.signature(function).bind(*takes)
    except TypeError as error:
        raise TypeError(f"{name} cannot be called with {' and '.join(takes)}: {error}") from error
    return function


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, partial):
        function = function.func
    call = getattr(type(function), "__call__", None)  # noqa: B004 - a class's own, not whether there is one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _place_of(function: object) -> tuple[str, str]:
    """Where a function stands in its program: a module that is loaded again defines the same one anew."""
    while isinstance(function, partial):
        function = function.func
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return str(named.__module__), str(named.__qualname__)
