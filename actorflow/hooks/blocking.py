"""Blocking hooks: what a run, a stage or a task waits for, one after the other in each line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from typing import Any, Final

import anyio
from attrs import evolve, frozen

from actorflow.actors.host import Host
from actorflow.actors.pool import RunnerPool
from actorflow.core.delivery import (
    Again,
    Held,
    Settled,
    SettledStatus,
    Terms,
    Tries,
    Try,
    TryResult,
    next_step,
)
from actorflow.core.events import HookStatus
from actorflow.core.hook_context import HookContext
from actorflow.hooks.executor import HookExecutor


@frozen
class HookOutcome:
    """How it ended, and the facts for its record."""

    status: HookStatus
    record: Mapping[str, Any]


class BlockingHook:
    """One performance of a blocking hook, with all its tries; it answers once: an outcome, or None if it was abandoned.

    A breaker that is open fails it at once: whoever waits for a hook does not wait for a target to recover.
    """

    def __init__(
        self,
        context: HookContext,
        executor: HookExecutor,
        *,
        host: Host,
        pool: RunnerPool,
        answer: Callable[[HookOutcome | None], None],
    ) -> None:
        self._given = context
        self._executor = executor
        self._host = host
        self._pool = pool
        self._answer = answer
        self._is_started = False
        self._has_answered = False
        self._is_ended_by_us = False
        self._answer_when_ended: HookOutcome | None = None
        self.context: Context = copy_context()

    def start(self) -> None:
        """Run it as soon as a runner is free; one that was ended before it began stays so."""
        if not self._is_ended_by_us:
            self._is_started = True
            self._pool.submit(self)

    def cancel(self) -> None:
        """End it; it answers `canceled`."""
        self._end(HookOutcome("canceled", {"summary": "the run was canceled"}))

    def abandon(self) -> None:
        """End it; it answers None, and nothing of it is recorded."""
        self._end(None)

    async def perform(self) -> None:
        """Make tries until one settles it, and answer."""
        try:
            outcome = await self._tried()
        except self._host.cancelled_class:
            if self._is_ended_by_us:
                self._say(self._answer_when_ended)
            raise
        self._say(self._answer_when_ended if self._is_ended_by_us else outcome)

    def crashed(self, error: Exception) -> None:
        """A bug of ours is a failed hook, never a lost run."""
        self._say(HookOutcome("failed", {"summary": f"the hook could not be run: {error!r}"}))

    async def _tried(self) -> HookOutcome:
        given, now = self._given, self._executor.now
        terms, tries = Terms(given.spec, given.delivery_id, given.at), Tries()
        while True:
            began = now()
            (last,) = await self._executor.deliver([evolve(given, number=tries.count + 1)])
            tries = tries.followed_by(_try(tries.count + 1, began, now(), last), has_acted=last.has_acted)
            verdict = next_step(terms, tries, last, now(), is_own=True)
            if not isinstance(verdict, Again) or last.status == "circuit_open":
                return _outcome(last, verdict, tries)
            await anyio.sleep(max(0.0, verdict.at - now()))

    def _end(self, answer: HookOutcome | None) -> None:
        if self._has_answered:
            return
        self._is_ended_by_us = True
        self._answer_when_ended = answer
        if not self._is_started or self._pool.cancel(self) == "queued":
            self._say(answer)

    def _say(self, answer: HookOutcome | None) -> None:
        if not self._has_answered:
            self._has_answered = True
            self._answer(answer)


def _try(number: int, began: float, ended: float, last: TryResult) -> Try:
    duration = max(0.0, ended - began)
    return Try(
        number=number,
        at=began,
        duration_s=round(duration, 6),
        status=last.status,
        error=last.error,
        record=last.record,
    )


def _outcome(last: TryResult, verdict: Settled | Again | Held, tries: Tries) -> HookOutcome:
    """What is recorded of it: the facts of the last try, and a line for each where there were several."""
    record = dict(last.record)
    if tries.count > 1:
        record["tries"] = [
            {"at": each.at, "duration_s": each.duration_s, "status": each.status, "error": each.error}
            for each in tries.recent
        ]
    status = _STATUS_OF[verdict.status] if isinstance(verdict, Settled) else "failed"
    if status == "skipped":
        return HookOutcome(status, {**record, "reason": last.skip})
    if status == "failed":
        status = "timed_out" if last.status == "timed_out" else "failed"
        record["summary"] = last.error
    return HookOutcome(status, record)


_STATUS_OF: Final[Mapping[SettledStatus, HookStatus]] = {
    "delivered": "ok",
    "failed": "failed",
    "dead_letter": "failed",
    "skipped": "skipped",
}
