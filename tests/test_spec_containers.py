"""Good containers, waits, signals and loops: what they become."""

from __future__ import annotations

from typing import Any

import pytest

from actorflow.spec import TaskSpec, load_dict, loads
from actorflow.spec.model import (
    AggregateSpec,
    CollectionSpec,
    CompositeSpec,
    FileItems,
    LoopSpec,
    ParallelSpec,
    PythonRunner,
    RouterSpec,
    SignalSpec,
    Transition,
    WaitSpec,
)
from actorflow.spec.readers.expressions import UNKNOWN, constant_of


def task_of(text: str, **others: Any) -> TaskSpec:
    """The task `a` of a file that has it, and such others as it speaks of."""
    rest = "".join(f"  {name}: {value}\n" for name, value in others.items())
    return loads(f"tasks:\n  a: {text}\n{rest}", trust="own").tasks[0]


def test_a_parallel_has_its_children_in_the_order_of_the_file():
    task = task_of(
        "{type: parallel, strategy: best_effort, max_parallel: 2, min_success: 1,"
        " tasks: {c: {agent: x}, b: {agent: y}}}"
    )

    assert task.type == "parallel"
    assert task.container == ParallelSpec(
        tasks=(TaskSpec(id="c", agent="x"), TaskSpec(id="b", agent="y")),
        strategy="best_effort",
        max_parallel=2,
        min_success=1,
    )
    assert [child.id for child in task.children] == ["c", "b"]
    assert (task.agent, task.runner) == (None, None)


def test_children_may_stand_in_a_list():
    listed = task_of("{type: parallel, tasks: [{id: c, agent: x}, {id: b, agent: y}]}")

    assert listed == task_of("{type: parallel, tasks: {c: {agent: x}, b: {agent: y}}}")


def test_a_collection_has_an_agent_of_its_own_for_each_item():
    task = task_of(
        "{type: collection, items: '{{ range(1, 5) }}', item_var: row, index_var: n, filter: row > 2,"
        " mode: sequential, batch: 2, strategy: race, max_parallel: 3, agent: x, retry: 2, timeout: 5m,"
        " with: {v: '{{ row }} {{ n }}'}, on_error: {timeout: 30s, fallback_agent: y, fallback_value: '{{ row }}'}}"
    )

    assert task.container == CollectionSpec(
        items="{{ range(1, 5) }}",
        item_var="row",
        index_var="n",
        filter="row > 2",
        mode="sequential",
        batch=2,
        strategy="race",
        max_parallel=3,
    )
    assert task.agents == ("x", "y")
    assert task.retry.max_attempts == 3
    assert (task.timeout, task.deadline) == (30.0, 300.0)


def test_a_collection_may_have_an_inline_runner_or_a_workflow_of_tasks():
    by_runner = task_of("{type: collection, items: [1], python: 'm:f'}")
    by_tasks = task_of("{type: collection, items: [1], tasks: {b: {agent: x, with: {v: '{{ item }}'}}}}")

    assert by_runner.runner == PythonRunner(path="m:f")
    assert by_runner.children == ()
    assert [child.id for child in by_tasks.children] == ["b"]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("[1, a, {k: [null]}]", [1, "a", {"k": [None]}]),
        ("[]", []),
        ("'{{ input.rows }}'", "{{ input.rows }}"),
        ("'${input.rows}'", "${input.rows}"),
        ("rows.json", FileItems(path="rows.json", format="json")),
        ("data/rows.jsonl", FileItems(path="data/rows.jsonl", format="jsonl")),
        ("rows.CSV", FileItems(path="rows.CSV", format="csv")),
        ("rows.txt", FileItems(path="rows.txt", format="lines")),
        ("{file: rows.csv}", FileItems(path="rows.csv", format="csv")),
        ("{file: rows, format: lines}", FileItems(path="rows", format="lines")),
        ("{file: rows.json, format: jsonl}", FileItems(path="rows.json", format="jsonl")),
    ],
)
def test_items_are_a_list_a_template_or_a_file(items: str, expected: object):
    container = task_of(f"{{type: collection, items: {items}, agent: x}}").container

    assert isinstance(container, CollectionSpec)
    assert container.items == expected


