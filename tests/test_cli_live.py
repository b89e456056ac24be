"""`run`, `resume` and `watch` on a terminal: the live view, and the lines where none is wanted or possible."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.text import Text

from actorflow.cli.live.painter import Painter
from tests.cli_shell import Shell, no_process_left_of
from tests.terminal import Program, Window

# a task that has begun says so, and ends when it is allowed to
WAITS = "touch began; until test -e go; do sleep 0.02; done"

BUILD = f"""
name: Build
tasks:
  lib: {{command: 'echo compiling unit 1 of 2; {WAITS}'}}
  app: {{command: 'echo 漢字 is printed, with a rather long line that is cut at the edge of the window; {WAITS}'}}
  docs: {{command: 'echo nobody reads them >&2; exit 3', depends_on: [lib], on_error: {{strategy: skip}}}}
outputs: {{made: 2}}
"""
FAILING = """
name: Failing
tasks:
  bad: {command: 'echo looking for paper; echo none found >&2; exit 7', on_error: {strategy: finish}}
  worse: {command: 'exit 8', depends_on: [{task: bad, on: always}]}
"""
HOOKED = """
name: Hooked
hooks:
  task_finished: [{type: log, mode: async, params: {message: "did {{ task.id }}"}}]
  post_workflow: ["true"]
tasks: {a: {command: "true"}}
"""
PRINTING = """
name: Printing
tasks: {talk: {python: "talk:talk"}}
"""
TALK = """
import logging, os, time

