"""The WorkflowActor: one per run. It owns the run's state, and is the only one who changes it.

Each turn of its loop: take all messages, apply what they say, settle the core, hand the journal outcomes and starts as
one batch. What the core wants done is held until that batch is kept, then done. One batch is in flight at a time: what
comes meanwhile makes the next one larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Protocol, assert_never, cast

from actorflow.actors.alarm import Appointment
from actorflow.actors.mailbox import Mailbox
from actorflow.core.breaker import BreakerAsk, BreakerReport
from actorflow.core.commands import (
    AskBreaker,
    CancelAttempt,
    CancelHook,
    Finish,
    RunHook,
    StartAttempt,
    TellBreaker,
)
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    CancelRequested,
    Event,
    GenerationStarted,
    HookFinished,
    HookLost,
    PauseRequested,
    Resumed,
    RunFinished,
    SignalReceived,
)
from actorflow.core.rendering import outcome
from actorflow.core.state import RunState
from actorflow.core.step import Action, settle
from actorflow.errors import ActorflowError
from actorflow.journal.protocol import (
    Answered,
    Append,
    DropDeadLetters,
    Outcome,
    Release,
    RunStatus,
    RunSummary,
    SaveCheckpoint,
    Write,
)
from actorflow.runtime.clock import RunClock
from actorflow.runtime.environment import secret_source
from actorflow.runtime.letters import letters
from actorflow.runtime.messages import (
    AllBegun,
    AttemptCrashed,
    AttemptGone,
    BreakerAnswer,
    BreakerFailed,
    Cancel,
    Committed,
    GoOn,
    GraceOver,
    HookGone,
    Message,
    Pause,
    Signal,
    StoreLost,
    SupervisorGaveUp,
    Woken,
)
from actorflow.runtime.staff import Staff
from actorflow.runtime.supervisor import TaskSupervisor
from actorflow.runtime.task_actor import Performers, TaskActor, TaskSurroundings

PROMISE = (
    "each running attempt owes one answer, each breaker one to a question and an outcome, and callers are few"
)

LAZY_COUNT = 512
"""Outcomes that nothing waits for may join a later batch, up to so many, while other attempts are about to run."""


class RunSurroundings(Protocol):
    """What a WorkflowActor knows of its run, and speaks to; see `LiveRun`."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    @property
    def staff(self) -> Staff:
        """The actors that serve all runs."""
        ...

    @property
    def clock(self) -> RunClock:
        """The run's clock."""
        ...

    @property
    def context(self) -> Context:
        """The context variables that attempts see."""
        ...

    @property
    def performers(self) -> Performers:
        """Who performs attempts."""
        ...

    def keep(self, write: Write, reply: Callable[[Outcome], None]) -> None:
        """To the JournalActor."""
        ...

    def ask_breaker(self, question: BreakerAsk) -> None:
        """To the BreakerActor; a BreakerAllowed or BreakerRefused answers."""
        ...

    def tell_breaker(self, told: BreakerReport) -> None:
        """To the BreakerActor; a BreakerCounted, -Opened or -Closed answers."""
        ...

    def release_probe(self, told: BreakerReport) -> None:
        """To the BreakerActor; nothing answers."""
        ...

    def kill_processes(self) -> None:
        """KILL the processes of the run's attempts and hooks at once."""
        ...

    def kept(self, events: Sequence[Event], seq: int) -> None:
        """A batch is in the journal."""
        ...

    def next_checkpoint(self, state: RunState, seq: int) -> SaveCheckpoint | None:
        """What to keep of the state together with the batch that ends here, if that is due."""
        ...

    def run_hook(self, command: RunHook) -> None:
        """To the HookActor; a HookFinished or HookGone answers."""
        ...

    def cancel_hook(self) -> None:
        """End the blocking hook that runs; a HookFinished answers."""
        ...

    def abandon_hook(self) -> None:
        """End the blocking hook that runs; a HookGone answers."""
        ...


