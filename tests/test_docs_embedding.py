"""The page about the runtime inside a program: its example prints what it says, its table names what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import actorflow
from actorflow.core.lifecycle import LIFECYCLE

PAGE = (Path(__file__).parent.parent / "docs" / "embedding.md").read_text(encoding="utf-8")


def test_the_example_prints_what_stands_below_it(tmp_path: Path):
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == printed


def test_the_table_has_every_event_that_has_a_name_in_the_lifecycle():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((name, kind.__name__) for kind, name in LIFECYCLE.items())


def test_the_facade_has_at_most_forty_names():
    assert len(actorflow.__all__) <= 40
    assert all(getattr(actorflow, name).__doc__ for name in actorflow.__all__)
