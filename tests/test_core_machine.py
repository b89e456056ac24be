"""Machines that do to runs whatever can happen to them, in any order, and hold them to the promises.

One draws any workflow, and has one run of it; one draws workflows with hooks all around; the third draws small ones that
fail, wait and time out all the time, and has two runs of each, which share their circuit breakers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actorflow.core.events import CancelRequested, DeadLettered, PauseRequested, Resumed, SignalReceived
from actorflow.core.step import next_generation
from actorflow.spec.model import WorkflowSpec
from tests.machine import Driver, Run, World
from tests.promises import expect
from tests.scenarios import workflows

RESULTS = [
    *["succeeds"] * 3, *["fails"] * 4, *["times out"] * 2,
    "is not found", "does not stop", "asks for time", "asks for ages",
]  # fmt: skip
NUMBERS = st.integers(0, 7)
STEPS_LEFT = 400
"""More than any of these runs takes to its end once outcomes keep coming."""


class RunMachine(RuleBasedStateMachine):
    """All that can happen to runs."""

    world: World
    checked: dict[str, tuple[int, ...]]

    def begin(self, spec: WorkflowSpec, runs: int) -> None:
        self.world, self.checked = World(), {}
        for _ in range(runs):
            self.world.start(spec)
        for driver in self.world.drivers:
            driver.commit()

    def drivers(self, is_wanted: Callable[[Driver], object]) -> list[Driver]:
        return [driver for driver in self.world.drivers if is_wanted(driver)]

    def a_driver(self, number: int, is_wanted: Callable[[Driver], object] = lambda driver: True) -> Driver:
        found = self.drivers(is_wanted)
        return found[number % len(found)]

    @precondition(lambda self: self.world.drivers)
    @rule(number=NUMBERS)
    def commit(self, number: int) -> None:
        self.a_driver(number).commit()

    @precondition(lambda self: self.drivers(has_bodies))
    @rule(run=NUMBERS, number=NUMBERS, result=st.sampled_from(RESULTS), is_committed=st.booleans())
    def an_attempt_ends(self, run: int, number: int, result: str, is_committed: bool) -> None:
        driver = self.a_driver(run, has_bodies)
        driver.happen(driver.outcome(number, result))
        if is_committed:
            driver.commit()

    @precondition(lambda self: self.drivers(has_bodies))
    @rule(run=NUMBERS, results=st.lists(st.sampled_from(RESULTS), min_size=1, max_size=12))
    def attempts_end(self, run: int, results: Sequence[str]) -> None:
        driver = self.a_driver(run, has_bodies)
        for number, result in enumerate(results):
            if driver.bodies:
                driver.happen(driver.outcome(number, result))
            settle_with_breakers(driver)

    @precondition(lambda self: self.drivers(has_bodies))
    @rule(run=NUMBERS, results=st.lists(st.sampled_from(RESULTS), min_size=2, max_size=4))
    def attempts_end_at_once(self, run: int, results: Sequence[str]) -> None:
        driver = self.a_driver(run, has_bodies)
        ends = [driver.outcome(0, result) for result in results[: len(driver.bodies)]]
        driver.happen(*ends)
        settle_with_breakers(driver)

    @precondition(lambda self: self.drivers(has_answers))
    @rule(number=NUMBERS, is_committed=st.booleans())
    def breakers_answer(self, number: int, is_committed: bool) -> None:
        driver = self.a_driver(number, has_answers)
        driver.hear_breaker()
        if is_committed:
            driver.commit()

    @precondition(lambda self: self.drivers(has_hook))
    @rule(run=NUMBERS, number=NUMBERS, status=st.sampled_from(["ok", "ok", "ok", "failed", "timed_out"]))
    def a_hook_ends(self, run: int, number: int, status: str) -> None:
        driver = self.a_driver(run, has_hook)
        driver.end_hook(number, status)
        driver.commit()

    @rule(share=st.sampled_from([0.5, 1.0, 1.0, 1.0, 1.5]))
    def time_passes(self, share: float) -> None:
        self.pass_time(share)

    def pass_time(self, share: float) -> None:
        """Go on to when something is due, or on the way there, or somewhat too late."""
        times = [due_at for each in self.world.drivers if (due_at := each.state.next_due_at()) is not None]
        self.world.now += max(0.0, min(times, default=self.world.now + 1.0) - self.world.now) * share
        for driver in self.world.drivers:
            driver.happen()
            driver.commit()

    @precondition(lambda self: self.world.drivers)
    @rule(number=NUMBERS, is_kept=st.booleans())
    def a_process_dies(self, number: int, is_kept: bool) -> None:
        self.a_driver(number).run.die(is_kept=is_kept)

    @precondition(lambda self: any(run.driver is None for run in self.world.runs))
    @rule(gap_s=st.sampled_from([0.0, 0.0, 3.0, 100.0]))
    def a_run_is_taken_up(self, gap_s: float) -> None:
        self.world.now += gap_s
        self.orphans()[0].take_up()

    def orphans(self) -> list[Run]:
        return [run for run in self.world.runs if run.driver is None]

    @precondition(lambda self: self.drivers(is_going))
    @rule(number=NUMBERS, gap_s=st.sampled_from([0.0, 30.0]))
    def a_run_is_taken_over(self, number: int, gap_s: float) -> None:
        self.world.now += gap_s
        self.a_driver(number, is_going).run.stop()

    @precondition(lambda self: any(run.stopped for run in self.world.runs))
    @rule()
    def a_stopped_process_wakes(self) -> None:
        for run in self.world.runs:
            for driver in run.stopped:
                driver.commit()
            run.stopped.clear()

    @precondition(lambda self: self.drivers(is_going))
    @rule(number=NUMBERS)
    def pause(self, number: int) -> None:
        driver = self.a_driver(number, is_going)
        if not driver.state.is_pausing:
            driver.happen(PauseRequested(driver.now, ""))

    @precondition(lambda self: self.drivers(is_pausing))
    @rule(number=NUMBERS)
    def resume(self, number: int) -> None:
        driver = self.a_driver(number, is_pausing)
        driver.happen(Resumed(driver.now))
        driver.commit()

    @precondition(lambda self: self.drivers(is_under_way))
    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        driver = self.a_driver(number, is_under_way)
        driver.happen(CancelRequested(driver.now, ""))

    @precondition(lambda self: self.drivers(is_going))
    @rule(number=NUMBERS, signal_id=st.sampled_from("ab"))
    def signal(self, number: int, signal_id: str) -> None:
        driver = self.a_driver(number, is_going)
        if signal_id not in driver.state.signal_ids:
            driver.happen(SignalReceived(driver.now, "go", None, signal_id))

    @precondition(lambda self: self.drivers(is_over))
    @rule(number=NUMBERS)
    def run_another_generation(self, number: int) -> None:
        driver = self.a_driver(number, is_over)
        driver.happen(next_generation(driver.state, driver.now))
        driver.commit()

    @precondition(lambda self: self.drivers(has_letters))
    @rule(number=NUMBERS)
    def retry_dead_letters(self, number: int) -> None:
        driver = self.a_driver(number, has_letters)
        letters = dead_letters(driver)
        retried = letters if number % 3 == 0 else letters[number % len(letters) :][:1]
        driver.happen(next_generation(driver.state, driver.now, retried))
        driver.commit()

    @invariant()
    def promises_are_kept(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.check_probes()
        for run in self.world.runs:
            at = (
                run.owner,
                len(run.writers),
                run.driver is None,
                len(run.driver.unsaved) if run.driver else 0,
            )
            if self.checked.get(run.run_id) != at:
                run.check()
                self.checked[run.run_id] = at

    def teardown(self) -> None:
        """Every run ends when outcomes keep coming; what a broken promise has left is not looked at."""
        if not hasattr(self, "world") or sys.exc_info()[0] is not None:
            return
        for _ in range(STEPS_LEFT):
            if len(self.drivers(is_over)) == len(self.world.runs):
                return
            self.go_on()
            self.promises_are_kept()
        expect("every run ends", False, [run.events for run in self.world.runs])

    def go_on(self) -> None:
        for run in self.orphans():
            run.take_up()
        is_idle = True
        for driver in self.drivers(is_going):
            driver.commit()
            is_idle &= not go_on(driver)
        if is_idle:
            self.pass_time(1.0)


def settle_with_breakers(driver: Driver) -> None:
    """Commit, and hear what the breakers say, until they have nothing to say any more."""
    driver.commit()
    while driver.answers:
        driver.hear_breaker()
        driver.commit()


def go_on(driver: Driver) -> bool:
    """Let the next thing happen to a run; False if it can only wait."""
    if driver.answers:
        driver.hear_breaker()
    elif driver.hooks:
        driver.end_hook(0, "ok")
    elif driver.bodies:
        result = "fails" if len(driver.run.events) % 3 else "succeeds"
        driver.happen(driver.outcome(len(driver.bodies), result))
    elif driver.state.is_pausing:
        driver.happen(Resumed(driver.now))
    else:
        return False
    return True


def dead_letters(driver: Driver) -> list[str]:
    """The tasks of the last generation's dead letters that have not been tried again."""
    generation = f"/{driver.state.generation}/"
    return [e.task for e in driver.run.events if isinstance(e, DeadLettered) and generation in e.letter]


