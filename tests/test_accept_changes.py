"""A run goes on by a changed definition, as long as what has begun is as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from crash_checks import Recorded, check_crashed, check_ended, check_journal, recorded
from crash_lives import BACKENDS, Death, Life, live_through
from crash_workflows import RUN_ID

from actorflow import AgentCall, Runtime, UnboundAgentsError, WorkflowSpec, load_dict
from actorflow.core.events import AttemptStarted, DefinitionChanged
from actorflow.errors import ChangeRefusedError

BASE: dict[str, Any] = {
    "name": "base",
    "tasks": {
        "first": {"agent": "quick"},
        "second": {"agent": "held", "depends_on": ["first"]},
        "third": {"agent": "quick", "depends_on": ["second"], "with": {"n": 1}},
        "fourth": {"agent": "quick", "depends_on": ["third"]},
    },
}
"""In which the first task has succeeded, the second is cut off, and the others have not begun."""


class Agents:
    """Agents that remember what they were given."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.is_at_work = anyio.Event()
        self.let_go = anyio.Event()

    @property
    def by_name(self) -> dict[str, Any]:
        return {"quick": self.quick, "held": self.held}

    async def quick(self, call: AgentCall) -> str:
        """Take no time."""
        self.calls.append((call.task, call.input))
        return call.task

    async def held(self, call: AgentCall) -> str:
        """Wait to be let go."""
        self.calls.append((call.task, call.input))
        self.is_at_work.set()
        await self.let_go.wait()
        return call.task


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state.db"


def changed(tasks: dict[str, Any], **others: Any) -> WorkflowSpec:
    """The base with some of its tasks in another form, or gone where there is None."""
    all_tasks = {**BASE["tasks"], **tasks}
    kept = {name: task for name, task in all_tasks.items() if task is not None}
    return load_dict({**BASE, **others, "tasks": kept}, trust="own")


async def paused(store: str) -> None:
    """Leave the base where it is cut off."""
    agents = Agents()
    async with Runtime(store=store, agents=agents.by_name) as rt:
        handle = await rt.start(changed({}), run_id=RUN_ID)
        await agents.is_at_work.wait()
        await handle.pause(grace_s=0.0)


@pytest.mark.anyio
async def test_what_has_not_begun_may_be_changed_added_and_removed(store, tmp_path):
    await paused(store)
    agents = Agents()
    agents.let_go.set()
    spec = changed(
        {
            "third": {"agent": "quick", "depends_on": ["second"], "with": {"n": 2}},
            "fourth": None,
            "fifth": {"agent": "quick", "depends_on": ["first"], "with": {"n": 5}},
        },
        outputs={"fifth": "{{ tasks.fifth.output }}"},
    )
    async with Runtime(store=store, agents=agents.by_name) as rt:
        result = await rt.resume(RUN_ID, accept=spec)
        assert (result.status, list(result.tasks)) == ("success", ["first", "second", "third", "fifth"])
        assert result.outputs == {"fifth": "fifth"}
        assert await rt.get(RUN_ID) == result
        assert [row.workflow for row in await rt.list()] == ["base"]
        assert (await rt.resume(RUN_ID)).outputs == {"fifth": "fifth"}
    assert sorted(agents.calls, key=str) == [("fifth", {"n": 5}), ("second", {}), ("third", {"n": 2})]
    run = checked(tmp_path)
    [change] = run.of(DefinitionChanged)
    assert run.spec.tasks == spec.tasks
    assert change.bindings == {"quick": "code", "held": "code"}


@pytest.mark.anyio
async def test_the_next_crash_finds_the_changed_definition(store, tmp_path):
    await paused(store)
    spec = changed({"third": {"agent": "quick", "depends_on": ["second"], "with": {"n": 2}}})
    cut_off = Agents()
    async with Runtime(store=store, agents=cut_off.by_name) as rt:
        handle = await rt.start_resumed(RUN_ID, accept=spec)
        await cut_off.is_at_work.wait()
        await handle.pause(grace_s=0.0)
        assert (await rt.get(RUN_ID)).status == "paused"
    agents = Agents()
    agents.let_go.set()
    async with Runtime(store=store, agents=agents.by_name) as rt:
        assert (await rt.resume(RUN_ID)).status == "success"
    assert ("third", {"n": 2}) in agents.calls
    assert len(checked(tmp_path).of(DefinitionChanged)) == 1


@pytest.mark.anyio
async def test_all_that_stands_against_a_change_is_told_and_the_run_is_as_it_was(store, tmp_path):
    await paused(store)
    before = recorded(tmp_path)
    agents = Agents()
    agents.let_go.set()
    spec = changed(
        {"first": None, "second": {"agent": "held", "timeout": "5s"}},
        inputs={"n": {"type": "number", "default": 1}},
        hooks={"post_workflow": ["true"]},
    )
    async with Runtime(store=store, agents=agents.by_name) as rt:
        with pytest.raises(ChangeRefusedError) as refused:
            await rt.resume(RUN_ID, accept=spec)
        assert refused.value.problems == (
            "the inputs changed",
            "the workflow's hooks changed",
            "task 'first' has begun, and is not there any more",
            "task 'second' has begun, and changed",
        )
        assert recorded(tmp_path) == before
        assert (await rt.resume(RUN_ID)).status == "success"
    checked(tmp_path)


