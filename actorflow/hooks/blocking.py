"""Blocking hooks: one at a time for each run, which waits for the answer."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context

from actorflow.actors.host import Host
from actorflow.actors.pool import RunnerPool
from actorflow.hooks.command import CommandHook, HookOutcome, run_command_hook
from actorflow.processes import ProcessTrees


class BlockingHook:
    """One performance of a blocking hook; it answers once, with an outcome, or with None if it was abandoned."""

    def __init__(
        self,
        job: CommandHook,
        *,
        host: Host,
        pool: RunnerPool,
        trees: ProcessTrees,
        answer: Callable[[HookOutcome | None], None],
    ) -> None:
        self._job = job
        self._host = host
        self._pool = pool
        self._trees = trees
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
        """Run the command and answer."""
        try:
            outcome = await run_command_hook(self._job, self._trees)
        except self._host.cancelled_class:
            if self._is_ended_by_us:
                self._say(self._answer_when_ended)
            raise
        self._say(self._answer_when_ended if self._is_ended_by_us else outcome)

    def crashed(self, error: Exception) -> None:
        """A bug of ours is a failed hook, never a lost run."""
        self._say(HookOutcome("failed", {"summary": f"the hook could not be run: {error!r}"}))

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
