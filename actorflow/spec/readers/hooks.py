"""The hooks of a workflow, entry, task or set, and of `defaults`: what happens on which event.

A `hooks:` block maps events to lists. Two keys beside them are no events: `use` names sets of the file, whose lists come
after the block's own, and `inherit: false` cuts off the lists of what is around a task.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve, frozen

from actorflow.spec.model import (
    NOT_FIRED_YET,
    BatchSpec,
    HookErrors,
    HookEvent,
    HookLists,
    HookMode,
    HookSpec,
    RetrySpec,
    TaskId,
)
from actorflow.spec.order import cycles, topological
from actorflow.spec.readers.actions import Action, read_action, read_params
from actorflow.spec.readers.block import Block, Keys
from actorflow.spec.readers.commands import read_command
from actorflow.spec.readers.draft import Dispatch, Draft, Level, Scope
from actorflow.spec.readers.expressions import read_condition
from actorflow.spec.readers.paths import read_path
from actorflow.spec.readers.retries import MOST_FAILURES, read_breaker, read_retry
from actorflow.spec.readers.runners import read_env
from actorflow.spec.readers.words import (
    BATCH,
    HOOK,
    HOOK_COMMAND,
    HOOK_ERRORS,
    HOOK_EVENTS,
    HOOK_MODES,
    RUN_EVENTS,
)
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Node, kind_of

__all__ = ["joined", "read_hook_lists", "read_hook_sets"]

_EVENTS: Final[dict[str, HookEvent]] = {event: event for event in HOOK_EVENTS}
_NO_EVENTS: Final = frozenset({"use", "inherit"})
_COMMAND_KEYS: Final = Keys(HOOK.words | HOOK_COMMAND.words)
_OF_COMMANDS_ALONE: Final = HOOK_COMMAND.words - HOOK.words
_NAMES_ITS_DEED: Final = frozenset({"type", "command", "params"})
_NO_HOOKS: Final = HookLists()
_DEFAULT: Final = HookSpec()
_BLOCKING: Final[frozenset[HookEvent]] = frozenset({"pre_workflow", "on_error", "post_workflow"})
_MAY_FAIL: Final[frozenset[HookEvent]] = frozenset(
    {"pre_workflow", "task_started", "task_finished", "on_stage_complete"}
)
_MAY_BLOCK: Final = _BLOCKING | _MAY_FAIL
_RATE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*/\s*([smh])\s*")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0}
_FASTEST: Final = 1_000_000
_LARGEST_OUTPUT: Final = 16 * 1024 * 1024
_LARGEST_BATCH: Final = 1_000


@frozen
class _Place:
    """Where hooks are read, and what of it their rules depend on."""

    level: Level
    task: TaskId
    is_of_tasks: bool  #: whether only what happens to tasks can be told of here
    #: whether a hook may replace the output of the task, or of tasks that say so themselves
    may_transform: bool

    def scope(self, event: HookEvent, *, has_vars: bool) -> Scope:
        """What the templates of a hook on this event may read."""
        names = () if event in RUN_EVENTS else ("task", "output")
        if event == "signal_received":
            names = (*names, "signal")
        if has_vars:
            names = (*names, "vars")
        return Scope("hook", self.level, self.task, secrets=True, names=names)


def read_hook_lists(draft: Draft, holder: Block, level: Level, task: TaskId) -> HookLists:
    """Read `hooks:` of a task, or, where `task` is empty, of the root, an entry or `defaults`.

    Reports all that is wrong with each hook; the templates in it are noted, to be checked with the rest of the file's.
    """
    events = holder.block("hooks")
    if events is None:
        return _NO_HOOKS
    place = _Place(
        level,
        task,
        is_of_tasks=bool(task) or holder.path == "defaults",
        may_transform=not task or holder.node.get("allow_transform") is True,
    )
    own = _read_events(draft, events, place)
    return _with_sets(draft, events, own, place)


def read_hook_sets(draft: Draft, root: Block) -> None:
    """Read `hook_sets:` into the draft, each set together with those that it uses."""
    sets = root.block("hook_sets")
    if sets is None:
        return
    place = _Place(draft.top, "", is_of_tasks=False, may_transform=True)
    blocks = dict(sets.children())
    draft.hook_sets.update(dict.fromkeys(sets.node, _NO_HOOKS))
    for name, block in blocks.items():
        if block.has("inherit"):
            block.key_fault(
                "E120", "inherit", "a set is not inside of anything", "say it where the set is used"
            )
        draft.hook_sets[name] = _read_events(draft, block, place)
    uses = _uses(blocks)
    _report_circles(blocks, uses)
    names = list(blocks)
    for number in topological(uses):  # what a set uses is complete before it
        name = names[number]
        draft.hook_sets[name] = _with_sets(draft, blocks[name], draft.hook_sets[name], place)


def joined(first: HookLists, then: HookLists) -> HookLists:
    """The lists of both, the first's first."""
    if not then.lists:
        return first
    events = dict.fromkeys((*first.lists, *then.lists))
    return evolve(first, lists={event: first.of(event) + then.of(event) for event in events})


