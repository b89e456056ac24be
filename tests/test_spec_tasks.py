"""Good tasks: every key once, edges, transitions, recovery, runners, and what they become."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from actorflow.errors import SpecError
from actorflow.spec import CommandRunner, RetrySpec, TaskSpec, load_dict, loads
from actorflow.spec.model import (
    BreakerSpec,
    HttpAuth,
    HttpRunner,
    OnErrorSpec,
    Runner,
    ScriptRunner,
    TaskType,
    Transition,
)
from actorflow.spec.readers.runners import WAYS
from actorflow.spec.readers.words import (
    EDGE,
    HTTP,
    LOOP,
    ON_COMPLETE,
    ON_ERROR,
    RETRY,
    SCRIPT,
    TASK_KEYS,
    TRANSITION,
)


def tasks_of(text: str) -> dict[str, TaskSpec]:
    """The tasks of a file by id."""
    return {task.id: task for task in loads(text, trust="own").tasks}


WHOLE = """
tasks:
  before: {agent: x}
  task:
    type: basic
    agent: primary
    description: does it
    depends_on: before
    with: {v: "{{ tasks.before.output }}"}
    env: {TOKEN: "${API_TOKEN}", N: 3}
    when: "{{ input.go }}"
    sleep: 2s
    timeout: 30s
    deadline: 5m
    retry: {max_attempts: 4, delay: 2s, retry_on: [TimeoutError, 429], no_retry_on: ValueError}
    on_error:
      fallback_agent: [second, third]
      fallback_value: {v: null}
      strategy: finish
      next: mend
      with: {why: "{{ error.message }}"}
      circuit_breaker: {threshold: 3, window: 10s, cooldown: 20s, key: api}
      max_losses: 2
    on_success: {next: after, with: {v: "{{ output.v }}"}}
    on_complete: {notify: {message: "{{ output }}", title: done, priority: high}}
    hooks: {task_finished: [{command: "true"}]}
    outputs: {v: "{{ output.v }}"}
    loop: {repeat: 2}
    priority: -5
    metadata: {owner: us}
    options: {model: m}
    soft_errors: true
    idempotent: false
    sensitive: true
    allow_transform: true
  mend: {agent: x, with: {v: "{{ error.type }} {{ tasks.before.output }}"}}
  after: {agent: x, with: {v: "{{ tasks.task.output }}"}}
