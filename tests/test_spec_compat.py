"""The second document's spellings: what each becomes, from nodes to nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.spec.bounds import Bounds
from actorflow.spec.compat import rewrite
from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.places import File, Place
from actorflow.spec.compat.spellings import may_be_theirs, respelled
from actorflow.spec.text.composer import compose
from actorflow.spec.text.nodes import NOWHERE, ListNode, MapNode, Node
from actorflow.spec.text.report import Report

CASES = Path(__file__).parent / "data" / "compat" / "rewriting"


def composed(text: str) -> Node:
    report = Report(text=text)
    root = compose(text, report, Bounds())
    report.raise_problems()
    return root


def plain(node: Node) -> Any:
    if isinstance(node, MapNode):
        return {key: plain(value) for key, value in node.items()}
    return [plain(item) for item in node] if isinstance(node, ListNode) else node


def cases() -> list[Any]:
    """One per item of each file: what is promised, what is given, and what becomes of it."""
    found = [(file, case) for file in sorted(CASES.glob("*.yaml")) for case in composed(file.read_text())]
    return [pytest.param(case, id=f"{file.stem}: {case['what']}") for file, case in found]


def rewritten(given: MapNode) -> tuple[MapNode, Report]:
    report = Report()
    return rewrite(given, report), report


@pytest.mark.parametrize("case", cases())
def test_a_definition_is_rewritten_into_our_words(case: MapNode):
    result, report = rewritten(case["given"])

    assert plain(result) == plain(case["gives"])
    told = [f"{warning.code} {warning.message}" for warning in report.warnings]
    expected = plain(case.get("warns", []))
    assert len(told) == len(expected), told
    for warning in expected:
        code, word = warning.split()
        assert any(line.startswith(code) and word in line for line in told), (warning, told)
    assert report.has_problems is bool(case.get("faults"))


@pytest.mark.parametrize("case", cases())
def test_rewriting_changes_nothing_of_what_it_is_given(case: MapNode):
    before = plain(case["given"])

    rewritten(case["given"])

    assert plain(case["given"]) == before


@pytest.mark.parametrize("case", cases())
def test_what_is_rewritten_once_stays_as_it_is(case: MapNode):
    once, _ = rewritten(case["given"])

    twice, _ = rewritten(once)

    assert plain(twice) == plain(once)


@pytest.mark.parametrize("case", cases())
def test_every_part_of_what_is_rewritten_has_a_place_in_the_file(case: MapNode):
    result, _ = rewritten(case["given"])

    waiting: list[Node] = [result]
    while waiting:
        node = waiting.pop()
        if isinstance(node, MapNode):
            assert set(node) <= node.marks.keys()
            assert NOWHERE not in node.marks.values()
            waiting.extend(node.values())
        elif isinstance(node, ListNode):
            assert len(node) == len(node.marks)
            waiting.extend(node)


def test_a_key_is_named_at_its_first_place():
    text = "tasks:\n  a: {agent: x, group: g}\n  b: {agent: x, group: h}\ndsl_version: '1'\n"
    root = composed(text)
    assert isinstance(root, MapNode)

    _, report = rewritten(root)

    assert [(warning.code, warning.line, warning.column) for warning in report.warnings] == [
        ("W101", 2, 17),
        ("W101", 4, 1),
    ]


def test_a_definition_in_our_own_words_is_handed_back_as_it_is():
    root = composed("tasks: {a: {agent: x, with: {n: '{{ input.n }}'}}, b: {agent: x, depends_on: [a]}}")
    assert isinstance(root, MapNode)

    result, report = rewritten(root)

    assert result is root
    assert report.warnings == ()


def test_broken_and_odd_values_are_passed_over_in_silence():
    odd: list[Any] = [None, 5, "x", [], {}, [1], {"type": 5}, {"type": "x"}]
    places = (
        "tasks", "agents", "workflows", "subflows", "secrets", "outputs", "limits", "inputs", "cwd",
    )  # fmt: skip
    task_places = (
        "agent", "script", "command", "http", "mcp_tool", "llm", "uses", "subflow", "inputs", "outputs", "subtasks",
        "on_error", "condition", "loop", "loop_spec", "loop_control", "on_complete", "depends_on", "options", "with",
    )  # fmt: skip
    for value in odd:
        for key in places:
            rewritten(noded({key: value}))
            rewritten(noded({key: {"a": value}}))
        for key in task_places:
            rewritten(
                noded({"tasks": {"a": {key: value, "condition": {"type": "task_status", "task": "a"}}}})
            )
            rewritten(noded({"tasks": [{"id": "a", key: value}, value]}))
            rewritten(noded({"workflows": {"w": {"steps": [{"tasks": [{"a": {key: value}}]}, value]}}}))


def noded(data: Any) -> Any:
    if isinstance(data, dict):
        made = MapNode()
        for key, value in data.items():
            made.put(key, NOWHERE, noded(value), NOWHERE)
        return made
    if isinstance(data, list):
        items = ListNode()
        for item in data:
            items.put(noded(item), NOWHERE)
        return items
    return data


OURS = """
tasks:
  fetch: {agent: a, with: {of: "{{ input.order }}", n: 1}, on_error: {retry: {max_attempts: 3}, fallback_agent: b}}
  pack: {command: [tar, "{{ tasks.fetch.output }}"], depends_on: [fetch], on_complete: {notify: "done: {{ output }}"}}
  tell: {script: "echo $HOME ${x}", env: {A: "${NAME}", B: "$$ and {{ input.b }}"}, when: "tasks.pack.output > 1"}
"""


def test_a_definition_of_ours_is_the_same_object_afterwards():
    root = composed(OURS)

    assert rewritten(root)[0] is root


WORDS = [
    "${",
    "{{",
    "}}",
    "}",
    " ",
    "$",
    '"',
    "a",
    "${x",
    "${ index",
    "{{ task.x",
    "${loop.index",
    "{{state.x",
    "${group.a",
]


@settings(max_examples=1_000, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=9).map("".join))
def test_a_text_that_is_seen_to_be_ours_would_not_be_changed(text: str):
    inputs: dict[str, Node] = {"x": MapNode()}
    file = File(Report(), SetAside(), inputs, {"x": "t"}, {"x": "t"}, {}, {})
    place = Place(file=file, task="here", siblings=frozenset({"x", "t"}), values={"index": 5})

    changed = respelled(text, NOWHERE, place)

    assert may_be_theirs(text) or (changed == text and not place.wishes)


@pytest.mark.parametrize(
    "root", ["loop", "task", "agent", "state", "subflow", "workflow", "secret", "group", "metadata"]
)
@pytest.mark.parametrize("braces", [("${", "}"), ("{{ ", " }}")])
def test_a_name_under_each_root_of_that_tool_is_seen_to_be_theirs(root: str, braces: tuple[str, str]):
    nested = MapNode()
    nested.put("k", NOWHERE, f"a {braces[0]}{root}.name{braces[1]}", NOWHERE)
    items = ListNode()
    items.put(nested, NOWHERE)

    assert may_be_theirs(items)
