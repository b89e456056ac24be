"""What happens when a task fails: its timeouts, retries, fallbacks, and what its failure means for what is around it.

All of it may stand in `on_error:`; some also stands beside it, as `retry:` and `timeout:` do. Either place will do for a
fact, and both together are an error.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from actorflow.spec.model import OnErrorSpec, RetrySpec
from actorflow.spec.readers.block import Block, Item
from actorflow.spec.readers.draft import Defaults, Draft, Scope, read_data
from actorflow.spec.readers.edges import read_next
from actorflow.spec.readers.retries import read_breaker, read_retry, read_retry_fields
from actorflow.spec.readers.words import DEFAULTS, ON_ERROR, RETRY, STRATEGIES
from actorflow.spec.text.nodes import MapNode

__all__ = ["Performer", "Recovery", "read_defaults", "read_recovery"]

_MOST_LOSSES: Final = 1_000
_OF_ATTEMPTS: Final = RETRY.words | {"retry", "fallback_agent", "timeout", "circuit_breaker", "max_losses"}
_OF_A_FAILURE: Final = ON_ERROR.words - RETRY.words - {"retry", "timeout", "deadline"}
_PLACES: Final = frozenset({"timeout", "deadline", "retry", "on_error"})
_NO_RETRY: Final = RetrySpec()
_NO_ON_ERROR: Final = OnErrorSpec()


@frozen
class Recovery:
    """The parts of a task that say what happens when it fails."""

    retry: RetrySpec = _NO_RETRY
    on_error: OnErrorSpec = _NO_ON_ERROR
    timeout: float | None = None
    deadline: float | None = None


_NOTHING_SAID: Final = Recovery()


@frozen
class Performer:
    """Who performs the attempts of a task, as far as recovery depends on it."""

    is_container: bool
    has_attempts: bool  #: an agent or an inline runner: of a basic task, or of a collection for each item
    agent: str | None = None


def read_defaults(draft: Draft, root: Block) -> None:
    """Read `timeout` and `retry` of `defaults:` into the draft; to be called before the tasks are read."""
    defaults = root.block("defaults")
    if defaults is not None:
        defaults.allow(DEFAULTS)
        draft.defaults = Defaults(timeout=defaults.duration("timeout"), retry=read_retry(defaults))


def read_recovery(draft: Draft, block: Block, scope: Scope, who: Performer) -> Recovery:
    """Read all that a task says of its failure; `defaults:` come in where it has attempts.

    Args:
        draft: what is known so far: the agents and defaults are.
        block: the task's mapping.
        scope: for the templates of a fallback value, and of what is handed on.
        who: who performs it.
    """
    default = _default(draft, who) if who.has_attempts else _NOTHING_SAID
    if block.node.keys().isdisjoint(_PLACES):
        return default
    inner = block.block("on_error")
    if inner is not None:
        inner.allow(ON_ERROR)
        if not who.has_attempts:
            _refuse_attempts(inner)
    timeout, deadline = _read_times(block, inner, who)
    return Recovery(
        retry=_read_retry(block, inner, default.retry) if who.has_attempts else _NO_RETRY,
        on_error=_read_on_error(draft, inner, scope, who) if inner is not None else _NO_ON_ERROR,
        timeout=default.timeout if timeout is None else timeout,
        deadline=deadline,
    )


def _default(draft: Draft, who: Performer) -> Recovery:
    """A declared agent's own timeout comes before the file's default, and is not known to the task."""
    defaults = draft.defaults
    agent = draft.agents.get(who.agent or "")
    timeout = defaults.timeout if agent is None or agent.timeout is None else None
    if timeout is None and defaults.retry == _NO_RETRY:
        return _NOTHING_SAID
    return Recovery(retry=defaults.retry, timeout=timeout)


def _refuse_attempts(inner: Block) -> None:
    for key in inner.node:
        if key in _OF_ATTEMPTS:
            message = f"{key!r} is about the attempts of an agent, and this task has none"
            inner.key_fault(
                "E137", key, message, "say it of the tasks inside, or use deadline, strategy, next"
            )


def _read_times(block: Block, inner: Block | None, who: Performer) -> tuple[float | None, float | None]:
    """Seconds per attempt, and for all of them together: a container's own `timeout` is its deadline."""
    timeouts = [(inner, "timeout")] if who.has_attempts else []
    deadlines: list[tuple[Block | None, str]] = [(block, "deadline"), (inner, "deadline")]
    (deadlines if who.is_container else timeouts).insert(0, (block, "timeout"))
    return _only_duration(timeouts), _only_duration(deadlines)


