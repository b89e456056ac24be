"""Metrics: what may be measured, what a run measures up to, and that a journal tells the same later."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from threading import Thread
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from actorflow.core.commands import StartAttempt
from actorflow.core.events import BreakerClosed, BreakerOpened, Event, Failure, HookFinished, RunFinished
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.journal import (
    Append,
    CreateRun,
    Delivery,
    MemoryJournal,
    RecordDeliveries,
    RunSummary,
)
from actorflow.metrics.built_in import BUILT_IN, PREFIX
from actorflow.metrics.collecting import collect
from actorflow.metrics.exposition import prometheus_text
from actorflow.metrics.family import MOST_SERIES
from actorflow.metrics.measuring import queue_waits
from actorflow.metrics.registry import MOST_METRICS, Metrics
from actorflow.metrics.snapshot import BUCKETS, Distribution, Snapshot
from actorflow.spec import loads
from actorflow.spec.definition import digest, to_json
from actorflow.spec.model import WorkflowSpec
from tests.scenarios import BROKEN, task, workflow, workflows
from tests.scripted import ScriptedRun

_DOWN = Failure("ConnectionError", "down")


def value(snapshot: Snapshot, name: str, **tags: str) -> float | Distribution:
    family = snapshot.family(name)
    assert family is not None, name
    return next(series.value for series in family.series if dict(series.tags) == tags)


def distribution(snapshot: Snapshot, name: str, **tags: str) -> Distribution:
    found = value(snapshot, name, **tags)
    assert isinstance(found, Distribution)
    return found


def measured_live(*runs: ScriptedRun) -> Metrics:
    """As a runtime measures runs: each event that is kept, and each run at the end of each of its generations."""
    metrics = Metrics()
    for run in runs:
        note(metrics, run)
    return metrics


def note(metrics: Metrics, run: ScriptedRun) -> None:
    state = RunState(run.state.plan)
    for event in run.journal:
        state.apply(event)
        metrics.note(state.plan, [event])
        if isinstance(event, RunFinished):
            metrics.note_run(state)


def kept(journal: MemoryJournal, run: ScriptedRun, *deliveries: Delivery) -> None:
    """Write the events of a run, and what its async hooks had."""
    body = to_json(run.state.plan.spec)
    state = run.state
    status = state.ending.outcome if state.ending is not None and state.phase == "ended" else "running"
    summary = RunSummary(status, state.generation, state.run_started_at, state.ended_at)
    name = digest(body)
    writes = [
        CreateRun(state.run_id, state.plan.spec.name, name, body, summary),
        Append(state.run_id, 1, run.journal),
        RecordDeliveries(state.run_id, deliveries, len(run.journal)),
    ]
    assert journal.commit(writes) == [None] * 3


def finished(text: str, results: Mapping[str, list[object]] | None = None, **more: Any) -> ScriptedRun:
    return ScriptedRun(_loaded(text), _script(results or {}), **more).finish()


def _loaded(text: str) -> WorkflowSpec:
    return loads(text, trust="own")


def _script(results: Mapping[str, list[object]]) -> Any:
    left = {name: list(each) for name, each in results.items()}

    def script(start: StartAttempt) -> object:
        return left[start.task].pop(0) if left.get(start.task) else None

    return script


_RETRIED = """
name: sync
tasks:
  fetch: {agent: api, on_error: {retry: {max_attempts: 3, delay: 2s, backoff: constant, jitter: none}}}
  store: {agent: db, depends_on: [fetch]}
