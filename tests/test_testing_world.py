"""Worlds: time, crashes, faults, and what a process that is dead can no longer do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from actorflow import AgentCall, HookContext, RunResult, load_dict
from actorflow.core.events import AttemptLost, AttemptStarted, RetryScheduled
from actorflow.errors import FencedError, RunNotFoundError, RunOwnedElsewhereError, StoreFailed
from actorflow.spec.model import WorkflowSpec
from actorflow.testing import (
    CommitFault,
    Crashes,
    Exits,
    Fails,
    Hangs,
    Process,
    Replies,
    Returns,
    ScriptedAgent,
    World,
    crash_at,
    crash_now,
    simulate,
)

SINK = "https://hooks.example.com/"
HOURLY = {"max_attempts": 3, "delay": "1h", "backoff": "constant", "jitter": "none", "max_delay": "1h"}


def workflow(tasks: dict[str, Any], **more: Any) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": tasks, **more}, trust="own")


def diamond() -> WorkflowSpec:
    """Four tasks, one of them retried, a webhook for each, and a command at the end."""
    hooks = {
        "task_finished": [{"type": "webhook", "params": {"url": f"{SINK}{{{{ task.id }}}}"}}],
        "post_workflow": [{"type": "command", "params": {"command": "sweep"}}],
    }
    tasks = {
        "a": {"agent": "x"},
        "b": {"agent": "x", "depends_on": ["a"]},
        "c": {"agent": "y", "depends_on": ["a"], "retry": HOURLY},
        "d": {"agent": "x", "depends_on": ["b", "c"]},
    }
    return workflow(tasks, hooks=hooks)


def agents() -> dict[str, ScriptedAgent]:
    return {"x": ScriptedAgent(Returns(1, after_s=60.0)), "y": ScriptedAgent(Fails("no"), Returns(2))}


def simulated(spec: WorkflowSpec | None = None, **facts: Any) -> Any:
    given = {"agents": agents(), "allow_hosts": [SINK], **facts}
    return simulate(diamond() if spec is None else spec, **given)


async def go_on(process: Process, spec: WorkflowSpec) -> RunResult:
    try:
        handle = await process.runtime.start_resumed("r-1")
    except RunNotFoundError:
        handle = await process.runtime.start(spec, run_id="r-1")
    return await handle.settled()


def test_what_is_waited_for_takes_no_time_and_is_told_exactly():
    plain = simulated()
    assert plain.result.status == "success"
    assert plain.took_s == pytest.approx(3600 + 120, abs=2.0)
    (retry,) = [event for event in plain.events if isinstance(event, RetryScheduled)]
    starts = [event.at for event in plain.events if isinstance(event, AttemptStarted) and event.task == "c"]
    assert starts[1] - retry.at == pytest.approx(3600.0, abs=0.1)
    assert [request.command for request in plain.commands] == ["sweep"]
    assert {received.url for received in plain.received} == {f"{SINK}{name}" for name in "abcd"}


def test_a_run_ends_alike_wherever_its_process_dies():
    plain = simulated()
    ends = [crashed.ending for crashed in plain.crashed_everywhere()]
    assert len(ends) == 2 * plain.commit_counts[0] > 20
    assert ends == [plain.ending] * len(ends)


def test_a_run_ends_alike_where_processes_die_in_its_recovery_too():
    plain = simulated()
    for second in (crash_at(1, "before"), crash_at(1, "after"), crash_at(2, "after")):
        crashed = plain.crashed(crash_at(4, "after"), second, second)
        assert crashed.ending == plain.ending
        assert len(crashed.commit_counts) == 4


def test_before_a_commit_nothing_of_it_is_kept_and_after_it_all_of_it():
    plain = simulated()
    before, after = plain.crashed(crash_at(2, "before")), plain.crashed(crash_at(2, "after"))
    assert [body.call.task for body in before.bodies][:2] == ["a", "a"]
    assert [body.call.task for body in after.bodies].count("a") == 1


@pytest.mark.parametrize("kind", ["full", "error_before", "error_after"])
@pytest.mark.parametrize("commit", [1, 2, 3, 7])
def test_a_run_ends_alike_whatever_its_store_says(kind: Any, commit: int):
    plain = simulated()
    faulty = simulated(faults=[CommitFault(commit, kind)], crashes=[crash_at(10_000, "before")])
    assert faulty.ending == plain.ending
    assert len(faulty.commit_counts) == 2


def test_a_store_that_is_busy_is_waited_for():
    plain, busy = simulated(), simulated(faults=[CommitFault(2, "busy", 500.0)])
    assert busy.ending == plain.ending
    assert busy.took_s == pytest.approx(plain.took_s + 500.0, abs=2.0)


def test_a_seed_says_it_all_and_another_one_says_something_else():
    hashes = [simulated(seed=seed).trace_hash for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_seed_gives_the_same_trace_in_another_process_with_other_hashes_of_strings():
    program = "from tests.test_testing_world import simulated; print(simulated(seed=5).trace_hash)"
    run = [sys.executable, "-c", program]
    told = [
        subprocess.run(
            run,
            env={"PYTHONHASHSEED": number, "PATH": "/usr/bin:/bin"},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for number in ("1", "77")
    ]
    assert told == [simulated(seed=5).trace_hash] * 2


def test_an_agent_may_take_its_process_down_and_is_lost_with_it():
    spec = workflow({"a": {"agent": "x"}})
    crashed = simulate(spec, agents={"x": ScriptedAgent(Crashes(after_s=5.0), Crashes(), Returns("done"))})
    assert crashed.result.status == "success"
    assert crashed.result.tasks["a"].losses == 2
    assert [type(event) for event in crashed.events].count(AttemptLost) == 2
    assert [body.ended_at is None for body in crashed.bodies] == [True, True, False]


def test_only_agents_of_a_world_can_crash():
    with pytest.raises(RuntimeError, match=r"actorflow\.testing"):
        anyio.run(crash_now)


def test_what_a_dead_process_still_does_reaches_nobody():
    """Its agents end, its hooks would be told: nothing of that is seen, sent, run or kept."""
    spec = diamond()
    told: list[str] = []

    async def story(world: World) -> RunResult:
        async with world.process(agents=agents(), allow_hosts=[SINK]) as process:

            @process.runtime.on("task_finished")
            async def note(context: HookContext) -> None:
                told.append(context.delivery_id)

            await process.runtime.start(spec, run_id="r-1")
            await anyio.sleep(30.0)
            process.kill()
            await anyio.sleep(80_000.0)
        assert (world.http.received, world.commands.ran, told) == ([], [], [])
        commit_count = len(world.commits)
        await anyio.sleep(80_000.0)
        assert len(world.commits) == commit_count
        async with world.process(agents=agents(), allow_hosts=[SINK]) as process:
            process.runtime.on("task_finished", name="note")(note)
            return await go_on(process, spec)

    with World() as world:
        assert world.run(story).status == "success"
    assert len(told) == 4


def test_a_stopped_process_is_taken_over_after_half_a_minute_and_writes_nothing_more():
    spec = workflow({"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": ["a"]}})

    async def story(world: World) -> tuple[str, int]:
        outcome: list[RunResult] = []

        async def other() -> None:
            async with world.process(agents=agents()) as process:
                await anyio.sleep(15.0)
                with pytest.raises(RunOwnedElsewhereError):
                    await process.runtime.start_resumed("r-1", take_over=True)
                await anyio.sleep(25.0)
                handle = await process.runtime.start_resumed("r-1", take_over=True)
                outcome.append(await handle.settled())

        async with anyio.create_task_group() as group:
            with pytest.raises(FencedError):
                async with world.process(agents=agents()) as first:
                    handle = await first.runtime.start(spec, run_id="r-1")
                    await anyio.sleep(10.0)
                    first.stop()
                    group.start_soon(other)
                    await anyio.sleep(1000.0)
                    before = len(world.commits)
                    first.go_on()
                    await handle.settled()
        assert all(commit.process == 2 for commit in world.commits[before:])
        return outcome[0].status, outcome[0].tasks["a"].losses

    with World(seed=3) as world:
        assert world.run(story) == ("success", 1)


def test_setting_the_wall_clock_moves_no_retry_and_no_timeout():
    retry = {"max_attempts": 2, "delay": "10m", "backoff": "constant", "jitter": "none", "max_delay": "1h"}
    spec = workflow({"a": {"agent": "x", "timeout": "5m", "retry": retry}})

    async def story(world: World) -> float:
        async with world.process(agents={"x": ScriptedAgent(Hangs(), Returns())}) as process:
            handle = await process.runtime.start(spec, run_id="r-1")
            for seconds in (86_400.0, -172_800.0, 3600.0):
                await anyio.sleep(60.0)
                world.set_wall(seconds)
            assert (await handle.settled()).status == "success"
            return world.now

    with World() as world:
        assert world.run(story) == pytest.approx(900.0, abs=1.0)


def test_an_operator_in_another_process_is_heard():
    spec = workflow({"a": {"agent": "x"}})

    async def story(world: World) -> tuple[RunResult, float]:
        async with world.process(agents={"x": ScriptedAgent(Hangs())}) as runner:
            handle = await runner.runtime.start(spec, run_id="r-1")
            await anyio.sleep(7200.0)
            async with world.process() as operator:
                told = await operator.runtime.cancel("r-1")
            assert (await handle.settled()).status == "canceled"
            return told, world.now

    with World() as world:
        result, now = world.run(story)
        assert (result.status, now) == ("canceled", pytest.approx(7200.0, abs=3.0))


def test_targets_and_commands_do_as_the_world_says():
    def arrange(world: World) -> None:
        world.http.on(SINK, Replies(503), Replies())
        world.commands.on("sweep", Exits(3))

    hook = {"type": "webhook", "params": {"url": SINK}, "retry": {"max_attempts": 2, "delay": "1s"}}
    last = {"type": "command", "params": {"command": "sweep"}}
    spec = workflow({"a": {"agent": "x"}}, hooks={"task_finished": [hook], "post_workflow": [last]})
    done = simulated(spec, arrange=arrange)
    assert [each.status for each in done.deliveries] == ["delivered"]
    assert len(done.received) == 2
    assert done.result.hooks.failed == 1


def test_synchronous_agents_run_on_the_loop():
    def add(call: AgentCall) -> int:
        return call.attempt + 1

    done = simulate(workflow({"a": {"agent": "add"}}), agents={"add": add})
    assert done.result.tasks["a"].output == 2


def test_an_error_of_the_story_comes_out_of_the_world():
    async def story(world: World) -> None:
        async with world.process():
            raise ValueError("mine")

    with World() as world, pytest.raises(ValueError, match="mine"):
        world.run(story)


def test_a_failing_store_is_told_to_who_runs_the_process():
    async def story(world: World) -> None:
        async with world.process(agents=agents(), faults=[CommitFault(1, "full")]) as process:
            await process.runtime.run(workflow({"a": {"agent": "x"}}))

    with World() as world, pytest.raises(StoreFailed, match="full"):
        world.run(story)


def test_a_world_leaves_nothing_behind():
    with World() as world:
        folder = world.store.parent
        assert folder.is_dir()
    assert not folder.exists()
