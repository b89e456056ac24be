"""Commands as agents: what they get, and what counts as their output; the words that runners are written in."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from actorflow.actors.host import current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.agents.binding import Echo, Fail, Sleep, parse_runner_word, performer_for
from actorflow.agents.call import AgentCall, Recorded
from actorflow.agents.command import command_performer
from actorflow.agents.failure import AgentFailed
from actorflow.agents.python import AgentThreads
from actorflow.egress.guard import NOTHING_ALLOWED
from actorflow.errors import BindError
from actorflow.http.client import HttpClient
from actorflow.processes import ProcessTrees
from actorflow.spec.model import CommandRunner, PythonRunner
from actorflow.survivors import find_survivors

pytestmark = pytest.mark.anyio


@pytest.fixture
def trees() -> ProcessTrees:
    return ProcessTrees()


@pytest.fixture
def perform(trees, tmp_path, monkeypatch):
    """Perform a command in a folder of its own; its temporary files lie beneath it, too."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))

    async def perform(command, *, env=None, argv=None, cwd=None, **facts) -> Recorded:
        facts = {"input": {"n": 1}, "task": "build", "run_id": "run-1", **facts}
        performer = command_performer(
            CommandRunner(command=command, cwd=cwd),
            folder=str(tmp_path / "work"),
            env={"PATH": os.environ["PATH"], "LANG": "C"},
            trees=trees,
            grace=0.2,
        )
        try:
            result = await performer(AgentCall(env=env or {}, argv=argv, **facts))
        finally:
            assert names_in(tmp_path / "tmp") == [], "temporary files are left"
        assert isinstance(result, Recorded)
        return result

    return perform


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def failure(perform, command, **facts) -> AgentFailed:
    with pytest.raises(AgentFailed) as caught:
        await perform(command, **facts)
    return caught.value


async def test_a_command_knows_its_attempt(perform):
    names = ("RUN_ID", "TASK", "ATTEMPT", "LOSS", "IDEMPOTENCY_KEY", "INPUT")
    command = "printf '[%s] ' " + " ".join(f'"$ACTORFLOW_{name}"' for name in names)

    result = await perform(
        command, attempt=2, loss=1, idempotency_key="run-1/build/1", input={"a": 'ä "q"\n\0'}
    )

    assert result.output == '[run-1] [build] [2] [1] [run-1/build/1] [{"a":"ä \\"q\\"\\n\\u0000"}]'


async def test_an_input_over_100_kb_is_not_in_the_environment(perform):
    assert (await perform('echo "${ACTORFLOW_INPUT-none}"', input="x" * 100_000)).output == "none"
    assert (await perform('echo "${#ACTORFLOW_INPUT}"', input="x" * 99_998)).output == "100000"


async def test_values_pass_through_the_environment_unharmed(perform, tmp_path):
    nasty = "$(touch x) `id` ; ' \" \n -n * \\ \x1b[31m"

    result = await perform(
        'printf "%s|%s" "$NASTY" "$EMPTY"', env={"NASTY": nasty, "EMPTY": "", "LANG": "here"}
    )

    assert result.output == f"{nasty}|"
    assert names_in(tmp_path / "work") == []


async def test_the_calls_environment_comes_before_the_processs_and_ours_before_both(perform):
    result = await perform('echo "$LANG $ACTORFLOW_TASK"', env={"LANG": "here", "ACTORFLOW_TASK": "forged"})

    assert result.output == "here build"


async def test_a_list_is_an_argv_and_the_calls_own_comes_first(perform):
    assert (await perform(("echo", "$HOME", "*"))).output == "$HOME *"
    assert (await perform(("echo", "{{ template }}"), argv=("echo", "rendered"))).output == "rendered"


async def test_a_command_runs_in_the_folder(perform, tmp_path):
    assert (await perform("pwd")).output == str(tmp_path / "work")


async def test_a_cwd_is_relative_to_the_folder_or_absolute(perform, tmp_path):
    (tmp_path / "work" / "sub").mkdir()

    assert (await perform("pwd", cwd="sub")).output == str(tmp_path / "work" / "sub")
    assert (await perform("pwd", cwd="sub/..")).output == str(tmp_path / "work")
    assert (await perform("pwd", cwd=str(tmp_path))).output == str(tmp_path)


