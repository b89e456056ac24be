"""Tasks that hooks start: no part of the run, and each checked as a run of its own."""

from __future__ import annotations

import pytest

from actorflow.spec import WorkflowSpec, chosen, from_json, loads, loads_with_warnings, to_json, unsupported
from actorflow.spec.needs import needs


def own(text: str) -> WorkflowSpec:
    return loads(text, trust="own")


def dispatch(target: str, event: str = "task_finished") -> str:
    return f"{{{event}: [{{type: dispatch_task, params: {{task_id: {target}}}}}]}}"


def ids(spec: WorkflowSpec) -> tuple[list[str], list[str]]:
    """The tasks of the run, and those that are started apart from it."""
    return [task.id for task in spec.tasks], [task.id for task in spec.dispatched]


WAYS = [
    ("a hook of the workflow", f"hooks: {dispatch('mail')}\ntasks: {{mail: {{agent: m}}, a: {{agent: x}}}}\n"),
    ("a hook of the defaults", f"defaults: {{hooks: {dispatch('mail')}}}\ntasks: {{a: {{agent: x}}, mail: {{agent: m}}}}\n"),
    ("a hook of a task", f"tasks: {{mail: {{agent: m}}, a: {{agent: x, hooks: {dispatch('mail', 'task_started')}}}}}\n"),
    ("a hook of a child", f"tasks:\n  mail: {{agent: m}}\n  a: {{type: composite, tasks: {{b: {{agent: x, hooks: {dispatch('mail')}}}}}}}\n"),
    ("a set", f"hook_sets: {{s: {dispatch('mail')}}}\nhooks: {{use: s}}\ntasks: {{mail: {{agent: m}}, a: {{agent: x}}}}\n"),
    ("an entry", f"workflows: {{w: {{hooks: {dispatch('mail')}}}}}\ntasks: {{mail: {{agent: m}}, a: {{agent: x}}}}\n"),
    ("a hook that is off", "hooks:\n  task_finished:\n    - {type: dispatch_task, enabled: false, params: {task_id: mail}}\ntasks: {mail: {agent: m}, a: {agent: x}}\n"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "text"), WAYS)
def test_a_task_that_a_hook_starts_is_no_part_of_the_run(what: str, text: str):
    loaded = loads_with_warnings(text, trust="own")

    assert ids(loaded.spec) == (["a"], ["mail"]), what
    assert loaded.warnings == ()


def test_a_set_that_nobody_uses_takes_nothing_out_of_the_run():
    spec = own(f"hook_sets: {{s: {dispatch('mail')}}}\ntasks: {{mail: {{agent: m}}, a: {{agent: x}}}}\n")

    assert ids(spec) == (["mail", "a"], [])


def test_no_stage_need_lead_to_a_task_that_a_hook_starts():
    loaded = loads_with_warnings(
        f"hooks: {dispatch('mail')}\nworkflows: {{w: {{steps: [{{stage: s, tasks: [a]}}]}}}}\n"
        "tasks: {mail: {agent: m}, a: {agent: x}}\n",
        trust="own",
    )

    assert ids(loaded.spec) == (["a"], ["mail"])
    assert loaded.warnings == ()


def test_a_task_that_a_hook_starts_may_start_another():
    spec = own(
        f"tasks:\n  a: {{agent: x, hooks: {dispatch('b')}}}\n  b: {{agent: y, hooks: {dispatch('c')}}}\n"
        f"  c: {{agent: z, hooks: {dispatch('mailer')}}}\n"
    )

    assert ids(spec) == (["a"], ["b", "c"])
    assert (spec.agent_names, spec.dispatch_agents) == (("x",), ("y", "z", "mailer"))


READS = [
    ("the input that the hook gives, whatever the file declares", "{agent: m, with: {v: '{{ input.whatever }}'}}"),
    ("itself, when it has ended", "{agent: m, outputs: {v: '{{ tasks.mail.status }} {{ output.v }}'}}"),
    ("what is inside of it", "{type: composite, tasks: {b: {agent: m}, c: {agent: m, depends_on: b, when: 'tasks.b.output == 1'}}}"),
    ("secrets", "{agent: m, env: {A: '${TOKEN}'}}"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "task"), READS)
