"""The page of the promises: what is promised stands on it, what it names is there, and what is looked at is named."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.page_blocks import DOCS, ROOT
from tests.simulator.verdict import NOTHING_ELSE
from tests.test_docs_pages import promises_of

TEXT = (DOCS / "guarantees.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests"
NAME = re.compile(r'(?:name = |expect\()"([^"]+)"')
BY_SEEDS = set(NAME.findall((TESTS / "simulator" / "invariants.py").read_text(encoding="utf-8")))
OF_HISTORIES = {
    name for path in TESTS.glob("promises*.py") for name in NAME.findall(path.read_text(encoding="utf-8"))
}
BY_COMPARING = {
    "the same seed gives the same trace",
    "crashes change nothing of the end",
    "hooks change no task event",
}
"""What one history alone cannot show."""


def test_each_promise_of_the_readme_stands_there_with_its_limits():
    promised = promises_of(ROOT / "README.md")
    assert len(promised) > 5
    assert [sentence for sentence in promised if f"\n| {sentence} | " not in TEXT] == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"tests/[\w/]+\.py", TEXT))))
def test_a_file_of_tests_that_is_named_is_there(name: str):
    assert (ROOT / name).is_file()


@pytest.mark.parametrize(("name", "test"), re.findall(r"(tests/\w+\.py)::(\w+)", TEXT))
def test_a_test_that_is_named_is_there(name: str, test: str):
    assert f"def {test}(" in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("module", sorted(set(re.findall(r"`python -m ([\w.]+)", TEXT))))
def test_a_command_that_is_named_is_there(module: str):
    assert importlib.util.find_spec(f"{module}.__main__") is not None


@pytest.mark.parametrize("name", sorted(BY_SEEDS))
def test_an_invariant_of_the_simulator_is_on_the_page(name: str):
    assert name in _named()


def test_an_invariant_that_is_named_is_looked_at():
    assert _named() - BY_SEEDS - OF_HISTORIES == {NOTHING_ELSE, *BY_COMPARING}


def test_each_row_says_what_holds_it():
    by = [row.rstrip("| ").rpartition(" | ")[2] for row in _rows()]
    assert len(by) > 40
    assert [held for held in by if not re.search(r"`(pytest )?(tests/|python -m )", held)] == []


def test_as_many_mutants_are_told_of_as_there_are():
    assert f"in {len(MUTANTS)} ways" in TEXT
    assert f"{len(MUTANTS)} mutants" in (ROOT / "README.md").read_text(encoding="utf-8")


def _rows() -> list[str]:
    """Of all tables of invariants."""
    tables = re.findall(r"^\| invariant \| .*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


def _named() -> set[str]:
    return {row.split(" | ")[0].removeprefix("| ") for row in _rows()}
