"""The WorkflowActor: one per run. It owns the run's state, and is the only one who changes it.

Each of its turns: take all messages, apply what they say, settle the core, hand the journal outcomes and starts as one
batch. What the core wants done is held until that batch is kept, then done; see `outbox`. Turns are taken in the one task
of the rota: a run has none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final, assert_never

from actorflow.actors.alarm import Appointment
from actorflow.actors.mailbox import Mailbox
from actorflow.core.commands import (
    AskBreaker,
    CancelAttempt,
    CancelHook,
    Finish,
    RunHook,
    StartAttempt,
    TellBreaker,
)
from actorflow.core.due_hooks import ends_of_hooks
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
    PauseRequested,
    Resumed,
    SignalReceived,
)
from actorflow.core.rendering import outcome
from actorflow.core.state import RunState
from actorflow.core.step import Action, cut_off, settle
from actorflow.errors import ActorflowError
from actorflow.journal.protocol import Answered, DropDeadLetters, Outcome
from actorflow.runtime.breaker_talk import BreakerTalk
from actorflow.runtime.grace import Grace
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
    HookKey,
    Message,
    Pause,
    Signal,
    StoreLost,
    SupervisorGaveUp,
    Wish,
    Woken,
)
from actorflow.runtime.outbox import Outbox
from actorflow.runtime.supervisor import TaskSupervisor
from actorflow.runtime.surroundings import RunSurroundings
from actorflow.runtime.task_actor import TaskActor, TaskSurroundings

PROMISE: Final = "each running attempt owes one answer, each breaker one to a question and an outcome, and who asks waits for room"

REQUESTS_ROOM: Final = 256
"""Requests that may wait in the mailbox. Others wait in the inbox of the store, or with their callers."""

OTHERS_ROOM: Final = 32
"""For what is said once at a time: that a batch is kept, a time has come, the store is lost."""

LAZY_COUNT: Final = 512
"""Outcomes that nothing waits for may join a later batch, up to so many, while other attempts are about to run."""

_AGAIN_S: Final = 0.1
"""When to look again at what is due already: it waits for an answer, which comes by itself."""

_FINEST_S: Final = 1e-6
"""Nobody is woken sooner: epoch seconds are no finer as floats, so that who is woken might find that it is not yet time."""


class WorkflowActor:
    """Runs one run to its end, or to a pause."""

    def __init__(self, around: RunSurroundings, state: RunState, seq: int) -> None:
        self.state = state
        self._around = around
        self._clock = around.clock
        self._alarm = around.staff.alarm
        self._outbox = Outbox(around, state, seq, self._tell_kept)
        self._actors: dict[str, TaskActor] = {}  #: of tasks that may have another attempt
        self._running: dict[str, TaskActor] = {}  #: whose answer is owed
        self._rota = around.staff.rota
        self._is_going = False  #: it has begun, and is neither over nor given up
        self.is_called = False  #: it has a turn to come
        self._is_settled = False  #: nothing has happened since the core was settled, and no time has come
        self._hooks_running: dict[HookKey, None] = {}  #: blocking ones, whose answer is owed
        self._is_leaving = False  #: the grace of a pause is over
        self._is_killing = False  #: what is canceled gets no time to end, hooks of tasks and stages included
        self._requests_count = 0  #: in the mailbox
        self._retry_alarm: tuple[float, Appointment] | None = None
        host = around.staff.host
        room = 3 * state.plan.spec.limits.max_parallel + REQUESTS_ROOM + OTHERS_ROOM
        self._mailbox: Mailbox[Message] = Mailbox(host, room, PROMISE)
        self._supervisor = TaskSupervisor(host, self.tell)
        self._surroundings = TaskSurroundings(
            run_id=around.run_id,
            host=host,
            clock=around.clock,
            pool=around.staff.pool,
            alarm=around.staff.alarm,
            context=around.context,
            secrets=around.secrets,
            performers=around.performers,
            tell=self.tell,
            note_crash=self._supervisor.note_crash,
            outputs=around.outputs,
            grace_s=around.staff.grace_s,
        )

    @cached_property
    def _talk(self) -> BreakerTalk:
        return BreakerTalk(self._around, self.state)

    @cached_property
    def _grace(self) -> Grace:
        return Grace(self._alarm, lambda: self.tell(GraceOver()))

    def tell(self, message: Message) -> None:
        """Put a message into the actor's mailbox."""
        self._mailbox.tell(message)
        self._rota.call(self)

    @property
    def has_room(self) -> bool:
        """Whether the mailbox takes another request; if not, it does once `requests_taken` is said."""
        return self._requests_count < REQUESTS_ROOM

    def ask(self, request: Wish) -> bool:
        """Put a request into the mailbox, if there is room; whether there was."""
        if not self.has_room:
            return False
        self._requests_count += 1
        self.tell(request)
        return True

    def begin(self, opening: Sequence[Event]) -> None:
        """Apply the opening events, then go on, turn by turn, until the run has ended or is paused, and that is kept.

        That it is over is said once, to who is around it; or what keeps it from going on: StoreFailed, when the journal
        can't keep a batch, another ActorflowError, when it refuses one, any other exception of a bug of ours.
        """
        self._is_going = True
        self._go_on_with(opening)

    def turn(self) -> None:
        """See to all that is in the mailbox; what comes before the run begins, or after it is over, is left there."""
        if self._is_going:
            self._go_on_with(())

    def _go_on_with(self, happened: Sequence[Event]) -> None:
        try:
            for event in happened:
                self._happened(event)
            # at the beginning, what was asked before: nothing is to start that is not wanted any more
            self._take(self._mailbox.drain_nowait())
            self._advance()
        except Exception as error:  # noqa: BLE001 - the parent decides: it may be a bug of ours
            self._rest(error)
        else:
            if self.is_over:
                self._mailbox.close()
                self._rest(None)

    def _rest(self, error: Exception | None) -> None:
        """Take no more turns, and say so."""
        self._is_going = False
        self._around.over(error)

    async def abandon(self) -> None:
        """End all that runs and wait for it; nothing of it is recorded. For a run whose actor can't go on.

        What is on its way to the journal is waited for: whoever reads the run after this finds it there.
        """
        self._is_going = False
        self._leave()
        while self._running or self._hooks_running or self._outbox.is_answer_owed:
            for message in await self._mailbox.drain():
                self._note_answer(message)
        self._mailbox.close()

    @property
    def is_released(self) -> bool:
        """Whether the run was given up together with its end."""
        return self._outbox.is_released

    @property
    def last_seq(self) -> int:
        """The number that the last event has in the journal, or will have."""
        return self._outbox.last_seq

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, or is paused with nothing running, and all of that is kept."""
        if self._outbox.has_unkept:
            return False
        is_left = self.state.is_pausing and not self._running and not self._hooks_running
        return is_left or self.state.phase == "ended"

    def _take(self, messages: Sequence[Message]) -> None:
        if self._requests_count:
            self._requests_count = 0
            self._around.requests_taken()
        for message in messages:
            self._note_answer(message)
        for message in messages:
            self._receive(message)

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
            case Pause():
                self._pause(message)
            case GoOn():
                self._go_on(message)
            case Signal():
                self._take_signal(message)
            case BreakerAllowed() | BreakerRefused() | BreakerCounted() | BreakerOpened() | BreakerClosed():
                self._hear_breaker(message)
            case GraceOver():
                if self.state.is_pausing and self._grace.is_over:  # of the pause that is under way
                    self._leave()
            case AttemptCrashed(at, task):
                lost = self.state.task(task)
                self._happened(AttemptLost(at, task, lost.attempt, lost.loss))
            case BreakerFailed(_, error) | StoreLost(error) | SupervisorGaveUp(_, error):
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
            case Committed():
                self._outbox.is_answer_owed = False
            case HookFinished(event=event, index=index, subject=subject):
                self._hooks_running.pop((event, index, subject), None)
            case HookGone(place):
                self._hooks_running.pop(place, None)
            case AttemptSucceeded(task=task):
                self._running.pop(task, None)
                self._actors.pop(task, None)  # another attempt, should there be one after all, has a new one
            case (
                AttemptFailed(task=task)
                | AttemptTimedOut(task=task)
                | AttemptCanceled(task=task)
                | AttemptGone(task=task)
                | AttemptCrashed(task=task)
                | SupervisorGaveUp(task=task)
            ):
                self._running.pop(task, None)
            case _:
                pass

    # Deciding: events into the state, and on to the outbox

    def _happened(self, event: Event) -> None:
        if isinstance(event, GenerationStarted) and event.generation > 1:
            self._reopened(event)
        else:
            self.state.apply(event)
        self._is_settled = False
        self._outbox.note(event)

    def _reopened(self, event: GenerationStarted) -> None:
        """What is tried again is no dead letter any more."""
        failed = [task for task in self.state.tasks if task.status == "failed"]
        self.state.apply(event)
        again = [task.id for task in failed if task.status != "failed"]
        if again:
            self._outbox.add(DropDeadLetters(self._around.run_id, again))

    def _advance(self) -> None:
        """Settle the core, and hand on what that gives."""
        if self._is_leaving and not self.state.is_pausing:
            self._lose_what_is_gone()
        if not self._is_settled:
            self._settle()
        if not self._outbox.is_in_flight:
            self._flush()

    def _settle(self) -> None:
        now = self._clock.now()
        step = settle(self.state, now, lambda failed: self._supervisor.decide(failed, now))
        self._is_settled = True
        self._outbox.note_step(step.events)
        if step.actions:
            is_all_news = not self.state.plan.has_breakers
            self._outbox.hold(step.actions if is_all_news else filter(self._talk.is_news, step.actions))
        if self._is_killing and self.state.is_canceled:
            self._outbox.hold(ends_of_hooks(self.state))  # held behind starts: what begins now ends at once
        self._set_alarm()

    def _flush(self) -> None:
        if not self._outbox.unsaved_count:
            self._do_all(self._outbox.send_no_events())
        elif not self._may_wait():
            self._outbox.send()

    def _may_wait(self) -> bool:
        """Whether outcomes that nothing waits for may join the next batch: more are about to come."""
        outbox = self._outbox
        is_busy = self._surroundings.queued_count > 0 and not self.state.is_pausing
        may_wait = is_busy and not outbox.is_holding and outbox.unsaved_count < LAZY_COUNT
        self._surroundings.is_waiting_for_begun = may_wait
        return may_wait

    def _set_alarm(self) -> None:
        """Be woken when the next retry is due."""
        due_at = self.state.next_due_at()
        if self._retry_alarm is not None:
            if self._retry_alarm[0] == due_at:
                return
            self._retry_alarm[1].cancel()
            self._retry_alarm = None
        if due_at is not None:
            left = due_at - self._clock.now()
            delay = max(_FINEST_S, left) if left > 0.0 else _AGAIN_S
            self._retry_alarm = (due_at, self._alarm.after(delay, lambda: self.tell(Woken())))

    # Acting: what may be done once it is kept

    def _tell_kept(self, outcome: Outcome) -> None:
        self.tell(Committed(outcome if isinstance(outcome, Exception) else None))

    def _kept(self, error: Exception | None) -> None:
        """The batch in flight is in the journal: now it may be acted on."""
        if isinstance(error, ActorflowError):
            raise error
        if error is not None:  # again would be the same: the run is at its end here, and others are not
            run_id = self._around.run_id
            msg = f"run {run_id!r} cannot go on, because its store refuses what it is to keep: {error}"
            raise ActorflowError(msg) from error
        kept, actions, seq = self._outbox.landed()
        self._do_all(actions)
        self._around.kept(kept, seq)

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
            case AskBreaker() | TellBreaker():
                self._talk.say(action)
            case RunHook():
                self._hooks_running[action.event, action.index, action.subject] = None
                self._around.run_hook(action)
            case CancelHook(event, index, subject):
                self._around.cancel_hook((event, index, subject))
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

    def _hear_breaker(self, answer: BreakerAnswer) -> None:
        """An answer counts if its question still stands."""
        self._is_settled = False  # also where it does not: what is to be asked instead has waited for it
        if self._talk.counts(answer):
            self._happened(answer)

    # What others want of the run

    def _cancel(self, asked: Cancel) -> None:
        self._is_killing = self._is_killing or asked.is_now
        self._grace.forget()
        state = self.state
        if state.phase != "ended" and (not state.is_canceled or state.is_pausing):
            self._happened(CancelRequested(asked.at, asked.cause))
        self._is_settled = False  # what is canceled already may be killed
        self._answer(asked.request)

    def _pause(self, asked: Pause) -> None:
        self._answer(asked.request)
        if self.state.phase == "ended":
            return
        if not self.state.is_pausing:
            self._happened(PauseRequested(asked.at, asked.cause))
        if asked.grace_s > 0:
            self._grace.give(asked.grace_s)
        else:
            self._grace.forget()
            self._leave()

    def _go_on(self, asked: GoOn) -> None:
        """Take a pause back, unless what runs has been told to end."""
        self._answer(asked.request)
        if self.state.is_pausing and self.state.phase != "ended" and not self._is_leaving:
            self._grace.forget()
            self._happened(Resumed(asked.at))

    def _take_signal(self, sent: Signal) -> None:
        self._answer(sent.request)
        if self.state.phase != "ended" and sent.signal_id not in self.state.signal_ids:
            self._happened(SignalReceived(sent.at, sent.name, sent.payload, sent.signal_id))

    def _answer(self, request: int | None) -> None:
        """A request has been seen to: its row goes with the event that it became, or now if it became none."""
        if request is not None:
            self._outbox.add(Answered([request]))

    def _leave(self) -> None:
        """End what still runs; it is lost on resume. Starts that are held will not be done: they are lost too."""
        self._is_leaving = True
        self._outbox.drop_starts()
        for actor in list(self._running.values()):
            actor.abandon()
        if self._hooks_running:
            self._around.abandon_hooks()

    def _lose_what_is_gone(self) -> None:
        """A run that was being left is canceled instead: what was ended for the pause is lost, so that it can end."""
        for event in cut_off(self.state, self._clock.now(), self._running, self._hooks_running):
            self._happened(event)
        self._is_leaving = bool(self._running or self._hooks_running)
