"""Bad files by every road: what is told is the same in text, in JSON and on the exception, and at size it is told in time."""

from __future__ import annotations

import copy
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actorflow import SpecError
from actorflow.cli import main
from actorflow.core.commands import StartAttempt
from actorflow.spec import load, load_dict, loads, loads_with_warnings
from tests.problem_tables import DATA, TABLES, BadFile, bad_files, bad_runs
from tests.scripted import ScriptedRun

Capture = pytest.CaptureFixture[str]

ROWS = [case for table in TABLES for case in bad_files(table)]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", "runs.db")
    monkeypatch.delenv("ACTORFLOW_NEVER_SET", raising=False)


# Unknown keys at every level

NAMED_FREELY = {
    "inputs", "outputs", "secrets", "agents", "tasks", "hook_sets", "workflows", "with", "env", "options", "metadata",
    "headers", "query", "json", "fields", "tags", "set", "body", "payload", "input", "routes", "fallback_value",
}  # fmt: skip
"""Mappings whose keys a file chooses itself."""

Path_ = tuple[str | int, ...]


def mappings(node: object, path: Path_ = ()) -> Iterator[Path_]:
    """Where each mapping of a document stands that has keys of its own."""
    if isinstance(node, dict):
        is_free = bool(path) and path[-1] in NAMED_FREELY and not (len(path) > 1 and path[-2] == "agents")
        if not is_free:
            yield path
        for key, value in node.items():
            yield from mappings(value, (*path, key))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from mappings(item, (*path, index))


EVERY_KEY = [
    YAML(typ="safe", pure=True).load(text)
    for text in (DATA / "spec" / "every_key.yaml").read_text(encoding="utf-8").split("\n---\n")
]
PLACES = [(document, path) for document in EVERY_KEY for path in mappings(document)]


@pytest.mark.parametrize(
    ("document", "path"), PLACES, ids=[f"{d.get('name')} {'.'.join(map(str, p))}" for d, p in PLACES]
)
def test_an_unknown_key_is_refused_in_every_mapping_that_has_its_own(document: dict[str, Any], path: Path_):
    changed = copy.deepcopy(document)
    place: Any = changed
    for step in path:
        place = place[step]
    place["zzz"] = {}

    with pytest.raises(SpecError) as caught:
        load_dict(changed, trust="own")

    assert [problem.code for problem in caught.value.problems] == ["E120"]
    assert re.search("unknown (key|event) 'zzz'", caught.value.problems[0].message)


# By every road


def written(rows: list[BadFile]) -> list[str]:
    """The rows as files in the current folder, by name."""
    for number, row in enumerate(rows):
        Path(f"{number}.yaml").write_bytes(row.text.encode("utf-8", "surrogatepass"))
    return [f"{number}.yaml" for number in range(len(rows))]


@pytest.mark.parametrize("table", TABLES)
def test_validate_tells_every_row_in_json_as_the_exception_does(table: str, capsys: Capture):
    rows = bad_files(table)
    files = written(rows)

    assert main(["validate", "--json", *files]) == 65

    printed = capsys.readouterr()
    assert printed.err == ""
    told = json.loads(printed.out)["files"]
    for file, row, one in zip(files, rows, told, strict=True):
        with pytest.raises(SpecError) as caught:
            load(file)
        problems = caught.value.problems
        assert " ".join(f"{p.code}@{p.line}:{p.column}" for p in problems) == row.problems
        assert caught.value.code == problems[0].code
        assert (one["file"], one["ok"]) == (file, False)
        assert one["problems"] == [
            {name: getattr(p, name) for name in ("code", "message", "file", "line", "column", "hint")}
            for p in problems
        ]


@pytest.mark.parametrize("table", TABLES)
def test_validate_tells_every_row_to_people_at_its_place_and_never_in_a_traceback(
    table: str, capsys: Capture
):
    rows = bad_files(table)

    assert main(["validate", *written(rows)]) == 65

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    told: dict[str, list[str]] = {}
    for found in re.finditer(r"^(\d+\.yaml):(\d+):(\d+): ([A-Z]\d+) .", printed.err, re.MULTILINE):
        told.setdefault(found[1], []).append(f"{found[4]}@{found[2]}:{found[3]}")
    assert [" ".join(told[f"{number}.yaml"]) for number in range(len(rows))] == [row.problems for row in rows]


