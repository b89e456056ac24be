"""The JSON Schema: what it refuses the loader refuses, what loads it accepts, and it knows every key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from jsonschema import Draft202012Validator

from actorflow import SpecError, load_dict, loads
from actorflow.cli import main
from actorflow.spec.action_contracts import ActionContract
from actorflow.spec.bounds import Bounds
from actorflow.spec.readers import words
from actorflow.spec.readers.actions import action_of
from actorflow.spec.surface import (
    PARAMS_OF,
    ListedTask,
    WorkflowFile,
    agents,
    document,
    hooks,
    keys_of,
    recovery,
    tasks,
    types_of,
)
from actorflow.spec.surface.schema import workflow_schema
from actorflow.spec.text.composer import compose
from actorflow.spec.text.report import Report

ROOT = Path(__file__).parent.parent
SCHEMA = workflow_schema()
EDITOR = Draft202012Validator(SCHEMA)

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SECOND_GRAMMAR = (
    ROOT / "examples" / "second_grammar"
)  # loads as well; an editor is told of our own words alone
FILES = sorted(
    path
    for path in [*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "tests" / "seed").glob("*.yaml")]
    if path.parent != SECOND_GRAMMAR
)
EVERY_KEY = (ROOT / "tests" / "data" / "spec" / "every_key.yaml").read_text().split("\n---\n")
PROBLEMS = [
    ROOT / "tests" / "data" / "spec" / f"{part}_problems.txt" for part in ("workflow", "task", "root")
]

WRONG: tuple[Any, ...] = (5.5, "a b!", True, [5.5], {"b!": 5.5}, None)
"""Values of every kind; no key takes them all but those for data of any shape."""


def plain(text: str) -> Any:
    """A file's data, read as the loader reads it."""
    report = Report(text=text)
    node = compose(text, report, Bounds())
    report.raise_problems()
    return json.loads(json.dumps(node))


def complaints(data: Any) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message[:200]}" for error in EDITOR.iter_errors(data)]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_example_passes_the_schema_and_the_loader(path: Path):
    text = path.read_text()
    assert complaints(plain(text)) == []
    loads(text, trust="own")


@pytest.mark.parametrize("text", EVERY_KEY, ids=lambda text: str(plain(text)["name"]))
def test_a_file_with_every_key_passes_the_schema_and_the_loader(text: str):
    assert complaints(plain(text)) == []
    loads(text, trust="own")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_schema_accepts_every_workflow_of_the_pages(page: Path):
    """Those with mistakes say so beside the fence; what is no mapping with tasks is a part of a file."""
    found = re.findall(
        r"^```yaml(?: good[^\n]*| not-yet)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
    )
    whole = [data for data in map(plain, found) if data.keys() & {"tasks", "hooks", "workflows"}]
    assert [complaints(data) for data in whole if complaints(data)] == []


def test_no_key_is_missing_from_those_files():
    written = {key for text in EVERY_KEY for key in _keys_in(plain(text))}
    assert {key for _, key, _ in _own_keys()} - written == set()


def _own_keys() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every key of ours: of which mapping, its name, its schema."""
    for name, definition in SCHEMA["$defs"].items():
        for key, schema in definition.get("properties", {}).items():
            if "another tool" not in schema["description"]:
                yield name, key, schema


def _keys_in(data: Any) -> Iterator[str]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(key, str):
            yield key
        if isinstance(value, dict | list):
            yield from _keys_in(value)


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*path, key))


def _put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = deepcopy(data)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


@pytest.mark.parametrize("text", EVERY_KEY, ids=lambda text: str(plain(text)["name"]))
def test_a_value_of_a_wrong_kind_is_refused_by_the_loader_wherever_the_schema_refuses_it(text: str):
    data = plain(text)
    accepted = []
    for number, path in enumerate(_places(data)):
        for value in WRONG[number % len(WRONG) :] + WRONG[: number % len(WRONG)]:
            changed = _put(data, path, value)
            if not EDITOR.is_valid(_around(changed, path)):
                if _loads(changed):
                    accepted.append((path, value))
                break  # one for each place: every kind has its turn
    assert accepted == []


def _around(data: Any, path: tuple[Any, ...]) -> Any:
    """The part of a definition that a place is in, a definition of its own: the whole takes an editor ten times as long."""
    top, name, *_ = (*path, "", "")
    if "id" in data or name == "":
        return data if "id" in data else {top: data[top]}
    part = data[top]
    return {top: {name: part[name]} if isinstance(part, dict) else [part[name]]}


@frozen
class BeepParams:
    """What an action of the program's own takes."""

    count: int = 1


