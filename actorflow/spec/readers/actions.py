"""The actions of hooks: which params each takes, and what these must look like before a template in them is rendered.

Beside those of the format there are the program's own, which the loader knows by their contracts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from attrs import evolve, frozen

from actorflow.spec.action_contracts import ActionContract, ParamsRefused, structured
from actorflow.spec.model import HookAction
from actorflow.spec.readers.block import Block, Keys
from actorflow.spec.readers.draft import ID, Draft, Scope, read_data
from actorflow.spec.readers.expressions import is_template, read_choice
from actorflow.spec.readers.paths import read_path, refuse_untrusted
from actorflow.spec.readers.urls import check_headers, check_url, fault_written_secret, read_statuses
from actorflow.spec.readers.words import HOOK_ACTIONS
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Mark, Node, kind_of

__all__ = ["Action", "action_of", "read_action", "read_notice", "read_params"]

_Check: TypeAlias = Callable[[Block, str], object]

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
METRIC_KINDS: Final = ("counter", "gauge", "histogram")
PRIORITIES: Final = ("low", "normal", "high", "urgent")
CHANNELS: Final = ("slack", "discord", "teams", "ntfy", "webhook", "file")

_METRIC_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:]{0,127}")
_SECRET: Final = re.compile(
    r"\s*(?:\$\{[A-Z_][A-Z0-9_]*\}|\{\{\s*secrets\.[A-Za-z_][A-Za-z0-9_-]*\s*\}\})\s*"
)
_REACH: Final = {"url": ("E206", "hosts"), "path": ("E207", "files")}
_COMPUTED: Final = frozenset({"set"})  # read by themselves: their texts are expressions


@frozen
class Action:
    """What the file may say to one action: each param with its check, those that must be given, and the defaults."""

    name: str
    params: Mapping[str, _Check]
    required: tuple[str, ...] = ()
    timeout: float = 5.0  #: seconds of a try, unless the hook has its own
    max_attempts: int = 1  #: tries, unless the hook has a retry
    is_batchable: bool = False
    contract: ActionContract | None = None  #: of one that the program has

    @property
    def keys(self) -> Keys:
        """The params by name."""
        return Keys(frozenset(self.params))


def action_of(name: HookAction) -> Action:
    """What the format says of an action of its own."""
    return _ACTIONS[name]


def read_action(draft: Draft, block: Block) -> Action | None:
    """The action that `type` names, a command if there is no type; reports one that is unknown, as None."""
    name = block.node.get("type", "command")
    if not isinstance(name, str):
        block.choice("type", HOOK_ACTIONS)
        return None
    if name == "notify" and _has_channels(block.node.get("params")):
        return _NOTICE_TO_CHANNELS
    if name in _ACTIONS:
        return _ACTIONS[name]
    if name in draft.actions:
        return _of_the_program(draft.actions[name])
    meant = block.report.choices(name, (*HOOK_ACTIONS, *draft.actions))
    hint = f"{meant}; an action of your own must be registered, with @hook_action, before the file is loaded"
    block.fault("E123", "type", f"there is no action {name!r}", hint)
    return None


def _has_channels(params: Node) -> bool:
    return isinstance(params, MapNode) and bool(params.get("channels"))


def _of_the_program(contract: ActionContract) -> Action:
    keys = contract.keys
    return Action(
        contract.name,
        dict.fromkeys(keys, _anything),  # its values are looked at when all of them are read
        tuple(key for key, param in keys.items() if param.is_required),
        timeout=contract.timeout,
        max_attempts=contract.max_attempts,
        contract=contract,
    )


def read_params(draft: Draft, block: Block, action: Action, scope: Scope) -> dict[str, Any]:
    """The `params:` of a hook as plain data, their texts noted as templates; reports what its action cannot take."""
    params = block.block("params")
    if params is None:
        if action.required and not block.has("params"):
            block.own_fault("E122", f"a {action.name} needs params with {_listed(action.required)}")
        return {}
    fields = _read_fields(draft, params, action, scope, f"a {action.name}")
    if action.name == "transform" and (values := params.block("set")) is not None:
        fields["set"] = {key: _read_value(draft, values, key, scope) for key in values.node}
    if action.contract is not None:
        _check_values(params, action.contract, fields)
    return fields


def _check_values(params: Block, contract: ActionContract, fields: dict[str, Any]) -> None:
    """Whether values without templates fit the class of an action's params; the rest shows when it is rendered."""
    keys = contract.keys
    constant = {key: value for key, value in fields.items() if _is_constant(params.node[key])}
    fits = [_fits(params, keys[key].kind, value, (key,)) for key, value in constant.items()]
    is_given = all(params.has(key) for key, param in keys.items() if param.is_required)
    if is_given and len(constant) == len(params.node) and all(fits):
        _fits(params, contract.params, constant, ())


