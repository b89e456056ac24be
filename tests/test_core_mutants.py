"""The machines are trusted because they notice: each mutant breaks a promise by name, and the core as it is none."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.mutants import MUTANTS
from tests.mutants_of_hooks import MUTANTS_OF_HOOKS
from tests.mutants_of_recovery import MUTANTS_OF_RECOVERY
from tests.promises import BrokenPromise

ALL_MUTANTS = {**MUTANTS, **MUTANTS_OF_RECOVERY, **MUTANTS_OF_HOOKS}

BOUNDED = settings(
    max_examples=500,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # the first breach will do, however long
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.mark.parametrize("name", ALL_MUTANTS)
def test_a_mutant_is_killed_by_the_promise_it_breaks(name: str) -> None:
    mutant = ALL_MUTANTS[name]
    with mutant.switch(), pytest.raises(BrokenPromise) as caught:
        run_state_machine_as_test(mutant.machine, settings=BOUNDED)
    assert caught.value.promise in mutant.broken, caught.value


@pytest.mark.parametrize("name", [n for n, each in ALL_MUTANTS.items() if isinstance(each.machine, partial)])
def test_the_core_as_it_is_breaks_no_promise_where_a_mutant_does(name: str) -> None:
    run_state_machine_as_test(ALL_MUTANTS[name].machine, settings=settings(BOUNDED, max_examples=8))
