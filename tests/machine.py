"""Runs as a store and its processes see them: what is kept, what is lost, and who may act on what.

A `World` has one clock, one set of circuit breakers, and runs. A `Run` is what a journal keeps of one: its events and its
owner. A `Driver` is the process that owns it, as a shell around the core: it applies, settles, commits, and only then
acts. It may die at any moment, which leaves what was committed, or be stopped while another takes over.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

from attrs import define, field

from actorflow.core import breaker as rules
from actorflow.core.breaker import (
    CLOSED,
    Allowed,
    Breaker,
    BreakerAnswer,
    BreakerAsk,
    BreakerReport,
    Counted,
    Refused,
)
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
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    Event,
    Failure,
    GenerationStarted,
    HookFinished,
    HookStarted,
    RunFinished,
    RunStarted,
)
from actorflow.core.owed import occasions
from actorflow.core.plan import Plan, plan_of
from actorflow.core.recovery import answer
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import Action, next_generation, recovered, settle
from actorflow.core.transitions import ENDED
from actorflow.spec.model import WorkflowSpec
from tests.naive_hooks import hooks_for
from tests.promises import ENDS, edges_to, expect
from tests.promises_of_breakers import BreakerPromises
from tests.promises_of_hooks import check_ends_are_told, check_told
from tests.promises_of_recovery import read_history
from tests.scenarios import snapshot
from tests.scripted import name_of

Judged: TypeAlias = tuple[BreakerAsk | BreakerReport, BreakerAnswer]

FAILURES = {
    "fails": Failure("Broken", ""),
    "is not found": Failure("not_found", ""),
    "does not stop": Failure("did_not_stop", ""),
    "asks for time": Failure("Broken", "", {"retry_after_s": 3}),
    "asks for ages": Failure("Broken", "", {"retry_after_s": 1000.0}),
}


class World:
    """All that outlives a process."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.runs: list[Run] = []
        self.breakers: dict[str, Breaker] = {}
        self.promises = BreakerPromises()

    def start(self, spec: WorkflowSpec) -> Run:
        run = Run(self, f"r-{len(self.runs) + 1}", spec)
        self.runs.append(run)
        run.take_up()
        return run

    @property
    def drivers(self) -> list[Driver]:
        """The processes that own a run now."""
        return [run.driver for run in self.runs if run.driver is not None]

    def is_owned(self, run_id: str) -> bool:
        return any(driver.run.run_id == run_id and driver.state.phase != "ended" for driver in self.drivers)

    def ask(self, question: BreakerAsk) -> Allowed | Refused:
        """Judge a question in one transaction."""
        kept = self.breakers.get(question.key, CLOSED)
        is_held = kept.probe is not None and self.is_owned(kept.probe.partition("/")[0])
        kept, judged = rules.ask(kept, question, self.now, is_probe_held=is_held)
        self.breakers[question.key] = kept
        self.promises.check_answer(question, judged, self.now, self.is_owned)
        return judged

    def count(self, told: BreakerReport) -> Counted:
        """Judge an outcome in one transaction."""
        self.breakers[told.key], judged = rules.report(self.breakers.get(told.key, CLOSED), told, self.now)
        self.promises.check_count(told, judged, self.now)
        return judged

    def wake(self, key: str, closer: Run) -> None:
        """Tell the other runs that a breaker has closed."""
        for driver in self.drivers:
            is_waiting = driver.state.phase == "tasks" and driver.state.breakers.waiting_for(key)
            if driver.run is not closer and is_waiting:
                driver.happen(BreakerClosed(self.now, None, key))

    def check_probes(self) -> None:
        """A probe is not kept from others by who does not need it any more."""
        for driver in self.drivers:
            is_at_rest = not (driver.unsaved or driver.held or driver.answers)
            if is_at_rest and not driver.state.breakers.untold and driver.state.phase == "tasks":
                ended = {f"{driver.run.run_id}/{t.id}" for t in driver.state.tasks if t.status in ENDED}
                kept = {kept.probe for kept in self.breakers.values()}
                expect("a probe that is over is given back", not ended & kept, ended & kept)