def _is_constant(node: Node) -> bool:
    """Whether there is no template in it, and nothing that was reported before."""
    if isinstance(node, MapNode | ListNode):
        return all(map(_is_constant, node.values() if isinstance(node, MapNode) else node))
    return node is not BROKEN and not (isinstance(node, str) and is_template(node))


def _fits(params: Block, kind: Any, value: object, path: tuple[str | int, ...]) -> bool:
    """Whether a value is of a type; reports each part of it that is not, where that stands."""
    try:
        structured(kind, value)
    except ParamsRefused as refused:
        for wrong in refused.wrong:
            whole = evolve(wrong, path=(*path, *wrong.path))
            params.report.add("E121", _mark_of(params, whole.path), f"{params.path}.{whole}")
        return False
    return True


def _mark_of(params: Block, path: tuple[str | int, ...]) -> Mark:
    """Where a part of params begins; of what is missing, where that would stand."""
    node: Node = params.node
    mark = params.node.mark
    for step in path:
        match node, step:
            case MapNode(), str() if step in node.marks:
                mark, node = node.marks[step], node[step]
            case ListNode(), int():
                mark, node = node.marks[step], node[step]
            case _:
                break
    return mark


def _read_value(draft: Draft, values: Block, key: str, scope: Scope) -> Any:
    """What a transform computes: a bare expression is put in braces, as all params are templates."""
    if isinstance(values.node[key], str):
        return read_choice(draft, values, key, scope)
    return read_data(draft, values, key, scope)


def read_notice(draft: Draft, notice: Block, scope: Scope) -> dict[str, Any]:
    """What a notice says, as `on_complete: {notify: {…}}` of a task has it: the params of the action `notify`.

    Its text goes to the log, so only its channels may name secrets.
    """
    channels = notice.node.keys() & {"channels"}
    text = Block(notice.node.without(channels), notice.path, notice.report)
    said = _read_fields(draft, text, _ACTIONS["notify"], scope, "a notice")
    if not channels:
        return said
    only = Block(notice.node.without(notice.node.keys() - channels), notice.path, notice.report)
    sealed = evolve(scope, secrets=True)
    return {**said, **_read_fields(draft, only, evolve(_ACTIONS["notify"], required=()), sealed, "a notice")}


def _read_fields(draft: Draft, params: Block, action: Action, scope: Scope, what: str) -> dict[str, Any]:
    params.allow(action.keys)
    for key in action.required:
        if not params.has(key):
            params.own_fault("E122", f"{what} needs {key!r}")
    for key, check in action.params.items():
        if params.has(key):
            check(params, key)
    if draft.trust == "data" and action.contract is None:  # what a program registers, it trusts
        _refuse_reach(draft, params)
    return {
        key: read_data(draft, params, key, scope)
        for key in params.node
        if key in action.params.keys() - _COMPUTED
    }


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(map(repr, names))


def _refuse_reach(draft: Draft, params: Block) -> None:
    """A definition that is data names no host to reach and no file to write."""
    channels = [params.item_block("channels", *item) for item in _mappings(params, "channels")]
    for holder in (params, *channels):
        for key, (code, what) in _REACH.items():
            if holder is not None and holder.has(key):
                refuse_untrusted(draft, holder, key, code, what)


def _mappings(params: Block, key: str) -> list[tuple[int, Node]]:
    value = params.node.get(key)
    return (
        []
        if not isinstance(value, ListNode)
        else [(index, item) for index, item in enumerate(value) if isinstance(item, MapNode)]
    )


def _anything(params: Block, key: str) -> None:
    """Any JSON value will do."""


def _word(*words: str) -> _Check:
    return lambda params, key: params.choice(key, words)


def _message(params: Block, key: str) -> None:
    params.name(key)


def _mapping(params: Block, key: str) -> None:
    params.block(key)


