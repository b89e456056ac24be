"""Good workflow files: what they become."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.errors import SpecError
from actorflow.spec import (
    CommandRunner,
    HookSpec,
    InputSpec,
    Limits,
    PythonRunner,
    RetrySpec,
    load,
    load_dict,
    load_with_warnings,
    loads,
    loads_with_warnings,
    parse_duration,
    shell_item,
)
from actorflow.spec.model import option_in_disguise

SEED = Path(__file__).parent / "seed"

SEED_TABLE = [
    ("task_recovery_fragment", None, ["fetch_data"], ("data_collector", "backup_collector")),
    ("ml_pipeline", "training", ["train_model"], ("primary_trainer", "backup_trainer")),
    ("ml_training_checkpoints", "training", ["train_model"], ("ml_trainer",)),
    (
        "data_sync",
        None,
        ["fetch_user_data", "sync_to_database"],
        ("primary_api", "secondary_api", "data_writer"),
    ),
    ("database_migration", "migrate", ["run_migrations"], ("migrator",)),
    ("production_deployment", "deploy", [], ()),
    ("on_error_hooks_fragment", None, [], ()),
    ("process_order", None, ["process_order"], ("validate_and_process",)),
]


@pytest.mark.parametrize(("stem", "entry", "tasks", "agents"), SEED_TABLE)
def test_each_seed_example_loads_as_it_stands(
    stem: str, entry: str | None, tasks: list[str], agents: tuple[str, ...]
):
    spec = load(SEED / f"{stem}.yaml")

    assert spec.entry == entry
    assert [task.id for task in spec.tasks] == tasks
    assert spec.agent_names == agents
    assert spec.path == str(SEED / f"{stem}.yaml")
    assert spec.folder == str(SEED)


def test_the_hooks_of_a_seed_example_are_read_in_order():
    spec = load(SEED / "database_migration.yaml")

    assert spec.hooks.of("on_error") == (
        HookSpec(
            command="pg_restore /backups/pre-migration.sql", description="Restore from backup on failure"
        ),
        HookSpec(command="slack-notify 'Migration failed - database restored'"),
    )


def test_three_retries_are_four_attempts():
    spec = load(SEED / "task_recovery_fragment.yaml")

    assert spec.tasks[0].retry == RetrySpec(max_attempts=4)
    assert spec.tasks[0].on_error.fallback_agents == ("backup_collector",)


def test_a_file_is_called_by_its_stem_and_trusted(tmp_path: Path):
    file = tmp_path / "deploy.prod.yaml"
    file.write_text("tasks: {a: {command: ls}}")

    spec = load(file)

    assert (spec.name, spec.trust, spec.folder, spec.path) == ("deploy.prod", "own", str(tmp_path), str(file))


def test_text_is_data_in_the_folder_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    spec = loads("tasks: {a: {agent: x}}")

    assert (spec.name, spec.trust, spec.folder, spec.path) == ("workflow", "data", str(tmp_path), None)
    assert loads("tasks: {a: {agent: x}}", name="n", folder="/srv").folder == "/srv"
    assert loads("tasks: {a: {agent: x}}", name="n").name == "n"


WHOLE = """
name: order-processing
version: "1.0.0"
description: All that is there
inputs:
  order_id: {type: string, required: true, description: which one}
  region: {default: eu, enum: [eu, us]}
  count: {type: integer, default: 3}
outputs: {total: "{{ tasks.charge.output.total }}", fixed: [1, {a: null}]}
limits: {max_parallel: 50, durability: memory}
agents:
  primary: {description: pays, python: "shop.agents:charge", timeout: 2m, model: opus}
  backup: {command: ["./charge.sh", "{{ task.input.order }}"], env: {MODE: backup, N: 3}}
  bound:
tasks:
  validate:
    agent: primary
    description: looks at it
    with: {order: "{{ input.order_id }}", tries: 1.5}
    env: {REGION: "{{ input.region }}"}
    when: "{{ input.region == 'eu' }}"
    timeout: 1m30s
    retry: {max_attempts: 5, delay: 500ms, backoff: linear, factor: 3, max_delay: 10s, jitter: equal}
    on_error: {strategy: skip, fallback_agent: [backup, bound]}
    on_complete: {notify: "{{ output }} of {{ task.id }} from {{ tasks.validate.status }}"}
  charge: {action: pay, depends_on: validate, with: {v: "{{ tasks.validate.output }}"}}
  print: {command: "lp $FILE", type: basic, depends_on: [charge], when: true}
hooks:
  post_workflow: ["echo done"]
