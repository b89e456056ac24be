"""Commands that behave badly, by way of a run: what becomes of the task, what is recorded, and what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from ruamel.yaml import YAML

from actorflow import AgentCall, Runtime, load_dict
from actorflow.agents.command import command_performer
from actorflow.core.events import HookFinished
from actorflow.processes import ProcessTrees
from actorflow.spec import WorkflowSpec
from actorflow.spec.model import CommandRunner
from actorflow.survivors import find_survivors

pytestmark = pytest.mark.anyio

TABLES = YAML(typ="safe", pure=True).load(
    (Path(__file__).parent / "data" / "bad_commands.yaml").read_text(encoding="utf-8")
)
LONG = {"name": "n" * 300, "text": "t" * 60_000}
"""Inputs of each run: more than a file's name may have, and a third of what a program's arguments may have."""


def workflow(folder: Path, **tasks: dict[str, Any]) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": tasks}, trust="own", folder=folder)


async def wait_for_pids(folder: Path, *names: str) -> list[int]:
    """Wait until the commands have written the numbers of their processes."""
    with anyio.fail_after(10):
        while True:
            texts = [(folder / name).read_text() if (folder / name).exists() else "" for name in names]
            if all(text.endswith("\n") for text in texts):
                return [int(text) for text in texts]
            await anyio.sleep(0.005)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][0] not in "ZX"


@pytest.mark.parametrize("row", TABLES["commands"], ids=lambda row: row["title"])
async def test_a_command_that_behaves_badly_ends_as_its_row_says(row: dict[str, Any], tmp_path: Path):
    spec = workflow(tmp_path, a={"command": row["command"], **row.get("task", {})})

    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as runtime:
        handle = await runtime.start(spec, inputs=LONG)
        with anyio.fail_after(4):
            task = (await handle.wait()).tasks["a"]
        records = [event.record async for _, event in handle.events() if hasattr(event, "record")]

    error = task.error and [task.error["type"], task.error["message"].replace(LONG["name"], "NAME")]
    assert (task.output, error) == (row.get("output"), row.get("error"))
    assert task.status == ("failed" if "error" in row else "success")
    if "record" in row:
        assert records == [row["record"]]


@pytest.mark.parametrize("value", TABLES["values"], ids=ascii)
async def test_a_value_arrives_as_it_is_and_nothing_of_it_is_run(value: str, tmp_path: Path):
    say = "od -An -v -tx1 | tr -d ' \\n'"
    spec = workflow(
        tmp_path,
        env={"command": f'printf %s "$V" | {say}', "env": {"V": "{{ input.v }}"}},
        argv={"command": ["sh", "-c", f'printf %s "$1" | {say}', "x", "{{ input.v }}"]},
        input={"command": f'printf %s "$ACTORFLOW_INPUT" | {say}', "with": {"v": "{{ input.v }}"}},
        args={"script": {"language": "bash", "text": f'printf %s "$1" | {say}', "args": ["{{ input.v }}"]}},
    )

    async with Runtime(store="memory:") as runtime:
        result = await runtime.run(spec, inputs={"v": value})

    told = {name: bytes.fromhex(task.output).decode() for name, task in result.tasks.items()}
    given = YAML(typ="safe", pure=True).load(told.pop("input"))
    assert (given, told) == ({"v": value}, {"env": value, "argv": value, "args": value})
    assert names_in(tmp_path) == []


async def test_a_daemon_is_ended_when_the_run_is_canceled(tmp_path: Path):
    daemon = (
        "setsid sh -c 'setsid sleep 60 & echo $! > %s; exec sleep 60' > /dev/null 2>&1 & echo $! > %s; wait"
    )
    tasks = {name: {"command": daemon % (f"{name}.2", f"{name}.1")} for name in "ab"}

    async with Runtime(store="memory:") as runtime:
        handle = await runtime.start(workflow(tmp_path, **tasks))
        pids = await wait_for_pids(tmp_path, "a.1", "a.2", "b.1", "b.2")
        handle.cancel()
        result = await handle.wait()

    assert {task.status for task in result.tasks.values()} == {"canceled"}
    assert [pid for pid in pids if is_alive(pid)] == []


async def test_a_daemon_that_a_command_leaves_behind_is_left_alone_and_holds_nothing_of_ours(tmp_path: Path):
    spec = workflow(tmp_path, a={"command": "setsid sleep 60 & echo $! > pid; exit 3"})
    store = f"sqlite:///{tmp_path}/runs.db"

    async with Runtime(store=store) as runtime:
        failed = await runtime.run(spec)
    (pid,) = await wait_for_pids(tmp_path, "pid")
    assert is_alive(pid)
    async with Runtime(store=store) as runtime:
        assert (await runtime.resume(failed.run_id)).generation == 2

    for line in (pid, *await wait_for_pids(tmp_path, "pid")):
        os.kill(line, 9)


FORKS = """
import os, signal

