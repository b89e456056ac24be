"""Ways to break the runtime: what it tells and does before it is kept, hooks in the way, clocks, secrets, requests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from attrs import evolve

from actorflow.actors.host import RealHost
from actorflow.core.events import HookFinished
from actorflow.core.hook_config import HookEntry
from actorflow.core.step import next_generation
from actorflow.errors import StoreFailed
from actorflow.expression import Sealed
from actorflow.hooks import parcel
from actorflow.hooks.executor import HookExecutor
from actorflow.journal.protocol import Answered, Outcome, Write
from actorflow.runtime import journal_actor, task_actor
from actorflow.runtime.clock import RunClock
from actorflow.runtime.conductor import Conductor, Opening
from actorflow.runtime.drains import Drains
from actorflow.runtime.inbox import InboxWatch
from actorflow.runtime.journal_actor import JournalActor
from actorflow.runtime.live_run import LiveRun
from actorflow.runtime.messages import HookGone, Message
from actorflow.runtime.open_runtime import OpenRuntime
from actorflow.runtime.outbox import Outbox
from actorflow.runtime.task_actor import TaskActor
from actorflow.runtime.workflow_actor import WorkflowActor
from actorflow.secrecy.hiding import NOTHING_HIDDEN
from tests.mutants import run_hunts as hunts
from tests.mutants.mutant import Mutant
from tests.mutants.switches import replaced


@contextmanager
def acts_before_the_commit() -> Iterator[None]:
    """The runtime does what is due while the journal is told of it."""
    flush = WorkflowActor._flush

    def act_and_flush(actor: WorkflowActor) -> None:
        held, actor._outbox._held = actor._outbox._held, []
        actor._do_all(held)
        flush(actor)

    with replaced(WorkflowActor, "_flush", act_and_flush):
        yield


@contextmanager
def told_before_the_commit() -> Iterator[None]:
    """The journal's actor answers as soon as it has a batch, and commits it then."""
    attempt = JournalActor._attempt

    def answer_first(actor: JournalActor, writes: list[Write]) -> Sequence[Outcome]:
        commit = partial(attempt, actor, writes)
        actor._inbox.put(journal_actor._Answer(commit, actor._host.gate()))
        return [None] * len(writes)

    with replaced(JournalActor, "_attempt", answer_first):
        yield


@contextmanager
def failed_commit_acknowledged() -> Iterator[None]:
    """The journal's actor says of a commit that has failed that it is kept."""
    attempt = JournalActor._attempt

    def say_yes(actor: JournalActor, writes: list[Write]) -> Sequence[Outcome] | Exception:
        outcomes = attempt(actor, writes)
        return [None] * len(writes) if isinstance(outcomes, StoreFailed) else outcomes

    with replaced(JournalActor, "_attempt", say_yes):
        yield


@contextmanager
def async_hooks_block() -> Iterator[None]:
    """A task waits for hooks that say that nobody waits for them."""
    with replaced(HookEntry, "is_blocking", property(lambda entry: True)):
        yield


@contextmanager
def hooks_awaited_inline() -> Iterator[None]:
    """While a blocking hook runs, its run looks at nothing else."""
    turn = WorkflowActor.turn
    put_off: dict[WorkflowActor, list[Message]] = {}

    def turn_after_hooks(actor: WorkflowActor) -> None:
        messages = [*put_off.pop(actor, []), *actor._mailbox.drain_nowait()]
        if actor._hooks_running and not any(isinstance(each, HookFinished | HookGone) for each in messages):
            put_off[actor] = messages
            return
        for message in messages:
            actor._mailbox.tell(message)
        turn(actor)

    with replaced(WorkflowActor, "turn", turn_after_hooks):
        yield


@contextmanager
def timeouts_by_the_wall() -> Iterator[None]:
    """A timeout has come when the wall clock says so."""
    start, time_out = TaskActor.start, TaskActor._time_out
    due: dict[TaskActor, float] = {}

    def wall() -> float:
        return RealHost.wall(RealHost())

    def start_and_note(actor: TaskActor, command: Any) -> None:
        due[actor] = wall() + (command.timeout or 0.0)
        start(actor, command)

    def look_at_the_wall(actor: TaskActor) -> None:
        left_s = due[actor] - wall()
        if left_s > 0:
            actor._timer = actor._with.alarm.after(left_s, actor._time_out)
        else:
            time_out(actor)

    with replaced(TaskActor, "start", start_and_note), replaced(TaskActor, "_time_out", look_at_the_wall):
        yield


@contextmanager
def runs_by_the_wall() -> Iterator[None]:
    """The clock of a run is the wall clock."""
    with replaced(RunClock, "now", lambda clock: RealHost.wall(RealHost())):
        yield


@contextmanager
def released_before_the_drain() -> Iterator[None]:
    """A run is given up as it ends, and then its hooks have what they are owed."""
    see_to_hooks = Conductor._see_to_hooks

    async def give_up_first(conductor: Conductor, live: LiveRun) -> None:
        await conductor._give_up(live)
        await see_to_hooks(conductor, live)

    with replaced(Conductor, "_see_to_hooks", give_up_first):
        yield


