"""Tasks and agents of a file, each by itself; what they say of each other is checked later."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from actorflow.spec.block import Block, Item
from actorflow.spec.draft import Draft, Scope, Site, read_data, read_id
from actorflow.spec.model import AgentSpec, OnErrorSpec, RetrySpec, TaskSpec
from actorflow.spec.nodes import BROKEN, ListNode, MapNode, Mark, Node, kind_of
from actorflow.spec.runners import WAYS, read_env, read_runner
from actorflow.spec.words import (
    AGENT,
    BACKOFFS,
    CONTAINERS,
    JITTERS,
    ON_COMPLETE,
    ON_ERROR,
    RETRY,
    STRATEGIES,
    TASK,
)

__all__ = ["has_too_many_tasks", "read_agents", "read_tasks"]

_MOST_ATTEMPTS = 1_000
_MOST_GROWTH = 1_000
_DEFAULT_RETRY = RetrySpec()
_DEFAULT_ON_ERROR = OnErrorSpec()


def read_agents(draft: Draft, root: Block) -> None:
    """Read `agents:` into the draft."""
    agents = root.block("agents")
    if agents is None:
        return
    scope = Scope("agent")
    for name, block in agents.children():
        if read_id(agents, name, name, "an agent"):
            block.allow(AGENT)
            draft.agents[name] = AgentSpec(
                name=name,
                description=block.text("description") or "",
                runner=read_runner(draft, block, scope),
                env=read_env(draft, block, scope),
                timeout=block.duration("timeout"),
                options=_options(draft, block),
            )


def _options(draft: Draft, block: Block) -> dict[str, object]:
    options = block.block("options")
    return {} if options is None else {key: read_data(draft, options, key, None) for key in options.node}


def has_too_many_tasks(root: Block, most: int) -> bool:
    """Whether there are more tasks than a definition may have; reported before anything is read."""
    value = root.node.get("tasks")
    if not isinstance(value, MapNode | ListNode) or len(value) <= most:
        return False
    root.fault("E128", "tasks", f"a workflow has at most {most} tasks, not {len(value)}")
    return True


def read_tasks(draft: Draft, root: Block) -> None:
    """Read `tasks:`, a mapping or a list whose items carry `id`, into the draft."""
    for name, block in _entries(root, root.node.get("tasks", BROKEN)):
        draft.task_blocks[name] = block
        draft.tasks[name] = _read_task(draft, name, block, Scope("task", name))


def _entries(root: Block, value: Node) -> Iterator[tuple[str, Block]]:
    if isinstance(value, MapNode):
        yield from _named(root, value)
    elif isinstance(value, ListNode):
        yield from _listed(root, value)
    elif value is not BROKEN:
        root.fault("E121", "tasks", f"must be a mapping of tasks, or a list of them, not {kind_of(value)}")


def _named(root: Block, value: MapNode) -> Iterator[tuple[str, Block]]:
    tasks = Block(value, "tasks", root.report)
    for name in value:
        block = tasks.block(name)
        if read_id(tasks, name, name, "a task") and block is not None:
            if block.has("id"):
                block.key_fault("E120", "id", "unknown key 'id'", "a task in a mapping is called by its key")
            yield name, block


def _listed(root: Block, value: ListNode) -> Iterator[tuple[str, Block]]:
    seen: dict[str, Mark] = {}
    for index, item in root.items("tasks"):
        block = root.item_block("tasks", index, item)
        if block is None:
            continue
        if not block.has("id"):
            block.own_fault("E122", "a task in a list needs an id", "add id: NAME")
        name = block.text("id")
        if name is None or not read_id(block, "id", name, "a task", mark=block.mark("id")):
            continue
        if name in seen:
            block.fault(
                "E133", "id", f"the task {name!r} is there twice; the first is in line {seen[name][0]}"
            )
            continue
        seen[name] = value.marks[index]
        yield name, Block(block.node, f"tasks.{name}", root.report)


def _read_task(draft: Draft, name: str, block: Block, scope: Scope) -> TaskSpec:
    if block.has("type") and block.choice("type", ("basic",), CONTAINERS) is None:
        return TaskSpec(id=name)  # its keys are another type's: one problem is enough
    block.allow(TASK)
    runner = read_runner(draft, block, scope, ("agent", "action", *WAYS))
    agent = block.name("agent") if block.has("agent") else block.name("action")
    if not any(map(block.has, ("agent", "action", "loop", *WAYS))):
        block.own_fault(
            "E122", "nothing says who performs this task", "add agent: NAME, or command: or python:"
        )
    return TaskSpec(
        id=name,
        agent=agent if runner is None else None,
        runner=runner,
        description=block.text("description") or "",
        with_=_read_with(draft, block, scope),
        env=read_env(draft, block, scope),
        timeout=block.duration("timeout"),
        when=_read_when(draft, block, scope),
        depends_on=_read_depends_on(block),
        retry=_read_retries(block),
        on_error=_read_on_error(block, agent),
        notify=_read_notice(draft, block, name),
    )


def _read_with(draft: Draft, block: Block, scope: Scope) -> dict[str, object] | None:
    values = block.block("with")
    return None if values is None else {key: read_data(draft, values, key, scope) for key in values.node}


def _read_when(draft: Draft, block: Block, scope: Scope) -> str | None:
    value = block.node.get("when", BROKEN)
    if isinstance(value, bool):
        return str(value).lower()
    text = block.text("when")
    if text is not None:
        draft.sites.append(Site(text, block.mark("when"), block.path_of("when"), scope, is_condition=True))
    return text


def _read_depends_on(block: Block) -> tuple[str, ...]:
    items = _plain_edges(block).names("depends_on")
    seen: set[str] = set()
    for item in items:
        if item.text in seen:
            block.fault("E133", "depends_on", f"{item.text!r} is there twice", index=item.index)
        seen.add(item.text)
    return tuple(dict.fromkeys(item.text for item in items))


def _plain_edges(block: Block) -> Block:
    """The block with each `{task: a, on: …}` reported and out of the way."""
    value = block.node.get("depends_on", BROKEN)
    if isinstance(value, MapNode):
        block.fault("E190", "depends_on", "an edge with conditions ({task: …, on: …}) is not supported yet")
        return Block(block.node.without(("depends_on",)), block.path, block.report)
    if not isinstance(value, ListNode) or not any(isinstance(item, MapNode) for item in value):
        return block
    plain = ListNode(value.mark)
    for index, item in enumerate(value):
        if isinstance(item, MapNode):
            message = "an edge with conditions ({task: …, on: …}) is not supported yet"
            block.fault("E190", "depends_on", message, index=index)
        plain.put(BROKEN if isinstance(item, MapNode) else item, value.marks[index])
    node = block.node.with_entry("depends_on", plain, value.mark)
    return Block(node, block.path, block.report)


def _read_retries(block: Block) -> RetrySpec:
    """`retry:` of the task, or of its `on_error`, where a second document's file has it."""
    on_error = block.node.get("on_error")
    inner = (
        Block(on_error, block.path_of("on_error"), block.report) if isinstance(on_error, MapNode) else None
    )
    if inner is None or not inner.has("retry"):
        return _read_retry(block)
    if block.has("retry"):
        inner.key_fault("E125", "retry", "the task has a retry of its own beside this one; keep one")
    return _read_retry(inner)