DIVERSE = (
    "an empty list of tasks", "unknown key of a task", "a cycle", "an id with a look-alike", "several problems at once",
    "a template in a shell string", "a url of a file", "tabs", "nested aliases that expand to billions", "empty",
    "an undefined filter", "a secret as text",
)  # fmt: skip


@pytest.mark.parametrize("title", DIVERSE)
def test_run_ends_with_65_and_the_same_problems_and_there_is_no_run(title: str, capsys: Capture):
    (row,) = [row for row in ROWS if row.title == title]
    written([row])

    assert main(["run", "0.yaml", "--json"]) == 65
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert printed.err == ""
    assert " ".join(f"{p['code']}@{p['line']}:{p['column']}" for p in document["problems"]) == row.problems
    first = document["problems"][0]
    assert document["error"]["code"] == first["code"]
    assert document["error"]["where"] == f"0.yaml:{first['line']}:{first['column']}"
    assert document["error"]["message"].startswith(first["message"])

    assert main(["run", "0.yaml"]) == 65
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"0.yaml:{first['line']}:{first['column']}: {first['code']} " in printed.err
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


# (what stands before the problem, the columns that a terminal needs for it)
LEADS = [
    ("  a: {agent: x, timeout: ", 25),
    ("  a: {agent: 日本語, timeout: ", 30),
    ("  a: {agent: ｘ, timeout: ", 26),
    ('  a: {agent: "e\u0301e\u0301", timeout: ', 28),
    ("  a: {agent: a\u200bb, timeout: ", 26),
    ("  a: {agent: é, timeout: ", 25),
]


@pytest.mark.parametrize(("lead", "width"), LEADS)
def test_a_caret_stands_below_its_column_however_wide_the_characters_are(
    lead: str, width: int, capsys: Capture
):
    Path("w.yaml").write_text(f"tasks:\n{lead}5x}}\n", encoding="utf-8")

    assert main(["validate", "w.yaml"]) == 65

    place, source, caret = capsys.readouterr().err.splitlines()
    assert place.startswith(f"w.yaml:2:{len(lead) + 1}: E123 ")
    assert source == f"    {lead}5x}}"
    assert caret == " " * (4 + width) + "^"
    assert all(unicodedata.category(character) != "Cc" for character in source)


