"""What must hold of a run after any crash: read off its journal and the ledger of its bodies, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from crash_records import Body, Ledger, Recorded, all_recorded, ledger, recorded

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
    TaskFailed,
)
from actorflow.spec.model import HookLists

CLOCKS_DIFFER_S = 0.005
"""The clock of a run follows the loop's, that of its store the wall's."""

_ATTEMPT_ENDS = (AttemptSucceeded, AttemptFailed, AttemptTimedOut, AttemptCanceled, AttemptLost)


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
    check_deliveries(run)


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
                failed.add(f"{run.run_id}/{task}/{attempt}")
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
            assert event.letter == f"{run.run_id}/{generation}/{event.task}"
            assert event.task in fatal
            assert event.task not in letters, f"{event.task} became a dead letter twice"
            letters[event.task] = event.letter
    assert {letter.task: letter.id for letter in run.letters if letter.kind == "task"} == letters


def check_hooks(run: Recorded) -> None:
    """Each blocking hook starts, and ends once or is lost; of one subject, one at a time; within a generation each ends once."""
    running: dict[str, Body] = {}
    ended: set[Body] = set()
    for generation, _, event in run.with_generations:
        if isinstance(event, HookStarted):
            assert event.subject not in running
            running[event.subject] = run.hook_body(event, generation)
            assert running[event.subject] not in ended, f"{running[event.subject]} started after its end"
        elif isinstance(event, HookFinished | HookLost):
            body = run.hook_body(event, generation)
            assert running.pop(event.subject) == body
            if isinstance(event, HookFinished):
                ended.add(body)
        elif isinstance(event, RunFinished):
            assert not running


def check_deliveries(run: Recorded) -> None:
    """What is owed is settled once, or pending, or still to be read from the events behind the cursor; nothing else is."""
    settled = [delivery.delivery_id for delivery in run.deliveries]
    pending = [row.delivery_id for row in run.pending]
    assert len(set(settled)) == len(settled), "a delivery is recorded once"
    assert not set(settled) & set(pending), "what is settled is not pending"
    assert {*settled, *pending} <= set(run.owed), "only what is owed is delivered"
    behind = {id_ for id_ in run.owed if int(id_.split("/")[1]) <= run.cursor}
    assert behind <= {*settled, *pending}, "nothing that is owed is forgotten"
    dead = {delivery.delivery_id for delivery in run.deliveries if delivery.status == "dead_letter"}
    assert {letter.id for letter in run.letters if letter.kind == "delivery"} == dead


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
        elif isinstance(event, HookFinished) and not event.subject:
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
    return [
        f"{event}[{index}]"
        for event in due
        for index, hook in enumerate(hooks.of(event))
        if hook.mode == "blocking"
    ]


def check_ledger(runs: Sequence[Recorded], written: Ledger) -> None:
    """No body started that was not committed before, and none more often than it was; a success ran to its end, once."""
    deliveries = {delivery_id for run in runs for delivery_id in run.owed}
    started = sum((run.attempts + run.hook_starts for run in runs), Counter[Body]())
    for body, count in written.starts.items():
        assert count <= started[body] or body[0] in deliveries, (
            f"{body} ran {count} times, committed {started[body]}"
        )
    for run in runs:
        _check_attempts_in_ledger(run, written)


def _check_attempts_in_ledger(run: Recorded, written: Ledger) -> None:
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
    return _checked(folder)


def _checked(folder: Path) -> tuple[Recorded, Ledger]:
    runs, written = all_recorded(folder), ledger(folder)
    for run in runs:
        check_journal(run)
    check_ledger(runs, written)
    return recorded(folder), written


def check_ended(folder: Path, before: tuple[Recorded, Ledger] | None = None) -> Recorded:
    """Check what the process that came to the end has left; with what there was before it, if one was killed."""
    run, written = _checked(folder)
    assert isinstance(run.events[-1][1], RunFinished)
    check_delivered(run)
    if before is not None:
        check_nothing_is_repeated(before, run, written)
    return run


def check_delivered(run: Recorded) -> None:
    """All that a run owes is settled, and to each hook in the order of the events."""
    open_ = set(run.owed) - {delivery.delivery_id for delivery in run.deliveries}
    assert not open_, f"{open_} are not settled"
    for path, hook in {
        path: hook for event in run.spec.hooks.lists for path, hook in run.listed(event)
    }.items():
        seqs = [delivery.seq for delivery in run.deliveries if delivery.hook == path]
        assert not hook.ordered or seqs == sorted(seqs), f"{path} is delivered in order"


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
            body = run.hook_body(event, generation)
            assert written.starts[body] == old_ledger.starts[body], f"{body} ran again"
    for delivery in old.deliveries:
        body = (delivery.delivery_id, 0, 0)
        assert written.starts[body] == old_ledger.starts[body], f"{body} was delivered again"
