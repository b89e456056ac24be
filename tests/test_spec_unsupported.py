"""What loads and validates, and what of it a run refuses."""

from __future__ import annotations

import pytest

from actorflow.spec import loads, unsupported

REFUSED = [
    ("tasks.a: a task of type parallel", "tasks: {a: {type: parallel, tasks: {b: {agent: x}}}}\n"),
    ("tasks.a: a task of type wait", "tasks: {a: {type: wait, signal: s}}\n"),
    ("tasks.a.loop: a task in a loop", "tasks: {a: {agent: x, loop: {repeat: 3}}}\n"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "text"), REFUSED)
def test_what_a_run_cannot_do_is_named_with_its_place(message: str, text: str):
    (problem,) = unsupported(loads(text, trust="own"))

    assert (problem.code, problem.message) == ("E190", f"{message} cannot run yet")


RUNS = [
    "tasks: {a: {agent: x, retry: 3, timeout: 5s, priority: 2, on_error: {fallback_agent: y}}, b: {command: ls}}\n",
    "agents: {x: {http: {url: 'https://x.example'}}}\ntasks: {a: {agent: x}, b: {http: {url: 'https://y.example'}}}\n",
    "limits: {max_parallel: 5, durability: lazy, keep: 30d}\ntasks: {a: {agent: x}}\n",
    "limits: {retry_budget: 3, deadline: 1h}\ntasks: {a: {agent: x, deadline: 5m, on_error: {circuit_breaker: {}}}}\n",
    "hooks: {pre_workflow: [a, [b], [sh, -c, 'echo ${HOME}']], post_workflow: [f], on_stage_complete: [g]}\n",
    "hooks: {on_error: [{command: c, timeout: 1s, cwd: d, max_output: 5, name: e, description: f}]}\n",
    "tasks: {a: {agent: x, on_complete: {notify: hi}}}\n",
    "hooks: {task_finished: [x, {type: log, params: {message: m}}, {type: metric, params: {name: n}}]}\n",
    "hooks: {task_finished: [{type: transform, params: {set: {n: 1}}}, {type: dispatch_task, params: {task_id: t}}]}\n",
    "hooks: {on_error: [{type: notify, mode: async, when: 'input.x', retry: 2, rate_limit: 1/s, params: {message: m}}]}\n",
    "hooks: {on_error: [{command: [echo, '{{ workflow.name }}', '${HOME}'], env: {A: '${B}'}, circuit_breaker: {}}]}\n",
    "hooks: {pre_workflow: [{command: x, on_error: continue, enabled: false, environments: prod, ordered: false}]}\n",
    "hooks: {task_finished: [{type: webhook, params: {url: 'https://x.example', sign: {secret: '${S}'}}, batch: {max: 5}}]}\n",
    "hooks: {on_error: [{type: notify, params: {message: m, channels: [{type: slack, url: '${URL}'}]}}]}\n",
    "hooks: {child_finished: [x], iteration_finished: [x], signal_received: [x]}\n",
    "defaults: {hooks: {task_skipped: [x]}}\ntasks: {a: {agent: x, hooks: {inherit: false, task_started: [x]}}}\n",
]


@pytest.mark.parametrize("text", RUNS)
def test_what_a_run_can_do_is_not_refused(text: str):
    assert unsupported(loads(text, trust="own")) == ()


def test_everything_that_cannot_run_is_told_in_the_order_of_the_definition():
    spec = loads(
        "tasks: {a: {agent: x, loop: {repeat: 2}}, b: {type: aggregate, outputs: {v: 1}, depends_on: a}}\n",
        trust="own",
    )

    places = [problem.message.split(":")[0] for problem in unsupported(spec)]

    assert places == [
        "tasks.a.loop",
        "tasks.b",
    ]
