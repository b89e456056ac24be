"""Actions of the program's own in a definition: told apart by their contracts, their params checked by class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import Factory, field, frozen, validators

from actorflow.errors import Problem, SpecError
from actorflow.spec import HookSpec, from_json, load, load_dict, loads, loads_with_warnings, to_json
from actorflow.spec.action_contracts import CONTRACTS, ActionContract, ParamsRefused, structured

TASKS = "tasks: {a: {agent: x}}\n"


@frozen
class Person:
    """Who is told."""

    name: str
    phone: int | None = None


@frozen
class PageParams:
    """What a page needs."""

    text: str
    level: Literal["low", "high"] = "low"
    score: float = 1.0
    is_loud: bool = False
    people: list[Person] = Factory(list)
    tags: Mapping[str, str] = Factory(dict)
    times: int = field(default=1, validator=validators.ge(1))


@dataclasses.dataclass
class BeepParams:
    """Nothing that must be given."""

    count: int = 1


ACTIONS = {
    "page": ActionContract(name="page", params=PageParams, timeout=30.0, max_attempts=4),
    "beep": ActionContract(name="beep", params=BeepParams),
}


def page(params: str) -> str:
    return f"hooks:\n  task_finished:\n    - {{type: page, params: {params}}}\n{TASKS}"


def problems_of(text: str, **options: Any) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        loads(text, **{"trust": "own", "actions": ACTIONS, **options})
    return list(caught.value.problems)


def test_an_action_of_the_program_is_a_hook_like_any_other():
    spec = loads(
        "hooks: {task_finished: [{type: page, when: 'true', params: {text: 'order {{ input.id }}', tags: {t: '${TOKEN}'}}}]}\n"
        + TASKS,
        trust="own",
        actions=ACTIONS,
    )

    (hook,) = spec.hooks.of("task_finished")
    params = {"text": "order {{ input.id }}", "tags": {"t": "${TOKEN}"}}
    assert (hook.action, hook.when, hook.params) == ("page", "true", params)
    assert (hook.mode, hook.timeout, hook.retry.max_attempts) == ("async", 30.0, 4)


def test_what_a_hook_says_itself_comes_before_what_its_action_says():
    spec = loads(
        f"hooks: {{task_started: [{{type: beep, timeout: 1s, retry: 2}}]}}\n{TASKS}", actions=ACTIONS
    )

    (hook,) = spec.hooks.of("task_started")
    assert (hook.timeout, hook.retry.max_attempts, hook.params) == (1.0, 3, {})


GOOD = [
    "{text: hi}",
    "{text: hi, level: high, score: 2, is_loud: true, people: [{name: A, phone: 5}], tags: {a: b}, times: 3}",
    "{text: '{{ output }}', level: '{{ input.level }}', score: '{{ input.score }}', is_loud: '${LOUD}'}",
    "{text: hi, people: '{{ input.people }}', times: '{{ input.times }}'}",
    "{text: hi, people: [{name: A}, {name: '{{ input.name }}', phone: '{{ input.phone }}'}]}",
]


@pytest.mark.parametrize("params", GOOD)
def test_constant_values_must_fit_and_templates_may_give_anything(params: str):
    loads(page(params), trust="own", actions=ACTIONS)


BAD = [
    ("a missing key", "{level: low}", "E122@3:28", "a page needs 'text'"),
    ("an unknown key", "{text: hi, peeple: []}", "E120@3:39", "unknown key 'peeple'; did you mean 'people'?"),
    ("a number for text", "{text: 5}", "E121@3:35", "text: must be text, not a whole number"),
    ("text for a number", "{text: hi, times: '5'}", "E121@3:46", "times: must be a whole number, not text"),
    ("true for a number", "{text: hi, times: true}", "E121@3:46", "times: must be a whole number, not true or false"),
    ("null", "{text: null}", "E121@3:35", "text: must be text, not null"),
    ("another word", "{text: hi, level: top}", "E121@3:46", "level: 'top' is none of 'low', 'high'"),
    ("one for a list", "{text: hi, people: A}", "E121@3:47", "people: must be a list, not text"),
    ("a part of an item", "{text: hi, people: [{name: A}, {name: 5}]}", "E121@3:66", "people[1].name: must be text, not a whole number"),
    ("a part that is missing", "{text: hi, people: [{phone: 5}]}", "E121@3:48", "people[0].name: is missing"),
    ("a part too many", "{text: hi, people: [{name: A, age: 5}]}", "E121@3:48", "people[0]: unknown key 'age'"),
    ("a value of a mapping", "{text: hi, tags: {a: 5}}", "E121@3:49", "tags.a: must be text, not a whole number"),
    ("what the class refuses", "{text: hi, times: 0}", "E121@3:28", "'times' must be >= 1: 0"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "params", "place", "message"), BAD)
def test_params_that_do_not_fit_are_told_where_they_stand(what: str, params: str, place: str, message: str):
    (problem,) = problems_of(page(params))

    assert f"{problem.code}@{problem.line}:{problem.column}" == place, what
    assert message in f"{problem.message}; {problem.hint}"


def test_everything_that_is_wrong_with_params_is_told_at_once():
    found = problems_of(page("{tetx: hi, times: '5', people: [{name: 1}, {name: 2}]}"))

    assert [problem.code for problem in found] == ["E122", "E120", "E121", "E121", "E121"]


def test_params_that_are_required_must_be_there():
    (problem,) = problems_of(f"hooks: {{task_started: [{{type: page}}]}}\n{TASKS}")

    assert problem.code == "E122"
    assert "a page needs params with 'text'" in problem.message


def test_an_action_of_the_program_takes_its_events_one_by_one():
    (problem,) = problems_of(f"hooks: {{task_started: [{{type: beep, batch: {{}}}}]}}\n{TASKS}")

    assert problem.code == "E125"


UNKNOWN = [
    ("pgae", "did you mean 'page'?"),
    ("webhok", "did you mean 'webhook'?"),
    ("zzz", "choose from command, log, notify, webhook, metric, dispatch_task, transform, page, beep"),
]


@pytest.mark.parametrize(("name", "hint"), UNKNOWN)
def test_an_unknown_action_is_told_what_may_be_meant_and_how_to_register_one(name: str, hint: str):
    (problem,) = problems_of(f"hooks: {{task_started: [{{type: {name}, parms: {{}}}}]}}\n{TASKS}")

    assert (problem.code, problem.line, problem.column) == ("E123", 1, 31)
    assert problem.message.endswith(f"there is no action {name!r}")
    assert problem.hint.startswith(hint)
    assert "@hook_action" in problem.hint


def test_actions_of_the_format_cannot_be_another_s():
    mine = {"log": ActionContract(name="log", params=BeepParams)}

    (problem,) = problems_of(
        f"hooks: {{on_error: [{{type: log, params: {{count: 1}}}}]}}\n{TASKS}", actions=mine
    )[:1]

    assert "a log needs 'message'" in problem.message


def test_a_definition_that_is_data_may_use_what_the_program_has_and_no_secrets():
    loads(page("{text: hi, tags: {url: 'https://x.example'}}"), trust="data", actions=ACTIONS)

    (problem,) = problems_of(page("{text: '${TOKEN}'}"), trust="data")
    assert problem.code == "E204"


def test_every_way_to_load_knows_the_actions_that_it_is_given(tmp_path: Path):
    text = page("{text: hi}")
    file = tmp_path / "w.yaml"
    file.write_text(text)
    data = {
        "hooks": {"task_finished": [{"type": "page", "params": {"text": "hi"}}]},
        "tasks": {"a": {"agent": "x"}},
    }

    hooks = [
        spec.hooks
        for spec in (
            load(file, actions=ACTIONS),
            loads(text, actions=ACTIONS),
            load_dict(data, actions=ACTIONS),
            loads_with_warnings(text, actions=ACTIONS).spec,
        )
    ]

    assert hooks == [hooks[0]] * 4


def test_where_none_are_given_the_actions_of_the_process_are_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(CONTRACTS, "page", ACTIONS["page"])

    assert loads(page("{text: hi}")).hooks.of("task_finished")[0].action == "page"
    with pytest.raises(SpecError):
        loads(page("{text: hi}"), actions={})


def test_a_stored_definition_is_read_where_nobody_has_its_actions():
    spec = loads(page("{text: hi}"), trust="own", actions=ACTIONS)

    again = from_json(to_json(spec))

    assert again == spec
    assert again.hooks.of("task_finished") == (
        HookSpec(
            action="page",
            params={"text": "hi"},
            mode="async",
            timeout=30.0,
            retry=spec.hooks.of("task_finished")[0].retry,
        ),
    )


def test_a_contract_says_which_params_there_are():
    assert {name: param.is_required for name, param in ACTIONS["page"].keys.items()} == {
        "text": True, "level": False, "score": False, "is_loud": False, "people": False, "tags": False, "times": False,
    }  # fmt: skip
    assert list(ACTIONS["beep"].keys) == ["count"]


@pytest.mark.parametrize("params", [int, dict, "PageParams", None])
def test_params_of_no_class_of_fields_are_refused(params: Any):
    with pytest.raises(TypeError, match="is no attrs class and no dataclass"):
        ActionContract(name="page", params=params)


def test_params_of_types_that_nobody_knows_are_refused():
    unknown = dataclasses.make_dataclass("Unknown", [("at", "Nowhere")])

    with pytest.raises(TypeError, match="Nowhere"):
        ActionContract(name="page", params=unknown)


@frozen
class Shapes:
    """One field of each shape."""

    text: str = ""
    whole: int = 0
    number: float = 0.0
    is_set: bool = False
    texts: list[str] = Factory(list)
    pair: tuple[str, int] = ("", 0)
    many: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    lists: list[list[str]] = Factory(list)
    counts: dict[str, int] = Factory(dict)
    maybe: int | None = None
    either: int | str = 0
    word: Literal["a", 1] = "a"
    person: Person | None = None
    anything: Any = None


FITTING = [
    ({"text": "a", "whole": 1, "number": 1.5, "is_set": True}, Shapes(text="a", whole=1, number=1.5, is_set=True)),
    ({"number": 2}, Shapes(number=2.0)),
    ({"texts": ["a"], "many": ["b", "c"], "names": ["d"]}, Shapes(texts=["a"], many=("b", "c"), names=frozenset("d"))),
    ({"pair": ["a", 1], "lists": [["a"], []]}, Shapes(pair=("a", 1), lists=[["a"], []])),
    ({"counts": {"a": 1}, "maybe": 1, "either": "a", "word": 1}, Shapes(counts={"a": 1}, maybe=1, either="a", word=1)),
    ({"maybe": None, "person": {"name": "A"}, "anything": [{}, 1]}, Shapes(person=Person("A"), anything=[{}, 1])),
]  # fmt: skip


@pytest.mark.parametrize(("data", "made"), FITTING)
def test_plain_data_that_fits_a_class_becomes_an_object_of_it(data: Any, made: Shapes):
    assert structured(Shapes, data) == made


REFUSED = [
    ({"text": 1}, "text: must be text, not a whole number"),
    ({"whole": 1.5}, "whole: must be a whole number, not a number"),
    ({"whole": True}, "whole: must be a whole number, not true or false"),
    ({"number": "1"}, "number: must be a number, not text"),
    ({"number": True}, "number: must be a number, not true or false"),
    ({"is_set": 1}, "is_set: must be true or false, not a whole number"),
    ({"texts": "abc"}, "texts: must be a list, not text"),
    ({"texts": {"a": 1}}, "texts: must be a list, not a mapping"),
    ({"pair": "ab"}, "pair[1]: must be a whole number, not text"),
    ({"many": "abc"}, "many: must be a list, not text"),
    ({"names": "abc"}, "names: must be a list, not text"),
    ({"lists": ["abc"]}, "lists[0]: must be a list, not text"),
    ({"counts": []}, "counts: must be a mapping, not a list"),
    ({"counts": {"a": "1"}}, "counts.a: must be a whole number, not text"),
    ({"maybe": "1"}, "maybe: must be a whole number, not text"),
    ({"word": True}, "word: True is none of 'a', 1"),
    ({"person": {"phone": 1}}, "person.name: is missing"),
    ({"person": "A"}, "person: must be a mapping, not text"),
    ({"new": 1, "old": 2}, "unknown key 'new'; unknown key 'old'"),
    ([], "must be a mapping, not a list"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_nothing_is_turned_into_something_else_to_fit_a_class(data: Any, message: str):
    with pytest.raises(ParamsRefused) as caught:
        structured(Shapes, data)

    assert str(caught.value) == message