class Run:
    """What a journal keeps of a run."""

    def __init__(self, world: World, run_id: str, spec: WorkflowSpec) -> None:
        self.world, self.run_id, self.spec = world, run_id, spec
        self.events: list[Event] = []
        self.owner = 0  #: the number of the process that it belongs to
        self.writers: list[int] = []  #: of each batch
        self.performed: list[StartAttempt | RunHook] = []  #: by all of its owners
        self.driver: Driver | None = None  #: None: its owner is dead
        self.stopped: list[Driver] = []  #: owners that were stopped, and lost it meanwhile

    def append(self, owner: int, events: list[Event]) -> bool:
        """Keep a batch; False if it comes from a process that has lost the run."""
        if owner != self.owner:
            return False
        self.events.extend(events)
        self.writers.append(owner)
        return True

    def take_up(self) -> None:
        """Another process becomes the owner."""
        self.owner += 1
        self.driver = Driver(self)
        self.driver.begin()

    def die(self, *, is_kept: bool) -> None:
        """The owner dies while a batch is on its way to the journal, which has it or not."""
        driver, self.driver = self.driver, None
        assert driver is not None
        if is_kept:
            self.append(self.owner, driver.unsaved)
            expect("fold equals live", snapshot(folded(self)) == snapshot(driver.state), self.events)

    def stop(self) -> None:
        """The owner is stopped, and another process takes over."""
        assert self.driver is not None
        self.stopped.append(self.driver)
        self.take_up()

    def check(self) -> None:
        """Hold the run to its promises."""
        expect("a fenced owner writes nothing", self.writers == sorted(self.writers), self.writers)
        unsaved = [] if self.driver is None else self.driver.unsaved
        read_history(self.spec, self.run_id, self.events + unsaved)
        if self.driver is not None:
            self.check_told(self.driver.state)

    def check_told(self, state: ToldState) -> None:
        check_told(state.told)
        begun_at = state.generation_started_at
        ended = [
            task.id
            for task in state.tasks
            if task.status in ENDED and task.status != "skipped" and (task.ended_at or 0.0) > begun_at
        ]
        check_ends_are_told(state.told, state.generation, ended)


