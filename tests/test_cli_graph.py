"""`actorflow graph`: what leads to what, as text, Mermaid and DOT, and texts of files that are nothing but text in all three."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow import loads
from actorflow.cli import main
from actorflow.cli.graph.command import is_file
from actorflow.cli.graph.dot import dot
from actorflow.cli.graph.labels import label_lines, numbers
from actorflow.cli.graph.mermaid import mermaid
from actorflow.cli.graph.model import Edge, Graph, GraphStage, Node, graph_of
from actorflow.cli.graph.text import text
from actorflow.cli.screen import as_line
from actorflow.cli.terminal import Terminal, cells
from tests.dot_reader import read_dot

Capture = pytest.CaptureFixture[str]

ORDER = """
name: order
tasks:
  build: {agent: live, on_error: {fallback_agent: backup}}
  test: {agent: x, depends_on: [build], on_error: {next: tell}}
  lint: {agent: x, depends_on: [build], when: "input.strict"}
  tell: {agent: x}
  ship: {agent: x, depends_on: [test, {task: lint, on: always}]}
  undo: {agent: x, depends_on: [{task: ship, on: failure}]}
"""

ORDER_AS_TEXT = """\
order: 6 tasks, 6 edges

TASK     AGENT              AFTER
─ build  live, then backup
┌ test   x                  ← build
└ lint   x                  ← build; when input.strict
┌ tell   x                  ← test (on error)
└ ship   x                  ← test, lint (in any case)
─ undo   x                  ← ship (if it fails)"""

STAGED = """
name: staged
workflows:
  main:
    steps:
      - {stage: first, tasks: [a, b]}
      - {stage: then, tasks: [c]}
tasks: {a: {agent: x}, b: {agent: x, on_error: {next: d}}, c: {agent: x}, d: {agent: x}}
"""

STAGED_AS_TEXT = """\
staged (main): 4 tasks, 1 edge, 2 stages

TASK  AGENT  AFTER
stage first
┌ a   x
└ b   x
stage then, after first
─ c   x
in no stage
─ d   x      ← b (on error)"""

NESTED = """
name: nested
tasks:
  both: {type: parallel, tasks: {w: {agent: x}, v: {agent: y, depends_on: [w]}}}
  other: {type: parallel, tasks: {w: {agent: x, loop: {repeat: 2}}}}
  pick: {type: router, depends_on: [both], condition: "1", routes: {"1": w}, default: late}
  w: {agent: x}
  late: {type: wait, signal: go, timeout: 1h, on_timeout: {next: sulk}}
  sulk: {agent: x}
"""

NESTED_AS_TEXT = """\
nested: 9 tasks, 5 edges

TASK     AGENT         AFTER
┌ both   parallel
│ ─ w    x
│ ─ v    y             ← w
└ other  parallel
  ─ w    x, in a loop
