"""Good hooks: what a file's `hooks:`, `hook_sets:` and `defaults.hooks` become."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.errors import SpecError
from actorflow.spec import (
    BatchSpec,
    BreakerSpec,
    HookLists,
    HookSpec,
    RetrySpec,
    WorkflowSpec,
    load,
    load_dict,
    loads,
    loads_with_warnings,
)
from actorflow.spec.readers.words import HOOK_ACTIONS, HOOK_ERRORS, HOOK_EVENTS, HOOK_MODES, RUN_EVENTS

SEED = Path(__file__).parent / "seed"
TASK = "tasks: {a: {agent: x}}\n"


def own(text: str) -> WorkflowSpec:
    return loads(text, trust="own")


def hook(text: str, event: str = "task_finished") -> HookSpec:
    (found,) = own(f"hooks:\n  {event}:\n    - {text}\n{TASK}").hooks.of(event)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("event", HOOK_EVENTS)
def test_a_workflow_may_have_hooks_on_every_event(event: str):
    assert hook("'true'", event).command == "true"


@pytest.mark.parametrize("event", sorted(set(HOOK_EVENTS) - RUN_EVENTS))
def test_a_task_may_have_hooks_on_every_event_of_tasks(event: str):
    (task,) = own(f"tasks: {{a: {{agent: x, hooks: {{{event}: ['true']}}}}}}\n").tasks

    assert list(task.hooks.lists) == [event]


POLICIES = [
    ("pre_workflow", "blocking", "fail"),
    ("on_error", "blocking", "continue"),
    ("post_workflow", "blocking", "continue"),
    ("on_stage_complete", "async", "continue"),
    ("workflow_finished", "async", "continue"),
    ("task_started", "async", "continue"),
    ("task_finished", "async", "continue"),
    ("dead_lettered", "async", "continue"),
]


@pytest.mark.parametrize(("event", "mode", "on_error"), POLICIES)
def test_who_waits_and_what_a_failure_means_follows_from_the_event(event: str, mode: str, on_error: str):
    found = hook("'true'", event)

    assert (found.mode, found.on_error) == (mode, on_error)


DEFAULTS = [
    ("{command: 'true'}", 300.0, 1),
    ("{type: webhook, params: {url: 'https://x.example'}}", 10.0, 5),
    ("{type: log, params: {message: hi}}", 5.0, 1),
    ("{type: notify, params: {message: hi}}", 5.0, 1),
    ("{type: metric, params: {name: n}}", 5.0, 1),
    ("{type: dispatch_task, params: {task_id: other}}", 5.0, 1),
    ("{type: transform, params: {set: {n: '1'}}}", 5.0, 1),
]


@pytest.mark.parametrize(("text", "timeout", "attempts"), DEFAULTS)
def test_how_long_and_how_often_a_hook_is_tried_follows_from_its_action(
    text: str, timeout: float, attempts: int
):
    found = hook(text)

    assert (found.timeout, found.retry) == (timeout, RetrySpec(max_attempts=attempts))


MAY_BLOCK = [
    "pre_workflow", "on_error", "post_workflow", "on_stage_complete", "task_started", "task_finished"
]  # fmt: skip
MAY_FAIL = ["pre_workflow", "on_stage_complete", "task_started", "task_finished"]


@pytest.mark.parametrize("event", MAY_BLOCK)
def test_a_hook_may_block_where_something_can_wait_for_it(event: str):
    assert hook("{command: 'true', mode: blocking}", event).mode == "blocking"


@pytest.mark.parametrize("event", sorted(set(HOOK_EVENTS) - set(MAY_BLOCK)))
def test_a_hook_cannot_block_where_nothing_waits_for_it(event: str):
    with pytest.raises(SpecError) as caught:
        hook("{command: 'true', mode: blocking, on_error: fail}", event)

    (problem,) = caught.value.problems
    assert problem.code == "E144"
    assert f"nothing waits for {event}, so a hook there cannot block" in problem.message


@pytest.mark.parametrize("event", MAY_FAIL)
def test_a_blocking_hook_before_an_outcome_may_fail_what_it_is_about(event: str):
    assert hook("{command: 'true', mode: blocking, on_error: fail}", event).on_error == "fail"


def test_hooks_may_share_a_name_and_need_none():
    named = own(f"hooks: {{task_finished: [{{command: a, name: n}}, {{command: b, name: n}}, c]}}\n{TASK}")

    assert [found.name for found in named.hooks.of("task_finished")] == ["n", "n", ""]


@pytest.mark.parametrize(
    ("more", "timeout", "attempts"),
    [("", 10.0, 5), ("timeout: 3s, retry: 0, ", 3.0, 1), ("retry: {max_attempts: 1}, timeout: 5s, ", 5.0, 1)],
)
def test_a_notice_with_channels_is_tried_as_a_webhook_is_where_it_does_not_say(
    more: str, timeout: float, attempts: int
):
    notice = hook(f"{{type: notify, {more}params: {{message: m, channels: [{{type: file, path: n.txt}}]}}}}")

    assert (notice.action, notice.timeout, notice.retry.max_attempts) == ("notify", timeout, attempts)
    assert notice.params["channels"] == [{"type": "file", "path": "n.txt"}]


def test_a_string_and_an_argv_are_commands():
    assert hook("echo hi").command == "echo hi"
    assert hook("[echo, '{{ task.id }}']").command == ("echo", "{{ task.id }}")


def test_a_command_has_its_keys_beside_the_others_or_in_params():
    keys = "command: [ls], env: {A: '${HOME}', B: 1}, cwd: sub, max_output: 10"

    beside = hook(f"{{{keys}, timeout: 5m}}")

    assert beside == hook(f"{{type: command, timeout: 300, params: {{{keys}}}}}")
    assert (beside.command, beside.env, beside.cwd, beside.max_output) == (
        ("ls",),
        {"A": "${HOME}", "B": 1},
        "sub",
        10,
    )


def test_a_command_may_have_its_timeout_in_params_too():
    assert hook("{params: {command: ls, timeout: 5s}}") == hook("{command: ls, timeout: 5s}")
    assert hook("{params: {command: ls}, timeout: 5s}").timeout == 5.0


def test_every_common_key_is_read():
    found = hook(
        "{type: webhook, name: tell, description: tells, when: \"task.status == 'failed'\", enabled: '{{ input.on }}',"
        " environments: [prod, prod, stage], on_error: disable, disable_after: 3, mode: blocking, timeout: 1m,"
        " retry: {delay: 500ms, max_delay: 5m}, rate_limit: 90/m, batch: {max: 10, window: 1s},"
        " circuit_breaker: {threshold: 2, cooldown: 10s, key: bank}, ordered: false, max_age: 1h,"
        " params: {url: '${URL}/x', method: PUT, headers: {A: 1}, body: {id: '{{ task.id }}'},"
        " sign: {secret: ['${OLD}', '{{ secrets.new }}']}, expect_status: [200, 202]}}\n"
        "secrets: {new: {file: key.txt}}"
    )

    assert found == HookSpec(
        action="webhook",
        name="tell",
        description="tells",
        when="task.status == 'failed'",
        enabled="{{ input.on }}",
        environments=("prod", "stage"),
        on_error="disable",
        disable_after=3,
        mode="blocking",
        timeout=60.0,
        retry=RetrySpec(max_attempts=5, delay=0.5, max_delay=300.0),
        rate_limit=1.5,
        batch=BatchSpec(max=10, window=1.0),
        breaker=BreakerSpec(threshold=2, cooldown=10.0, key="bank"),
        ordered=False,
        max_age=3600.0,
        params={
            "url": "${URL}/x",
            "method": "PUT",
            "headers": {"A": 1},
            "body": {"id": "{{ task.id }}"},
            "sign": {"secret": ["${OLD}", "{{ secrets.new }}"]},
            "expect_status": [200, 202],
        },
    )


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", 10.0), ("120/m", 2.0), ("1800/h", 0.5), ("' 0.5 / s '", 0.5), ("3", 3.0)]
)
def test_rates_are_per_second(text: str, rate: float):
    assert hook(f"{{command: 'true', rate_limit: {text}}}").rate_limit == rate


@pytest.mark.parametrize(("text", "enabled"), [("true", None), ("false", "false"), ("input.on", "input.on")])
def test_enabled_is_a_boolean_or_an_expression(text: str, enabled: str | None):
    assert hook(f"{{command: 'true', enabled: {text}}}").enabled == enabled


def test_a_retry_of_a_number_counts_the_retries():
    assert hook("{type: webhook, retry: 0, params: {url: 'https://x.example'}}").retry.max_attempts == 1
    assert hook("{command: 'true', retry: 2}").retry.max_attempts == 3


def test_transforms_come_first_and_the_other_hooks_of_the_list_read_what_they_set():
    spec = own(
        "hooks:\n  task_finished:\n"
        "    - {type: log, params: {message: 'n is {{ vars.n }}'}}\n"
        "    - {type: transform, params: {set: {n: output.n + 1, m: '{{ output.m }}', k: 5}}}\n" + TASK
    )

    first, then = spec.hooks.of("task_finished")
    assert first.params == {"set": {"n": "{{ output.n + 1 }}", "m": "{{ output.m }}", "k": 5}}
    assert then.action == "log"


def test_a_blocking_transform_may_replace_an_output_that_allows_it():
    change = "hooks: {task_finished: [{type: transform, mode: blocking, params: {output: '{{ output.n }}'}}]}"

    (task,) = own(f"tasks:\n  a:\n    agent: x\n    allow_transform: true\n    {change}\n").tasks

    assert task.hooks.of("task_finished")[0].params == {"output": "{{ output.n }}"}
    assert own(f"{change}\n{TASK}").hooks.of("task_finished")[0].mode == "blocking"


def test_hooks_of_a_file_an_entry_and_the_defaults_are_kept_in_their_order():
    spec = own(
        "defaults: {hooks: {task_finished: [d], task_started: [e]}}\n"
        "hooks: {task_finished: [b]}\n"
        "workflows: {w: {hooks: {task_finished: [c], on_error: [f]}}}\n"
        "tasks: {t: {agent: x, hooks: {inherit: false, task_finished: [a]}}}\n"
    )

    assert [h.command for h in spec.hooks.of("task_finished")] == ["b", "c"]
    assert [h.command for h in spec.hooks.of("on_error")] == ["f"]
    assert [h.command for h in spec.default_hooks.of("task_finished")] == ["d"]
    assert spec.tasks[0].hooks.inherit is False
    assert [h.command for h in spec.tasks[0].hooks.of("task_finished")] == ["a"]


def test_an_entry_that_does_not_inherit_has_its_own_hooks_alone():
    spec = own(
        "hooks: {on_error: [a]}\nworkflows: {w: {hooks: {inherit: false, post_workflow: [b]}}}\n" + TASK
    )

    assert list(spec.hooks.lists) == ["post_workflow"]
    assert spec.hooks.inherit is False


def test_sets_come_after_a_block_s_own_hooks_in_the_order_of_their_use():
    spec = own(
        "hook_sets:\n"
        "  outer: {use: inner, task_finished: [c], task_started: [e]}\n"
        "  inner: {task_finished: [d]}\n"
        "  other: {task_finished: [b]}\n"
        "tasks: {t: {agent: x, hooks: {use: [other, outer], task_finished: [a]}}}\n"
    )

    hooks = spec.tasks[0].hooks
    assert [h.command for h in hooks.of("task_finished")] == ["a", "b", "c", "d"]
    assert [h.command for h in hooks.of("task_started")] == ["e"]


def test_a_problem_of_a_set_is_told_once_however_often_it_is_used(caplog: pytest.LogCaptureFixture):
    spec = own(
        "hook_sets: {s: {task_finished: [a]}}\n"
        "tasks:\n  t: {agent: x, hooks: {use: s}}\n  u: {agent: x, hooks: {use: s}}\n"
    )

    assert spec.tasks[0].hooks == spec.tasks[1].hooks
    assert not caplog.messages


def test_empty_lists_of_hooks_are_no_hooks():
    assert own(f"hooks: {{task_finished: [], on_error: []}}\n{TASK}").hooks == HookLists()


def test_the_example_of_the_hooks_requirements_loads_as_it_stands():
    hooks = load(SEED / "process_order.yaml").hooks

    assert [hook.action for hook in hooks.of("task_started")] == ["log", "metric"]
    webhook, dispatch = hooks.of("task_finished")
    assert webhook.params["url"] == "${WEBHOOK_URL}/order/complete"
    assert webhook.on_error == "continue"
    assert dispatch.params["task_id"] == "send_notification"


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example", "http://x.example:8080/a?b=c#d", "HTTPS://X.example/", "${URL}", "{{ input.url }}",
        "https://{{ input.host }}/x", "https://x.example/{{ input.path }}", "https://[::1]:80/", "${URL}:80/x",
        "https://x.example/a@b", "https://a.{{ input.host }}:443/",
    ],
)  # fmt: skip
def test_good_urls_are_left_as_they_stand(url: str):
    assert hook(f"{{type: webhook, params: {{url: '{url}'}}}}").params["url"] == url


def test_hooks_without_tasks_are_a_workflow_and_no_warnings():
    loaded = loads_with_warnings("hooks: {pre_workflow: ['true']}\n", trust="own")

    assert loaded.spec.tasks == ()
    assert loaded.warnings == ()


KEYS = sorted(
    {
        "type",
        "params",
        "command",
        "when",
        "enabled",
        "mode",
        "on_error",
        "retry",
        "rate_limit",
        "batch",
        "env",
    }
    | {"circuit_breaker", "environments", "timeout", "inherit", "use", "pre_workflow", "task_finished"}
    | {
        "url",
        "method",
        "headers",
        "sign",
        "secret",
        "expect_status",
        "name",
        "value",
        "tags",
        "kind",
        "level",
    }
    | {
        "message",
        "fields",
        "channels",
        "path",
        "task_id",
        "input",
        "set",
        "output",
        "body",
        "",
        "Authorization",
    }
)
LEAVES = st.one_of(
    st.none() | st.booleans() | st.integers(-5, 700) | st.floats(),
    st.sampled_from([*HOOK_ACTIONS, *HOOK_MODES, *HOOK_ERRORS, "a", "s", "10/s", "{{ output }}", "${A}", ""]),
    st.sampled_from(
        ["https://x.example:80/", "https://@", "http:", "://", "https://{{ x", "\0", "a\nb", "{{ 1/0 }}"]
    ),
    st.text(max_size=5),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=8,
)
LISTS = st.dictionaries(
    st.sampled_from([*HOOK_EVENTS, "use", "inherit"]), st.lists(ANYTHING, max_size=2) | ANYTHING, max_size=3
)


@settings(max_examples=60, deadline=None)
@given(
    hooks=LISTS,
    sets=st.dictionaries(st.sampled_from(["s", "t", ""]), LISTS | ANYTHING, max_size=2),
    trust=st.booleans(),
)
def test_whatever_hooks_hold_they_load_or_are_told_what_is_wrong(hooks: object, sets: object, *, trust: bool):
    tasks = {"a": {"agent": "x", "hooks": hooks}}

    with contextlib.suppress(SpecError):
        load_dict({"hooks": hooks, "hook_sets": sets, "tasks": tasks}, trust="own" if trust else "data")
