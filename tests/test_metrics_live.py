"""A live runtime's metrics: those that its journal tells afterwards, and what only a live one knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from actorflow import AgentCall, Runtime, load_dict
from actorflow.journal import open_journal
from actorflow.metrics.collecting import collect
from actorflow.metrics.snapshot import Distribution, Snapshot
from actorflow.spec.model import WorkflowSpec

pytestmark = pytest.mark.anyio

_RETRIED = {"retry": {"max_attempts": 3, "delay": "1ms", "jitter": "none"}}


def workflow(mode: str) -> WorkflowSpec:
    """Two tasks, one of which is retried, with a metric for each that is recorded in this mode."""
    rows = {"type": "metric", "mode": mode, "params": {"name": "rows", "value": "{{ output.rows }}"}}
    return load_dict(
        {
            "name": "sync",
            "hooks": {"pre_workflow": ["true"], "task_finished": [rows]},
            "tasks": {
                "fetch": {"agent": "flaky", "on_error": _RETRIED},
                "store": {"agent": "fine", "depends_on": ["fetch"]},
            },
        },
        trust="own",
    )


@pytest.mark.parametrize("mode", ["blocking", "async"])
async def test_a_runtime_measures_what_its_journal_tells_afterwards(mode: str, tmp_path: Path):
    store = f"sqlite:///{tmp_path / 'runs.db'}"

    async def flaky(call: AgentCall) -> dict[str, int]:
        if call.attempt < 3:
            raise ConnectionError("down")
        return {"rows": 3}

    async with Runtime(store=store, agents={"flaky": flaky, "fine": lambda _: {"rows": 4}}) as rt:
        metrics = rt.metrics
        for _ in range(2):
            handle = await rt.start(workflow(mode))
            await handle.settled()
    live = metrics.snapshot()
    told = collected(store)
    commits = live.family("actorflow_commit_seconds")
    assert commits is not None
    assert isinstance(commits.series[0].value, Distribution)
    assert commits.series[0].value.count > 0
    assert told == without(live, "actorflow_commit_seconds")
    counted = {family.name: [each.value for each in family.series] for family in told.families}
    assert counted["actorflow_retries_total"] == [4.0]
    assert counted["rows"] == [14.0]
    assert counted["actorflow_hook_deliveries_total"] == [2.0, 4.0]  # the command, and the metric
    assert counted["actorflow_hook_backlog"] == [0]


def collected(store: str) -> Snapshot:
    journal = open_journal(store)
    try:
        return collect(journal, journal.runs())
    finally:
        journal.close()


def without(snapshot: Snapshot, name: str) -> Snapshot:
    return evolve(snapshot, families=tuple(each for each in snapshot.families if each.name != name))
