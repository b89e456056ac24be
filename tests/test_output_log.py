"""What is promised of the lines that processes print: kept as they come, whole, within bounds, without secrets, and for us alone."""

from __future__ import annotations

import itertools
import logging
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow import Runtime, load_dict
from actorflow.agents import process_lines
from actorflow.agents.call import AgentCall
from actorflow.agents.process_lines import END_KEPT, KEPT_AS_IT_COMES, LINE_COST, LINE_MAX, ProcessLines
from actorflow.errors import RunOwnedElsewhereError
from actorflow.journal import open_journal, output_log
from actorflow.journal.output_log import NO_OUTPUT, FileOutputLog, MemoryOutputLog, OutputLine, OutputLog
from actorflow.journal.protocol import Append, Release
from actorflow.secrecy.hiding import hiding_of
from tests.journal_cases import beginning, create, ok

SECRET = "s3cret-of-the-shop"


@pytest.fixture(params=["file", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> OutputLog:
    return FileOutputLog(str(tmp_path / "runs.db.logs")) if request.param == "file" else MemoryOutputLog()


@pytest.fixture
def files(tmp_path: Path) -> FileOutputLog:
    return FileOutputLog(str(tmp_path / "logs"))


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Time that goes on as it is told to."""
    now = [100.0]

    def go_on(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(process_lines.time, "monotonic", lambda: now[0])
    return go_on


def line(text: str = "x", **more: object) -> OutputLine:
    facts: dict[str, object] = {"at": 1.5, "task": "t", "attempt": 1, "loss": 0, "stream": "stdout"}
    return OutputLine(**{**facts, "text": text, **more})  # pyright: ignore[reportArgumentType]


def texts(lines: list[OutputLine]) -> list[str]:
    return [each.text for each in lines]


def call_with(log: OutputLog, *secrets: str) -> AgentCall:
    return AgentCall({}, "t", "r", outputs=log, hiding=hiding_of(secrets))


def said(log: OutputLog, *chunks: bytes, secrets: tuple[str, ...] = ()) -> list[str]:
    """What is kept of a stdout that comes in these pieces."""
    lines = ProcessLines(call_with(log, *secrets))
    for chunk in chunks:
        lines.take("stdout", chunk)
    lines.end()
    return texts(everything(log))


def everything(log: OutputLog) -> list[OutputLine]:
    found: list[OutputLine] = []
    position = 0
    while True:
        lines, behind = log.read("r", position)
        if behind == position:
            return found
        found += lines
        position = behind


# The log


def test_what_was_written_is_read_in_order_and_once(log: OutputLog):
    log.write("r", [line("a"), line("b", stream="stderr", attempt=2, loss=1)])
    first, position = log.read("r")
    log.write("r", [line("c", is_note=True)])
    second, end = log.read("r", position)

    assert first == [line("a"), line("b", stream="stderr", attempt=2, loss=1)]
    assert second == [line("c", is_note=True)]
    assert log.read("r", end) == ([], end)


def test_runs_do_not_see_each_other_and_go_alone(log: OutputLog):
    log.write("r", [line("a")])
    log.write("s", [line("b")])
    log.remove("r")
    log.remove("never there")
    assert log.read("r")[0] == []
    assert texts(log.read("s")[0]) == ["b"]


@pytest.mark.parametrize(
    "run_id", ["../../x", "a/b", ".", "..", "", "\0", "R" * 300, "%2e%2e", "é\u202e", "-rf"]
)
def test_any_id_makes_a_file_in_the_folder_and_of_its_own(files: FileOutputLog, tmp_path: Path, run_id: str):
    others = [run_id.lower() + "_", run_id + ".jsonl", "r"]
    for each in (run_id, *others):
        files.write(each, [line(each)])
    assert texts(files.read(run_id)[0]) == [run_id]
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "logs"}


def test_the_folder_and_the_files_are_for_us_alone_and_made_with_the_first_line(
    files: FileOutputLog, tmp_path: Path
):
    files.write("r", [])
    assert not (tmp_path / "logs").exists()
    files.write("r", [line()])
    (path,) = (tmp_path / "logs").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_line_that_a_kill_has_torn_is_passed_over_and_the_next_is_whole(tmp_path: Path):
    FileOutputLog(str(tmp_path)).write("r", [line("a"), line("b")])
    (path,) = tmp_path.iterdir()
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 3)
    later = FileOutputLog(str(tmp_path))
    assert texts(later.read("r")[0]) == ["a"]
    later.write("r", [line("c")])
    assert texts(later.read("r")[0]) == ["a", "c"]


def test_half_a_line_is_not_read_before_the_other_half_is_there(files: FileOutputLog, tmp_path: Path):
    files.write("r", [line("a"), line("b")])
    (path,) = (tmp_path / "logs").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    first, position = files.read("r")
    path.write_bytes(whole)
    assert (texts(first), texts(files.read("r", position)[0])) == (["a"], ["b"])


@pytest.mark.parametrize(
    "spoiled",
    [
        b'["1.0","t",1,0,"stdout","x"]',
        b'[1.0,"t","1",0,"stdout","x"]',
        b'[1.0,"t",1,null,"stdout","x"]',
        b'[1.0,"t",1,0,"stdouu","x"]',
        b'[1.0,"t",1,0,["stdout"],"x"]',
        b'[1.0,"t",1,0,"stdout",7]',
    ],
)
def test_a_line_in_which_damage_has_made_something_else_of_a_value_is_passed_over(
    files: FileOutputLog, tmp_path: Path, spoiled: bytes
):
    files.write("r", [line("a")])
    (path,) = (tmp_path / "logs").iterdir()
    path.write_bytes(spoiled + b"\n" + path.read_bytes())
    assert texts(files.read("r")[0]) == ["a"]


def test_what_is_no_line_of_ours_is_passed_over(files: FileOutputLog, tmp_path: Path):
    files.write("r", [line("a")])
    (path,) = (tmp_path / "logs").iterdir()
    path.write_bytes(b"\xff\n[]\n{}\n[1]\nnull\n" + path.read_bytes())
    assert texts(files.read("r")[0]) == ["a"]


def test_a_disk_that_takes_nothing_is_told_of_once_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "logs").write_text("a file")
    log = FileOutputLog(str(tmp_path / "logs"))
    with caplog.at_level(logging.WARNING, "actorflow.journal"):
        log.write("r", [line("a")])
        log.write("r", [line("b")])
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        "the output of run r is not kept any more"
    ]


def test_a_symbolic_link_in_place_of_a_file_is_not_followed(files: FileOutputLog, tmp_path: Path):
    files.write("r", [line("a")])
    (path,) = (tmp_path / "logs").iterdir()
    path.unlink()
    (tmp_path / "else").write_text("mine\n")
    path.symlink_to(tmp_path / "else")
    files.write("r", [line("b")])
    assert (tmp_path / "else").read_text() == "mine\n"


def test_a_file_has_an_end_and_says_so(files: FileOutputLog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(output_log, "FILE_MAX", 100)
    for number in range(10):
        files.write("r", [line(str(number) * 40)])
    *kept, note = files.read("r")[0]
    assert texts(kept) == ["0" * 40, "1" * 40]
    assert note.is_note
    assert "what follows is not kept" in note.text


def test_memory_keeps_the_last_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(output_log, "LINES_IN_MEMORY", 3)
    log = MemoryOutputLog()
    _, position = log.read("r")
    log.write("r", [line(str(number)) for number in range(5)])
    assert texts(log.read("r", position)[0]) == ["2", "3", "4"]


@pytest.mark.parametrize("kind", ["sqlite", "memory", "json"])
def test_a_deletion_that_is_refused_leaves_the_lines_where_they_are(tmp_path: Path, kind: str):
    url = {"sqlite": f"sqlite:///{tmp_path}/runs.db", "memory": "memory:", "json": f"json:{tmp_path}/runs"}[
        kind
    ]
    journal = open_journal(url)
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    journal.outputs.write("r", [line("a")])
    with pytest.raises(RunOwnedElsewhereError):
        journal.delete("r")
    assert texts(everything(journal.outputs)) == ["a"]
    ok(journal, Release("r"))
    assert journal.delete("r")
    assert everything(journal.outputs) == []
    journal.close()


# From chunks to lines


@given(st.text(alphabet=st.characters(exclude_characters="\r", codec="utf-8")), st.lists(st.integers(0, 200)))
def test_however_a_text_is_cut_its_lines_are_the_same(text: str, cuts: list[int]):
    data = text.encode()
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[start:end] for start, end in itertools.pairwise(bounds)]
    expected = text.split("\n")
    assert said(MemoryOutputLog(), *chunks) == (expected[:-1] if expected[-1] == "" else expected)


@given(st.lists(st.integers(1, 60), max_size=4), st.sampled_from([SECRET, "multi\nline-secret-here"]))
def test_a_secret_is_found_wherever_a_read_ends(cuts: list[int], secret: str):
    data = f"before {secret} after\nand {secret}\n".encode()
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[start:end] for start, end in itertools.pairwise(bounds)]
    kept = said(MemoryOutputLog(), *chunks, secrets=(secret,))
    assert kept == ["before *** after", "and ***"]


def test_bytes_that_are_no_text_are_replaced():
    assert said(MemoryOutputLog(), b"a\xffb\n\xe2\x82", b"\xac\n") == ["a\ufffdb", "€"]


def test_what_is_written_over_is_told_once_a_second_and_the_last_of_it_at_the_end(
    tick: Callable[[float], None],
):
    log = MemoryOutputLog()
    lines = ProcessLines(call_with(log))
    for percent in range(0, 100, 10):
        lines.take("stdout", b"%d%%\r" % percent)
        tick(0.25)
    lines.take("stdout", b"done\r\n")
    assert texts(everything(log)) == ["0%", "40%", "80%", "done"]


def test_a_long_line_is_told_in_pieces():
    text = "x" * LINE_MAX + "y" * LINE_MAX + "z"
    assert said(MemoryOutputLog(), text.encode() + b"\nend") == ["x" * LINE_MAX, "y" * LINE_MAX, "z", "end"]


def test_of_what_is_more_than_is_kept_there_is_a_line_a_second_and_the_end(tick: Callable[[float], None]):
    log = MemoryOutputLog()
    lines = ProcessLines(call_with(log))
    row = b"%06d " + b"x" * 993
    count = 3 * KEPT_AS_IT_COMES // 1_001
    kept = KEPT_AS_IT_COMES // (1_000 + LINE_COST)
    for number in range(count):
        lines.take("stdout", row % number + b"\n")
        tick(0.001)
    lines.end()
    numbers = [int(each.text[:6]) for each in everything(log) if not each.is_note]
    notes = [each.text for each in everything(log) if each.is_note]
    assert numbers[:kept] == [*range(kept)]
    assert numbers[-60:] == [*range(count - 60, count)]
    assert sum(map(len, texts(everything(log)))) < KEPT_AS_IT_COMES + 2 * END_KEPT
    left_out = 1_001 * (count - len(numbers))
    assert notes[-1] == f"… {left_out:,} characters are left out here"
    assert 3 <= len(notes[:-1]) <= 5
    assert {len(each) for each in notes[:-1]} == {1_002}


def test_a_flood_of_tiny_lines_is_bounded_by_their_number():
    log = MemoryOutputLog()
    lines = ProcessLines(call_with(log))
    for _ in range(100):
        lines.take("stdout", b"y\n" * 32_768)
    lines.end()
    _, count = log.read("r")
    assert count < KEPT_AS_IT_COMES // LINE_COST + END_KEPT // 2 + 10


# From a run


@pytest.mark.anyio
async def test_lines_of_commands_and_scripts_are_there_while_they_run(tmp_path: Path):
    spec = load_dict(
        {
            "tasks": {
                "a": {
                    "command": "echo one; echo two >&2; until test -e go; do sleep 0.02; done; exit 3",
                    "retry": 1,
                },
                "b": {"script": "echo three"},
                "hidden": {"command": "echo nobody", "sensitive": True},
            }
        },
        trust="own",
        folder=tmp_path,
    )
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as runtime:
        handle = await runtime.start(spec)
        lines: list[OutputLine] = []
        position = 0
        while len(lines) < 3:
            found, position = await handle.output(position)
            lines += found
        (tmp_path / "go").touch()
        await handle.wait()
        rest, _ = await handle.output(position)
    assert {(each.task, each.stream, each.text) for each in lines} == {
        ("a", "stdout", "one"),
        ("a", "stderr", "two"),
        ("b", "stdout", "three"),
    }
    assert sorted((each.task, each.attempt, each.text) for each in rest) == [("a", 2, "one"), ("a", 2, "two")]


@pytest.mark.anyio
async def test_a_store_in_memory_has_them_as_well():
    spec = load_dict({"tasks": {"a": {"command": "echo one"}}}, trust="own")
    async with Runtime(store="memory:") as runtime:
        handle = await runtime.start(spec)
        await handle.wait()
        lines, _ = await handle.output()
    assert texts(lines) == ["one"]


@pytest.mark.anyio
async def test_a_disk_that_takes_no_output_changes_nothing_of_the_run(tmp_path: Path):
    (tmp_path / "runs.db.logs").write_text("in the way")
    spec = load_dict({"tasks": {"a": {"command": "echo one"}}}, trust="own")
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as runtime:
        result = await runtime.run(spec)
    assert (result.status, result.tasks["a"].output) == ("success", "one")


def test_where_nothing_is_kept_nothing_is_read():
    NO_OUTPUT.write("r", [line()])
    NO_OUTPUT.remove("r")
    assert NO_OUTPUT.read("r", 7) == ([], 7)