def _only_duration(places: list[tuple[Block | None, str]]) -> float | None:
    given = [(block, key) for block, key in places if block is not None and key in block.node]
    if not given:
        return None
    (first, first_key), *others = given
    for block, key in others:
        block.duration(key)
        block.key_fault("E125", key, f"{first.path_of(first_key)} says this already; keep one")
    return first.duration(first_key)


def _read_retry(block: Block, inner: Block | None, default: RetrySpec) -> RetrySpec:
    """The retries, from `retry:` of the task or of its `on_error`, and the keys of a retry right in `on_error`."""
    holder = block
    if inner is not None and inner.has("retry"):
        holder = inner
        if block.has("retry"):
            inner.key_fault("E125", "retry", "the task has a retry of its own beside this one; keep one")
    if inner is None or inner.node.keys().isdisjoint(RETRY.words):
        return read_retry(holder, default)
    return _read_scattered(holder, inner, default)


def _read_scattered(holder: Block, inner: Block, default: RetrySpec) -> RetrySpec:
    """A retry whose keys stand right in `on_error`, beside a `retry` of either form or none."""
    whole = MapNode(inner.node.mark)
    for key in inner.node:
        if key in RETRY.words:
            whole.take(inner.node, key)
    value = holder.node.get("retry")
    if isinstance(value, MapNode):
        Block(value, holder.path_of("retry"), inner.report).allow(RETRY)
        _merge(whole, value, inner)
    elif holder.has("retry"):
        counted = MapNode()
        default = read_retry(holder, default)
        counted.put("max_attempts", holder.mark("retry"), default.max_attempts, holder.mark("retry"))
        _merge(whole, counted, inner)
    return read_retry_fields(Block(whole, inner.path, inner.report), default)


def _merge(whole: MapNode, retry: MapNode, inner: Block) -> None:
    for key in retry:
        if key in whole:
            inner.key_fault("E125", key, f"retry says {key!r} already; keep one")
        whole.take(retry, key)


def _read_on_error(draft: Draft, inner: Block, scope: Scope, who: Performer) -> OnErrorSpec:
    if inner.node.keys().isdisjoint(_OF_A_FAILURE):
        return _NO_ON_ERROR
    fallbacks = inner.names("fallback_agent") if inner.has("fallback_agent") else ()
    _check_fallbacks(inner, fallbacks, who.agent)
    value = (
        read_data(draft, inner, "fallback_value", scope.knowing("error"))
        if inner.has("fallback_value")
        else None
    )
    losses = inner.integer("max_losses", 0, _MOST_LOSSES)
    return OnErrorSpec(
        strategy=inner.choice("strategy", STRATEGIES) or _NO_ON_ERROR.strategy,
        fallback_agents=tuple(item.text for item in fallbacks),
        has_fallback_value=inner.has("fallback_value"),
        fallback_value=value,
        next=read_next(draft, inner, scope),
        breaker=read_breaker(inner),
        max_losses=_NO_ON_ERROR.max_losses if losses is None else losses,
    )


def _check_fallbacks(inner: Block, fallbacks: tuple[Item, ...], agent: str | None) -> None:
    seen: set[str] = set()
    for item in fallbacks:
        if item.text == agent:
            message = f"{item.text!r} is the task's own agent: it cannot stand in for itself"
            inner.fault("E134", "fallback_agent", message, index=item.index)
        elif item.text in seen:
            inner.fault("E133", "fallback_agent", f"{item.text!r} is there twice", index=item.index)
        seen.add(item.text)