def _read_events(draft: Draft, events: Block, place: _Place) -> HookLists:
    """The block's own lists."""
    lists: dict[HookEvent, tuple[HookSpec, ...]] = {}
    for key in events.node:
        event = _EVENTS.get(key)
        if event is None:
            if key not in _NO_EVENTS:
                events.key_fault(
                    "E120", key, f"unknown event {key!r}", events.report.choices(key, HOOK_EVENTS)
                )
        elif place.is_of_tasks and event in RUN_EVENTS:
            message = f"{key} happens to a run, not to one of its tasks"
            events.key_fault("E142", key, message, "move it to the hooks of the workflow")
        elif hooks := _read_list(draft, events, event, place):
            lists[event] = hooks
            if event in NOT_FIRED_YET:
                _warn_of_silence(events, event)
    inherit = events.boolean("inherit")
    return HookLists(lists=lists, inherit=inherit is not False)


def _warn_of_silence(events: Block, event: HookEvent) -> None:
    message = f"{events.path_of(event)}: nothing in this version fires {event}, so these hooks never act"
    events.report.warn("W108", events.key_mark(event), message, "task_finished tells of tasks of any kind")


def _with_sets(draft: Draft, events: Block, own: HookLists, place: _Place) -> HookLists:
    """The lists with those of the sets behind them that the block uses."""
    for item in events.names("use"):
        used = draft.hook_sets.get(item.text)
        if used is None:
            hint = events.report.nearest(item.text, draft.hook_sets) or "hook_sets: names lists for reuse"
            events.fault("E143", "use", f"there is no set {item.text!r}", hint, index=item.index)
        elif place.is_of_tasks and (wrong := RUN_EVENTS & used.lists.keys()):
            message = f"the set {item.text!r} has hooks for {', '.join(sorted(wrong))}, which no task has"
            events.fault("E142", "use", message, "use it in the hooks of the workflow", index=item.index)
        else:
            own = joined(own, used)
    return own


def _uses(sets: dict[str, Block]) -> list[list[int]]:
    """For each set the numbers of those that it uses, as far as they are known."""
    number = {name: index for index, name in enumerate(sets)}
    return [
        [number[name] for name in _plain_names(block.node.get("use")) if name in number]
        for block in sets.values()
    ]


def _plain_names(value: Node) -> list[str]:
    items = value if isinstance(value, ListNode) else [value]
    return [item for item in items if isinstance(item, str)]


def _report_circles(sets: dict[str, Block], uses: list[list[int]]) -> None:
    names = list(sets)
    for circle in cycles(uses):
        path = " -> ".join(names[node] for node in [*circle, circle[0]][::-1])
        sets[names[circle[0]]].fault("E143", "use", f"a circle of sets that use each other: {path}")


def _read_list(draft: Draft, events: Block, event: HookEvent, place: _Place) -> tuple[HookSpec, ...]:
    """The hooks of one event; transforms come first, so that the others may read what they set."""
    items = events.items(event)
    has_vars = any(isinstance(item, MapNode) and item.get("type") == "transform" for _, item in items)
    scope = place.scope(event, has_vars=has_vars)
    found = [
        hook
        for index, item in items
        if (block := _as_hook(events, event, index, item)) is not None
        and (hook := _read_hook(draft, block, event, scope, place)) is not None
    ]
    return tuple(sorted(found, key=lambda hook: hook.action != "transform"))


