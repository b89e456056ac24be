"""Definitions as JSON: exact, canonical, and worked out once."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.spec import (
    AgentSpec,
    CommandRunner,
    HookLists,
    HookSpec,
    InputSpec,
    Limits,
    OnErrorSpec,
    PythonRunner,
    RetrySpec,
    StageSpec,
    TaskSpec,
    WorkflowSpec,
    digest,
    from_json,
    load,
    spec_definition,
    to_json,
)
from actorflow.spec.definition import _known

SEED = sorted(
    file for file in (Path(__file__).parent / "seed").glob("*.yaml") if file.stem != "process_order"
)

TEXT = st.text(max_size=6)
WORDS = st.lists(TEXT, max_size=3).map(tuple)
SECONDS = st.floats(0.001, 1e6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
MAPPINGS = st.dictionaries(TEXT, JSON, max_size=3)
COMMANDS = TEXT | WORDS
RUNNERS = st.none() | st.builds(PythonRunner, path=TEXT) | st.builds(CommandRunner, command=COMMANDS)
HOOKS = st.lists(st.builds(HookSpec, command=COMMANDS, description=TEXT, timeout=SECONDS), max_size=2).map(
    tuple
)
SPECS = st.builds(
    WorkflowSpec,
    name=TEXT,
    version=TEXT,
    entry=st.none() | TEXT,
    inputs=st.none()
    | st.dictionaries(
        TEXT,
        st.builds(
            InputSpec,
            type=st.sampled_from(["string", "number", "array"]),
            required=st.booleans(),
            default=JSON,
            has_default=st.booleans(),
            description=TEXT,
            enum=st.lists(JSON, max_size=2).map(tuple),
        ),
        max_size=2,
    ),
    outputs=MAPPINGS,
    limits=st.builds(Limits, max_parallel=st.integers(1, 9), durability=st.sampled_from(["full", "memory"])),
    agents=st.dictionaries(
        TEXT,
        st.builds(
            AgentSpec,
            name=TEXT,
            runner=RUNNERS,
            env=MAPPINGS,
            timeout=st.none() | SECONDS,
            options=MAPPINGS,
        ),
        max_size=2,
    ),
    tasks=st.lists(
        st.builds(
            TaskSpec,
            id=TEXT,
            agent=st.none() | TEXT,
            runner=RUNNERS,
            with_=st.none() | MAPPINGS,
            env=MAPPINGS,
            timeout=st.none() | SECONDS,
            when=st.none() | TEXT,
            depends_on=WORDS,
            retry=st.builds(RetrySpec, max_attempts=st.integers(1, 9), delay=SECONDS, jitter=st.just("none")),
            on_error=st.builds(OnErrorSpec, strategy=st.just("skip"), fallback_agents=WORDS),
            notify=st.none() | TEXT,
        ),
        max_size=3,
    ).map(tuple),
    stages=st.lists(st.builds(StageSpec, name=TEXT, tasks=WORDS, after=WORDS), max_size=2).map(tuple),
    hooks=st.builds(HookLists, pre_workflow=HOOKS, on_error=HOOKS),
    trust=st.sampled_from(["own", "data"]),
    path=st.none() | TEXT,
    folder=TEXT,
)


@settings(max_examples=60, deadline=None)
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


def test_defaults_that_may_change_are_written_out_and_absence_is_not():
    written = json.loads(to_json(WorkflowSpec(name="w", tasks=(TaskSpec(id="a", agent="x"),))))

    assert written["limits"] == {"durability": "full", "max_parallel": 100}
    assert written["tasks"][0]["retry"]["max_delay"] == 60.0
    assert "when" not in written["tasks"][0]
    assert "inputs" not in written


def test_an_empty_block_of_inputs_is_not_the_absence_of_one():
    assert from_json(to_json(WorkflowSpec(name="w", inputs={}))).inputs == {}
    assert from_json(to_json(WorkflowSpec(name="w"))).inputs is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"name": 1, "unknown": 2}', b"\xff"])
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
