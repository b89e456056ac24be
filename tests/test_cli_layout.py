"""Tables fit the terminal: what matters least goes first, the last cell is broken between words, and no line is too wide."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.cli import main
from actorflow.cli.layout import columns, wrapped
from actorflow.cli.terminal import Terminal, cells, cut, terminal_of
from tests.cli_shell import ROOT

TASKS = [
    ("TASK", "STATUS", "ATTEMPTS", "TIME", "AGENT", "WHY"),
    ("fetch", "failed", "3", "0.35 s", "python", "exit_status: exited with status 75: the feed is busy"),
    ("send", "success", "1", "0.01 s", "python", ""),
]
SPARE = (4, 2, 3)

FITTED = {
    None: """\
TASK   STATUS   ATTEMPTS  TIME    AGENT   WHY
fetch  failed   3         0.35 s  python  exit_status: exited with status 75: the feed is busy
send   success  1         0.01 s  python""",
    80: """\
TASK   STATUS   ATTEMPTS  TIME    AGENT   WHY
fetch  failed   3         0.35 s  python  exit_status: exited with status 75:
                                          the feed is busy
send   success  1         0.01 s  python""",
    50: """\
TASK   STATUS   TIME    WHY
fetch  failed   0.35 s  exit_status: exited with
                        status 75: the feed is
                        busy
send   success  0.01 s""",
    40: """\
TASK   STATUS   WHY
fetch  failed   exit_status: exited with
                status 75: the feed is
                busy
send   success""",
    30: """\
TASK   STATUS   WHY
fetch  failed
    exit_status: exited with
    status 75: the feed is
    busy
send   success""",
}


@pytest.mark.parametrize(("width", "lines"), FITTED.items())
def test_a_narrow_table_has_fewer_columns_and_breaks_the_last_cell(width: int | None, lines: str):
    assert "\n".join(columns(TASKS, width=width, spare=SPARE)) == lines


def test_what_is_left_is_cut_where_it_is_still_too_wide_and_the_first_column_last():
    rows = [("a" * 30, "b" * 30, "why"), ("c", "d", "")]
    assert columns(rows, width=40) == [f"{'a' * 27}…  {'b' * 7}…", "    why", f"c{' ' * 29}d"]


def test_wide_characters_take_two_columns():
    assert columns([("日本", "x"), ("abc", "y")]) == ["日本  x", "abc   y"]
    assert columns([("n", "日本日本日本日本日本 語")], width=24) == ["n  日本日本日本日本日本", "   語"]


def test_a_row_whose_other_cells_are_empty_has_no_blank_line():
    rows = [("requests_in_all", "tag=one 1"), ("", "tag=two 2")]
    assert columns(rows, width=18) == ["requests_in_all", "    tag=one 1", "    tag=two 2"]


_CELLS = st.text(st.sampled_from("ab 日\u0301\n"), max_size=30)


@given(
    st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(_CELLS, min_size=n, max_size=n), max_size=6)),
    st.integers(12, 120),
    st.lists(st.integers(0, 4), unique=True, max_size=4),
)
def test_no_line_of_a_table_is_wider_than_it_may_be(
    rows: Sequence[Sequence[str]], width: int, spare: list[int]
):
    lines = columns(rows, indent="  ", width=width, spare=spare)
    assert max(map(cells, lines), default=0) <= width
    assert len(lines) >= len(rows)


@given(st.text(st.sampled_from("abc 日"), max_size=60), st.integers(2, 40))
def test_a_broken_text_has_all_its_words(text: str, width: int):
    lines = wrapped(text, width)
    assert max(map(cells, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(st.text(max_size=40), st.integers(1, 40), st.sampled_from(["…", ".."]))
def test_a_text_that_is_cut_says_so_and_has_room(text: str, width: int, mark: str):
    shown = cut(text, width, mark)
    assert cells(shown) <= width
    assert shown == text or shown.endswith(mark[:width])


def _stream(encoding: str) -> IO[str]:
    return open(os.devnull, "w", encoding=encoding)  # noqa: PTH123 - a stream that is no terminal


@pytest.mark.parametrize(
    ("encoding", "variables", "is_unicode"),
    [
        ("utf-8", {}, True),
        ("utf-8", {"LANG": "C.UTF-8"}, True),
        ("utf-8", {"LANG": "C"}, False),
        ("utf-8", {"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, False),
        ("utf-8", {"LANG": "C", "LC_ALL": "", "LC_CTYPE": "de_DE.UTF-8"}, True),
        ("latin-1", {"LANG": "en_US"}, False),
        ("ascii", {}, False),
    ],
)
def test_box_characters_are_for_streams_and_locales_that_have_them(
    encoding: str, variables: Mapping[str, str], is_unicode: bool
):
    with _stream(encoding) as stream:
        assert terminal_of(stream, variables) == Terminal(None, is_unicode)


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colours_are_for_terminals_that_have_them_and_people_who_want_them(
    variables: Mapping[str, str], is_coloured: bool
):
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 77, 0, 0))
    with open(slave, "w", encoding="utf-8") as stream, open(master, "rb"):  # noqa: PTH123 - they are open
        assert terminal_of(stream, variables) == Terminal(77, is_unicode=True, is_coloured=is_coloured)


WHY = "the feed is busy and will be so for a long while"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run that failed."""
    folder = tmp_path_factory.mktemp("layout")
    task = f"{{command: 'echo {WHY} >&2; exit 3'}}"
    (folder / "feed.yaml").write_text(f"tasks: {{fetch: {task}}}\n", encoding="utf-8")
    store = str(folder / "runs.db")
    assert main(["--store", store, "run", str(folder / "feed.yaml"), "--run-id", "feed-1", "--quiet"]) == 1
    return folder