def _as_hook(events: Block, event: HookEvent, index: int, item: Node) -> Block | None:
    """A hook as a mapping: a bare string, or argv, is its command."""
    if isinstance(item, MapNode):
        return events.item_block(event, index, item)
    if not isinstance(item, str | ListNode):
        message = f"a hook is a command, as text or a list, or a mapping, not {kind_of(item)}"
        events.fault("E121", event, message, index=index)
        return None
    mark = events.mark(event, index)
    short = MapNode(mark)
    short.put("command", mark, item, mark)
    return Block(short, events.path_of(event, index), events.report)


def _read_hook(draft: Draft, block: Block, event: HookEvent, scope: Scope, place: _Place) -> HookSpec | None:
    action = read_action(draft, block)
    if action is None:
        return None  # its keys are another action's: one problem is enough
    meant = block.allow(_COMMAND_KEYS if action.name == "command" else HOOK)
    hook = _with_delivery(_with_policy(_described(draft, block, action, scope), block, event), block, action)
    if action.name == "command":
        return None if meant & _NAMES_ITS_DEED else _as_command(draft, block, hook, scope)
    if action.name == "dispatch_task":
        _note_dispatch(draft, block, event, place)
    if action.name == "dispatch_task":
        scope = evolve(scope, secrets=False)  # the input of a run is journalled
    if action.name == "transform":
        _check_transform(block, event, hook.mode, place)
        scope = evolve(scope, secrets=False)  # what it gives is journalled
    return evolve(hook, params=read_params(draft, block, action, scope))


def _note_dispatch(draft: Draft, block: Block, event: HookEvent, place: _Place) -> None:
    """Remember what a hook starts, to be looked up when all tasks are known."""
    if event in RUN_EVENTS:
        block.fault("E142", "type", f"{event} happens to a run: only an event of a task can dispatch another")
    params = block.node.get("params")
    target = params.get("task_id") if isinstance(params, MapNode) else None
    if isinstance(params, MapNode) and isinstance(target, str):
        named = Block(params, block.path_of("params"), block.report)
        draft.dispatches.append(Dispatch(target, named, place.level, place.task))


def _described(draft: Draft, block: Block, action: Action, scope: Scope) -> HookSpec:
    """Which action it is, and when it applies."""
    return HookSpec(
        action=action.name,
        name=(block.name("name") or "") if block.has("name") else "",
        description=block.text("description") or "",
        timeout=block.duration("timeout") or action.timeout,
        when=_read_condition(draft, block, "when", scope),
        enabled=_read_condition(draft, block, "enabled", scope),
        environments=tuple(dict.fromkeys(item.text for item in block.names("environments"))),
    )


def _read_condition(draft: Draft, block: Block, key: str, scope: Scope) -> str | None:
    """An expression; None for what always holds."""
    return None if block.node.get(key) is True else read_condition(draft, block, key, scope)


def _with_policy(hook: HookSpec, block: Block, event: HookEvent) -> HookSpec:
    """Who waits for it, and what its failure means."""
    mode: HookMode = block.choice("mode", HOOK_MODES) or ("blocking" if event in _BLOCKING else "async")
    chosen = block.choice("on_error", HOOK_ERRORS)
    if mode == "blocking" and event not in _MAY_BLOCK:
        message = f"nothing waits for {event}, so a hook there cannot block"
        block.fault("E144", "mode", message, f"say async, or choose from {', '.join(sorted(_MAY_BLOCK))}")
    elif chosen == "fail":
        _check_may_fail(block, event, mode)
    may_fail: HookErrors = "fail" if event == "pre_workflow" and mode == "blocking" else "continue"
    failures = block.integer("disable_after", 1, MOST_FAILURES)
    if failures is not None and chosen != "disable":
        block.key_fault(
            "E125", "disable_after", "says when it is disabled, and on_error does not say disable"
        )
    return evolve(
        hook, mode=mode, on_error=chosen or may_fail, disable_after=failures or _DEFAULT.disable_after
    )


