"""A run in this process: what its WorkflowActor speaks to, and who watches it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import cached_property, partial
from typing import Any, TypeVar

from attrs import evolve

from actorflow.actors.host import Gate
from actorflow.actors.latch import Latch
from actorflow.actors.restarts import DEFAULT, Restarts
from actorflow.core.breaker import BreakerAsk, BreakerReport
from actorflow.core.commands import RunHook
from actorflow.core.events import Event
from actorflow.core.owed import owes_hooks
from actorflow.core.state import RunState
from actorflow.errors import ActorflowError
from actorflow.hooks.debtor import Debtor
from actorflow.journal.output_log import OutputLog
from actorflow.journal.protocol import (
    ChangeDefinition,
    CreateRun,
    Journal,
    Outcome,
    Request,
    SaveCheckpoint,
    Write,
)
from actorflow.runtime.breaker_actor import BreakerClient
from actorflow.runtime.checkpoints import CheckpointPace
from actorflow.runtime.clock import RunClock
from actorflow.runtime.dispatch import Dispatching, Parent, is_detached
from actorflow.runtime.environment import run_secrets
from actorflow.runtime.inbox import wish_of
from actorflow.runtime.messages import Cancel, GoOn, HookKey, Message, Pause, Signal, StoreLost, Wish
from actorflow.runtime.patience import is_patient, patient
from actorflow.runtime.result import RunResult, result_from, result_of
from actorflow.runtime.run_hooks import HookPorts, RunHooks
from actorflow.runtime.staff import Ledger, Staff
from actorflow.runtime.task_actor import Performers
from actorflow.runtime.workflow_actor import WorkflowActor

T = TypeVar("T")


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
        dispatch: Dispatching,
        when_over: Callable[[LiveRun, Exception | None], None],
        begins_generation: bool = False,
    ) -> None:
        self.run_id = run_id
        self.plan = state.plan
        self.staff = staff
        self.clock = clock
        self.performers = performers
        self.ledger = ledger
        self.secrets = run_secrets(state.plan)
        self.context = copy_context()  #: of whoever started it: what its attempts see
        self.is_kept = Latch(staff.host)  #: its first batch is in the journal, or can't be
        self.is_over = Latch(staff.host)  #: ended, paused, or failed with its store
        self.is_settled = Latch(staff.host)  #: over, and owed hooks are drained
        #: set when those that were left with it are taken up, or cannot be; None: it is new
        self.has_children = Latch(staff.host) if seq else None
        self.error: Exception | None = None
        self.last_result: RunResult | None = None  #: of a run that is settled and had async hooks
        self.kept_seq = seq
        self.watchers: tuple[Gate, ...] = ()
        self._when_over = when_over
        self._begins_generation = begins_generation
        self._pace = CheckpointPace(checkpoint_seq)
        self.taken: set[int] = (
            set()
        )  #: requests that the actor was told of, and that may be in the inbox still
        self._wish: Cancel | Pause | None = None  #: what was asked for last, if it was not taken back
        self._is_wish_told = True
        self._store_lost: StoreLost | None = None
        self.children: list[Latch] = []  #: set when runs that its hooks have started here have settled
        self._dispatch = dispatch
        self.opened_seq = seq  #: of the last event before it was opened here; 0: it is new
        #: asked of each batch: of most runs it is known from the beginning that nothing is owed to anybody
        self._may_owe = state.plan.hooks.has_async or bool(staff.functions) or seq > 0
        self._is_patient = is_patient(state.plan.spec)
        self.actor = WorkflowActor(self, state, seq)

    def restart(self, state: RunState, seq: int) -> None:
        """Give the run another actor in place of one that crashed, as the journal has it up to event `seq`."""
        self.actor = WorkflowActor(self, state, seq)
        self.kept_seq = seq
        self.is_kept.set()
        # what was asked may have been told to the one that crashed
        self.taken.clear()
        if self._wish is not None:
            self._want(evolve(self._wish, at=self.clock.now()))
        if self._store_lost is not None:
            self.actor.tell(self._store_lost)
        self._wake_watchers()

    def create(self, write: CreateRun | ChangeDefinition) -> None:
        """Have the run made in the journal, or its definition changed there, with what its actor hands on next.

        In one turn with the first batch, and so in one commit: no crash can leave a run without events.
        """
        self.keep(write, self._created)

    def _created(self, outcome: Outcome) -> None:
        if isinstance(outcome, Exception):
            self.error = self.error or outcome

    def note_kept(self) -> None:
        """All that the actor has handed to the journal is there."""
        self.kept_seq = self.actor.last_seq
        self.is_kept.set()
        self._wake_watchers()

    @property
    def state(self) -> RunState:
        """As of the last event that has happened."""
        return self.actor.state

    @property
    def last_seq(self) -> int:
        """The number of that event."""
        return self.actor.last_seq

    @property
    def journal(self) -> Journal:
        """The journal that has its events."""
        return self.ledger.journal

    @property
    def outputs(self) -> OutputLog:
        """Where lines go that processes of its attempts print."""
        return self.ledger.journal.outputs

    @property
    def owes_hooks(self) -> bool:
        """Whether its events may owe deliveries to async hooks."""
        return self._may_owe and owes_hooks(self.actor.state)

    @property
    def is_detached(self) -> bool:
        """Whether a hook of another run has started it."""
        return is_detached(self.actor.state.started)

    @property
    def debtor(self) -> Debtor:
        """The run as its async hooks know it."""
        return self._hooks.debtor

    def ask_cancel(self, cause: str, *, is_now: bool = False) -> None:
        """Ask for the run's end as canceled; again, nothing, unless at once."""
        is_known = isinstance(self._wish, Cancel) and (self._wish.is_now or not is_now)
        if not is_known and not self.is_over.is_set:
            self._want(Cancel(self.clock.now(), cause, is_now))

    def ask_pause(self, cause: str, grace_s: float | None) -> None:
        """Ask for a pause; again, nothing, unless with less grace. None: the grace is the runtime's."""
        if grace_s is None:
            grace_s = self.staff.grace_s
        is_known = isinstance(self._wish, Pause) and self._wish.grace_s <= grace_s
        if not is_known and not self.is_over.is_set:
            self._want(Pause(self.clock.now(), cause, grace_s))

    async def send_signal(self, name: str, payload: Any, signal_id: str) -> bool:
        """Send the run a named message, and wait until it is in the journal; False where it came to rest before.

        Raises:
            StoreFailed: it could not be kept.
        """
        told: WorkflowActor | None = None
        while not self.is_over.is_set:
            actor = self.actor
            if signal_id in actor.state.signal_ids:
                return await self._is_kept_by(actor)
            if told is not actor and actor.ask(Signal(self.clock.now(), name, payload, signal_id)):
                told = actor
            await self.wait_for_progress()
        self.refuse_if_failed()
        return signal_id in self.actor.state.signal_ids

    def receive(self, request: Request) -> bool:
        """Pass a request from the store's inbox on; False: it is nobody's, and is to be answered.

        One that there is no room for, or that comes after the run's last turn, stays where it is: for another look, or
        for the next owner. One that comes before its first is taken in that turn, behind what opens the run. Who asked
        for an end or a pause meant the generation of then; a signal is for whichever comes.

        Raises:
            ValueError: it makes no sense.
        """
        if self.is_over.is_set:
            has_ended = self.error is None and self.actor.state.phase == "ended"
            return not has_ended
        if request.id in self.taken or not self.actor.has_room:
            return True
        if self._is_outdated(request):
            return False
        wish = wish_of(request, self.clock.now(), self.staff.grace_s)
        self.taken.add(request.id)
        self.actor.ask(wish)
        self._note_wish(wish)
        return True

    def lose_store(self, error: ActorflowError) -> None:
        """Nothing can be kept any more: end all that runs."""
        if not self.is_over.is_set:
            self._store_lost = StoreLost(error)
            self.actor.tell(self._store_lost)

    def _is_outdated(self, request: Request) -> bool:
        match request.kind:
            case "cancel":
                return request.is_older and self._begins_generation
            case "pause":
                return request.is_older
            case "resume":
                return request.is_older or not isinstance(self._wish, Pause)
            case _:
                return False

    def _note_wish(self, wish: Wish) -> None:
        match wish:
            case Cancel() | Pause():
                self._wish, self._is_wish_told = wish, True
            case GoOn():
                self._wish = None
            case Signal():
                pass

    def _want(self, wish: Cancel | Pause) -> None:
        self._wish, self._is_wish_told = wish, self.actor.ask(wish)

    async def _is_kept_by(self, actor: WorkflowActor) -> bool:
        """Wait until all that has happened is in the journal; False where that actor crashed before, and it is lost."""
        seq = actor.last_seq
        while self.kept_seq < seq:
            if self.is_over.is_set or self.actor is not actor:
                return False
            await self.wait_for_progress()
        return True

    def _tell(self, message: Message) -> None:
        """To the actor that the run has now."""
        self.actor.tell(message)

    async def read(self, read: Callable[[], T]) -> T:
        """Read from the journal without holding the loop up."""
        return await self.staff.host.in_thread(read) if self.journal.is_durable else read()

    async def read_result(self) -> RunResult:
        """The result as it stands, with what the journal says of its hooks.

        Raises:
            StoreFailed: the journal cannot be read.
        """
        state = self.actor.state
        if self.last_result is not None or not self.owes_hooks:
            return self.last_result or result_of(state, ())
        return await self.read(lambda: result_from(self.journal, self.journal.find(self.run_id), state))

    async def wait_for_progress(self) -> None:
        """Wait until more is kept, or the run is over."""
        gate = self.staff.host.gate()
        self.watchers = (*self.watchers, gate)
        try:
            await gate.wait()
        finally:
            self.watchers = tuple(each for each in self.watchers if each is not gate)

    def refuse_if_failed(self) -> None:
        """Raise what ended the run against its will."""
        if self.error is not None:
            raise self.error

    def end(self, error: Exception | None = None) -> None:
        """The run is over for this process."""
        self.error = self.error or error
        self.is_kept.set()
        self.is_over.set()
        self.taken.clear()  # what came too late is for the next owner
        self.ledger.breakers.forget(self.run_id)
        self._wake_watchers()
        self._note_progress()

    # What the WorkflowActor says

    def keep(self, write: Write, reply: Callable[[Outcome], None]) -> None:
        """To the JournalActor."""
        self.ledger.actor.tell(patient(write) if self._is_patient else write, reply)

    def ask_breaker(self, question: BreakerAsk) -> None:
        """To the BreakerActor; a BreakerAllowed or BreakerRefused answers."""
        self.ledger.breakers.ask(self._client, question)

    def tell_breaker(self, told: BreakerReport) -> None:
        """To the BreakerActor; a BreakerCounted, -Opened or -Closed answers."""
        self.ledger.breakers.report(self._client, told)

    def release_probe(self, told: BreakerReport) -> None:
        """To the BreakerActor; nothing answers."""
        self.ledger.breakers.release(told)

    def over(self, error: Exception | None) -> None:
        """To the Conductor."""
        self._when_over(self, error)

    def kill_processes(self) -> None:
        """KILL the processes of the run's attempts and hooks at once."""
        self.staff.trees.kill_nowait(f"{self.staff.trees.cookie_prefix}{self.run_id}/")

    def requests_taken(self) -> None:
        """There is room in the actor's mailbox for what waits here."""
        if self._wish is not None and not self._is_wish_told:
            self._want(evolve(self._wish, at=self.clock.now()))
        self._wake_watchers()

    def kept(self, events: Sequence[Event], seq: int) -> None:
        """These events are in the journal, the last under this number: whoever waits for them may have them."""
        self.kept_seq = seq
        self.is_kept.set()
        self._wake_watchers()
        self._note_progress()
        self.staff.metrics.note(self.plan, events)
        if self._may_owe and self.owes_hooks:
            self._hooks.follow(events, seq)

    def next_checkpoint(self, state: RunState, seq: int) -> SaveCheckpoint | None:
        """What to keep of the state together with the batch that ends here; what is lost with its process is not kept."""
        return self._pace.next_checkpoint(state, seq) if self.journal.is_durable else None

    def run_hook(self, command: RunHook) -> None:
        """Perform a blocking hook; a HookFinished or HookGone answers."""
        self._hooks.run(command)

    def cancel_hook(self, place: HookKey) -> None:
        """End a blocking hook that runs; it counts as canceled."""
        self._hooks.cancel(place)

    def abandon_hooks(self) -> None:
        """End the blocking hooks that run; nothing of them is recorded."""
        self._hooks.abandon()

    @cached_property
    def _client(self) -> BreakerClient:
        return BreakerClient(
            self.run_id, self.clock, self._tell, lambda: self.is_over.is_set, flush=not self._is_patient
        )

    @cached_property
    def restarts(self) -> Restarts:
        """Those of its actor."""
        return Restarts(DEFAULT, self.staff.host)

    @cached_property
    def _hooks(self) -> RunHooks:
        ports = HookPorts(
            run_id=self.run_id,
            plan=self.plan,
            state=lambda: self.actor.state,
            staff=self.staff,
            ledger=self.ledger,
            clock=self.clock,
            secrets=self.secrets,
            tell=self._tell,
            keep=self.keep,
            dispatch=partial(self._dispatch, Parent(lambda: self.actor.state, self.children)),
            is_new=not self.opened_seq,
            is_own=self._begins_generation,
        )
        return RunHooks(ports)

    def _note_progress(self) -> None:
        if self.ledger.documents is not None and self.kept_seq:
            self.ledger.documents.note(self)

    def _wake_watchers(self) -> None:
        for gate in self.watchers:
            gate.open()