"""


@pytest.fixture(scope="module")
def whole():
    return loads(WHOLE, trust="own")


def test_the_workflow_itself_is_read(whole):
    assert (whole.name, whole.version, whole.description) == (
        "order-processing",
        "1.0.0",
        "All that is there",
    )
    assert whole.limits == Limits(max_parallel=50, durability="memory")
    assert whole.outputs == {"total": "{{ tasks.charge.output.total }}", "fixed": [1, {"a": None}]}
    assert whole.hooks.of("post_workflow") == (HookSpec(command="echo done"),)


def test_inputs_are_read(whole):
    assert whole.inputs == {
        "order_id": InputSpec(required=True, description="which one"),
        "region": InputSpec(default="eu", has_default=True, enum=("eu", "us")),
        "count": InputSpec(type="integer", default=3, has_default=True),
    }


def test_agents_are_read(whole):
    primary, backup, bound = (whole.agents[name] for name in ("primary", "backup", "bound"))

    assert (primary.runner, primary.timeout) == (PythonRunner(path="shop.agents:charge"), 120.0)
    assert primary.options == {"model": "opus"}
    assert backup.runner == CommandRunner(command=("./charge.sh", "{{ task.input.order }}"))
    assert backup.env == {"MODE": "backup", "N": 3}
    assert bound.runner is None


def test_a_task_is_read(whole):
    task = whole.tasks[0]

    assert (task.id, task.agent, task.runner, task.timeout) == ("validate", "primary", None, 90.0)
    assert task.with_ == {"order": "{{ input.order_id }}", "tries": 1.5}
    assert task.env == {"REGION": "{{ input.region }}"}
    assert task.when == "{{ input.region == 'eu' }}"
    assert task.retry == RetrySpec(
        max_attempts=5, delay=0.5, backoff="linear", factor=3.0, max_delay=10.0, jitter="equal"
    )
    assert (task.on_error.strategy, task.on_error.fallback_agents) == ("skip", ("backup", "bound"))
    assert task.agents == ("primary", "backup", "bound")


def test_an_action_is_an_agent_and_a_command_needs_none(whole):
    _, charge, printing = whole.tasks

    assert (charge.agent, charge.depends_on, charge.with_) == (
        "pay",
        ("validate",),
        {"v": "{{ tasks.validate.output }}"},
    )
    assert (printing.agent, printing.runner, printing.when) == (
        None,
        CommandRunner(command="lp $FILE"),
        "true",
    )


def test_a_list_of_tasks_is_a_mapping_of_them():
    listed = loads("tasks:\n  - {id: a, agent: x}\n  - {id: b, agent: y, depends_on: [a]}\n")

    assert listed.tasks == loads("tasks:\n  a: {agent: x}\n  b: {agent: y, depends_on: [a]}\n").tasks


def test_a_dict_is_read_as_a_file_is_and_copied():
    values = {"k": [1, "a", None, 1.5, True]}
    data = {"tasks": {"a": {"agent": "x", "with": values, "depends_on": ()}}}

    spec = load_dict(data)
    values["k"].append("later")

    assert spec.tasks == loads("tasks: {a: {agent: x, with: {k: [1, a, null, 1.5, true]}}}").tasks
    assert type(spec.tasks[0].with_) is dict


def test_a_document_of_one_task_is_a_workflow_of_it():
    spec = loads("id: process_order\ntype: basic\naction: validate\ndescription: does it\nwith: {v: 1}\n")

    assert spec.name == "process_order"
    (task,) = spec.tasks
    assert (task.id, task.agent, task.description, task.with_) == (
        "process_order",
        "validate",
        "does it",
        {"v": 1},
    )


def test_the_delays_of_the_second_document_are_read():
    spec = loads(
        "tasks:\n"
        "  a: {agent: x, on_error: {retry: 3, retry_delay_secs: 5}}\n"
        "  b: {agent: x, on_error: {retry: 3, retry_delay_secs: 5, exponential_backoff: true}}\n"
    )

    assert spec.tasks[0].retry == RetrySpec(max_attempts=4, delay=5.0, backoff="constant", jitter="none")
    assert spec.tasks[1].retry == RetrySpec(max_attempts=4, delay=5.0)


def test_a_long_delay_raises_the_longest_one():
    assert (
        loads("tasks: {a: {agent: x, retry: {max_attempts: 2, delay: 5m}}}").tasks[0].retry.max_delay == 300.0
    )


def test_anchors_and_merge_keys_work_in_a_workflow():
    spec = loads("tasks:\n  a: &a {agent: x, timeout: 5s}\n  b: {<<: *a, depends_on: [a]}\n  c: *a\n")

    assert [(task.agent, task.timeout) for task in spec.tasks] == [("x", 5.0)] * 3


STAGED = """
workflows:
  deploy:
    description: brings it out
    hooks: {post_workflow: [b]}
    steps:
      - {stage: build, tasks: [compile]}
      - {stage: test, tasks: [unit, e2e], mode: parallel}
      - {stage: ship, tasks: [push]}
