"""Workflows and accidents out of a seed: dense, where a strategy that shrinks would mostly draw next to nothing."""

from __future__ import annotations

from random import Random
from typing import Any

from actorflow.spec.model import (
    BreakerSpec,
    OnErrorSpec,
    RetrySpec,
    StageSpec,
    TaskSpec,
    Transition,
    WorkflowSpec,
)
from tests.random_hooks import with_random_hooks
from tests.scenarios import hook_lists, workflow


def random_workflow(draw: Random) -> WorkflowSpec:
    """A small workflow with much of all that the core decides; tasks stand in any order."""
    ids = [f"t{i}" for i in range(draw.randint(2, 7))]
    tasks = [_task(draw, name, ids[:i], ids[i + 1 :]) for i, name in enumerate(ids)]
    draw.shuffle(tasks)
    has_hooks = draw.random() < 0.3
    spec = workflow(
        *tasks,
        stages=_stages(draw, ids) if draw.random() < 0.5 else (),
        hooks=hook_lists(pre_workflow=draw.randint(0, 2), on_error=1, post_workflow=1)
        if has_hooks
        else hook_lists(),
        max_parallel=draw.randint(1, 4),
        retry_budget=draw.choice([None, None, 0, 1, 2]),
        deadline=draw.choice([None, None, None, 2.5, 8.0]),
    )
    return with_random_hooks(draw, spec) if draw.random() < 0.4 else spec


def _task(draw: Random, name: str, earlier: list[str], later: list[str]) -> TaskSpec:
    needs = draw.sample(earlier, min(len(earlier), draw.randint(0, 3)))
    kinds = {
        need: draw.choice(["depends_on", "depends_on", "depends_on", "on_failure_of", "on_end_of"])
        for need in needs
    }
    edges: dict[str, Any] = {
        kind: tuple(need for need in needs if kinds[need] == kind) for kind in set(kinds.values())
    }
    whens = [None] * 6 + ["true", "false", *(f"tasks.{need}.output > 0" for need in needs)]
    inputs: list[Any] = [None] * 9 + [{"x": "{{ 6 / (task.attempt - 2) }}"}]
    inputs += [{"x": f"{{{{ tasks.{need}.error.message }}}}"} for need in needs]
    return TaskSpec(
        id=name,
        agent="main",
        retry=_retry(draw),
        on_error=_on_error(draw, later),
        on_success=_transition(draw, later),
        when=draw.choice(whens),
        with_=draw.choice(inputs),
        sleep=draw.choice([None] * 6 + [1.0]),
        priority=draw.choice([0] * 6 + [-1, 1]),
        idempotent=draw.random() < 0.9,
        deadline=draw.choice([None, None, 1.5, 5.0]),
        **edges,
    )


def _retry(draw: Random) -> RetrySpec:
    if draw.random() < 0.4:
        return RetrySpec()
    return RetrySpec(
        max_attempts=draw.randint(2, 3),
        delay=draw.choice([1.0, 4.0]),
        backoff=draw.choice(["constant", "linear", "exponential"]),
        max_delay=draw.choice([1.0, 60.0]),
        jitter=draw.choice(["none", "full", "equal"]),
        retry_on=draw.choice([(), (), ("Broken",)]),
        no_retry_on=draw.choice([(), (), ("timeout",)]),
    )


def _on_error(draw: Random, later: list[str]) -> OnErrorSpec:
    breaker = BreakerSpec(
        threshold=1, window=2.0, cooldown=draw.choice([1.0, 4.0]), key=draw.choice([None, "shared"])
    )
    return OnErrorSpec(
        strategy=draw.choice(["abort", "finish", "finish", "skip"]),
        fallback_agents=draw.choice([(), (), ("second",), ("second", "third")]),
        has_fallback_value=draw.random() < 0.1,
        fallback_value=1,
        next=_transition(draw, later),
        breaker=breaker if draw.random() < 0.35 else None,
        max_losses=draw.choice([5, 5, 1]),
    )


def _transition(draw: Random, later: list[str]) -> Transition | None:
    return Transition(next=draw.choice(later)) if later and draw.random() < 0.2 else None


def _stages(draw: Random, ids: list[str]) -> list[StageSpec]:
    """Over tasks in the order of their dependencies; some tasks are in none, and some stages are empty."""
    count = draw.randint(1, 4)
    numbers = sorted(draw.randrange(count) for _ in ids)
    outside = draw.sample(ids, draw.randint(0, 2))
    is_list = draw.random() < 0.5
    stages: list[StageSpec] = []
    for number in range(count):
        members = [i for i, n in zip(ids, numbers, strict=True) if n == number and i not in outside]
        before = [stage.name for stage in stages]
        after = before[-1:] if is_list else draw.sample(before, draw.randint(0, len(before)))
        stages.append(StageSpec(name=f"s{number}", tasks=tuple(members), after=tuple(after)))
    return stages
