"""The runtime as a program embeds it: on asyncio and on trio, in memory and on SQLite."""

from __future__ import annotations

import contextvars
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import sniffio

from actorflow import (
    BadInputError,
    RunExistsError,
    RunFailedError,
    RunNotFoundError,
    Runtime,
    StoreFailed,
    UnboundAgentsError,
    load_dict,
)
from actorflow.core.events import AttemptLost, AttemptStarted, CancelRequested, RunFinished
from actorflow.runtime.task_actor import TaskActor
from actorflow.runtime.workflow_actor import WorkflowActor
from actorflow.spec.model import WorkflowSpec

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}"


def workflow(tasks: dict, **more: object) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": tasks, **more}, trust="own")


async def nothing(_: object) -> None:
    return None


async def test_outputs_of_tasks_reach_their_dependants_and_the_result(store: str):
    async def double(call):
        return 2 * call.input["n"]

    spec = workflow(
        {
            "a": {"agent": "double", "with": {"n": "{{ input.n }}"}},
            "b": {"agent": "double", "with": {"n": "{{ tasks.a.output }}"}, "depends_on": ["a"]},
        },
        outputs={"n": "{{ tasks.b.output }}"},
    )
    async with Runtime(store=store, agents={"double": double}) as rt:
        result = await rt.run(spec, inputs={"n": 3})
    assert (result.status, result.outputs, result.progress) == ("success", {"n": 12}, 1.0)
    assert result.raise_for_status() is result


async def test_agents_run_on_the_back_end_of_their_host(store: str, anyio_backend: str):
    async def library(_):
        return sniffio.current_async_library()

    async with Runtime(store=store, agents={"library": library}) as rt:
        result = await rt.run(workflow({"a": {"agent": "library"}}))
    assert result.tasks["a"].output == anyio_backend


async def test_what_an_agent_is_called_with_says_who_and_where_it_is(store: str):
    calls = []

    async def note(call):
        calls.append(call)

    spec = workflow({"a": {"agent": "note", "description": "say hello"}})
    async with Runtime(store=store, agents={"note": note}) as rt:
        await rt.run(spec, inputs={"x": 1}, run_id="r-1")
    (call,) = calls
    assert (call.run_id, call.task, call.attempt, call.loss, call.agent) == ("r-1", "a", 1, 0, "note")
    assert (call.input, call.description, call.idempotency_key) == ({"x": 1}, "say hello", "r-1/a/1")


async def test_an_agent_that_changes_its_input_changes_nobody_elses(store: str):
    async def spoil(call):
        call.input["list"].append("spoiled")
        return call.input["list"]

    spec = workflow({"a": {"agent": "spoil"}, "b": {"agent": "spoil", "depends_on": ["a"]}})
    async with Runtime(store=store, agents={"spoil": spoil}) as rt:
        result = await rt.run(spec, inputs={"list": []})
    assert result.tasks["b"].output == ["spoiled"]


async def test_context_variables_of_one_attempt_are_not_seen_by_the_next_and_those_of_the_caller_are(store):
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("caller")
    seen = []

    async def read_and_set(_):
        seen.append(variable.get())
        variable.set("leaked")
        await anyio.lowlevel.checkpoint()
        assert variable.get() == "leaked"

    spec = workflow({f"t{i}": {"agent": "x"} for i in range(5)}, limits={"max_parallel": 2})
    async with Runtime(store=store, agents={"x": read_and_set}) as rt:
        assert (await rt.run(spec)).status == "success"
    assert seen == ["caller"] * 5
    assert variable.get() == "caller"


async def test_as_many_attempts_run_side_by_side_as_the_limit_says_and_never_more(store: str):
    running = peak = 0
    gate = anyio.Event()

    async def wait_for_three(_):
        nonlocal running, peak, gate
        running += 1
        peak = max(peak, running)
        mine = gate
        if running == 3:
            gate = anyio.Event()
            mine.set()
        await mine.wait()
        running -= 1

    spec = workflow({f"t{i}": {"agent": "x"} for i in range(21)}, limits={"max_parallel": 3})
    async with Runtime(store=store, agents={"x": wait_for_three}) as rt:
        assert (await rt.run(spec)).status == "success"
    assert peak == 3


