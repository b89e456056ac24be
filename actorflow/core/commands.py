"""What the core wants done: the closed union `Command`. Commands are never stored; they follow from state and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import frozen

from actorflow.core.breaker import BreakerAsk, BreakerReport
from actorflow.core.events import (
    AttemptStarted,
    BlockingHookEvent,
    Effect,
    Event,
    Failure,
    HookStarted,
    RunFinished,
    RunOutcome,
)
from actorflow.core.hook_context import HookContext
from actorflow.core.http_call import HttpCall
from actorflow.core.texts import Text
from actorflow.spec.model import TaskSpec


@frozen
class StartAttempt:
    """Let `agent` perform the task; everything it needs is rendered."""

    task: str
    attempt: int
    loss: int
    agent: str
    spec: TaskSpec
    is_inline: bool  #: the task's own runner, not a named agent
    input: Any
    env: Mapping[str, Text]
    argv: tuple[Text, ...] | None  #: the rendered items of a list command, or of a script's arguments
    timeout: float | None  #: seconds; what is left of the deadline, if that is less
    idempotency_key: str
    deadline: float | None = None  #: the task's, in seconds, where it is what ends the attempt
    http: HttpCall[Text] | None = None  #: the rendered request of an HTTP agent

    def started(self, now: float) -> AttemptStarted:
        """The fact to commit before it is done."""
        return AttemptStarted(now, self.task, self.attempt, self.loss, self.agent)


@frozen
class CancelAttempt:
    """End the running attempt; saying it twice changes nothing."""

    task: str
    attempt: int


@frozen
class Decide:
    """An attempt has failed: what now? Answered by a verdict event in the same batch."""

    task: str
    spec: TaskSpec
    run_id: str
    attempt: int  #: the attempt that failed
    agent_index: int  #: in `spec.agents`
    agent_attempts: int  #: attempts of this agent in this generation, the failed one included
    failure: Failure
    effect: Effect  #: what it means for the run if nobody is left to try
    fallback_value: Any = None  #: rendered, where the task has one and it may be wanted now
    fallback_fault: str = ""  #: why it cannot be rendered
    remaining_s: float | None = None  #: until the task's deadline; None: it has none
    budget_left: int | None = None  #: retries that the run may still spend; None: no bound
    is_budget_noted: bool = False  #: that there are none left has been recorded


@frozen
class AskBreaker:
    """Ask whether an attempt may start; answered by BreakerAllowed or BreakerRefused. Saying it twice changes nothing."""

    task: str
    ask: BreakerAsk


@frozen
class TellBreaker:
    """Tell how an attempt ended; answered by BreakerCounted, -Opened or -Closed. Saying it twice changes nothing."""

    task: str
    report: BreakerReport


@frozen
class RunHook:
    """Run a blocking hook and wait for it."""

    event: BlockingHookEvent
    index: int
    subject: str  #: the task or stage; empty: the run
    context: HookContext  #: rendered, with places for secrets

    def started(self, now: float) -> HookStarted:
        """The fact to commit before it is done."""
        return HookStarted(now, self.event, self.index, self.subject)


@frozen
class CancelHook:
    """End the running hook that prepares a run or a task, which will not begin; saying it twice changes nothing."""

    event: BlockingHookEvent
    index: int
    subject: str


@frozen
class Record:
    """Commit a fact that follows from the state alone."""

    event: Event


@frozen
class Finish:
    """Commit the end of the generation, then tell who waits for it."""

    outcome: RunOutcome

    def started(self, now: float) -> RunFinished:
        """The fact to commit before anybody is told."""
        return RunFinished(now, self.outcome)


Command: TypeAlias = (
    StartAttempt | CancelAttempt | Decide | AskBreaker | TellBreaker | RunHook | CancelHook | Record | Finish
)
