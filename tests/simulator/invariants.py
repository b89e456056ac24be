"""What holds of every world, whatever goes wrong in it. Each is named by the sentence that docs/guarantees.md has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final, TypeAlias

from actorflow.core.breaker import Allowed, Counted, Refused
from actorflow.core.events import (
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Event,
    GenerationStarted,
    HookLost,
    PauseRequested,
    Resumed,
    RunEnding,
    RunFinished,
    RunStarted,
    SignalReceived,
    TaskFailed,
)
from actorflow.core.owed import functions_of, owed_by
from actorflow.core.plan import plan_of
from actorflow.journal.projection import folded
from actorflow.journal.protocol import Append, AskBreaker, Delivery, RecordDeliveries, Release, TellBreaker
from actorflow.spec.model import WorkflowSpec
from actorflow.testing.world import Body, Commit
from tests.promises import expect
from tests.promises_of_breakers import BreakerPromises
from tests.promises_of_recovery import cooldowns_of, read_history
from tests.simulator.execution import SECRET
from tests.simulator.observed import Observed

Invariant: TypeAlias = Callable[["Findings"], None]

SLACK_S: Final = 1e-5
"""Epoch seconds are floats."""

_TAKES_UP: Final = (
    AttemptLost,
    HookLost,
    Resumed,
    GenerationStarted,
    CancelRequested,
    PauseRequested,
    SignalReceived,
)
"""With one of these whoever takes a run up says so."""


class Findings:
    """A world at its end, and what more than one invariant looks at."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.runs = observed.runs

    @cached_property
    def appended(self) -> Mapping[str, list[tuple[Commit, Append]]]:
        """What was kept of each run, in order."""
        found = defaultdict[str, list[tuple[Commit, Append]]](list)
        for commit in self.observed.commits:
            for write, outcome in zip(commit.writes, commit.outcomes, strict=True):
                if isinstance(write, Append) and not isinstance(outcome, Exception):
                    found[write.run_id].append((commit, write))
        return found

    @cached_property
    def durable_at(self) -> Mapping[str, list[float]]:
        """When each event of a run was durable, by its number."""
        return {
            run_id: [commit.at for commit, write in kept for _ in write.events]
            for run_id, kept in self.appended.items()
        }

    @cached_property
    def settled(self) -> Mapping[str, list[Delivery]]:
        """What became of each delivery, by its id: once, or again after somebody has asked for that."""
        found = defaultdict[str, list[Delivery]](list)
        for run in self.runs.values():
            for delivery in run.deliveries:
                found[delivery.delivery_id].append(delivery)
        return found


def journal_is_what_was_committed(found: Findings) -> None:
    name = "a run's journal is gapless, and what was committed"
    for run_id, run in found.runs.items():
        committed: list[Event] = []
        for _, write in found.appended[run_id]:
            expect(name, write.first_seq == len(committed) + 1, (run_id, write.first_seq, len(committed)))
            committed += write.events
        expect(name, list(run.events) == committed, (run_id, run.events, committed))


def one_owner_per_epoch(found: Findings) -> None:
    name = "a run has one owner at a time, and a new one says so"
    for run_id, kept in found.appended.items():
        writer = kept[0][0].process
        for commit, write in kept[1:]:
            is_taken_up = isinstance(write.events[0], _TAKES_UP)
            expect(name, commit.process == writer or is_taken_up, (run_id, writer, commit))
            writer = commit.process


def fenced_writes_nothing(found: Findings) -> None:
    """Whoever another process has written after, without its giving the run up, writes no more to it."""
    name = "a fenced runner writes nothing"
    fenced: set[tuple[str, int]] = set()
    owner: dict[str, int] = {}
    for commit in found.observed.commits:
        for write, outcome in zip(commit.writes, commit.outcomes, strict=True):
            if isinstance(outcome, Exception) or not isinstance(write, Append | RecordDeliveries | Release):
                continue
            expect(name, (write.run_id, commit.process) not in fenced, commit)
            before = owner.get(write.run_id)
            if before is not None and before != commit.process:
                fenced.add((write.run_id, before))
            owner[write.run_id] = commit.process
            if isinstance(write, Release):
                owner.pop(write.run_id, None)