def copy_myself(number, frame):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

signal.signal(signal.SIGTERM, copy_myself)
for doubling in range(7):
    if os.fork() == 0 and doubling % 2:
        os.setsid()
open(f"{os.getpid()}.begun", "w").close()
while True:
    signal.pause()
"""
"""128 processes in some forty sessions, of which each starts one more when it is told to end."""


async def test_a_bomb_that_starts_more_when_it_is_told_to_end_is_ended_whole(tmp_path: Path):
    trees = ProcessTrees()
    runner = CommandRunner(command=(sys.executable, "-SEc", FORKS))
    perform = command_performer(
        runner, folder=str(tmp_path), env={"PATH": os.environ["PATH"]}, trees=trees, grace=0.5
    )

    async with anyio.create_task_group() as group:
        group.start_soon(perform, AgentCall(input={}, task="a", run_id="r"))
        with anyio.fail_after(10):
            while len(names_in(tmp_path)) < 128:  # noqa: ASYNC110 - what is waited for happens in other processes
                await anyio.sleep(0.01)
        assert len(find_survivors(trees.cookie_prefix)) == 128
        began = time.monotonic()
        group.cancel_scope.cancel()

    assert time.monotonic() - began < 5
    assert find_survivors(trees.cookie_prefix) == []


MEASURED = """
import sys
import anyio
from actorflow import Runtime, load_dict

def measured(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

async def main():
    tasks = {"a": {"command": "head -c %s /dev/zero | tr '\\\\0' x" % sys.argv[2]}}
    async with Runtime(store="memory:") as runtime:
        await runtime.run(load_dict({"name": "first", "tasks": {"a": {"command": "true"}}}, trust="own"))
        before = measured("VmRSS")
        result = await runtime.run(load_dict({"name": "w", "tasks": tasks}, trust="own"))
    print(len(result.tasks["a"].output), measured("VmHWM") - before)

anyio.run(main, backend=sys.argv[1])
"""


async def test_a_line_of_256_mib_without_an_end_takes_no_memory(anyio_backend: str):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", MEASURED, anyio_backend, str(256 << 20)]

    told = (await anyio.run_process(argv, env=env)).stdout

    kept, more_kib = map(int, told.split())
    assert kept == 1 << 20
    assert more_kib < 24 << 10


OPEN = "import os; print(*(os.readlink(f'/proc/self/fd/{fd}') for fd in range(3, 1000) if os.path.exists(f'/proc/self/fd/{fd}')))"
"""What a process has open beside its three streams."""


def opened_by_a_child() -> str:
    """What a child has open that is started without closing anything, as other people's code may start one."""
    argv = [sys.executable, "-c", OPEN]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, close_fds=False, check=True).stdout.decode()  # fmt: skip


async def test_no_descriptor_of_a_runtime_is_inherited_by_anything_that_it_or_an_agent_starts(tmp_path: Path):
    before = opened_by_a_child()
    python = {"command": [sys.executable, "-c", OPEN]}
    spec = load_dict(
        {
            "name": "w",
            "tasks": {"command": python, "sync": {"agent": "sync"}, "async": {"agent": "async"}},
            "hooks": {"post_workflow": [{"type": "command", "command": [sys.executable, "-c", OPEN]}]},
        },
        trust="own",
        folder=tmp_path,
    )

    async def in_the_loop(call: AgentCall) -> str:
        return opened_by_a_child()

    agents = {"sync": lambda call: opened_by_a_child(), "async": in_the_loop}
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db", agents=agents) as runtime:
        handle = await runtime.start(spec)
        result = await handle.wait()
        hooks = [event.record async for _, event in handle.events() if isinstance(event, HookFinished)]

    told = {name: task.output for name, task in result.tasks.items()}
    assert told == {"command": "", "sync": before, "async": before}
    assert [record["stdout"] for record in hooks] == ["\n"]
