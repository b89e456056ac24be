"""Where mutants of the core are hunted: machines that do whatever can happen to runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from actorflow.spec.model import TaskSpec
from tests.machine import Driver
from tests.mutants.mutant import Machine
from tests.scenarios import workflow
from tests.test_core_machine import AnyMachine, GivenMachine, settle_with_breakers

ANY: Final = Machine(AnyMachine)
"""One run of any workflow."""


def begun(driver: Driver) -> None:
    """Its first attempts run."""
    settle_with_breakers(driver)


def first_ended(result: str, *, is_kept: bool = True) -> Callable[[Driver], None]:
    """The first of its attempts has ended so, and perhaps nothing of that is kept yet."""

    def end(driver: Driver) -> None:
        begun(driver)
        driver.happen(driver.outcome(0, result))
        if is_kept:
            settle_with_breakers(driver)

    return end


def two_runs(
    *tasks: TaskSpec, opening: Callable[[Driver], None] = lambda driver: None, **more: Any
) -> Machine:
    """Two runs of a workflow, which share their breakers."""
    return Machine(partial(GivenMachine, workflow(*tasks, **more), opening))