"""


@pytest.fixture(scope="module")
def whole() -> TaskSpec:
    return tasks_of(WHOLE)["task"]


def test_what_a_task_is_and_gets_is_read(whole: TaskSpec):
    assert (whole.type, whole.agent, whole.description) == ("basic", "primary", "does it")
    assert (whole.with_, whole.env) == ({"v": "{{ tasks.before.output }}"}, {"TOKEN": "${API_TOKEN}", "N": 3})
    assert (whole.depends_on, whole.when, whole.outputs) == (
        ("before",),
        "{{ input.go }}",
        {"v": "{{ output.v }}"},
    )
    assert (whole.metadata, whole.options, whole.priority) == ({"owner": "us"}, {"model": "m"}, -5)
    assert (whole.soft_errors, whole.idempotent, whole.sensitive, whole.allow_transform) == (
        True,
        False,
        True,
        True,
    )


def test_when_a_task_runs_and_how_long_is_read(whole: TaskSpec):
    assert (whole.sleep, whole.timeout, whole.deadline) == (2.0, 30.0, 300.0)
    assert whole.loop is not None
    assert whole.loop.repeat == 2


def test_what_follows_a_failure_is_read(whole: TaskSpec):
    assert whole.retry == RetrySpec(
        max_attempts=4, delay=2.0, retry_on=("TimeoutError", 429), no_retry_on=("ValueError",)
    )
    assert whole.on_error == OnErrorSpec(
        strategy="finish",
        fallback_agents=("second", "third"),
        has_fallback_value=True,
        fallback_value={"v": None},
        next=Transition(next="mend", with_={"why": "{{ error.message }}"}),
        breaker=BreakerSpec(threshold=3, window=10.0, cooldown=20.0, key="api"),
        max_losses=2,
    )


def test_what_follows_a_success_is_read(whole: TaskSpec):
    assert whole.on_success == Transition(next="after", with_={"v": "{{ output.v }}"})
    assert (whole.notify, whole.notice) == ("{{ output }}", {"title": "done", "priority": "high"})
    assert [hook.command for hook in whole.hooks.of("task_finished")] == ["true"]


def test_a_task_that_says_nothing_has_the_defaults():
    (task,) = loads("tasks: {a: {agent: x}}").tasks

    assert task == TaskSpec(id="a", agent="x")


EDGES = [
    ("a", ("a",), (), ()),
    ("[a, b]", ("a", "b"), (), ()),
    ("{task: a}", ("a",), (), ()),
    ("{task: a, on: failure}", (), ("a",), ()),
    ("[{task: a, on: always}, b]", ("b",), (), ("a",)),
    ("[{task: b, on: failure}, {task: a, on: success}]", ("a",), ("b",), ()),
    ("[]", (), (), ()),
]


@pytest.mark.parametrize(("value", "after", "on_failure", "on_end"), EDGES)
def test_edges_are_read_by_how_the_task_before_must_end(
    value: str, after: tuple[str, ...], on_failure: tuple[str, ...], on_end: tuple[str, ...]
):
    task = tasks_of(f"tasks: {{a: {{agent: x}}, b: {{agent: x}}, c: {{agent: x, depends_on: {value}}}}}")["c"]

    assert (task.depends_on, task.on_failure_of, task.on_end_of) == (after, on_failure, on_end)


def test_a_task_reads_what_is_upstream_by_any_edge_or_transition():
    text = """
    tasks:
      a: {agent: x}
      b: {agent: x, depends_on: [{task: a, on: always}], on_success: {next: c}}
      c: {agent: x, with: {v: '{{ tasks.a.status }} {{ tasks.b.output }}'}}
      d: {agent: x, depends_on: [{task: c, on: failure}], when: '{{ tasks.a.error == none or tasks.c.attempts > 1 }}'}
    """

    assert len(tasks_of(text.replace("none", "null"))) == 4


def test_stages_bring_the_targets_of_their_transitions_into_the_run():
    text = """
    workflows: {w: {steps: [{stage: s, tasks: [a]}]}}
    tasks:
      a: {agent: x, on_error: {next: mend}}
      mend: {agent: x, depends_on: tools, on_success: {next: tell}}
      tools: {agent: x}
      tell: {agent: x}
      other: {agent: x}
    """

    assert list(tasks_of(text)) == ["a", "mend", "tools", "tell"]


RETRIES = [
    ("{retry: 3}", RetrySpec(max_attempts=4)),
    ("{retry: 0}", RetrySpec()),
    ("{on_error: {retry: 3, delay: 5s}}", RetrySpec(max_attempts=4, delay=5.0)),
    ("{on_error: {max_attempts: 4, jitter: none}}", RetrySpec(max_attempts=4, jitter="none")),
    (
        "{retry: 3, on_error: {delay: 5s, backoff: linear}}",
        RetrySpec(max_attempts=4, delay=5.0, backoff="linear"),
    ),
    ("{retry: {max_attempts: 4}, on_error: {retry_on: [5]}}", RetrySpec(max_attempts=4, retry_on=(5,))),
    (
        "{on_error: {retry: {max_attempts: 4, factor: 3}, delay: 2s}}",
        RetrySpec(max_attempts=4, factor=3.0, delay=2.0),
    ),
]


@pytest.mark.parametrize(("keys", "expected"), RETRIES)
def test_a_retry_may_stand_beside_or_in_on_error(keys: str, expected: RetrySpec):
    task = tasks_of("tasks: {a: {agent: x, " + keys[1:] + "}")["a"]

    assert task.retry == expected


def test_timeouts_may_stand_in_on_error():
    task = tasks_of("tasks: {a: {agent: x, on_error: {timeout: 5s, deadline: 1m}}}")["a"]

    assert (task.timeout, task.deadline) == (5.0, 60.0)


DEFAULTS = """
defaults: {timeout: 5m, retry: {max_attempts: 3, delay: 2s}}
agents: {own: {timeout: 1m}, none: {}}
tasks:
  plain: {agent: none}
  inline: {command: ls}
  by_agent: {agent: own}
  says: {agent: none, timeout: 9s, retry: 5}
  never: {agent: none, retry: 0}
  some: {agent: none, retry: {delay: 9s}}
  each: {type: collection, items: [1], agent: none}
  wait: {type: wait, for: 5s}
  box: {type: parallel, tasks: {inner: {agent: none}}}