─ pick   router        ← both
┌ w      x             ← pick (route 1)
└ late   wait          ← pick (route default)
─ sulk   x             ← late (on timeout)"""


@pytest.mark.parametrize(
    ("source", "drawn"), [(ORDER, ORDER_AS_TEXT), (STAGED, STAGED_AS_TEXT), (NESTED, NESTED_AS_TEXT)]
)
def test_each_task_has_a_line_below_those_that_it_waits_for(source: str, drawn: str):
    assert text(graph_of(loads(source, trust="own")), Terminal()) == drawn


def test_without_box_characters_a_drawing_is_ascii():
    graph = graph_of(loads(ORDER, trust="own"))
    drawn = text(graph, Terminal(is_unicode=False))
    assert drawn.isascii()
    assert text(graph, Terminal(width=12, is_unicode=False)).isascii()
    assert "/ test" in drawn
    assert "<- test, lint (in any case)" in drawn


def test_a_run_has_the_status_of_each_task_beside_it():
    drawn = text(graph_of(loads(ORDER, trust="own"), {"build": "success", "test": "failed"}), Terminal())
    assert re.search(r"^┌ test +failed +x", drawn, re.MULTILINE)
    assert re.search(r"^─ undo +pending +x", drawn, re.MULTILINE)


def test_in_colours_the_drawing_is_the_same_with_each_task_in_that_of_its_status():
    graph = graph_of(loads(ORDER, trust="own"), {"build": "success", "test": "failed"})
    drawn = text(graph, Terminal(width=80, is_coloured=True))
    assert "┌ \x1b[31mtest\x1b[0m" in drawn
    assert re.sub(r"\x1b\[\d+m", "", drawn) == text(graph, Terminal(width=80))


def test_a_workflow_of_hooks_alone_has_no_tasks_to_draw():
    graph = graph_of(loads("name: bare\nhooks: {post_workflow: ['true']}", trust="own"))
    assert text(graph, Terminal()) == "bare: no tasks"
    assert read_dot(dot(graph)).labels == {}


def test_of_very_many_tasks_before_one_a_line_names_the_first():
    tasks = "\n".join(f"  t{i}: {{agent: x}}" for i in range(100))
    all_of_them = ", ".join(f"t{i}" for i in range(100))
    graph = graph_of(
        loads(f"tasks:\n{tasks}\n  last: {{agent: x, depends_on: [{all_of_them}]}}", trust="own")
    )
    line = text(graph, Terminal()).splitlines()[-1]
    assert line.endswith("← t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, … 90 more")


def test_a_barrier_of_many_tasks_costs_no_edge_for_each_pair():
    names = [[f"t{stage}_{i}" for i in range(1_000)] for stage in range(3)]
    steps = "\n".join(f"      - {{stage: s{i}, tasks: [{', '.join(each)}]}}" for i, each in enumerate(names))
    tasks = "\n".join(f"  {name}: {{agent: x}}" for each in names for name in each)
    graph = graph_of(loads(f"workflows:\n  main:\n    steps:\n{steps}\ntasks:\n{tasks}", trust="own"))
    assert [node.layer for node in graph.nodes] == [0] * 1_000 + [1] * 1_000 + [2] * 1_000


_TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        'x"]\nclick n0 "javascript:1"',
        "end",
        "<script src='x'>",
        "%%{init: {}}%%",
        "\\",
        '\\"',
        "&lt;",
        "#quot;",
        "\u202e日本語",
    ]
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph without circles: tasks of some stages, in containers or not, with any texts."""
    count = draw(st.integers(1, 8))
    stages = draw(st.lists(_TEXTS.filter(bool), max_size=3, unique=True))
    nodes: list[Node] = []
    for i in range(count):
        # each stage has a task of its own
        stage = stages[i] if i < len(stages) else draw(st.sampled_from([*stages, None]))
        parent = draw(st.sampled_from([None, *(node.id for node in nodes)])) if i >= len(stages) else None
        nodes.append(
            Node(
                id=f"t{i}" if parent is None else f"{parent}.t{i}",
                type="basic",
                description=draw(_TEXTS),
                agents=tuple(draw(st.lists(_TEXTS, max_size=2))),
                when=draw(st.none() | _TEXTS),
                stage=stage if parent is None else None,
                parent=parent,
                layer=i,
                status=draw(st.sampled_from([None, "success", "failed"])),
            )
        )
    used = {node.stage for node in nodes}
    pairs = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=8))
    edges = tuple(
        Edge(
            nodes[min(pair)].id,
            nodes[max(pair)].id,
            draw(st.sampled_from(["success", "always", "route"])),
            draw(_TEXTS),
        )
        for pair in pairs
        if pair[0] != pair[1]
    )
    known = [name for name in stages if name in used]
    return Graph(
        name=draw(_TEXTS),
        entry=draw(st.none() | _TEXTS),
        nodes=tuple(nodes),
        edges=edges,
        stages=tuple(GraphStage(name, tuple(known[:i][-1:])) for i, name in enumerate(known)),
    )


@given(graphs())
def test_dot_says_the_graph_whatever_its_texts_are(graph: Graph):
    found, number = read_dot(dot(graph)), numbers(graph)
    assert found.labels == {f"n{number[node.id]}": "\n".join(label_lines(node)) for node in graph.nodes}
    assert found.edges == [
        (f"n{number[edge.source]}", f"n{number[edge.target]}", as_line(edge.caption)) for edge in graph.edges
    ]
    for i, stage in enumerate(graph.stages):
        label, _ = found.clusters[f"cluster_s{i}"]
        assert label == as_line(stage.name)
    assert len(found.barriers) == sum(len(stage.after) for stage in graph.stages)


_MERMAID_LINES = [
    re.compile(r'n(?P<node>\d+)\["(?P<label>(?:[A-Za-z0-9 _.,:/()-]|#\d+;|<br/>)*)"\]'),
    re.compile(r'subgraph (?P<box>[sc]\d+)\["(?P<title>(?:[A-Za-z0-9 _.,:/()-]|#\d+;)*)"\]'),
    re.compile(
        r'n(?P<source>\d+) (-->|==>|-\.->)(\|"(?P<words>(?:[A-Za-z0-9 _.,:/()-]|#\d+;)*)"\|)? n(?P<target>\d+)'
    ),
    re.compile(r"(?P<end>end)"),
    re.compile(r"s\d+ --> s\d+"),
    re.compile(r"classDef [a-z]+ fill:#[0-9a-f]{6},stroke:#555,color:#000"),
    re.compile(r"class n\d+(,n\d+)* [a-z]+"),
]
_TITLE = re.compile(r'title: "(?:[A-Za-z0-9 _.,:/()-]|\\U[0-9a-f]{8})*"')


def decoded(label: str) -> str:
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), label.replace("<br/>", "\n"))


