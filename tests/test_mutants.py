"""The hunts are trusted because they notice: each mutant breaks a promise by name, and the code as it is none."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.__main__ import verdict
from tests.mutants.catalogue import MUTANTS, hunts

GLANCE = 0.016
"""The part of a machine's examples that shows whether it finds something where there is nothing."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_killed_by_the_promise_it_breaks(name: str) -> None:
    mutant = MUTANTS[name]
    broken = mutant.killed_by()
    assert broken is not None
    assert broken.promise in mutant.broken, broken


@pytest.mark.parametrize("name", hunts())
def test_the_code_as_it_is_breaks_no_promise_where_a_mutant_does(name: str) -> None:
    hunts()[name].look(GLANCE)


def test_a_sentence_says_what_is_broken() -> None:
    assert [name for name, mutant in MUTANTS.items() if not re.fullmatch(r"[A-Z`].*\.", mutant.what)] == []


def test_the_command_names_the_promise_that_kills_each() -> None:
    names = ["chain not checked", "mark not written"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants", *names, "--jobs", "1"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    *table, last = done.stdout.splitlines()
    rows = [cells for line in table if len(cells := [cell.strip() for cell in line.split("|")]) == 4]
    killed = {name: promise for name, _, promise, seconds in rows if seconds and name in names}
    assert list(killed.items()) == [
        (names[0], "what is read is what was written"),
        (names[1], "nothing acknowledged is missing unnoticed"),
    ]
    assert (last, done.returncode) == ("2 mutants, all killed", 0)


@pytest.mark.parametrize(
    ("false_alarms", "survivors", "told"),
    [
        ([], [], "3 mutants, all killed"),
        ([], ["a", "b"], "3 mutants, 2 survive: a, b"),
        (["c"], ["a"], "3 mutants, and false alarms by the hunts for: c"),
    ],
)
def test_a_survivor_and_a_false_alarm_are_named_and_fail(false_alarms, survivors, told) -> None:
    assert verdict(3, false_alarms, survivors) == (told, 0 if told.endswith("killed") else 1)
