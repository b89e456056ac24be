"""What can happen to a run: the closed union `Event`, each a frozen fact in the past tense.

`at` is the time in epoch seconds at which the fact was decided, from the clock of the run (which never goes backwards
within a run). Attempts count from 1 and go on over agents and generations; losses count from 0 for each attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

BlockingHookEvent = Literal[
    "pre_workflow", "on_error", "post_workflow", "on_stage_complete", "task_started", "task_finished"
]
Effect = Literal["handled", "tolerated", "fatal"]
HookStatus = Literal["ok", "failed", "timed_out", "canceled", "skipped"]
RunOutcome = Literal["success", "failed", "canceled"]
SkipReason = Literal["when", "upstream", "not_reached", "aborted", "canceled"]
StageStatus = Literal["success", "failed", "canceled", "skipped"]
TaskOutcome = Literal["success", "failed", "canceled"]


@frozen
class Failure:
    """Why an attempt, a task or a run failed."""

    type: str  #: an exception's class name, `exit_status`, `timeout`, `lost`, `expression`, …
    message: str
    detail: Mapping[str, Any] = field(
        factory=dict[str, Any]
    )  #: JSON facts, such as the exit status and the tail of stderr


@frozen
class RunStarted:
    """The first event of every run: all that it was given, pinned."""

    at: float
    run_id: str
    workflow: str
    definition: str  #: the hash under which the journal keeps the definition
    inputs: Mapping[str, Any]
    env: Mapping[str, str]
    bindings: Mapping[str, str]  #: agent name → runner word, or `code` for one bound in code
    flags: Mapping[str, Any]
    core_version: int


@frozen
class GenerationStarted:
    """A pass of the run begins: the first, or another after an end."""

    at: float
    generation: int  #: from 1
    cause: Literal["start", "resume", "retry"]
    tasks: tuple[
        str, ...
    ] = ()  #: of a retry: what is opened again, with what is below it; empty: all that has not succeeded


@frozen
class AttemptStarted:
    """An attempt may begin: committed before its body does."""

    at: float
    task: str
    attempt: int
    loss: int
    agent: str


@frozen
class AttemptSucceeded:
    """The body returned; `output` is what every reader will see."""

    at: float
    task: str
    attempt: int
    output: Any
    record: Mapping[str, Any] = field(
        factory=dict[str, Any]
    )  #: of a command: exit status, stderr tail, truncation


@frozen
class AttemptFailed:
    """The body failed."""

    at: float
    task: str
    attempt: int
    failure: Failure


@frozen
class AttemptTimedOut:
    """The body was ended at its timeout."""

    at: float
    task: str
    attempt: int
    failure: Failure


@frozen
class AttemptCanceled:
    """The body was ended because its run was canceled or aborted."""

    at: float
    task: str
    attempt: int


@frozen
class AttemptLost:
    """The attempt was cut off by a crash; it will run again under its number, `loss` one higher."""

    at: float
    task: str
    attempt: int
    loss: int  #: of the attempt that was cut off


@frozen
class RetryScheduled:
    """Verdict: the same agent tries again at `due_at`."""

    at: float
    task: str
    attempt: int  #: the number of the attempt to come
    due_at: float


@frozen
class FallbackChosen:
    """Verdict: the next agent gets the task, at once."""

    at: float
    task: str
    agent: str


@frozen
class RetriesExhausted:
    """All attempts that the task has with an agent are used up; a verdict follows in the same batch."""

    at: float
    task: str
    agent: str
    attempts: int  #: of this agent, in this generation


@frozen
class BudgetExhausted:
    """A task would be retried, and the run has spent all of its retries; once per generation."""

    at: float
    task: str


@frozen
class BreakerAllowed:
    """A circuit breaker lets the task's next attempt start."""

    at: float
    task: str
    key: str
    is_probe: bool  #: the breaker is half-open, and this attempt shows whether it may close


@frozen
class BreakerRefused:
    """A circuit breaker is open: the next agent's turn, or a wait."""

    at: float
    task: str
    key: str
    until: float  #: when it is worth asking again
    is_probing: bool = False  #: it is half-open, and somebody else shows whether it may close


@frozen
class BreakerCounted:
    """The outcome of the task's last attempt is known to its breaker, which is as it was."""

    at: float
    task: str
    key: str


@frozen
class BreakerOpened:
    """The outcome of the task's last attempt has opened its breaker."""

    at: float
    task: str
    key: str
    until: float  #: when it lets a probe through


@frozen
class BreakerClosed:
    """A probe has succeeded: that of the task, or that of another run, whose end this one waited for."""

    at: float
    task: str | None
    key: str


@frozen
class TaskDeadlinePassed:
    """The task waited, for a retry or a breaker, until its deadline; a verdict follows in the same batch."""

    at: float
    task: str


@frozen
class RunDeadlinePassed:
    """The run has used up its time: nothing new starts, what runs is canceled, and it fails."""

    at: float