ACTIONS = {"beep": ActionContract(name="beep", params=BeepParams)}


def _loads(data: Any) -> bool:
    try:
        load_dict(data, trust="own", actions=ACTIONS)
    except SpecError:
        return False
    return True


def test_every_key_but_those_for_data_refuses_a_value_of_a_wrong_kind():
    """The keys without a kind are named here, so that no other can lose its own."""
    free = {(name, key) for name, key, schema in _own_keys() if _takes_anything(schema)}
    assert free == {
        ("Http", "json"),
        ("Input", "default"),
        ("OnError", "fallback_value"),
        ("ListedTask", "payload"),
        ("OneTask", "payload"),
        ("Task", "payload"),
        ("TransformParams", "output"),
        ("WebhookParams", "body"),
    }


def _takes_anything(schema: dict[str, Any]) -> bool:
    return all(Draft202012Validator(schema | {"$defs": SCHEMA["$defs"]}).is_valid(value) for value in WRONG)


def _wrong_kinds() -> list[str]:
    """The cases of the loader's tables that are about one value, written out: no template, and no `.nan`, which no JSON holds."""
    lines = [line for table in PROBLEMS for line in table.read_text().splitlines()]
    kinds = [line for line in lines if line.startswith(("E120", "E121", "E124"))]
    return [line for line in kinds if ".nan" not in line and "{{ 5 }}" not in line]


@pytest.mark.parametrize("line", _wrong_kinds())
def test_what_is_of_a_wrong_kind_or_no_key_at_all_an_editor_shows_too(line: str):
    _, what, raw = line.split(" | ", 2)
    data = plain(raw.encode("latin-1", "backslashreplace").decode("unicode_escape"))
    assert not EDITOR.is_valid(data), what


