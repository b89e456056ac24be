"""What must hold of a run after any crash: read off its journal and the ledger of its bodies, and nothing else."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen
from crash_workflows import RUN_ID

from actorflow.core.breaker import Breaker
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BudgetExhausted,
    DeadLettered,
    DefinitionChanged,
    Event,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    Resumed,
    RetryScheduled,
    RunEnding,
    RunFinished,
    SleepStarted,
    StageCompleted,
    TaskFailed,
)
from actorflow.errors import RunNotFoundError
from actorflow.journal import DeadLetter, Delivery, open_journal
from actorflow.spec import WorkflowSpec
from actorflow.spec.definition import from_json
from actorflow.spec.model import HookLists

Body = tuple[str, int, int]
"""One start of a body: idempotency key, attempt, loss; of a hook: delivery id, 0, 0."""

CLOCKS_DIFFER_S = 0.005
"""The clock of a run follows the loop's, that of its store the wall's."""

_ATTEMPT_ENDS = (AttemptSucceeded, AttemptFailed, AttemptTimedOut, AttemptCanceled, AttemptLost)


@frozen
class Recorded:
    """What a store holds of the run."""

    spec: WorkflowSpec
    events: list[tuple[int, Event]] = field(factory=list)
    deliveries: list[Delivery] = field(factory=list)
    letters: list[DeadLetter] = field(factory=list)
    breakers: dict[str, Breaker] = field(factory=dict)  #: by key

    @property
    def with_generations(self) -> Iterator[tuple[int, int, Event]]:
        """Generation, number and event of each."""
        generation = 0
        for seq, event in self.events:
            if isinstance(event, GenerationStarted):
                generation = event.generation
            yield generation, seq, event

    @property
    def attempts(self) -> Counter[Body]:
        """The bodies that attempts may have started."""
        return Counter(
            (_key(event.task, generation), event.attempt, event.loss)
            for generation, _, event in self.with_generations
            if isinstance(event, AttemptStarted)
        )

    @property
    def successes(self) -> list[Body]:
        """The bodies whose success is recorded."""
        losses: dict[str, int] = {}
        found: list[Body] = []
        for generation, _, event in self.with_generations:
            if isinstance(event, AttemptStarted):
                losses[event.task] = event.loss
            elif isinstance(event, AttemptSucceeded):
                found.append((_key(event.task, generation), event.attempt, losses[event.task]))
        return found

    @property
    def hook_starts(self) -> Counter[Body]:
        """How often each blocking hook may have started."""
        return Counter(
            _hook_body(event, generation)
            for generation, _, event in self.with_generations
            if isinstance(event, HookStarted)
        )

    @property
    def owed(self) -> list[str]:
        """The ids of all deliveries that the events owe."""
        return [
            f"{RUN_ID}/{seq}/on_stage_complete[{index}]"
            for seq, event in self.events
            if isinstance(event, StageCompleted)
            for index in range(len(self.spec.hooks.of("on_stage_complete")))
        ]

    def of(self, kind: type[Event]) -> list[Event]:
        """The events of one class."""
        return [event for _, event in self.events if isinstance(event, kind)]


def recorded(folder: Path) -> Recorded:
    """Read the store of a dead process from a copy, so that the next one finds it as it was left."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("state.db", "state.db-wal", "state.db.mark"):
        if (folder / name).exists():
            shutil.copy(folder / name, copy)
    journal = open_journal(f"sqlite:///{copy}/state.db")
    try:
        row = journal.find(RUN_ID)
        spec = from_json(journal.definition(row.definition))
        events = list(journal.events(RUN_ID))
        keys = dict.fromkeys(event.key for _, event in events if isinstance(event, BreakerAllowed))
        breakers = {key: journal.breaker(key) for key in keys}
        letters = [letter for letter in journal.dead_letters() if letter.run_id == RUN_ID]
        return Recorded(spec, events, journal.deliveries(RUN_ID), letters, breakers)
    except RunNotFoundError:
        return Recorded(WorkflowSpec(name="none"))
    finally:
        journal.close()


