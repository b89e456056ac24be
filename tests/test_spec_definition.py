"""Definitions as JSON: exact, canonical, and worked out once."""

from __future__ import annotations

import gc
import json
import time
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

import apsw
import attrs
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorflow.spec import (
    CollectionSpec,
    FileItems,
    HookLists,
    HookSpec,
    LoopSpec,
    OnErrorSpec,
    RetrySpec,
    TaskSpec,
    WorkflowSpec,
    digest,
    from_json,
    load,
    model,
    spec_definition,
    to_json,
)
from actorflow.spec.definition import _known, _written

TESTS = Path(__file__).parent
SEED = sorted((TESTS / "seed").glob("*.yaml"))

TEXT = st.text(max_size=6)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
PLAIN: dict[object, st.SearchStrategy[Any]] = {
    Any: JSON,
    str: TEXT,
    int: INTEGERS,
    float: st.floats(0.001, 1e6),
    bool: st.booleans(),
    types.NoneType: st.none(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of any type that a field of the model has."""
    if kind in PLAIN:
        return PLAIN[kind]
    if attrs.has(kind):
        return st.deferred(lambda: parts_of(kind))
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in {Union, types.UnionType}:
        return st.one_of(*map(values_of, sorted(arguments, key=lambda each: each is not types.NoneType)))
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    assert origin is Mapping
    return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=2)


def parts_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Objects of a class of the model, each field given or left at its default."""
    attrs.resolve_types(kind)
    given_always, given_or_not = {}, {}
    for each in attrs.fields(kind):
        values = values_of(each.type)
        if kind is CollectionSpec and each.name == "items":
            values = TEXT | st.lists(JSON, max_size=2) | values_of(FileItems)
        (given_always if each.default is attrs.NOTHING else given_or_not)[each.name] = values
    return st.fixed_dictionaries(given_always, optional=given_or_not).map(lambda fields: kind(**fields))


SPECS = parts_of(WorkflowSpec)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPECS)
def test_reading_is_the_exact_inverse_of_writing(spec: WorkflowSpec):
    body = to_json(spec)

    again = from_json(body)

    assert again == spec
    assert repr(again) == repr(spec) or to_json(again) == body  # 1 and 1.0 and True stay what they are


@pytest.mark.parametrize("file", SEED, ids=lambda file: file.stem)
def test_a_loaded_file_survives_the_journal(file: Path):
    spec = load(file)

    assert from_json(to_json(spec)) == spec


def test_equal_definitions_have_the_same_bytes_whatever_the_order_of_their_keys():
    one = WorkflowSpec(name="w", outputs={"a": 1, "b": {"c": 2, "d": 3}})
    other = WorkflowSpec(name="w", outputs={"b": {"d": 3, "c": 2}, "a": 1})

    assert to_json(one) == to_json(other)
    assert digest(to_json(one)) == digest(to_json(other))
    assert digest(to_json(one)) != digest(to_json(evolve(one, name="v")))


def test_a_task_costs_what_its_file_says_of_it():
    spec = WorkflowSpec(name="w", tasks=(TaskSpec(id="a", agent="x", retry=RetrySpec(max_attempts=3)),))

    assert to_json(spec) == (
        b'{"format":2,"name":"w","tasks":[{"agent":"x","id":"a","retry":{"max_attempts":3}}]}'
    )


def test_the_defaults_are_those_of_the_format():
    """A default that changes would change what stored definitions say: raise FORMAT, and read the older ones right."""
    kinds = [kind for kind in vars(model).values() if isinstance(kind, type) and attrs.has(kind)]
    now = {
        kind.__name__: {
            each.name: json.loads(json.dumps(_default_of(each), default=_written))
            for each in attrs.fields(kind)
            if each.default is not attrs.NOTHING
        }
        for kind in kinds
    }

    assert now == json.loads((TESTS / "data" / "spec" / "defaults_of_format_2.json").read_text("utf-8"))


def _default_of(each: attrs.Attribute[Any]) -> object:
    return each.default.factory() if isinstance(each.default, attrs.Factory) else each.default  # type: ignore[arg-type]


def test_names_that_python_keeps_for_itself_are_written_as_the_file_has_them():
    spec = WorkflowSpec(
        name="w",
        tasks=(TaskSpec(id="a", with_={"v": 1}, loop=LoopSpec(while_="x", max_iterations=2)),),
    )

    (written,) = json.loads(to_json(spec))["tasks"]
    assert written == {"id": "a", "with": {"v": 1}, "loop": {"while": "x", "max_iterations": 2}}


OLD = {
    "folder": "/srv",
    "hooks": {
        "pre_workflow": [{"command": "mkdir out", "timeout": 300.0}],
        "post_workflow": [{"command": ["rm", "-r", "out"], "timeout": 60.0, "description": "tidy"}],
        "on_stage_complete": [{"command": "say", "timeout": 300.0}],
    },
    "limits": {"durability": "full", "max_parallel": 100},
    "name": "old",
    "tasks": [
        {
            "agent": "x",
            "id": "a",
            "on_error": {"strategy": "abort", "fallback_agents": ["y"]},
            "retry": {
                "backoff": "exponential", "delay": 1.0, "factor": 2.0, "jitter": "full", "max_attempts": 3, "max_delay": 60.0,
            },
            "with": {"n": "{{ input.n }}"},
        }
    ],
    "trust": "own",
}  # fmt: skip


def test_a_definition_of_the_first_format_means_what_it_meant():
    spec = from_json(json.dumps(OLD).encode())

    assert spec == WorkflowSpec(
        name="old",
        folder="/srv",
        hooks=HookLists(
            lists={
                "pre_workflow": (HookSpec(command="mkdir out", on_error="fail"),),
                "post_workflow": (HookSpec(command=("rm", "-r", "out"), timeout=60.0, description="tidy"),),
                "on_stage_complete": (HookSpec(command="say", mode="async"),),
            }
        ),
        tasks=(
            TaskSpec(
                id="a",
                agent="x",
                with_={"n": "{{ input.n }}"},
                retry=RetrySpec(max_attempts=3),
                on_error=OnErrorSpec(fallback_agents=("y",)),
            ),
        ),
    )


def test_every_definition_in_the_stores_of_earlier_versions_is_read(tmp_path: Path):
    for store in sorted((TESTS / "golden").glob("*.db")):
        copy = tmp_path / store.name
        copy.write_bytes(store.read_bytes())
        rows = list(apsw.Connection(str(copy)).execute("select body from definitions"))
        assert rows
        for (body,) in rows:
            spec = from_json(bytes(body))
            assert from_json(to_json(spec)) == spec


def test_a_definition_of_a_later_format_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="of format 3, and this version reads up to 2"):
        from_json(b'{"format":3,"name":"w"}')