KINDS = {
    "WORKFLOW": WorkflowFile, "INPUT": document.Input, "SECRET": document.Secret, "LIMITS": document.Limits,
    "DEFAULTS": document.Defaults, "AGENT": agents.Agent, "SCRIPT": agents.Script, "HTTP": agents.Http,
    "TASK": ListedTask, "EDGE": tasks.Edge, "RETRY": recovery.Retry, "ON_ERROR": recovery.OnError,
    "BREAKER": recovery.Breaker, "TRANSITION": recovery.Transition, "ON_COMPLETE": tasks.OnComplete,
    "LOOP": tasks.Loop, "ITEMS_FILE": tasks.FileItems, "ENTRY": document.Entry,
    "STEP": document.Stage, "BATCH": hooks.Batch, "HOOK_COMMAND": hooks.CommandParams,
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_the_loader_and_the_schema_know_the_same_keys(name: str):
    assert set(keys_of(KINDS[name])) == getattr(words, name).words


@pytest.mark.parametrize("kind", words.TASK_TYPES)
def test_they_know_the_same_keys_of_each_type_of_task(kind: str):
    keys = {key for key, attribute in keys_of(ListedTask).items() if kind in (types_of(attribute) or (kind,))}
    assert keys == words.TASK_KEYS[kind]


def test_they_know_the_same_hooks_events_and_actions():
    assert set(keys_of(hooks.Hook)) == words.HOOK.words | words.HOOK_COMMAND.words
    assert set(keys_of(hooks.Hooks)) == {*words.HOOK_EVENTS, "inherit", "use"}
    assert set(PARAMS_OF) == set(words.HOOK_ACTIONS)
    for action, params in PARAMS_OF.items():
        if action != "command":
            assert set(keys_of(params)) == action_of(action).keys.words
            must = {key for key, attribute in keys_of(params).items() if attribute.metadata["must"]}
            assert must == set(action_of(action).required)


def test_every_key_says_what_it_means_and_every_choice_what_there_is():
    for name, definition in SCHEMA["$defs"].items():
        if definition.get("type") == "object":
            assert definition["description"], name
            assert all(schema["description"] for schema in definition["properties"].values()), name
    kinds = SCHEMA["$defs"]["Task"]["properties"]["type"]["enum"]
    assert kinds == list(words.TASK_TYPES)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("two ways to run", {"tasks": {"a": {"agent": "x", "command": "true"}}}),
        ("nobody performs it", {"tasks": {"a": {"description": "b"}}}),
        ("another type's key", {"tasks": {"a": {"agent": "x", "routes": {"a": "b"}}}}),
        ("a router without routes", {"tasks": {"a": {"type": "router", "condition": "input.x"}}}),
        ("a webhook's param in a log", {"hooks": {"task_finished": [{"type": "log", "params": {"url": "https://a"}}]}}),
        ("an action of no name", {"hooks": {"on_error": [{"type": "a b!"}]}}),
        ("a batch in a command's place", {"hooks": {"on_error": [{"type": "beep", "command": "ls"}]}}),
        ("a command beside another action", {"hooks": {"on_error": [{"type": "log", "command": "true"}]}}),
        ("a listed task without id", {"tasks": [{"agent": "x"}]}),
        ("an id in a mapping", {"tasks": {"a": {"id": "a", "agent": "x"}}}),
        ("a duration of the clock", {"tasks": {"a": {"agent": "x", "timeout": "1:30"}}}),
        ("a container without a task", {"tasks": {"a": {"type": "parallel", "tasks": {}}}}),
        ("no entry", {"workflows": {}, "tasks": {"a": {"agent": "x"}}}),
        ("a webhook without params", {"hooks": {"on_error": [{"type": "webhook"}]}}),
        ("a hook that does nothing", {"hooks": {"on_error": [{"when": "true"}]}}),
        ("a command in two places", {"hooks": {"on_error": [{"command": "ls", "params": {"command": "ls"}}]}}),
        ("params without a command", {"hooks": {"on_error": [{"params": {"cwd": "x"}}]}}),
        ("a transform of nothing", {"hooks": {"task_finished": [{"type": "transform", "params": {}}]}}),
        ("an event of runs on a task", {"tasks": {"a": {"agent": "x", "hooks": {"pre_workflow": ["ls"]}}}}),
        ("an event of runs in the defaults", {"defaults": {"hooks": {"pre_workflow": ["ls"]}}, "tasks": {"a": {"agent": "x"}}}),
        ("a loop without a bound", {"tasks": {"a": {"agent": "x", "loop": {"while": "input.x"}}}}),
        ("a loop with two bounds", {"tasks": {"a": {"agent": "x", "loop": {"repeat": 3, "max_iterations": 3}}}}),
        ("a composite of two kinds", {"tasks": {"a": {"type": "composite", "uses": "x.yaml", "tasks": {"b": {"agent": "x"}}}}}),
        ("a reserved id", {"tasks": {"status": {"agent": "x"}}}),
        ("a reserved input", {"inputs": {"status": {}}, "tasks": {"a": {"agent": "x"}}}),
        ("an id with a line break", {"inputs": {"k\n": {}}, "tasks": {"a": {"agent": "x"}}}),
        ("a secret with a line break", {"secrets": {"k\n": {"env": "K"}}, "tasks": {"a": {"agent": "x"}}}),
        ("a dependency twice", {"tasks": {"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": ["a", "a"]}}}),
        ("a variable that no expression can name", {"env": ["1A"], "tasks": {"a": {"agent": "x"}}}),
        ("1001 attempts", {"tasks": {"a": {"agent": "x", "retry": {"max_attempts": 1_001}}}}),
        ("a budget beyond all bounds", {"limits": {"retry_budget": 2 * 10**9}, "tasks": {"a": {"agent": "x"}}}),
        ("a key of another tool where it has none", {"limits": {"model": "m"}, "tasks": {"a": {"agent": "x"}}}),
    ],
)  # fmt: skip
def test_the_rules_between_keys_are_in_the_schema_too(what: str, data: Any):
    assert not EDITOR.is_valid(data), what
    assert not _loads(data), what


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("no params of an action that needs none", {"hooks": {"on_error": [{"type": "beep"}]}}),
        ("one variable", {"env": "HOME", "tasks": {"a": {"agent": "x"}}}),
        ("a long name of a secret", {"secrets": {"k" * 200: {"env": "K"}}, "tasks": {"a": {"agent": "x"}}}),
        ("an agent by a word of the run", {"agents": {"status": None}, "tasks": {"a": {"agent": "status"}}}),
        ("one task with all that is beside it", {"id": "a", "action": "x", "defaults": {}, "hook_sets": {}, "env": ["A"]}),
        ("one task with variables of its own", {"id": "a", "action": "x", "env": {"A": "x"}}),
    ],
)  # fmt: skip
def test_what_is_seldom_written_passes_the_schema_and_the_loader(what: str, data: Any):
    assert complaints(data) == [], what
    assert _loads(data), what


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