@frozen
class Ledger:
    """What the bodies have written."""

    starts: Counter[Body]
    ends: Counter[Body]


def ledger(folder: Path) -> Ledger:
    """Read the ledger."""
    starts, ends = Counter[Body](), Counter[Body]()
    path = folder / "ledger"
    for line in path.read_text().splitlines() if path.exists() else ():
        what, key, attempt, loss = line.split(" ")
        (starts if what == "start" else ends)[key, int(attempt), int(loss)] += 1
    return Ledger(starts, ends)


def check_journal(run: Recorded) -> None:
    """What must hold of any journal, also between a crash and its resume."""
    check_sequence(run)
    check_attempts(run)
    check_waits(run)
    check_budget(run)
    check_breakers(run)
    check_letters(run)
    check_hooks(run)
    check_ends(run)
    ids = [delivery.delivery_id for delivery in run.deliveries]
    assert len(set(ids)) == len(ids), "a delivery is recorded once"
    assert set(ids) <= set(run.owed), "only what is owed is delivered"


def check_sequence(run: Recorded) -> None:
    """Numbers have no gap, and times do not go back."""
    assert [seq for seq, _ in run.events] == list(range(1, len(run.events) + 1))
    times = [event.at for _, event in run.events]
    assert times == sorted(times)


def check_attempts(run: Recorded) -> None:
    """Each attempt that starts ends once, or is lost; and nothing of a task starts after its success."""
    running: dict[str, AttemptStarted] = {}
    done: set[str] = set()
    for _, event in run.events:
        if isinstance(event, AttemptStarted):
            assert event.task not in running, f"{event.task} started while it ran"
            assert event.task not in done, f"{event.task} started again after its success"
            running[event.task] = event
        elif isinstance(event, _ATTEMPT_ENDS):
            started = running.pop(event.task)
            assert event.attempt == started.attempt
            if isinstance(event, AttemptLost):
                assert event.loss == started.loss
            if isinstance(event, AttemptSucceeded):
                done.add(event.task)
        elif isinstance(event, FallbackValueUsed):
            done.add(event.task)
        elif isinstance(event, RunEnding | RunFinished):
            assert not running, f"the run ended while {list(running)} ran"


def check_waits(run: Recorded) -> None:
    """A task sleeps once in a generation, and no attempt starts before it is due."""
    due_at: dict[str, float] = {}
    asleep: set[tuple[int, str]] = set()
    for generation, _, event in run.with_generations:
        if isinstance(event, SleepStarted):
            assert (generation, event.task) not in asleep, f"{event.task} went to sleep again"
            asleep.add((generation, event.task))
        if isinstance(event, SleepStarted | RetryScheduled):
            due_at[event.task] = event.due_at
        elif isinstance(event, AttemptStarted):
            assert event.at >= due_at.get(event.task, 0.0), f"{event.task} started before it was due"


def check_budget(run: Recorded) -> None:
    """No generation spends more retries than the run may, and it says once that there are none left."""
    budget = run.spec.limits.retry_budget
    retries = Counter(
        generation for generation, _, event in run.with_generations if isinstance(event, RetryScheduled)
    )
    empty = Counter(
        generation for generation, _, event in run.with_generations if isinstance(event, BudgetExhausted)
    )
    assert budget is not None or not empty
    if budget is not None:
        assert all(count <= budget for count in retries.values()), "no more retries than the budget has"
        assert all(count == 1 and retries[generation] == budget for generation, count in empty.items())


