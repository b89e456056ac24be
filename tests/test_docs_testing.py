"""The page about testing workflows: its programs run, one after the other, as a reader would paste them; its tables name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from actorflow import testing
from actorflow.testing import plugin, strategies
from actorflow.testing.strategies import EVERY_FEATURE
from tests.page_blocks import DOCS, blocks_of

PAGE = DOCS / "testing.md"
PATIENT = """
from hypothesis import HealthCheck, settings
settings.register_profile("patient", suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=20)
settings.load_profile("patient")
"""
"""The machine may be busy with something else."""

TEXT = PAGE.read_text(encoding="utf-8")


def test_every_program_of_the_page_runs(tmp_path: Path):
    programs: list[str] = []
    for block in blocks_of(PAGE):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            programs.append(block.text)
    assert len(programs) > 10
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join([PATIENT, *programs])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_ten_lines_of_the_first_test_are_ten():
    first = next(block.text for block in blocks_of(PAGE) if block.language == "python")
    body = first.partition("whatever_crashes():\n")[2].partition("\n\n")[0]
    assert len(body.splitlines()) <= 10


@pytest.mark.parametrize("name", [*testing.__all__, *strategies.__all__])
def test_every_public_name_has_words_of_its_own(name: str):
    owner = testing if name in testing.__all__ else strategies
    value = getattr(owner, name)
    is_type_of_many = (
        not hasattr(value, "__module__") or "typing" in str(type(value)) or isinstance(value, frozenset)
    )
    assert is_type_of_many or value.__doc__


def test_every_public_name_is_in_the_reference():
    reference = (DOCS / "reference" / "api.rst").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto\w+:: (\w+)", reference, re.MULTILINE)
    public = {*testing.__all__, *strategies.__all__, *plugin.__all__}
    assert [name for name in sorted(public) if documented.count(name) != 1] == []


def test_the_page_names_all_fixtures_features_steps_and_answers():
    named = set(re.findall(r"`(\w+)", TEXT))
    steps = {
        each.__name__
        for each in (
            *get_args(testing.AgentStep),
            *get_args(testing.FakeAnswer),
            *get_args(testing.CommandEnd),
        )
    }
    assert {*plugin.__all__, *EVERY_FEATURE, *steps} <= named