def has_bodies(driver: Driver) -> bool:
    return bool(driver.bodies)


def has_answers(driver: Driver) -> bool:
    return bool(driver.answers)


def has_hook(driver: Driver) -> bool:
    return bool(driver.hooks)


def has_letters(driver: Driver) -> bool:
    return is_over(driver) and bool(dead_letters(driver))


def is_going(driver: Driver) -> bool:
    return driver.state.phase != "ended"


def is_pausing(driver: Driver) -> bool:
    return is_going(driver) and driver.state.is_pausing


def is_under_way(driver: Driver) -> bool:
    return is_going(driver) and len(driver.run.events) > 8


def is_over(driver: Driver) -> bool:
    return not is_going(driver) and not driver.unsaved


class AnyMachine(RunMachine):
    """One run of any workflow."""

    @initialize(spec=workflows(max_tasks=5))
    def start(self, spec: WorkflowSpec) -> None:
        self.begin(spec, runs=1)


class HookMachine(RunMachine):
    """One run of a workflow that waits for hooks around its tasks and stages, and may have breakers and deadlines."""

    @initialize(spec=st.one_of(workflows(4, is_hooked=True), workflows(3, is_guarded=True, is_hooked=True)))
    def start(self, spec: WorkflowSpec) -> None:
        self.begin(spec, runs=1)


class RecoveryMachine(RunMachine):
    """Two runs of a small workflow that has breakers, deadlines and a budget."""

    @initialize(spec=workflows(max_tasks=3, is_guarded=True))
    def start(self, spec: WorkflowSpec) -> None:
        self.begin(spec, runs=2)


class GivenMachine(RunMachine):
    """Two runs of a given workflow; `opening` says what has happened to each before anything else does."""

    def __init__(self, spec: WorkflowSpec, opening: Callable[[Driver], None] = lambda driver: None) -> None:
        super().__init__()
        self.spec, self.opening = spec, opening

    @initialize()
    def start(self) -> None:
        self.begin(self.spec, runs=2)
        for driver in self.world.drivers:
            self.opening(driver)


AnyMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
HookMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
RecoveryMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyRunKeepsThePromises = AnyMachine.TestCase
TestRunsThatWaitForHooksKeepThePromises = HookMachine.TestCase
TestRunsThatFailAndWaitKeepThePromises = RecoveryMachine.TestCase