def test_a_caret_stands_below_tabs_by_the_same_tabs(capsys: Capture):
    Path("w.yaml").write_text("tasks:\n  a:\t{agent: x,\ttimeout: 5x}\n")

    assert main(["validate", "w.yaml"]) == 65

    assert capsys.readouterr().err.splitlines()[2] == "        \t          \t         ^"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"name: \xff\ntasks: {}\n", "E104@1:7"),
        ("tasks:\n  a: {agent: grün}\n".encode("latin-1"), "E104@2:16"),
        ("tasks:\n  a: {agent: 日}\n".encode("shift-jis"), "E104@2:14"),
        ("tasks: {}".encode("utf-16-le"), "E111@1:2"),
        ("tasks: {}".encode("utf-16-be"), "E111@1:1"),
        (b"\xff\xfe" + "tasks: {}".encode("utf-16-le"), "E104@1:1"),
        (b"\xfe\xff" + "tasks: {}".encode("utf-16-be"), "E104@1:1"),
        ("tasks: {}".encode("utf-32"), "E104@1:1"),
        (b"tasks:\n  a: {agent: \xc0\xaf}\n", "E104@2:14"),
        (b"\x1f\x8b\x08\x00", "E104@1:2"),
        (b"\x89PNG\r\n\x1a\n", "E104@1:1"),
        (b"\x7fELF\x02\x01\x01", "E111@1:1"),
    ],
)
def test_bytes_are_refused_at_their_place_by_every_road(body: bytes, place: str, capsys: Capture):
    Path("w.yaml").write_bytes(body)
    with pytest.raises(SpecError) as of_file:
        load("w.yaml")
    with pytest.raises(SpecError) as of_bytes:
        loads(body)

    assert main(["validate", "w.yaml", "--json"]) == 65

    (told,) = json.loads(capsys.readouterr().out)["files"]
    for first in (of_file.value.problems[0], of_bytes.value.problems[0]):
        assert f"{first.code}@{first.line}:{first.column}" == place
    assert (
        f"{told['problems'][0]['code']}@{told['problems'][0]['line']}:{told['problems'][0]['column']}"
        == place
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("table", TABLES[:3])
def test_every_line_end_gives_the_same_places(table: str, end: str):
    for row in bad_files(table):
        with pytest.raises(SpecError) as caught:
            loads(row.text.replace("\n", end), trust="own")
        assert " ".join(f"{p.code}@{p.line}:{p.column}" for p in caught.value.problems) == row.problems


# What only a run finds


RUN_ROWS = bad_runs()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("row", RUN_ROWS, ids=lambda row: row.title)
def test_what_only_a_run_finds_is_told_by_its_kind_and_tried_as_often_as_it_is_worth(
    row: BadFile, backend: str, capsys: Capture
):
    Path("workflow.yaml").write_text(row.text)

    status = main(["run", "workflow.yaml", "--json", "--quiet", "--backend", backend])

    printed = capsys.readouterr()
    assert printed.err == ""
    document = json.loads(printed.out)
    error = document["error"]
    if "run_id" in document:
        assert row.problems == f"{status} {error['type']} {document['tasks']['a']['attempts']}"
    else:
        assert row.problems == f"{status} {error['code']}"
    assert len(error["message"]) < 300
    assert "v" * 1_000 not in printed.out.replace("v" * 200_000, "")


# At size


def chain_of(count: int) -> str:
    """A file of tasks that each wait for the one before."""
    later = "".join(f"  t{n}: {{agent: x, depends_on: [t{n - 1}]}}\n" for n in range(1, count))
    return f"tasks:\n  t0: {{agent: x}}\n{later}"


def test_a_file_with_a_chain_of_50_000_tasks_begins_to_run():
    run = ScriptedRun(loads(chain_of(50_000)))

    assert list(run.running) == ["t0"]
    run.happen(run.outcome("t0"))
    assert [type(action) for action in run.running.values()] == [StartAttempt]
    assert list(run.running) == ["t1"]


@pytest.mark.parametrize(
    ("text", "column"),
    [("tasks: [" + "a," * 1_000_001 + "]", 8), ("tasks: {b: {tasks: [" + "a," * 1_000_001 + "]}}", 20)],
)
def test_a_million_tasks_of_a_file_are_refused_before_any_is_read(text: str, column: int):
    with pytest.raises(SpecError) as caught:
        loads(text)

    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.column) == ("E128", 1, column)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("tasks:\n  a: {agent: x, env: {A: BIG}}\n", 2, 26),
        ("agents: {x: {command: ls, env: {A: BIG}}}\ntasks: {a: {agent: x}}\n", 1, 36),
        ("hooks:\n  on_error:\n    - {command: ls, env: {A: BIG}}\n", 3, 30),
        ("hooks:\n  on_error:\n    - {type: command, params: {command: ls, env: {A: BIG}}}\n", 3, 54),
    ],
)
def test_200_kb_in_one_variable_are_refused_wherever_it_stands(text: str, line: int, column: int):
    with pytest.raises(SpecError) as caught:
        loads(text.replace("BIG", "v" * 200_000), trust="own")

    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.column) == ("E128", line, column)
    assert len(str(problem)) < 300


@pytest.mark.parametrize("text", ["BIG", "'BIG'", '"BIG"', "|\n      BIG", ">\n      BIG"])
def test_five_megabytes_in_one_text_of_any_style_are_only_text(text: str):
    big = "v" * 5_000_000

    spec = loads(f"tasks:\n  a:\n    agent: x\n    with:\n     t: {text.replace('BIG', big)}\n")

    assert str((spec.tasks[0].with_ or {})["t"]).rstrip("\n") == big


def test_200_000_keys_that_are_all_wrong_are_told_as_a_thousand():
    with pytest.raises(SpecError) as caught:
        loads_with_warnings("tasks: {a: {agent: x}}\n" + "".join(f"k{n}: v\n" for n in range(200_000)))

    assert len(caught.value.problems) == 1_001
    assert caught.value.problems[0].line == 2
    assert caught.value.problems[-1].message == "and 199000 more problems"