@pytest.mark.anyio
async def test_a_task_may_not_be_put_before_one_that_has_begun(store):
    await paused(store)
    agents = Agents()
    spec = changed(
        {"zeroth": {"agent": "quick"}, "second": {"agent": "held", "depends_on": ["first", "zeroth"]}}
    )
    async with Runtime(store=store, agents=agents.by_name) as rt:
        with pytest.raises(ChangeRefusedError, match="task 'second' has begun, and changed"):
            await rt.resume(RUN_ID, accept=spec)


@pytest.mark.anyio
async def test_an_agent_of_a_task_that_has_begun_may_not_be_another(store):
    agents = Agents()
    runners = {"held": {"command": "exec sleep 60"}}
    async with Runtime(store=store, agents={"quick": agents.quick}, grace_s=0.0) as rt:
        handle = await rt.start(changed({}, agents=runners), run_id=RUN_ID)
        async for _, event in handle.events():
            if isinstance(event, AttemptStarted) and event.task == "second":
                break
        await handle.pause(grace_s=0.0)
        with pytest.raises(ChangeRefusedError, match="task 'second' has begun, and an agent of it changed"):
            await rt.resume(RUN_ID, accept=changed({}, agents={"held": {"command": "true"}}))


def checked(folder: Path) -> Recorded:
    """What is in the store, which is as it should be after any resume."""
    run = recorded(folder)
    check_journal(run)
    return run


def failing(command: str) -> WorkflowSpec:
    return load_dict(
        {
            "name": "mendable",
            "tasks": {
                "fine": {"agent": "quick"},
                "wrong": {"command": command, "depends_on": ["fine"]},
                "below": {
                    "agent": "quick",
                    "depends_on": ["wrong"],
                    "with": {"got": "{{ tasks.wrong.output }}"},
                },
            },
        },
        trust="own",
    )


@pytest.mark.anyio
async def test_a_failed_run_whose_command_is_mended_goes_on_and_succeeds(store, tmp_path):
    agents = Agents()
    async with Runtime(store=store, agents=agents.by_name) as rt:
        assert (await rt.run(failing("exit 3"), run_id=RUN_ID)).status == "failed"
        assert [letter.task for letter in await rt.dead_letters()] == ["wrong"]
        result = await rt.resume(RUN_ID, accept=failing("echo mended"))
        assert (result.status, result.generation, result.tasks["wrong"].attempts) == ("success", 2, 2)
        assert await rt.dead_letters() == []
    assert agents.calls == [("fine", {}), ("below", {"got": "mended"})]
    checked(tmp_path)


@pytest.mark.anyio
async def test_of_an_ended_run_what_succeeded_may_not_be_changed(store):
    agents = Agents()
    spec = load_dict({"name": "mendable", "tasks": {"fine": {"agent": "quick", "timeout": "5s"}}})
    async with Runtime(store=store, agents=agents.by_name) as rt:
        await rt.run(failing("exit 3"), run_id=RUN_ID)
        with pytest.raises(ChangeRefusedError, match="task 'fine' has begun, and changed"):
            await rt.resume(RUN_ID, accept=spec)


@pytest.mark.anyio
async def test_agents_that_come_with_a_change_are_recorded_and_those_without_a_runner_refused(
    store, tmp_path
):
    await paused(store)
    spec = changed({"third": {"agent": "new", "depends_on": ["second"]}})
    agents = Agents()
    agents.let_go.set()
    async with Runtime(store=store, agents=agents.by_name) as rt:
        with pytest.raises(UnboundAgentsError, match="new"):
            await rt.resume(RUN_ID, accept=spec)
        [row] = await rt.list()
        assert (row.summary.status, row.owner_pid) == ("paused", None)
    checked(tmp_path)
    held = Agents()
    async with Runtime(store=store, agents=held.by_name | {"new": "echo"}) as rt:
        handle = await rt.start_resumed(RUN_ID, accept=spec)
        await held.is_at_work.wait()
        await handle.pause(grace_s=0.0)
    async with Runtime(store=store, agents=agents.by_name) as rt:
        result = await rt.resume(RUN_ID)
    assert (result.status, result.tasks["third"].agent) == ("success", "new")


@pytest.mark.anyio
async def test_a_change_of_a_run_that_goes_on_here_is_refused(store):
    agents = Agents()
    async with Runtime(store=store, agents=agents.by_name, grace_s=0.0) as rt:
        await rt.start(changed({}), run_id=RUN_ID)
        await agents.is_at_work.wait()
        with pytest.raises(ChangeRefusedError, match="it is running"):
            await rt.resume(RUN_ID, accept=changed({"fourth": None}))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_as_a_change_is_kept_leaves_the_run_with_the_one_definition_or_the_other(
    moment, backend, tmp_path
):
    assert live_through(Life(tmp_path, "fan", backend, Death("after", 3))) is None
    deadly = Death(moment, keeps="ChangeDefinition")
    assert live_through(Life(tmp_path, "fan", backend, deadly, accept="changed-fan")) is None
    left = check_crashed(tmp_path)
    assert len(left[0].of(DefinitionChanged)) == (moment == "after")
    report = live_through(Life(tmp_path, "fan", backend))
    assert report is not None
    assert report.facts["outputs"]["total"] == (2 if moment == "after" else 96)
    check_ended(tmp_path, left)