@pytest.mark.parametrize("command", ["true", ("true",), ("/bin/true",), ("no-such-program",)])
@pytest.mark.parametrize(("cwd", "problem"), [("gone", "is missing"), ("file", "is not a directory")])
async def test_a_cwd_that_is_no_folder_is_named_and_not_the_program(perform, tmp_path, command, cwd, problem):
    (tmp_path / "work" / "file").touch()

    error = await failure(perform, command, cwd=cwd)

    assert error.type == "not_started"
    assert error.message == f"the working directory {str(tmp_path / 'work' / cwd)!r} {problem}"


async def test_the_output_file_is_private_and_empty(perform):
    result = await perform(
        'stat -c "%a %s" "$ACTORFLOW_OUTPUT" "$(dirname "$ACTORFLOW_OUTPUT")" | cut -d" " -f1'
    )

    assert result.output == "600\n700"


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("true", ""),
        ("echo '  hello \n world  '", "hello \n world"),
        ("echo 5", "5"),
        ("echo noise; echo '{\"a\": [1, 2.5, null]}'", {"a": [1, 2.5, None]}),
        ("echo noise; printf '[1]\\r\\n\\n'", [1]),
        ("echo '{\"a\": 1}'; echo done", '{"a": 1}\ndone'),
        ("echo '{not json'", "{not json"),
        ("echo '[NaN]'", "[NaN]"),
        ("printf '%0100000d' 0 | tr 0 '['", "[" * 100_000),
        (r"printf '\377\376x'", "\ufffd\ufffdx"),
        ("echo printed; echo '{\"a\": 1}' > $ACTORFLOW_OUTPUT", {"a": 1}),
        ("echo 5 > $ACTORFLOW_OUTPUT", 5),
        ("echo null > $ACTORFLOW_OUTPUT", None),
        ("echo some text > $ACTORFLOW_OUTPUT", "some text"),
        (r"printf '\377' > $ACTORFLOW_OUTPUT", "\ufffd"),
        ("echo -Infinity > $ACTORFLOW_OUTPUT", "-Infinity"),
        ("echo printed; rm $ACTORFLOW_OUTPUT", "printed"),
        ("echo 7 > new; mv new $ACTORFLOW_OUTPUT", 7),
        (
            "(printf '\"'; head -c 400000 /dev/zero | tr '\\0' x; printf '\"') > $ACTORFLOW_OUTPUT",
            "x" * 400_000,
        ),
    ],
)
async def test_the_output_is_the_file_or_the_last_lines_json_or_stdout(perform, command, output):
    result = await perform(command)

    assert json.dumps(result.output) == json.dumps(output)
    assert result.record["exit_status"] == 0


async def test_the_record_has_the_tail_of_stderr_and_says_what_was_cut(perform):
    result = await perform("head -c 2000000 /dev/zero | tr '\\0' y; seq 1 10000 >&2")

    assert result.output == "y" * (1 << 20)
    assert result.record["truncated"] is True
    assert len(result.record["stderr"]) == 4096
    assert result.record["stderr"].endswith("9999\n10000\n")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("rm $ACTORFLOW_OUTPUT; mkfifo $ACTORFLOW_OUTPUT", "not a regular file"),
        ("truncate -s 65M $ACTORFLOW_OUTPUT", "more than 64 MiB"),
    ],
)
async def test_a_file_that_cannot_be_an_output_is_a_failure(perform, command, sentence):
    error = await failure(perform, command)

    assert error.type == "output"
    assert sentence in error.message


@pytest.mark.parametrize(
    ("command", "type_", "message", "detail"),
    [
        ("exit 3", "exit_status", "exited with status 3", {"exit_status": 3, "stderr": ""}),
        (
            "echo one >&2; echo ' two ' >&2; echo >&2; exit 4",
            "exit_status",
            "exited with status 4: two",
            {"exit_status": 4, "stderr": "one\n two \n\n"},
        ),
        ("kill -KILL $$", "signal", "killed by SIGKILL", {"signal": "SIGKILL", "stderr": ""}),
        ("kill -40 $$", "signal", "killed by signal 40", {"signal": "signal 40", "stderr": ""}),
        (
            ("no-such-program",),
            "not_found",
            "exited with status 127: no-such-program: not found",
            {"exit_status": 127, "stderr": "no-such-program: not found\n"},
        ),
    ],
)
async def test_a_failure_says_how_the_command_ended(perform, command, type_, message, detail):
    error = await failure(perform, command)

    assert (error.type, error.message, error.detail) == (type_, message, detail)