hooks: {post_workflow: [a]}
tasks:
  push: {agent: x, with: {v: "{{ tasks.compile.output }}"}}
  compile: {agent: x, depends_on: [fetch]}
  unit: {agent: x}
  e2e: {agent: x, depends_on: [compile]}
  fetch: {agent: x}
  unused: {agent: x}
  unused_too: {agent: x, depends_on: [unused]}
"""


def test_stages_follow_each_other_and_choose_the_tasks():
    loaded = loads_with_warnings(STAGED, trust="own")

    assert [(stage.name, stage.tasks, stage.after) for stage in loaded.spec.stages] == [
        ("build", ("compile",), ()),
        ("test", ("unit", "e2e"), ("build",)),
        ("ship", ("push",), ("test",)),
    ]
    assert [task.id for task in loaded.spec.tasks] == ["push", "compile", "unit", "e2e", "fetch"]
    assert [hook.command for hook in loaded.spec.hooks.of("post_workflow")] == ["a", "b"]
    assert loaded.spec.description == "brings it out"
    (warning,) = loaded.warnings
    assert (warning.code, warning.line) == ("W103", 17)
    assert "unused, unused_too" in warning.message


def test_stages_that_say_what_they_depend_on_follow_that_alone():
    spec = loads(
        "workflows: {w: {steps: [{stage: s, tasks: [a]}, {stage: t, tasks: [b]}, {stage: u, tasks: [c], depends_on: s}]}}\n"
        "tasks: {a: {agent: x}, b: {agent: x}, c: {agent: x, with: {v: '{{ tasks.a.output }}'}}}\n"
    )

    assert [stage.after for stage in spec.stages] == [(), (), ("s",)]


def test_keys_of_another_tool_become_options_or_a_warning_each(caplog: pytest.LogCaptureFixture):
    text = (
        "dsl_version: 1.0.0\n"
        "agents:\n  x: {tools: [Read], max_turns: 5, options: {own: 1}}\n"
        "tasks:\n  a: {agent: x, group: g, tools: [Write]}\n"
    )

    with caplog.at_level(logging.WARNING, logger="actorflow"):
        spec = loads(text)

    assert spec.agents["x"].options == {"own": 1, "tools": ["Read"], "max_turns": 5}
    assert spec.tasks[0].options == {"tools": ["Write"]}
    first, second = caplog.messages
    assert "<text>:1:1: W101 a key of another tool is kept aside: dsl_version" in first
    assert "<text>:5:17: W101 a key of another tool is kept aside: group" in second


def test_an_agent_that_is_almost_a_declared_one_is_a_warning():
    loaded = loads_with_warnings("agents: {builder: {}}\ntasks:\n  a: {agent: bilder}\n  b: {agent: other}\n")

    assert [(w.code, w.line, w.hint) for w in loaded.warnings] == [("W102", 3, "did you mean 'builder'?")]


def test_a_file_without_anything_odd_has_no_warnings(tmp_path: Path):
    file = tmp_path / "w.yaml"
    file.write_text("tasks: {a: {agent: x}}")

    assert load_with_warnings(file).warnings == ()


def test_a_task_may_read_what_is_upstream_over_any_number_of_steps():
    tasks = {f"t{n}": {"agent": "x", "depends_on": f"t{n - 1}" if n else []} for n in range(200)}
    tasks["t199"]["with"] = {"v": "{{ tasks.t0.output }} {{ tasks.t150.status }}"}  # type: ignore[assignment]

    assert len(load_dict({"tasks": tasks}).tasks) == 200


def test_a_chain_of_50_000_tasks_loads_and_each_may_read_the_one_before_the_last():
    count = 50_000
    tasks: dict[str, dict[str, object]] = {"t0": {"agent": "x"}, "t1": {"agent": "x", "depends_on": "t0"}}
    for n in range(2, count):
        tasks[f"t{n}"] = {"agent": "x", "depends_on": [f"t{n - 1}"]}
    tasks[f"t{count - 1}"]["when"] = "tasks.t0.status == 'success'"

    assert len(load_dict({"tasks": tasks}).tasks) == count


def test_a_ring_of_10_000_tasks_is_one_cycle():
    count = 10_000
    tasks = {f"t{n}": {"agent": "x", "depends_on": [f"t{(n - 1) % count}"]} for n in range(count)}

    with pytest.raises(SpecError) as caught:
        load_dict({"tasks": tasks})

    (problem,) = caught.value.problems
    assert problem.code == "E132"
    assert "t0 -> t1 -> t2 -> " in problem.message


@pytest.mark.parametrize(
    ("argv", "index"),
    [
        (["sh", "-c", "x"], 2),
        (["/bin/bash", "-ec", "x", "y"], 2),
        (["bash", "-o", "pipefail", "-c", "x"], 4),
        (["sudo", "sh", "-c", "x"], 3),
        (["sh", "file.sh", "-c", "x"], None),
        (["sh", "-c"], None),
        (["echo", "-c", "x"], None),
        (["bash", "-euo", "pipefail", "-c", "x"], 4),
        (["bash", "-euxo", "pipefail", "-O", "extglob", "-c", "x"], 6),
        (["bash", "-c", "-e", "x"], 3),
        (["bash", "-c", "-o", "pipefail", "x"], 4),
        (["bash", "-c", "--", "x"], 3),
        (["bash", "-c", "--", "-x"], 3),
        (["bash", "--rcfile", "f", "-c", "x"], 4),
        (["bash", "--norc", "-lc", "x"], 3),
        (["fish", "--command", "x"], 2),
        (["/usr/bin/bash-5.2", "-c", "x"], 2),
        (["rbash", "-c", "x"], 2),
        (["su", "u", "-c", "x"], 3),
        (["env", "-S", "bash -c x"], 2),
        (["{{ input.shell }}", "-c", "x"], 2),
        (["docker", "exec", "web", "sh", "-c", "x"], 5),
        (["bash", "+o", "posix", "file.sh"], None),
        ([], None),
    ],
)
def test_the_item_that_a_shell_reads_is_found(argv: list[str], index: int | None):
    assert shell_item(argv) == index


@pytest.mark.parametrize(
    ("argv", "index"),
    [
        (["bash", "{{ input.file }}"], 1),
        (["sudo", "sh", "-e", "${workflow.file}", "x"], 3),
        (["bash", "--", "{{ input.file }}"], None),
        (["bash", "./{{ input.file }}"], None),
        (["bash", "file.sh", "{{ input.x }}"], None),
        (["cat", "{{ input.file }}"], None),
    ],
)
def test_a_template_that_may_come_out_as_an_option_of_a_shell_is_found(argv: list[str], index: int | None):
    assert option_in_disguise(argv) == index


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5), ("5s", 5.0), ("1m30s", 90.0), ("2h", 7200.0), ("1 day", 86400.0), ("2 days", 172800.0),
        ("1h 30m", 5400.0), ("1.5h", 5400.0), ("90", 90.0), (90, 90.0), (0.25, 0.25), (" 5s ", 5.0),
    ],
)  # fmt: skip
def test_durations_are_read(text: str | float, seconds: float):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "", "s", "5x", "1:30", "-5s", "0", "0s", "1s1m", "1m1m", "5 5s", "1e3", "inf", "nan", "5S", "٥s", "9" * 400,
        0, -1, True, False, float("inf"), float("nan"), 10**400, 1e300,
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_a_sentence(text: str | float):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.text(max_size=20) | st.floats() | st.integers())
def test_a_duration_is_positive_and_bounded_or_refused(value: str | float):
    try:
        seconds = parse_duration(value)
    except ValueError:
        return
    assert 0 < seconds <= 1e10


@pytest.mark.parametrize(
    "given",
    [
        {"tasks": {"a": {"agent": "x", "env": {"\ud800": "1"}}}},
        {"tasks": {"a": {"agent": "x", "metadata": {"\udfff": 1}}}},
        {"tasks": {"a": {"agent": "x", "http": {"url": "http://h:" + "9" * 5_000}}}},
    ],
    ids=["a key that is half of a pair", "another", "an endless port"],
)
def test_odd_text_is_a_problem_and_no_crash(given: dict):
    with pytest.raises(SpecError):
        load_dict(given, trust="own")


def test_a_sequential_stage_leaves_an_edge_of_the_file_as_it_is():
    steps = [{"stage": "s", "mode": "sequential", "tasks": ["a", "b", "c"]}]
    tasks = {
        "a": {"agent": "x"},
        "b": {"agent": "x", "depends_on": {"task": "a", "on": "always"}},
        "c": {"agent": "x"},
    }
    spec = load_dict({"tasks": tasks, "workflows": {"w": {"steps": steps}}})
    assert [(t.depends_on, t.on_end_of) for t in spec.tasks] == [((), ()), ((), ("a",)), (("b",), ())]