def test_a_task_that_a_hook_starts_may_read_what_its_own_run_has(what: str, task: str):
    text = f"inputs: {{n: {{}}}}\nhooks: {dispatch('mail')}\ntasks:\n  mail: {task}\n  a: {{agent: x}}\n"

    assert ids(own(text)) == (["a"], ["mail"]), what


def test_each_of_several_workflows_has_the_tasks_that_its_own_hooks_start():
    spec = own(
        "workflows:\n"
        f"  one: {{steps: [{{stage: s, tasks: [a]}}], hooks: {dispatch('mail')}}}\n"
        f"  two: {{steps: [{{stage: s, tasks: [b]}}], hooks: {dispatch('text')}}}\n"
        "tasks: {a: {agent: x}, b: {agent: y}, mail: {agent: m}, text: {agent: t}}\n"
    )

    assert ids(spec) == ([], ["mail", "text"])
    assert ids(chosen(spec, "one")) == (["a"], ["mail"])
    assert chosen(spec, "one").dispatch_agents == ("m",)
    assert ids(chosen(spec, "two")) == (["b"], ["text"])


def test_hooks_that_are_cut_off_start_nothing():
    spec = own(
        f"defaults: {{hooks: {dispatch('mailer')}}}\nhooks: {{inherit: false}}\ntasks: {{a: {{agent: x}}}}\n"
    )

    assert spec.dispatch_agents == ()


def test_the_agents_of_what_hooks_start_are_known_at_the_start_with_their_fallbacks():
    spec = own(
        "hooks:\n  task_finished:\n"
        "    - {type: dispatch_task, params: {task_id: mail}}\n"
        "    - {type: dispatch_task, params: {task_id: pager}}\n"
        "tasks:\n  a: {agent: x}\n"
        "  mail: {type: parallel, tasks: {b: {agent: m, on_error: {fallback_agent: n}}, c: {command: ls}}}\n"
    )

    assert (spec.agent_names, spec.dispatch_agents) == (("x",), ("m", "n", "pager"))
    assert needs(spec).agents == ("x", "m", "n", "pager")
    assert needs(spec).programs == ("ls",)


def test_what_a_hook_starts_must_be_able_to_run_too():
    spec = own(
        f"hooks: {dispatch('mail')}\ntasks: {{a: {{agent: x}}, mail: {{agent: far, loop: {{repeat: 2}}}}}}\n"
    )

    places = [problem.message.split(":")[0] for problem in unsupported(spec)]

    assert places == ["tasks.mail.loop"]


def test_a_definition_keeps_what_its_hooks_start():
    spec = own(f"hooks: {dispatch('mail')}\ntasks: {{mail: {{agent: m}}, a: {{agent: x}}}}\n")

    assert from_json(to_json(spec)) == spec


MISTAKEN = [
    ("a task", "mial", "tasks: {mail: {agent: m}}\n", "mail"),
    ("an agent", "paegr", "agents: {pager: {command: ls}}\ntasks: {a: {agent: x}}\n", "pager"),
]


@pytest.mark.parametrize(("what", "target", "rest", "meant"), MISTAKEN)
def test_a_target_that_is_nearly_a_name_of_the_file_is_warned_of(
    what: str, target: str, rest: str, meant: str
):
    loaded = loads_with_warnings(f"hooks: {dispatch(target)}\n{rest}", trust="own")

    (warning,) = loaded.warnings
    assert (warning.code, warning.line, warning.column) == ("W102", 1, 65), what
    assert warning.hint == f"did you mean {meant!r}?"


def test_thousands_of_tasks_that_hooks_start_are_checked_in_time_that_does_not_explode():
    hooks = ", ".join(f"{{type: dispatch_task, params: {{task_id: t{n}}}}}" for n in range(1_000))
    tasks = "".join(f"  t{n}: {{type: composite, tasks: {{b: {{agent: x}}}}}}\n" for n in range(1_000))

    spec = own(f"hooks: {{task_finished: [{hooks}]}}\ntasks:\n{tasks}")

    assert len(spec.dispatched) == 1_000