"""


# What workflows measure


def test_a_counter_adds_up_a_gauge_shows_the_last_and_a_histogram_counts_in_buckets():
    metrics = Metrics()
    for amount in (1.0, 2.5):
        metrics.record("orders", "counter", amount, {"shop": "a"})
        metrics.record("stock", "gauge", amount, {})
        metrics.record("weight", "histogram", amount, {})
    told = metrics.snapshot()
    assert value(told, "orders", shop="a") == 3.5
    assert value(told, "stock") == 2.5
    weight = distribution(told, "weight")
    assert (weight.count, weight.total, weight.largest, weight.average) == (2, 3.5, 2.5, 1.75)
    assert dict(weight.within)[0.5] == 0
    assert dict(weight.within)[1.0] == 1
    assert dict(weight.within)[2.5] == 2


def test_what_is_larger_than_the_last_bound_is_counted_all_the_same():
    metrics = Metrics()
    metrics.record("size", "histogram", BUCKETS[-1] * 2, {})
    size = distribution(metrics.snapshot(), "size")
    assert (size.count, size.within[-1]) == (1, (BUCKETS[-1], 0))


def test_series_are_told_apart_by_their_tags_in_whatever_order_these_come():
    metrics = Metrics()
    metrics.record("n", "counter", 1, {"a": "1", "b": "2"})
    metrics.record("n", "counter", 1, {"b": "2", "a": "1"})
    metrics.record("n", "counter", 1, {"a": "1"})
    family = metrics.snapshot().family("n")
    assert family is not None
    assert [(dict(each.tags), each.value) for each in family.series] == [
        ({"a": "1"}, 1.0),
        ({"a": "1", "b": "2"}, 2.0),
    ]


@pytest.mark.parametrize(
    ("name", "kind", "amount", "tags", "why"),
    [
        ("known", "gauge", 1, {}, "metric 'known' is a counter, and cannot be used as a gauge too"),
        ("known.total", "counter", 1, {}, "would be told as 'known', as metric 'known' is; rename one"),
        ("known_total", "gauge", 1, {}, "would be told as 'known_total', as metric 'known' is; rename one"),
        ("size_count", "counter", 1, {}, "would be told as 'size_count', as metric 'size' is; rename one"),
        ("n", "counter", -1, {}, "metric 'n' cannot be -1: a counter only grows; use a gauge"),
        ("n", "gauge", float("nan"), {}, "metric 'n' cannot be nan: only finite numbers are measured"),
        ("n", "gauge", float("-inf"), {}, "metric 'n' cannot be -inf: only finite numbers are measured"),
        ("actorflow_runs_total", "counter", 1, {}, "names that begin with actorflow_ are actorflow's own"),
        ("1st", "counter", 1, {}, "'1st' cannot be the name of a metric; write letters"),
        ("", "counter", 1, {}, "'' cannot be the name of a metric"),
        ("n\n", "counter", 1, {}, "cannot be the name of a metric"),
        ("n" * 129, "counter", 1, {}, "at most 128"),
        ("n", "counter", 1, {"a-b": "1"}, "metric 'n': 'a-b' cannot be the name of a tag"),
        ("n", "counter", 1, {"__name__": "1"}, "'__name__' cannot be the name of a tag"),
        ("n", "histogram", 1, {"le": "1"}, "none of le, overflow, quantile"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason_and_changes_nothing(
    name: str, kind: Any, amount: float, tags: dict[str, str], why: str
):
    metrics = Metrics()
    metrics.record("known", "counter", 1, {})
    metrics.record("size", "histogram", 1, {})
    note(metrics, finished("tasks: {t: {agent: x}}"))
    before = metrics.snapshot()
    with pytest.raises(ValueError, match="metric") as refused:
        metrics.record(name, kind, amount, tags)
    assert why in str(refused.value)
    assert metrics.snapshot() == before


def test_a_metric_with_too_many_sets_of_tags_puts_the_others_into_one_series_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
):
    metrics = Metrics()
    with caplog.at_level(logging.WARNING, "actorflow.metrics"):
        for number in range(MOST_SERIES + 5):
            metrics.record("hits", "counter", 1, {"user": str(number)})
        metrics.record("hits", "counter", 1, {"user": "0"})
    family = metrics.snapshot().family("hits")
    assert family is not None
    assert len(family.series) == MOST_SERIES + 1
    assert value(metrics.snapshot(), "hits", overflow="true") == 5
    assert value(metrics.snapshot(), "hits", user="0") == 2
    assert [record.getMessage() for record in caplog.records] == [
        "metric 'hits' has 1000 sets of tags; what has others goes to one series, overflow=true"
    ]


def test_there_is_room_for_so_many_metrics_and_no_more():
    metrics = Metrics()
    for number in range(MOST_METRICS):
        metrics.record(f"n{number}", "gauge", 1, {})
    with pytest.raises(ValueError, match="'more' is one too many: there are 1,000 already"):
        metrics.record("more", "gauge", 1, {})
    metrics.record("n0", "gauge", 2, {})
    assert value(metrics.snapshot(), "n0") == 2


def test_threads_may_measure_side_by_side():
    metrics = Metrics()

    def measure() -> None:
        for _ in range(2_000):
            metrics.note_commit(0.001)

    threads = [Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        metrics.snapshot()
        thread.join()
    assert distribution(metrics.snapshot(), "actorflow_commit_seconds").count == 8_000


# What a run measures up to


def test_every_built_in_metric_says_what_it_means_and_has_a_name_of_its_own_kind():
    for name, about in BUILT_IN.items():
        assert name.startswith(PREFIX)
        assert about.meaning.endswith(".")
        assert name.endswith("_total") == (about.kind == "counter")
        assert name.endswith("_seconds") == (about.unit == "seconds") == (about.kind == "histogram")


def test_an_agent_that_fails_twice_has_two_retries_and_three_attempts():
    told = measured_live(finished(_RETRIED, {"fetch": [_DOWN, _DOWN, "rows"]})).snapshot()
    assert value(told, "actorflow_retries_total") == 2
    assert value(told, "actorflow_attempts_total", outcome="failed") == 2
    assert value(told, "actorflow_attempts_total", outcome="success") == 2
    assert value(told, "actorflow_tasks_total", status="success") == 2
    assert value(told, "actorflow_runs_total", workflow="sync", status="success") == 1
    taken = distribution(told, "actorflow_task_seconds", status="success")
    assert (taken.count, taken.largest) == (2, 4.0)  # with the waits between the attempts
    assert distribution(told, "actorflow_attempt_seconds", status="success").largest == 0.0
    assert distribution(told, "actorflow_run_seconds", status="success").total == 4.0


def test_a_runtime_that_has_done_nothing_has_no_retries_and_nothing_else():
    told = Metrics().snapshot()
    assert [family.name for family in told.families] == ["actorflow_retries_total"]
    assert value(told, "actorflow_retries_total") == 0


def test_a_run_that_goes_on_has_its_events_counted_and_nothing_timed():
    run = ScriptedRun(_loaded(_RETRIED), _script({"fetch": [_DOWN]}))
    run.happen(run.outcome("fetch"))
    metrics = measured_live(run)
    metrics.note_run(run.state)
    told = metrics.snapshot()
    assert value(told, "actorflow_retries_total") == 1
    assert told.family("actorflow_runs_total") is None
    assert told.family("actorflow_task_seconds") is None


def test_a_next_generation_measures_only_what_ran_in_it():
    text = (
        "tasks: {a: {agent: x}, b: {agent: x, on_error: {strategy: finish}}, c: {agent: x, depends_on: [b]}}"
    )
    run = finished(text, {"b": [_DOWN]})
    run.now += 100.0
    run.next_generation()
    told = measured_live(run).snapshot()
    assert value(told, "actorflow_tasks_total", status="success") == 3  # a once, then b and c
    assert value(told, "actorflow_tasks_total", status="failed") == 1
    assert value(told, "actorflow_tasks_total", status="skipped") == 1
    assert value(told, "actorflow_runs_total", workflow=run.state.plan.spec.name, status="failed") == 1
    assert value(told, "actorflow_runs_total", workflow=run.state.plan.spec.name, status="success") == 1
    assert distribution(told, "actorflow_queue_wait_seconds").largest == 0.0
    assert distribution(told, "actorflow_run_seconds", status="success").largest == 0.0


def test_a_task_waits_in_the_queue_from_the_end_of_what_it_waits_for():
    text = "limits: {max_parallel: 1}\ntasks: {a: {agent: x}, b: {agent: x}, c: {agent: x, depends_on: [a]}}"
    run = ScriptedRun(_loaded(text))
    while run.running:
        run.now += 10.0
        run.happen(run.outcome(next(iter(run.running))))
    waits = dict(zip("abc", queue_waits(run.state), strict=True))
    assert waits == {"a": 0.0, "b": 10.0, "c": 10.0}


def test_a_task_does_not_wait_in_the_queue_for_stages_before_its_own():
    run = ScriptedRun(workflow(task("a"), task("b"), stages={"one": ["a"], "two": ["b"]}))
    while run.running:
        run.now += 10.0
        run.happen(run.outcome(next(iter(run.running))))
    assert list(queue_waits(run.state)) == [0.0, 0.0]


def test_a_task_that_another_leads_to_waits_in_the_queue_from_the_end_of_that():
    run = ScriptedRun(_loaded("tasks: {a: {agent: x, on_success: {next: b}}, b: {agent: x}}"))
    while run.running:
        run.now += 10.0
        run.happen(run.outcome(next(iter(run.running))))
    assert list(queue_waits(run.state)) == [0.0, 0.0]


def test_a_breaker_is_open_from_its_opening_to_its_closing():
    text = """