async def test_a_failure_is_retried_then_given_to_the_fallback(store: str):
    async def fail(_):
        raise OSError("no route")

    async def stand_in(call):
        return call.agent

    spec = workflow(
        {
            "a": {
                "agent": "fail_",
                "on_error": {"retry": {"max_attempts": 3, "delay": 0.001}, "fallback_agent": "stand_in"},
            }
        }
    )
    async with Runtime(store=store, agents={"fail_": fail, "stand_in": stand_in}) as rt:
        result = await rt.run(spec)
    task = result.tasks["a"]
    assert (task.status, task.attempts, task.agent, task.output) == ("success", 4, "stand_in", "stand_in")
    assert not result.had_errors


async def test_the_error_of_a_failed_run_names_the_task_and_its_last_attempt(store: str):
    async def fail(_):
        raise ValueError("boom")

    spec = workflow({"a": {"agent": "x", "retry": {"max_attempts": 2, "delay": 0.001}}})
    async with Runtime(store=store, agents={"x": fail}) as rt:
        result = await rt.run(spec)
    assert result.error == {"type": "ValueError", "message": "boom", "task": "a", "attempt": 2}
    with pytest.raises(RunFailedError, match="boom"):
        result.raise_for_status()


async def test_a_timeout_ends_the_attempt_and_is_its_failure(store: str):
    ended = []

    async def hang(_):
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    spec = workflow({"a": {"agent": "x", "timeout": 0.02}})
    async with Runtime(store=store, agents={"x": hang}) as rt:
        result = await rt.run(spec)
    assert ended == [True]
    assert result.error is not None
    assert result.error["type"] == "timeout"


async def test_a_cancelled_run_ends_what_runs_and_starts_nothing_new(store: str):
    started = anyio.Event()

    async def hang(_):
        started.set()
        await anyio.sleep_forever()

    spec = workflow({"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": ["a"]}})
    async with Runtime(store=store, agents={"x": hang}) as rt:
        handle = await rt.start(spec)
        await started.wait()
        handle.cancel("enough")
        handle.cancel("again")
        result = await handle.wait()
        kinds = [type(event) for _, event in [pair async for pair in handle.events()]]
    assert (result.status, result.tasks["a"].status, result.tasks["b"].reason) == (
        "canceled",
        "canceled",
        "canceled",
    )
    assert kinds.count(CancelRequested) == 1


async def test_a_task_that_fails_beside_a_running_one_aborts_it(store: str):
    async def hang(_):
        await anyio.sleep_forever()

    async def fail(_):
        await anyio.sleep(0.005)
        raise ValueError("boom")

    spec = workflow(
        {"a": {"agent": "hang"}, "b": {"agent": "fail_"}, "c": {"agent": "hang", "depends_on": "a"}}
    )
    async with Runtime(store=store, agents={"hang": hang, "fail_": fail}) as rt:
        result = await rt.run(spec)
    assert {name: task.status for name, task in result.tasks.items()} == {
        "a": "canceled",
        "b": "failed",
        "c": "skipped",
    }


async def test_outputs_are_read_as_they_are_recorded(store: str):
    async def give(_):
        return {"pair": (1, 2)}

    async with Runtime(store=store, agents={"x": give}) as rt:
        result = await rt.run(workflow({"a": {"agent": "x"}}), run_id="r")
        assert result.tasks["a"].output == {"pair": [1, 2]}
        assert (await rt.get("r")).tasks["a"].output == {"pair": [1, 2]}


@pytest.mark.parametrize("output", [float("nan"), {1: 2}, object(), "\ud800", 2**70])
async def test_an_output_that_is_not_json_fails_its_task(store: str, output: object):
    async def give(_):
        return output

    async with Runtime(store=store, agents={"x": give}) as rt:
        result = await rt.run(workflow({"a": {"agent": "x"}}))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error["type"] == "output"


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(1), ExceptionGroup("g", [ValueError("v")])])
async def test_whatever_an_agent_raises_is_a_failure_of_its_task_alone(store: str, error: BaseException):
    async def fail(_):
        raise error

    spec = workflow({"a": {"agent": "x", "on_error": {"strategy": "skip"}}, "b": {"agent": "y"}})
    async with Runtime(store=store, agents={"x": fail, "y": nothing}) as rt:
        result = await rt.run(spec)
    assert (result.status, result.had_errors, result.tasks["a"].status) == ("success", True, "failed")