def _scalars(params: Block, key: str) -> None:
    """A mapping of single values, as tags are."""
    tags = params.block(key)
    if tags is None:
        return
    for name, value in tags.node.items():
        if value is None or isinstance(value, MapNode | ListNode):
            tags.fault("E121", name, f"must be text, a number or a boolean, not {kind_of(value)}")


def _number(params: Block, key: str) -> None:
    value = params.node[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and value is not BROKEN and not (isinstance(value, str) and "{{" in value):
        params.fault("E121", key, f"must be a number, or a template that gives one, not {kind_of(value)}")


def _metric_name(params: Block, key: str) -> None:
    name = params.name(key)
    if name is not None and _METRIC_NAME.fullmatch(name) is None:
        hint = (
            "letters, digits, _, . and :, the first a letter or _, at most 128; what varies belongs into tags"
        )
        params.fault("E123", key, f"{name!r} cannot be the name of a metric", hint)


def _target(params: Block, key: str) -> None:
    """The id of a task, or an agent's name: never a template, as it is looked up before a run exists."""
    name = params.name(key)
    if name is not None and ID.fullmatch(name) is None:
        hint = "write the id of a task of this file, or the name of an agent"
        params.fault("E124", key, f"{name!r} cannot be the id of a task", hint)


def _sign(params: Block, key: str) -> None:
    """`{secret: …}`: one secret, or several while they are being rotated."""
    sign = params.block(key)
    if sign is None:
        return
    sign.allow(Keys.of("secret"))
    if not sign.has("secret"):
        sign.own_fault("E122", "a signature needs a secret", 'write secret: "${NAME}"')
    for item in sign.names("secret"):
        if _SECRET.fullmatch(item.text) is None:
            fault_written_secret(sign, "secret", item.index)


def _channels(params: Block, key: str) -> None:
    for index, item in params.items(key):
        channel = params.item_block(key, index, item)
        if channel is not None:
            _check_channel(channel)


def _check_channel(channel: Block) -> None:
    if not channel.has("type"):
        channel.own_fault("E122", "a channel needs a type", f"choose from {', '.join(CHANNELS)}")
        return
    kind = channel.choice("type", CHANNELS)
    if kind is None:
        return
    fields: dict[str, _Check] = (
        {"path": read_path} if kind == "file" else {"url": check_url, "headers": check_headers}
    )
    channel.allow(Keys(frozenset({"type", *fields})))
    needed = "path" if kind == "file" else "url"
    if not channel.has(needed):
        channel.own_fault("E122", f"a channel of type {kind} needs {needed!r}")
    for name, check in fields.items():
        if channel.has(name):
            check(channel, name)


def _sets(params: Block, key: str) -> None:
    values = params.block(key)
    if values is not None and not values.node:
        values.own_fault("E123", "must not be empty")


_NOTICE: Final[Mapping[str, _Check]] = {
    "message": _message,
    "title": _message,
    "priority": _word(*PRIORITIES),
    "channels": _channels,
}

_ACTIONS: Final[Mapping[str, Action]] = {
    "command": Action("command", {}, timeout=300.0),
    "log": Action(
        "log",
        {"message": _message, "level": _word(*LOG_LEVELS), "fields": _mapping},
        ("message",),
        is_batchable=True,
    ),
    "notify": Action("notify", _NOTICE, ("message",)),
    "webhook": Action(
        "webhook",
        {
            "url": check_url,
            "method": _word(*METHODS),
            "headers": check_headers,
            "body": _anything,
            "sign": _sign,
            "expect_status": read_statuses,
        },
        ("url",),
        timeout=10.0,
        max_attempts=5,
        is_batchable=True,
    ),
    "metric": Action(
        "metric",
        {"name": _metric_name, "kind": _word(*METRIC_KINDS), "value": _number, "tags": _scalars},
        ("name",),
        is_batchable=True,
    ),
    "dispatch_task": Action("dispatch_task", {"task_id": _target, "input": _mapping}, ("task_id",)),
    "transform": Action("transform", {"set": _sets, "output": _anything}),
}

_NOTICE_TO_CHANNELS: Final = evolve(
    _ACTIONS["notify"], timeout=_ACTIONS["webhook"].timeout, max_attempts=_ACTIONS["webhook"].max_attempts
)
"""A notice that has channels is tried as a webhook is."""
