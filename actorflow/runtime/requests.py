"""What is asked of a run whose owner may be this runtime, another process, or nobody.

A run that is live here is told. One that another process owns is asked through the inbox of the store, and watched. One that
nobody owns is claimed, and the request carried out here. Which of these it is may change meanwhile: then it is looked at
again.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import orjson
from attrs import frozen

from actorflow.core.events import CancelRequested, PauseRequested, SignalReceived
from actorflow.errors import BadInputError, RunEndedError, RunNotFoundError, RunOwnedElsewhereError
from actorflow.journal.protocol import STALE_S, Answered, Append, Journal, RequestKind, RunRow
from actorflow.runtime.clock import RunClock
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.live_run import LiveRun
from actorflow.runtime.open_runtime import OpenRuntime
from actorflow.runtime.result import RunResult, result_from, status_of

T = TypeVar("T")

_ENDED: Final = frozenset({"success", "failed", "canceled"})
_LOOK_S: Final = 0.05
"""How often a run of another process is looked at."""

_LIFE_S: Final = 2.0
"""How often that process is."""


@frozen
class Requests:
    """Asks, on behalf of a caller of this runtime."""

    open_: OpenRuntime

    async def cancel(self, run_id: str, *, now: bool, cause: str, take_over: bool) -> RunResult:
        """See `Runtime.cancel`."""
        run_id = await self._resolved(run_id)
        while True:
            live = await self.open_.live(run_id)
            if live is None:
                row = await self._find(run_id)
                if row.summary.status in _ENDED:
                    return await self._result(row)
                last = partial(CancelRequested, cause=cause)
                stop = partial(self.open_.stop, run_id, last, is_lasting=True, take_over=take_over)
                live = await self._stopped(stop, run_id, "cancel", {"cause": cause, "now": now})
            if live is not None:
                live.ask_cancel(cause, is_now=now)
                result = await RunHandle(live).settled()
                if result.status != "paused":  # that was under way, and came first
                    return result

    async def pause(self, run_id: str, *, grace_s: float | None, cause: str, take_over: bool) -> RunResult:
        """See `Runtime.pause`."""
        run_id = await self._resolved(run_id)
        live = await self.open_.live(run_id)
        while live is None:
            row = await self._find(run_id)
            if row.summary.status in _ENDED or (row.summary.status == "paused" and row.owner_pid is None):
                return await self._result(row)
            last = partial(PauseRequested, cause=cause)
            stop = partial(self.open_.stop, run_id, last, is_lasting=False, take_over=take_over)
            live = await self._stopped(stop, run_id, "pause", {"cause": cause, "grace_s": grace_s})
            live = live or await self.open_.live(run_id)
        return await RunHandle(live).pause(grace_s=grace_s, cause=cause)

    async def signal(self, run_id: str, name: str, payload: Any, signal_id: str | None) -> None:
        """See `Runtime.signal`."""
        try:
            payload = orjson.loads(orjson.dumps(payload))
        except TypeError as error:
            raise BadInputError((f"the payload of signal {name!r} is no JSON: {error}",)) from error
        number = secrets.token_hex(8) if signal_id is None else signal_id
        run_id = await self._resolved(run_id)
        while not await self._has_received(run_id, name, payload, number):
            pass

    async def _resolved(self, run_id: str) -> str:
        """The whole id of the run that a beginning of it stands for, in the store or here in memory alone."""
        live = self.open_.conductor.live
        if run_id in live:
            return run_id
        try:
            return (await self._find(run_id)).run_id
        except RunNotFoundError as error:
            found = [name for name in live if name.startswith(run_id)]
            if error.ambiguous or len(found) != 1:
                raise
            return found[0]

    async def _has_received(self, run_id: str, name: str, payload: Any, signal_id: str) -> bool:
        """Try to bring a signal to a run as it stands; whether it stood so for long enough.

        Raises:
            RunEndedError: it has ended.
        """
        live = await self.open_.live(run_id)
        if live is not None:
            if await live.send_signal(name, payload, signal_id):
                return True
            await live.is_settled.wait()
            return False
        row = await self._find(run_id)
        if row.summary.status in _ENDED:
            raise RunEndedError(run_id, row.summary.status)
        try:
            return await self.open_.hold(run_id, partial(self._note_signal, name, payload, signal_id))
        except RunOwnedElsewhereError as error:
            _refuse_if_stale(error)
            body = {"name": name, "payload": payload, "signal_id": signal_id}
            await self._in_thread(lambda: self._journal.post(run_id, "signal", body))
            return True

    @property
    def _journal(self) -> Journal:
        return self.open_.staff.store.journal

    async def _find(self, run_id: str) -> RunRow:
        return await self._in_thread(lambda: self._journal.find(run_id))

    async def _in_thread(self, ask: Callable[[], T]) -> T:
        return await self.open_.staff.host.in_thread(ask) if self._journal.is_durable else ask()

    async def _result(self, row: RunRow) -> RunResult:
        read = await self.open_.read(row)
        return await self._in_thread(lambda: result_from(self._journal, row, read.state))

    async def _stopped(
        self,
        stop: Callable[[], Awaitable[LiveRun | None]],
        run_id: str,
        kind: RequestKind,
        body: Mapping[str, Any],
    ) -> LiveRun | None:
        """Stop a run here; where another process has it, ask that, and wait until the run is to be looked at again.

        Raises:
            RunOwnedElsewhereError: that process gives no sign of life.
        """
        try:
            return await stop()
        except RunOwnedElsewhereError as error:
            _refuse_if_stale(error)
            await self._ask(run_id, kind, body)
            return None

    async def _ask(self, run_id: str, kind: RequestKind, body: Mapping[str, Any]) -> None:
        """Put a request into the inbox; wait until the run has come to rest, or nobody is there to see to it.

        Raises:
            RunOwnedElsewhereError: its process has stopped meanwhile.
        """
        number = await self._in_thread(lambda: self._journal.post(run_id, kind, body))
        try:
            await self._wait_for_rest(run_id)
        except RunOwnedElsewhereError:
            await self._withdraw(number)
            raise
        await self._withdraw(number)

    async def _withdraw(self, number: int) -> None:
        """It is seen to, or refused: whoever resumes the run later has nothing to do with it."""
        await self.open_.staff.store.actor.keep(Answered([number]))

    async def _wait_for_rest(self, run_id: str) -> None:
        looked_at = anyio.current_time()
        while await self._is_elsewhere(run_id):
            if anyio.current_time() - looked_at > _LIFE_S:
                looked_at = anyio.current_time()
                await self._refuse_if_stopped(run_id)
            await self.open_.staff.host.pause(_LOOK_S)

    async def _is_elsewhere(self, run_id: str) -> bool:
        """Whether another process has the run and is at work on it."""
        if await self.open_.live(run_id) is not None:
            return False
        try:
            row = await self._find(run_id)
        except RunNotFoundError:
            return False
        return row.owner_pid is not None and row.summary.status not in _ENDED

    async def _refuse_if_stopped(self, run_id: str) -> None:
        try:
            await self.open_.hold(run_id, _nothing)
        except RunOwnedElsewhereError as error:
            _refuse_if_stale(error)

    async def _note_signal(self, name: str, payload: Any, signal_id: str, row: RunRow) -> None:
        """Add a signal to a run that is ours for as long as this takes, and leave it as it was."""
        read = await self.open_.read(row)
        status = status_of(read.state)
        if status in _ENDED:  # since it was found
            raise RunEndedError(row.run_id, status)
        if signal_id not in read.state.signal_ids:
            at = RunClock(self.open_.staff.host, not_before=read.state.last_at).now()
            event = SignalReceived(at, name, payload, signal_id)
            read.state.apply(event)
            error = await self.open_.staff.store.actor.keep(Append(row.run_id, read.seq + 1, [event]))
            if error is not None:
                raise error


def _refuse_if_stale(refused: RunOwnedElsewhereError) -> None:
    """Nobody will answer where a process holds the run and gives no sign of life."""
    if refused.heartbeat_age_s > STALE_S:
        raise refused


async def _nothing(_: RunRow) -> None:
    """Only see whether the run can be had."""
