"""Scripts as agents: how their text or file is run, by which interpreter, and what is left of them afterwards."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
import pytest

from actorflow.actors.host import current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.agents.binding import performer_for
from actorflow.agents.call import AgentCall, Recorded
from actorflow.agents.failure import AgentFailed
from actorflow.agents.python import AgentThreads
from actorflow.agents.script import script_performer
from actorflow.egress.guard import NOTHING_ALLOWED
from actorflow.http.client import HttpClient
from actorflow.processes import ProcessTrees
from actorflow.spec.model import ScriptRunner
from actorflow.survivors import find_survivors

pytestmark = pytest.mark.anyio

NASTY = [
    "",
    "-n",
    "--version",
    "$(touch x)",
    "`id`",
    'it\'s "quoted"',
    "two\nlines\n",
    "*",
    " ; ",
    "ü\t€",
    "\\",
]

INTERPRETERS = {"bash": "bash", "javascript": "node", "ruby": "ruby", "perl": "perl"}


@pytest.fixture
def trees() -> ProcessTrees:
    return ProcessTrees()


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """The workflow's folder; temporary files lie beside it."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "work"


@pytest.fixture
def perform(trees, work):
    """Perform a script, and see to it that no temporary file is left."""

    async def perform(language, text=None, *, env=None, argv=None, path=None, input=None, **spec) -> Recorded:  # noqa: A002
        performer = script_performer(
            ScriptRunner(language=language, text=text, **spec),
            folder=str(work),
            env={"PATH": os.environ["PATH"] if path is None else path, "LANG": "C.UTF-8"},
            trees=trees,
            grace=0.2,
        )
        call = AgentCall(input=input, task="build", run_id="run-1", env=env or {}, argv=argv)
        try:
            result = await performer(call)
        finally:
            assert list((work.parent / "tmp").iterdir()) == [], "temporary files are left"
        assert isinstance(result, Recorded)
        return result

    return perform


@pytest.fixture
def stand_ins(tmp_path) -> str:
    """A PATH with a program for every interpreter's name, which prints its own name, its arguments and the script."""
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    for name in INTERPRETERS.values():
        program = folder / name
        program.write_text('#!/bin/sh\nprintf "%s|" "${0##*/}" "${1##*.}" "$2" "$3"\ncat "$1"\n')
        program.chmod(0o700)
    return f"{folder}:{os.environ['PATH']}"


async def failure(perform, *args, **kwargs) -> AgentFailed:
    with pytest.raises(AgentFailed) as caught:
        await perform(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (
            "python",
            "import json, os\nprint(json.dumps({'n': json.loads(os.environ['ACTORFLOW_INPUT'])['n'] + 1}))",
        ),
        ("bash", 'set -euo pipefail\nn=(5 6)\necho "{\\"n\\": ${n[1]}}"'),
        ("perl", 'print "noise\\n{\\"n\\": ", 5 + 1, "}\\n";'),
    ],
)
async def test_a_text_is_run_by_the_interpreter_of_its_language(perform, language, text):
    assert (await perform(language, text, input={"n": 5})).output == {"n": 6}


@pytest.mark.parametrize(("language", "program"), INTERPRETERS.items())
async def test_the_interpreter_is_the_first_in_the_path_that_the_script_has(
    perform, stand_ins, language, program
):
    suffix = {"bash": "sh", "javascript": "js", "ruby": "rb", "perl": "pl"}[language]
    expected = f"{program}|{suffix}|-n|b c|the 'text'"

    assert (await perform(language, "the 'text'", args=("-n", "b c"), path=stand_ins)).output == expected
    by_env = await perform(language, "the 'text'", args=("-n", "b c"), path="/none", env={"PATH": stand_ins})
    assert by_env.output == expected


async def test_python_is_the_one_that_runs_this_whatever_the_path_has(perform):
    assert (
        await perform("python", "import sys; print(sys.executable)", path="/none")
    ).output == sys.executable


@pytest.mark.parametrize(("language", "program"), INTERPRETERS.items())
async def test_a_missing_interpreter_is_not_found(perform, tmp_path, language, program):
    error = await failure(perform, language, "", path=str(tmp_path))

    assert error.type == "not_found"
    assert error.message.startswith(f"'{program}', which runs {language} scripts, is not in the PATH")
    assert error.detail == {"exit_status": 127}


async def test_a_relative_part_of_the_path_counts_from_where_the_script_runs(perform, work):
    (work / "bin").mkdir()
    (work / "bin" / "ruby").write_text("#!/bin/sh\necho mine")
    (work / "bin" / "ruby").chmod(0o700)

    assert (await perform("ruby", "", path=f"bin:{os.environ['PATH']}")).output == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "print('it''s \"quoted\" $HOME `id` {{ input.x }} ${X} %s \\\\')",
        "print('ü € 😀 \u200b')",
        "print('no newline at the end')",
        "print('tabs\tand\tmore')\n\n\n",
        "print(\n    'several'\n    ' lines'\n)\n",
    ],
)
async def test_a_text_is_run_exactly_as_it_is_written(perform, text):
    read_itself = f"{text}\nprint(open(__file__, newline='').read(), end='')"

    output = (await perform("python", read_itself)).output

    assert output.endswith(read_itself)