def test_the_names_of_items_are_known_at_any_depth_below():
    text = """
    tasks:
      outer:
        type: collection
        items: [1]
        item_var: row
        tasks:
          inner:
            type: collection
            items: '{{ row }}'
            tasks:
              leaf: {agent: x, with: {v: '{{ row }} {{ item }} {{ index }}'}, when: '{{ item > row }}'}
    """

    assert len(loads(text).tasks) == 1


def test_a_router_chooses_by_an_expression_or_a_template():
    bare = task_of(
        "{type: router, condition: input.kind, routes: {v: b}, default: c}", b="{agent: x}", c="{agent: x}"
    )
    braced = task_of("{type: router, condition: '{{ input.kind }}', routes: {v: b}}", b="{agent: x}")

    assert bare.container == RouterSpec(condition="{{ input.kind }}", routes={"v": "b"}, default="c")
    assert braced.container == RouterSpec(condition="{{ input.kind }}", routes={"v": "b"})


@pytest.mark.parametrize(("condition", "key"), [("'w'", "w"), ("1 + 1", "2"), ("1 == 1", "true")])
def test_a_constant_that_has_a_route_is_fine(condition: str, key: str):
    spec = load_dict(
        {
            "tasks": {
                "a": {"type": "router", "condition": condition, "routes": {key: "b"}},
                "b": {"agent": "x"},
            }
        }
    )

    assert isinstance(spec.tasks[0].container, RouterSpec)


def test_a_wait_ends_by_a_signal_a_time_or_a_duration():
    task = task_of(
        "{type: wait, signal: go.on, until: '2030-01-31T09:00:00+01:00', for: 5m, condition: signal.ok == true,"
        " timeout: 1h, on_timeout: {next: b, with: {v: 1}}}",
        b="{agent: x}",
    )

    assert task.container == WaitSpec(
        signal="go.on",
        until="2030-01-31T09:00:00+01:00",
        seconds=300.0,
        condition="signal.ok == true",
        on_timeout=Transition(next="b", with_={"v": 1}),
    )
    assert (task.timeout, task.deadline) == (None, 3600.0)


@pytest.mark.parametrize("until", ["2030-01-31T09:00:00Z", "2030-01-31 09:00", "{{ input.at }}"])
def test_a_wait_until_a_time_or_a_template(until: str):
    assert task_of(f"{{type: wait, until: '{until}'}}").container == WaitSpec(until=until)


def test_the_target_of_a_timeout_may_be_said_alone():
    task = task_of("{type: wait, signal: go, deadline: 5m, on_timeout: b}", b="{agent: x}")

    assert isinstance(task.container, WaitSpec)
    assert task.container.on_timeout == Transition(next="b")


def test_a_signal_goes_to_this_run_another_or_all():
    here = task_of("{type: signal, signal: go, payload: {v: '{{ input.x }}'}}")
    there = task_of("{type: signal, signal: go, run: '{{ input.run }}'}")
    everywhere = task_of("{type: signal, signal: go, to_all: true}")

    assert here.container == SignalSpec(signal="go", payload={"v": "{{ input.x }}"})
    assert there.container == SignalSpec(signal="go", run="{{ input.run }}")
    assert everywhere.container == SignalSpec(signal="go", to_all=True)


def test_an_aggregate_reads_the_tasks_before_it():
    spec = loads(
        "tasks:\n  a: {agent: x}\n  b: {type: aggregate, depends_on: a, outputs: {v: '{{ tasks.a.output }}'}}\n"
    )

    assert spec.tasks[1].container == AggregateSpec()
    assert spec.tasks[1].outputs == {"v": "{{ tasks.a.output }}"}