@frozen
class DeadLettered:
    """The task's failure is nobody's business but an operator's, who may have it tried again."""

    at: float
    task: str
    letter: str  #: its id
    input: Any  #: what its last attempt was given; None where that can't be rendered
    failure: Failure
    attempts: int


@frozen
class SignalReceived:
    """Somebody sent the run a named message; the same one twice is received once."""

    at: float
    name: str
    payload: Any
    signal_id: str


@frozen
class DefinitionChanged:
    """The run goes on by another definition, in which only tasks that had not begun are other ones."""

    at: float
    definition: str  #: as in `RunStarted`
    bindings: Mapping[str, str]  #: as in `RunStarted`, in place of what it says


@frozen
class FallbackValueUsed:
    """Verdict: nobody is left to try, and the task succeeds with the value that its definition has for this."""

    at: float
    task: str
    output: Any


@frozen
class SleepStarted:
    """The task is ready, and waits as long as its definition says before its first attempt."""

    at: float
    task: str
    due_at: float


@frozen
class TaskFailed:
    """Verdict: nobody is left to try, or the task could not even begin."""

    at: float
    task: str
    effect: Effect
    failure: Failure


@frozen
class TaskCanceled:
    """The task was ended while it waited for another attempt; one that has had none is skipped instead."""

    at: float
    task: str


@frozen
class TaskSkipped:
    """The task did not run, and will not in this generation."""

    at: float
    task: str
    reason: SkipReason


@frozen
class TaskFinished:
    """The blocking hooks of a task that told of its outcome are done: it has ended, and what waits for it may start."""

    at: float
    task: str
    status: TaskOutcome


@frozen
class StageCompleted:
    """All tasks of the stage have ended."""

    at: float
    stage: str
    status: StageStatus


@frozen
class HookStarted:
    """A blocking hook may begin: committed before its action does."""

    at: float
    event: BlockingHookEvent
    index: int  #: in its list, from 0
    subject: str = ""  #: the task or stage that it is about; empty: the run


@frozen
class HookFinished:
    """A blocking hook has ended; without a HookStarted, one that was passed over, or a transform."""

    at: float
    event: BlockingHookEvent
    index: int
    status: HookStatus
    #: exit status, output tails, seconds; of a transform: `vars`, and `output` where it replaces the task's
    record: Mapping[str, Any] = field(factory=dict[str, Any])
    subject: str = ""


@frozen
class HookLost:
    """A blocking hook was cut off by a crash; it will run again."""

    at: float
    event: BlockingHookEvent
    index: int
    subject: str = ""


@frozen
class PauseRequested:
    """Nothing new starts until the run is resumed."""

    at: float
    cause: str


@frozen
class Resumed:
    """A paused or crashed run goes on, in its generation."""

    at: float


@frozen
class CancelRequested:
    """Somebody wants the run to end as canceled."""

    at: float
    cause: str


@frozen
class RunEnding:
    """The outcome is decided; what is left is on_error and post_workflow hooks."""

    at: float
    outcome: RunOutcome
    outputs: Mapping[str, Any]
    failure: Failure | None  #: the cause of a failed run
    task: str | None  #: the task whose failure it was


@frozen
class RunFinished:
    """The generation is over."""

    at: float
    outcome: RunOutcome


AttemptEvent: TypeAlias = AttemptSucceeded | AttemptFailed | AttemptTimedOut | AttemptCanceled | AttemptLost
"""About the attempt at hand of a task."""

TaskEvent: TypeAlias = (
    AttemptEvent
    | AttemptStarted
    | RetryScheduled
    | FallbackChosen
    | FallbackValueUsed
    | RetriesExhausted
    | BudgetExhausted
    | BreakerAllowed
    | BreakerRefused
    | BreakerCounted
    | BreakerOpened
    | SleepStarted
    | TaskDeadlinePassed
    | TaskFailed
    | TaskCanceled
    | TaskFinished
    | TaskSkipped
    | DeadLettered
)
"""About one task."""

Event: TypeAlias = (
    RunStarted
    | GenerationStarted
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | AttemptTimedOut
    | AttemptCanceled
    | AttemptLost
    | RetryScheduled
    | FallbackChosen
    | FallbackValueUsed
    | RetriesExhausted
    | BudgetExhausted
    | BreakerAllowed
    | BreakerRefused
    | BreakerCounted
    | BreakerOpened
    | BreakerClosed
    | SleepStarted
    | TaskDeadlinePassed
    | TaskFailed
    | TaskCanceled
    | TaskFinished
    | TaskSkipped
    | DeadLettered
    | StageCompleted
    | HookStarted
    | HookFinished
    | HookLost
    | PauseRequested
    | Resumed
    | CancelRequested
    | SignalReceived
    | DefinitionChanged
    | RunDeadlinePassed
    | RunEnding
    | RunFinished
)
