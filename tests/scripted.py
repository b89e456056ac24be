"""A driver of the bare core: scripted outcomes, a clock that jumps, no event loop.

What will drive the core on a cluster looks like this: apply what happened, settle, commit, act. Circuit breakers are
those of `Breakers`, which answers at once; runs that are given the same one share them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from actorflow.core.breaker import CLOSED, Allowed, Breaker, BreakerAsk, BreakerReport, Refused, ask, report
from actorflow.core.commands import AskBreaker, CancelAttempt, CancelHook, RunHook, StartAttempt, TellBreaker
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    Event,
    Failure,
    HookFinished,
    HookStatus,
    RunStarted,
)
from actorflow.core.plan import plan_of
from actorflow.core.recovery import answer
from actorflow.core.rendering import outcome
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import next_generation, recovered, settle
from actorflow.spec.model import WorkflowSpec


class Breakers(dict[str, Breaker]):
    """The circuit breakers of a store, by key; the run of a probe is always somebody's."""

    def allow(self, question: BreakerAsk, now: float) -> Event:
        """What comes of the wish to start an attempt."""
        kept, answer = ask(self.get(question.key, CLOSED), question, now, is_probe_held=True)
        self[question.key] = kept
        match answer:
            case Allowed(is_probe):
                return BreakerAllowed(now, question.task, question.key, is_probe)
            case Refused(until, is_probing):
                return BreakerRefused(now, question.task, question.key, until, is_probing)

    def count(self, told: BreakerReport, now: float) -> Event:
        """What comes of an outcome."""
        self[told.key], counted = report(self.get(told.key, CLOSED), told, now)
        if counted.change == "closed":
            return BreakerClosed(now, told.task, told.key)
        if counted.until is not None:
            return BreakerOpened(now, told.task, told.key, counted.until)
        return BreakerCounted(now, told.task, told.key)


class ScriptedRun:
    """Drives one run; `script(start)` returns an output or a Failure, `hook(run_hook)` the status of a hook."""

    def __init__(
        self,
        spec: WorkflowSpec,
        script: Callable[[StartAttempt], object] = lambda start: None,
        hook: Callable[[RunHook], HookStatus] = lambda hook: "ok",
        env: Mapping[str, str] = MappingProxyType({}),
        breakers: Breakers | None = None,
        run_id: str = "r-1",
        flags: Mapping[str, Any] = MappingProxyType({}),
        inputs: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.state, self.script, self.hook, self.now = RunState(plan_of(spec)), script, hook, 1000.0
        self.breakers = Breakers() if breakers is None else breakers
        self.journal: list[Event] = []
        self.starts: list[StartAttempt] = []  #: all that were performed
        self.running: dict[str, StartAttempt | CancelAttempt | RunHook | CancelHook] = {}
        self.happen(
            RunStarted(
                self.now, run_id, spec.name, "hash", dict(inputs), dict(env), {}, dict(flags), CORE_VERSION
            )
        )
        self.happen(next_generation(self.state, self.now))

    def happen(self, *events: Event) -> None:
        """Let something happen, and the answers of the breakers that are asked or told because of it."""
        self._happen(*events)
        while answers := self._answers_of_breakers():
            self._happen(*answers)

    def _happen(self, *events: Event) -> None:
        """Apply what happened, settle, commit, and only then act."""
        for event in events:
            self.state.apply(event)
        step = settle(self.state, self.now, lambda failed: answer(failed, self.now))
        self.journal.extend((*events, *step.events))
        for action in step.actions:
            match action:
                case StartAttempt(task=task) | CancelAttempt(task):
                    self.running[task] = action
                case RunHook() | CancelHook():
                    self.running[name_of(action)] = action
            if isinstance(action, StartAttempt):
                self.starts.append(action)

    def _answers_of_breakers(self) -> list[Event]:
        """By what is due still: who asked within a step may have been skipped before its end."""
        answers: list[Event] = []
        for command in self.state.commands(self.now) if self.state.plan.has_breakers else ():
            match command:
                case AskBreaker(_, question):
                    answers.append(self.breakers.allow(question, self.now))
                case TellBreaker(_, told):
                    answers.append(self.breakers.count(told, self.now))
                case _:
                    pass
        return answers

    def outcome(self, name: str) -> Event:
        """What comes of a running attempt or hook, by the script; hooks go by `name_of`."""
        match self.running.pop(name):
            case StartAttempt(task=task, attempt=attempt) as start:
                result = self.script(start)
                if not isinstance(result, Failure):
                    return outcome(self.state, AttemptSucceeded(self.now, task, attempt, result))
                kind = AttemptTimedOut if result.type == "timeout" else AttemptFailed
                return kind(self.now, task, attempt, result)
            case CancelAttempt(task, attempt):
                return AttemptCanceled(self.now, task, attempt)
            case RunHook(event, index, subject) as hook:
                return HookFinished(self.now, event, index, self.hook(hook), subject=subject)
            case CancelHook(event, index, subject):
                return HookFinished(self.now, event, index, "canceled", subject=subject)

    def crash(self) -> None:
        """Die, and go on from what was committed."""
        self.running.clear()
        self.state = RunState(self.state.plan)
        for event in self.journal:
            self.state.apply(event)
        self.happen(*recovered(self.state, self.now))

    def next_generation(self, *retried: str) -> ScriptedRun:
        """Open the ended run again, or only these tasks of it, and go on to its next end."""
        self.happen(next_generation(self.state, self.now, retried))
        return self.finish()

    def finish(self) -> ScriptedRun:
        """Go on until nothing is left to do, jumping over every wait."""
        while self.running or self.state.next_due_at() is not None:
            if not self.running:
                self.now = max(self.now, self.state.next_due_at() or 0.0)
            self.happen(*[self.outcome(name) for name in list(self.running)])
        return self


def name_of(hook: RunHook | CancelHook) -> str:
    """Under which name a hook runs: its task's, which has no attempt meanwhile, or none if it is on the run."""
    return f"stage {hook.subject}" if hook.event == "on_stage_complete" else hook.subject
