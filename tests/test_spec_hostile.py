"""Whatever a definition holds, it loads or SpecError says why; and what loads can be stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorflow.errors import Problem, SpecError
from actorflow.spec import WorkflowSpec, from_json, load_dict, loads, to_json
from actorflow.spec.model import Trust
from actorflow.spec.readers import words

SEED = [file.read_text(encoding="utf-8") for file in sorted((Path(__file__).parent / "seed").glob("*.yaml"))]

KEYS = sorted(
    {key for keys in vars(words).values() if isinstance(keys, words.Keys) for key in keys.words}
    | {"a", "b", "id", "stage", "1", "", "pre_workflow", "on_error", "tools", "retry_delay_secs"}
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4),
    st.sampled_from(
        ["a", "b", "5s", "basic", "parallel", "string", "full", "m:f", "{{ input.a }}", "{{ tasks.b.output }}", "{{", "$"]
    ),
)  # fmt: skip
PARTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
TASKS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.fixed_dictionaries(
        {"agent": st.just("x")},
        optional={
            "depends_on": PARTS | st.lists(st.sampled_from(["a", "b", "c"]), max_size=3),
            "retry": PARTS,
            "on_error": PARTS,
            "with": PARTS,
            "env": PARTS,
            "when": PARTS,
            "timeout": PARTS,
            "on_complete": PARTS,
        },
    )
    | PARTS,
    max_size=3,
)
DEFINITIONS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("name", "version", "inputs", "outputs", "limits", "agents", "hooks", "workflows"), PARTS
        ),
        "tasks": TASKS | PARTS,
    },
)


def attempt(load: Callable[[], WorkflowSpec]) -> WorkflowSpec | tuple[Problem, ...]:
    """What is loaded, or why not; anything but SpecError escapes."""
    try:
        return load()
    except SpecError as error:
        return error.problems


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DEFINITIONS, st.sampled_from(["own", "data"]))
def test_any_definition_loads_or_is_refused(data: dict[str, object], trust: Trust):
    result = attempt(lambda: load_dict(data, trust=trust))

    if isinstance(result, WorkflowSpec):
        assert from_json(to_json(result)) == result
    else:
        assert result


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEED), st.data())
def test_any_damage_to_a_good_file_is_refused_or_harmless(text: str, data: st.DataObject):
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 20)))
    put = data.draw(
        st.sampled_from(["", " ", "\n", ":", "- ", "{{", "[", '"', "'", "&a ", "*a", "!", "\t", "\0", "é"])
    )

    result = attempt(lambda: loads(text[:start] + put + text[stop:], trust="own"))

    if not isinstance(result, WorkflowSpec):
        assert all(problem.line >= 1 and problem.column >= 1 for problem in result)