async def test_an_agent_that_cancels_itself_fails_and_its_runner_lives_on(store: str, anyio_backend: str):
    async def cancel_itself(_):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(1)
        if anyio_backend == "asyncio":
            import asyncio

            raise asyncio.CancelledError
        raise ValueError

    spec = workflow({"a": {"agent": "x", "on_error": {"strategy": "skip"}}, "b": {"agent": "y"}})
    async with Runtime(store=store, agents={"x": cancel_itself, "y": nothing}) as rt:
        result = await rt.run(spec)
    assert (result.tasks["a"].status, result.tasks["b"].status) == ("failed", "success")


async def test_an_agent_that_swallows_its_cancellation_is_timed_out_all_the_same(store: str):
    async def stubborn(_):
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)
        return "done anyway"

    spec = workflow({"a": {"agent": "x", "timeout": 0.01}, "b": {"agent": "y"}})
    async with Runtime(store=store, agents={"x": stubborn, "y": nothing}) as rt:
        result = await rt.run(spec)
    assert result.error is not None
    assert result.error["type"] == "timeout"


async def test_every_unbound_agent_is_named_before_a_run_exists(store: str):
    spec = workflow({"a": {"agent": "x"}, "b": {"agent": "y", "on_error": {"fallback_agent": "z"}}})
    async with Runtime(store=store, agents={"y": nothing}) as rt:
        with pytest.raises(UnboundAgentsError) as caught:
            await rt.run(spec)
        assert caught.value.agents == ("x", "z")
        assert list(await rt.list()) == []


async def test_all_wrong_inputs_are_named_at_once(store: str):
    spec = workflow(
        {"a": {"agent": "x"}},
        inputs={"n": {"type": "integer", "required": True}, "mode": {"type": "string", "enum": ["x", "y"]}},
    )
    async with Runtime(store=store, agents={"x": nothing}) as rt:
        with pytest.raises(BadInputError) as caught:
            await rt.run(spec, inputs={"mode": "z", "nn": 1})
        assert len(caught.value.problems) == 3
        assert (await rt.run(spec, inputs={"n": "42"})).status == "success"


async def test_a_run_id_that_exists_is_refused_and_the_first_run_goes_on(store: str):
    async with Runtime(store=store, agents={"x": nothing}) as rt:
        await rt.run(workflow({"a": {"agent": "x"}}), run_id="r")
        with pytest.raises(RunExistsError):
            await rt.run(workflow({"a": {"agent": "x"}}), run_id="r")
        assert (await rt.get("r")).status == "success"


async def test_a_run_is_found_by_the_beginning_of_its_id_and_a_wrong_one_names_the_nearest(store: str):
    async with Runtime(store=store, agents={"x": nothing}) as rt:
        await rt.run(workflow({"a": {"agent": "x"}}), run_id="order-17")
        assert (await rt.get("order")).run_id == "order-17"
        with pytest.raises(RunNotFoundError) as caught:
            await rt.get("ordre-17")
    assert caught.value.nearest == ("order-17",)


async def test_a_failed_run_is_resumed_as_its_next_generation_and_what_succeeded_is_not_run_again(store: str):
    runs: list[str] = []
    is_mended = False

    async def work(call):
        runs.append(call.task)
        if call.task == "b" and not is_mended:
            raise ValueError("boom")
        return call.idempotency_key

    spec = workflow(
        {
            "a": {"agent": "x"},
            "b": {"agent": "x", "depends_on": "a"},
            "c": {"agent": "x", "depends_on": "b"},
        }
    )
    async with Runtime(store=store, agents={"x": work}) as rt:
        assert (await rt.run(spec, run_id="r")).status == "failed"
        is_mended = True
        result = await rt.resume("r")
        again = await rt.resume("r")
    assert (result.status, result.generation) == ("success", 2)
    assert runs == ["a", "b", "b", "c"]
    assert (result.tasks["b"].attempts, result.tasks["b"].output) == (2, "r/b/2")
    assert again == result


