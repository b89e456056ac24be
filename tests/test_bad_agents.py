"""Python agents that misbehave: each fails as far as it must, and nothing else fails with it."""

from __future__ import annotations

import logging
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from actorflow import AgentCall, BindError, Runtime, load_dict
from actorflow.actors.host import Host, current_host
from actorflow.agents.binding import Binding, is_python
from actorflow.agents.failure import AgentFailed, failure_of
from actorflow.runtime.watchdog import LoopGauge, Watchdog
from actorflow.spec.model import CommandRunner, PythonRunner, ScriptRunner, WorkflowSpec

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}"


def workflow(tasks: Mapping[str, Any], folder: Path | None = None) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": dict(tasks)}, trust="own", folder=folder)


def agent(is_async: bool, body: Callable[[], Any]) -> Callable[[AgentCall], Any]:
    async def on_loop(_: AgentCall) -> Any:
        return body()

    return on_loop if is_async else lambda _: body()


async def wait_until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens in a thread
            await anyio.sleep(0.002)


# What they return

CYCLE: list[Any] = []
CYCLE.append({"again": CYCLE})

OUTPUTS = {
    "an object": (object(), "$: object is not JSON"),
    "bytes": ({"data": b"x"}, "$.data: bytes is not JSON"),
    "a set": ([{1}], "$[0]: set is not JSON"),
    "a key that is no text": ({1: 2}, "$: the key 1 is not a string"),
    "a cycle": (CYCLE, "holds itself"),
    "NaN": ([1.5, float("nan")], "$[1]: NaN is not JSON"),
    "an infinite number": (float("inf"), "$: an infinite number"),
    "a large integer": (2**64, "$: an integer of more than 64 bits"),
    "a gibibyte": (["x" * 2**20] * 1024, "more than 64 MiB of JSON; write it to a file"),
    "one text that is too long": ("x" * (2**26 + 1), "more than 64 MiB of JSON"),
    "a lone surrogate": ({"name": "\ud800"}, "$.name: a lone surrogate"),
    "a lone surrogate in a key": ({"\udfff": 1}, "a lone surrogate ('\\udfff')"),
}


@pytest.mark.parametrize(("output", "problem"), OUTPUTS.values(), ids=OUTPUTS)
async def test_an_output_that_cannot_be_kept_fails_its_task_and_never_its_store(
    store: str, output: object, problem: str
):
    async with Runtime(store=store, agents={"bad": lambda _: output, "fine": "echo"}) as rt:
        result = await rt.run(workflow({"a": {"agent": "bad"}}), run_id="r")
        again = await rt.get("r")
        assert (await rt.run(workflow({"a": {"agent": "fine"}}))).status == "success"
    assert result.error is not None
    assert result.error["type"] == "output"
    assert problem in result.error["message"]
    assert again.error == result.error


# What they raise


