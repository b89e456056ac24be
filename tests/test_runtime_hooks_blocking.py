"""Blocking hooks of tasks, stages and runs, through a Runtime: who waits for them, and what becomes of who waited."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from actorflow import HookContext, Runtime
from actorflow.core.events import CancelRequested, HookFinished, HookLost
from tests.hooked_runs import (
    AGENTS,
    ECHO,
    Words,
    ends_of_hooks,
    finished_hooks,
    registry_with,
    sqlite,
    workflow,
)

pytestmark = pytest.mark.anyio

ENTRY = {"w": {"steps": [{"stage": "one", "tasks": ["a"]}, {"stage": "two", "tasks": ["b"]}]}}
CHAIN: dict[str, Any] = {"a": ECHO, "b": {"agent": "echo", "depends_on": ["a"]}}


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else sqlite(tmp_path)


def hook(command: str = "true", **more: object) -> dict[str, Any]:
    return {"command": command, "mode": "blocking", **more}


def of_a(**lists: object) -> dict[str, Any]:
    """A chain of two tasks, the first with these hooks."""
    return {**CHAIN, "a": {"agent": "echo", "hooks": lists}}


class TestWhoWaits:
    async def test_a_task_begins_behind_its_hooks_and_what_depends_on_it_behind_those_on_its_end(
        self, store: str
    ):
        told: list[str] = []

        async def note(context: HookContext, params: Words) -> None:
            told.append(f"{context.event} {context.task['id']} {context.status}")

        async def work(call) -> None:
            told.append(f"work {call.task}")

        registry = registry_with(note)
        lists = {event: [{"type": "act", "mode": "blocking"}] for event in ("task_started", "task_finished")}
        spec = workflow(
            {"a": {"agent": "work"}, "b": {"agent": "work", "depends_on": ["a"]}},
            lists,
            actions=registry.contracts,
        )
        async with Runtime(store=store, agents={"work": work}, hooks=registry) as rt:
            result = await rt.run(spec)

        assert result.status == "success"
        assert told == [
            line
            for task in "ab"
            for line in (f"task_started {task} pending", f"work {task}", f"task_finished {task} success")
        ]

    async def test_they_stand_in_the_journal_with_the_task_or_stage_that_they_are_about(self, store: str):
        spec = workflow(
            of_a(task_started=[hook()], task_finished=[hook("exit 3"), hook()]),
            {"on_stage_complete": [hook("echo $WORKFLOW_STAGE")], "pre_workflow": [hook()]},
            workflows=ENTRY,
        )
        async with Runtime(store=store, agents=AGENTS) as rt:
            handle = await rt.start(spec)
            result = await handle.settled()
            ends = await ends_of_hooks(handle)
            events = [event async for _, event in handle.events()]

        assert ends == [
            ("pre_workflow", "", 0, "ok"),
            ("task_started", "a", 0, "ok"),
            ("task_finished", "a", 0, "failed"),
            ("task_finished", "a", 1, "ok"),
            ("on_stage_complete", "one", 0, "ok"),
            ("on_stage_complete", "two", 0, "ok"),
        ]
        assert (result.hooks.delivered, result.hooks.failed, result.hooks.pending) == (5, 1, 0)
        printed = [hook.record["stdout"] for hook in finished_hooks(events) if hook.subject in ("one", "two")]
        assert printed == ["one\n", "two\n"]

    async def test_hooks_of_tasks_take_the_slots_of_attempts(self, store: str):
        running: set[str] = set()
        most = 0

        async def count(name: str) -> None:
            nonlocal most
            running.add(name)
            most = max(most, len(running))
            await anyio.lowlevel.checkpoint()
            running.discard(name)

        async def act(context: HookContext, params: Words) -> None:
            await count(f"{context.event} {context.task['id']}")

        async def work(call) -> None:
            await count(call.task)

        registry = registry_with(act)
        lists = {event: [{"type": "act", "mode": "blocking"}] for event in ("task_started", "task_finished")}
        tasks = {f"t{n}": {"agent": "work"} for n in range(8)}
        spec = workflow(tasks, lists, actions=registry.contracts, limits={"max_parallel": 2})
        async with Runtime(store=store, agents={"work": work}, hooks=registry) as rt:
            result = await rt.run(spec)

        assert (result.status, result.hooks.delivered) == ("success", 16)
        assert most <= 2


FAILURES = {
    "task_started": {"a": "failed", "b": "skipped"},
    "task_finished": {"a": "failed", "b": "skipped"},
}


class TestWhatAFailureMeans:
    @pytest.mark.parametrize("event", FAILURES)
    async def test_one_that_says_fail_fails_its_task_and_the_rest_of_the_list_does_not_run(
        self, store: str, event: str
    ):
        lists = {event: [hook(), hook("exit 2", on_error="fail", name="gate"), hook()]}
        async with Runtime(store=store, agents=AGENTS) as rt:
            handle = await rt.start(workflow(of_a(**lists)))
            result = await handle.settled()
            ends = await ends_of_hooks(handle)

        assert {name: task.status for name, task in result.tasks.items()} == FAILURES[event]
        assert (result.status, result.error["type"], result.error["task"]) == ("failed", "hook_failed", "a")
        assert result.error["message"] == f"{event} hook 'gate' failed: exited with status 2"
        assert result.tasks["a"].attempts == (0 if event == "task_started" else 1)
        assert ends == [(event, "a", 0, "ok"), (event, "a", 1, "failed")]

    async def test_a_failed_stage_fails_the_run_and_the_next_does_not_begin(self, store: str):
        lists = {"on_stage_complete": [hook("exit 2", on_error="fail"), hook()]}
        async with Runtime(store=store, agents=AGENTS) as rt:
            handle = await rt.start(workflow(CHAIN, lists, workflows=ENTRY))
            result = await handle.settled()
            ends = await ends_of_hooks(handle)

        assert (result.status, result.error["type"]) == ("failed", "hook_failed")
        assert {name: task.status for name, task in result.tasks.items()} == {"a": "success", "b": "skipped"}
        assert ends == [("on_stage_complete", "one", 0, "failed")]

    async def test_a_task_that_a_hook_has_failed_can_have_a_handler(self, store: str):
        tasks = of_a(task_finished=[hook("exit 2", on_error="fail")])
        tasks["mend"] = {"agent": "echo", "depends_on": [{"task": "a", "on": "failure"}]}
        async with Runtime(store=store, agents=AGENTS) as rt:
            result = await rt.run(workflow(tasks))
        assert (result.status, result.had_errors, result.tasks["mend"].status) == ("success", True, "success")

    async def test_one_that_fails_otherwise_is_recorded_and_nothing_else(self, store: str):
        lists = {event: [hook("exit 7"), hook("kill -9 $$")] for event in ("task_started", "task_finished")}
        async with Runtime(store=store, agents=AGENTS) as rt:
            result = await rt.run(workflow(of_a(**lists)))
        assert (result.status, result.had_errors) == ("success", False)
        assert (result.hooks.delivered, result.hooks.failed, result.hooks.dead_letters) == (0, 4, 0)

    async def test_one_that_is_to_be_disabled_is_skipped_after_so_many_failures_in_a_row(self, store: str):
        lists = {"task_finished": [hook("exit 1", on_error="disable", disable_after=2)]}
        tasks = {f"t{n}": {"agent": "echo", "depends_on": [f"t{n - 1}"] if n else []} for n in range(4)}
        async with Runtime(store=store, agents=AGENTS) as rt:
            handle = await rt.start(workflow(tasks, lists))
            result = await handle.settled()
            ends = await ends_of_hooks(handle)
        assert [status for *_, status in ends] == ["failed", "failed", "skipped", "skipped"]
        assert (result.status, result.hooks.skipped) == ("success", 2)

    async def test_each_try_has_its_timeout_and_its_turn_and_all_of_them_are_recorded(self, store: str):
        numbers: list[int] = []

        async def act(context: HookContext, params: Words) -> dict[str, int]:
            numbers.append(context.number)
            match context.number:
                case 1:
                    raise ConnectionError("no route")
                case 2:
                    await anyio.sleep_forever()
            return {"tried": context.number}

        registry = registry_with(act)
        retrying = {
            "type": "act",
            "mode": "blocking",
            "on_error": "fail",
            "timeout": "20ms",
            "retry": {"max_attempts": 3, "delay": "1ms"},
        }
        spec = workflow(of_a(task_finished=[retrying]), actions=registry.contracts)
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            handle = await rt.start(spec)
            result = await handle.settled()
            (ended,) = finished_hooks([event async for _, event in handle.events()])

        assert (result.status, numbers, ended.status) == ("success", [1, 2, 3], "ok")
        assert ended.record["tried"] == 3
        assert [each["status"] for each in ended.record["tries"]] == ["failed", "timed_out", "ok"]
        assert ended.record["tries"][0]["error"] == "ConnectionError: no route"

    async def test_a_command_that_takes_too_long_is_ended_and_has_timed_out(self, store: str):
        lists = {"task_started": [hook("echo begun; sleep 60", timeout="200ms", on_error="fail")]}
        async with Runtime(store=store, agents=AGENTS) as rt:
            handle = await rt.start(workflow(of_a(**lists)))
            result = await handle.settled()
            (ended,) = finished_hooks([event async for _, event in handle.events()])
        assert (result.status, ended.status, ended.record["stdout"]) == ("failed", "timed_out", "begun\n")


class Held:
    """An action that is held up in its first try, or in all of them, until it is ended."""

    def __init__(self, *, times: int = 1) -> None:
        self.times = times
        self.is_reached = anyio.Event()
        self.numbers: list[int] = []

    async def act(self, context: HookContext, params: Words) -> None:
        self.numbers.append(context.number)
        if self.times:
            self.times -= 1
            self.is_reached.set()
            await anyio.sleep_forever()


BLOCKING = {"type": "act", "mode": "blocking", "timeout": "1h"}
HELD_AT = ("pre_workflow", "task_started", "task_finished", "on_stage_complete", "post_workflow")


class TestWhatCutsThemOff:
    @pytest.mark.parametrize("event", HELD_AT)
    async def test_one_that_a_pause_has_cut_off_runs_again_and_those_before_it_do_not(
        self, tmp_path: Path, event: str
    ):
        held = Held()
        registry = registry_with(held.act)
        lists = {event: [hook("echo x >> first"), BLOCKING, hook("echo x >> last")]}
        spec = workflow(
            {"a": ECHO}, lists, actions=registry.contracts, folder=tmp_path, workflows={"w": ONE_STAGE}
        )
        async with Runtime(store=sqlite(tmp_path), agents=AGENTS, hooks=registry) as rt:
            handle = await rt.start(spec, run_id="r")
            await held.is_reached.wait()
            paused = await handle.pause(grace_s=0.0)
            resumed = await rt.start_resumed("r")
            result = await resumed.settled()
            events = [event async for _, event in resumed.events()]

        assert (paused.status, result.status, result.tasks["a"].attempts) == ("paused", "success", 1)
        assert [type(e).__name__ for e in events if isinstance(e, HookLost)] == ["HookLost"]
        assert [e.index for e in events if isinstance(e, HookFinished)] == [0, 1, 2]
        assert ((tmp_path / "first").read_text(), (tmp_path / "last").read_text()) == ("x\n", "x\n")
        assert held.numbers == [1, 1], "what is cut off uses no try"

    @pytest.mark.parametrize("event", ["pre_workflow", "task_started"])
    async def test_a_cancel_ends_those_that_something_has_yet_to_begin_behind(self, store: str, event: str):
        held = Held(times=9)
        registry = registry_with(held.act)
        spec = workflow(
            {"a": ECHO}, {event: [BLOCKING], "post_workflow": [hook()]}, actions=registry.contracts
        )
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            handle = await rt.start(spec)
            await held.is_reached.wait()
            handle.cancel()
            result = await handle.settled()
            ends = await ends_of_hooks(handle)

        assert (result.status, result.tasks["a"].attempts) == ("canceled", 0)
        subject = "" if event == "pre_workflow" else "a"
        assert ends == [(event, subject, 0, "canceled"), ("post_workflow", "", 0, "ok")]

    async def test_a_cancel_waits_for_those_on_an_end(self, store: str):
        is_reached, may_go_on = anyio.Event(), anyio.Event()

        async def act(context: HookContext, params: Words) -> None:
            is_reached.set()
            await may_go_on.wait()

        registry = registry_with(act)
        spec = workflow(of_a(task_finished=[BLOCKING]), actions=registry.contracts)
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            handle = await rt.start(spec)
            await is_reached.wait()
            handle.cancel()
            may_go_on.set()
            result = await handle.settled()
            ends = await ends_of_hooks(handle)

        assert ends == [("task_finished", "a", 0, "ok")]
        statuses = {name: task.status for name, task in result.tasks.items()}
        assert (result.status, statuses) == ("canceled", {"a": "success", "b": "skipped"})

    @pytest.mark.parametrize("event", ["task_started", "task_finished", "on_stage_complete"])
    @pytest.mark.parametrize("is_canceled_before", [False, True])
    async def test_a_cancel_at_once_waits_for_none_of_a_task_or_stage(
        self, store: str, event: str, is_canceled_before: bool
    ):
        held = Held(times=9)
        registry = registry_with(held.act)
        lists = {event: [BLOCKING, BLOCKING], "post_workflow": [hook("echo cleaned up")]}
        spec = workflow(CHAIN, lists, actions=registry.contracts, workflows=ENTRY)
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            handle = await rt.start(spec, run_id="r")
            await held.is_reached.wait()
            if is_canceled_before:
                handle.cancel()
            result = await rt.cancel("r", now=True)
            events = [event async for _, event in handle.events()]

        asked = next(index for index, each in enumerate(events) if isinstance(each, CancelRequested))
        ends = [(each.event, each.status) for each in finished_hooks(events[asked:])]
        assert finished_hooks(events[:asked]) == [], "they end once the cancel is kept"
        assert set(ends[:-1]) == {(event, "canceled")}
        assert ends[-1] == ("post_workflow", "ok")
        assert held.numbers == [1], "those behind it do not act any more"
        assert (result.status, result.tasks["b"].attempts) == ("canceled", 0)

    async def test_a_cancel_at_once_leaves_those_on_the_end_of_the_run_their_time(self, store: str):
        is_reached, may_go_on = anyio.Event(), anyio.Event()

        async def act(context: HookContext, params: Words) -> None:
            is_reached.set()
            await may_go_on.wait()

        registry = registry_with(act)
        spec = workflow({"a": ECHO}, {"post_workflow": [BLOCKING, hook()]}, actions=registry.contracts)
        async with (
            Runtime(store=store, agents=AGENTS, hooks=registry) as rt,
            anyio.create_task_group() as group,
        ):
            handle = await rt.start(spec, run_id="r")
            await is_reached.wait()
            group.start_soon(partial(rt.cancel, "r", now=True))
            await anyio.wait_all_tasks_blocked()
            may_go_on.set()
            result = await handle.settled()
            ends = await ends_of_hooks(handle)

        assert result.status == "success"
        assert ends == [("post_workflow", "", 0, "ok"), ("post_workflow", "", 1, "ok")]

    async def test_a_task_whose_vetting_hook_a_cancel_cuts_short_runs_again_when_the_run_goes_on(
        self, store: str
    ):
        held = Held()
        registry = registry_with(held.act)
        spec = workflow(of_a(task_finished=[{**BLOCKING, "on_error": "fail"}]), actions=registry.contracts)
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            await rt.start(spec, run_id="r")
            await held.is_reached.wait()
            canceled = await rt.cancel("r", now=True)
            resumed = await rt.resume("r")

        assert (canceled.status, canceled.tasks["a"].status) == ("canceled", "failed")
        assert (resumed.status, resumed.tasks["a"].attempts) == ("success", 2)


ONE_STAGE = {"steps": [{"stage": "one", "tasks": ["a"]}]}


class TestTransforms:
    async def test_an_output_that_a_transform_replaces_is_the_output_for_everybody(self, store: str):
        tasks = {
            "a": {
                "agent": "echo",
                "with": {"n": 20},
                "allow_transform": True,
                "hooks": {
                    "task_finished": [
                        hook('echo "$N"', env={"N": "{{ output.n }}"}),
                        {
                            "type": "transform",
                            "mode": "blocking",
                            "params": {
                                "set": {"n": "output.input.n + 1"},
                                "output": {"n": "{{ (output.input.n + 1) * 2 }}"},
                            },
                        },
                        {"type": "log", "params": {"message": "{{ output.n }} of {{ vars.n }}"}},
                    ]
                },
            },
            "b": {"agent": "echo", "depends_on": ["a"], "with": {"got": "{{ tasks.a.output.n }}"}},
        }
        async with Runtime(store=store, agents=AGENTS) as rt:
            handle = await rt.start(workflow(tasks, outputs={"n": "{{ tasks.a.output.n }}"}), run_id="r")
            result = await handle.settled()
            events = [event async for _, event in handle.events()]
            (told,) = await handle.deliveries()
            read_again = await rt.get("r")

        assert (result.tasks["a"].output, result.outputs) == ({"n": 42}, {"n": 42})
        assert result.tasks["b"].output["input"] == {"got": 42}
        transformed, command = finished_hooks(events)
        assert transformed.record == {"vars": {"n": 21}, "output": {"n": 42}}
        assert command.record["stdout"] == "42\n"
        assert read_again.tasks == result.tasks
        assert told.status == "delivered"

    async def test_one_that_sets_variables_alone_leaves_the_output_as_it_is(self, store: str):
        transform = {"type": "transform", "mode": "blocking", "params": {"set": {"n": "1"}}}
        async with Runtime(store=store, agents=AGENTS) as rt:
            result = await rt.run(
                workflow({"a": {**ECHO, "with": {"n": 1}, "hooks": {"task_finished": [transform]}}})
            )
        assert result.tasks["a"].output["input"] == {"n": 1}

    async def test_a_result_that_is_recorded_is_not_computed_again(self, tmp_path: Path):
        held = Held()
        registry = registry_with(held.act)
        transform = {
            "type": "transform",
            "mode": "blocking",
            "params": {"set": {"n": "1"}, "output": "{{ now() }}"},
        }
        tasks = {
            "a": {"agent": "echo", "allow_transform": True, "hooks": {"task_finished": [transform, BLOCKING]}}
        }
        spec = workflow(tasks, actions=registry.contracts)
        async with Runtime(store=sqlite(tmp_path), agents=AGENTS, hooks=registry) as rt:
            handle = await rt.start(spec, run_id="r")
            await held.is_reached.wait()
            await handle.pause(grace_s=0.0)
            resumed = await rt.start_resumed("r")
            result = await resumed.settled()
            events = [event async for _, event in resumed.events()]
        first = finished_hooks(events)[0]
        assert result.tasks["a"].output == first.record["output"] < result.ended_at
        assert sum("output" in each.record for each in finished_hooks(events)) == 1