def _on_a_terminal(folder: Path, width: int, variables: Mapping[str, str], *words: str) -> str:
    """What a command shows on a terminal of this width."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ROOT,
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        **variables,
    }
    argv = [sys.executable, "-m", "actorflow", "--store", str(folder / "runs.db"), *words]
    subprocess.run(
        argv, cwd=folder, env=env, stdout=slave, stderr=subprocess.DEVNULL, check=False, timeout=60
    )
    os.close(slave)
    found = b""
    with open(master, "rb", buffering=0) as stream:  # noqa: PTH123 - it is open
        while chunk := _chunk(cast("IO[bytes]", stream)):
            found += chunk
    return found.decode().replace("\r\n", "\n")


def _chunk(stream: IO[bytes]) -> bytes:
    try:
        return stream.read(65_536)
    except OSError:  # Linux says so of a terminal that nobody writes to any more
        return b""


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("show", "feed-1"),
        ("graph", "feed-1"),
        ("dead-letters", "list"),
        ("hooks", "events"),
        ("metrics",),
    ],
)
def test_tables_and_drawings_fit_the_terminal_and_say_why(folder: Path, words: Sequence[str], width: int):
    shown = _on_a_terminal(folder, width, {"TERM": "xterm"}, *words)
    plain = re.sub(r"\x1b\[\d+m", "", shown)
    rows = plain.partition("\nTASK")[2].partition("\n\n")[0] if words[0] == "show" else plain
    assert max(map(cells, rows.splitlines())) <= width
    if words[0] == "show":
        assert WHY in " ".join(rows.split())
        assert "\x1b[31m×" in shown


def test_a_terminal_without_colours_and_box_characters_gets_neither(folder: Path):
    assert "\x1b" not in _on_a_terminal(folder, 80, {"TERM": "xterm", "NO_COLOR": "1"}, "show", "feed-1")
    assert "\x1b" not in _on_a_terminal(folder, 80, {"TERM": "dumb"}, "show", "feed-1")
    assert _on_a_terminal(folder, 80, {"TERM": "dumb", "LC_ALL": "C"}, "show", "feed-1").isascii()
    assert _on_a_terminal(folder, 80, {"TERM": "dumb", "LC_ALL": "C"}, "graph", "feed-1").isascii()
