"""The circuit breakers of a store as hooks ask them: by the writes of the journal, as those of tasks are."""

from __future__ import annotations

from attrs import evolve, frozen

from actorflow.actors.host import Host
from actorflow.core.breaker import Allowed, BreakerAsk, BreakerReport, Refused
from actorflow.errors import StoreFailed
from actorflow.journal.protocol import AskBreaker, Outcome, TellBreaker
from actorflow.runtime.clock import RunClock
from actorflow.runtime.journal_actor import JournalActor


@frozen
class StoreBreakers:
    """Asks and tells the breakers of one store."""

    host: Host
    journal: JournalActor
    clock: RunClock  #: one for all runs of the process
    flush: bool = True  #: whether what is asked and told is flushed at once

    async def ask(self, question: BreakerAsk) -> Allowed | Refused:
        """Whether a try may be made.

        Raises:
            StoreFailed: the store cannot say.
        """
        gate = self.host.gate()
        outcomes: list[Outcome] = []

        def reply(outcome: Outcome) -> None:
            outcomes.append(outcome)
            gate.open()

        self.journal.tell(AskBreaker(question, self.clock.now(), self.flush), reply)
        await gate.wait()
        (answer,) = outcomes
        if isinstance(answer, Allowed | Refused):
            return answer
        raise (
            answer
            if isinstance(answer, StoreFailed)
            else StoreFailed(f"no answer about a breaker: {answer!r}")
        )

    def report(self, told: BreakerReport) -> None:
        """Tell how a try ended."""
        now = self.clock.now()  # by the clock that all runs share, as all times of a breaker are
        self.journal.tell(TellBreaker(evolve(told, at=now), now, self.flush), _forget)


def _forget(_: Outcome) -> None:
    """One that could not be counted: its store has failed, and with it the run."""