def _read_retry(block: Block) -> RetrySpec:
    value = block.node.get("retry", BROKEN)
    if value is BROKEN:
        return _DEFAULT_RETRY
    if not isinstance(value, MapNode):
        retries = block.integer("retry", 0, _MOST_ATTEMPTS - 1)
        return _DEFAULT_RETRY if not retries else RetrySpec(max_attempts=retries + 1)
    fields = Block(value, block.path_of("retry"), block.report)
    fields.allow(RETRY)
    if not fields.has("max_attempts"):
        fields.own_fault(
            "E122", "says how to try again, and not how often", "add max_attempts, all attempts counted"
        )
    max_attempts = fields.integer("max_attempts", 1, _MOST_ATTEMPTS)
    factor = fields.number("factor", 1, _MOST_GROWTH)
    retry = evolve(
        _DEFAULT_RETRY,
        max_attempts=max_attempts or 1,
        backoff=fields.choice("backoff", BACKOFFS) or _DEFAULT_RETRY.backoff,
        factor=_DEFAULT_RETRY.factor if factor is None else factor,
        jitter=fields.choice("jitter", JITTERS) or _DEFAULT_RETRY.jitter,
    )
    return _with_delays(retry, fields)


def _with_delays(retry: RetrySpec, fields: Block) -> RetrySpec:
    delay = fields.duration("delay") or retry.delay
    longest = fields.duration("max_delay")
    if longest is not None and longest < delay:
        fields.fault("E123", "max_delay", f"must not be less than the delay, which is {delay:g} s")
    return evolve(retry, delay=delay, max_delay=max(retry.max_delay, delay) if longest is None else longest)


def _read_on_error(block: Block, agent: str | None) -> OnErrorSpec:
    fields = block.block("on_error")
    if fields is None:
        return _DEFAULT_ON_ERROR
    fields.allow(ON_ERROR)
    fallbacks = fields.names("fallback_agent")
    _check_fallbacks(fields, fallbacks, agent)
    return OnErrorSpec(
        strategy=fields.choice("strategy", STRATEGIES) or _DEFAULT_ON_ERROR.strategy,
        fallback_agents=tuple(item.text for item in fallbacks),
    )


def _check_fallbacks(fields: Block, fallbacks: tuple[Item, ...], agent: str | None) -> None:
    seen: set[str] = set()
    for item in fallbacks:
        if item.text == agent:
            message = f"{item.text!r} is the task's own agent: it cannot stand in for itself"
            fields.fault("E134", "fallback_agent", message, index=item.index)
        elif item.text in seen:
            fields.fault("E133", "fallback_agent", f"{item.text!r} is there twice", index=item.index)
        seen.add(item.text)


def _read_notice(draft: Draft, block: Block, name: str) -> str | None:
    fields = block.block("on_complete")
    if fields is None:
        return None
    fields.allow(ON_COMPLETE)
    if isinstance(fields.node.get("notify"), MapNode):
        fields.fault("E190", "notify", "a notice with channels is not supported yet", "give it a text")
        return None
    text = fields.text("notify")
    if text is not None:
        draft.note(text, fields.mark("notify"), fields.path_of("notify"), Scope("notify", name))
    return text
