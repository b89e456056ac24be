"""The BreakerActor: stands between the runs of a runtime and the circuit breakers of their store."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from actorflow.core.breaker import Allowed, BreakerAsk, BreakerReport, Counted, Refused
from actorflow.core.events import (
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
)
from actorflow.journal.protocol import AskBreaker, Outcome, TellBreaker
from actorflow.runtime.clock import RunClock
from actorflow.runtime.journal_actor import JournalActor
from actorflow.runtime.messages import BreakerAnswer, BreakerFailed, Message

#: who was refused asks again after this long at the earliest, however little the clocks differ: each question is a commit
_ASK_AGAIN_S = 0.01


@frozen(eq=False)
class BreakerClient:
    """A run that asks and tells."""

    run_id: str
    clock: RunClock
    tell: Callable[[Message], None]
    is_over: Callable[[], bool]  #: whether it waits for nothing any more
    flush: bool = True  #: whether what it asks and tells is flushed at once


class BreakerActor:
    """Has questions and outcomes judged by the store, and passes the answers on as events.

    Each is judged in the transaction of a commit: no two processes of a store can both be let through as the probe. Who
    waits in this process hears at once that a breaker has closed; in others, when its own wait is over.

    Breakers are shared by runs whose clocks may differ, where the wall clock was set. So they keep the times of one clock
    for all runs of this process, anchored when it began: what a run says and hears is put from its own clock into that one,
    and back. Between processes the difference stays; it may end a wait too early, but makes none longer than a cooldown.
    """

    def __init__(self, journal: JournalActor, clock: RunClock) -> None:
        self._journal = journal
        self._clock = clock
        self._waiting: dict[str, dict[str, BreakerClient]] = {}  #: by key, by run

    def ask(self, client: BreakerClient, question: BreakerAsk) -> None:
        """Ask whether an attempt may start; a BreakerAllowed or BreakerRefused answers."""
        asked = AskBreaker(question, self._clock.now(), client.flush)
        self._journal.tell(asked, lambda outcome: self._answer(client, question, outcome))

    def report(self, client: BreakerClient, told: BreakerReport) -> None:
        """Tell how an attempt ended; a BreakerCounted, -Opened or -Closed answers."""
        at = told.at - client.clock.ahead_of(self._clock)
        write = TellBreaker(evolve(told, at=at), self._clock.now(), client.flush)
        self._journal.tell(write, lambda outcome: self._confirm(client, told, outcome))

    def release(self, told: BreakerReport) -> None:
        """Give back a probe that came too late for its task; nobody waits for the answer."""
        self._journal.tell(TellBreaker(told, self._clock.now()), _forget)

    def forget(self, run_id: str) -> None:
        """A run is over: it waits for nothing."""
        for key in [key for key, waiting in self._waiting.items() if waiting.pop(run_id, None)]:
            if not self._waiting[key]:
                del self._waiting[key]

    def _answer(self, client: BreakerClient, question: BreakerAsk, outcome: Outcome) -> None:
        now, task, key = client.clock.now(), question.task, question.key
        match outcome:
            case Allowed(is_probe):
                client.tell(BreakerAllowed(now, task, key, is_probe))
            case Refused(until, is_probing):
                if client.is_over():
                    return
                self._waiting.setdefault(key, {})[client.run_id] = client
                until = max(until + client.clock.ahead_of(self._clock), now + _ASK_AGAIN_S)
                client.tell(BreakerRefused(now, task, key, until, is_probing))
            case _:
                client.tell(BreakerFailed(task, _error(outcome)))

    def _confirm(self, client: BreakerClient, told: BreakerReport, outcome: Outcome) -> None:
        now, task, key = client.clock.now(), told.task, told.key
        answer: BreakerAnswer = BreakerCounted(now, task, key)
        match outcome:
            case Counted("opened", until) if until is not None:
                answer = BreakerOpened(now, task, key, until + client.clock.ahead_of(self._clock))
            case Counted("closed"):
                answer = BreakerClosed(now, task, key)
                self._wake(key, client)
            case Counted():
                pass
            case _:
                client.tell(BreakerFailed(task, _error(outcome)))
                return
        client.tell(answer)

    def _wake(self, key: str, closer: BreakerClient) -> None:
        for waiting in self._waiting.pop(key, {}).values():
            if waiting is not closer:
                waiting.tell(BreakerClosed(waiting.clock.now(), None, key))


def _error(outcome: Outcome) -> Exception:
    return outcome if isinstance(outcome, Exception) else TypeError(f"no answer of a breaker: {outcome!r}")


def _forget(_: Outcome) -> None:
    """A probe that is not given back is free again when its run is over."""
