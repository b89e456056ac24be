"""What is promised of the processes that a killed runner left behind: found by their cookie, and ended with all they start."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from actorflow import Runtime, load_dict, survivors
from actorflow.survivors import end_survivors, find_survivors

Start: TypeAlias = Callable[..., "subprocess.Popen[bytes]"]

ENV = {"PATH": os.environ["PATH"]}

IGNORES_TERM = "trap '' TERM; echo $$ > ready; while :; do sleep 0.05; done"

FORKS_ON_TERM = """
import os, signal

def copy_myself(number, frame):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

signal.signal(signal.SIGTERM, copy_myself)
for doubling in range(8):
    if os.fork() == 0:
        os.setsid()
while True:
    signal.pause()
"""
"""256 processes in as many sessions, of which each starts one more when it is told to end."""

GOES_FROM_PROCESS_TO_PROCESS = """
import os
for hop in range(20_000):
    if os.fork():
        os._exit(0)
open("arrived", "w").close()
"""
"""Never the same process for longer than it takes to start the next one."""


@pytest.fixture
def prefix() -> Iterator[str]:
    """The beginning of an owner's cookies; whatever still carries it at the end is killed."""
    prefix = f"{secrets.token_hex(8)}/"
    yield prefix
    left = find_survivors(prefix)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start what its runner does not see to any more, in the test's folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(cookie: str, *argv: str) -> subprocess.Popen[bytes]:
        env = {**ENV, survivors.COOKIE_VARIABLE: cookie}
        started.append(
            subprocess.Popen(argv or ["sleep", "60"], env=env, cwd=tmp_path, start_new_session=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_they_are_found_by_the_beginning_of_their_cookie(prefix: str, start: Start):
    one, ten, other = (start(f"{prefix}{run}/a/1/0") for run in ("run-1", "run-10", "other"))

    wait_for(lambda: find_survivors(prefix) == sorted([one.pid, ten.pid, other.pid]))
    assert find_survivors(f"{prefix}run-1/") == [one.pid]
    assert end_survivors(f"{prefix}run-1/") == ()
    assert find_survivors(prefix) == sorted([ten.pid, other.pid])
    assert end_survivors(prefix) == ()

    assert [process.wait() for process in (one, ten, other)] == [-signal.SIGTERM] * 3


def test_none_is_a_matter_of_milliseconds(prefix: str):
    assert seconds_of(lambda: end_survivors(prefix)) < 0.5


def test_one_that_cleans_up_has_the_time_for_it(prefix: str, start: Start, tmp_path: Path):
    cleans_up = "trap 'sleep 0.2; echo x > clean; exit 0' TERM; echo $$ > ready; while :; do sleep 0.01; done"
    process = start(prefix, "sh", "-c", cleans_up)
    wait_for((tmp_path / "ready").exists)

    assert end_survivors(prefix) == ()

    assert process.wait() == 0
    assert (tmp_path / "clean").exists()


def test_one_that_ignores_term_is_killed_after_the_grace_period(prefix: str, start: Start, tmp_path: Path):
    process = start(prefix, "sh", "-c", IGNORES_TERM)
    wait_for((tmp_path / "ready").exists)

    assert 0.2 <= seconds_of(lambda: end_survivors(prefix, grace_s=0.2)) < 3

    assert process.wait() == -signal.SIGKILL


def test_one_that_is_stopped_ends_in_time(prefix: str, start: Start):
    process = start(prefix)
    process.send_signal(signal.SIGSTOP)

    assert seconds_of(lambda: end_survivors(prefix)) < 3

    assert process.wait() == -signal.SIGTERM


def test_a_zombie_does_not_count(prefix: str, start: Start):
    process = start(prefix, "true")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert find_survivors(prefix) == []
    assert end_survivors(prefix) == ()


def test_five_hundred_that_start_others_when_they_are_told_to_end_are_all_ended(prefix: str, start: Start):
    start(prefix, sys.executable, "-SEc", FORKS_ON_TERM)
    wait_for(lambda: len(find_survivors(prefix)) == 256)

    assert end_survivors(prefix, grace_s=0.5) == ()


def test_one_that_is_another_process_at_each_look_is_seen_and_ended(
    prefix: str, start: Start, tmp_path: Path
):
    start(prefix, sys.executable, "-SEc", GOES_FROM_PROCESS_TO_PROCESS)
    wait_for(lambda: find_survivors(prefix))

    assert all(find_survivors(prefix) for _ in range(20))
    assert end_survivors(prefix) == ()

    assert not (tmp_path / "arrived").exists()


def test_one_that_is_never_there_when_the_list_is_read_to_its_end_is_met_as_the_newest(
    prefix: str, start: Start, monkeypatch: pytest.MonkeyPatch
):
    start(prefix, sys.executable, "-SEc", GOES_FROM_PROCESS_TO_PROCESS)
    wait_for(lambda: find_survivors(prefix))
    beyond_all = itertools.count(2**22 + 1)

    with monkeypatch.context() as patched:
        patched.setattr(survivors, "_pids", lambda: [next(beyond_all)])
        assert find_survivors(prefix)

    assert end_survivors(prefix) == ()


def test_what_does_not_end_is_told(prefix: str, start: Start, monkeypatch: pytest.MonkeyPatch):
    process = start(prefix)
    with monkeypatch.context() as patched:
        patched.setattr(survivors, "_UNKILLABLE_S", 0.1)
        patched.setattr(
            signal, "pidfd_send_signal", lambda *_: None
        )  # as one that hangs in the kernel takes it

        assert end_survivors(prefix, grace_s=0.1) == (process.pid,)

    assert end_survivors(prefix) == ()


def test_a_kernel_without_pidfd_does_as_well(prefix: str, start: Start, monkeypatch: pytest.MonkeyPatch):
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    start(prefix)

    assert end_survivors(prefix) == ()


def test_the_process_that_looks_is_none(prefix: str):
    code = "import sys; from actorflow.survivors import end_survivors; print(end_survivors(sys.argv[1]))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), survivors.COOKIE_VARIABLE: prefix}

    told = subprocess.run([sys.executable, "-c", code, prefix], env=env, capture_output=True, check=True)

    assert told.stdout == b"()\n"


def test_other_platforms_find_nothing(prefix: str, start: Start, monkeypatch: pytest.MonkeyPatch):
    start(prefix)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "darwin")

        assert end_survivors(prefix) == ()

    assert end_survivors(prefix) == ()


@pytest.mark.anyio
async def test_every_process_of_a_run_has_a_cookie_that_begins_with_its_owner_and_the_run(tmp_path: Path):
    say = 'echo "$ACTORFLOW_COOKIE $ACTORFLOW_DELIVERY_ID"'
    spec = load_dict(
        {
            "tasks": {"a": {"command": say}, "b": {"script": say}},
            "workflows": {"w": {"steps": [{"stage": "s", "tasks": ["a", "b"]}]}},
            "hooks": {
                "post_workflow": [{"type": "command", "command": f"{say} > blocking"}],
                "on_stage_complete": [{"type": "command", "command": f"{say} > owed"}],
            },
        },
        trust="own",
        folder=tmp_path,
    )
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as runtime:
        result = await runtime.run(spec, run_id="run-1")
    hooks = [(tmp_path / name).read_text().split() for name in ("blocking", "owed")]

    owner, _, _ = result.tasks["a"].output.partition("run-1/")
    assert owner
    assert [task.output for task in result.tasks.values()] == [f"{owner}run-1/{name}/1/0" for name in "ab"]
    assert [cookie for cookie, _ in hooks] == [f"{owner}{delivery_id}" for _, delivery_id in hooks]
    assert all(delivery_id.startswith("run-1/") for _, delivery_id in hooks)
