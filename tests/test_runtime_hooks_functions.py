"""Functions and actions of the program as hooks of real runs: whatever they do, the run ends as it would without them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import frozen

from actorflow import BadInputError, BindError, HookContext, Runtime, SpecError
from actorflow.core.events import RunStarted
from tests.hooked_runs import AGENTS, ECHO, Words, kept, registry_with, sqlite, workflow

pytestmark = pytest.mark.anyio

Function = Callable[[HookContext], Awaitable[Any]]
CHAIN: dict[str, Any] = {"a": ECHO, "b": {"agent": "echo", "depends_on": ["a"]}}


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else sqlite(tmp_path)


async def raises(_: HookContext) -> None:
    raise ConnectionError("no route")


async def raises_a_group(_: HookContext) -> None:
    raise BaseExceptionGroup("several", [ValueError("one"), SystemExit(2)])


async def exits(_: HookContext) -> None:
    raise SystemExit(3)


async def closes_itself(_: HookContext) -> None:
    raise GeneratorExit


async def returns_nonsense(_: HookContext) -> object:
    return object()


async def returns_endless_nonsense(_: HookContext) -> object:
    return {"n": float("nan"), "self": object(), "long": "x" * 1_000_000, 1: {2: 3}}


async def cancels_itself(_: HookContext) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep_forever()


async def leaks_a_cancellation(_: HookContext) -> None:
    raise anyio.get_cancelled_exc_class()


async def spoils_what_it_is_told(context: HookContext) -> None:
    context.output["input"] = "spoiled"
    context.task["status"] = "spoiled"
    context.input["spoiled"] = True


async def fails_to_say_what_is_wrong(_: HookContext) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

        __repr__ = __str__

    raise Unspeakable


MISBEHAVIOUR: dict[Function, str] = {
    raises: "dead_letter",
    raises_a_group: "dead_letter",
    exits: "dead_letter",
    closes_itself: "dead_letter",
    returns_nonsense: "failed",
    returns_endless_nonsense: "delivered",
    cancels_itself: "delivered",
    spoils_what_it_is_told: "delivered",
    fails_to_say_what_is_wrong: "dead_letter",
}


class TestMisbehaviour:
    @pytest.mark.parametrize("function", MISBEHAVIOUR, ids=lambda function: function.__name__)
    async def test_whatever_a_function_does_its_delivery_says_so_and_the_run_does_not_notice(
        self, store: str, function: Function
    ):
        async with Runtime(store=store, agents=AGENTS) as rt:
            rt.on("task_finished")(function)
            handle = await rt.start(
                workflow(CHAIN, outputs={"n": "{{ tasks.b.output.input.n }}"}), inputs={"n": 7}
            )
            result = await handle.settled()
            told = await handle.deliveries()

        assert (result.status, result.had_errors, result.outputs) == ("success", False, {"n": 7})
        assert [task.output["input"] for task in result.tasks.values()] == [{"n": 7}] * 2
        assert [each.status for each in told] == [MISBEHAVIOUR[function]] * 2

    @pytest.mark.parametrize("function", [*MISBEHAVIOUR, leaks_a_cancellation], ids=lambda f: f.__name__)
    async def test_an_action_that_the_run_waits_for_and_that_may_go_wrong_changes_nothing_either(
        self, store: str, function: Function
    ):
        async def act(context: HookContext, params: Words) -> Any:
            return await function(context)

        registry = registry_with(act)
        hook = {"type": "act", "mode": "blocking"}
        lists = {event: [hook] for event in ("task_finished", "on_error", "post_workflow")}
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            result = await rt.run(workflow(CHAIN, lists, actions=registry.contracts), inputs={"n": 7})
        assert (result.status, result.had_errors) == ("success", False)
        assert [task.output["input"] for task in result.tasks.values()] == [{"n": 7}] * 2
        assert result.hooks.delivered + result.hooks.failed == 3

    async def test_one_that_hangs_is_ended_at_its_timeout_and_no_other_hook_waits_for_it(self, store: str):
        seen: list[str] = []

        async def act(context: HookContext, params: Words) -> None:
            if params.say == "hang":
                await anyio.sleep_forever()
            seen.append(f"{params.say} {context.task['id']}")

        registry = registry_with(act)
        hooks = [
            {"type": "act", "params": {"say": "hang"}, "timeout": "50ms"},
            {"type": "act", "params": {"say": "tell"}},
        ]
        spec = workflow(CHAIN, {"task_finished": hooks}, actions=registry.contracts)
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            handle = await rt.start(spec)
            result = await handle.settled()
            told = {each.delivery_id.partition("/")[2]: each for each in await handle.deliveries()}
        assert seen == ["tell a", "tell b"]
        assert (result.status, result.hooks.delivered, result.hooks.dead_letters) == ("success", 2, 2)
        hung = [each for name, each in told.items() if name.endswith("[0]")]
        assert [each.record["tries"][0]["status"] for each in hung] == ["timed_out", "timed_out"]


async def test_a_cancellation_that_is_nobodys_is_a_failure(store: str):
    async with Runtime(store=store, agents=AGENTS) as rt:
        rt.on("task_finished")(leaks_a_cancellation)
        handle = await rt.start(workflow())
        result = await handle.settled()
        (told,) = await handle.deliveries()
    assert (result.status, told.status) == ("success", "dead_letter")


class TestFunctions:
    async def test_functions_of_an_event_are_told_apart_by_their_names(self, store: str):
        told: list[str] = []

        async def tell(context: HookContext) -> None:
            told.append(f"{context.path} {context.task['id']}")

        async with Runtime(store=store, agents=AGENTS) as rt:
            assert rt.on("task_finished")(tell) is tell
            rt.on("task_finished", name="again")(tell)
            rt.on("task_finished")(tell)  # the same one once more
            handle = await rt.start(workflow())
            await handle.settled()
            (started,) = [event async for _, event in handle.events() if isinstance(event, RunStarted)]

        assert sorted(told) == ["code.task_finished[again] a", "code.task_finished[tell] a"]
        assert started.flags["hooks"] == [["task_finished", "tell"], ["task_finished", "again"]]

    async def test_a_second_function_of_a_name_and_an_unknown_event_are_refused(self):
        async def tell(_: HookContext) -> None: ...

        async def other(_: HookContext) -> None: ...

        async with Runtime(store="memory:") as rt:
            rt.on("task_finished", name="tell")(tell)
            with pytest.raises(BadInputError, match="has another function 'tell' already"):
                rt.on("task_finished", name="tell")(other)
            with pytest.raises(BadInputError, match=r"no event 'task_finish'.*task_finished"):
                rt.on("task_finish")
            with pytest.raises(TypeError, match="async def"):
                rt.on("task_finished")(lambda context: None)

    async def test_a_function_is_for_runs_that_start_after_it(self, store: str):
        told: list[str] = []
        may_end = anyio.Event()

        async def wait(_: object) -> None:
            await may_end.wait()

        async def tell(context: HookContext) -> None:
            told.append(context.run_id)

        async with Runtime(store=store, agents={"wait": wait}) as rt:
            first = await rt.start(workflow({"a": {"agent": "wait"}}), run_id="first")
            rt.on("workflow_finished")(tell)
            second = await rt.start(workflow({"a": {"agent": "wait"}}), run_id="second")
            may_end.set()
            await first.settled()
            await second.settled()
        assert told == ["second"]

    async def test_deliveries_to_a_function_come_in_the_order_of_events(self, store: str):
        told: list[int] = []

        async def tell(context: HookContext) -> None:
            await anyio.lowlevel.checkpoint()
            told.append(int(context.delivery_id.split("/")[1]))

        tasks = {f"t{n}": ECHO for n in range(60)}
        async with Runtime(store=store, agents=AGENTS) as rt:
            rt.on("task_finished")(tell)
            handle = await rt.start(workflow(tasks))
            await handle.settled()
        assert len(told) == 60
        assert told == sorted(told)

    async def test_a_program_without_the_function_keeps_what_it_is_owed_for_one_that_has_it(
        self, tmp_path: Path
    ):
        store, told = sqlite(tmp_path), []
        is_reached = anyio.Event()

        async def stuck(_: HookContext) -> None:
            is_reached.set()
            await anyio.sleep_forever()

        async def tell(context: HookContext) -> None:
            told.append((context.delivery_id, context.number))

        async with Runtime(store=store, agents=AGENTS) as rt:
            rt.on("task_finished", name="tell")(stuck)
            await rt.start(workflow(CHAIN), run_id="r")
            await is_reached.wait()
            rt.stop_draining()
        async with Runtime(store=store, agents=AGENTS) as rt:
            without = await rt.resume("r")
            without = await rt.drain_hooks("r")
        async with Runtime(store=store, agents=AGENTS) as rt:
            rt.on("task_finished", name="tell")(tell)
            with_it = await rt.drain_hooks("r")

        assert (without.status, without.hooks.pending, without.hooks.dead_letters) == ("success", 2, 0)
        path = "code.task_finished[tell]"
        assert [delivery_id for delivery_id, _ in told] == [f"r/4/{path}", f"r/6/{path}"]
        assert (with_it.hooks.delivered, with_it.hooks.pending) == (2, 0)


@frozen
class Page:
    team: str
    text: str
    urgent: bool = False


class TestActions:
    async def test_an_action_of_the_program_has_its_params_as_an_object_and_its_record_is_kept(
        self, store: str
    ):
        async def act(context: HookContext, params: Words) -> dict[str, str]:
            return {"said": params.say}

        registry = registry_with(act)
        hook = {"type": "act", "params": {"say": "{{ task.id }} {{ task.status }}"}}
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            handle = await rt.start(workflow(None, {"task_finished": [hook]}, actions=registry.contracts))
            await handle.settled()
            (told,) = await handle.deliveries()
        assert told.status == "delivered"
        assert "a success" in str(told.record)

    def test_its_params_are_checked_at_load_and_all_at_once(self):
        async def page(context: HookContext, params: Page) -> None: ...

        registry = registry_with(page, "page")
        registry.hook_action("phone", params=Page)(page)
        hooks = [
            {"type": "phone", "params": {"team": 3, "txt": "{{ task.id }}"}},
            {"type": "fone", "params": {}},
        ]
        with pytest.raises(SpecError) as caught:
            workflow(None, {"task_finished": hooks}, actions=registry.contracts)
        text = str(caught.value)
        for said in ("team", "'txt'", "'text'", "fone", "phone"):
            assert said in text, text

    async def test_a_run_whose_actions_are_not_there_is_refused_before_it_exists(self, store: str):
        async def act(context: HookContext, params: Words) -> None: ...

        registry = registry_with(act)
        spec = workflow(None, {"task_finished": [{"type": "act"}]}, actions=registry.contracts)
        async with Runtime(store=store, agents=AGENTS) as rt:
            with pytest.raises(BindError, match="no hook action 'act'"):
                await rt.start(spec)
            assert await rt.list() == []

    async def test_a_later_process_without_the_action_keeps_what_it_is_owed(self, tmp_path: Path):
        told: list[str] = []

        async def act(context: HookContext, params: Words) -> None:
            told.append(context.delivery_id)

        registry, store = registry_with(act), sqlite(tmp_path)
        spec = workflow(None, {"task_finished": [{"type": "act"}]}, actions=registry.contracts)
        async with Runtime(store=store, agents=AGENTS, hooks=registry, drain_timeout_s=0.0) as rt:
            await (await rt.start(spec, run_id="own")).settled()
        async with Runtime(store=store, agents=AGENTS) as rt:
            without = await rt.drain_hooks("own")
        _, waiting = kept(store, "own")
        async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
            with_it = await rt.drain_hooks("own")

        assert (without.hooks.pending, without.hooks.dead_letters, len(waiting)) == (1, 0, 1)
        assert (with_it.hooks.delivered, with_it.hooks.pending, told) == (1, 0, waiting)
