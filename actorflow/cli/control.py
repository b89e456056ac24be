"""`actorflow cancel`, `pause` and `signal`: what is asked of a run, whoever owns it.

A run that another process owns is asked through the store, and answers there. One that nobody owns is taken up by this
process for as long as it takes. Either way what happens to it is told as it happens, read from the journal.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import frozen

from actorflow.cli.account import Account
from actorflow.cli.allowances import Allowances
from actorflow.cli.execution import beside, in_runtime, tell
from actorflow.cli.files import read_value
from actorflow.cli.found import Found, Means, found_run, place_for, silent_s
from actorflow.cli.kept import account_as_kept
from actorflow.cli.progress import Progress
from actorflow.cli.screen import Screen, as_line
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interruption
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.cli.store.opening import named_run, reading
from actorflow.core.events import Event
from actorflow.errors import BadInputError
from actorflow.journal import Journal
from actorflow.journal.protocol import STALE_S
from actorflow.runtime.result import RunResult
from actorflow.runtime.runtime import Runtime

_ENDED: Final = frozenset({"success", "failed", "canceled"})
_LOOK_AGAIN_S: Final = 0.1
_SIGNAL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")


@frozen(kw_only=True)
class Wish:
    """What a run is to be, and how it comes to that."""

    status: str  #: in a sentence, too
    act: Callable[[Runtime, str], Awaitable[RunResult]]


def cancel(settings: Settings, run: str, *, now: bool, take_over: bool, allows: Allowances) -> int:
    """End a run as canceled; the status says whether it is."""

    async def act(runtime: Runtime, run_id: str) -> RunResult:
        return await runtime.cancel(run_id, now=now, take_over=take_over, cause=_cause("canceled"))

    return _ask(settings, run, Wish(status="canceled", act=act), Means(allows=allows))


def pause(settings: Settings, run: str, *, grace: float | None, take_over: bool) -> int:
    """Have a run start nothing new, and leave it to be resumed; the status says whether it is."""

    async def act(runtime: Runtime, run_id: str) -> RunResult:
        return await runtime.pause(run_id, grace_s=grace, take_over=take_over, cause=_cause("paused"))

    return _ask(settings, run, Wish(status="paused", act=act), Means(grace=grace))


def signal_run(settings: Settings, run: str, name: str, *, payload: str | None, signal_id: str | None) -> int:
    """Send a run a named message; it keeps it."""
    value = None if payload is None else _payload(payload)
    if not _SIGNAL_NAME.fullmatch(name):
        possible = "up to 128 letters, digits, underscores and hyphens, the first a letter or an underscore"
        raise Elsewhere(BadInputError((f"signal name {name!r} is not possible; use {possible}",)), Exit.USAGE)
    with reading(settings) as journal:
        found = found_run(journal, named_run(journal, run))

    number = secrets.token_hex(8) if signal_id is None else signal_id

    async def send(runtime: Runtime, _: Interruption) -> None:
        await runtime.signal(found.run_id, name, value, signal_id=number)

    def sent(_: None) -> int:
        if settings.screen.is_json:
            settings.screen.document({"run_id": found.run_id, "signal": name, "id": number})
        else:
            settings.screen.result(as_line(f"sent  {name}  to {found.run_id}"))
        return Exit.SUCCESS

    return in_runtime(settings, place_for(settings, found, Means()), send, sent)


def _cause(word: str) -> str:
    return f"{word} from the command line, by process {os.getpid()}"


def _payload(text: str) -> Any:
    """What `--payload` says: a value as it stands, or the file that is named behind an `@`.

    Raises:
        SpecError: the file is not there, or is wrong.
        Elsewhere: the text is wrong; it stands on the command line.
    """
    if text.startswith("@"):
        return read_value(text[1:])
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        message = f"--payload is not JSON: {error}; a text stands in double quotes, a file behind an @"
        raise Elsewhere(BadInputError((message,)), Exit.USAGE) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _ask(settings: Settings, run: str, wish: Wish, means: Means) -> int:
    with reading(settings) as journal:
        found = found_run(journal, named_run(journal, run))
        before = account_as_kept(journal, found)
        status = before.result.status
        if status in _ENDED or (status == wish.status and found.row.owner_pid is None):
            return _tell_before(settings, before, wish)
        if found.row.owner_pid is not None and silent_s(found.row) <= STALE_S:
            settings.screen.note(f"waiting for process {found.row.owner_pid}, which has run {found.run_id}")
        place = place_for(settings, found, means)
        watched = _Watched(settings.screen, journal, found)
        return in_runtime(
            settings,
            place,
            partial(watched.carry_out, wish),
            lambda account: _tell_after(settings, account, wish),
        )


class _Watched:
    """A run that any process may own, read from the journal while something is done about it."""

    def __init__(self, screen: Screen, journal: Journal, found: Found) -> None:
        self._screen = screen
        self._journal = journal
        self._run_id = found.run_id
        self._seen_seq = found.seq
        self._seq = 0
        self._progress = Progress(found.spec)

    async def carry_out(self, wish: Wish, runtime: Runtime, interruption: Interruption) -> Account:
        """Have it done, and give account of the run: as it stands, if a signal ended the wait for its owner."""
        waiting = anyio.CancelScope()

        async def act() -> None:
            with waiting:
                await wish.act(runtime, self._run_id)

        async def watch() -> None:
            await interruption.wait_asked()
            row = await anyio.to_thread.run_sync(self._journal.find, self._run_id)
            if row.owner_pid == os.getpid():  # it is not to be left before it is paused
                interruption.stop()
                await runtime.pause(self._run_id, grace_s=interruption.grace_s, cause=interruption.cause)
            waiting.cancel()

        interruption.leave_to_caller()
        await beside(act, watch, self._follow)
        await self._catch_up()
        return await anyio.to_thread.run_sync(self._account)

    async def _follow(self) -> None:
        while True:
            await self._catch_up()
            await anyio.sleep(_LOOK_AGAIN_S)

    async def _catch_up(self) -> None:
        """Tell what has happened since the last time."""
        if self._screen.is_quiet:
            return
        for seq, event in await anyio.to_thread.run_sync(self._read):
            line = self._progress.line(event)
            if line is not None and seq > self._seen_seq:
                self._screen.note(line)
            self._seq = seq

    def _read(self) -> list[tuple[int, Event]]:
        return list(self._journal.events(self._run_id, self._seq))

    def _account(self) -> Account:
        return account_as_kept(self._journal, found_run(self._journal, self._journal.find(self._run_id)))


def _tell_before(settings: Settings, account: Account, wish: Wish) -> int:
    result = account.result
    is_so = result.status == wish.status
    text = f"was {wish.status} before" if is_so else f"cannot be {wish.status}: it has ended, {result.status}"
    settings.screen.note(f"run {result.run_id} {text}")
    tell(settings, account)
    return Exit.SUCCESS if is_so else Exit.FAILED


def _tell_after(settings: Settings, account: Account, wish: Wish) -> int:
    result = account.result
    tell(settings, account, can_go_on=account.status not in {"running", "pausing"})
    if account.status == wish.status:
        return Exit.SUCCESS
    if account.status in _ENDED:
        settings.screen.note(f"run {result.run_id} ended before it could be {wish.status}")
        return Exit.FAILED
    asked = (
        "is on its way"
        if account.status == "paused"
        else f"has been asked, and process {account.pid} goes on"
    )
    settings.screen.note(f"interrupted; run {result.run_id} {asked}; it is not {wish.status} yet")
    return Exit.STOPPED