"""


def test_an_empty_list_of_faults_clears_the_default_one():
    defaults = "defaults: {retry: {max_attempts: 2, retry_on: [a], no_retry_on: [b]}}\n"
    (cleared,) = loads(
        f"{defaults}tasks: {{t: {{agent: x, retry: {{retry_on: [], no_retry_on: []}}}}}}\n"
    ).tasks
    (kept,) = loads(f"{defaults}tasks: {{t: {{agent: x, retry: {{delay: 5s}}}}}}\n").tasks

    assert (cleared.retry.retry_on, cleared.retry.no_retry_on) == ((), ())
    assert (kept.retry.retry_on, kept.retry.no_retry_on) == (("a",), ("b",))


def test_defaults_are_for_tasks_that_have_an_agent_and_leave_what_these_say():
    tasks = tasks_of(DEFAULTS)
    default = RetrySpec(max_attempts=3, delay=2.0)

    for name in ("plain", "inline", "each"):
        assert (tasks[name].timeout, tasks[name].retry) == (300.0, default)
    assert tasks["box"].children[0].timeout == 300.0
    assert (tasks["wait"].timeout, tasks["wait"].retry) == (None, RetrySpec())
    assert tasks["box"].timeout is None
    assert (tasks["by_agent"].timeout, tasks["by_agent"].retry) == (None, default)
    assert (tasks["says"].timeout, tasks["says"].retry) == (9.0, RetrySpec(max_attempts=6, delay=2.0))
    assert tasks["never"].retry.max_attempts == 1
    assert tasks["some"].retry == RetrySpec(max_attempts=3, delay=9.0)


RUNNERS: list[tuple[dict[str, Any], Runner]] = [
    ({"command": "ls", "cwd": "sub"}, CommandRunner(command="ls", cwd="sub")),
    ({"command": "echo {{ input.x }}", "raw": True}, CommandRunner(command="echo {{ input.x }}")),
    ({"command": ["ls", "${DIR}", "{{ input.x }}"]}, CommandRunner(command=("ls", "${DIR}", "{{ input.x }}"))),
    ({"script": "ls\n"}, ScriptRunner(language="bash", text="ls\n")),
    ({"script": "#!/usr/bin/env python3\nprint(1)"}, ScriptRunner(language="python", text="#!/usr/bin/env python3\nprint(1)")),
    ({"script": "#!/bin/sh -e\nls"}, ScriptRunner(language="bash", text="#!/bin/sh -e\nls")),
    ({"script": "#!/usr/bin/env -S node --x\n1"}, ScriptRunner(language="javascript", text="#!/usr/bin/env -S node --x\n1")),
    ({"script": {"text": "puts 1", "language": "ruby"}}, ScriptRunner(language="ruby", text="puts 1")),
    (
        {"script": {"file": "a/b.mjs", "args": ["-x", "{{ input.x }}"], "cwd": "a"}},
        ScriptRunner(language="javascript", file="a/b.mjs", args=("-x", "{{ input.x }}"), cwd="a"),
    ),
    ({"script": {"file": "b.pl"}, "cwd": "."}, ScriptRunner(language="perl", file="b.pl", cwd=".")),
    ({"script": {"file": "noname", "language": "bash"}}, ScriptRunner(language="bash", file="noname")),
    ({"script": "echo {{ input.x }}", "raw": True}, ScriptRunner(language="bash", text="echo {{ input.x }}")),
    ({"http": {"url": "https://x.example/{{ input.x }}"}}, HttpRunner(url="https://x.example/{{ input.x }}")),
    (
        {
            "http": {
                "url": "${BASE}/a",
                "method": "POST",
                "headers": {"X-A": "{{ input.x }}", "N": 5, "Authorization": "Bearer ${TOKEN}"},
                "query": {"q": ["a", 1]},
                "json": {"v": ["{{ input.x }}"]},
                "auth": {"basic": {"username": "u", "password": "${PASSWORD}"}},
                "expect_status": [200, 404],
                "extract": "{{ output.items }}",
            }
        },
        HttpRunner(
            url="${BASE}/a",
            method="POST",
            headers={"X-A": "{{ input.x }}", "N": 5, "Authorization": "Bearer ${TOKEN}"},
            query={"q": ["a", 1]},
            json={"v": ["{{ input.x }}"]},
            has_json=True,
            auth=HttpAuth(kind="basic", values={"username": "u", "password": "${PASSWORD}"}),
            expect_status=(200, 404),
            extract="output.items",
        ),
    ),
    (
        {"http": {"url": "http://x.example", "body": "b", "auth": {"bearer": "${T}"}, "expect_status": 204}},
        HttpRunner(
            url="http://x.example",
            body="b",
            auth=HttpAuth(kind="bearer", values={"token": "${T}"}),
            expect_status=(204,),
        ),
    ),
    (
        {"http": {"url": "http://x.example", "json": None, "auth": {"api_key": {"header": "X-Key", "value": "${K}"}}}},
        HttpRunner(
            url="http://x.example",
            has_json=True,
            auth=HttpAuth(kind="api_key", values={"header": "X-Key", "value": "${K}"}),
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "expected"), RUNNERS)
def test_each_way_to_run_is_read_of_a_task_and_of_an_agent(keys: dict[str, Any], expected: Runner):
    spec = load_dict({"agents": {"x": keys}, "tasks": {"a": keys, "b": {"agent": "x"}}}, trust="own")

    assert spec.tasks[0].runner == expected
    assert spec.agents["x"].runner == expected


def test_a_script_in_a_folder_below_that_climbs_and_comes_back_is_inside():
    spec = load_dict({"tasks": {"a": {"script": {"file": "a/../b.sh"}}}}, trust="own")

    assert spec.tasks[0].runner == ScriptRunner(language="bash", file="a/../b.sh")


def test_an_agent_says_whether_outputs_may_be_errors():
    spec = loads("agents: {x: {soft_errors: true}}\ntasks: {a: {agent: x}}")

    assert spec.agents["x"].soft_errors


def test_a_chain_of_50_000_transitions_loads():
    tasks = {f"t{n}": {"agent": "x", "on_success": {"next": f"t{n + 1}"}} for n in range(50_000)}
    tasks["t50000"] = {"agent": "x", "with": {"v": "{{ tasks.t0.output }}"}}

    assert len(load_dict({"tasks": tasks}).tasks) == 50_001


ODD_VALUES: list[object] = [
    None, True, 0, -1, 1.5, "", "x", "{{", "{{ x }}", "a\0b", "../x", [], [None], [[]], ["", 5], {}, {"": None},
    {"task": 5, "next": [], "file": {}, "url": None, "notify": {}, "repeat": [], "x": {"y": None}},
]  # fmt: skip
GOOD: dict[str, dict[str, object]] = {
    "basic": {"agent": "x"},
    "parallel": {"tasks": {"b": {"agent": "x"}}},
    "collection": {"items": [1], "agent": "x"},
    "router": {"condition": "input.k", "routes": {"v": "z"}},
    "wait": {"signal": "go"},
    "signal": {"signal": "go"},
    "aggregate": {"outputs": {"v": 1}},
    "composite": {"tasks": {"b": {"agent": "x"}}},
}

INNER = {
    "retry": RETRY, "on_error": ON_ERROR, "on_success": TRANSITION, "on_complete": ON_COMPLETE, "depends_on": EDGE,
    "loop": LOOP, "script": SCRIPT, "http": HTTP,
}  # fmt: skip


@pytest.mark.parametrize("kind", TASK_KEYS)
def test_whatever_stands_at_any_key_is_read_or_refused(kind: TaskType):
    for key in TASK_KEYS[kind] - {"id"}:
        for value in ODD_VALUES:
            task = {"type": kind, **GOOD[kind], key: value}
            with suppress(SpecError):
                load_dict({"tasks": {"a": task, "z": {"agent": "x"}}}, trust="own")


def test_whatever_stands_in_a_mapping_of_a_task_is_read_or_refused():
    for key, keys in INNER.items():
        for inner in keys.words:
            for value in ODD_VALUES:
                task = {"agent": "x", key: {inner: value}} if key not in WAYS else {key: {inner: value}}
                with suppress(SpecError):
                    load_dict({"tasks": {"a": task}}, trust="own")