def _check_may_fail(block: Block, event: HookEvent, mode: HookMode) -> None:
    if mode == "async":
        hint = "say mode: blocking" if event in _MAY_FAIL else "say continue"
        block.fault(
            "E144", "on_error", "nobody waits for an async hook, so it cannot fail what it tells of", hint
        )
    elif event not in _MAY_FAIL:
        message = f"the run's outcome is decided before {event}, so a hook there cannot fail it"
        block.fault("E144", "on_error", message, "say continue")


def _with_delivery(hook: HookSpec, block: Block, action: Action) -> HookSpec:
    """How it is tried, how often, and for how long."""
    ordered = block.boolean("ordered")
    return evolve(
        hook,
        retry=read_retry(block, RetrySpec(max_attempts=action.max_attempts)),
        rate_limit=_read_rate(block),
        batch=_read_batch(block, action),
        breaker=read_breaker(block),
        ordered=ordered is not False,
        max_age=block.duration("max_age") or _DEFAULT.max_age,
    )


def _read_rate(block: Block) -> float | None:
    """Tries per second."""
    value = block.node.get("rate_limit", BROKEN)
    if value is BROKEN:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        rate = float(value)
    else:
        found = _RATE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            block.fault(
                "E123", "rate_limit", f"must be a rate, not {kind_of(value)}", "write 10/s, 100/m or 1000/h"
            )
            return None
        rate = float(found[1]) / _SECONDS[found[2]]
    if not 0 < rate <= _FASTEST:
        block.fault("E123", "rate_limit", f"must be more than 0, and at most {_FASTEST:,} a second")
        return None
    return rate


def _read_batch(block: Block, action: Action) -> BatchSpec | None:
    fields = block.block("batch")
    if fields is None:
        return None
    if not action.is_batchable:
        block.key_fault("E125", "batch", f"a {action.name} takes its events one by one")
        return None
    fields.allow(BATCH)
    default = BatchSpec()
    return BatchSpec(
        max=fields.integer("max", 1, _LARGEST_BATCH) or default.max,
        window=fields.duration("window") or default.window,
    )


def _as_command(draft: Draft, block: Block, hook: HookSpec, scope: Scope) -> HookSpec | None:
    """Its command, environment and folder: beside the other keys, or in `params:` as other actions have theirs."""
    fields = _command_fields(block)
    if fields is None:
        return None
    timeout = fields.duration("timeout")
    if not fields.has("command"):
        if block.has("type"):
            fields.own_fault("E122", "a hook of type command needs a command", "add command:")
        else:
            fields.own_fault("E122", "a hook needs a command, or a type", "add command:, or type: webhook")
        return None
    command = read_command(draft, fields, scope, code="E203", what="shell hooks")
    env = read_env(draft, fields, scope)
    cwd = read_path(fields, "cwd")
    kept = fields.integer("max_output", 1, _LARGEST_OUTPUT)
    if command is None:
        return None
    return evolve(
        hook,
        command=command,
        env=env,
        cwd=cwd,
        max_output=_DEFAULT.max_output if kept is None else kept,
        timeout=hook.timeout if timeout is None else timeout,
    )


def _command_fields(block: Block) -> Block | None:
    """Where the keys of a command stand; None where that is reported, as it is of two places."""
    if not block.has("params"):
        return block
    fields = block.block("params")
    if fields is None:
        return None
    fields.allow(HOOK_COMMAND)
    beside = block.node.keys() & (_OF_COMMANDS_ALONE | (fields.node.keys() & {"timeout"}))
    if not beside:
        return fields
    message = "stands beside params: keep all that the command needs in one of the two"
    block.key_fault("E125", min(beside), message)
    return None


def _check_transform(block: Block, event: HookEvent, mode: HookMode, place: _Place) -> None:
    params = block.node.get("params")
    given = params if isinstance(params, MapNode) else MapNode()
    if not given.keys() & {"set", "output"}:
        block.own_fault("E122", "a transform needs params with 'set', 'output', or both")
    if "output" not in given:
        return
    inner = Block(given, block.path_of("params"), block.report)
    if event != "task_finished" or mode != "blocking":
        message = "only a blocking hook on task_finished can replace the output of its task"
        inner.key_fault("E145", "output", message, "say mode: blocking" if event == "task_finished" else "")
    elif not place.may_transform:
        inner.key_fault(
            "E145", "output", "the task does not allow it", "say allow_transform: true on the task"
        )
