"""What a run and the breakers of its store have to say to each other.

The core wants each question and each outcome said until it is answered; a breaker answers each once. Between the two stands
who was asked and told, and whether an answer still counts: the task may have moved on meanwhile.
"""

from __future__ import annotations

from typing import Protocol

from actorflow.core.breaker import BreakerAsk, BreakerReport
from actorflow.core.commands import AskBreaker, TellBreaker
from actorflow.core.events import BreakerAllowed, BreakerRefused
from actorflow.core.state import RunState
from actorflow.core.step import Action
from actorflow.runtime.messages import BreakerAnswer


class Breakers(Protocol):
    """Who brings questions and outcomes to the BreakerActor."""

    def ask_breaker(self, question: BreakerAsk) -> None:
        """A BreakerAllowed or BreakerRefused answers."""
        ...

    def tell_breaker(self, told: BreakerReport) -> None:
        """A BreakerCounted, -Opened or -Closed answers."""
        ...

    def release_probe(self, told: BreakerReport) -> None:
        """Nothing answers."""
        ...


class BreakerTalk:
    """One run's side of it."""

    def __init__(self, breakers: Breakers, state: RunState) -> None:
        self._breakers = breakers
        self._state = state
        self._asked: set[str] = set()  #: tasks whose breaker owes an answer to a question
        self._told: set[str] = set()  #: likewise to an outcome

    def is_news(self, action: Action) -> bool:
        """Whether an action is to be done: what a breaker is asked or told is not said again before it has answered."""
        match action:
            case AskBreaker(task):
                spoken = self._asked
            case TellBreaker(task):
                spoken = self._told
            case _:
                return True
        is_news = task not in spoken
        spoken.add(task)
        return is_news

    def say(self, action: AskBreaker | TellBreaker) -> None:
        """Ask, or tell."""
        match action:
            case AskBreaker(_, question):
                self._breakers.ask_breaker(question)
            case TellBreaker(_, told):
                self._breakers.tell_breaker(told)

    def counts(self, answer: BreakerAnswer) -> bool:
        """Cross off what is answered; whether the answer is an event of the run. A probe that comes too late goes back."""
        if isinstance(answer, BreakerAllowed | BreakerRefused):
            self._asked.discard(answer.task)
            counts = self._waits_for(answer.task, answer.key)
            if not counts and isinstance(answer, BreakerAllowed) and answer.is_probe:
                self._give_back(answer)
            return counts
        book, is_open = self._state.breakers, self._state.phase == "tasks"
        if answer.task is None:
            return is_open and bool(book.waiting_for(answer.key))
        self._told.discard(answer.task)
        return is_open and self._state.plan.index[answer.task] in book.untold

    def _waits_for(self, task: str, key: str) -> bool:
        index = self._state.plan.index[task]
        is_open = self._state.phase == "tasks" and self._state.tasks[index].status in ("pending", "waiting")
        return is_open and self._state.breakers.key(index) == key

    def _give_back(self, answer: BreakerAllowed) -> None:
        state = self._state
        task = state.task(answer.task)
        spec = state.plan.tasks[state.plan.index[task.id]].on_error.breaker
        if spec is not None:
            told = BreakerReport(answer.key, spec, state.run_id, task.id, task.attempt, answer.at, "released")
            self._breakers.release_probe(told)
