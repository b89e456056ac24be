"""What keeps a hook from acting: its own terms, the environment, the switch of the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actorflow import HookContext, Runtime
from tests.hooked_runs import AGENTS, ECHO, Words, finished_hooks, registry_with, sqlite, workflow

pytestmark = pytest.mark.anyio

MODES = ("async", "blocking")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else sqlite(tmp_path)


async def told_by(store: str, hooks: list[dict[str, Any]], **given: Any) -> tuple[list[str], dict[str, str]]:
    """What hooks on the end of a task have said, and for those that did not act why."""
    said: list[str] = []

    async def act(context: HookContext, params: Words) -> None:
        said.append(params.say)

    registry = registry_with(act)
    named = [{"type": "act", "params": {"say": str(place)}, **hook} for place, hook in enumerate(hooks)]
    spec = workflow({"a": ECHO}, {"task_finished": named}, actions=registry.contracts)
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(spec, **given)
        result = await handle.settled()
        settled = [(each.hook, each.status, each.record) for each in await handle.deliveries()]
        ended = finished_hooks([event async for _, event in handle.events()])
    settled += [(f"task_finished[{each.index}]", each.status, each.record) for each in ended]
    reasons = {hook: str(record["reason"]) for hook, status, record in settled if status == "skipped"}
    assert result.status == "success"
    assert result.hooks.skipped == len(reasons) == len(hooks) - len(said)
    return said, reasons


@pytest.mark.parametrize("mode", MODES)
async def test_a_condition_that_is_false_passes_a_hook_over(store: str, mode: str):
    hooks = [
        {"when": "task.status == 'success'"},
        {"when": "task.status == 'failed'"},
        {"enabled": "input.loud"},
        {"enabled": False},
        {"enabled": True},
    ]
    said, reasons = await told_by(store, [{"mode": mode, **hook} for hook in hooks], inputs={"loud": False})
    assert sorted(said) == ["0", "4"]
    assert reasons == {
        "task_finished[1]": "when is false",
        "task_finished[2]": "not enabled",
        "task_finished[3]": "not enabled",
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("here", "acts"), [(None, "dev"), ("development", "dev"), ("prod", "prod")])
async def test_the_environment_of_the_process_chooses(
    store: str, monkeypatch: pytest.MonkeyPatch, mode: str, here: str | None, acts: str
):
    if here is None:
        monkeypatch.delenv("ACTORFLOW_ENV", raising=False)
    else:
        monkeypatch.setenv("ACTORFLOW_ENV", here)
    hooks = [
        {"mode": mode, "environments": ["development"], "params": {"say": "dev"}},
        {"mode": mode, "environments": ["staging", "prod"], "params": {"say": "prod"}},
        {"mode": mode, "params": {"say": "any"}},
    ]
    said, reasons = await told_by(store, hooks)
    assert sorted(said) == sorted([acts, "any"])
    assert len(reasons) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("switch", "says"),
    [
        ("off", []),
        ("page", ["1", "2"]),
        ("task_finished[1]", ["0", "2"]),
        ("act", []),
        ("page, task_finished[2]", ["1"]),
        ("somebody", ["0", "1", "2"]),
    ],
)
async def test_a_switch_of_the_process_keeps_hooks_from_acting(
    store: str, monkeypatch: pytest.MonkeyPatch, mode: str, switch: str, says: list[str]
):
    monkeypatch.setenv("ACTORFLOW_HOOKS", switch)
    said, reasons = await told_by(store, [{"mode": mode, "name": "page"}, {"mode": mode}, {"mode": mode}])
    assert sorted(said) == says
    assert all("ACTORFLOW_HOOKS" in reason for reason in reasons.values())


async def test_a_transform_that_is_waited_for_is_not_switched_as_the_run_goes_by_it(
    store: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ACTORFLOW_HOOKS", "off")
    transform = {"type": "transform", "mode": "blocking", "params": {"set": {"n": "1"}, "output": {"n": 5}}}
    task = {"agent": "echo", "allow_transform": True, "hooks": {"task_finished": [transform]}}
    async with Runtime(store=store, agents=AGENTS) as rt:
        result = await rt.run(workflow({"a": task}))
    assert result.tasks["a"].output == {"n": 5}


@pytest.mark.parametrize("mode", MODES)
async def test_a_hook_that_is_to_be_disabled_is_after_so_many_failures(store: str, mode: str):
    count = 0

    async def act(context: HookContext, params: Words) -> None:
        nonlocal count
        count += 1
        raise ConnectionError("no route")

    registry = registry_with(act)
    hook = {"type": "act", "mode": mode, "on_error": "disable", "disable_after": 3}
    tasks = {f"t{n}": ECHO for n in range(10)}
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(
            workflow(tasks, {"task_finished": [hook]}, actions=registry.contracts, limits={"max_parallel": 1})
        )
        result = await handle.settled()
    assert (result.status, count, result.hooks.skipped) == ("success", 3, 7)
