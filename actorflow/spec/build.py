"""From the root mapping of a definition to a draft: every part read and checked by itself."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from actorflow.spec.block import Block
from actorflow.spec.draft import Draft, Scope, as_data, read_data, read_id
from actorflow.spec.model import (
    HookEvent,
    HookLists,
    HookSpec,
    InputSpec,
    InputType,
    Limits,
    StageSpec,
    WorkflowSpec,
)
from actorflow.spec.nodes import BROKEN, ListNode, MapNode, Node, kind_of
from actorflow.spec.runners import read_command
from actorflow.spec.tasks import read_agents, read_tasks
from actorflow.spec.words import (
    DURABILITIES,
    DURABILITIES_LATER,
    ENTRY,
    HOOK,
    HOOK_ACTIONS_LATER,
    HOOK_EVENTS,
    HOOK_EVENTS_LATER,
    INPUT,
    INPUT_TYPES,
    LIMITS,
    STAGE_MODES_LATER,
    STEP,
    WORKFLOW,
)

__all__ = ["build"]

_MOST_PARALLEL: Final = 100_000
_DEFAULT_LIMITS: Final = Limits()
_NO_HOOKS: Final = HookLists()


def build(draft: Draft, root: Block, name: str) -> WorkflowSpec:
    """Read the whole definition into the draft, and give the part of it that is not tasks, agents or stages."""
    root.allow(WORKFLOW)
    _read_inputs(draft, root)
    read_agents(draft, root)
    read_tasks(draft, root)
    entry = _read_entry(root)
    hooks = _read_hooks(draft, root)
    description = root.text("description") or ""
    if entry is not None:
        entry.allow(ENTRY)
        description = description or entry.text("description") or ""
        hooks = _joined(hooks, _read_hooks(draft, entry))
        _read_steps(draft, entry)
    return WorkflowSpec(
        name=root.name("name") or name,
        version=root.text("version") or "",
        description=description,
        entry=entry.path.removeprefix("workflows.") if entry is not None else None,
        outputs=_read_outputs(draft, root),
        limits=_read_limits(root),
        hooks=hooks,
        trust=draft.trust,
    )


def _read_inputs(draft: Draft, root: Block) -> None:
    inputs = root.block("inputs")
    if inputs is None:
        return
    draft.inputs = {}
    for name, block in inputs.children():
        if read_id(inputs, name, name, "an input"):
            draft.inputs[name] = _read_input(draft, block)


def _read_input(draft: Draft, block: Block) -> InputSpec:
    block.allow(INPUT)
    kind = block.choice("type", INPUT_TYPES) if block.has("type") else "string"
    choices = [
        (index, as_data(draft, item, block.mark("enum", index), block.path_of("enum", index), None))
        for index, item in block.items("enum")
    ]
    default = read_data(draft, block, "default", None) if block.has("default") else None
    if block.has("enum") and block.node["enum"] == []:
        block.fault("E123", "enum", "must not be empty")
    for index, choice in choices:
        if kind and not _fits(choice, kind):
            block.fault("E121", "enum", f"must be of type {kind}, like the input", index=index)
    if block.has("default") and block.node["default"] is not BROKEN:
        if kind and not _fits(default, kind):
            block.fault("E121", "default", f"must be of type {kind}, not {kind_of(block.node['default'])}")
        elif choices and not any(_same(default, choice) for _, choice in choices):
            block.fault("E123", "default", "is none of the values in enum")
    return InputSpec(
        type=kind or "string",
        required=block.boolean("required") or False,
        default=default,
        has_default=block.has("default"),
        description=block.text("description") or "",
        enum=tuple(choice for _, choice in choices),
    )


_PYTHON_TYPES: Final[dict[InputType, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def _fits(value: object, kind: InputType) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON_TYPES[kind])


def _same(one: object, other: object) -> bool:
    """Equal as JSON, where true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _read_outputs(draft: Draft, root: Block) -> dict[str, object]:
    outputs = root.block("outputs")
    if outputs is None:
        return {}
    scope = Scope("outputs")
    return {key: read_data(draft, outputs, key, scope) for key in outputs.node}


def _read_limits(root: Block) -> Limits:
    fields = root.block("limits")
    if fields is None:
        return _DEFAULT_LIMITS
    fields.allow(LIMITS)
    return Limits(
        max_parallel=fields.integer("max_parallel", 1, _MOST_PARALLEL) or _DEFAULT_LIMITS.max_parallel,
        durability=fields.choice("durability", DURABILITIES, DURABILITIES_LATER)
        or _DEFAULT_LIMITS.durability,
    )


