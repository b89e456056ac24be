"""Ways to break what follows failures: retries, breakers, budgets, deadlines, dead letters, and who may write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from attrs import evolve

from actorflow.core import breaker, due, recovery, run_events, task_events
from actorflow.core.breaker import Allowed, Breaker, BreakerAsk, BreakerReport, Counted, Refused
from actorflow.core.breaker_book import BreakerBook
from actorflow.core.commands import Command, Record, TellBreaker
from actorflow.core.events import AttemptStarted, BreakerRefused, Event, Resumed, TaskDeadlinePassed
from actorflow.core.plan import Plan
from actorflow.core.rendering import run_ending
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState
from actorflow.spec.model import BreakerSpec, RetrySpec
from tests.machine import Driver, Run
from tests.mutants.mutant import Mutant
from tests.mutants.scenes import first_ended, two_runs
from tests.mutants.switches import also, replaced
from tests.scenarios import task


@contextmanager
def fence_unchecked() -> Iterator[None]:
    """The journal takes what a process writes that has lost the run."""

    def append(run: Run, owner: int, events: list[Event]) -> bool:
        run.events.extend(events)
        run.writers.append(owner)
        return True

    with replaced(Run, "append", append):
        yield


@contextmanager
def budget_checked_then_written() -> Iterator[None]:
    """All verdicts of a step see the same budget."""

    def decisions(state: RunState, now: float) -> list[Command]:
        return [due._decision(state, index, failure, now) for index, failure in state.undecided.items()]

    with replaced(due, "_decisions", decisions):
        yield


@contextmanager
def two_probes() -> Iterator[None]:
    """A half-open breaker lets everybody try."""
    ask = breaker.ask

    def ask_anyhow(
        kept: Breaker, question: BreakerAsk, now: float, *, is_probe_held: bool
    ) -> tuple[Breaker, Allowed | Refused]:
        return ask(kept, question, now, is_probe_held=False)

    with replaced(breaker, "ask", ask_anyhow):
        yield


@contextmanager
def cooldown_ignored() -> Iterator[None]:
    """A breaker lets a probe through as soon as it is open."""
    ask = breaker.ask

    def ask_early(
        kept: Breaker, question: BreakerAsk, now: float, *, is_probe_held: bool
    ) -> tuple[Breaker, Allowed | Refused]:
        until = None if kept.until is None else now
        return ask(evolve(kept, until=until), question, now, is_probe_held=is_probe_held)

    with replaced(breaker, "ask", ask_early):
        yield


@contextmanager
def outcome_counted_twice() -> Iterator[None]:
    """An outcome that is reported twice counts twice."""
    count = breaker._count

    def count_again(kept: Breaker, told: BreakerReport) -> tuple[Breaker, Counted]:
        others = tuple((at, f"{attempt} before") for at, attempt in kept.failures)
        return count(evolve(kept, failures=others), told)

    with replaced(breaker, "_count", count_again):
        yield


@contextmanager
def late_failures_count() -> Iterator[None]:
    """A failure counts however long ago it happened."""
    is_over = breaker._is_over

    def is_over_by_closing(kept: Breaker, told: BreakerReport, now: float) -> bool:
        return is_over(kept, told, told.at)

    with replaced(breaker, "_is_over", is_over_by_closing):
        yield


@contextmanager
def closing_forgotten() -> Iterator[None]:
    """What failed before a breaker closed counts if it is told afterwards."""
    is_over = breaker._is_over

    def is_over_by_time(kept: Breaker, told: BreakerReport, now: float) -> bool:
        return is_over(evolve(kept, closed_at=None), told, now)

    with replaced(breaker, "_is_over", is_over_by_time):
        yield


@contextmanager
def each_asks_for_itself() -> Iterator[None]:
    """All that wait for a breaker ask when their time has come."""

    def ask_each(state: RunState, startable: list[int], free: int) -> list[int]:
        return list(dict.fromkeys([*state.breakers.allowed, *startable]))[:free]

    with replaced(due, "_with_breakers", ask_each):
        yield


@contextmanager
def leave_waits_for_a_slot() -> Iterator[None]:
    """Whoever is let through keeps that until there is room."""
    with replaced(Driver, "has_room", lambda driver: True):
        yield


@contextmanager
def deadline_waits_for_a_slot() -> Iterator[None]:
    """That a task has no time left is noticed when it could start."""
    facts = due._facts

    def facts_with_a_slot(state: RunState, now: float) -> list[Event]:
        has_slot = state.free_slots > 0
        return [each for each in facts(state, now) if has_slot or not isinstance(each, TaskDeadlinePassed)]

    with replaced(due, "_facts", facts_with_a_slot):
        yield


@contextmanager
def hopeless_waits() -> Iterator[None]:
    """A task waits for its breaker until its deadline, whatever that can bring."""

    def forget(state: RunState, event: BreakerRefused) -> None:
        state.breakers.hopeless.clear()

    with also(BreakerRefused, forget):
        yield


@contextmanager
def fallbacks_pass_breakers() -> Iterator[None]:
    """Only a task's first agent asks its breaker."""
    question, start = BreakerBook.question, BreakerBook.start

    def ask_first(book: BreakerBook, run_id: str, index: int) -> BreakerAsk | None:
        return None if book._tasks[index].agent_index else question(book, run_id, index)

    def start_anyhow(book: BreakerBook, index: int) -> None:
        if not book._tasks[index].agent_index:
            start(book, index)

    with replaced(BreakerBook, "question", ask_first), replaced(BreakerBook, "start", start_anyhow):
        yield