class WorkflowActor:
    """Runs one run to its end, or to a pause."""

    def __init__(self, around: RunSurroundings, state: RunState, seq: int) -> None:
        self.state = state
        self._around = around
        self._clock = around.clock
        self._alarm = around.staff.alarm
        self._seq = seq  #: of the last event handed to the journal
        self._unsaved: list[Event] = []
        self._held: list[Action] = []  #: what is to be done once `_unsaved` is kept
        self._in_flight: list[Event] = []
        self._held_by_flight: list[Action] = []
        self._summary: RunSummary | None = None  #: where `_unsaved` changes it
        self._actors: dict[str, TaskActor] = {}
        self._running: dict[str, TaskActor] = {}  #: whose answer is owed
        self._is_settled = False  #: nothing has happened since the core was settled, and no time has come
        self._is_hook_running = False
        self._is_leaving = False  #: the grace of a pause is over
        self.is_released = False  #: the run was given up together with its end
        self._is_killing = False  #: what is canceled gets no time to end
        self._beside: list[Write] = []  #: what is to be kept together with `_unsaved`
        self._asked: set[str] = set()  #: tasks whose breaker owes an answer to a question
        self._told: set[str] = set()  #: likewise to an outcome
        self._retry_alarm: tuple[float, Appointment] | None = None
        self._grace_alarm: Appointment | None = None
        host = around.staff.host
        limit = state.plan.spec.limits.max_parallel
        self._mailbox: Mailbox[Message] = Mailbox(host, 3 * limit + 64, PROMISE)
        self._supervisor = TaskSupervisor(host, self.tell)
        self._surroundings = TaskSurroundings(
            run_id=around.run_id,
            host=host,
            clock=around.clock,
            pool=around.staff.pool,
            alarm=around.staff.alarm,
            context=around.context,
            secrets=secret_source(state.plan.spec),
            performers=around.performers,
            tell=self.tell,
            note_crash=self._supervisor.note_crash,
            grace_s=around.staff.grace_s,
        )

    def tell(self, message: Message) -> None:
        """Put a message into the actor's mailbox."""
        self._mailbox.tell(message)

    async def run(self, opening: Sequence[Event]) -> None:
        """Apply the opening events, then go on until the run has ended or is paused, and that is kept.

        Raises:
            StoreFailed: the journal can't keep a batch.
            ActorflowError: it refuses one.
        """
        for event in opening:
            self._happened(event)
        self._advance()
        while not self.is_over:
            messages = await self._mailbox.drain()
            for message in messages:
                self._note_answer(message)
            for message in messages:
                self._receive(message)
            self._advance()
        self._mailbox.close()

    def now(self) -> float:
        """The time of the run."""
        return self._clock.now()

    async def abandon(self) -> None:
        """End all that runs and wait for it; nothing of it is recorded. For a run whose actor can't go on."""
        self._leave()
        while self._running or self._is_hook_running:
            for message in await self._mailbox.drain():
                self._note_answer(message)
        self._mailbox.close()

    @property
    def has_unkept(self) -> bool:
        """Whether something has happened that is not in the journal yet."""
        return bool(self._unsaved or self._in_flight)

    @property
    def last_seq(self) -> int:
        """The number that the last event has in the journal, or will have."""
        return self._seq + len(self._unsaved)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, or is paused with nothing running, and all of that is kept."""
        if self.has_unkept:
            return False
        is_left = self.state.is_pausing and not self._running and not self._is_hook_running
        return is_left or self.state.phase == "ended"

    def _receive(self, message: Message) -> None:
        match message:
            case AttemptSucceeded():
                self._happened(outcome(self.state, message))
            case AttemptFailed() | AttemptTimedOut() | AttemptCanceled() | HookFinished():
                self._happened(message)
            case Committed(error):
                self._kept(error)
            case Cancel():
                self._cancel(message)
            case Pause(at, cause, grace_s):
                self._pause(at, cause, grace_s)
                self._answer(message.request)
            case GoOn(at):
                self._go_on(at)
                self._answer(message.request)
            case Signal():
                self._take_signal(message)
            case BreakerAllowed() | BreakerRefused() | BreakerCounted() | BreakerOpened() | BreakerClosed():
                self._hear_breaker(message)
            case BreakerFailed(_, error) | StoreLost(error):
                raise error
            case GraceOver():
                if self.state.is_pausing:
                    self._leave()
            case AttemptCrashed(at, task):
                lost = self.state.task(task)
                self._happened(AttemptLost(at, task, lost.attempt, lost.loss))
            case SupervisorGaveUp(_, error):
                raise error
            case Woken():
                self._retry_alarm = None
                self._is_settled = False
            case AttemptGone() | HookGone() | AllBegun():
                pass
            case _:
                assert_never(message)

    def _note_answer(self, message: Message) -> None:
        """Cross off who has answered."""
        match message:
            case HookFinished() | HookGone():
                self._is_hook_running = False
            case (
                AttemptSucceeded(task=task)
                | AttemptFailed(task=task)
                | AttemptTimedOut(task=task)
                | AttemptCanceled(task=task)
                | AttemptGone(task=task)
                | AttemptCrashed(task=task)
                | SupervisorGaveUp(task=task)
            ):
                self._running.pop(task, None)
            case _:
                pass

    def _happened(self, event: Event) -> None:
        if isinstance(event, GenerationStarted) and event.generation > 1:
            self._reopened(event)
        else:
            self.state.apply(event)
        self._is_settled = False
        self._unsaved.append(event)
        self._sum_up(event)

    def _reopened(self, event: GenerationStarted) -> None:
        """What is tried again is no dead letter any more."""
        failed = [task for task in self.state.tasks if task.status == "failed"]
        self.state.apply(event)
        again = [task.id for task in failed if task.status != "failed"]
        if again:
            self._beside.append(DropDeadLetters(self._around.run_id, again))

    def _sum_up(self, event: Event) -> None:
        """Note where an event changes the row of the run."""
        status = _STATUS_AFTER.get(type(event))
        if status is not None or isinstance(event, RunFinished):
            self._summary = RunSummary(
                status=status if status is not None else cast("RunFinished", event).outcome,
                generation=self.state.generation,
                started_at=self.state.run_started_at,
                ended_at=self.state.ended_at,
            )

    def _advance(self) -> None:
        """Settle the core, and hand on what that gives."""
        if self._is_leaving and not self.state.is_pausing:
            self._lose_what_is_gone()
        if not self._is_settled:
            self._settle()
        if not self._in_flight:
            self._flush()

    def _settle(self) -> None:
        now = self._clock.now()
        step = settle(self.state, now, lambda failed: self._supervisor.decide(failed, now))
        self._is_settled = True
        self._unsaved.extend(step.events)
        if step.events:
            self._sum_up(step.events[-1])
        self._held.extend(filter(self._is_news, step.actions))
        self._set_alarm()

    def _is_news(self, action: Action) -> bool:
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

    def _flush(self) -> None:
        if not self._unsaved:
            self._keep_beside()
            self._do_held()
            return
        if self._may_wait():
            return
        first = self._seq + 1
        self._seq += len(self._unsaved)
        self._in_flight, self._unsaved = self._unsaved, []
        if self.state.had_errors:
            self._beside.extend(letters(self._around.run_id, self._in_flight, first))
        self._held_by_flight, self._held = self._held, []
        summary, self._summary = self._summary, None
        run_id = self._around.run_id
        self._around.keep(Append(run_id, first, self._in_flight, summary), self._tell_kept)
        self._keep_beside()
        checkpoint = self._around.next_checkpoint(self.state, self._seq)
        if checkpoint is not None:
            self._around.keep(checkpoint, _forget)
        if self.state.phase == "ended" and not self.state.plan.hooks.of("on_stage_complete"):
            self._around.keep(Release(run_id, self._seq), self._note_release)

    def _may_wait(self) -> bool:
        """Whether outcomes that nothing waits for may join the next batch: more are about to come."""
        is_busy = self._surroundings.queued_count > 0 and not self.state.is_pausing
        may_wait = is_busy and not self._held and len(self._unsaved) < LAZY_COUNT
        self._surroundings.is_waiting_for_begun = may_wait
        return may_wait

    def _note_release(self, outcome: Outcome) -> None:
        self.is_released = not isinstance(outcome, Exception)

    def _tell_kept(self, outcome: Outcome) -> None:
        self.tell(Committed(outcome if isinstance(outcome, Exception) else None))

    def _keep_beside(self) -> None:
        """Have the journal keep what goes with the events, in the same commit as they."""
        beside, self._beside = self._beside, []
        for write in beside:
            self._around.keep(write, _forget)

    def _kept(self, error: Exception | None) -> None:
        """The batch in flight is in the journal: now it may be acted on."""
        if isinstance(error, ActorflowError):
            raise error
        if error is not None:  # again would be the same: the run is at its end here, and others are not
            msg = f"run {self._around.run_id!r} cannot go on, because its store refuses what it is to keep: {error}"
            raise ActorflowError(msg) from error
        kept, self._in_flight = self._in_flight, []
        actions, self._held_by_flight = self._held_by_flight, []
        self._do_all(actions)
        self._around.kept(kept, self._seq)

    def _do_held(self) -> None:
        """Actions without an event of their own: cancels, said again."""
        held, self._held = self._held, []
        self._do_all(held)

    def _do_all(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self._do(action)
        if self._is_killing and any(isinstance(action, CancelAttempt | CancelHook) for action in actions):
            self._around.kill_processes()

    def _do(self, action: Action) -> None:
        match action:
            case StartAttempt():
                self._start(action)
            case CancelAttempt(task):
                if task in self._running:
                    self._running[task].cancel()
            case AskBreaker(_, question):
                self._around.ask_breaker(question)
            case TellBreaker(_, told):
                self._around.tell_breaker(told)
            case RunHook():
                self._is_hook_running = True
                self._around.run_hook(action)
            case CancelHook():
                self._around.cancel_hook()
            case Finish():
                pass  # its event is kept: `is_over` says the rest
            case _:
                assert_never(action)

    def _start(self, command: StartAttempt) -> None:
        actor = self._actors.get(command.task)
        if actor is None or actor.is_left_behind:
            actor = self._actors[command.task] = TaskActor(self._surroundings, command)
        self._running[command.task] = actor
        actor.start(command)

    def _cancel(self, asked: Cancel) -> None:
        self._is_killing = self._is_killing or asked.is_now
        if self.state.phase != "ended" and not self.state.is_canceled:
            self._happened(CancelRequested(asked.at, asked.cause))
        self._is_settled = False  # what is canceled already may be killed
        self._answer(asked.request)

    def _pause(self, at: float, cause: str, grace_s: float) -> None:
        if self.state.phase == "ended":
            return
        if not self.state.is_pausing:
            self._happened(PauseRequested(at, cause))
        if grace_s > 0:
            self._grace_alarm = self._alarm.after(grace_s, lambda: self.tell(GraceOver()))
        else:
            self._leave()

    def _go_on(self, at: float) -> None:
        """Take a pause back, unless what runs has been told to end."""
        if self.state.is_pausing and not self._is_leaving:
            if self._grace_alarm is not None:
                self._grace_alarm.cancel()
            self._happened(Resumed(at))

    def _take_signal(self, sent: Signal) -> None:
        if self.state.phase != "ended" and sent.signal_id not in self.state.signal_ids:
            self._happened(SignalReceived(sent.at, sent.name, sent.payload, sent.signal_id))
        self._answer(sent.request)

    def _answer(self, request: int | None) -> None:
        """A request has been seen to: its row goes with the event that it became, or now if it became none."""
        if request is not None:
            self._beside.append(Answered([request]))

    def _hear_breaker(self, answer: BreakerAnswer) -> None:
        """An answer counts if its question still stands; the task may have moved on meanwhile."""
        self._is_settled = False  # also where it does not: what is to be asked instead has waited for it
        if isinstance(answer, BreakerAllowed | BreakerRefused):
            self._asked.discard(answer.task)
            if self._waits_for(answer.task, answer.key) and self._is_of_use(answer):
                self._happened(answer)
            elif isinstance(answer, BreakerAllowed) and answer.is_probe:
                self._give_back(answer)
            return
        if answer.task is None:
            if self.state.phase == "tasks" and self.state.breakers.waiting_for(answer.key):
                self._happened(answer)
            return
        self._told.discard(answer.task)
        if self.state.phase == "tasks" and self.state.plan.index[answer.task] in self.state.breakers.untold:
            self._happened(answer)

    def _is_of_use(self, answer: BreakerAllowed | BreakerRefused) -> bool:
        """A leave is taken at once or not at all: one that waits for a slot would grow old, and keep others from the probe."""
        return isinstance(answer, BreakerRefused) or self.state.free_slots > len(self.state.breakers.allowed)

    def _waits_for(self, task: str, key: str) -> bool:
        index = self.state.plan.index[task]
        is_open = self.state.phase == "tasks" and self.state.tasks[index].status in ("pending", "waiting")
        return is_open and self.state.breakers.key(index) == key

    def _give_back(self, answer: BreakerAllowed) -> None:
        task = self.state.task(answer.task)
        spec = self.state.plan.tasks[self.state.plan.index[task.id]].on_error.breaker
        if spec is not None:
            told = BreakerReport(
                answer.key, spec, self._around.run_id, task.id, task.attempt, answer.at, "released"
            )
            self._around.release_probe(told)

    def _leave(self) -> None:
        """End what still runs; it is lost on resume. Starts that are held will not be done: they are lost too."""
        self._is_leaving = True
        self._held = [action for action in self._held if not isinstance(action, StartAttempt | RunHook)]
        self._held_by_flight = [
            action for action in self._held_by_flight if not isinstance(action, StartAttempt | RunHook)
        ]
        for actor in list(self._running.values()):
            actor.abandon()
        if self._is_hook_running:
            self._around.abandon_hook()

    def _lose_what_is_gone(self) -> None:
        """A run that was being left is canceled instead: what was ended for the pause is lost, so that it can end."""
        now = self._clock.now()
        for index in list(self.state.running):
            task = self.state.tasks[index]
            if task.id not in self._running:
                self._happened(AttemptLost(now, task.id, task.attempt, task.loss))
        if self.state.hooks.is_running and not self._is_hook_running:
            self._happened(HookLost(now, *self.state.hooks.head))
        self._is_leaving = bool(self._running) or self._is_hook_running

    def _set_alarm(self) -> None:
        """Be woken when the next retry is due."""
        due_at = self.state.next_due_at()
        if self._retry_alarm is not None:
            if self._retry_alarm[0] == due_at:
                return
            self._retry_alarm[1].cancel()
            self._retry_alarm = None
        if due_at is not None:
            delay = max(0.0, due_at - self._clock.now())
            self._retry_alarm = (due_at, self._alarm.after(delay, self._wake))

    def _wake(self) -> None:
        self.tell(Woken())


def _forget(_: Outcome) -> None:
    """What is kept beside the events can be missed: a run without a checkpoint is folded from its start."""


_STATUS_AFTER: dict[type[Event], RunStatus] = {
    GenerationStarted: "running",
    Resumed: "running",
    PauseRequested: "paused",
}
