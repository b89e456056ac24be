"""Runs that the hooks of a run have started, and what has become of them."""

from __future__ import annotations

from collections.abc import Iterable

from actorflow.cli.hooks.runs import HookRun
from actorflow.cli.sensitive import shown_result
from actorflow.core.plan import Plan
from actorflow.errors import RunNotFoundError
from actorflow.runtime.dispatch import dispatched_spec
from actorflow.runtime.result import RunResult
from actorflow.runtime.runtime import Runtime
from actorflow.spec.model import WorkflowSpec

__all__ = ["dispatched_runs"]


async def dispatched_runs(runtime: Runtime, plan: Plan, hooks: Iterable[HookRun]) -> tuple[RunResult, ...]:
    """The runs that hooks of a run have started, as the store has them, without what is sensitive.

    Args:
        runtime: of the store.
        plan: of the run.
        hooks: of the run.
    """
    found: dict[str, RunResult] = {}
    for hook in hooks:
        run_id = hook.record.get("run_id")
        if run_id is None or hook.path not in plan.hooks.dispatch_paths:
            continue
        try:
            found[run_id] = _shown(plan.spec, await runtime.get(run_id))
        except RunNotFoundError:
            continue  # it is in memory alone, or deleted
    return tuple(found.values())


def _shown(parent: WorkflowSpec, child: RunResult) -> RunResult:
    (target,) = child.tasks
    return shown_result(dispatched_spec(parent, target), child)