@define(eq=False)
class Driver:
    """Runs the core as a process does that may die at any moment; what it performs stays performed."""

    run: Run
    owner: int = field(init=False)
    state: ToldState = field(init=False)
    unsaved: list[Event] = field(factory=list[Event])
    held: list[Action] = field(factory=list[Action])
    bodies: dict[str, StartAttempt] = field(factory=dict[str, StartAttempt])  #: attempts that owe an outcome
    hooks: dict[str, RunHook] = field(factory=dict[str, RunHook])  #: the same, by `name_of`
    unwanted: set[str] = field(factory=set[str])  #: attempts and hooks told to end
    asked: set[str] = field(factory=set[str])  #: tasks whose breaker owes an answer to a question
    told: set[str] = field(factory=set[str])  #: the same of an outcome
    answers: deque[Judged] = field(factory=deque[Judged])  #: of breakers, not heard yet

    def __attrs_post_init__(self) -> None:
        self.owner = self.run.owner
        self.state = folded(self.run)

    @property
    def now(self) -> float:
        return self.run.world.now

    def begin(self) -> None:
        """Create the run, or go on with what its last owner left."""
        run = self.run
        if not run.events:
            self.happen(RunStarted(self.now, run.run_id, run.spec.name, "hash", {}, {}, {}, {}, CORE_VERSION))
            self.happen(next_generation(self.state, self.now))
        elif self.state.phase != "ended":
            self.happen(*recovered(self.state, self.now))

    def happen(self, *events: Event) -> None:
        """Apply what happened, and hold what follows until that is committed."""
        for event in events:
            self.state.apply(event)
        step = settle(self.state, self.now, lambda failed: answer(failed, self.now))
        self.unsaved.extend((*events, *step.events))
        self.held.extend(step.actions)
        if self.state.plan.has_breakers:
            self.check_breakers()

    def check_breakers(self) -> None:
        """What a run promises about those of its tasks that have leave, and that wait for it."""
        book, index = self.state.breakers, self.state.plan.index
        is_used = not book.allowed or self.state.is_pausing
        expect("leave is used at once or not at all", is_used, book.allowed)
        asking = [index[each.task] for each in self.state.commands(self.now) if isinstance(each, AskBreaker)]
        keys = [book.refused[each] for each in asking if each in book.refused]
        expect("of those that wait for a breaker, one asks", len(keys) == len(set(keys)), keys)

    def commit(self) -> None:
        """Commit the batch at hand, then do what was held for it."""
        unsaved, self.unsaved = self.unsaved, []
        if self.run.append(self.owner, unsaved):
            self.perform_held()
            self.check_unwanted()

    def perform_held(self) -> None:
        held, self.held = self.held, []
        for action in held:
            self.perform(action)

    def perform(self, action: Action) -> None:
        match action:
            case StartAttempt(task=task):
                check_may_act(self, action)
                self.run.performed.append(action)
                self.bodies[task] = action
            case RunHook():
                check_may_act(self, action)
                self.run.performed.append(action)
                self.hooks[name_of(action)] = action
            case CancelAttempt(task) if task in self.bodies:
                self.unwanted.add(task)
            case CancelHook() if name_of(action) in self.hooks:
                self.unwanted.add(name_of(action))
            case CancelAttempt() | CancelHook():
                pass  # it has ended
            case AskBreaker(task, question):
                if task not in self.asked and self.may_ask(question):
                    self.asked.add(task)
                    self.answers.append((question, self.run.world.ask(question)))
            case TellBreaker(task, report):
                if task not in self.told and report in self.state.breakers.untold.values():
                    self.told.add(task)
                    self.answers.append((report, self.run.world.count(report)))
            case Finish():
                is_last = isinstance(self.run.events[-1], RunFinished)
                expect("performed only after commit", is_last, action)

    def may_ask(self, question: BreakerAsk) -> bool:
        """Whether a task is still to be started by the agent that the question is about; it may have moved on."""
        index = self.state.plan.index[question.task]
        is_open = self.state.phase == "tasks" and self.state.tasks[index].status in ("pending", "waiting")
        return is_open and self.state.breakers.key(index) == question.key

    def hear_breaker(self) -> None:
        """The first answer of a breaker comes in."""
        about, judged = self.answers.popleft()
        match about, judged:
            case BreakerAsk(), Allowed() | Refused():
                self.hear_answer(about, judged)
            case BreakerReport(), Counted():
                self.hear_count(about, judged)
            case _:
                raise AssertionError((about, judged))

    def hear_answer(self, question: BreakerAsk, judged: Allowed | Refused) -> None:
        task, key = question.task, question.key
        self.asked.discard(task)
        match judged:
            case Refused(until, is_probing) if self.may_ask(question):
                self.happen(BreakerRefused(self.now, task, key, until, is_probing))
            case Allowed(is_probe) if self.may_ask(question) and self.has_room():
                self.happen(BreakerAllowed(self.now, task, key, is_probe))
            case Allowed(is_probe=True):
                attempt = self.state.task(task).attempt
                self.run.world.count(
                    BreakerReport(key, question.spec, self.run.run_id, task, attempt, self.now, "released")
                )
            case _:
                pass
        self.happen()  # what is to be asked instead has waited for the answer

    def has_room(self) -> bool:
        """Whether leave is of use: one that had to wait for a slot would grow old."""
        return self.state.free_slots > len(self.state.breakers.allowed)

    def hear_count(self, report: BreakerReport, judged: Counted) -> None:
        task, key = report.task, report.key
        self.told.discard(task)
        if judged.change == "closed":
            self.run.world.wake(key, self.run)
        if report not in self.state.breakers.untold.values():
            return
        match judged:
            case Counted("opened", until) if until is not None:
                self.happen(BreakerOpened(self.now, task, key, until))
            case Counted("closed"):
                self.happen(BreakerClosed(self.now, task, key))
            case _:
                self.happen(BreakerCounted(self.now, task, key))

    def outcome(self, number: int, result: str) -> Event:
        """What comes of one of the running attempts; whoever was told to end may do something else first."""
        task = list(self.bodies)[number % len(self.bodies)]
        attempt = self.bodies.pop(task).attempt
        is_unwanted = task in self.unwanted
        self.unwanted.discard(task)
        if is_unwanted and number % 2:
            return AttemptCanceled(self.now, task, attempt)
        if result == "succeeds":
            return AttemptSucceeded(self.now, task, attempt, number % 2)
        if result == "times out":
            return AttemptTimedOut(self.now, task, attempt, Failure("timeout", ""))
        return AttemptFailed(self.now, task, attempt, FAILURES[result])

    def end_hook(self, number: int, status: Any) -> None:
        """One of the running hooks ends; one that was told to is canceled."""
        name = list(self.hooks)[number % len(self.hooks)]
        hook = self.hooks.pop(name)
        if name in self.unwanted:
            self.unwanted.discard(name)
            status = "canceled"
        self.happen(HookFinished(self.now, hook.event, hook.index, status, subject=hook.subject))

    def check_unwanted(self) -> None:
        """What prepares a task that may not begin any more is not left to go on."""
        state = self.state
        left = [
            line.subject
            for index, line in state.task_lines.items()
            if line.is_running and state.tasks[index].status == "preparing" and state.is_barred(index)
        ]
        expect("what may not begin is told to end", self.unwanted.issuperset(left), left)