tasks:
  a:
    agent: x
    on_error:
      retry: {max_attempts: 3, delay: 1s, jitter: none}
      circuit_breaker: {threshold: 1, cooldown: 30s, key: bank}
"""
    run = ScriptedRun(_loaded(text), _script({"a": [_DOWN]}))
    run.happen(run.outcome("a"))
    assert value(measured_live(run).snapshot(), "actorflow_breaker_open", key="bank") == 1
    run.finish()
    assert value(measured_live(run).snapshot(), "actorflow_breaker_open", key="bank") == 0


def test_what_happened_to_a_breaker_last_counts_in_whichever_order_it_is_told():
    metrics, plan = Metrics(), plan_of(_loaded("tasks: {a: {agent: x}}"))
    metrics.note(plan, [BreakerClosed(20.0, "a", "bank")])
    metrics.note(plan, [BreakerOpened(10.0, "a", "bank", 40.0)])
    assert value(metrics.snapshot(), "actorflow_breaker_open", key="bank") == 0


# From a journal


def test_a_journal_tells_what_a_live_runtime_has_measured():
    spec = _loaded(
        """
name: shop
hooks:
  pre_workflow: ["mkdir x"]
  post_workflow: [{type: metric, mode: blocking, params: {name: ended, value: 1, tags: {kind: post}}}]
  task_finished:
    - {type: metric, params: {name: shop.orders, value: 2}}
    - {type: log, params: {message: done}}