def projections_equal_the_fold(found: Findings) -> None:
    name = "projections equal the fold of the events"
    for run_id, run in found.runs.items():
        if run.spec is not None:
            _, summary = folded(plan_of(run.spec), run.events)
            expect(name, summary is not None and run.row.summary == summary, (run_id, run.row, summary))
        expect(name, run.row.last_seq == len(run.events), (run_id, run.row))
        expect(name, run.row.cursor <= run.row.last_seq, (run_id, run.row))


def histories_are_legal(found: Findings) -> None:
    """Each breach has the name of its own promise; see tests/promises*.py."""
    specs = [run.spec for run in found.runs.values() if run.spec is not None]
    longest = max((each for spec in specs for each in cooldowns_of(spec)), default=0.0)
    for run_id, run in found.runs.items():
        if run.spec is not None:
            read_history(run.spec, run_id, list(run.events), longest)


def bodies_begin_behind_their_start(found: Findings) -> None:
    name = "a body begins only when its start is durable, and no success runs again"
    started: set[tuple[str, str, int, int]] = set()
    succeeded: set[tuple[str, str]] = set()
    begun = Counter[tuple[str, str, int, int]]()
    for at, what, about in found.observed.world.happenings:
        match about:
            case Commit(writes=writes, outcomes=outcomes):
                for write, outcome in zip(writes, outcomes, strict=True):
                    if isinstance(write, Append) and not isinstance(outcome, Exception):
                        for event in write.events:
                            match event:
                                case AttemptStarted(task=task, attempt=attempt, loss=loss):
                                    started.add((write.run_id, task, attempt, loss))
                                case AttemptSucceeded(task=task):
                                    succeeded.add((write.run_id, task))
                                case TaskFailed(task=task):  # by a hook on its success
                                    succeeded.discard((write.run_id, task))
                                case _:
                                    pass
            case Body(call=call) if what == "begins":
                key = (call.run_id, call.task, call.attempt, call.loss)
                begun[key] += 1
                expect(name, key in started, (at, about))
                expect(name, (call.run_id, call.task) not in succeeded, (at, about))
                expect(name, begun[key] == 1, (at, about))
            case _:
                pass


def outputs_are_as_returned(found: Findings) -> None:
    name = "an output is read as it was returned"
    returned = {
        (body.call.run_id, body.call.task, body.call.attempt, body.call.loss): body
        for body in found.observed.bodies
        if body.ended_at is not None and body.error is None
    }
    for run_id, run in found.runs.items():
        computed = (
            {task.id for task in run.spec.tasks if task.outputs is not None} if run.spec else set[str]()
        )
        losses = dict[tuple[str, int], int]()
        for event in run.events:
            match event:
                case AttemptStarted(task=task, attempt=attempt, loss=loss):
                    losses[task, attempt] = loss
                case AttemptSucceeded(task=task, attempt=attempt, output=output):
                    body = returned.get((run_id, task, attempt, losses[task, attempt]))
                    expect(name, body is not None, (run_id, event))
                    assert body is not None
                    expect(name, task in computed or output == _hidden(body.output), (body, event))
                case _:
                    pass


def _hidden(value: Any) -> Any:
    """What a body has returned, as it is told."""
    match value:
        case str():
            return value.replace(SECRET, "***")
        case Mapping():
            return {key: _hidden(each) for key, each in value.items()}
        case _:
            return value