def check_breakers(run: Recorded) -> None:
    """What has a breaker starts when it is let through, and each outcome is counted once, before anything is asked again."""
    guarded = {task.id for task in run.spec.tasks if task.on_error.breaker is not None}
    allowed: dict[str, BreakerAllowed] = {}
    started: dict[str, BreakerAllowed] = {}
    uncounted: dict[str, str] = {}  # key, by task
    failed: set[str] = set()
    last: dict[str, BreakerOpened | BreakerClosed] = {}  # change, by key
    for _, event in run.events:
        match event:
            case BreakerAllowed(at, task, key):
                assert task not in uncounted, f"{task} asked before its last outcome was counted"
                opened = last.get(key)
                assert not isinstance(opened, BreakerOpened) or at >= opened.until - CLOCKS_DIFFER_S
                allowed[task] = event
            case Resumed():
                allowed.clear()
            case AttemptStarted(_, task):
                assert task not in guarded or task in allowed, f"{task} started without being let through"
                if task in guarded:
                    started[task] = allowed.pop(task)
            case AttemptFailed(_, task, attempt) | AttemptTimedOut(_, task, attempt) if task in guarded:
                uncounted[task] = started[task].key
                failed.add(f"{RUN_ID}/{task}/{attempt}")
            case AttemptSucceeded(_, task) if task in guarded and started[task].is_probe:
                uncounted[task] = started[task].key
            case (
                BreakerCounted(_, task, key) | BreakerOpened(_, task, key) | BreakerClosed(_, str(task), key)
            ):
                assert uncounted.pop(task) == key, f"an outcome of {task} was counted twice"
                if not isinstance(event, BreakerCounted):
                    last[key] = event
            case RunFinished():
                assert not uncounted, f"the run ended before its outcomes were counted: {uncounted}"
    for key, breaker in run.breakers.items():
        counted = [attempt for _, attempt in breaker.failures]
        assert len(set(counted)) == len(counted), "a failure is counted once"
        assert set(counted) <= failed, "no breaker knows of a failure that the journal does not"
        if key not in uncounted.values():  # else the breaker may know already what the run does not
            opened = last.get(key)
            assert breaker.until == (opened.until if isinstance(opened, BreakerOpened) else None)


def check_letters(run: Recorded) -> None:
    """The store has one dead letter for each fatal failure of the last generation that came to it, and no other."""
    letters: dict[str, str] = {}
    fatal: set[str] = set()
    for generation, _, event in run.with_generations:
        if isinstance(event, GenerationStarted):
            letters = {
                task: letter for task, letter in letters.items() if event.tasks and task not in event.tasks
            }
        elif isinstance(event, TaskFailed) and event.effect == "fatal":
            fatal.add(event.task)
        elif isinstance(event, DeadLettered):
            assert event.letter == f"{RUN_ID}/{generation}/{event.task}"
            assert event.task in fatal
            assert event.task not in letters, f"{event.task} became a dead letter twice"
            letters[event.task] = event.letter
    assert {letter.task: letter.id for letter in run.letters} == letters


def check_hooks(run: Recorded) -> None:
    """Each blocking hook starts, and ends once or is lost; within a generation it ends at most once."""
    running: Body | None = None
    ended: set[Body] = set()
    for generation, _, event in run.with_generations:
        if isinstance(event, HookStarted):
            assert running is None
            running = _hook_body(event, generation)
            assert running not in ended, f"{running} started after its end"
        elif isinstance(event, HookFinished | HookLost):
            assert running == _hook_body(event, generation)
            if isinstance(event, HookFinished):
                ended.add(running)
            running = None
        elif isinstance(event, RunFinished):
            assert running is None


def check_ends(run: Recorded) -> None:
    """After a generation's end comes the next generation, or nothing; before it, every hook that its outcome owes."""
    is_over = False
    finished: list[str] = []
    outcome = ""
    for _, event in run.events:
        is_beginning = isinstance(event, GenerationStarted | DefinitionChanged)
        assert not is_over or is_beginning, f"{event} came after RunFinished"
        is_over = isinstance(event, RunFinished) or (is_over and isinstance(event, DefinitionChanged))
        if isinstance(event, GenerationStarted):
            finished = []
        elif isinstance(event, HookFinished):
            finished.append(f"{event.event}[{event.index}]")
        elif isinstance(event, RunEnding):
            outcome = event.outcome
        elif isinstance(event, RunFinished):
            assert event.outcome == outcome
            assert finished == _due_hooks(run.spec.hooks, outcome), (
                "each hook ends once in each generation, in order"
            )