@pytest.mark.parametrize("size", [100_000, 1_000_000])
async def test_a_long_text_is_run_too(perform, size):
    assert (await perform("bash", f"# {'x' * size}\necho done")).output == "done"


async def test_the_text_lies_in_a_private_file_of_a_private_folder(perform):
    assert (await perform("bash", 'stat -c %a "$0" "$(dirname "$0")"')).output == "600\n700"


@pytest.mark.parametrize("language", ["python", "bash", "perl"])
async def test_arguments_reach_the_script_as_they_are(perform, language):
    texts = {
        "python": "import json, sys; print(json.dumps(sys.argv[1:]))",
        "bash": "python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\"",
        "perl": "use JSON::PP; binmode(STDOUT); "
        'print JSON::PP->new->encode([map { my $a = $_; utf8::decode($a); $a } @ARGV]) =~ s/([^\\x00-\\x7f])/sprintf("\\\\u%04x", ord($1))/ger;',
    }

    assert (await perform(language, texts[language], args=tuple(NASTY))).output == NASTY
    assert (await perform(language, texts[language], args=("written",), argv=("rendered",))).output == [
        "rendered"
    ]


async def test_a_script_has_the_environment_of_a_command_and_nothing_to_read(perform):
    text = 'cat; echo "$MODE $ACTORFLOW_TASK $ACTORFLOW_INPUT" > "$ACTORFLOW_OUTPUT"; echo said >&2'

    result = await perform("bash", text, env={"MODE": "fast"}, input={"a": 1})

    assert result.output == 'fast build {"a":1}'
    assert result.record == {"exit_status": 0, "stderr": "said\n"}


async def test_a_failed_script_is_a_failed_command(perform):
    error = await failure(perform, "python", "raise ValueError('not today')")

    assert (error.type, error.message) == ("exit_status", "exited with status 1: ValueError: not today")


async def test_a_file_is_run_where_it_lies_without_an_execute_bit(perform, work):
    (work / "sub").mkdir()
    (work / "sub" / "helper.py").write_text("VALUE = 5")
    (work / "sub" / "it is.py").write_text(
        "import helper, os, sys; print([helper.VALUE, sys.argv[1], os.getcwd()])"
    )

    result = await perform("python", file="sub/it is.py", args=("a b",))

    assert result.output == str([5, "a b", str(work)])


async def test_a_file_whose_name_looks_like_a_flag_is_a_file(perform, work):
    (work / "-n").write_text("echo run")

    assert (await perform("bash", file="-n")).output == "run"


@pytest.mark.parametrize(
    ("name", "type_", "problem"),
    [
        ("gone.sh", "not_found", "is missing"),
        ("file.sh/gone.sh", "not_found", "is missing"),
        ("folder.sh", "not_started", "is a folder"),
        ("fifo.sh", "not_started", "is not a regular file"),
        ("loop.sh", "not_started", "cannot be read: Too many levels of symbolic links"),
    ],
)
async def test_what_is_no_script_file_is_refused_by_its_name(perform, work, name, type_, problem):
    (work / "file.sh").touch()
    (work / "folder.sh").mkdir()
    (work / "loop.sh").symlink_to("loop.sh")
    os.mkfifo(work / "fifo.sh")

    error = await failure(perform, "bash", file=name)

    assert (error.type, error.message) == (type_, f"the script {str(work / name)!r} {problem}")


async def test_a_script_runs_in_its_cwd_and_a_missing_one_is_named(perform, work):
    (work / "sub").mkdir()
    (work / "here.sh").write_text("pwd")

    assert (await perform("bash", "pwd", cwd="sub")).output == str(work / "sub")
    assert (await perform("bash", file="here.sh", cwd="sub")).output == str(work / "sub")
    error = await failure(perform, "bash", "pwd", cwd="gone")
    assert error.type == "not_started"
    assert error.message == f"the working directory {str(work / 'gone')!r} is missing"


async def test_a_cancelled_script_ends_with_all_that_it_started_and_its_file_is_removed(perform, trees, work):
    text = "trap '' TERM\nsetsid sleep 60 &\nsleep 60 &\ncp \"$0\" begun\nwait"

    with anyio.move_on_after(0.4) as scope:
        await perform("bash", text)

    assert scope.cancelled_caught
    assert (work / "begun").read_text() == text
    assert find_survivors(f"{trees.cookie_prefix}run-1/build/1/0") == []


async def test_a_script_may_remove_or_replace_itself(perform):
    assert (await perform("bash", 'rm "$0"; echo done')).output == "done"
    assert (await perform("bash", 'rm -r "$(dirname "$0")"; echo done')).output == "done"


async def test_a_script_runner_is_bound(trees, work):
    tools = {"folder": str(work), "env": dict(os.environ), "trees": trees, "threads": AgentThreads(1)}
    tools |= {"http": HttpClient(AsyncioRoom(current_host())), "guard": NOTHING_ALLOWED, "trust": "own"}
    performer = performer_for(ScriptRunner(language="bash", text="echo '[1]'"), **tools)

    result = await performer(AgentCall(input={}, task="t", run_id="r"))

    assert json.dumps(result.output) == "[1]"
