"""What is asked of a run whose owner may be this runtime, another process, or nobody.

A run that is live here is told. One that another process owns is asked through the inbox of the store, and watched. One that
nobody owns is claimed, and the request carried out here. Which of these it is may change meanwhile: then it is looked at
again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import orjson
from attrs import frozen

from actorflow.core.events import CancelRequested, Event, PauseRequested, SignalReceived
from actorflow.errors import BadInputError, RunEndedError, RunNotFoundError, RunOwnedElsewhereError
from actorflow.journal.protocol import STALE_S, Answered, Append, Journal, Release, RequestKind, RunRow
from actorflow.runtime.clock import RunClock
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.live_run import LiveRun
from actorflow.runtime.open_runtime import OpenRuntime
from actorflow.runtime.result import RunResult, result_of

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
            live = self._live(run_id)
            if live is None:
                row = await self._find(run_id)
                if row.summary.status in _ENDED:
                    return await self._result(row)
                claimed = await self._claimed(row, take_over=take_over)
                if claimed is None:
                    await self._ask(row, "cancel", {"cause": cause, "now": now})
                    continue
                live = await self._stopped(claimed, lambda at: CancelRequested(at, cause), is_lasting=True)
            live.ask_cancel(cause, is_now=now)
            result = await RunHandle(live).settled()
            if result.status != "paused":  # that was under way, and came first
                return result

    async def pause(self, run_id: str, *, grace_s: float | None, cause: str, take_over: bool) -> RunResult:
        """See `Runtime.pause`."""
        run_id = await self._resolved(run_id)
        live = self._live(run_id)
        while live is None:
            row = await self._find(run_id)
            if row.summary.status in _ENDED or (row.summary.status == "paused" and row.owner_pid is None):
                return await self._result(row)
            claimed = await self._claimed(row, take_over=take_over)
            if claimed is not None:
                live = await self._stopped(claimed, lambda at: PauseRequested(at, cause), is_lasting=False)
            else:
                await self._ask(row, "pause", {"cause": cause, "grace_s": grace_s})
                live = self._live(run_id)
        return await RunHandle(live).pause(grace_s=grace_s, cause=cause)

    async def signal(self, run_id: str, name: str, payload: Any, signal_id: str | None) -> None:
        """See `Runtime.signal`."""
        try:
            payload = orjson.loads(orjson.dumps(payload))
        except TypeError as error:
            raise BadInputError((f"the payload of signal {name!r} is no JSON: {error}",)) from error
        number = secrets.token_hex(8) if signal_id is None else signal_id
        run_id = await self._resolved(run_id)
        live = self._live(run_id)
        while live is not None:
            if await live.send_signal(name, payload, number):
                return
            await live.is_settled.wait()
            live = self._live(run_id)
        row = await self._find(run_id)
        if row.summary.status in _ENDED:
            raise RunEndedError(row.run_id, row.summary.status)
        claimed = await self._claimed(row, take_over=False)
        if claimed is None:
            body = {"name": name, "payload": payload, "signal_id": number}
            await self._in_thread(lambda: self._journal.post(row.run_id, "signal", body))
        else:
            await self._note_signal(claimed, name, payload, number)

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

    def _live(self, run_id: str) -> LiveRun | None:
        return self.open_.conductor.live.get(run_id)

    @property
    def _journal(self) -> Journal:
        return self.open_.staff.store.journal

    async def _find(self, run_id: str) -> RunRow:
        return await self._in_thread(lambda: self._journal.find(run_id))

    async def _in_thread(self, ask: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(ask) if self._journal.is_durable else ask()

    async def _result(self, row: RunRow) -> RunResult:
        ledger = self.open_.staff.store
        read = await self.open_.read(row, ledger)
        return result_of(read.state, await self._in_thread(lambda: ledger.journal.deliveries(row.run_id)))

    async def _claimed(self, row: RunRow, *, take_over: bool) -> RunRow | None:
        """The run, now ours; None where a live process has it.

        Raises:
            RunOwnedElsewhereError: a process has it that gives no sign of life.
        """
        try:
            return await self.open_.claim(row.run_id, self.open_.staff.store, take_over=take_over)
        except RunOwnedElsewhereError as error:
            if error.heartbeat_age_s > STALE_S:
                raise
            return None

    async def _stopped(self, row: RunRow, last: Callable[[float], Event], *, is_lasting: bool) -> LiveRun:
        live = await self.open_.stop(row, self.open_.staff.store, last, is_lasting=is_lasting)
        await live.is_kept.wait()
        live.refuse_if_failed()
        return live

    async def _ask(self, row: RunRow, kind: RequestKind, body: Mapping[str, Any]) -> None:
        """Put a request into the inbox; wait until the run has come to rest, or nobody is there to see to it.

        Raises:
            RunOwnedElsewhereError: its process has stopped meanwhile.
        """
        number = await self._in_thread(lambda: self._journal.post(row.run_id, kind, body))
        await self._wait_for_rest(row.run_id)
        # seen to, or for the caller to do: whoever resumes the run later has nothing to do with it
        await self.open_.staff.store.actor.keep(Answered([number]))

    async def _wait_for_rest(self, run_id: str) -> None:
        looked_at = anyio.current_time()
        while True:
            await anyio.sleep(_LOOK_S)
            try:
                now = await self._find(run_id)
            except RunNotFoundError:
                return
            if now.owner_pid is None or now.summary.status in _ENDED:
                return
            if anyio.current_time() - looked_at > _LIFE_S:
                looked_at = anyio.current_time()
                if await self._claimed(now, take_over=False) is not None:
                    await self.open_.staff.store.actor.keep(Release(now.run_id))
                    return

    async def _note_signal(self, row: RunRow, name: str, payload: Any, signal_id: str) -> None:
        """Add a signal to a run of nobody's, and leave it as it was."""
        ledger = self.open_.staff.store
        try:
            read = await self.open_.read(row, ledger)
            if signal_id not in read.state.signal_ids:
                at = RunClock(self.open_.staff.host, not_before=read.state.last_at).now()
                event = SignalReceived(at, name, payload, signal_id)
                read.state.apply(event)
                error = await ledger.actor.keep(Append(row.run_id, read.seq + 1, [event]))
                if error is not None:
                    raise error
        finally:
            await ledger.actor.keep(Release(row.run_id))