def test_a_thousand_tasks_are_read_in_little_time():
    """10 ms where nothing else runs; the bound is loose, as this machine may be busy."""
    task = TaskSpec(
        id="t",
        agent="x",
        with_={"a": "{{ input.x }}", "b": [1, 2]},
        depends_on=("s",),
        retry=RetrySpec(max_attempts=3),
        timeout=30.0,
        on_error=OnErrorSpec(fallback_agents=("y",)),
    )
    body = to_json(WorkflowSpec(name="w", tasks=tuple(evolve(task, id=f"t{n}") for n in range(1_000))))
    from_json(body)  # builds the reader

    best = min(_seconds_of_reading(body) for _ in range(5))

    assert best < 0.1


def _seconds_of_reading(body: bytes) -> float:
    start = time.process_time()
    from_json(body)
    return time.process_time() - start


def test_an_empty_block_of_inputs_is_not_the_absence_of_one():
    assert from_json(to_json(WorkflowSpec(name="w", inputs={}))).inputs == {}
    assert from_json(to_json(WorkflowSpec(name="w"))).inputs is None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"null", b"\xff", b'{"format":2}', b'{"format":2,"name":1}', b'{"format":2,"name":"w","new":2}',
        b'{"format":2,"name":"w","trust":"none"}', b'{"format":2,"name":"w","tasks":[{"id":"a","timeout":"5"}]}',
        b'{"format":2,"name":"w","tasks":[{"id":"a","priority":true}]}',
        b'{"format":2,"name":"w","tasks":[{"id":"a","runner":{}}]}',
        b'{"format":2,"name":"w","tasks":[{"id":"a","container":{"kind":"maze"}}]}',
        b'{"format":2,"name":"w","tasks":[{"id":"a","container":{"tasks":[]}}]}',
        b'{"format":2,"name":"w","hooks":{"lists":{"on_eror":[]}}}', b'{"format":"2","name":"w"}',
    ],
)  # fmt: skip
def test_what_is_no_definition_is_refused(body: bytes):
    with pytest.raises(ValueError):
        from_json(body)


def test_a_number_that_json_lacks_is_refused():
    with pytest.raises(ValueError):
        to_json(WorkflowSpec(name="w", outputs={"v": float("nan")}))


def test_the_definition_of_an_object_is_worked_out_once_and_forgotten_with_it():
    spec = WorkflowSpec(name="w")
    key = id(spec)

    name, body = spec_definition(spec)

    assert (name, body) == (digest(to_json(spec)), to_json(spec))
    assert spec_definition(spec)[1] is body
    assert spec_definition(evolve(spec, name="v"))[0] != name
    del spec
    gc.collect()
    assert key not in _known
