"""Workflows for the tests of the core: written tersely, or drawn at random; and the whole of a state, to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar, cast

from attrs import asdict, evolve, frozen
from hypothesis import strategies as st

from actorflow.core.commands import StartAttempt
from actorflow.core.events import Failure, RunOutcome
from actorflow.core.frontier import Frontier
from actorflow.core.state import RunState
from actorflow.spec.model import (
    BreakerSpec,
    HookErrors,
    HookEvent,
    HookLists,
    HookSpec,
    Limits,
    OnErrorSpec,
    RetrySpec,
    StageSpec,
    TaskSpec,
    Transition,
    WorkflowSpec,
)
from tests.random_hooks import with_random_hooks
from tests.scripted import ScriptedRun

BROKEN = Failure("Broken", "no luck")
TIMEOUT = Failure("timeout", "took over 1 s")
NOT_FOUND = Failure("not_found", "no such program")
AnyEvent = TypeVar("AnyEvent")


def task(
    name: str,
    *needs: str,
    strategy: Any = "abort",
    fallbacks: Sequence[str] = (),
    attempts: int = 1,
    breaker: BreakerSpec | None = None,
    **more: Any,
) -> TaskSpec:
    """A task with an agent; retries wait one second, unless `retry` says otherwise. `value` is its fallback value."""
    retry = more.pop("retry", RetrySpec(max_attempts=attempts, delay=1.0, backoff="constant", jitter="none"))
    on_error = OnErrorSpec(
        strategy=strategy,
        fallback_agents=tuple(fallbacks),
        has_fallback_value="value" in more,
        fallback_value=more.pop("value", None),
        breaker=breaker,
        max_losses=more.pop("max_losses", 5),
    )
    return TaskSpec(id=name, agent="main", depends_on=needs, retry=retry, on_error=on_error, **more)


def workflow(
    *tasks: TaskSpec,
    stages: Mapping[str, Sequence[str]] | Sequence[StageSpec] = (),
    hooks: HookLists = HookLists(),  # noqa: B008 - frozen
    max_parallel: int = 100,
    retry_budget: int | None = None,
    deadline: float | None = None,
    **more: Any,
) -> WorkflowSpec:
    """A workflow; stages given as a mapping run in its order, each a barrier."""
    if isinstance(stages, Mapping):
        names = list(stages)
        stages = [
            StageSpec(name=name, tasks=tuple(stages[name]), after=tuple(names[max(i - 1, 0) : i]))
            for i, name in enumerate(names)
        ]
    limits = Limits(max_parallel=max_parallel, retry_budget=retry_budget, deadline=deadline)
    return WorkflowSpec(name="w", tasks=tasks, stages=tuple(stages), hooks=hooks, limits=limits, **more)


def hook_lists(**counts: int) -> HookLists:
    """So many commands on each event; those that set up fail the run, as the loader has it where a file says nothing."""
    return hooks_on(
        **{
            event: [
                HookSpec(command=f"{event} {i}", on_error=FAILING.get(event, "continue")) for i in range(n)
            ]
            for event, n in counts.items()
        }
    )


def hooks_on(*, inherit: bool = True, **lists: Sequence[HookSpec]) -> HookLists:
    """These hooks on each event."""
    given = {event: tuple(found) for event, found in lists.items()}
    return HookLists(lists=cast("dict[HookEvent, tuple[HookSpec, ...]]", given), inherit=inherit)


FAILING: Mapping[str, HookErrors] = {"pre_workflow": "fail"}


@st.composite
def workflows(
    draw: st.DrawFn, max_tasks: int = 8, *, is_guarded: bool = False, is_hooked: bool = False
) -> WorkflowSpec:
    """Any small workflow that could be loaded: a random graph in random file order, with all that the core decides.

    Breakers, deadlines and a retry budget are drawn where it `is_guarded`, hooks of all kinds where it `is_hooked`.
    """
    ids = [f"t{i}" for i in range(draw(st.integers(1, max_tasks)))]
    tasks = [draw(tasks_between(name, ids[:i], ids[i + 1 :])) for i, name in enumerate(ids)]
    if is_guarded:
        tasks = [draw(guarded(each)) for each in tasks]
    spec = workflow(
        *draw(st.permutations(tasks)),
        stages=draw(st.one_of(st.just(()), stage_lists(ids))),
        hooks=hook_lists(**draw(hook_counts)),
        max_parallel=draw(st.integers(1, 4)),
        retry_budget=draw(st.sampled_from([None, None, 0, 1, 2])) if is_guarded else None,
        deadline=draw(st.sampled_from([None, None, None, 2.5, 8.0])) if is_guarded else None,
    )
    return with_random_hooks(Random(draw(st.integers(0, 2**32))), spec) if is_hooked else spec


@st.composite
def guarded(draw: st.DrawFn, spec: TaskSpec) -> TaskSpec:
    """The task with or without a circuit breaker and a deadline; a few keys are shared by several tasks."""
    breaker = draw(st.one_of(st.none(), breakers))
    deadline = draw(st.sampled_from([None, None, 1.5, 5.0]))
    return evolve(spec, on_error=evolve(spec.on_error, breaker=breaker), deadline=deadline)


breakers = st.builds(
    BreakerSpec,
    threshold=st.sampled_from([1, 1, 2]),
    window=st.sampled_from([2.0, 60.0]),
    cooldown=st.sampled_from([1.0, 4.0]),
    key=st.sampled_from([None, None, "shared"]),
)


hook_counts = st.one_of(
    st.just({}),
    st.just({}),
    st.fixed_dictionaries(
        {"pre_workflow": st.integers(0, 2), "on_error": st.integers(0, 1), "post_workflow": st.integers(0, 2)}
    ),
)

retries = st.one_of(
    st.just(RetrySpec()),
    st.builds(
        RetrySpec,
        max_attempts=st.integers(2, 3),
        delay=st.sampled_from([1.0, 4.0]),
        backoff=st.sampled_from(["constant", "linear", "exponential"]),
        max_delay=st.sampled_from([1.0, 60.0]),
        jitter=st.sampled_from(["none", "full", "equal"]),
        retry_on=st.sampled_from([(), (), ("Broken",)]),
        no_retry_on=st.sampled_from([(), (), ("timeout",)]),
    ),
)


@st.composite
def tasks_between(draw: st.DrawFn, name: str, earlier: list[str], later: list[str]) -> TaskSpec:
    """A task that may depend on some of the `earlier` ones, and read their outputs, and lead to `later` ones."""
    some = st.lists(st.sampled_from(earlier), max_size=3, unique=True) if earlier else st.just([])
    needs: list[str] = draw(st.one_of(st.just(earlier[-1:]), some))
    whens = [None] * 6 + ["true", "false"]
    inputs: list[Any] = [None] * 9 + [{"x": "{{ 6 / (task.attempt - 2) }}"}]
    for need in needs:
        whens += [f"tasks.{need}.output == 1", f"tasks.{need}.output > 0"]
        inputs.append({"x": f"{{{{ tasks.{need}.error.message }}}}"})
    kinds = {need: draw(st.sampled_from(["success"] * 4 + ["failure", "always"])) for need in needs}
    edges = {kind: tuple(need for need in needs if kinds[need] == kind) for kind in EDGES}
    return TaskSpec(
        id=name,
        agent="main",
        **{EDGES[kind]: names for kind, names in edges.items()},
        retry=draw(retries),
        on_error=draw(failures(later)),
        on_success=draw(transitions(later)),
        when=draw(st.sampled_from(whens)),
        with_=draw(st.sampled_from(inputs)),
        sleep=draw(st.sampled_from([None] * 6 + [1.0])),
        priority=draw(st.sampled_from([0] * 6 + [-1, 1])),
        idempotent=draw(st.sampled_from([True] * 6 + [False])),
    )


EDGES = {"success": "depends_on", "failure": "on_failure_of", "always": "on_end_of"}


def failures(later: list[str]) -> st.SearchStrategy[OnErrorSpec]:
    """What becomes of failures, with or without a handler among the later tasks."""
    return st.builds(
        OnErrorSpec,
        strategy=st.sampled_from(["abort", "finish", "finish", "skip"]),
        fallback_agents=st.sampled_from([(), (), ("second",), ("second", "third")]),
        has_fallback_value=st.sampled_from([False] * 7 + [True]),
        fallback_value=st.just(1),
        next=transitions(later),
        max_losses=st.sampled_from([5, 5, 1]),
    )


def transitions(later: list[str]) -> st.SearchStrategy[Transition | None]:
    """No transition, most of the time; else one to a later task."""
    none: st.SearchStrategy[Transition | None] = st.none()
    some = st.builds(Transition, next=st.sampled_from(later)) if later else none
    return st.one_of(none, none, none, some)


@st.composite
def stage_lists(draw: st.DrawFn, ids: list[str]) -> list[StageSpec]:
    """Stages over tasks in the order of their dependencies; some tasks are in none, and some stages are empty."""
    count = draw(st.integers(1, 4))
    numbers = sorted(draw(st.lists(st.integers(0, count - 1), min_size=len(ids), max_size=len(ids))))
    outside = draw(st.sets(st.sampled_from(ids), max_size=2))
    is_list = draw(st.booleans())
    stages = []
    for number in range(count):
        members = tuple(i for i, n in zip(ids, numbers, strict=True) if n == number and i not in outside)
        before = [f"s{n}" for n in range(number)]
        after = before[-1:] if is_list or not before else draw(st.lists(st.sampled_from(before), unique=True))
        stages.append(StageSpec(name=f"s{number}", tasks=members, after=tuple(after)))
    return stages


@frozen
class Scenario:
    """A workflow, what becomes of each attempt, and how it must end."""

    promise: str
    spec: WorkflowSpec
    results: Mapping[
        str, Sequence[object]
    ]  #: of a task's attempts, in order; the last holds on; default: an output
    ends: str  #: each task's, as `ends_of` writes them
    outcome: RunOutcome = "success"

    def __str__(self) -> str:
        return self.promise.replace(" ", "_")


def run_of(scenario: Scenario) -> ScriptedRun:
    """The run of a scenario, which has ended."""
    return ScriptedRun(scenario.spec, script_of(scenario.results)).finish()


def script_of(results: Mapping[str, Sequence[object]]) -> Callable[[StartAttempt], object]:
    """A script that gives each attempt of a task its result, the last one again and again."""
    counts = Counter[str]()

    def result(start: StartAttempt) -> object:
        counts[start.task] += 1
        given = results.get(start.task, (None,))
        return given[min(counts[start.task], len(given)) - 1]

    return result


def ends_of(run: ScriptedRun) -> str:
    """How each task ended, in file order, such as `a success, b skipped upstream`."""
    return ", ".join(" ".join(filter(None, (task.id, task.status, task.reason))) for task in run.state.tasks)


def happened(run: ScriptedRun, kind: type[AnyEvent]) -> list[AnyEvent]:
    """All events of a kind, in order."""
    return [event for event in run.journal if isinstance(event, kind)]


def linear(names: Iterable[str]) -> list[TaskSpec]:
    """A chain of tasks."""
    chain: list[TaskSpec] = []
    for name in names:
        chain.append(task(name, *(before.id for before in chain[-1:])))
    return chain


def snapshot(state: RunState) -> dict[str, Any]:
    """All that a state holds, as plain values, in an order of its own where order matters.

    Heap entries of tasks that have moved on are left out: when they go depends on when somebody last asked.
    """
    parts = {
        name: value
        for name, value in vars(state).items()
        if name not in ("plan", "tasks", "frontier", "hooks", "task_lines", "stage_lines", "breakers")
    }
    for name in ("running", "undecided", "to_fail", "to_bury", "signals", "signal_ids"):
        parts[name] = _in_order(parts[name])
    parts["known"] = {name: dict(value) for name, value in state.known.items()}
    parts["tasks"] = [asdict(each) for each in state.tasks]
    parts["hooks"] = dict(vars(state.hooks))
    for name in ("task_lines", "stage_lines"):
        parts[name] = [(number, dict(vars(line))) for number, line in getattr(state, name).items()]
    book = vars(state.breakers)
    parts["breakers"] = {name: _in_order(book[name]) for name in book if name not in ("_plan", "_tasks")}
    parts["frontier"] = _frontier(state.frontier, state)
    return parts


def _in_order(entries: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return [(key, list(value) if isinstance(value, list) else value) for key, value in entries.items()]


def _frontier(frontier: Frontier, state: RunState) -> dict[str, Any]:
    parts = {name: value for name, value in vars(frontier).items() if name not in ("_plan", "_tasks")}
    parts["to_skip"] = list(frontier.to_skip.items())
    parts["stages_to_complete"] = list(frontier.stages_to_complete.items())
    parts["_stages"] = [asdict(stage) for stage in frontier._stages]
    parts["_unmet"], parts["_gates"] = list(frontier._unmet), list(frontier._gates)
    entries = {*frontier._ready, *((i, at) for at, i in frontier._timers)}
    parts["_ready"] = sorted((i, at) for i, at in entries if frontier._is_current(i, at))
    parts["_deadlines"] = sorted({entry for entry in frontier._deadlines if frontier._is_waiting(*entry)})
    del parts["_timers"]  # among those that are ready from when somebody asks at a later time
    return parts