@contextmanager
def one_breaker_for_all_agents() -> Iterator[None]:
    """The fallbacks of a task ask the breaker of its first agent."""
    key = BreakerBook.key

    def key_of_first(book: BreakerBook, index: int) -> str:
        task = book._tasks[index]
        place, task.agent_index = task.agent_index, 0
        try:
            return key(book, index)
        finally:
            task.agent_index = place

    with replaced(BreakerBook, "key", key_of_first):
        yield


@contextmanager
def refused_waits_always() -> Iterator[None]:
    """Who is refused waits, although another agent is left."""

    def wait(book: BreakerBook, index: int, key: str) -> None:
        book.allowed.pop(index, None)
        book.refused[index] = key

    with replaced(BreakerBook, "refuse", wait):
        yield


@contextmanager
def refusal_takes_a_number() -> Iterator[None]:
    """What a breaker refuses is numbered as if it were an attempt."""

    def number(state: RunState, event: BreakerRefused) -> None:
        state.task(event.task).attempt += 1

    with also(BreakerRefused, number):
        yield


@contextmanager
def probe_never_given_back() -> Iterator[None]:
    """A task that ends before the probe it was allowed keeps it."""

    def keep(book: BreakerBook, run_id: str, index: int, at: float) -> None:
        for entries in (book.refused, book.to_fall_back, book.hopeless, book.allowed, book.probes):
            entries.pop(index, None)

    with replaced(BreakerBook, "drop", keep):
        yield


@contextmanager
def deadline_of_each_attempt() -> Iterator[None]:
    """A deadline ignores what was waited: it begins again with each attempt."""

    def begin_again(state: RunState, event: AttemptStarted) -> None:
        index = state.plan.index[event.task]
        state.tasks[index].deadline_at = None
        task_events._begin_deadline(state, index, event.at)

    with also(AttemptStarted, begin_again):
        yield


@contextmanager
def deadline_runs_without_owner() -> Iterator[None]:
    """Deadlines count the time in which nobody owned the run."""
    with replaced(run_events, "_prolong", lambda state, gap_s: None):
        yield


@contextmanager
def run_deadline_forgotten() -> Iterator[None]:
    """A run goes on after its deadline."""
    with replaced(RunState, "is_timed", property(lambda state: False)):
        yield


@contextmanager
def tries_beside_what_did_not_stop() -> Iterator[None]:
    """A body that goes on is no reason to wait."""
    with (
        replaced(recovery, "FINAL", frozenset[str]()),
        replaced(due, "FINAL", frozenset[str]()),
        replaced(recovery, "NEVER_RETRIED", frozenset({"not_found", "not_allowed"})),
    ):
        yield