def deliveries_are_accounted_for(found: Findings) -> None:
    name = "every owed delivery is delivered, failed, skipped, dead or pending, and exactly one of these"
    for run_id, run in found.runs.items():
        if run.spec is None:
            continue
        settled = {each.delivery_id for each in run.deliveries}
        pending = [each.delivery_id for each in run.pending]
        expect(name, len(pending) == len(set(pending)), (run_id, pending))
        started = run.events[0]
        assert isinstance(started, RunStarted)
        owed = dict[str, int]()
        functions = functions_of(started.flags)
        state, _ = folded(plan_of(run.spec), ())
        for seq, event in enumerate(run.events, 1):
            state.apply(event)
            for delivery in owed_by(state, seq, event, functions):
                owed[delivery.context.delivery_id] = seq
        known = settled.union(pending)
        expect(name, known <= owed.keys(), (run_id, known - owed.keys()))
        missing = {each for each, seq in owed.items() if seq <= run.row.cursor} - known
        expect(name, not missing, (run_id, missing))
        for each in run.deliveries:
            again = [other for other in run.deliveries if other.delivery_id == each.delivery_id]
            was_dead = all(other.status in ("dead_letter", "failed") for other in again[:-1])
            expect(name, was_dead, (run_id, again))
    letters = {letter.id for letter in found.observed.letters if letter.kind == "delivery"}
    for delivery_id, all_of in found.settled.items():
        is_retried = any(
            each.delivery_id == delivery_id for run in found.runs.values() for each in run.pending
        )
        if all_of[-1].status == "dead_letter" and not is_retried:
            expect("a dead delivery has its letter", delivery_id in letters, delivery_id)


def targets_hear_what_happened(found: Findings) -> None:
    name = "what is delivered was received, and what was received has happened"
    received = defaultdict[str, list[float]](list)
    for request in found.observed.received:
        received[request.header("webhook-id") or ""].append(request.at)
    for run in found.runs.values():
        for delivery in run.deliveries:
            is_webhook = "target" in delivery.record
            if delivery.status == "delivered" and is_webhook:
                known_as = (
                    delivery.record.get("batch", {}).get("id", delivery.delivery_id)
                    if isinstance(delivery.record.get("batch"), Mapping)
                    else delivery.record.get("batch", delivery.delivery_id)
                )
                expect(name, bool(received.get(str(known_as))), (delivery, sorted(received)))
    for delivery_id, times in received.items():
        run_id, _, rest = delivery_id.partition("/")
        seq = rest.partition("/")[0]
        if run_id in found.runs and seq.isdigit():
            durable = found.durable_at[run_id]
            is_durable = int(seq) <= len(durable) and durable[int(seq) - 1] <= times[0] + SLACK_S
            expect("nothing is shown that is not durable", is_durable, (delivery_id, times))


def results_are_durable(found: Findings) -> None:
    name = "nothing is shown that is not durable"
    for told in found.observed.told:
        if told.result is not None and told.result.status in ("success", "failed", "canceled"):
            times = found.durable_at[told.run_id]
            ends = [
                at
                for at, event in zip(times, found.runs[told.run_id].events, strict=True)
                if isinstance(event, RunFinished) and event.outcome == told.result.status
            ]
            expect(name, bool(ends) and ends[0] <= told.at + SLACK_S, told)
    for at, _, delivery_id, _ in found.observed.hook_calls:
        run_id, seq, *_ = delivery_id.split("/")
        durable = found.durable_at[run_id]
        expect(name, int(seq) <= len(durable) and durable[int(seq) - 1] <= at + SLACK_S, (at, delivery_id))


def breakers_keep_their_rules(found: Findings) -> None:
    """By the promises of tests/promises_of_breakers.py: one probe at a time, and the rest."""
    owners: dict[str, int] = {}
    promises = BreakerPromises()
    dead: set[int] = set()
    by_number = {process.number: process for process in found.observed.world.processes}
    killed = {what for _, what, about in found.observed.world.happenings if about is None}
    for number in by_number:
        if f"process {number} is killed" in killed:
            dead.add(number)
    if dead or any(act.kind == "stop" for act in found.observed.scenario.acts):
        return  # whose probe is free then is not seen from outside
    for commit in found.observed.commits:
        for write, outcome in zip(commit.writes, commit.outcomes, strict=True):
            match write, outcome:
                case AskBreaker(question, at), Allowed() | Refused():
                    promises.check_answer(question, outcome, at, lambda run_id: run_id in owners)
                case TellBreaker(report, at), Counted():
                    promises.check_count(report, outcome, at)
                case Release(run_id=run_id), None:
                    owners.pop(run_id, None)
                case Append(run_id=run_id), None:
                    owners[run_id] = commit.process
                case _:
                    pass