class Untold(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Unreadable(AgentFailed):
    def __init__(self) -> None:
        pass


def grouped(error: BaseException) -> BaseExceptionGroup:
    return BaseExceptionGroup("g", [error, ValueError("v")])


ERRORS = {
    "BaseException": (BaseException("b"), "BaseException", "b"),
    "a group": (grouped(KeyError("k")), "ExceptionGroup", "2 errors: KeyError: 'k'; ValueError: v"),
    "a group of exits": (
        grouped(SystemExit(1)),
        "BaseExceptionGroup",
        "2 errors: SystemExit: 1; ValueError: v",
    ),
    "StopIteration": (StopIteration("s"), "StopIteration", "s"),
    "StopAsyncIteration": (StopAsyncIteration("s"), "StopAsyncIteration", "s"),
    "SystemExit": (SystemExit(3), "SystemExit", "3"),
    "GeneratorExit": (GeneratorExit("g"), "GeneratorExit", "g"),
    "a message that exits": (Untold(), "Untold", "(its message cannot be shown: SystemExit in __str__)"),
    "no attributes": (Unreadable(), "Unreadable", "(it cannot be shown: AttributeError on reading it)"),
    "a type that is no text": (AgentFailed(3, None), "3", "None"),  # type: ignore[arg-type]
    "facts that are not JSON": (AgentFailed("t", "m", {"x": object()}), "t", "m"),
    "facts with other keys": (AgentFailed("t", "m", {1: 2}), "t", "m"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(("error", "kind", "message"), ERRORS.values(), ids=ERRORS)
async def test_whatever_is_raised_fails_its_task_under_its_own_name(
    error: BaseException, kind: str, message: str, is_async: bool
):
    def fail() -> None:
        raise error

    agents = {"bad": agent(is_async, fail), "fine": "echo"}
    with anyio.fail_after(20):
        async with Runtime(store="memory:", agents=agents) as rt:
            result = await rt.run(workflow({"a": {"agent": "bad"}}))
            assert (await rt.run(workflow({"a": {"agent": "fine"}}))).status == "success"
    assert result.error == {"type": kind, "message": message, "task": "a", "attempt": 1}


async def test_an_interrupt_that_a_thread_raises_is_its_own_failure():
    def interrupt(_: AgentCall) -> None:
        raise KeyboardInterrupt("mine")

    async with Runtime(store="memory:", agents={"bad": interrupt}) as rt:
        result = await rt.run(workflow({"a": {"agent": "bad"}}))
    assert result.error is not None
    assert (result.error["type"], result.error["message"]) == ("KeyboardInterrupt", "mine")


async def test_an_interrupt_on_the_loop_leaves_the_runtime_and_its_runs_are_resumed(store: str):
    async def interrupted(call: AgentCall) -> int:
        if not call.loss:
            raise KeyboardInterrupt("of the program")
        return call.loss

    agents = {"x": interrupted, "hang": lambda _: anyio.sleep_forever(), "fine": "echo"}
    path = store.replace("memory:", "")
    with anyio.fail_after(20), pytest.raises(KeyboardInterrupt, match="of the program"):
        async with Runtime(store=store, agents=agents, grace_s=0) as rt:
            await rt.start(workflow({"a": {"agent": "hang"}}))
            await rt.run(workflow({"a": {"agent": "x"}}), run_id="r")
    if path:
        async with Runtime(store=store, agents=agents) as rt:
            assert (await rt.get("r")).status == "paused"
            assert (await rt.resume("r")).tasks["a"].output == 1


# Facts of a failure


class Busy(Exception):
    def __init__(self, retry_after: object) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


class BusyAgent(AgentFailed):
    retry_after = 7


class Evasive(Exception):
    @property
    def retry_after(self) -> float:
        raise OSError


ASKED: list[tuple[BaseException, Mapping[str, Any]]] = [
    (Busy(5), {"retry_after_s": 5.0}),
    (Busy(0.25), {"retry_after_s": 0.25}),
    (Busy(0), {"retry_after_s": 0.0}),
    (ExceptionGroup("g", [Busy(3)]), {"retry_after_s": 3.0}),
    (BusyAgent("busy", "m"), {"retry_after_s": 7.0}),
    (BusyAgent("busy", "m", {"retry_after_s": 2}), {"retry_after_s": 2}),
    (Busy(-1), {}),
    (Busy(float("nan")), {}),
    (Busy(float("inf")), {}),
    (Busy(10**400), {}),
    (Busy(True), {}),
    (Busy("5"), {}),
    (Busy(None), {}),
    (Evasive(), {}),
    (ValueError(), {}),
]


@pytest.mark.parametrize(("error", "detail"), ASKED)
def test_the_wait_that_an_exception_asks_for_is_recorded_if_it_is_a_sensible_number(
    error: BaseException, detail: Mapping[str, Any]
):
    assert failure_of(error).detail == detail


MEBIBYTES = ["x" * 2**20] * 40
FACTS: list[tuple[dict[Any, Any], dict[str, Any]]] = [
    (
        {"http_status": 503, "body": object(), "pair": (1, 2), 4: 5},
        {
            "http_status": 503,
            "pair": [1, 2],
            "not_kept": [
                "$.body: object is not JSON; return None, numbers, text, lists and dicts",
                "$: the key 4 is not a string",
            ],
        },
    ),
    (
        {"http_status": 503, "body": MEBIBYTES * 2},
        {
            "http_status": 503,
            "not_kept": ["$.body[63]: more than 64 MiB of JSON; write it to a file and return its name"],
        },
    ),
    (
        {"head": MEBIBYTES, "body": MEBIBYTES},
        {"not_kept": ["$.body[23]: more than 64 MiB of JSON; write it to a file and return its name"]},
    ),
]


@pytest.mark.parametrize(("facts", "detail"), FACTS, ids=["not JSON", "one too large", "too large together"])
def test_facts_that_cannot_be_kept_are_left_out_and_named(facts: dict[Any, Any], detail: dict[str, Any]):
    assert failure_of(AgentFailed("t", "m", facts)).detail == detail


# Bodies that go on


class Stubborn:
    """A body that ends when it may, whatever its cancel says."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.ended_before: list[int] = []  #: how many had ended when each began
        self.ended_count = 0
        self.is_told = False  #: the one on the loop has seen its cancel

    @property
    def begun_count(self) -> int:
        return len(self.ended_before)

    def in_thread(self, _: AgentCall) -> str:
        self.ended_before.append(self.ended_count)
        assert self.may_end.wait(30)
        self.ended_count += 1
        return "late"

    async def on_loop(self, _: AgentCall) -> str:
        self.ended_before.append(self.ended_count)
        try:
            await wait_until(self.may_end.is_set)
        except anyio.get_cancelled_exc_class():
            self.is_told = True
            with anyio.CancelScope(shield=True):
                await wait_until(self.may_end.is_set)
        self.ended_count += 1
        return "late"


AGAIN = {"max_attempts": 100, "delay": 0.001}
"""On a slow machine an attempt may be over before its thread has begun: the next one comes."""


@pytest.fixture
def stubborn() -> Iterator[Stubborn]:
    body = Stubborn()
    yield body
    body.may_end.set()


@pytest.fixture(params=["in_thread", "on_loop"])
def going_on(request: pytest.FixtureRequest, stubborn: Stubborn) -> Callable[[AgentCall], Any]:
    return getattr(stubborn, request.param)


async def test_a_body_that_outlives_its_timeout_is_left_behind_and_not_tried_again(
    store: str, stubborn: Stubborn, going_on: Callable[[AgentCall], Any]
):
    on_error = {"retry": AGAIN, "fallback_agent": "fine"}
    spec = workflow({"a": {"agent": "x", "timeout": 0.02, "on_error": on_error}})
    async with Runtime(store=store, agents={"x": going_on, "fine": "echo"}, grace_s=0.15) as rt:
        result = await rt.run(spec, run_id="r")
        assert (stubborn.begun_count, stubborn.ended_count) == (1, 0)
        assert (await rt.run(workflow({"a": {"agent": "fine"}}))).status == "success"
        stubborn.may_end.set()
        await wait_until(lambda: stubborn.ended_count == 1)
        assert await rt.get("r") == result
    message = "still running 0.15 s after its timeout of 0.02 s; it was left behind"
    assert result.error is not None
    assert (result.error["type"], result.error["message"]) == ("did_not_stop", message)


async def test_a_body_that_outlives_a_cancel_is_left_behind_and_the_run_ends(
    store: str, stubborn: Stubborn, going_on: Callable[[AgentCall], Any]
):
    spec = workflow({"a": {"agent": "x", "timeout": 60}, "b": {"agent": "x", "depends_on": "a"}})
    async with Runtime(store=store, agents={"x": going_on}, grace_s=0.1) as rt:
        handle = await rt.start(spec)
        await wait_until(lambda: stubborn.begun_count == 1)
        handle.cancel()
        with anyio.fail_after(20):
            result = await handle.wait()
        assert stubborn.ended_count == 0
        stubborn.may_end.set()
    task = result.tasks["a"]
    assert (result.status, task.status, result.tasks["b"].status) == ("canceled", "failed", "skipped")
    assert task.error is not None
    assert task.error["message"] == "still running 0.1 s after it was canceled; it was left behind"


async def test_a_function_that_goes_on_in_its_thread_does_not_hold_up_who_leaves(stubborn: Stubborn):
    spec = workflow({"a": {"agent": "x", "timeout": 0.02, "retry": AGAIN}})
    with anyio.fail_after(20):
        async with Runtime(store="memory:", agents={"x": stubborn.in_thread}, grace_s=0) as rt:
            result = await rt.run(spec)
    assert stubborn.ended_count == 0
    assert result.error is not None
    assert result.error["message"].startswith("still running 0.1 s")  # the least that a body gets


async def test_a_retry_begins_once_the_body_before_it_has_ended(
    stubborn: Stubborn, going_on: Callable[[AgentCall], Any]
):
    spec = workflow({"a": {"agent": "x", "timeout": 0.05, "retry": AGAIN}})
    async with Runtime(store="memory:", agents={"x": going_on}, grace_s=60) as rt:
        threads = rt._opened.staff.threads
        handle = await rt.start(spec)
        await wait_until(lambda: stubborn.is_told or threads.outlived_count == 1)
        stubborn.may_end.set()
        result = await handle.wait()
    assert result.tasks["a"].output == "late"
    assert stubborn.begun_count >= 2
    assert stubborn.ended_before == list(range(stubborn.begun_count))


async def test_a_command_that_takes_its_time_to_end_is_timed_out_not_left_behind():
    command = "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.02; done"
    async with Runtime(store="memory:", grace_s=0) as rt:
        result = await rt.run(workflow({"a": {"command": command, "timeout": 0.1}}))
    assert result.error is not None
    assert result.error["type"] == "timeout"


def virtually(main: Callable[[], Any]) -> Any:
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def shielded_minute(_: AgentCall) -> str:
    with anyio.CancelScope(shield=True):
        await anyio.sleep(60)
    return "late"


def test_a_body_has_ten_seconds_to_end_and_what_it_does_later_is_nobodys_business():
    async def main() -> tuple[float, dict[str, Any], float]:
        async with Runtime(store="memory:", agents={"x": shielded_minute}) as rt:
            began = trio.current_time()
            result = await rt.run(workflow({"a": {"agent": "x", "timeout": 1}}))
            ended_at = trio.current_time() - began
        assert result.error is not None
        return ended_at, dict(result.error), trio.current_time() - began

    ended_at, error, left_at = virtually(main)
    assert error["message"] == "still running 10 s after its timeout of 1 s; it was left behind"
    assert (ended_at, left_at) == pytest.approx((11, 60))


def test_a_pause_waits_for_a_body_however_long_it_takes_and_the_attempt_is_lost():
    async def main() -> list[Any]:
        async with Runtime(store="memory:", agents={"x": shielded_minute}) as rt:
            handle = await rt.start(workflow({"a": {"agent": "x", "timeout": 1}}))
            await anyio.sleep(5)  # timed out, and told to end
            paused = await handle.pause(grace_s=0)
            return [paused.status, paused.tasks["a"].status, paused.tasks["a"].error, trio.current_time()]

    status, task_status, error, _ = virtually(main)
    assert (status, task_status, error) == ("paused", "running", None)


@pytest.mark.parametrize(
    ("binding", "is_so"),
    [
        (len, True),
        ("python:os.path:join", True),
        (PythonRunner(path="os.path:join"), True),
        ("echo", False),
        ("fail", False),
        ("sleep:1s", False),
        ("command:true", False),
        (CommandRunner(command="true"), False),
        (ScriptRunner(language="bash", text="true"), False),
    ],
)
def test_only_python_can_go_on_when_it_should_end(binding: Binding, is_so: bool):
    assert is_python(binding) is is_so


# Bodies that block the loop


class Warned(logging.Handler):
    """Keeps the warnings of the runtime, and says to a thread that waits when one has come."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self.has_come = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.has_come.set()


@pytest.fixture
def warned() -> Iterator[Warned]:
    handler = Warned()
    logger = logging.getLogger("actorflow.runtime")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actorflow.runtime.staff.BLOCKED_S", 0.02)
    monkeypatch.setattr("actorflow.runtime.staff.TICK_S", 0.005)


@pytest.mark.usefixtures("quick")
async def test_an_agent_that_blocks_the_loop_is_named_once(warned: Warned):
    async def crunch(_: AgentCall) -> None:
        assert warned.has_come.wait(30)

    async with Runtime(store="memory:", agents={"x": crunch}) as rt:
        await rt.run(workflow({"crunch": {"agent": "x"}}), run_id="r-1")
    (message,) = warned.messages
    line = crunch.__code__.co_firstlineno + 1
    assert message.startswith("the event loop has been blocked for 0.0 s by task 'crunch' of run 'r-1' (")
    assert message.endswith(
        f"(test_bad_agents.py:{line} in crunch): use a plain function, which runs in a thread, or await"
    )


@pytest.mark.usefixtures("quick")
async def test_what_an_agent_has_started_beside_itself_is_named_by_its_place(warned: Warned):
    async def child() -> None:
        assert warned.has_come.wait(30)

    async def parent(_: AgentCall) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)

    async with Runtime(store="memory:", agents={"x": parent}) as rt:
        await rt.run(workflow({"a": {"agent": "x"}}))
    (message,) = warned.messages
    assert "by test_bad_agents.py:" in message
    assert message.endswith(" in child: run this in a thread, or await")


@pytest.mark.usefixtures("quick")
async def test_an_agent_of_an_installed_package_is_named_by_its_own_function(warned: Warned):
    source = "async def crunch(call):\n    wait()\ndef wait():\n    assert warned.has_come.wait(30)\n"
    scope: dict[str, Any] = {"warned": warned}
    exec(compile(source, f"{sysconfig.get_path('purelib')}/package/agents.py", "exec"), scope)

    async with Runtime(store="memory:", agents={"x": scope["crunch"]}) as rt:
        await rt.run(workflow({"a": {"agent": "x"}}))
    (message,) = warned.messages
    assert "(agents.py:2 in crunch)" in message


def test_a_virtual_day_blocks_nothing(warned: Warned):
    async def main() -> str:
        async with Runtime(store="memory:", agents={"x": "sleep:1d"}) as rt:
            return (await rt.run(workflow({"a": {"agent": "x"}}))).status

    assert virtually(main) == "success"
    assert warned.messages == []


TURNING, BLOCKED = True, False
LOOKS: dict[str, tuple[list[tuple[float, bool]], list[float | None]]] = {
    "a loop that turns": ([(0.25, TURNING)] * 9, [None] * 9),
    "a blocking, told once": ([(0.25, BLOCKED)] * 9, [None, None, None, 1.0, *[None] * 5]),
    "short blockings": ([(0.25, BLOCKED), (0.25, BLOCKED), (0.25, TURNING)] * 3, [None] * 9),
    "two blockings": (
        [*[(0.25, BLOCKED)] * 4, (0.25, TURNING), *[(0.25, BLOCKED)] * 4],
        [None, None, None, 1.0, None, None, None, None, 1.0],
    ),
    "a process that was stopped": ([(3600.0, BLOCKED), (0.25, TURNING)], [None, None]),
    "one that was stopped and is blocked": (
        [(3600.0, BLOCKED), (0.25, BLOCKED), (0.25, BLOCKED)],
        [None, None, 1.0],
    ),
}


@pytest.mark.parametrize(("looks", "told"), LOOKS.values(), ids=LOOKS)
def test_a_blocking_is_told_once_and_never_while_the_process_stood_still(
    looks: list[tuple[float, bool]], told: list[float | None]
):
    gauge = LoopGauge(blocked_s=1.0, tick_s=0.25)
    assert [gauge.note(passed_s, is_turning=is_turning) for passed_s, is_turning in looks] == told


def test_a_watchdog_whose_loop_is_gone_goes_too(anyio_backend: str):
    async def host() -> Host:
        return current_host()

    watchdog = Watchdog(anyio.run(host, backend=anyio_backend), lambda: True, tick_s=0.001)
    thread = watchdog.start()
    thread.join(20)
    assert not thread.is_alive()


# What is no agent at all

UNFIT: dict[str, tuple[Any, str]] = {
    "not callable": (3, "a int is not callable"),
    "no argument": (lambda: None, "cannot be called with one argument, the AgentCall"),
    "two arguments": (lambda call, other: None, "missing a required .*argument: 'other'"),
    "a generator": (lambda call: (yield), "is a generator"),
    "no such module": ("python:af_nowhere:run", "module 'af_nowhere' is neither in .* nor installed"),
    "no such function": ("python:os.path:af_nothing", "has no 'af_nothing'"),
    "a module that raises": ("python:af_raises:run", "importing 'af_raises' failed: ZeroDivisionError"),
    "no runner": ("pyhton:os.path:join", "'pyhton:os.path:join' is not a runner"),
}


@pytest.mark.parametrize(("binding", "sentence"), UNFIT.values(), ids=UNFIT)
async def test_what_cannot_be_an_agent_is_refused_with_its_name_before_a_run_exists(
    tmp_path: Path, binding: Any, sentence: str
):
    (tmp_path / "af_raises.py").write_text("1/0")
    async with Runtime(store="memory:", agents={"bad": binding}) as rt:
        with pytest.raises(BindError, match=f"agent 'bad': .*{sentence}"):
            await rt.run(workflow({"a": {"agent": "bad"}}, tmp_path))
        assert list(await rt.list()) == []
