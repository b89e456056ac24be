"""What a program may register as an action."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from attrs import frozen

from actorflow.core.hook_context import HookContext
from actorflow.hooks import HookRegistry, hook_action
from actorflow.hooks.registry import REGISTRY, checked_function
from actorflow.spec.action_contracts import CONTRACTS
from actorflow.spec.model.words import HookAction


@frozen
class PageParams:
    who: str


@dataclass
class DataParams:
    who: str


async def page(context: HookContext, params: PageParams) -> None:
    """Pages somebody."""


async def another(context: HookContext, params: PageParams) -> None:
    """Does something else."""


class Pager:
    async def __call__(self, context: HookContext, params: PageParams) -> None:
        """Pages somebody."""

    async def method(self, context: HookContext, params: PageParams) -> None:
        """Pages somebody."""


async def with_prefix(prefix: str, context: HookContext, params: PageParams) -> None:
    """Pages somebody."""


@pytest.mark.parametrize("function", [page, Pager(), Pager().method, functools.partial(with_prefix, "a")])
@pytest.mark.parametrize("params", [PageParams, DataParams])
def test_every_kind_of_coroutine_function_can_be_an_action(function: Any, params: type):
    registry = HookRegistry()
    assert registry.hook_action("page", params=params, timeout=30, max_attempts=3)(function) is function
    assert registry.action("page") is not None
    contract = registry.contracts["page"]
    assert (contract.name, contract.params, contract.timeout, contract.max_attempts) == (
        "page",
        params,
        30,
        3,
    )


def test_the_built_in_actions_are_in_every_registry():
    registry = HookRegistry()
    assert registry.names() == ("command", "dispatch_task", "log", "metric", "notify", "webhook")
    assert all(registry.action(name) for name in (*registry.names(), "code"))
    assert registry.action("page") is None
    assert dict(registry.contracts) == {}


def test_what_is_registered_in_one_registry_is_not_in_another():
    first, second = HookRegistry(), HookRegistry()
    first.hook_action("page", params=PageParams)(page)
    assert first.names() == ("command", "dispatch_task", "log", "metric", "notify", "page", "webhook")
    assert second.action("page") is None


@pytest.mark.parametrize("name", [*get_args(HookAction), "code"])
def test_the_name_of_an_action_that_is_built_in_cannot_be_taken(name: str):
    with pytest.raises(ValueError, match=f"'{name}' is an action that is built in"):
        HookRegistry().hook_action(name, params=PageParams)


@pytest.mark.parametrize("name", ["", "1st", "a b", "page!", "${x}", "{{ x }}"])
def test_a_name_that_no_file_would_write_cannot_be_taken(name: str):
    with pytest.raises(ValueError, match="cannot be the name of an action"):
        HookRegistry().hook_action(name, params=PageParams)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"timeout": 0}, "timeout of the action 'page' must be a number of seconds above 0, not 0"),
        ({"timeout": float("inf")}, "must be a number of seconds above 0, not inf"),
        ({"timeout": float("nan")}, "must be a number of seconds above 0, not nan"),
        ({"max_attempts": 0}, "max_attempts of the action 'page' must be at least 1, not 0"),
    ],
)
def test_a_number_out_of_range_is_refused(settings: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        HookRegistry().hook_action("page", params=PageParams, **settings)


def test_params_must_be_a_class_with_fields():
    with pytest.raises(TypeError, match="params of the action 'page'"):
        HookRegistry().hook_action("page", params=dict)


def sync_page(context: HookContext, params: PageParams) -> None:
    """Would hold up the loop."""


async def too_few(context: HookContext) -> None:
    """Takes no params."""


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (sync_page, "sync_page is not a coroutine function; define it with 'async def'"),
        (lambda context, params: None, "is not a coroutine function"),
        (7, "is not a coroutine function"),
        (too_few, "too_few cannot be called with the HookContext and its params: too many positional"),
    ],
)
def test_what_cannot_be_awaited_with_two_arguments_is_refused(function: Any, sentence: str):
    registry = HookRegistry()
    with pytest.raises(TypeError, match=sentence):
        registry.hook_action("page", params=PageParams)(function)
    assert registry.action("page") is None
    assert dict(registry.contracts) == {}


def test_a_function_for_an_event_takes_the_context_alone():
    assert checked_function(too_few, "the HookContext") is too_few
    with pytest.raises(TypeError, match="cannot be called with the HookContext: missing a required argument"):
        checked_function(page, "the HookContext")


def test_another_function_under_a_name_that_is_taken_is_refused():
    registry = HookRegistry()
    registry.hook_action("page", params=PageParams)(page)
    before = registry.action("page")
    with pytest.raises(
        ValueError, match=r"'page' is registered already, as .*\.page; .*\.another needs another name"
    ):
        registry.hook_action("page", params=PageParams)(another)
    assert registry.action("page") is before


def test_the_same_function_again_takes_the_place_of_the_first_as_when_a_module_is_loaded_again():
    registry = HookRegistry()
    registry.hook_action("page", params=PageParams)(page)

    async def page_again(context: HookContext, params: DataParams) -> None:
        """The module's new one."""

    page_again.__qualname__ = page.__qualname__
    registry.hook_action("page", params=DataParams, timeout=9)(page_again)
    assert registry.contracts["page"].timeout == 9
    assert registry.contracts["page"].params is DataParams


def test_the_free_function_registers_for_the_process_and_the_loader_knows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(REGISTRY, "_own", {})
    monkeypatch.delitem(CONTRACTS, "test.page", raising=False)
    try:
        assert hook_action("test.page", params=PageParams, max_attempts=2)(page) is page
        assert CONTRACTS["test.page"].max_attempts == 2
        assert REGISTRY.contracts["test.page"] is CONTRACTS["test.page"]
        assert REGISTRY.action("test.page") is not None
    finally:
        CONTRACTS.pop("test.page", None)
