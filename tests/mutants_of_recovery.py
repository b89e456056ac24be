"""Ways to break what follows failures: retries, breakers, budgets, deadlines, dead letters, and who may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

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
from actorflow.spec.model import BreakerSpec, RetrySpec, WorkflowSpec
from tests.machine import Driver, Run
from tests.scenarios import task, workflow
from tests.switches import Mutant, also, replaced
from tests.test_core_machine import GivenMachine


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

TWICE_AS_MANY_RETRIES = workflow(task("a", attempts=3), task("b", attempts=3), retry_budget=1)
SHORT_DELAYS = workflow(
    task("a", retry=RetrySpec(max_attempts=3, max_delay=2.0)), task("b", attempts=3, strategy="finish")
)
FATAL_FAILURES = workflow(task("a", strategy="finish"), task("b", strategy="finish"), task("c", "a"))
GUARDED = workflow(
    task("a", attempts=3, breaker=BREAKER, deadline=5.0, max_losses=1),
    task("b", attempts=3, breaker=BREAKER, strategy="finish", max_losses=0),
)
GUARDED_TOGETHER = workflow(
    *(task(name, attempts=4, breaker=BREAKER, strategy="finish") for name in "abc"), max_parallel=2
)
GUARDED_TWICE = workflow(task("a", attempts=3, breaker=BreakerSpec(threshold=2, cooldown=2.0)))
NARROW = workflow(
    *(task(name, attempts=4, breaker=BREAKER, strategy="finish") for name in "abc"), max_parallel=1
)
BRIEF = workflow(task("a", attempts=3, breaker=BreakerSpec(threshold=1, window=0.5, cooldown=2.0)))
HURRIED = workflow(task("a", attempts=3, breaker=BreakerSpec(threshold=1, cooldown=4.0), deadline=3.0))
TIMED_AND_NARROW = workflow(
    task("a", attempts=9, deadline=2.5, strategy="finish"),
    *(task(name, strategy="finish") for name in "bcd"),
    max_parallel=1,
)
PROBES = workflow(task("a", attempts=9, breaker=BreakerSpec(threshold=1, cooldown=0.5), max_losses=0))
GUARDED_FALLBACKS = workflow(task("a", attempts=2, fallbacks=("second", "third"), breaker=BREAKER))
TIMED = workflow(task("a", attempts=9, deadline=2.5, strategy="finish"), task("b", "a"), deadline=6.0)
"""Where a break shows soon."""


def _mutant(switch: Callable[[], AbstractContextManager[None]], spec: WorkflowSpec, *broken: str) -> Mutant:
    return Mutant(switch, set(broken), partial(GivenMachine, spec))


MUTANTS_OF_RECOVERY = {
    "fence unchecked": _mutant(
        fence_unchecked, FATAL_FAILURES, "a fenced owner writes nothing", "performed once"
    ),
    "budget checked, then written": _mutant(
        budget_checked_then_written, TWICE_AS_MANY_RETRIES, "the budget is never exceeded"
    ),
    "two probes at once": _mutant(two_probes, GUARDED, "one probe at a time"),
    "cooldown ignored": _mutant(cooldown_ignored, GUARDED, "nobody is let through an open breaker"),
    "outcome counted twice": _mutant(
        outcome_counted_twice, GUARDED_TWICE, "a breaker opens and closes when it must"
    ),
    "late failures count": _mutant(late_failures_count, BRIEF, "a breaker opens and closes when it must"),
    "failures before it closed count": _mutant(
        closing_forgotten, GUARDED, "a breaker opens and closes when it must"
    ),
    "all that wait for a breaker ask": _mutant(
        each_asks_for_itself, GUARDED_TOGETHER, "of those that wait for a breaker, one asks"
    ),
    "leave waits for a slot": _mutant(leave_waits_for_a_slot, NARROW, "leave is used at once or not at all"),
    "deadline waits for a slot": _mutant(
        deadline_waits_for_a_slot, TIMED_AND_NARROW, "a deadline is noticed when it comes"
    ),
    "waits without hope": _mutant(hopeless_waits, HURRIED, "who has no hope does not wait"),
    "open breaker ignored by fallbacks": _mutant(
        fallbacks_pass_breakers, GUARDED_FALLBACKS, "no attempt without its breaker's leave"
    ),
    "one breaker for all agents": _mutant(
        one_breaker_for_all_agents, GUARDED_FALLBACKS, "each agent has its own breaker"
    ),
    "refused, and no fallback": _mutant(
        refused_waits_always, GUARDED_FALLBACKS, "who is refused falls back at once"
    ),
    "refusal takes an attempt number": _mutant(
        refusal_takes_a_number,
        GUARDED,
        "attempts are numbered without gaps",
        "a dead letter is that of its task",
    ),
    "probe never given back": _mutant(
        probe_never_given_back,
        PROBES,
        "a probe that is over is given back",
        "a run ends when all is told",
    ),
    "deadline ignores what was waited": _mutant(
        deadline_of_each_attempt,
        TIMED,
        "no attempt starts after its deadline",
        "no retry waits past its deadline",
    ),
    "deadline counts time without an owner": _mutant(
        deadline_runs_without_owner,
        TIMED,
        "a deadline passes when it has come",
        "every agent has its attempts",
    ),
    "deadline of the run forgotten": _mutant(
        run_deadline_forgotten, TIMED, "no attempt starts after its deadline"
    ),
    "retry beside what did not stop": _mutant(
        tries_beside_what_did_not_stop, SHORT_DELAYS, "nobody tries beside what did not stop"
    ),
    "Retry-After above max_delay": _mutant(retry_after_unbounded, SHORT_DELAYS, "delays are within bounds"),
    "one seed for all delays": _mutant(
        one_seed_for_all, SHORT_DELAYS, "delays are exactly those of the seed"
    ),
    "letter after each crash": _mutant(
        letter_after_each_crash, FATAL_FAILURES, "a fatal failure has one dead letter"
    ),
    "retry of a letter opens all": _mutant(
        retry_opens_all, FATAL_FAILURES, "a retry leaves other failures alone"
    ),
    "end before all is told": _mutant(ends_before_all_is_told, GUARDED, "a run ends when all is told"),
    "signal received again": _mutant(signals_forgotten, FATAL_FAILURES, "a signal is received once"),
}