@contextmanager
def retry_after_unbounded() -> Iterator[None]:
    """Whoever is asked to wait for ages does."""
    delay_before = recovery.delay_before_retry

    def delay(retry: RetrySpec, failed_attempts: int, key: str, at_least: float = 0.0) -> float:
        return max(delay_before(retry, failed_attempts, key), at_least)

    with replaced(recovery, "delay_before_retry", delay):
        yield


@contextmanager
def one_seed_for_all() -> Iterator[None]:
    """All tasks that fail together wait alike."""
    delay_before = recovery.delay_before_retry

    def delay(retry: RetrySpec, failed_attempts: int, key: str, at_least: float = 0.0) -> float:
        return delay_before(retry, failed_attempts, key.partition("/")[0], at_least)

    with replaced(recovery, "delay_before_retry", delay):
        yield


@contextmanager
def letter_after_each_crash() -> Iterator[None]:
    """A new owner writes the dead letters again."""

    def bury(state: RunState, event: Resumed) -> None:
        state.to_bury.update(dict.fromkeys(i for i, each in enumerate(state.tasks) if each.effect == "fatal"))

    with also(Resumed, bury):
        yield


@contextmanager
def retry_opens_all() -> Iterator[None]:
    """Who tries one dead letter again tries all that failed."""
    reopen_tasks = run_events.reopen_tasks

    def reopen_more(plan: Plan, tasks: Sequence[TaskState], only: Sequence[str] = ()) -> list[int]:
        return reopen_tasks(plan, tasks)

    with replaced(run_events, "reopen_tasks", reopen_more):
        yield


@contextmanager
def ends_before_all_is_told() -> Iterator[None]:
    """A run ends with its last task, whether or not the breakers know of it."""
    task_commands = due._task_commands

    def end_early(state: RunState, now: float) -> list[Command]:
        commands = task_commands(state, now)
        is_only_telling = commands and all(isinstance(each, TellBreaker) for each in commands)
        if is_only_telling and not state.frontier.open_count:
            return [Record(run_ending(state, due._outcome(state), now))]
        return commands

    with replaced(due, "_task_commands", end_early):
        yield


@contextmanager
def signals_forgotten() -> Iterator[None]:
    """A new owner does not know which signals have come."""

    def forget(state: RunState, event: Resumed) -> None:
        state.signal_ids.clear()

    with also(Resumed, forget):
        yield


BREAKER = BreakerSpec(threshold=1, cooldown=2.0)

UNKEPT_FAILURE: Final = first_ended("fails", is_kept=False)

TWICE_AS_MANY_RETRIES: Final = two_runs(task("a", attempts=3), task("b", attempts=3), retry_budget=1)
SHORT_DELAYS: Final = two_runs(
    task("a", retry=RetrySpec(max_attempts=3, max_delay=2.0)), task("b", attempts=3, strategy="finish")
)
FATAL_FAILURES: Final = two_runs(task("a", strategy="finish"), task("b", strategy="finish"), task("c", "a"))
GUARDED: Final = two_runs(
    task("a", attempts=3, breaker=BREAKER, deadline=5.0, max_losses=1),
    task("b", attempts=3, breaker=BREAKER, strategy="finish", max_losses=0),
)
GUARDED_TOGETHER: Final = two_runs(
    *(task(name, attempts=4, breaker=BREAKER, strategy="finish") for name in "abc"), max_parallel=2
)
GUARDED_TWICE: Final = two_runs(task("a", attempts=3, breaker=BreakerSpec(threshold=2, cooldown=2.0)))
NARROW: Final = two_runs(
    *(task(name, attempts=4, breaker=BREAKER, strategy="finish") for name in "abcd"),
    opening=UNKEPT_FAILURE,
    max_parallel=1,
)
BRIEF: Final = two_runs(
    task("a", attempts=3, breaker=BreakerSpec(threshold=1, window=0.5, cooldown=2.0)), opening=UNKEPT_FAILURE
)
HURRIED: Final = two_runs(task("a", attempts=3, breaker=BreakerSpec(threshold=1, cooldown=4.0), deadline=3.0))
TIMED_AND_NARROW: Final = two_runs(
    task("a", attempts=9, deadline=1.5, strategy="finish"),
    task("b"),
    opening=first_ended("fails"),
    max_parallel=1,
)
PROBES: Final = two_runs(task("a", attempts=9, breaker=BreakerSpec(threshold=1, cooldown=0.5), max_losses=0))
GUARDED_FALLBACKS: Final = two_runs(task("a", attempts=2, fallbacks=("second", "third"), breaker=BREAKER))
TIMED: Final = two_runs(task("a", attempts=9, deadline=2.5, strategy="finish"), task("b", "a"), deadline=6.0)
"""Where a break shows soon."""