async def test_events_are_followed_while_the_run_goes_on_from_any_number(store: str):
    gate = anyio.Event()

    async def wait(_):
        await gate.wait()

    spec = workflow({"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": "a"}})
    seen = []
    async with Runtime(store=store, agents={"x": wait}) as rt:
        handle = await rt.start(spec)
        async for number, event in handle.events():
            seen.append(number)
            if isinstance(event, AttemptStarted):
                gate.set()
        rest = [number async for number, _ in handle.events(after=3)]
    assert seen == list(range(1, len(seen) + 1))
    assert isinstance(event, RunFinished)
    assert rest == seen[3:]


async def test_leaving_the_scope_around_a_run_pauses_it_and_the_lost_attempt_runs_again(store: str):
    calls = []

    async def hang_once(call):
        calls.append((call.task, call.attempt, call.loss))
        if call.task == "b" and call.loss == 0:
            await anyio.sleep_forever()

    spec = workflow({"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": "a"}})
    async with Runtime(store=store, agents={"x": hang_once}) as rt:
        with anyio.move_on_after(0.1):
            await rt.run(spec, run_id="r")
        paused = await rt.get("r")
        result = await rt.resume("r")
    assert (paused.status, paused.tasks["a"].status) == ("paused", "success")
    assert (result.status, result.tasks["b"].losses) == ("success", 0)
    assert calls == [("a", 1, 0), ("b", 1, 0), ("b", 1, 1)]


async def test_a_pause_lets_what_runs_finish_within_its_grace_and_starts_nothing_new(store: str):
    running, gate = anyio.Event(), anyio.Event()

    async def wait(call):
        running.set()
        await gate.wait()
        return call.task

    spec = workflow({"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": "a"}})
    async with Runtime(store=store, agents={"x": wait}) as rt, anyio.create_task_group() as tasks:
        handle = await rt.start(spec, run_id="r")
        await running.wait()
        tasks.start_soon(handle.pause)
        await anyio.sleep(0.01)
        gate.set()
        result = await handle.wait()
        assert (result.status, result.tasks["a"].output, result.tasks["b"].status) == (
            "paused",
            "a",
            "pending",
        )
        assert (await rt.resume("r")).status == "success"


async def test_leaving_the_runtime_pauses_its_runs_for_another_to_resume(tmp_path: Path):
    store = f"sqlite:///{tmp_path / 'runs.db'}"

    async def hang(_):
        await anyio.sleep_forever()

    spec = workflow({"a": {"agent": "x"}})
    async with Runtime(store=store, agents={"x": hang}, grace_s=0.01) as rt:
        handle = await rt.start(spec, run_id="r")
    assert (await handle.wait()).status == "paused"
    async with Runtime(store=store, agents={"x": nothing}) as rt:
        assert (await rt.resume("r")).status == "success"


async def test_a_run_with_agents_bound_in_code_says_which_it_needs_to_be_resumed(tmp_path: Path):
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with Runtime(store=store, agents={"x": _hang, "y": "echo"}, grace_s=0) as rt:
        await rt.start(workflow({"a": {"agent": "x"}, "b": {"agent": "y"}}), run_id="r")
    async with Runtime(store=store) as rt:
        with pytest.raises(UnboundAgentsError) as caught:
            await rt.resume("r")
        assert caught.value.agents == ("x",)
    async with Runtime(store=store, agents={"x": nothing}) as rt:
        assert (await rt.resume("r")).tasks["b"].agent == "y"


async def _hang(_: object) -> None:
    await anyio.sleep_forever()


async def test_a_run_in_memory_leaves_no_trace_in_a_store_that_lasts(tmp_path: Path):
    spec = workflow({"a": {"agent": "x"}}, limits={"durability": "memory"})
    async with Runtime(store=f"sqlite:///{tmp_path / 'runs.db'}", agents={"x": nothing}) as rt:
        assert (await rt.run(spec)).status == "success"
        assert list(await rt.list()) == []
        assert rt.commit_count == 0