def _read_entry(root: Block) -> Block | None:
    """The one entry of `workflows:`."""
    entries = root.block("workflows")
    if entries is None:
        return None
    if not entries.node:
        entries.own_fault("E122", "has no entry", "add one, or remove the key")
        return None
    names = list(entries.node)
    if len(names) > 1:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        message = f"more than one workflow in a file ({shown}) is not supported yet"
        entries.key_fault("E190", names[1], message, "keep one entry in each file")
    return next((block for _, block in entries.children()), None)


def _read_hooks(draft: Draft, holder: Block) -> HookLists:
    events = holder.block("hooks")
    if events is None:
        return _NO_HOOKS
    lists: dict[str, tuple[HookSpec, ...]] = {}
    for event in events.node:
        if event in HOOK_EVENTS:
            lists[event] = _read_hook_list(draft, events, event)
        elif event in HOOK_EVENTS_LATER or event in {"inherit", "use"}:
            events.key_fault("E190", event, f"the hook event {event!r} is not supported yet")
        else:
            hint = events.report.choices(event, [*HOOK_EVENTS, *sorted(HOOK_EVENTS_LATER)])
            events.key_fault("E120", event, f"unknown hook event {event!r}", hint)
    return HookLists(**lists)


def _read_hook_list(draft: Draft, events: Block, event: HookEvent) -> tuple[HookSpec, ...]:
    hooks = [_read_hook(draft, events, event, index, item) for index, item in events.items(event)]
    return tuple(hook for hook in hooks if hook is not None)


def _read_hook(draft: Draft, events: Block, event: str, index: int, item: Node) -> HookSpec | None:
    block = _as_hook(events, event, index, item)
    if block is None:
        return None
    if block.has("type"):
        block.choice("type", (), HOOK_ACTIONS_LATER)
        return None  # its keys are another action's: one problem is enough
    block.allow(HOOK)
    if not block.has("command"):
        block.own_fault("E122", "a hook needs a command")
        return None
    command = read_command(draft, block, None, code="E203", what="shell hooks")
    if command is None:
        return None
    return HookSpec(
        command=command,
        description=block.text("description") or "",
        timeout=block.duration("timeout") or HookSpec(command=command).timeout,
    )


def _as_hook(events: Block, event: str, index: int, item: Node) -> Block | None:
    """A hook as a mapping: a bare string, or argv, is its command."""
    if not isinstance(item, str | ListNode):
        return events.item_block(event, index, item)
    mark = events.mark(event, index)
    short = MapNode(mark)
    short.put("command", mark, item, mark)
    return Block(short, events.path_of(event, index), events.report)


def _joined(first: HookLists, then: HookLists) -> HookLists:
    if first is _NO_HOOKS:
        return then
    return HookLists(**{event: first.of(event) + then.of(event) for event in HOOK_EVENTS})


def _read_steps(draft: Draft, entry: Block) -> None:
    """Read `steps:` into the draft's stages; each comes after those it names, or else after the one before."""
    if entry.has("steps") and entry.node["steps"] == []:
        entry.fault("E123", "steps", "must not be empty", "remove the key to run all tasks")
    for index, item in entry.items("steps"):
        block = entry.item_block("steps", index, item)
        if block is not None:
            _read_step(draft, block)
    if not any(block.has("depends_on") for block in draft.stage_blocks):
        names = [stage.name for stage in draft.stages]
        for index in range(1, len(names)):
            draft.stages[index] = evolve(draft.stages[index], after=(names[index - 1],))


def _read_step(draft: Draft, block: Block) -> None:
    block.allow(STEP)
    block.choice("mode", ("parallel",), STAGE_MODES_LATER)
    for key in ("stage", "tasks"):
        if not block.has(key):
            block.own_fault("E122", f"a step needs {key!r}")
    if block.has("tasks") and block.node["tasks"] == []:
        block.fault("E123", "tasks", "must not be empty")
    name = block.name("stage")
    if name is not None:
        tasks = tuple(dict.fromkeys(item.text for item in block.names("tasks")))
        after = tuple(dict.fromkeys(item.text for item in block.names("depends_on")))
        draft.stages.append(StageSpec(name=name, tasks=tasks, after=after))
        draft.stage_blocks.append(block)