tasks: {a: {agent: x, on_error: {strategy: finish}}, b: {agent: x}}
"""
    )
    post = {"name": "ended", "kind": "counter", "value": 1, "tags": {"kind": "post"}}
    run = ScriptedRun(spec, _script({"a": [_DOWN]}), run_id="r-1")
    while run.running:
        event = run.outcome(next(iter(run.running)))
        run.happen(_with_record(event, post))
    other = finished(_RETRIED, {"fetch": [_DOWN, _DOWN, _DOWN]}, run_id="r-2")
    orders = {"name": "shop.orders", "kind": "counter", "value": 2, "tags": {}}
    deliveries = [
        Delivery("1", "task_finished[0]", 5, "delivered", orders),
        Delivery("2", "task_finished[1]", 5, "dead_letter", {}),
        Delivery("3", "code.task_finished[tell]", 5, "skipped", {}),
    ]

    live = measured_live(run, other)
    live.record("shop.orders", "counter", 2, {})
    live.record("ended", "counter", 1, {"kind": "post"})
    for action, status in (("metric", "delivered"), ("log", "dead_letter"), ("code", "skipped")):
        live.note_delivery(action, status)
    live.watch("actorflow_runs_running", lambda: 0)
    live.watch("actorflow_hook_backlog", lambda: 0)

    journal = MemoryJournal()
    kept(journal, run, *deliveries)
    kept(journal, other)
    told = collect(journal, journal.runs())
    assert told == live.snapshot()
    assert value(told, "shop.orders") == 2
    hooks = told.family("actorflow_hook_deliveries_total")
    assert hooks is not None
    assert {tuple(dict(each.tags).values()) for each in hooks.series} == {
        ("command", "blocking", "delivered"),
        ("metric", "blocking", "delivered"),
        ("metric", "async", "delivered"),
        ("log", "async", "dead_letter"),
        ("code", "async", "skipped"),
    }


def _with_record(event: Event, record: Mapping[str, Any]) -> Event:
    is_metric = isinstance(event, HookFinished) and event.event == "post_workflow"
    return evolve(event, record=record) if is_metric else event


@settings(max_examples=40)
@given(workflows(), st.data())
def test_whatever_becomes_of_a_run_its_journal_tells_the_same(spec: WorkflowSpec, data: st.DataObject):
    failing = data.draw(st.sets(st.sampled_from([each.id for each in spec.tasks])))
    run = ScriptedRun(spec, lambda start: BROKEN if start.task in failing else start.attempt).finish()
    journal = MemoryJournal()
    kept(journal, run)
    live = measured_live(run)
    live.watch("actorflow_runs_running", lambda: float(run.state.phase != "ended"))
    live.watch("actorflow_hook_backlog", lambda: 0)
    assert collect(journal, journal.runs()) == live.snapshot()


def test_one_run_of_several_is_measured_alone():
    journal = MemoryJournal()
    kept(journal, finished(_RETRIED, {"fetch": [_DOWN, "rows"]}, run_id="r-1"))
    kept(journal, finished(_RETRIED, run_id="r-2"))
    both, first = collect(journal, journal.runs()), collect(journal, [journal.find("r-1")])
    assert value(both, "actorflow_runs_total", workflow="sync", status="success") == 2
    assert value(first, "actorflow_runs_total", workflow="sync", status="success") == 1
    assert value(first, "actorflow_retries_total") == 1


def test_a_record_that_is_no_measurement_is_passed_over():
    spec = _loaded("hooks: {task_finished: [{type: metric, params: {name: n}}]}\ntasks: {a: {agent: x}}")
    run = ScriptedRun(spec).finish()
    journal = MemoryJournal()
    bad = {"name": "actorflow_x", "kind": "counter", "value": 1, "tags": {}}
    kept(
        journal,
        run,
        Delivery("1", "task_finished[0]", 4, "delivered", {}),
        Delivery("2", "task_finished[0]", 4, "delivered", bad),
    )
    told = collect(journal, journal.runs())
    assert told.family("actorflow_x") is None
    assert (
        value(told, "actorflow_hook_deliveries_total", action="metric", mode="async", status="delivered") == 2
    )


# As Prometheus reads it


def test_prometheus_reads_what_was_measured():
    metrics = measured_live(finished(_RETRIED, {"fetch": [_DOWN, "rows"]}))
    metrics.record("shop.orders", "counter", 3, {"say": 'a "b"\n\\'})
    metrics.record("stock", "gauge", 1.5, {})
    text = prometheus_text(metrics.snapshot())
    assert f"# HELP actorflow_retries_total {BUILT_IN['actorflow_retries_total'].meaning}\n" in text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["actorflow_retries"].type == "counter"
    samples = {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in families.values()
        for each in family.samples
    }
    assert samples["actorflow_retries_total", ()] == 1
    assert samples["shop_orders_total", (("say", 'a "b"\n\\'),)] == 3
    assert samples["stock", ()] == 1.5
    status = ("status", "success")
    assert samples["actorflow_task_seconds_count", (status,)] == 2
    assert samples["actorflow_task_seconds_bucket", (("le", "+Inf"), status)] == 2
    assert samples["actorflow_task_seconds_bucket", (("le", "1.0"), status)] == 1
    assert samples["actorflow_task_seconds_sum", (status,)] == 2.0


def test_a_snapshot_is_json_with_the_buckets_of_a_histogram():
    metrics = Metrics()
    metrics.record("size", "histogram", 3, {"a": "b"})
    document = metrics.snapshot().document()["metrics"][-1]
    assert {key: document[key] for key in ("name", "kind", "unit", "meaning")} == {
        "name": "size",
        "kind": "histogram",
        "unit": "",
        "meaning": "",
    }
    (series,) = document["series"]
    assert (series["tags"], series["count"], series["sum"], series["largest"]) == ({"a": "b"}, 1, 3.0, 3)
    assert {"bound": 2.5, "count": 0} in series["within"]
    assert {"bound": 5.0, "count": 1} in series["within"]