def talk(call):
    logging.getLogger("actorflow.hooks").warning("a record")
    print("first \\x1b[31mred\\x1b[0m\\x1b[2J")
    print("10 %\\r90 %", end="")
    print("\\r100 %")
    open("began", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    print("no end", end="")
"""


@pytest.fixture
def shell(tmp_path: Path) -> Generator[Shell]:
    shell = Shell(tmp_path)
    shell.write("build.yaml", BUILD)
    shell.write("failing.yaml", FAILING)
    shell.write("hooked.yaml", HOOKED)
    shell.write("printing.yaml", PRINTING)
    shell.write("talk.py", TALK)
    with no_process_left_of(shell):
        yield shell


def go(shell: Shell) -> None:
    (shell.folder / "go").touch()


def held(shell: Shell) -> subprocess.Popen[str]:
    """A run in another process that goes on until it may end."""
    process = shell.start("run", "build.yaml", "--run-id", "r")
    shell.wait_for("began")
    return process


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_run_on_a_terminal_shows_its_tasks_and_what_they_print(shell: Shell, backend: str):
    with Program(shell, "run", "build.yaml", "--run-id", "r", "--backend", backend) as program:
        program.until(lambda window: "compiling unit" in window.text and "漢字" in window.text)
        lines = program.window.text.split("\n")
        assert lines[0].startswith("● running  ")
        assert lines[0].endswith("  Build  r")
        assert lines[1].endswith("  0/3 tasks  2 running")
        assert lines[2].startswith("  ● lib   running  ")
        assert lines[2].endswith("compiling unit 1 of 2")
        assert lines[3].endswith("…")
        assert lines[4] == "  · docs  pending"
        go(shell)
        assert program.end() == 0
    assert [line.split()[:2] for line in lines_of(program)] == [
        ["✓", "success"],
        ["━" * 26, "3/3"],
        ["✓", "lib"],
        ["✓", "app"],
        ["✗", "docs"],
        ["success", "r"],
        ["in", "spite"],
        ["outputs:"],
        ["made:", "2"],
    ]


def lines_of(program: Program) -> list[str]:
    return program.window.text.split("\n")


@pytest.mark.parametrize(("width", "height"), [(20, 24), (40, 5), (80, 24), (200, 5)])
def test_a_view_is_never_torn_whatever_the_size_of_the_window(shell: Shell, width: int, height: int):
    go(shell)
    with Program(shell, "run", "build.yaml", "--run-id", "r", width=width, height=height) as program:
        assert program.end() == 0
    text = program.window.text
    assert text.count("✓ success") == 1
    assert text.count("/3 tasks") == 1
    assert text.count("\nsuccess  r") == 1


def test_without_colours_a_view_is_live_all_the_same(shell: Shell):
    go(shell)
    with Program(shell, "run", "build.yaml", NO_COLOR="1") as program:
        assert program.end() == 0
    assert "\x1b[J" in program.written
    assert not any(f"\x1b[{code}" in program.written for code in ("3", "1;3", "9"))
    assert "✓ success" in program.window.text


def test_with_colours_a_status_has_one(shell: Shell):
    go(shell)
    with Program(shell, "run", "build.yaml") as program:
        assert program.end() == 0
    assert "\x1b[32m" in program.written


def test_a_terminal_without_unicode_gets_ascii(shell: Shell):
    go(shell)
    with Program(shell, "run", "failing.yaml", LANG="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii") as program:
        assert program.end() == 1
    assert "x bad    failed" in program.window.text
    assert program.window.text.isascii()


@pytest.mark.parametrize(
    ("term", "flags"),
    [("dumb", []), ("xterm", ["--plain"]), ("xterm", ["--quiet"]), ("xterm", ["--json"])],
)
def test_where_no_view_is_wanted_or_possible_there_are_lines(shell: Shell, term: str, flags: list[str]):
    go(shell)
    with Program(shell, "run", "build.yaml", "--run-id", "r", *flags, TERM=term) as program:
        assert program.end() == 0
    assert "\x1b" not in program.written
    assert ("  lib   success" in program.window.text) == ("--quiet" not in flags)


def test_a_stream_that_is_no_terminal_gets_lines(shell: Shell):
    go(shell)
    done = shell.run("run", "build.yaml", "--run-id", "r")
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr.startswith("run r\n  ")


def test_what_python_agents_print_and_log_stands_above_the_view(shell: Shell):
    with Program(shell, "run", "printing.yaml", "--run-id", "r") as program:
        program.until(lambda window: "100 %" in window.text and "● talk" in window.text)
        above = lines_of(program)[:3]
        assert above == ["a record", "first red\\x1b[2J", "100 %"]
        go(shell)
        assert program.end() == 0
    assert lines_of(program)[:4] == [*above, "no end"]
    assert "\x1b[31mred\x1b[0m" in program.written
    assert lines_of(program)[4].startswith("✓ success")


def test_the_last_picture_counts_hooks_that_came_after_the_last_task(shell: Shell):
    with Program(shell, "run", "hooked.yaml", "--run-id", "r") as program:
        assert program.end() == 0
    assert "  log info: did a\n" in program.window.text
    assert " hooks: 2 done, 0 failed, 0 owed\n" in program.window.text


def test_a_run_that_goes_on_shows_what_was_done_before(shell: Shell):
    run = held(shell)
    run.send_signal(signal.SIGTERM)
    go(shell)
    assert run.wait(30) == 2
    with Program(shell, "resume", "r") as program:
        assert program.end() == 0
    assert lines_of(program)[0].startswith("✓ success  ")
    assert "  ✓ lib   success  " in program.window.text


def test_an_interrupt_is_answered_above_the_view(shell: Shell):
    with Program(shell, "run", "build.yaml", "--run-id", "r", "--grace", "0") as program:
        shell.wait_for("began")
        program.until(lambda window: "● lib" in window.text)
        program.interrupt()
        assert program.end() == 2
    text = program.window.text
    assert text.startswith("SIGINT: stopping; what runs has 0 s (once more: it is killed)\n◷ paused  ")
    assert text.endswith("to go on: actorflow resume r")


def test_a_run_is_pausing_as_long_as_its_tasks_have_their_grace_period(shell: Shell):
    with Program(shell, "run", "build.yaml", "--run-id", "r") as program:
        program.until(lambda window: "2 running" in window.text)
        program.interrupt()
        program.until(lambda window: "◷ pausing  " in window.text)
        go(shell)
        assert program.end() == 2
    assert "◷ paused  " in program.window.text


def test_a_window_that_becomes_narrower_is_painted_anew(shell: Shell):
    with Program(shell, "run", "build.yaml", "--run-id", "r", width=120) as program:
        program.until(lambda window: "compiling unit" in window.text)
        program.resize(40)
        program.until(lambda window: "…" in window.text and len(window.text.split("\n")) >= 5)
        go(shell)
        assert program.end() == 0
    assert program.window.text.count("Build") == 1
    assert max(map(len, lines_of(program))) <= 40


def test_the_end_of_a_failed_run_says_why_and_what_its_task_printed_last(shell: Shell):
    done = shell.run("run", "failing.yaml", "--run-id", "r")
    assert done.stdout.split("\n")[1:] == [
        "  why: task bad, attempt 1: exit_status: exited with status 7: none found",
        "  it printed last:",
        "    looking for paper",
        "    none found",
        "  task worse failed, too: exit_status: exited with status 8",
        "",
    ]
    assert done.stderr.endswith("to see more: actorflow show r bad\n")


def test_a_command_that_is_too_long_for_the_window_stands_in_a_line_of_its_own(shell: Shell):
    with Program(shell, "run", "failing.yaml", "--run-id", "r", width=30) as program:
        assert program.end() == 1
    said = "\nto run again what did not\n  succeed:\n    actorflow resume r\n"
    assert said in program.window.text


# Watching


def test_a_run_of_another_process_is_watched_to_its_end(shell: Shell):
    run = held(shell)
    with Program(shell, "watch", "r") as program:
        program.until(lambda window: "compiling unit" in window.text)
        assert f"● running (pid {run.pid})  " in program.window.text
        go(shell)
        assert program.end() == 0
    assert lines_of(program)[0].startswith("✓ success  ")
    assert lines_of(program)[-1] == "    made: 2"


def test_a_run_whose_process_is_killed_is_called_crashed(shell: Shell):
    run = held(shell)
    with Program(shell, "watch", "last") as program:
        program.until(lambda window: "● lib" in window.text)
        run.kill()
        assert program.end() == 2
    assert lines_of(program)[0].startswith("✗ crashed  ")
    assert lines_of(program)[-1] == "to go on: actorflow resume r"
    assert "its process is gone" in program.window.text


def test_who_stops_watching_leaves_the_run_alone(shell: Shell):
    run = held(shell)
    with Program(shell, "watch", "r", width=200) as program:
        program.until(lambda window: "● lib" in window.text)
        program.interrupt()
        assert program.end() == 2
    assert program.window.text.endswith(
        f"run r goes on in process {run.pid}, and is not watched any more; to stop it: actorflow pause r"
    )
    go(shell)
    run.communicate(timeout=30)
    assert run.returncode == 0


def test_without_a_terminal_a_watched_run_has_the_lines_that_it_has_where_it_runs(shell: Shell):
    run = held(shell)
    watch = shell.start("watch", "r")
    go(shell)
    out, err = watch.communicate(timeout=30)
    assert (out, err) == run.communicate(timeout=30)
    assert (watch.returncode, run.returncode) == (0, 0)


def test_a_run_that_is_over_is_told_from_its_beginning(shell: Shell):
    done = shell.run("run", "failing.yaml", "--run-id", "r")
    watched = shell.run("watch", "r")
    assert (watched.returncode, watched.stdout, watched.stderr) == (1, done.stdout, done.stderr)


def test_a_program_that_watches_gets_a_document_for_each_event_and_the_account(shell: Shell):
    run = held(shell)
    watch = shell.start("watch", "r", "--json")
    go(shell)
    out, err = watch.communicate(timeout=30)
    assert (watch.returncode, err) == (0, "")
    *events, account = map(json.loads, out.splitlines())
    assert [event["seq"] for event in events] == [*range(1, len(events) + 1)]
    assert events[0]["kind"] == "run_started"
    assert events[-1]["kind"] == "run_finished"
    run.communicate(timeout=30)
    assert account.items() <= shell.show("r").items()


def test_a_run_that_does_not_exist_cannot_be_watched(shell: Shell):
    watched = shell.run("watch", "nothing", "--json")
    assert watched.returncode == 66
    assert json.loads(watched.stdout)["error"]["code"] == "E421"


def test_a_paused_run_is_not_waited_for(shell: Shell):
    run = held(shell)
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=30)
    watched = shell.run("watch", "r")
    assert watched.returncode == 2
    assert watched.stdout.startswith("paused  r")


@pytest.mark.parametrize(
    "words", [["version"], ["run", "--help"], ["run", "failing.yaml"], ["watch", "last"]]
)
def test_nothing_but_a_live_view_loads_rich(shell: Shell, words: list[str]):
    code = f"import sys; from actorflow.cli import main; main({words!r}); sys.stderr.write(str('rich' in sys.modules))"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=shell.folder, env=shell.env, capture_output=True, text=True, check=False)
    assert done.stderr.endswith("False")


# The painter


class Stream:
    """A stream that is shown in a window."""

    encoding = "utf-8"

    def __init__(self, window: Window) -> None:
        self.window = window
        self.is_open = True

    def write(self, text: str) -> int:
        if not self.is_open:
            raise OSError(5, "it is gone")
        self.window.feed(text.replace("\n", "\r\n"))
        return len(text)

    def flush(self) -> None:
        pass


def test_what_is_written_above_a_picture_scrolls_and_the_picture_stays():
    window = Window(20, 4)
    painter = Painter(Stream(window), is_coloured=True)  # type: ignore[arg-type] - all that it needs
    painter.paint([Text("one"), Text("two", "red")], 20)
    for number in range(9):
        painter.above(f"line {number}", 20)
    painter.paint([Text("three")], 20)
    assert window.text.split("\n") == [*(f"line {number}" for number in range(9)), "three"]
    painter.leave()
    painter.above("after", 20)
    assert window.text.endswith("three\nafter")


def test_a_picture_that_a_narrower_window_has_broken_is_painted_over():
    window = Window(40, 12)
    painter = Painter(Stream(window), is_coloured=False)  # type: ignore[arg-type] - all that it needs
    painter.above("before", 40)
    painter.paint([Text("x" * 40), Text("y" * 25)], 40)
    window.resize(10)
    painter.paint([Text("new")], 10)
    assert window.text == "before\nnew"


def test_a_terminal_that_is_gone_is_no_error():
    stream = Stream(Window(20, 4))
    painter = Painter(stream, is_coloured=False)  # type: ignore[arg-type] - all that it needs
    stream.is_open = False
    painter.paint([Text("one")], 20)
    painter.above("two", 20)
    assert stream.window.text == ""
