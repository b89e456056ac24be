"""A run in this process: what its WorkflowActor speaks to, and who watches it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any, TypeVar

import anyio.to_thread

from actorflow.actors.host import Gate
from actorflow.actors.latch import Latch
from actorflow.core.breaker import BreakerAsk, BreakerReport
from actorflow.core.commands import RunHook
from actorflow.core.events import AttemptSucceeded, Event, FallbackValueUsed, HookFinished, StageCompleted
from actorflow.core.rendering import notification
from actorflow.core.state import RunState
from actorflow.errors import ActorflowError
from actorflow.hooks.actor import Owed
from actorflow.hooks.blocking import BlockingHook
from actorflow.hooks.command import CommandHook, HookOutcome
from actorflow.hooks.owed import Debtor
from actorflow.journal.protocol import Journal, Outcome, Request, SaveCheckpoint, Write
from actorflow.runtime.breaker_actor import BreakerClient
from actorflow.runtime.checkpoints import CheckpointPace
from actorflow.runtime.clock import RunClock
from actorflow.runtime.environment import inherited_environment
from actorflow.runtime.messages import Cancel, GoOn, HookGone, Message, Pause, Signal, StoreLost
from actorflow.runtime.staff import Ledger, Staff
from actorflow.runtime.task_actor import Performers
from actorflow.runtime.workflow_actor import WorkflowActor

T = TypeVar("T")

_notifications = logging.getLogger("actorflow.notify")


class LiveRun:
    """A run from its opening to its end, its pause, or the failure of its store."""

    def __init__(
        self,
        run_id: str,
        state: RunState,
        seq: int,
        *,
        staff: Staff,
        ledger: Ledger,
        clock: RunClock,
        performers: Performers,
        checkpoint_seq: int,
        begins_at: float = 0.0,
    ) -> None:
        self.run_id = run_id
        self.plan = state.plan
        self.staff = staff
        self.clock = clock
        self.performers = performers
        self.ledger = ledger
        inherited = inherited_environment(state.plan.spec)
        self.debtor = Debtor(run_id, state.plan.spec, ledger.journal, ledger.actor.tell, inherited)
        self.context = copy_context()  #: of whoever started it: what its attempts see
        self.is_kept = Latch(staff.host)  #: its first batch is in the journal, or can't be
        self.is_over = Latch(staff.host)  #: ended, paused, or failed with its store
        self.is_settled = Latch(staff.host)  #: over, and owed hooks are drained
        self.error: Exception | None = None
        self.kept_seq = seq
        self.watchers: list[Gate] = []
        self._begins_at = begins_at  #: where a generation begins with it: when
        self._pace = CheckpointPace(checkpoint_seq)
        self._request: str | float | None = (
            None  #: `cancel`, or the grace of a pause: what was asked for last
        )
        self._last_request: Cancel | Pause | None = None
        self._hook: BlockingHook | None = None  #: the one that was started last
        self._client = BreakerClient(run_id, clock, self._tell)
        self.actor = WorkflowActor(self, state, seq)

    def restart(self, state: RunState, seq: int) -> None:
        """Give the run another actor in place of one that crashed."""
        self.actor = WorkflowActor(self, state, seq)
        if self._last_request is not None:  # it may have been told to the one that crashed
            self.actor.tell(self._last_request)

    @property
    def journal(self) -> Journal:
        """The journal that has its events."""
        return self.ledger.journal

    @property
    def has_async_hooks(self) -> bool:
        """Whether its events may owe deliveries."""
        return bool(self.plan.hooks.of("on_stage_complete"))

    def ask_cancel(self, cause: str, *, is_now: bool = False, request: int | None = None) -> None:
        """Ask for the run's end as canceled; again, nothing, unless at once: the mailbox has room for few callers."""
        is_news = self._request != "cancel" or is_now or request is not None
        if is_news and not self.is_over.is_set:
            self._request = "cancel"
            self._tell_request(Cancel(self.clock.now(), cause, is_now, request))

    def ask_pause(self, cause: str, grace_s: float | None, request: int | None = None) -> None:
        """Ask for a pause; again, nothing, unless with less grace. None: the grace is the runtime's."""
        if grace_s is None:
            grace_s = self.staff.grace_s
        is_news = not isinstance(self._request, float) or grace_s < self._request or request is not None
        if is_news and not self.is_over.is_set:
            self._request = float(grace_s)
            self._tell_request(Pause(self.clock.now(), cause, grace_s, request))

    def ask_to_go_on(self, request: int | None = None) -> None:
        """Ask that a pause that is under way be given up."""
        if not self.is_over.is_set:
            if isinstance(self._request, float):
                self._request = self._last_request = None
            self.actor.tell(GoOn(self.clock.now(), request))

    def ask_signal(self, name: str, payload: Any, signal_id: str, request: int | None = None) -> None:
        """Send the run a named message."""
        self.actor.tell(Signal(self.clock.now(), name, payload, signal_id, request))

    async def send_signal(self, name: str, payload: Any, signal_id: str) -> bool:
        """Send the run a named message, and wait until it is in the journal; False where it came to rest before.

        Raises:
            StoreFailed: it could not be kept.
        """
        self.ask_signal(name, payload, signal_id)
        if not await self._comes_true(lambda: signal_id in self.actor.state.signal_ids):
            return False
        seq = self.actor.last_seq
        return await self._comes_true(lambda: self.kept_seq >= seq)

    async def _comes_true(self, is_so: Callable[[], bool]) -> bool:
        """Wait for something that comes with progress; whether it came before the run was over."""
        while not is_so():
            if self.is_over.is_set:
                self.refuse_if_failed()
                return False
            await self.wait_for_progress()
        return True

    def ask_what(self, request: Request) -> bool:
        """Have a request from the store's inbox seen to; whether there was still somebody to do so.

        Who asked for an end or a pause meant the generation of then; a signal is for whichever comes.
        """
        is_outdated = request.at < self._begins_at and request.kind != "signal"
        if self.is_over.is_set or is_outdated:
            return False
        body, number = request.body, request.id
        match request.kind:
            case "cancel":
                self.ask_cancel(str(body.get("cause", "")), is_now=bool(body.get("now")), request=number)
            case "pause":
                grace_s = body.get("grace_s")
                self.ask_pause(
                    str(body.get("cause", "")), None if grace_s is None else float(grace_s), number
                )
            case "resume":
                self.ask_to_go_on(number)
            case "signal":
                self.ask_signal(str(body["name"]), body.get("payload"), str(body["signal_id"]), number)
        return True

    def lose_store(self, error: ActorflowError) -> None:
        """Nothing can be kept any more: end all that runs."""
        if not self.is_over.is_set:
            self.actor.tell(StoreLost(error))

    def _tell(self, message: Message) -> None:
        """To the actor that the run has now."""
        self.actor.tell(message)

    def _tell_request(self, request: Cancel | Pause) -> None:
        self._last_request = request
        self.actor.tell(request)

    async def read(self, read: Callable[[], T]) -> T:
        """Read from the journal without holding the loop up."""
        return await anyio.to_thread.run_sync(read) if self.journal.is_durable else read()

    async def wait_for_progress(self) -> None:
        """Wait until more is kept, or the run is over."""
        gate = self.staff.host.gate()
        self.watchers.append(gate)
        try:
            await gate.wait()
        finally:
            self.watchers.remove(gate)

    def refuse_if_failed(self) -> None:
        """Raise what ended the run against its will."""
        if self.error is not None:
            raise self.error

    def end(self, error: Exception | None = None) -> None:
        """The run is over for this process."""
        self.error = self.error or error
        self.ledger.breakers.forget(self.run_id)
        self.is_kept.set()
        self.is_over.set()
        self._wake_watchers()

    # What the WorkflowActor says

    def keep(self, write: Write, reply: Callable[[Outcome], None]) -> None:
        """To the JournalActor."""
        self.ledger.actor.tell(write, reply)

    def ask_breaker(self, question: BreakerAsk) -> None:
        """To the BreakerActor; a BreakerAllowed or BreakerRefused answers."""
        self.ledger.breakers.ask(self._client, question)

    def tell_breaker(self, told: BreakerReport) -> None:
        """To the BreakerActor; a BreakerCounted, -Opened or -Closed answers."""
        self.ledger.breakers.report(self._client, told)

    def release_probe(self, told: BreakerReport) -> None:
        """To the BreakerActor; nothing answers."""
        self.ledger.breakers.release(told)

    def kill_processes(self) -> None:
        """KILL the processes of the run's attempts and hooks at once."""
        self.staff.trees.kill_nowait(f"{self.staff.trees.cookie_prefix}{self.run_id}/")

    def kept(self, events: Sequence[Event], seq: int) -> None:
        """These events are in the journal, the last under this number: whoever waits for them may have them."""
        self.kept_seq = seq
        self.is_kept.set()
        self._wake_watchers()
        if self.has_async_hooks and any(isinstance(event, StageCompleted) for event in events):
            self.staff.hooks.tell(Owed(self.debtor))
        if self.plan.notifies:
            self._notify(events)

    def next_checkpoint(self, state: RunState, seq: int) -> SaveCheckpoint | None:
        """What to keep of the state together with the batch that ends here; what is lost with its process is not kept."""
        return self._pace.next_checkpoint(state, seq) if self.journal.is_durable else None

    def run_hook(self, command: RunHook) -> None:
        """To the HookActor; a HookFinished or HookGone answers."""

        def answer(outcome: HookOutcome | None) -> None:
            if outcome is None:
                self.actor.tell(HookGone())
                return
            status, record = outcome.status, outcome.record
            self.actor.tell(HookFinished(self.clock.now(), command.event, command.index, status, record))

        staff = self.staff
        spec = self.plan.spec
        job = CommandHook(command.hook, command.env, spec.folder, command.delivery_id, self.debtor.inherited)
        self._hook = BlockingHook(job, host=staff.host, pool=staff.pool, trees=staff.trees, answer=answer)
        staff.hooks.tell(self._hook)

    def cancel_hook(self) -> None:
        """End the blocking hook that runs; it counts as canceled."""
        if self._hook is not None:
            self._hook.cancel()

    def abandon_hook(self) -> None:
        """End the blocking hook that runs; nothing of it is recorded."""
        if self._hook is not None:
            self._hook.abandon()

    def _notify(self, events: Sequence[Event]) -> None:
        """A task's `on_complete.notify` is a log record."""
        state = self.actor.state
        for event in events:
            if isinstance(event, AttemptSucceeded | FallbackValueUsed):
                text = notification(state, state.task(event.task), event.at)
                if text is not None:
                    _notifications.info("%s: %s", event.task, text, extra={"run_id": self.run_id})

    def _wake_watchers(self) -> None:
        for gate in self.watchers:
            gate.open()
