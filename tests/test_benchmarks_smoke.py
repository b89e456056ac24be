"""The benchmarks run, and what they say of commits holds at any speed; margins for time are wide."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from benchmarks.measure import BACKENDS, Backend, measure
from benchmarks.report import document, machine, tables
from benchmarks.workloads import NAMES, Name, workload

MOST_RATIO = 15.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_commits_are_as_few_as_promised_and_no_workload_is_far_off_the_bare_coordinator(
    name: Name, backend: Backend, tmp_path: Path
) -> None:
    work = workload(name, 200)
    measured = anyio.run(partial(measure, work, backend, rounds=3, folder=tmp_path), backend=backend)
    assert max(measured.commits) <= work.commit_limit
    if work.run_count == 1:
        assert measured.ratio("actorflow durable", "coordinator durable") < MOST_RATIO


def test_the_report_has_every_contestant_and_a_verdict_for_each_target(tmp_path: Path) -> None:
    work = workload("W1", 20)
    measured = anyio.run(partial(measure, work, "asyncio", rounds=1, folder=tmp_path))
    text = tables([measured], machine(tmp_path))
    for contestant in measured.seconds:
        assert contestant in text
    assert [each["what"] for each in document([measured], {})["results"][0]["targets"]] == [
        "commits",
        "times the coordinator, durable",
    ]
