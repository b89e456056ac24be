"""The failure rules of the format, as a table: on the bare core, and in a runtime on both event loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from ruamel.yaml import YAML

from actorflow import AgentCall, Runtime
from actorflow.core.events import Failure
from actorflow.runtime.result import RunResult, result_of
from actorflow.spec import WorkflowSpec, load_dict
from tests.scripted import ScriptedRun

CASES: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(
    Path(__file__).with_name("data").joinpath("order_rules.yaml").read_text()
)
every_rule = pytest.mark.parametrize("case", CASES, ids=[case["rule"] for case in CASES])


def workflow(case: dict[str, Any]) -> WorkflowSpec:
    definition: dict[str, Any] = {
        "tasks": {name: {"agent": name, **task} for name, task in case["tasks"].items()},
        "limits": {"max_parallel": case.get("max_parallel", 100)},
    }
    if "steps" in case:
        definition["workflows"] = {"main": {"steps": case["steps"]}}
    return load_dict(definition)


def expect(case: dict[str, Any], result: RunResult) -> None:
    ends = {name: f"{task.status} {task.reason or ''}".strip() for name, task in result.tasks.items()}
    assert ends == case["ends"]
    assert result.status == case["run"]
    assert result.had_errors == case.get("had_errors", result.status == "failed")
    for name, attempts in case.get("attempts", {}).items():
        assert result.tasks[name].attempts == attempts


@every_rule
def test_a_rule_holds_on_the_bare_core(case: dict[str, Any]) -> None:
    run = ScriptedRun(
        workflow(case),
        lambda start: Failure("Broken", "no luck") if start.agent in case.get("fails", ()) else None,
    )
    slow = {*case.get("slow", ()), *case.get("slow_but_sure", ())}
    while run.running or run.state.next_due_at() is not None:
        if not run.running:
            run.now = max(run.now, run.state.next_due_at() or 0.0)
        quick = [name for name in run.running if name not in slow] or list(run.running)
        run.happen(*[run.outcome(name) for name in quick[:1]])
    expect(case, result_of(run.state, []))


@every_rule
@pytest.mark.anyio
async def test_a_rule_holds_in_a_runtime(case: dict[str, Any]) -> None:
    others_have_failed = anyio.Event()

    async def perform(call: AgentCall) -> None:
        if call.agent in case.get("slow", ()):
            await anyio.sleep_forever()
        if call.agent in case.get("slow_but_sure", ()):
            await others_have_failed.wait()
        if call.agent in case.get("fails", ()):
            if call.agent == case["fails"][-1]:
                others_have_failed.set()
            raise RuntimeError("no luck")

    async with Runtime(store="memory:", agents={"*": perform}) as runtime:
        expect(case, await runtime.run(workflow(case)))
