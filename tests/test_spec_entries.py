"""Several workflows in one file, stages in sequence, and what stands around tasks: env, secrets, limits."""

from __future__ import annotations

import pytest

from actorflow.errors import BadInputError
from actorflow.spec import (
    InputSpec,
    Limits,
    SecretSpec,
    chosen,
    from_json,
    loads,
    loads_with_warnings,
    to_json,
)

SEVERAL = """
description: of the file
inputs: {region: {}}
outputs: {done: "{{ tasks.compile.status }}"}
hooks: {post_workflow: [file]}
workflows:
  build:
    description: builds
    hooks: {post_workflow: [entry]}
    steps: [{stage: make, tasks: [compile]}]
  ship:
    inputs: {target: {type: integer, default: 3}}
    outputs: {to: "{{ tasks.push.output }} {{ input.target }}"}
    steps:
      - {stage: make, tasks: [compile]}
      - {stage: send, tasks: [push]}
  all:
tasks:
  push: {agent: x, with: {v: "{{ tasks.compile.output }}"}, depends_on: [check]}
  compile: {agent: x}
  check: {agent: x, depends_on: [compile]}
"""


def test_every_entry_is_kept_until_one_is_chosen():
    spec = loads(SEVERAL, trust="own")

    assert spec.entry is None
    assert spec.tasks == ()
    assert [(e.name, [t.id for t in e.tasks]) for e in spec.entries] == [
        ("build", ["compile"]),
        ("ship", ["push", "compile", "check"]),
        ("all", ["push", "compile", "check"]),
    ]


def test_the_chosen_entry_is_a_workflow_of_its_own_over_what_the_file_says():
    build, ship, whole = (chosen(loads(SEVERAL, trust="own"), name) for name in ("build", "ship", "all"))

    assert (build.entry, build.entries, build.description) == ("build", (), "builds")
    assert build.inputs == {"region": InputSpec()}
    assert build.outputs == {"done": "{{ tasks.compile.status }}"}
    assert [hook.command for hook in build.hooks.of("post_workflow")] == ["file", "entry"]
    assert [stage.name for stage in ship.stages] == ["make", "send"]
    assert ship.inputs == {"target": InputSpec(type="integer", default=3, has_default=True)}
    assert ship.outputs == {"to": "{{ tasks.push.output }} {{ input.target }}"}
    assert (ship.description, whole.description) == ("of the file", "of the file")
    assert (whole.stages, len(whole.tasks)) == ((), 3)


def test_a_file_of_several_entries_survives_the_journal():
    spec = loads(SEVERAL, trust="own")

    assert from_json(to_json(spec)) == spec
    assert from_json(to_json(chosen(spec, "ship"))) == chosen(spec, "ship")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (None, "several workflows, so one must be named: build, ship, all"),
        ("shop", "there is no workflow 'shop'; did you mean 'ship'?"),
        ("zzzzzz", "there is no workflow 'zzzzzz'; there are: build, ship, all"),
    ],
)
def test_a_choice_that_is_missing_or_wrong_names_what_there_is(name: str | None, sentence: str):
    with pytest.raises(BadInputError, match=sentence.replace("?", r"\?")):
        chosen(loads(SEVERAL, trust="own"), name)


def test_a_single_entry_is_chosen_at_load_and_may_be_named():
    spec = loads("workflows: {w: {}}\ntasks: {a: {agent: x}}\n")

    assert spec.entry == "w"
    assert chosen(spec, None) is spec
    assert chosen(spec, "w") is spec
    with pytest.raises(BadInputError, match="there are: w"):
        chosen(spec, "other_one")


def test_a_file_without_entries_has_no_workflow_to_name():
    spec = loads("tasks: {a: {agent: x}}\n")

    assert chosen(spec, None) is spec
    with pytest.raises(BadInputError, match="the file names none"):
        chosen(spec, "w")


def test_only_tasks_of_no_entry_at_all_are_a_warning():
    loaded = loads_with_warnings(
        "workflows:\n"
        "  v: {steps: [{stage: s, tasks: [a]}]}\n"
        "  w: {steps: [{stage: s, tasks: [b]}]}\n"
        "tasks: {a: {agent: x}, b: {agent: x}, c: {agent: x}, d: {agent: x, depends_on: c}}\n"
    )

    (warning,) = loaded.warnings
    assert (warning.code, warning.line) == ("W103", 4)
    assert warning.message.endswith(": c, d")


def test_a_sequential_stage_is_a_chain_in_the_order_of_its_list():
    spec = loads(
        "workflows: {w: {steps: [{stage: s, tasks: [c, a, b], mode: sequential}]}}\n"
        "tasks: {a: {agent: x}, b: {agent: x, depends_on: [a], with: {v: '{{ tasks.c.output }}'}}, c: {agent: x}}\n"
    )

    assert {task.id: task.depends_on for task in spec.tasks} == {"a": ("c",), "b": ("a",), "c": ()}


def test_a_sequence_in_one_entry_is_none_in_another():
    spec = loads(
        "workflows:\n"
        "  v: {steps: [{stage: s, tasks: [a, b], mode: sequential}]}\n"
        "  w: {steps: [{stage: s, tasks: [a, b]}]}\n"
        "tasks: {a: {agent: x}, b: {agent: x}}\n"
    )

    assert [entry.tasks[1].depends_on for entry in spec.entries] == [("a",), ()]


def test_variables_secrets_and_limits_are_read():
    spec = loads(
        "env: [REGION, CI]\n"
        "secrets: {token: {env: API_TOKEN}, signing-key: {file: keys/sign.pem}}\n"
        "limits: {retry_budget: 0, deadline: 2h, keep: 30d, max_parallel: 7}\n"
        "inputs: {card: {sensitive: true}}\n"
        "tasks: {a: {command: [pay, '{{ secrets.token }}', '${OTHER}'], with: {r: '{{ env.REGION }}'}}}\n",
        trust="own",
    )

    assert spec.env == ("REGION", "CI")
    assert spec.secrets == {
        "token": SecretSpec(env="API_TOKEN"),
        "signing-key": SecretSpec(file="keys/sign.pem"),
    }
    assert spec.limits == Limits(max_parallel=7, retry_budget=0, deadline=7200.0, keep=2_592_000.0)
    assert spec.inputs == {"card": InputSpec(sensitive=True)}


@pytest.mark.parametrize("word", ["full", "normal", "lazy", "memory"])
def test_only_a_durability_of_lazy_is_kept_as_another_and_says_so(word: str):
    loaded = loads_with_warnings(f"limits: {{durability: {word}}}\ntasks: {{a: {{agent: x}}}}\n")

    assert loaded.spec.limits.durability == word
    told = [(w.code, w.line, w.column) for w in loaded.warnings]
    assert told == ([("W104", 1, 22)] if word == "lazy" else [])
    assert all("kept as normal" in w.message for w in loaded.warnings)
