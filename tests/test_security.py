"""SECURITY.md is true: each threat of its table has tests, which exist; and those that no other module has."""

from __future__ import annotations

import ast
import re
from contextlib import closing
from pathlib import Path

import pytest

from actorflow import AgentCall, Runtime, load_dict
from actorflow.errors import BadInputError, StoreUnusableError
from actorflow.journal import open_journal

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!who writes|---)", line)]
NAMED = re.compile(r"`(tests/\w+\.py)::(\w+)`")

HOSTILE_IDS = [
    "../../outside",
    "a/../../outside",
    "..",
    "/tmp/outside",
    "x\ny",
    "\x1b[2J",
    "-rf",
    ".hidden",
    "\0",
    "a" * 250,
    "é\u202e",
]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_threat_names_tests_that_exist(row: str):
    named = NAMED.findall(row)
    assert named, "a threat without a test"
    for file, name in named:
        assert name in functions_of(ROOT / file), f"{file} has no {name}"


def test_the_table_has_all_who_may_write():
    said = " ".join(row.split("|")[1] for row in ROWS)
    for who in (
        "definition",
        "output",
        "URL",
        "header",
        "answers",
        "command line",
        "disk",
        "another user",
        "process",
    ):
        assert who in said


@pytest.mark.anyio
async def test_an_output_that_holds_a_template_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOKEN", "swordfish-of-ours")
    evil = "{{ secrets.token }} ${TOKEN} {{ tasks.a.output }}"
    spec = load_dict(
        {
            "secrets": {"token": {"env": "TOKEN"}},
            "tasks": {
                "a": {"agent": "a"},
                "b": {"agent": "echo", "with": {"said": "{{ tasks.a.output }}"}, "depends_on": ["a"]},
                "c": {
                    "command": ["printf", "%s", "{{ tasks.b.output.said }}"],
                    "env": {"KEY": "{{ secrets.token }}"},
                    "depends_on": ["b"],
                },
            },
            "outputs": {"said": "{{ tasks.c.output }}"},
        },
        trust="own",
    )

    def tells(call: object) -> str:
        return evil

    def echo(call: AgentCall) -> object:
        return call.input

    async with Runtime(store="memory:", agents={"a": tells, "echo": echo}) as runtime:
        result = await runtime.run(spec)
    assert result.status == "success"
    assert result.tasks["b"].output == {"said": evil}
    assert result.outputs == {"said": evil}


@pytest.mark.anyio
@pytest.mark.parametrize("store", ["sqlite:///{}/deep/runs.db", "json:{}/deep/runs", "memory:"])
async def test_no_id_of_a_run_makes_a_file_outside_of_the_places_of_its_store(tmp_path: Path, store: str):
    spec = load_dict({"tasks": {"t": {"command": "echo x"}}}, trust="own", folder=tmp_path)
    async with Runtime(store=store.format(tmp_path)) as runtime:
        for run_id in HOSTILE_IDS:
            with pytest.raises(BadInputError, match="is not possible"):
                await runtime.run(spec, run_id=run_id)
        assert (await runtime.run(spec, run_id="..".join("ab"))).status == "success"
    assert outside_of(tmp_path / "deep", tmp_path) == []


def outside_of(inside: Path, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and inside not in path.parents]


@pytest.mark.parametrize(
    ("store", "file"),
    [
        ("sqlite:///{}/runs.db", "runs.db.lock"),
        ("sqlite:///{}/runs.db", "runs.db.mark"),
        ("json:{}", "store.lock"),
        ("json:{}", "store.mark"),
    ],
)
@pytest.mark.parametrize("victim", ["", "mine", None], ids=["empty", "short", "missing"])
def test_a_link_in_place_of_a_file_beside_a_store_is_not_followed(
    tmp_path: Path, store: str, file: str, victim: str | None
):
    url = store.format(tmp_path / "kept")
    write_once(url)
    if victim is not None:
        (tmp_path / "else").write_text(victim)
    (tmp_path / "kept" / file).unlink(missing_ok=True)
    (tmp_path / "kept" / file).symlink_to(tmp_path / "else")
    with pytest.raises(StoreUnusableError, match=rf"symbolic links: .*{file}"):
        write_once(url)
    assert (tmp_path / "else").exists() == (victim is not None)
    assert victim is None or (tmp_path / "else").read_text() == victim


def write_once(url: str) -> None:
    with closing(open_journal(url)) as journal:
        journal.save_snapshot("of the test", {})