async def test_a_program_that_the_shell_does_not_find_is_not_found(perform):
    assert (await failure(perform, "no-such-program --now")).type == "not_found"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"A": "x\0y"}, "the environment variable A holds a NUL"),
        ({"A=B": "x"}, "'A=B' cannot be the name of an environment variable"),
        ({"": "x"}, "'' cannot be the name of an environment variable"),
        ({"BIG": "x" * 200_000}, "the environment variable BIG has 200,005 bytes, more than the 131,072"),
    ],
)
async def test_a_variable_that_cannot_be_passed_is_named(perform, env, message):
    error = await failure(perform, "true", env=env)

    assert error.type == "environment"
    assert error.message.startswith(message)


async def test_the_largest_variable_that_passes_the_check_passes_the_system(perform):
    assert (await perform('echo "${#B}"', env={"B": "x" * (131_072 - 3)})).output == str(131_072 - 3)


async def test_what_cannot_be_started_is_a_failure(perform, tmp_path):
    (tmp_path / "work").rmdir()

    error = await failure(perform, "true")

    assert error.type == "not_started"
    assert error.message == f"the working directory {str(tmp_path / 'work')!r} is missing"


async def test_a_host_that_takes_the_status_away_gets_a_failure_not_a_success(perform):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        error = await failure(perform, "true")
    finally:
        signal.signal(signal.SIGCHLD, before)

    assert error.type == "exit_status"
    assert "ignores SIGCHLD" in error.message


async def test_a_timeout_ends_all_that_the_command_started(perform, trees, tmp_path):
    with anyio.move_on_after(0.3) as scope:
        await perform("trap '' TERM; setsid sleep 60 & sleep 60 & touch begun; wait")

    assert scope.cancelled_caught
    assert (tmp_path / "work" / "begun").exists()
    assert find_survivors(f"{trees.cookie_prefix}run-1/build/1/0") == []


@pytest.mark.parametrize(
    ("word", "runner"),
    [
        ("echo", Echo()),
        ("fail", Fail()),
        ("sleep:1m30s", Sleep(90.0)),
        ("sleep:0.5", Sleep(0.5)),
        ("python:shop.agents:charge", PythonRunner(path="shop.agents:charge")),
        ("command:echo a:b | cat", CommandRunner(command="echo a:b | cat")),
    ],
)
def test_a_runner_word_is_read(word, runner):
    assert parse_runner_word(word) == runner


@pytest.mark.parametrize(
    "word",
    [
        "",
        "ecko",
        "echo:",
        "fail:now",
        "sleep",
        "sleep:",
        "sleep:0",
        "sleep:-1s",
        "python:",
        "command: ",
        "x:y",
    ],
)
def test_what_is_no_runner_word_is_refused_with_what_would_be(word):
    with pytest.raises(BindError, match="is not a runner"):
        parse_runner_word(word)


async def test_every_binding_performs(trees, tmp_path, anyio_backend, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    module = f"af_binding_{anyio_backend}"
    (tmp_path / f"{module}.py").write_text("def run(call): return 'from ' + call.task")
    call = AgentCall(input={"n": 1}, task="t", run_id="r", description="what to do")

    async def result(binding):
        tools = {"env": {}, "trees": trees, "threads": AgentThreads(1)}
        tools |= {"http": HttpClient(AsyncioRoom(current_host())), "guard": NOTHING_ALLOWED, "trust": "own"}
        return await performer_for(binding, folder=str(tmp_path), **tools)(call)

    assert await result("echo") == {"input": {"n": 1}, "description": "what to do"}
    assert await result("sleep:1ms") is None
    assert (await result("command:echo hi")).output == "hi"
    assert (await result(CommandRunner(command=("echo", "hi")))).output == "hi"
    assert await result(f"python:{module}:run") == "from t"
    assert await result(lambda call: call.attempt) == 1
    with pytest.raises(AgentFailed, match="told to fail"):
        await result("fail")
    with pytest.raises(BindError, match="not callable"):
        await result(7)