RECOVERY: Final = {
    "fence unchecked": Mutant(
        fence_unchecked, {"a fenced owner writes nothing", "performed once"}, FATAL_FAILURES
    ),
    "budget checked, then written": Mutant(
        budget_checked_then_written, {"the budget is never exceeded"}, TWICE_AS_MANY_RETRIES
    ),
    "two probes at once": Mutant(two_probes, {"one probe at a time"}, GUARDED),
    "cooldown ignored": Mutant(cooldown_ignored, {"nobody is let through an open breaker"}, GUARDED),
    "outcome counted twice": Mutant(
        outcome_counted_twice, {"a breaker opens and closes when it must"}, GUARDED_TWICE
    ),
    "late failures count": Mutant(late_failures_count, {"a breaker opens and closes when it must"}, BRIEF),
    "failures before it closed count": Mutant(
        closing_forgotten, {"a breaker opens and closes when it must"}, GUARDED
    ),
    "all that wait for a breaker ask": Mutant(
        each_asks_for_itself, {"of those that wait for a breaker, one asks"}, GUARDED_TOGETHER
    ),
    "leave waits for a slot": Mutant(leave_waits_for_a_slot, {"leave is used at once or not at all"}, NARROW),
    "deadline waits for a slot": Mutant(
        deadline_waits_for_a_slot, {"a deadline is noticed when it comes"}, TIMED_AND_NARROW
    ),
    "waits without hope": Mutant(hopeless_waits, {"who has no hope does not wait"}, HURRIED),
    "open breaker ignored by fallbacks": Mutant(
        fallbacks_pass_breakers, {"no attempt without its breaker's leave"}, GUARDED_FALLBACKS
    ),
    "one breaker for all agents": Mutant(
        one_breaker_for_all_agents, {"each agent has its own breaker"}, GUARDED_FALLBACKS
    ),
    "refused, and no fallback": Mutant(
        refused_waits_always, {"who is refused falls back at once"}, GUARDED_FALLBACKS
    ),
    "refusal takes an attempt number": Mutant(
        refusal_takes_a_number,
        {"attempts are numbered without gaps", "a dead letter is that of its task"},
        GUARDED,
    ),
    "probe never given back": Mutant(
        probe_never_given_back, {"a probe that is over is given back", "a run ends when all is told"}, PROBES
    ),
    "deadline ignores what was waited": Mutant(
        deadline_of_each_attempt,
        {"no attempt starts after its deadline", "no retry waits past its deadline"},
        TIMED,
    ),
    "deadline counts time without an owner": Mutant(
        deadline_runs_without_owner,
        {"a deadline passes when it has come", "every agent has its attempts"},
        TIMED,
    ),
    "deadline of the run forgotten": Mutant(
        run_deadline_forgotten, {"no attempt starts after its deadline"}, TIMED
    ),
    "retry beside what did not stop": Mutant(
        tries_beside_what_did_not_stop, {"nobody tries beside what did not stop"}, SHORT_DELAYS
    ),
    "Retry-After above max_delay": Mutant(retry_after_unbounded, {"delays are within bounds"}, SHORT_DELAYS),
    "one seed for all delays": Mutant(
        one_seed_for_all, {"delays are exactly those of the seed"}, SHORT_DELAYS
    ),
    "letter after each crash": Mutant(
        letter_after_each_crash, {"a fatal failure has one dead letter"}, FATAL_FAILURES
    ),
    "retry of a letter opens all": Mutant(
        retry_opens_all, {"a retry leaves other failures alone"}, FATAL_FAILURES
    ),
    "end before all is told": Mutant(ends_before_all_is_told, {"a run ends when all is told"}, GUARDED),
    "signal received again": Mutant(signals_forgotten, {"a signal is received once"}, FATAL_FAILURES),
}
