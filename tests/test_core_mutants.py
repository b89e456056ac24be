"""The machine is trusted because it notices: each mutant breaks a promise by name, and the core as it is breaks none."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.mutants import MUTANTS
from tests.test_core_machine import BrokenPromise, RunMachine

BOUNDED = settings(
    max_examples=400,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # the first breach will do, however long
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_killed_by_the_promise_it_breaks(name: str) -> None:
    mutant = MUTANTS[name]
    with mutant.switch(), pytest.raises(BrokenPromise) as caught:
        run_state_machine_as_test(RunMachine, settings=BOUNDED)
    assert caught.value.promise in mutant.broken


def test_the_core_as_it_is_breaks_no_promise() -> None:
    run_state_machine_as_test(RunMachine, settings=settings(BOUNDED, max_examples=60))
