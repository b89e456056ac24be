"""A run that a test drives by hand: the shell around the core, with breakers that other runs share.

Each thing that happens is applied, settled, and kept as one batch, as a journal would have it. Questions to breakers are
answered later, one after the other, and by the rules of `core.breaker`; so is what becomes of hooks and attempts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from actorflow.core import breaker as rules
from actorflow.core.breaker import CLOSED, Allowed, Breaker, BreakerAsk, BreakerReport, Refused
from actorflow.core.commands import AskBreaker, CancelAttempt, CancelHook, TellBreaker
from actorflow.core.events import (
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    DeadLettered,
    Event,
    GenerationStarted,
)
from actorflow.core.plan import plan_of
from actorflow.core.recovery import answer
from actorflow.core.state import RunState
from actorflow.core.step import Action, next_generation, recovered, settle
from actorflow.spec.model import WorkflowSpec

__all__ = ["Driven", "Meanwhile"]

Meanwhile: TypeAlias = Literal["nothing", "it opened", "it is probed"]
"""What other runs have done to a breaker before it answers."""

_Owed: TypeAlias = AskBreaker | TellBreaker

_OTHER: Final = "run-of-another"


class Driven:
    """A run of a definition, its events so far, and what it is owed."""

    def __init__(self, spec: WorkflowSpec, run_id: str, now: float) -> None:
        self.run_id, self.now = run_id, now
        self.state = RunState(plan_of(spec))
        self.batches: list[tuple[Event, ...]] = []
        self.letters: list[str] = []  #: tasks of this generation's dead letters
        self.unwanted: set[tuple[str, ...]] = set()  #: attempts and hooks that were told to end
        self.owed: deque[_Owed] = deque()  #: what breakers were asked and told, and have not answered
        self._breakers: dict[str, Breaker] = {}

    def happen(self, *events: Event) -> None:
        """Let something happen, or see what is due by now; what follows is in the same batch."""
        for event in events:
            self.state.apply(event)
        step = settle(self.state, self.now, lambda failed: answer(failed, self.now))
        batch = (*events, *step.events)
        if batch:
            self.batches.append(batch)
        self._note(batch)
        for action in step.actions:
            self._perform(action)

    def _note(self, batch: Sequence[Event]) -> None:
        for event in batch:
            match event:
                case GenerationStarted():
                    self.letters.clear()
                case DeadLettered(task=task):
                    self.letters.append(task)
                case _:
                    pass

    def _perform(self, action: Action) -> None:
        match action:
            case CancelAttempt(task):
                self.unwanted.add((task,))
            case CancelHook(event, index, subject):
                self.unwanted.add((event, str(index), subject))
            case AskBreaker() | TellBreaker():
                if not any(type(each) is type(action) and each.task == action.task for each in self.owed):
                    self.owed.append(action)
            case _:
                pass  # what runs is in the state

    def is_unwanted(self, *name: str) -> bool:
        """Whether an attempt, by its task, or a hook, by its place, was told to end; it is asked once."""
        was_told = name in self.unwanted
        self.unwanted.discard(name)
        return was_told

    def die(self, gap_s: float) -> None:
        """The process dies, and another takes the run up."""
        self.unwanted.clear()
        self.owed.clear()
        self.now += gap_s
        self.happen(*recovered(self.state, self.now))

    def begin_generation(self, gap_s: float = 0.0, retried: Sequence[str] = ()) -> None:
        """Whoever takes the run up begins its first generation, or the next; answers to the last one are heard by nobody."""
        self.unwanted.clear()
        self.owed.clear()
        self.now += gap_s
        self.happen(next_generation(self.state, self.now, retried))

    # Breakers

    def hear_breaker(self, meanwhile: Meanwhile = "nothing") -> None:
        """The breaker that was asked or told first answers; to a question, after what other runs have done to it."""
        owed = self.owed.popleft()
        match owed:
            case AskBreaker(ask=question):
                if meanwhile == "it opened":
                    self._open(question)
                self._hear_answer(question, is_probed=meanwhile == "it is probed")
            case TellBreaker(report=told):
                self._hear_count(told)

    def close_for_others(self, key: str) -> None:
        """A probe of another run has succeeded: who waits for the breaker here is told."""
        self._breakers[key] = CLOSED
        self.happen(BreakerClosed(self.now, None, key))

    def _open(self, question: BreakerAsk) -> None:
        """Another run tells of as many failures as are needed."""
        for attempt in range(1, question.spec.threshold + 1):
            told = BreakerReport(
                question.key, question.spec, _OTHER, question.task, attempt, self.now, "failure"
            )
            self._breakers[question.key], _ = rules.report(self._breaker(question.key), told, self.now)

    def _breaker(self, key: str) -> Breaker:
        return self._breakers.get(key, CLOSED)

    def _hear_answer(self, question: BreakerAsk, *, is_probed: bool) -> None:
        """What the task has moved on from is dropped, and a leave that it has no use for given back."""
        task, key = question.task, question.key
        kept = self._breaker(key)
        if is_probed:
            other = BreakerAsk(key, question.spec, _OTHER, task)
            kept, _ = rules.ask(kept, other, self.now, is_probe_held=False)
        kept, judged = rules.ask(kept, question, self.now, is_probe_held=is_probed)
        self._breakers[key] = kept
        match judged:
            case Refused(until, is_probing) if self._may_ask(question):
                self.happen(BreakerRefused(self.now, task, key, until, is_probing))
            case Allowed(is_probe) if self._may_ask(question) and self._has_room:
                self.happen(BreakerAllowed(self.now, task, key, is_probe))
            case Allowed(is_probe=True):
                attempt = self.state.task(task).attempt
                back = BreakerReport(key, question.spec, self.run_id, task, attempt, self.now, "released")
                self._breakers[key], _ = rules.report(kept, back, self.now)
            case _:
                pass
        self.happen()  # what is to be asked instead has waited for the answer

    def _may_ask(self, question: BreakerAsk) -> bool:
        """Whether the task still waits for this very breaker."""
        state, index = self.state, self.state.plan.index[question.task]
        is_open = state.phase == "tasks" and state.tasks[index].status in ("pending", "waiting")
        return is_open and state.breakers.key(index) == question.key

    @property
    def _has_room(self) -> bool:
        """Whether a leave is of use at once: it does not grow old in a queue."""
        return self.state.free_slots > len(self.state.breakers.allowed)

    def _hear_count(self, told: BreakerReport) -> None:
        self._breakers[told.key], counted = rules.report(self._breaker(told.key), told, self.now)
        if told not in self.state.breakers.untold.values():
            return
        match counted.change, counted.until:
            case "closed", _:
                self.happen(BreakerClosed(self.now, told.task, told.key))
            case "opened", float(until):
                self.happen(BreakerOpened(self.now, told.task, told.key, until))
            case _:
                self.happen(BreakerCounted(self.now, told.task, told.key))
