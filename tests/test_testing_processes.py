"""Fake processes: to who runs them they are what a real one is that behaves so, but for the time that passes."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
from attrs import evolve, frozen

from actorflow import Runtime
from actorflow.processes import ProcessNotStarted, ProcessRequest, ProcessResult, ProcessTrees, Trees
from actorflow.runtime.ports import Ports
from actorflow.testing.clock import run_virtually
from actorflow.testing.processes import CommandEnd, Exits, FakeProcesses, NotStarted
from tests.hook_tries import until
from tests.hooked_runs import workflow

on_both = pytest.mark.anyio


ENV = {"PATH": os.environ["PATH"]}


@frozen
class Ran:
    """What is known of a command that has ended."""

    exit_status: int | None = None
    signal: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    is_truncated: tuple[bool, bool] = (False, False)
    is_timed_out: bool = False
    told: tuple[tuple[str, bytes], ...] = ()
    not_started: str = ""


async def ran(trees: Trees, command: str | list[str], **facts: Any) -> Ran:
    said: dict[str, bytes] = {}

    def note(stream: str, output: bytes) -> None:
        said[stream] = said.get(stream, b"") + output

    facts = {"cwd": "/", "env": ENV, "cookie": trees.cookie_prefix + "test", **facts}
    try:
        result = await trees.run(ProcessRequest(command=command, said=note, **facts))
    except ProcessNotStarted as error:
        return Ran(not_started=str(error))
    finally:
        assert trees.live_count == 0
    return Ran(
        result.exit_status,
        result.signal,
        result.stdout,
        result.stderr,
        (result.stdout_truncated, result.stderr_truncated),
        result.is_timed_out,
        tuple(sorted(said.items())),
    )


NEVER = Exits(after_s=math.inf)
PATIENT = Exits(after_s=math.inf, ignores_term=True)

COMMANDS: dict[str, tuple[str | list[str], CommandEnd, dict[str, Any]]] = {
    "a success": ("true", Exits(), {}),
    "a status": ("exit 3", Exits(3), {}),
    "output": ("echo out; echo err >&2; exit 1", Exits(1, stdout=b"out\n", stderr=b"err\n"), {}),
    "more output than is kept": (
        "echo 0123456789; echo err >&2",
        Exits(stdout=b"0123456789\n", stderr=b"err\n"),
        {"max_output": 5},
    ),
    "output of which nothing is kept": ("echo out", Exits(stdout=b"out\n"), {"max_output": 0}),
    "a signal": ("kill -9 $$", Exits(signal=signal.SIGKILL), {}),
    "a program that is missing": (
        ["no-such-program"],
        Exits(127, stderr=b"no-such-program: not found\n"),
        {},
    ),
    "too slow": ("echo begun; sleep 60", evolve(NEVER, stdout=b"begun\n"), {"timeout": 0.3}),
    "too slow, and patient": ("trap '' TERM; sleep 60", PATIENT, {"timeout": 0.3, "grace": 0.05}),
    "too slow, and done before it is killed": (
        "trap '' TERM; sleep 0.7; exit 4",
        Exits(4, after_s=0.7, ignores_term=True),
        {"timeout": 0.3},
    ),
    "in time": ("exit 5", Exits(5), {"timeout": 30.0}),
    "no command": ([], Exits(), {}),
    "a NUL in an argument": (["echo", "a\0b"], Exits(), {}),
    "a NUL in a variable": ("true", Exits(), {"env": {"A": "a\0b"}}),
    "a variable with a strange name": ("true", Exits(), {"env": {"A=B": "c"}}),
    "no folder": (
        "true",
        NotStarted("the working directory '/no/such/folder' is missing"),
        {"cwd": "/no/such/folder"},
    ),
}
"""A command; how the fake is told to do the same; what is special in the request."""


@on_both
@pytest.mark.parametrize("name", COMMANDS)
async def test_a_fake_command_and_a_real_one_are_the_same_to_who_runs_them(name: str):
    command, end, facts = COMMANDS[name]
    fake, real_facts = FakeProcesses(usual=end), dict(facts)
    fake_end = await ran(fake, command, **facts)
    real_end = await ran(ProcessTrees(), command, **real_facts)
    if real_end.exit_status == 127:
        assert real_end.told == ()  # no child has printed it: it is ours
        fake_end = evolve(fake_end, told=())
    assert fake_end == real_end
    assert len(fake.ran) == (not fake_end.not_started)


CANCELED: dict[str, tuple[Exits, float]] = {
    "what can end": (NEVER, 0.0),
    "what cannot": (PATIENT, 5.0),
    "what is done before it is killed": (Exits(after_s=4.0, ignores_term=True), 2.0),
}


@pytest.mark.parametrize("name", CANCELED)
def test_canceling_goes_on_once_the_tree_has_ended(name: str):
    end, seconds = CANCELED[name]
    fake = FakeProcesses(usual=end)

    async def story() -> tuple[float, bool]:
        canceled_at = trio.current_time() + 2.0
        with anyio.move_on_after(2.0) as patience:
            await ran(fake, "x")
        return trio.current_time() - canceled_at, patience.cancelled_caught

    assert run_virtually(story) == (pytest.approx(seconds), True)
    assert fake.live_count == 0


@on_both
async def test_nothing_starts_when_the_cancel_came_first():
    fake = FakeProcesses()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ran(fake, "x")
    assert fake.ran == []


@on_both
@pytest.mark.parametrize("is_in_grace", [False, True])
async def test_a_kill_reaches_those_whose_cookie_begins_so_at_once(is_in_grace: bool):
    fake, ended = FakeProcesses("p:", usual=PATIENT), list[str]()

    async def run(run_id: str) -> None:
        try:
            result = await ran_beside(fake, f"p:{run_id}/a")
            ended.append(f"{run_id} {result.signal}{' too slow' * result.is_timed_out}")
        except anyio.get_cancelled_exc_class():
            ended.append(f"{run_id} canceled")
            raise

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(run, "run-1")
            group.start_soon(run, "run-10")
            await until(lambda: fake.live_count == 2)
            if is_in_grace:
                group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                fake.kill_nowait("p:run-1/")
                await until(lambda: ended)
                first = list(ended)
                fake.kill_all_nowait()
    how = "canceled" if is_in_grace else str(int(signal.SIGKILL))
    assert (first, ended) == ([f"run-1 {how}"], [f"run-1 {how}", f"run-10 {how}"])


async def ran_beside(trees: Trees, cookie: str) -> ProcessResult:
    return await trees.run(
        ProcessRequest(command="x", cwd="/", env=ENV, cookie=cookie, grace=60.0, timeout=60.0)
    )


@on_both
async def test_the_processes_of_two_runners_go_by_one_script_and_are_killed_apart():
    fake = FakeProcesses()
    fake.on("x", NEVER)
    one, two = fake.under("one:"), fake.under("two:")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(ran_beside, one, "one:a")
            group.start_soon(ran_beside, two, "two:a")
            await until(lambda: len(fake.ran) == 2)
            one.kill_all_nowait()
            await until(lambda: one.live_count == 0)
            assert (one.cookie_prefix, two.live_count) == ("one:", 1)
            two.kill_all_nowait()


@on_both
async def test_attempts_get_their_ends_by_number_and_tries_of_hooks_in_turn():
    fake = FakeProcesses(usual=Exits(9))
    fake.on("ship", Exits(1), Exits(2), Exits(3))

    async def status(**env: str) -> int | None:
        return (await ran(fake, ["./ship", "--now"], env=env)).exit_status

    attempts = [(1, 0), (1, 1), (3, 0), (2, 0), (7, 0)]
    facts = [{"ACTORFLOW_ATTEMPT": str(number), "ACTORFLOW_LOSS": str(loss)} for number, loss in attempts]
    deliveries = [{"ACTORFLOW_DELIVERY_ID": name, "ACTORFLOW_ATTEMPT": "3"} for name in "aabaa"]
    assert [await status(**env) for env in facts] == [1, 1, 3, 2, 3]
    assert [await status(**env) for env in deliveries] == [1, 2, 1, 3, 3]
    assert (await ran(fake, "true")).exit_status == 9


@on_both
async def test_the_longest_word_counts_and_an_end_may_be_a_function_of_the_request():
    fake = FakeProcesses()
    fake.on("deploy", Exits(1))
    fake.on("deploy --dry", lambda request: Exits(stdout=request.env["X"].encode()))
    assert (await ran(fake, "./deploy")).exit_status == 1
    assert (await ran(fake, "./deploy --dry", env={"X": "y"})).stdout == b"y"


@on_both
async def test_commands_and_hooks_of_a_run_are_fake_processes():
    fake = FakeProcesses()
    fake.on("deploy", Exits(1, stderr=b"no route to host"), Exits(stdout=b'{"url": "https://a.example"}'))
    fake.on("tell", Exits(7, stderr=b"nobody there"))
    tasks = {"a": {"command": "./deploy.sh", "retry": {"max_attempts": 2, "delay": "1ms"}}}
    spec = workflow(tasks, {"post_workflow": [{"type": "command", "params": {"command": "tell them"}}]})
    async with Runtime(store="memory:", ports=Ports(trees=fake.under)) as rt:
        result = await rt.run(spec, run_id="r")
    assert (result.status, result.tasks["a"].output) == ("success", {"url": "https://a.example"})
    assert [request.command for request in fake.ran] == ["./deploy.sh", "./deploy.sh", "tell them"]
    assert result.hooks.failed == 1