async def test_a_task_actor_that_crashes_loses_its_attempt_which_runs_again(store, monkeypatch):
    crashes = 2
    perform = TaskActor.perform

    async def crash_first(self):
        nonlocal crashes
        if crashes:
            crashes -= 1
            raise RuntimeError("a bug of ours")
        await perform(self)

    monkeypatch.setattr(TaskActor, "perform", crash_first)
    async with Runtime(store=store, agents={"x": nothing}) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}))
        result = await handle.wait()
        events = [event async for _, event in handle.events()]
    assert (result.status, result.tasks["a"].attempts, result.tasks["a"].losses) == ("success", 1, 2)
    assert [event.loss for event in events if isinstance(event, AttemptLost)] == [0, 1]


async def test_actors_that_crash_without_end_take_the_runtime_down_with_the_cause(store, monkeypatch):
    async def crash(_):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(TaskActor, "perform", crash)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Runtime(store=store, agents={"x": nothing}) as rt:
            await rt.run(workflow({f"t{i}": {"agent": "x"} for i in range(9)}))
    assert caught.group_contains(RuntimeError, match="a bug of ours")


async def test_a_workflow_actor_that_crashes_goes_on_from_the_journal(store, monkeypatch):
    receive = WorkflowActor._receive
    calls = []
    is_crashed = False

    def crash_once(self, message):
        nonlocal is_crashed
        if len(calls) == 2 and not is_crashed:
            is_crashed = True
            raise RuntimeError("a bug of ours")
        receive(self, message)

    async def note(call):
        calls.append((call.task, call.loss))

    monkeypatch.setattr(WorkflowActor, "_receive", crash_once)
    spec = workflow(
        {"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": "a"}, "c": {"agent": "x", "depends_on": "b"}}
    )
    async with Runtime(store=store, agents={"x": note}) as rt:
        result = await rt.run(spec)
    assert is_crashed
    assert result.status == "success"
    assert calls == [("a", 0), ("b", 0), ("b", 1), ("c", 0)]


async def test_a_store_that_fails_says_so_to_every_caller_and_leaving_does_not_hang(tmp_path, monkeypatch):
    async with Runtime(store=f"sqlite:///{tmp_path / 'runs.db'}", agents={"x": _hang}) as rt:
        handles = [await rt.start(workflow({"a": {"agent": "x"}})) for _ in range(3)]

        def fail(_):
            raise StoreFailed("the disk is gone")

        monkeypatch.setattr(type(rt._opened.staff.store.journal), "commit", lambda *_: fail(_))
        for handle in handles:
            handle.cancel()
        for handle in handles:
            with pytest.raises(StoreFailed, match="the disk is gone"):
                await handle.wait()


async def test_the_text_that_a_shell_reads_in_an_argv_is_never_rendered(store: str):
    spec = workflow(
        {
            "a": {
                "command": ["sh", "-c", 'printf \'%s\' "$WHO {{.Names}} $$" | sed "s/$$\\$/pid/"'],
                "env": {"WHO": "{{ input.who }}"},
            },
            "b": {"command": ["printf", "%s", "{{ input.who }} $$5"]},
        }
    )
    async with Runtime(store=store) as rt:
        result = await rt.run(spec, inputs={"who": "$(reboot)"})
    assert result.tasks["a"].output == "$(reboot) {{.Names}} pid"
    assert result.tasks["b"].output == "$(reboot) $5"


async def test_an_error_of_the_body_leaves_the_runtime_as_it_is(store: str):
    with pytest.raises(ValueError, match="mine"):
        async with Runtime(store=store, agents={"x": nothing}) as rt:
            await rt.run(workflow({"a": {"agent": "x"}}))
            raise ValueError("mine")


async def test_the_star_binds_what_was_bound_in_code_before(tmp_path: Path):
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with Runtime(store=store, agents={"x": _hang}, grace_s=0) as rt:
        await rt.start(workflow({"a": {"agent": "x"}}), run_id="r")
    async with Runtime(store=store, agents={"*": "echo"}) as rt:
        assert (await rt.resume("r")).status == "success"