def no_earlier_than_its_critical_path(found: Findings) -> None:
    name = "a run never ends before its critical path"
    for run_id, run in found.runs.items():
        if run.spec is None or not run.events or not isinstance(run.events[-1], RunFinished):
            continue
        if any(isinstance(event, GenerationStarted) and event.generation > 1 for event in run.events):
            continue
        took = {
            body.call.task: body.ended_at - body.began_at
            for body in found.observed.bodies
            if body.call.run_id == run_id and body.ended_at is not None and body.error is None
        }
        done = {event.task for event in run.events if isinstance(event, AttemptSucceeded)}
        needed = _longest_path(run.spec, {task: took.get(task, 0.0) for task in done})
        durable = found.durable_at[run_id]
        expect(name, durable[-1] - durable[0] >= needed - SLACK_S, (run_id, durable[-1] - durable[0], needed))


def _longest_path(spec: WorkflowSpec, took: Mapping[str, float]) -> float:
    """How long a run must take by what its tasks took, each behind those that it depends on."""
    tasks, ends = {task.id: task for task in spec.tasks}, dict[str, float]()

    def end_of(task_id: str) -> float:
        if task_id not in ends:
            before = [end_of(need) for need in tasks[task_id].depends_on if need in took]
            ends[task_id] = took.get(task_id, 0.0) + max(before, default=0.0)
        return ends[task_id]

    return max(map(end_of, tasks), default=0.0)


def everything_comes_to_rest(found: Findings) -> None:
    name = "when faults stop, everything ends"
    if found.observed.scenario.mode == "liveness":
        for run_id, run in found.runs.items():
            expect(name, run.row.summary.status != "running", (run_id, run.row))
            expect(name, run.row.owner_pid is None, (run_id, run.row))
        created = {start.run_id for start in found.observed.scenario.starts}
        expect(name, created <= found.runs.keys(), created - found.runs.keys())


def outcomes_are_decided_once(found: Findings) -> None:
    name = "an outcome is decided once in a generation"
    for run_id, run in found.runs.items():
        decided = 0
        for event in run.events:
            match event:
                case GenerationStarted():
                    decided = 0
                case RunEnding():
                    decided += 1
                    expect(name, decided == 1, (run_id, event))
                case _:
                    pass


def no_secret_is_told(found: Findings) -> None:
    name = "no secret is anywhere but where it was sent"
    observed = found.observed
    expect(name, SECRET not in observed.output_seen, "what was logged or written")
    told: list[Any] = [observed.letters, [each.error for each in observed.told]]
    for run in found.runs.values():
        told += [run.events, run.deliveries, run.pending]
    expect(name, SECRET not in repr(told), told)


INVARIANTS: Final[tuple[Invariant, ...]] = (
    journal_is_what_was_committed,
    one_owner_per_epoch,
    fenced_writes_nothing,
    projections_equal_the_fold,
    histories_are_legal,
    outcomes_are_decided_once,
    bodies_begin_behind_their_start,
    outputs_are_as_returned,
    deliveries_are_accounted_for,
    targets_hear_what_happened,
    results_are_durable,
    breakers_keep_their_rules,
    no_earlier_than_its_critical_path,
    everything_comes_to_rest,
    no_secret_is_told,
)
"""What is looked at in every world."""


def check(observed: Observed) -> None:
    """Hold a world to all invariants.

    Raises:
        BrokenPromise: the first one that is broken.
    """
    found = Findings(observed)
    for invariant in INVARIANTS:
        invariant(found)