class ToldState(RunState):
    """A state that notes what of the lifecycle its events are: the generation, the event, and whom it is about."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.told: list[tuple[int, str, str]] = []

    def apply(self, event: Event) -> None:
        super().apply(event)
        for each in occasions(self, event):
            subject = each.stage if each.task is None else self.tasks[each.task].id
            self.told.append((self.generation, each.event, subject or ""))


def folded(run: Run) -> ToldState:
    """The state that the journal's events amount to."""
    state = ToldState(plan_of(run.spec))
    for event in run.events:
        state.apply(event)
    return state


def check_may_act(driver: Driver, action: StartAttempt | RunHook) -> None:
    """Nothing is performed unless all that it depends on is committed, itself included; and nothing twice."""
    committed = driver.run.events
    if isinstance(action, RunHook):
        check_may_run(driver, action)
        return
    key = (action.task, action.attempt, action.loss)
    starts = [(e.task, e.attempt, e.loss) for e in committed if isinstance(e, AttemptStarted)]
    expect("performed only after commit", key in starts, key)
    ended = {e.task for e in committed if isinstance(e, ENDS)}
    missing = {need for need, _ in edges_to(action.spec)} - ended
    expect("dependants only after the commit of outcomes", not missing, (key, missing))
    before = [p for p in driver.run.performed if isinstance(p, StartAttempt)]
    expect("performed once", key not in [(p.task, p.attempt, p.loss) for p in before], key)
    generation = sum(isinstance(event, GenerationStarted) for event in committed)
    expected = f"{driver.run.run_id}/{action.task}/{generation}"
    expect("one idempotency key a generation", action.idempotency_key == expected, action.idempotency_key)


def check_may_run(driver: Driver, hook: RunHook) -> None:
    """A hook's start is committed, and what was started once is performed once, under an id of its generation."""
    place, told = (hook.event, hook.index, hook.subject), hook.context.delivery_id
    committed = driver.run.events
    begun = max(at for at, event in enumerate(committed) if isinstance(event, GenerationStarted))
    starts = [
        event
        for event in committed[begun:]
        if isinstance(event, HookStarted) and (event.event, event.index, event.subject) == place
    ]
    before = [each for each in driver.run.performed if isinstance(each, RunHook)]
    times = sum(each.context.delivery_id == told for each in before)
    expect("performed only after commit", bool(starts), told)
    expect("performed once", times < len(starts), told)
    generation = sum(isinstance(event, GenerationStarted) for event in committed)
    path, _ = hooks_for(driver.run.spec, hook.event, hook.subject)[hook.index]
    parts = [driver.run.run_id, str(generation), *filter(None, [hook.subject]), path]
    expect("one delivery id a generation", told == "/".join(parts), told)