def test_a_composite_has_tasks_with_dependencies_or_a_file():
    inside = task_of("{type: composite, timeout: 5m, tasks: {b: {agent: x}, c: {agent: x, depends_on: b}}}")
    other = task_of("{type: composite, uses: sub/other.yaml, with: {v: 1}}")

    assert inside.container == CompositeSpec(
        tasks=(TaskSpec(id="b", agent="x"), TaskSpec(id="c", agent="x", depends_on=("b",)))
    )
    assert inside.deadline == 300.0
    assert other.container == CompositeSpec(uses="sub/other.yaml")


def test_what_is_inside_reads_what_is_upstream_of_its_container():
    text = """
    tasks:
      first: {agent: x}
      box:
        type: composite
        depends_on: first
        tasks:
          b: {agent: x, with: {v: '{{ tasks.first.output }}'}}
          deep: {type: parallel, depends_on: b, tasks: {c: {agent: x, with: {v: '{{ tasks.b.output }}'}}}}
    """

    assert [task.id for task in loads(text).tasks] == ["first", "box"]


def test_an_id_inside_of_a_container_hides_one_outside():
    text = """
    tasks:
      b: {agent: x}
      box:
        type: composite
        tasks:
          b: {agent: x}
          c: {agent: x, depends_on: b, with: {v: '{{ tasks.b.output }}'}}
    """

    assert len(loads(text).tasks) == 2


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        ("{repeat: 3}", LoopSpec(repeat=3)),
        ("{repeat: 3, delay: 5s, collect: true}", LoopSpec(repeat=3, delay=5.0, collect=True)),
        ("{while: output.more, max_iterations: 9}", LoopSpec(while_="output.more", max_iterations=9)),
        (
            "{until: '{{ output.done }}', max_iterations: 9}",
            LoopSpec(until="{{ output.done }}", max_iterations=9),
        ),
        ("{until: index == 3, max_iterations: 9}", LoopSpec(until="index == 3", max_iterations=9)),
    ],
)
def test_any_task_may_be_repeated(loop: str, expected: LoopSpec):
    assert task_of(f"{{agent: x, loop: {loop}}}").loop == expected
    assert task_of(f"{{type: parallel, tasks: {{b: {{agent: x}}}}, loop: {loop}}}").loop == expected


def test_the_number_of_an_iteration_is_known_inside_of_a_loop():
    task = task_of("{type: composite, loop: {repeat: 3}, tasks: {b: {agent: x, with: {v: '{{ index }}'}}}}")

    assert task.children[0].with_ == {"v": "{{ index }}"}


def test_a_container_has_a_fallback_value_a_strategy_and_a_next():
    task = task_of(
        "{type: parallel, tasks: {b: {agent: x}}, on_error: {strategy: finish, fallback_value: {v: 1},"
        " deadline: 5m, next: c}}",
        c="{agent: x, with: {v: '{{ error.message }}'}}",
    )

    assert (task.on_error.strategy, task.on_error.fallback_value) == ("finish", {"v": 1})
    assert task.on_error.next == Transition(next="c")
    assert task.deadline == 300.0


def test_10_000_children_of_one_container_are_read():
    children = {f"t{n}": {"agent": "x", "depends_on": [f"t{n - 1}"] if n else []} for n in range(10_000)}

    spec = load_dict({"tasks": {"box": {"type": "composite", "tasks": children}}})

    assert len(spec.tasks[0].children) == 10_000


def test_a_constant_that_costs_much_is_left_to_the_run():
    work = "{{ [" + "range(9990), " * 5 + "range(9990)] | unique | first }}"

    assert constant_of(work) is UNKNOWN
    assert constant_of("{{ range(5) }}") == [0, 1, 2, 3, 4]
    assert (
        loads(f"tasks: {{a: {{type: collection, agent: x, items: '{work}'}}}}").tasks[0].type == "collection"
    )
