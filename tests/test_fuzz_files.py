"""Whatever a workflow file holds, `validate` says what is wrong with it or what it needs, and what loads can be planned.

More than the few seconds that a default run takes, and at most two seconds for each file: `ACTORFLOW_FUZZ=100 pytest tests/test_fuzz_files.py`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from actorflow.cli import main
from actorflow.core.plan import plan_of
from actorflow.spec import chosen, from_json, load_with_warnings, to_json, unsupported
from actorflow.spec.needs import needs
from tests.problem_tables import TABLES, bad_files
from tests.scripted import ScriptedRun

HERE = Path(__file__).parent
EVERY_KEY = (HERE / "data" / "spec" / "every_key.yaml").read_text(encoding="utf-8").split("\n---\n")
GOOD = [
    file.read_text(encoding="utf-8")
    for folder in (HERE / "seed", HERE / "data" / "compat", HERE.parent / "examples")
    for file in sorted(folder.glob("**/*.yaml"))
] + EVERY_KEY
SHORT = [row.text for table in TABLES for row in bad_files(table) if len(row.text) < 1_000]
FILES, SLIPS = ([text.encode("utf-8", "surrogatepass") for text in texts] for texts in (GOOD, SHORT))
DOCUMENTS: list[Any] = [YAML(typ="safe", pure=True).load(text) for text in GOOD]

TIMES = int(os.environ.get("ACTORFLOW_FUZZ", "1"))
many = settings(
    max_examples=100 * TIMES,
    deadline=timedelta(seconds=2) if TIMES > 1 else None,  # a clock decides in the long run only
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "w.yaml"


def assert_told(file: Path, body: bytes, *, is_json: bool = True) -> None:
    """Validate a file with these bytes, and look into what loads as a run would."""
    file.write_bytes(body)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["validate", str(file), *(["--json"] if is_json else [])])

    assert status in {0, 65}, err.getvalue()
    assert "Traceback" not in err.getvalue()
    if is_json:
        (told,) = json.loads(out.getvalue())["files"]
        assert told["ok"] is (status == 0)
        assert_placed(told["problems"] + told["warnings"], body)
    if status == 0:
        assert_planned(file)


def assert_placed(problems: list[dict[str, Any]], body: bytes) -> None:
    lines = body.count(b"\n") + body.count(b"\r") + 1
    for problem in problems:
        if problem["code"] == "W110":  # of names that no runner is bound to: it has no place
            continue
        assert problem["message"].isprintable()
        assert problem["hint"].isprintable()
        assert 0 < len(problem["message"]) + len(problem["hint"]) < 2_000
        if problem["code"] != "E199":
            assert 1 <= problem["line"] <= lines
            assert 1 <= problem["column"] <= len(body) + 1


def assert_planned(file: Path) -> None:
    """What loads can be kept, planned, and begun; what can run today ends."""
    spec = load_with_warnings(file).spec
    assert from_json(to_json(spec)) == spec
    for way in [chosen(spec, entry.name) for entry in spec.entries] or [spec]:
        needs(way)
        assert len(plan_of(way).spec.tasks) == len(way.tasks)
        if not unsupported(way):
            assert ScriptedRun(way).finish().state.phase == "ended"


PUT = st.sampled_from(
    [b"", b" ", b"\n", b"\n  ", b": ", b"- ", b"{", b"}", b"[", b"]", b"{{ ", b" }}", b"${", b'"', b"'", b"|\n", b"&a ", b"*a", b"<<: ",
     b"#", b"\t", b"\r", b"\0", b"\xff", b"!x ", b"null", b"-1", b"1e999", b"true", b"tasks", b"depends_on: ", b"{{ tasks.", b"\xe2\x80\x8b",
     "日本".encode(), b"9" * 400, b"[" * 70]
)  # fmt: skip


@many
@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_told_what_is_wrong_with_them(file: Path, body: bytes, is_json: bool):
    assert_told(file, body, is_json=is_json)


@many
@given(st.sampled_from(FILES) | st.sampled_from(SLIPS), st.data())
def test_any_damage_to_a_file_is_told_or_harmless(file: Path, body: bytes, data: st.DataObject):
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        stop = data.draw(st.integers(start, min(len(body), start + 30)))
        kept = body[start:stop] * data.draw(st.integers(0, 2))
        body = body[:start] + kept + data.draw(PUT) + body[stop:]

    assert_told(file, body, is_json=data.draw(st.booleans()))


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.integers(), st.floats(), st.text(max_size=4),
    st.sampled_from(
        ["", "a", "5s", "-1s", "parallel", "router", "wait", "m:f", "{{ 1/0 }}", "{{ x", "{{ input.a }}", "{{ item }}", "${HOME}",
         "${workflow.x}", "{{ tasks.a.output }}", "{{ secrets.token }}", "../x", "a b", "true", "\0", "\u202e", "https://x.example"]
    ),
)  # fmt: skip


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a document with each of its keys or indexes."""
    pending = [node]
    for part in pending:  # grows while it is read
        for key in part if isinstance(part, dict) else range(len(part)):
            yield part, key
            if isinstance(part[key], dict | list):
                pending.append(part[key])


VALUES: dict[Any, list[Any]] = {}
"""What stands below each key, anywhere: put below the same key of another mapping it is often good."""
for _document in DOCUMENTS:
    for _holder, _key in places(_document):
        if isinstance(_key, str):
            VALUES.setdefault(_key, []).append(_holder[_key])


def change(holder: Any, key: Any, document: Any, data: st.DataObject) -> None:
    """Change one place of a document: another value, another key, a copy of what stands elsewhere, or nothing there."""
    value = holder[key]
    match data.draw(st.sampled_from(["exchange", "add", "leaf", "rename", "graft", "drop", "wrap"])):
        case "leaf":
            holder[key] = data.draw(LEAVES)
        case "rename" if isinstance(holder, dict):
            _, other = data.draw(st.sampled_from(list(places(document))))
            del holder[key]
            holder[str(other)] = value
        case "graft":
            source, other = data.draw(st.sampled_from(list(places(data.draw(st.sampled_from(DOCUMENTS))))))
            holder[key] = json.loads(json.dumps(source[other]))
        case "add" if isinstance(holder, dict):
            other = data.draw(st.sampled_from(sorted(VALUES)))
            holder[other] = json.loads(json.dumps(data.draw(st.sampled_from(VALUES[other]))))
        case "exchange" if key in VALUES:
            holder[key] = json.loads(json.dumps(data.draw(st.sampled_from(VALUES[key]))))
        case "drop":
            del holder[key]
        case _:
            holder[key] = [value] if data.draw(st.booleans()) else {"a": value}


@many
@given(st.sampled_from(DOCUMENTS), st.data())
def test_any_change_of_a_workflow_is_told_or_harmless(file: Path, document: Any, data: st.DataObject):
    changed = json.loads(json.dumps(document))
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(places(changed))
        if found:
            change(*data.draw(st.sampled_from(found)), changed, data)

    text = json.dumps(changed, indent=1).encode("utf-8", "surrogatepass")
    assert_told(file, text, is_json=data.draw(st.booleans()))
