"""How often something is tried again, and when it is not tried at all: `retry:` and `circuit_breaker:` of tasks and hooks."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from actorflow.spec.model import BreakerSpec, RetrySpec
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.words import BACKOFFS, BREAKER, JITTERS, RETRY
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, kind_of

__all__ = ["MOST_FAILURES", "read_breaker", "read_retry", "read_retry_fields"]

MOST_FAILURES: Final = 1_000_000
"""How many failures may be counted, before something is no longer tried, at most."""

_MOST_ATTEMPTS: Final = 1_000
_MOST_GROWTH: Final = 1_000
_NO_RETRY: Final = RetrySpec()


def read_retry(block: Block, default: RetrySpec = _NO_RETRY) -> RetrySpec:
    """`retry:` of a block, a number of retries or a mapping; `default` where it has none, and for what it leaves open."""
    value = block.node.get("retry", BROKEN)
    if value is BROKEN:
        return default
    if not isinstance(value, MapNode):
        retries = block.integer("retry", 0, _MOST_ATTEMPTS - 1)
        return default if retries is None else evolve(default, max_attempts=retries + 1)
    fields = Block(value, block.path_of("retry"), block.report)
    fields.allow(RETRY)
    return read_retry_fields(fields, default)


def read_retry_fields(fields: Block, default: RetrySpec) -> RetrySpec:
    """The keys of a `retry:` that is a mapping; what they leave open is as in `default`."""
    if not fields.has("max_attempts") and default.max_attempts == 1:
        fields.own_fault(
            "E122", "says how to try again, and not how often", "add max_attempts, all attempts counted"
        )
    delay, max_delay = _read_delays(fields, default)
    factor = fields.number("factor", 1, _MOST_GROWTH)
    retry_on, no_retry_on = _read_faults(fields, "retry_on"), _read_faults(fields, "no_retry_on")
    return RetrySpec(
        max_attempts=fields.integer("max_attempts", 1, _MOST_ATTEMPTS) or default.max_attempts,
        delay=delay,
        backoff=fields.choice("backoff", BACKOFFS) or default.backoff,
        factor=default.factor if factor is None else factor,
        max_delay=max_delay,
        jitter=fields.choice("jitter", JITTERS) or default.jitter,
        retry_on=default.retry_on if retry_on is None else retry_on,
        no_retry_on=default.no_retry_on if no_retry_on is None else no_retry_on,
    )


def _read_delays(fields: Block, default: RetrySpec) -> tuple[float, float]:
    delay = fields.duration("delay") or default.delay
    longest = fields.duration("max_delay")
    if longest is not None and longest < delay:
        fields.fault("E123", "max_delay", f"must not be less than the delay, which is {delay:g} s")
    return delay, max(default.max_delay, delay) if longest is None else longest


def _read_faults(fields: Block, key: str) -> tuple[str | int, ...] | None:
    """Error types by name, exit and HTTP statuses by number: one, or a list, be it empty; None where it is not said."""
    value = fields.node.get(key, BROKEN)
    if value is BROKEN:
        return None
    items = list(enumerate(value)) if isinstance(value, ListNode) else [(None, value)]
    faults: dict[str | int, None] = {}
    for index, item in items:
        if (isinstance(item, str) and item.strip()) or (isinstance(item, int) and not isinstance(item, bool)):
            faults[item] = None
        elif item is not BROKEN:
            message = f"must be an error type's name or a status, not {kind_of(item)}"
            fields.fault("E121", key, message, index=index)
    return tuple(faults)


def read_breaker(block: Block) -> BreakerSpec | None:
    """`circuit_breaker:` of a block; None where it has none."""
    fields = block.block("circuit_breaker")
    if fields is None:
        return None
    fields.allow(BREAKER)
    default = BreakerSpec()
    return BreakerSpec(
        threshold=fields.integer("threshold", 1, MOST_FAILURES) or default.threshold,
        window=fields.duration("window") or default.window,
        cooldown=fields.duration("cooldown") or default.cooldown,
        key=fields.name("key") if fields.has("key") else None,
    )
