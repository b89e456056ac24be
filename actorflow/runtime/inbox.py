"""The inbox of the store, as a runtime sees to it: what other processes ask of the runs that are live here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from actorflow.actors.host import Host
from actorflow.errors import ActorflowError, StoreFailed
from actorflow.journal.protocol import Answered, Outcome, Request
from actorflow.runtime.messages import Cancel, GoOn, Pause, Signal, Wish
from actorflow.runtime.staff import Ledger

INBOX_S: Final = 0.1
"""How often the store is looked at for what others ask of its runs, while there are any here."""

_logger = logging.getLogger("actorflow.runtime")


def wish_of(request: Request, at: float, grace_s: float) -> Wish:
    """What a request says to a run.

    Args:
        request: from the inbox.
        at: the time of the run.
        grace_s: of a pause that does not say how long it is to be.

    Raises:
        ValueError: it makes no sense; it says why.
    """
    reader = _READERS.get(request.kind)
    if reader is None:  # the store may be shared with a later version
        raise ValueError(f"a request {request.kind!r} is unknown to this version")
    return reader(request, at, grace_s)


def _cancel(request: Request, at: float, _: float) -> Cancel:
    body = request.body
    return Cancel(at, str(body.get("cause", "")), bool(body.get("now")), request.id)


def _pause(request: Request, at: float, grace_s: float) -> Pause:
    body = request.body
    return Pause(at, str(body.get("cause", "")), _seconds(body.get("grace_s"), grace_s), request.id)


def _go_on(request: Request, at: float, _: float) -> GoOn:
    return GoOn(at, request.id)


def _signal(request: Request, at: float, _: float) -> Signal:
    body = request.body
    return Signal(at, _text(body, "name"), body.get("payload"), _text(body, "signal_id"), request.id)


_READERS: Final[Mapping[str, Callable[[Request, float, float], Wish]]] = {
    "cancel": _cancel,
    "pause": _pause,
    "resume": _go_on,
    "signal": _signal,
}


def _seconds(value: object, default: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"its 'grace_s' is {value!r}, and no number")  # noqa: TRY004 - as for all that makes no sense
    return float(value)


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"its {key!r} is {value!r}, and no text")
    return value


class Receiver(Protocol):
    """A live run, as the inbox sees it."""

    taken: set[int]  #: requests that are passed on already

    def receive(self, request: Request) -> bool:
        """Pass a request on, or leave it for another look; False: it is nobody's, and is to be answered."""
        ...


class InboxWatch:
    """Looks at the inbox, and passes on what it finds.

    What no run here takes stays there: the run is just being set going, or has no room, or rests and its next owner is to
    see it. Nothing that lies in the inbox ends the watch, and with it the runtime: only the store's failure does.

    Args:
        ledger: of the store.
        live: the runs.
        lose_store: told that the store has failed, or that it is another process's by now.
    """

    def __init__(
        self,
        host: Host,
        ledger: Ledger,
        live: Mapping[str, Receiver],
        lose_store: Callable[[ActorflowError], None],
    ) -> None:
        self._host = host
        self._ledger = ledger
        self._live = live
        self._lose_store = lose_store
        self._has_failed = False  #: the last look

    async def run(self, begun: Callable[[], Any]) -> None:
        """Look until the store fails, while there are runs; `begun` waits until one begins."""
        is_there = True
        while is_there:
            if not self._live:
                await begun()
            await self._host.pause(INBOX_S)
            is_there = await self.look()

    async def look(self) -> bool:
        """Look once; False: the store has failed."""
        try:
            self._pass_on(await self._ledger.actor.ask(self._ledger.journal.requests))
        except StoreFailed as error:
            self._lose_store(error)
            return False
        except Exception:  # a bug of ours: the runs go on, and can be asked here
            if not self._has_failed:
                _logger.exception("the inbox of the store could not be read")
            self._has_failed = True
        else:
            self._has_failed = False
        return True

    def _pass_on(self, requests: Sequence[Request]) -> None:
        there = {request.id for request in requests}
        for live in self._live.values():
            live.taken &= there
        done = list(self._done(requests))
        if done:
            self._ledger.actor.tell(Answered(done), _forget)

    def _done(self, requests: Iterable[Request]) -> Iterable[int]:
        """Pass requests on; those that are nobody's."""
        for request in requests:
            live = self._live.get(request.run_id)
            try:
                if live is not None and not live.receive(request):
                    yield request.id
            except Exception as error:  # noqa: BLE001 - what one request says is no other's business
                _logger.error(  # noqa: TRY400 - it says what is wrong, and not where in the code
                    "request %d to run %r is dropped: %s", request.id, request.run_id, error
                )
                yield request.id


def _forget(_: Outcome) -> None:
    """A request that stays in the inbox is seen again, and is nobody's then either."""