@contextmanager
def request_dropped_when_seen() -> Iterator[None]:
    """A request is gone as soon as somebody has looked at it."""
    pass_on = InboxWatch._pass_on

    async def look_and_drop(watch: InboxWatch) -> bool:
        requests = await watch._ledger.actor.ask(watch._ledger.journal.requests)
        if requests:
            await watch._ledger.actor.keep(Answered([request.id for request in requests]))
        pass_on(watch, requests)
        return True

    with replaced(InboxWatch, "look", look_and_drop):
        yield


@contextmanager
def held_starts_survive_a_pause() -> Iterator[None]:
    """What was to start when a pause came starts all the same."""
    with replaced(Outbox, "drop_starts", lambda outbox: None):
        yield


@contextmanager
def letter_dropped_first() -> Iterator[None]:
    """A dead letter that is to be tried again is forgotten, and then its delivery is owed again."""

    async def keep_in_turn(drains: Drains, *writes: Write) -> None:
        for write in reversed(writes):
            error = await drains.open_.staff.store.actor.keep(write)
            if error is not None:
                raise error

    with replaced(Drains, "_keep", keep_in_turn):
        yield


@contextmanager
def success_opened_again() -> Iterator[None]:
    """Whoever resumes an ended success begins another generation of it."""
    resumption = OpenRuntime._resumption

    async def open_again(open_: OpenRuntime, *facts: Any) -> Opening:
        opening = await resumption(open_, *facts)
        if opening.events:
            return opening
        performers = await open_._bind(opening.state.plan.spec, opening.state.bindings)
        events = [next_generation(opening.state, opening.clock.now())]
        return evolve(opening, events=events, performers=performers)

    with replaced(OpenRuntime, "_resumption", open_again):
        yield


@contextmanager
def secret_in_an_error() -> Iterator[None]:
    """What an agent says as it fails is kept as it said it."""
    failure_of = task_actor.failure_of

    with replaced(task_actor, "failure_of", lambda error, hiding: failure_of(error, NOTHING_HIDDEN)):
        yield


@contextmanager
def secret_in_an_output() -> Iterator[None]:
    """What an agent returns is kept as it is."""
    returned = TaskActor._returned

    def as_it_is(actor: TaskActor, output: Any) -> Any:
        had_secrets, actor._with.has_secrets = actor._with.has_secrets, False
        try:
            return returned(actor, output)
        finally:
            actor._with.has_secrets = had_secrets

    with replaced(TaskActor, "_returned", as_it_is):
        yield


@contextmanager
def secret_in_a_try() -> Iterator[None]:
    """What a hook says as it fails is kept as it said it."""
    with replaced(HookExecutor, "_told", lambda executor, result, action: result):
        yield


@contextmanager
def secret_in_the_outbox() -> Iterator[None]:
    """A delivery that is to be tried again is kept with its secrets put in."""

    def put_in(params: Any) -> tuple[Any, list[Any]]:
        return {
            name: "".join(
                part if isinstance(part, str) else os.environ[hunts.SECRET_NAME] for part in value.parts
            )
            if isinstance(value, Sealed)
            else value
            for name, value in params.items()
        }, []

    with replaced(parcel, "_unsealed", put_in):
        yield


RUNS: Final = {
    "body before its start is kept": Mutant(acts_before_the_commit, {hunts.ACTS_LATER}, hunts.STARTS),
    "result told before the commit": Mutant(told_before_the_commit, {hunts.TOLD_LATER}, hunts.RESULTS),
    "failed commit acknowledged": Mutant(failed_commit_acknowledged, {hunts.TOLD_LATER}, hunts.FULL_DISK),
    "async hook holds up its task": Mutant(async_hooks_block, {hunts.BESIDE}, hunts.ASYNC_HOOK),
    "blocking hook awaited inline": Mutant(hooks_awaited_inline, {hunts.ITS_OWN}, hunts.BLOCKING_HOOK),
    "wall clock for timeouts": Mutant(timeouts_by_the_wall, {hunts.CLOCKS}, hunts.TIMEOUT),
    "wall clock for deadlines": Mutant(runs_by_the_wall, {hunts.CLOCKS}, hunts.DEADLINE),
    "release before the drain ends": Mutant(released_before_the_drain, {hunts.DRAINED}, hunts.DRAIN),
    "inbox row dropped before its event": Mutant(request_dropped_when_seen, {hunts.ANSWERED}, hunts.REQUEST),
    "held start survives a pause": Mutant(held_starts_survive_a_pause, {hunts.PAUSED}, hunts.PAUSE),
    "dead letter dropped before it is owed": Mutant(letter_dropped_first, {hunts.SOMEWHERE}, hunts.LETTER),
    "post_workflow run again on resume": Mutant(success_opened_again, {hunts.ONCE_ENDED}, hunts.ENDED),
    "secret in an error message": Mutant(secret_in_an_error, {hunts.HIDDEN}, hunts.SECRETS),
    "secret in an output": Mutant(secret_in_an_output, {hunts.HIDDEN}, hunts.SECRETS),
    "secret in what a hook says": Mutant(secret_in_a_try, {hunts.HIDDEN}, hunts.SECRETS),
    "secret in the outbox": Mutant(secret_in_the_outbox, {hunts.HIDDEN}, hunts.SECRETS),
}
