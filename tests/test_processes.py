"""What is promised of a child process and its tree."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import anyio
import pytest

from actorflow.processes import ProcessNotStarted, ProcessRequest, ProcessResult, ProcessTrees
from actorflow.survivors import find_survivors

pytestmark = pytest.mark.anyio

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def trees() -> ProcessTrees:
    return ProcessTrees()


def request_for(trees: ProcessTrees, command, **settings) -> ProcessRequest:
    settings = {"cwd": "/", "env": ENV, "cookie": trees.cookie_prefix + "test", **settings}
    return ProcessRequest(command=command, **settings)


async def run(trees: ProcessTrees, command, **settings) -> ProcessResult:
    return await trees.run(request_for(trees, command, **settings))


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][0] not in "ZX"


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def wait_for_pids(folder: Path, *names: str) -> list[int]:
    """Wait until the scripts have written their process numbers."""
    with anyio.fail_after(10):
        while True:
            texts = [(folder / name).read_text() if (folder / name).exists() else "" for name in names]
            if all(text.endswith("\n") for text in texts):
                return [int(text) for text in texts]
            await anyio.sleep(0.005)


async def cancel_when_written(trees, folder, command, *names, **settings) -> tuple[list[int], float]:
    """Start a command, cancel it once it has written the files; give the numbers in them, and the seconds it took."""
    async with anyio.create_task_group() as group:

        async def body():
            await run(trees, command, cwd=str(folder), **settings)

        group.start_soon(body)
        pids = await wait_for_pids(folder, *names)
        began = time.monotonic()
        group.cancel_scope.cancel()
    return pids, time.monotonic() - began


async def test_a_string_is_run_by_a_shell(trees):
    result = await run(trees, "echo out; echo err >&2; exit 3")

    assert (result.exit_status, result.signal) == (3, None)
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")
    assert not result.stdout_truncated
    assert 0 < result.duration_s < 10


async def test_a_list_is_run_without_a_shell(trees):
    result = await run(trees, ["printf", "%s|", "$HOME", "a b", "*", "-n", ""])

    assert result.stdout == b"$HOME|a b|*|-n||"


async def test_the_environment_is_the_given_one_and_the_cookie(trees):
    result = await run(trees, ["env"], env={**ENV, "X": "$(id)\n`ls`; 'q' \"p\""})

    assert sorted(result.stdout.decode().replace("\n`", " `").splitlines()) == [
        f"ACTORFLOW_COOKIE={trees.cookie_prefix}test",
        f"PATH={ENV['PATH']}",
        "X=$(id) `ls`; 'q' \"p\"",
    ]


async def test_a_child_reads_nothing_and_leads_its_session(trees):
    result = await run(trees, "cat; read -r stat < /proc/$$/stat; echo $$ ${stat##*) }")

    pid, _, _, group, session, *_ = result.stdout.split()
    assert pid == group == session


async def test_a_signal_that_killed_the_child_is_told(trees):
    result = await run(trees, "kill -9 $$")

    assert (result.exit_status, result.signal) == (None, signal.SIGKILL)


async def test_a_missing_program_has_status_127(trees):
    result = await run(trees, ["no-such-program-anywhere"])

    assert result.exit_status == 127
    assert result.stderr == b"no-such-program-anywhere: not found\n"


async def test_a_script_whose_interpreter_is_missing_says_so(trees, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)

    result = await run(trees, ["./script"], cwd=str(tmp_path))

    assert result.exit_status == 127
    assert b"interpreter in its first line" in result.stderr


@pytest.mark.parametrize(("mode", "reason"), [(0o644, b"Permission denied"), (0o755, b"Exec format error")])
async def test_what_cannot_be_executed_has_status_126(trees, tmp_path, mode, reason):
    (tmp_path / "data").write_bytes(b"\x00\x01\x02")
    (tmp_path / "data").chmod(mode)

    result = await run(trees, ["./data"], cwd=str(tmp_path))

    assert result.exit_status == 126
    assert reason in result.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"cwd": "/no/such/folder"}, "the working directory '/no/such/folder' is missing"),
        ({"cwd": "/etc/passwd"}, "the working directory '/etc/passwd' is not a directory"),
        ({"command": []}, "the command is empty"),
        ({"command": ["echo", "a\0b"]}, "embedded null byte"),
        ({"env": {"A=B": "c"}}, "illegal environment variable name"),
        ({"env": {"A": "\ud800"}}, "surrogates not allowed"),
    ],
)
async def test_what_cannot_even_be_tried_is_an_error(trees, settings, sentence):
    with pytest.raises(ProcessNotStarted, match=sentence):
        await run(trees, **{"command": "true", **settings})

    assert trees.live_count == 0


async def test_bytes_that_are_not_text_arrive_as_they_are(trees):
    result = await run(trees, r"printf '\377\376\000\033[31m'")

    assert result.stdout == b"\xff\xfe\x00\x1b[31m"


async def test_the_last_bytes_of_each_stream_are_kept(trees):
    result = await run(trees, "seq 1 100000; echo short >&2", max_output=10)

    assert result.stdout == b"99\n100000\n"
    assert result.stdout_truncated
    assert result.stderr == b"short\n"
    assert not result.stderr_truncated


async def test_a_gibibyte_in_one_line_takes_no_memory(trees):
    before = resident_bytes()
    peak = 0

    async def watch():
        nonlocal peak
        while True:
            peak = max(peak, resident_bytes())
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        result = await run(trees, ["head", "-c", str(1 << 30), "/dev/zero"])
        group.cancel_scope.cancel()

    assert len(result.stdout) == 1 << 20
    assert result.stdout_truncated
    assert max(peak, resident_bytes()) - before < 16 << 20


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_child_that_prints_much_on_both_streams_is_not_blocked(trees):
    result = await run(trees, "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero")

    assert result.exit_status == 0
    assert len(result.stdout) == len(result.stderr) == 1 << 20


async def test_a_background_process_that_holds_the_pipe_is_left_alone_and_not_waited_for(trees, tmp_path):
    result = await run(trees, "sleep 60 & echo $! > pid; echo done", cwd=str(tmp_path))

    (pid,) = await wait_for_pids(tmp_path, "pid")
    assert result.stdout == b"done\n"
    assert 0.4 < result.duration_s < 5
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_what_was_written_before_the_exit_is_read_even_if_the_loop_was_busy(trees, tmp_path):
    async def be_busy():
        await wait_for_pids(tmp_path, "pid")
        time.sleep(0.6)  # noqa: ASYNC251 - longer than the drain deadline, with the loop held

    async with anyio.create_task_group() as group:
        group.start_soon(be_busy)
        command = "sleep 60 & echo $! > pid; sleep 0.05; echo written last"
        result = await run(trees, command, cwd=str(tmp_path))

    assert result.stdout == b"written last\n"
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_a_cancelled_child_gets_term_and_may_clean_up(trees, tmp_path):
    command = "trap 'head -c 200000 /dev/zero; echo clean > cleaned; exit 0' TERM; echo $$ > pid; while :; do sleep 0.01; done"

    (pid,), seconds = await cancel_when_written(trees, tmp_path, command, "pid")

    assert (tmp_path / "cleaned").exists()
    assert not is_there(pid), "a zombie is left"
    assert seconds < 3
    assert trees.live_count == 0


async def test_what_ignores_term_is_killed_after_the_grace_period(trees, tmp_path):
    command = "trap '' TERM; echo $$ > pid; sh -c 'echo $$ > child; sleep 60' & wait; sleep 60"

    pids, seconds = await cancel_when_written(trees, tmp_path, command, "pid", "child", grace=0.2)

    assert 0.2 <= seconds < 3
    assert not any(is_alive(pid) for pid in pids)


async def test_a_group_member_that_outlives_the_leader_has_the_whole_grace_period(trees, tmp_path):
    member = "sh -c \"trap 'sleep 0.3; echo x > cleaned; exit' TERM; echo \\$\\$ > child; while :; do sleep 0.01; done\""
    command = f"{member} & echo $$ > pid; wait"

    pids, seconds = await cancel_when_written(trees, tmp_path, command, "pid", "child")

    assert (tmp_path / "cleaned").exists()
    assert 0.25 < seconds < 4
    assert not any(is_alive(pid) for pid in pids)


async def test_a_grandchild_in_another_session_is_ended_too(trees, tmp_path):
    command = "setsid sh -c \"trap '' TERM; echo \\$\\$ > child; while :; do sleep 0.05; done\" & echo $$ > pid; wait"

    pids, _ = await cancel_when_written(trees, tmp_path, command, "pid", "child", grace=0.2)

    assert not any(is_alive(pid) for pid in pids)
    assert find_survivors(trees.cookie_prefix) == []


async def test_a_stopped_child_is_ended_within_the_grace_period(trees, tmp_path):
    (pid,), seconds = await cancel_when_written(
        trees, tmp_path, "echo $$ > pid; kill -STOP $$; sleep 60", "pid"
    )

    assert not is_alive(pid)
    assert seconds < 3


async def test_a_timeout_ends_the_tree_and_goes_on_as_a_timeout(trees, tmp_path):
    with anyio.move_on_after(0.3) as scope:
        await run(trees, "echo $$ > pid; sleep 60 | sleep 60", cwd=str(tmp_path))

    assert scope.cancelled_caught
    assert not is_alive(int((tmp_path / "pid").read_text()))
    assert find_survivors(trees.cookie_prefix) == []


async def test_nothing_starts_when_the_cancel_came_first(trees, tmp_path):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run(trees, "touch ran", cwd=str(tmp_path))

    assert not (tmp_path / "ran").exists()


async def test_many_trees_end_together(trees, tmp_path):
    async with anyio.create_task_group() as group:
        for index in range(20):
            command = f"sleep 60 & echo $! > pid{index}; wait"
            group.start_soon(run_in, trees, tmp_path, command, f"{trees.cookie_prefix}{index}")
        pids = await wait_for_pids(tmp_path, *(f"pid{index}" for index in range(20)))
        began = time.monotonic()
        group.cancel_scope.cancel()

    assert time.monotonic() - began < 4
    assert not any(is_alive(pid) for pid in pids)


async def run_in(trees, folder, command, cookie) -> None:
    await run(trees, command, cwd=str(folder), cookie=cookie)


async def test_kill_all_ends_every_tree_at_once(trees, tmp_path):
    results = []

    async def body():
        results.append(
            await run(
                trees,
                "trap '' TERM; setsid sleep 60 & echo $! > stray; echo $$ > pid; sleep 60",
                cwd=str(tmp_path),
            )
        )

    async with anyio.create_task_group() as group:
        group.start_soon(body)
        pids = await wait_for_pids(tmp_path, "pid", "stray")
        await wait_until(lambda: Path(f"/proc/{pids[1]}/comm").read_text() == "sleep\n")
        trees.kill_all_nowait()

    assert results[0].signal == signal.SIGKILL
    await wait_until(lambda: not any(is_alive(pid) for pid in pids))


async def test_kill_all_cuts_a_grace_period_short(trees, tmp_path):
    began = time.monotonic()
    async with anyio.create_task_group() as group:
        command = "trap 'echo 1 > told' TERM; echo $$ > pid; while :; do sleep 0.01; done"
        group.start_soon(run_patiently, trees, tmp_path, command)
        await wait_for_pids(tmp_path, "pid")
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await wait_for_pids(tmp_path, "told")
            trees.kill_all_nowait()

    assert time.monotonic() - began < 10


async def run_patiently(trees, folder, command, **settings) -> None:
    await run(trees, command, cwd=str(folder), grace=60.0, **settings)


async def test_the_trees_of_one_cookie_are_killed_and_no_others(trees, tmp_path):
    signals = {}

    async def body(run_id):
        command = f"echo $$ > {run_id}.pid; sleep 60"
        cookie = f"{trees.cookie_prefix}{run_id}/a/1/0"
        signals[run_id] = (await run(trees, command, cwd=str(tmp_path), cookie=cookie)).signal

    async with anyio.create_task_group() as group:
        for run_id in ("run-1", "run-10"):
            group.start_soon(body, run_id)
        await wait_for_pids(tmp_path, "run-1.pid", "run-10.pid")
        trees.kill_nowait(f"{trees.cookie_prefix}run-1/")
        await wait_until(lambda: signals)
        assert (signals, trees.live_count) == ({"run-1": signal.SIGKILL}, 1)
        trees.kill_nowait("another owner's/")
        trees.kill_nowait(f"{trees.cookie_prefix}run-10/")

    assert signals == {"run-1": signal.SIGKILL, "run-10": signal.SIGKILL}


@pytest.mark.parametrize("is_in_grace", [False, True])
async def test_a_killed_tree_is_over_when_nothing_of_it_is_alive_however_it_holds_on(
    trees, tmp_path, is_in_grace
):
    holds_on = "while :; do setsid sh -c 'trap \"\" TERM; sleep 60 & sleep 60' & sleep 0.01; done"
    left = {}

    async def body(number):
        command = f"trap 'echo 1 > told{number}' TERM; echo $$ > pid{number}; {holds_on}"
        cookie = f"{trees.cookie_prefix}{number}"
        try:
            await run_patiently(trees, tmp_path, command, cookie=cookie)
        finally:
            left[number] = find_survivors(cookie)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(body, number)
        await wait_for_pids(tmp_path, *(f"pid{number}" for number in range(5)))
        with anyio.CancelScope(shield=True):
            if is_in_grace:
                group.cancel_scope.cancel()
                await wait_for_pids(tmp_path, *(f"told{number}" for number in range(5)))
            began = time.monotonic()
            trees.kill_all_nowait()

    assert time.monotonic() - began < 3
    assert list(left.values()) == [[]] * 5


async def test_a_kill_that_a_signals_handler_does_during_the_start_reaches_the_child(trees, monkeypatch):
    popen = subprocess.Popen

    def interrupted(*args, **kwargs):
        child = popen(*args, **kwargs)
        trees.kill_nowait(trees.cookie_prefix)
        return child

    monkeypatch.setattr(subprocess, "Popen", interrupted)

    assert (await run(trees, "sleep 60")).signal == signal.SIGKILL


async def test_fifty_trees_in_sessions_of_their_own_end_together(trees, tmp_path):
    async with anyio.create_task_group() as group:
        for index in range(50):
            command = f"setsid sleep 60 & echo $! > pid{index}; wait"
            group.start_soon(run_in, trees, tmp_path, command, f"{trees.cookie_prefix}{index}")
        await wait_for_pids(tmp_path, *(f"pid{index}" for index in range(50)))
        began = time.monotonic()
        group.cancel_scope.cancel()

    assert time.monotonic() - began < 4
    assert find_survivors(trees.cookie_prefix) == []


async def wait_until(is_so) -> None:
    with anyio.fail_after(10):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens in another process
            await anyio.sleep(0.005)


async def test_no_descriptor_of_ours_is_inherited_and_none_is_left_open(trees, tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        before = descriptors()

        result = await run(trees, ["sh", "-c", "ls -l /proc/$$/fd"])
        after = descriptors()

    assert len(result.stdout.splitlines()) == 4, result.stdout.decode()  # a headline, and 0, 1, 2
    assert b"lock" not in result.stdout
    assert before == after


async def test_a_cancelled_child_leaves_no_descriptor(trees, tmp_path):
    await cancel_when_written(trees, tmp_path, "echo $$ > pid; sleep 60", "pid")
    (tmp_path / "pid").unlink()
    before = len(descriptors())

    await cancel_when_written(trees, tmp_path, "echo $$ > pid; sleep 60", "pid")

    assert len(descriptors()) == before


async def test_a_timeout_of_its_own_ends_the_tree_and_keeps_what_it_printed(trees):
    command = "echo begun; echo why >&2; trap '' TERM; setsid sleep 60 & sleep 60 & wait"

    result = await run(trees, command, timeout=0.3, grace=0.1, cookie=trees.cookie_prefix + "late")

    assert result.is_timed_out
    assert (result.stdout, result.stderr) == (b"begun\n", b"why\n")
    assert find_survivors(trees.cookie_prefix + "late") == []


async def test_a_timeout_that_is_not_reached_changes_nothing(trees):
    result = await run(trees, "echo done", timeout=60.0)

    assert (result.exit_status, result.stdout, result.is_timed_out) == (0, b"done\n", False)


async def test_a_kernel_without_pidfd_does_as_well(trees, tmp_path, monkeypatch):
    def refuse(pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    command = "setsid sleep 60 & echo $! > stray; echo $$ > pid; wait"

    assert (await run(trees, "sleep 0.05; exit 4")).exit_status == 4
    pids, _ = await cancel_when_written(trees, tmp_path, command, "pid", "stray", grace=0.5)

    assert not any(is_alive(pid) for pid in pids)


async def test_a_host_that_ignores_sigchld_gets_no_false_success(trees):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        result = await run(trees, "exit 3")
    finally:
        signal.signal(signal.SIGCHLD, before)

    assert (result.exit_status, result.signal) == (None, None)
