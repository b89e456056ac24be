"""What templates may read, by where they stand: everything here loads; what may not be read is in the tables of problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from actorflow.spec import loads

TABLE = Path(__file__).parent / "data" / "spec" / "good_templates.txt"


def cases() -> list[object]:
    """The lines of the table: title and text."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pairs = [line.split(" | ", 1) for line in lines]
    return [pytest.param(text.encode().decode("unicode_escape"), id=title) for title, text in pairs]


@pytest.mark.parametrize("text", cases())
def test_what_may_be_read_loads(text: str):
    assert loads(text, trust="own").tasks


def test_a_task_that_no_stage_reaches_is_checked_in_the_order_that_it_would_have():
    spec = loads(
        "workflows: {w: {steps: [{stage: s, tasks: [a]}]}}\n"
        "tasks: {a: {agent: x}, b: {agent: x}, c: {agent: x, depends_on: b, with: {v: '{{ tasks.b.output }}'}}}\n"
    )

    assert [task.id for task in spec.tasks] == ["a"]
