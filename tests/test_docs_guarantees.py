"""The page of the promises: what it names is there, and what is looked at is named."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.page_blocks import DOCS, ROOT

TEXT = (DOCS / "guarantees.md").read_text(encoding="utf-8")
CHECKED = (ROOT / "tests" / "simulator" / "invariants.py").read_text(encoding="utf-8")
PROMISES = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").glob("promises*.py")))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:pytest )?(tests/\w+\.py)`", TEXT))))
def test_a_test_that_is_named_is_there(name: str):
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("module", sorted(set(re.findall(r"`python -m ([\w.]+)", TEXT))))
def test_a_command_that_is_named_is_there(module: str):
    assert importlib.util.find_spec(f"{module}.__main__") is not None


@pytest.mark.parametrize("name", sorted(set(re.findall(r'(?:name = |expect\()"([^"]+)"', CHECKED))))
def test_an_invariant_of_the_simulator_is_on_the_page(name: str):
    assert f"| {name} |" in TEXT


def test_a_promise_that_is_named_is_looked_at():
    table = TEXT.partition("| promise | in words |\n")[2].partition("\n\n")[0]
    named = re.findall(r"^\| ([^|`]+) \|", table, re.MULTILINE)
    assert len(named) > 8
    for name in named:
        if not name.startswith("-"):
            assert f'"{name}"' in PROMISES, name