@given(graphs())
def test_mermaid_says_the_graph_whatever_its_texts_are(graph: Graph):
    first, title, last, head, *lines = mermaid(graph).split("\n")
    assert (first, last, head) == ("---", "---", "flowchart TD")
    assert _TITLE.fullmatch(title)
    matches = [
        next((m for each in _MERMAID_LINES if (m := each.fullmatch(line.strip()))), line) for line in lines
    ]
    assert [line for line in matches if isinstance(line, str)] == []
    found = [match.groupdict() for match in matches if isinstance(match, re.Match)]
    labels = {int(each["node"]): decoded(each["label"]) for each in found if each.get("node")}
    assert labels == {i: "\n".join(label_lines(node)) for i, node in enumerate(graph.nodes)}
    number = numbers(graph)
    assert [
        (int(each["source"]), int(each["target"]), decoded(each["words"] or ""))
        for each in found
        if each.get("source")
    ] == [(number[edge.source], number[edge.target], as_line(edge.caption)) for edge in graph.edges]
    assert sum("box" in each for each in found) == sum("end" in each for each in found)


@given(graphs(), st.integers(20, 200), st.booleans())
def test_no_line_is_wider_than_the_terminal_and_each_task_has_its_own(
    graph: Graph, width: int, is_unicode: bool
):
    lines = text(graph, Terminal(width=width, is_unicode=is_unicode)).split("\n")
    assert max(map(cells, lines)) <= width
    heads = [found[1] for line in lines if (found := _HEAD.match(line))]
    if width >= 40:
        assert sorted(heads) == sorted(node.name for node in graph.nodes)


_HEAD = re.compile(r"[│| ]*[─┌├└|/\\-] (t\d)(?= |$)")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("-", True),
        ("order.yaml", True),
        ("order.yml", True),
        ("folder/order", True),
        ("/order", True),
        ("here", True),
        ("order-1", False),
        ("last", False),
        ("", False),
        ("order\0", False),
    ],
)
def test_what_is_a_file_and_what_is_a_run(name: str, is_one: bool, folder: Path):
    (folder / "here").write_text("", encoding="utf-8")
    assert is_file(name) is is_one


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    (tmp_path / "order.yaml").write_text(ORDER, encoding="utf-8")
    two = STAGED.replace("tasks: {a", "  more: {steps: [{stage: s, tasks: [a]}]}\ntasks: {a")
    (tmp_path / "two.yaml").write_text(two, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text("tasks: {t: {agent: x, depends_on: [u]}}", encoding="utf-8")
    return tmp_path


def document(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("folder")
def test_a_file_is_drawn(capsys: Capture):
    assert main(["graph", "order.yaml"]) == 0
    assert capsys.readouterr().out == f"{ORDER_AS_TEXT}\n"


@pytest.mark.usefixtures("folder")
def test_a_file_on_stdin_is_drawn(monkeypatch: pytest.MonkeyPatch, capsys: Capture):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ORDER.encode())))
    assert main(["graph", "-"]) == 0
    assert capsys.readouterr().out == f"{ORDER_AS_TEXT}\n"


@pytest.mark.usefixtures("folder")
def test_a_run_is_drawn_as_it_stands_by_the_beginning_of_its_id(capsys: Capture):
    main(
        ["run", "order.yaml", "--input", "strict=true", "--agent", "*=fail", "--run-id", "order-1", "--quiet"]
    )
    capsys.readouterr()
    assert main(["graph", "ord"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("run order-1: failed\norder: 6 tasks")
    assert re.search(r"^─ build +failed ", out, re.MULTILINE)
    assert main(["graph", "last", "--json"]) == 0
    drawn = document(capsys)
    assert (drawn["run_id"], drawn["status"]) == ("order-1", "failed")
    assert {task["id"]: task["status"] for task in drawn["tasks"]}["build"] == "failed"


@pytest.mark.usefixtures("folder")
def test_the_document_has_the_graph_and_the_drawing_that_was_asked_for(capsys: Capture):
    assert main(["graph", "order.yaml", "--json"]) == 0
    plain = document(capsys)
    assert plain["edges"][0] == {"source": "build", "target": "test", "kind": "success", "key": ""}
    assert plain["tasks"][0]["agents"] == ["live", "backup"]
    assert main(["graph", "order.yaml", "--json", "--format", "dot"]) == 0
    assert document(capsys) == {**plain, "dot": dot(graph_of(loads(ORDER, trust="own")))}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["gone.yaml"], 66, "E101"),
        (["gone"], 66, "E421"),
        (["last"], 66, "E421"),
        (["bad.yaml"], 65, "E130"),
        (["two.yaml"], 64, "E400"),
        (["two.yaml", "--workflow", "moer"], 64, "E400"),
        (["order.yaml", "--format", "svg"], 64, "E600"),
    ],
)
def test_what_cannot_be_drawn_is_told_as_everywhere(
    words: list[str], status: int, code: str, capsys: Capture
):
    assert main(["graph", *words, "--json"]) == status
    assert document(capsys)["error"]["code"] == code


@pytest.mark.usefixtures("folder")
def test_one_of_several_workflows_is_drawn_by_its_name(capsys: Capture):
    assert main(["graph", "two.yaml", "--workflow", "more"]) == 0
    assert (
        capsys.readouterr().out == "staged (more): 1 task, 1 stage\n\nTASK  AGENT  AFTER\nstage s\n─ a   x\n"
    )