def _due_hooks(hooks: HookLists, outcome: str) -> list[str]:
    due = (
        ["pre_workflow", "on_error", "post_workflow"]
        if outcome == "failed"
        else ["pre_workflow", "post_workflow"]
    )
    return [f"{event}[{index}]" for event in due for index in range(len(hooks.of(event)))]


def check_ledger(run: Recorded, written: Ledger) -> None:
    """No body started that was not committed before, and none more often than it was; a success ran to its end, once."""
    deliveries = Counter[Body]((delivery_id, 0, 0) for delivery_id in run.owed)
    started = run.attempts + run.hook_starts
    for body, count in written.starts.items():
        assert count <= started[body] or body in deliveries, (
            f"{body} ran {count} times, committed {started[body]}"
        )
    for body in run.successes:
        assert (written.starts[body], written.ends[body]) == (1, 1), f"{body} succeeded"
    losses = Counter((event.task, event.attempt) for event in run.of(AttemptLost))
    for (key, attempt), count in _by_attempt(written.starts, run).items():
        task = key.rsplit("/", 2)[1]
        assert count <= 1 + losses[task, attempt], f"{task} ran {count} times as attempt {attempt}"


def _by_attempt(starts: Counter[Body], run: Recorded) -> Counter[tuple[str, int]]:
    count = Counter[tuple[str, int]]()
    for (key, attempt, loss), times in starts.items():
        if (key, attempt, loss) in run.attempts:
            count[key, attempt] += times
    return count


def check_crashed(folder: Path) -> tuple[Recorded, Ledger]:
    """Check what a killed process has left, and return it."""
    run = recorded(folder)
    check_journal(run)
    written = ledger(folder)
    check_ledger(run, written)
    return run, written


def check_ended(folder: Path, before: tuple[Recorded, Ledger] | None = None) -> Recorded:
    """Check what the process that came to the end has left; with what there was before it, if one was killed."""
    run = recorded(folder)
    check_journal(run)
    assert isinstance(run.events[-1][1], RunFinished)
    written = ledger(folder)
    check_ledger(run, written)
    assert [delivery.delivery_id for delivery in run.deliveries] == run.owed, "all is delivered, in order"
    for delivery_id in run.owed:
        assert written.starts[delivery_id, 0, 0] >= 1
    if before is not None:
        check_nothing_is_repeated(before, run, written)
    return run


def check_nothing_is_repeated(before: tuple[Recorded, Ledger], run: Recorded, written: Ledger) -> None:
    """What was recorded as done is still there, and its bodies have not run again."""
    old, old_ledger = before
    assert run.events[: len(old.events)] == old.events
    assert run.deliveries[: len(old.deliveries)] == old.deliveries
    for key, attempt, loss in old.successes:
        again = [body for body in written.starts if body[0] == key and body[1:] > (attempt, loss)]
        assert not again, f"{again} ran after a recorded success"
        assert written.starts[key, attempt, loss] == old_ledger.starts[key, attempt, loss] == 1
    for generation, _, event in old.with_generations:
        if isinstance(event, HookFinished):
            body = _hook_body(event, generation)
            assert written.starts[body] == old_ledger.starts[body], f"{body} ran again"
    for delivery in old.deliveries:
        body = (delivery.delivery_id, 0, 0)
        assert written.starts[body] == old_ledger.starts[body], f"{body} was delivered again"


def _key(task: str, generation: int) -> str:
    return f"{RUN_ID}/{task}/{generation}"


def _hook_body(event: HookStarted | HookFinished | HookLost, generation: int) -> Body:
    return f"{RUN_ID}/{generation}/{event.event}[{event.index}]", 0, 0
