"""Bad workflow files: each gets all its problems, at their places, and nothing but SpecError."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from actorflow.errors import Problem, SpecError
from actorflow.spec import Bounds, load, load_dict, loads, loads_with_warnings
from tests.problem_tables import TABLES, BadFile, bad_files


def problems_of(text: str, **options: object) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        loads(text, **{"trust": "own", **options})
    return caught.value.problems


ALL = [case for table in TABLES for case in bad_files(table)]


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.title)
def test_each_bad_file_gets_its_problems_where_they_are(case: BadFile):
    found = problems_of(case.text)

    assert " ".join(f"{p.code}@{p.line}:{p.column}" for p in found) == case.problems
    assert all(p.message and p.file == "<text>" for p in found)


def test_problems_come_in_the_order_of_the_file_with_source_and_caret():
    text = "version: 2\ntasks:\n  b: {agnt: x}\n  a: {agent: x, depends_on: [c]}\n"

    found = problems_of(text)

    assert [(p.line, p.column) for p in found] == sorted((p.line, p.column) for p in found)
    assert found[0].caret == "    version: 2\n             ^"
    assert found[-1].source == "  a: {agent: x, depends_on: [c]}"


def test_a_message_says_what_where_and_what_may_be_meant():
    (problem,) = problems_of("tasks:\n  build: {agent: x}\n  test: {agent: x, depends_on: [bild]}\n")

    assert str(problem) == (
        "<text>:3:33: E130 tasks.test.depends_on[0]: unknown task 'bild'; did you mean 'build'?"
    )


def test_no_message_speaks_to_the_terminal_whatever_a_key_holds():
    (problem,) = problems_of('tasks:\n  a: {agent: x, with: {"\\e[31m\\nb\u00a0c": .inf}}\n')

    assert problem.message.startswith(r"tasks.a.with.\x1b[31m\nb\xa0c: ")


def test_a_message_is_short_however_long_a_key_is():
    (problem,) = problems_of(f"tasks:\n  a: {{agent: x}}\n? {'k' * 100_000}\n: 5\n")

    assert (problem.code, problem.line, problem.column) == ("E120", 3, 3)
    assert problem.message.endswith("kkk'")
    assert len(problem.message) < 1_000


def test_a_cycle_is_shown_from_task_to_task():
    (problem,) = problems_of(
        "tasks:\n  a: {agent: x, depends_on: c}\n  b: {agent: x, depends_on: a}\n  c: {agent: x, depends_on: b}\n"
    )

    assert "a -> b -> c -> a" in problem.message


def test_an_unquoted_version_is_shown_as_it_was_written():
    (problem,) = problems_of("version: 1.10\ntasks: {a: {agent: x}}\n")

    assert problem.hint == 'quote it: "1.10"'


def test_a_template_in_a_shell_string_is_answered_with_the_rewrite():
    (problem,) = problems_of("tasks:\n  a: {command: 'echo {{ input.order-id }}'}\n")

    assert 'env: {ORDER_ID: "{{ input.order-id }}"}' in problem.hint
    assert '"$ORDER_ID"' in problem.hint


def test_the_templates_of_others_in_a_shell_string_are_left_alone():
    spec = loads(
        "tasks:\n  a: {command: \"docker ps --format '{{.Names}}'; echo $HOME ${X:-y}\"}\n"
        "  b: {command: [sh, -c, \"docker ps --format '{{.Names}}'\"]}\n",
        trust="own",
    )

    assert [task.id for task in spec.tasks] == ["a", "b"]


def test_problems_of_yaml_and_of_the_workflow_are_told_together():
    found = problems_of("tasks:\n  a: {agent: x, agent: y, timeout: 5x, with: {v: !!str 5}}\n")

    assert [p.code for p in found] == ["E112", "E123", "E113"]


def test_a_file_full_of_problems_names_a_thousand_and_counts_the_rest():
    text = "tasks:\n" + "".join(f"  a{i}: {{agent: x, tiemout: 5}}\n" for i in range(1_500))

    found = problems_of(text)

    assert len(found) == 1_001
    assert (found[-1].code, found[-1].message) == ("E199", "and 500 more problems")


def test_a_variable_of_200_kb_is_refused():
    (problem,) = problems_of(f"tasks:\n  a: {{agent: x, env: {{A: {'v' * 200_000}}}}}\n")

    assert problem.code == "E128"


def test_text_of_five_megabytes_is_only_text():
    spec = loads(f"tasks:\n  a: {{agent: x, description: {'v' * 5_000_000}}}\n")

    assert len(spec.tasks[0].description) == 5_000_000


def test_200_000_keys_are_read():
    text = "tasks:\n  a:\n    agent: x\n    with:\n" + "".join(f"      k{i}: v\n" for i in range(200_000))

    assert len(loads(text).tasks[0].with_ or {}) == 200_000


def test_more_than_a_million_tasks_are_a_limit():
    with pytest.raises(SpecError) as caught:
        load_dict({"tasks": [{"id": "a", "agent": "x"}] * 1_000_001})

    assert caught.value.code == "E128"


def test_the_limits_are_settings():
    with pytest.raises(SpecError) as caught:
        loads_with_warnings("tasks: {a: {agent: x}, b: {agent: x}}", bounds=Bounds(tasks=1))

    assert caught.value.code == "E128"


def test_tasks_inside_of_others_count():
    text = "tasks: {a: {type: parallel, tasks: {b: {agent: x}, c: {type: composite, tasks: [{id: d, agent: x}]}}}}"

    with pytest.raises(SpecError) as caught:
        loads_with_warnings(text, bounds=Bounds(tasks=3))

    assert caught.value.code == "E128"
    assert len(loads_with_warnings(text, bounds=Bounds(tasks=4)).spec.tasks) == 1


def test_10_000_problems_of_one_kind_in_10_000_tasks_are_told_in_time_that_does_not_explode():
    tasks = {
        f"t{n}": {"agent": "x", "depends_on": [f"u{n}"], "on_success": {"next": f"v{n}"}}
        for n in range(5_000)
    }

    with pytest.raises(SpecError) as caught:
        load_dict({"tasks": tasks})

    assert len(caught.value.problems) == 1_001
    assert caught.value.problems[-1].message == "and 9000 more problems"


def test_containers_as_deep_as_a_file_may_nest_are_read():
    text = "{agent: x, timeout: 0}"
    for _ in range(30):
        text = f"{{type: composite, tasks: {{a: {text}}}}}"

    (problem,) = problems_of(f"tasks: {{a: {text}}}")

    assert problem.code == "E123"
    assert problem.message.count(".tasks.") == 30


def test_more_than_eight_mebibytes_are_refused():
    (problem,) = problems_of("#" * (8 * 1024 * 1024 + 1))

    assert problem.code == "E103"


@pytest.mark.parametrize(
    ("body", "code", "line", "column"),
    [
        (b"name: a\xff\n", "E104", 1, 8),
        ("name: ä\nversion: ü".encode("latin-1"), "E104", 1, 7),
        ("tasks: {}".encode("utf-16"), "E104", 1, 1),
        (b"\xef\xbb\xbfname: \xff", "E104", 1, 7),
        (b"\x00", "E111", 1, 1),
        (b"a: b\r\nc: \x07", "E111", 2, 4),
    ],
)
def test_bytes_that_are_not_plain_utf_8_are_refused_at_their_place(
    body: bytes, code: str, line: int, column: int
):
    with pytest.raises(SpecError) as caught:
        loads(body)

    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.column) == (code, line, column)


def test_a_mark_at_the_beginning_and_crlf_are_fine(tmp_path: Path):
    file = tmp_path / "w.yaml"
    file.write_bytes(b"\xef\xbb\xbftasks:\r\n  a:\r\n    agent: x\r\n")

    assert load(file).tasks[0].agent == "x"


def test_a_missing_file_has_a_code_of_its_own(tmp_path: Path):
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "none.yaml")

    assert caught.value.code == "E101"
    assert str(caught.value) == f"{tmp_path / 'none.yaml'}: E101 there is no such file"


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFDIR])
def test_a_fifo_and_a_directory_are_refused_without_waiting(tmp_path: Path, kind: int):
    path = tmp_path / "odd"
    os.mkfifo(path) if kind == stat.S_IFIFO else path.mkdir()

    with pytest.raises(SpecError) as caught:
        load(path)

    assert caught.value.code == "E102"


def test_a_device_and_a_name_with_nul_are_refused():
    for path in ("/dev/zero", "a\0b"):
        with pytest.raises(SpecError) as caught:
            load(path)
        assert caught.value.code == "E102"


TRUSTED = [
    ("E201", "command", "tasks:\n  a: {command: ls}\n", 2, 7),
    ("E201", "command", "tasks:\n  a: {command: [ls]}\n", 2, 7),
    ("E202", "python", "tasks:\n  a: {python: 'os:getcwd'}\n", 2, 7),
    ("E201", "command", "agents:\n  x: {command: ls}\ntasks: {a: {agent: x}}\n", 2, 7),
    ("E202", "python", "agents:\n  x: {python: 'os:getcwd'}\ntasks: {a: {agent: x}}\n", 2, 7),
    ("E201", "scripts", "tasks:\n  a: {script: ls}\n", 2, 7),
    ("E201", "scripts", "agents:\n  x: {script: {file: a.sh}}\ntasks: {a: {agent: x}}\n", 2, 7),
    ("E201", "command", "tasks:\n  c: {type: parallel, tasks: {a: {command: ls}}}\n", 2, 35),
    ("E206", "hosts", "tasks:\n  a: {http: {url: 'https://x.example'}}\n", 2, 7),
    ("E206", "hosts", "agents:\n  x: {http: {url: 'https://x.example'}}\ntasks: {a: {agent: x}}\n", 2, 7),
    ("E207", "files", "tasks:\n  a: {type: collection, items: rows.csv, agent: x}\n", 2, 25),
    ("E207", "files", "tasks:\n  a: {type: collection, items: {file: r, format: csv}, agent: x}\n", 2, 25),
    ("E207", "files", "tasks:\n  a: {type: composite, uses: other.yaml}\n", 2, 24),
    ("E203", "hook", "hooks:\n  on_error:\n    - ls\n", 3, 7),
    ("E203", "hook", "hooks:\n  on_error:\n    - {command: ls}\n", 3, 8),
    ("E203", "hook", "hooks: {on_error: [{type: command, params: {command: ls}}]}\n", 1, 45),
    ("E204", "environment", "env: [HOME]\ntasks: {a: {agent: x}}\n", 1, 1),
    ("E204", "environment", "hooks: {task_started: [{type: log, params: {message: '${T}'}}]}\n", 1, 55),
    ("E205", "secrets", "secrets: {t: {env: T}}\ntasks: {a: {agent: x}}\n", 1, 1),
    (
        "E206",
        "hosts",
        "hooks: {task_started: [{type: webhook, params: {url: 'https://x.example'}}]}\n",
        1,
        49,
    ),
    (
        "E206",
        "hosts",
        "hooks: {task_started: [{type: notify, params: {message: m, channels: [{type: ntfy, url: 'https://x.y'}]}}]}\n",
        1,
        84,
    ),
    (
        "E207",
        "files",
        "hooks: {task_started: [{type: notify, params: {message: m, channels: [{type: file, path: n.txt}]}}]}\n",
        1,
        84,
    ),
]


@pytest.mark.parametrize(("code", "what", "text", "line", "column"), TRUSTED)
def test_a_definition_that_is_data_can_name_nothing_to_run(
    code: str, what: str, text: str, line: int, column: int
):
    (problem,) = problems_of(text, trust="data")

    assert (problem.code, problem.line, problem.column) == (code, line, column)
    assert what in problem.message.lower()
    flags = {"E204": "--allow-env ", "E206": "--allow-host URL"}
    assert flags.get(code, 'trust="own"') in problem.hint
    assert loads(text, trust="own").trust == "own"


def test_a_dict_gets_the_same_problems_with_paths_in_place_of_lines():
    with pytest.raises(SpecError) as caught:
        load_dict({"tasks": {"a": {"agent": "x", "timeout": "5x", "depends_on": ["b"]}}})

    timeout, dependency = caught.value.problems
    assert (timeout.line, timeout.column, timeout.source) == (0, 0, "")
    assert str(timeout).startswith("E123 tasks.a.timeout: '5x'")
    assert str(dependency).startswith("E130 tasks.a.depends_on[0]: unknown task 'b'")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({1: "a"}, "E117"),
        ({"a": object()}, "E121"),
        ({"a": {1, 2}}, "E121"),
        ({"a": b"bytes"}, "E121"),
        ({"a": 2**64}, "E119"),
        ({"a": float("inf")}, "E123"),
        ({"a": float("nan")}, "E123"),
        ({"a": "\ud800"}, "E111"),
    ],
)
def test_data_that_is_not_json_is_refused(value: dict[object, object], code: str):
    with pytest.raises(SpecError) as caught:
        load_dict({"tasks": {"a": {"agent": "x", "with": value}}})

    assert caught.value.code == code


def test_data_that_contains_itself_or_goes_too_deep_is_refused():
    cyclic: dict[str, object] = {"agent": "x"}
    cyclic["with"] = cyclic
    deep: object = "leaf"
    for _ in range(10_000):
        deep = [deep]
    bomb: object = "leaf"
    for _ in range(60):
        bomb = [bomb, bomb]

    for part, code in (
        (cyclic, "E116"),
        ({"agent": "x", "with": {"v": deep}}, "E115"),
        ({"v": bomb}, "E128"),
    ):
        with pytest.raises(SpecError) as caught:
            load_dict({"tasks": {"a": part}})
        assert caught.value.code == code


@pytest.mark.parametrize("data", [[], "tasks", None, 5])
def test_a_definition_that_is_no_mapping_is_refused(data: object):
    with pytest.raises(SpecError) as caught:
        load_dict(data)  # type: ignore[arg-type]

    assert caught.value.code == "E109"
