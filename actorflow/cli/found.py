"""A run of the store, as a command finds it before it does anything with it."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from actorflow.cli.allowances import Allowances, allowed_hosts
from actorflow.cli.bindings import for_runs
from actorflow.cli.execution import Place
from actorflow.cli.layout import duration
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import TaskNotFoundError
from actorflow.cli.store.opening import store_url
from actorflow.core.events import RunStarted
from actorflow.core.state import RunState
from actorflow.journal import Journal, RunRow
from actorflow.journal.protocol import STALE_S
from actorflow.runtime.dispatch import PARENT
from actorflow.runtime.runtime import read_state
from actorflow.spec.model import WorkflowSpec

_BY_OWNER: Final = {("running", False): "crashed", ("paused", True): "pausing"}


@frozen
class Found:
    """A run with its folded state."""

    row: RunRow
    state: RunState
    seq: int  #: of its last event

    @property
    def run_id(self) -> str:
        """Its whole id."""
        return self.row.run_id

    @property
    def spec(self) -> WorkflowSpec:
        """The definition that it is pinned to."""
        return self.state.plan.spec

    @property
    def started(self) -> RunStarted:
        """How it was begun."""
        assert self.state.started is not None
        return self.state.started


@frozen(kw_only=True)
class Means:
    """How a run is to be taken up; None: as recorded."""

    agents: Mapping[str, str] = field(factory=dict[str, str])
    backend: str | None = None
    grace: float | None = None  #: seconds
    allows: Allowances = field(factory=Allowances)


def found_run(journal: Journal, row: RunRow) -> Found:
    """Fold a run."""
    return Found(row, *read_state(journal, row))


def parent_of(started: RunStarted | None) -> Mapping[str, Any] | None:
    """Whose hook has started a run: `{run_id, task, delivery_id, depth}`; None where it was not a hook."""
    return None if started is None else started.flags.get(PARENT)


def status_of_row(row: RunRow) -> str:
    """The status of a run; `crashed` where it runs and nobody alive owns it, `pausing` where it is paused and somebody does."""
    return with_owner(row.summary.status, row)


def with_owner(status: str, row: RunRow) -> str:
    """What a status that the run's events give is, knowing whether somebody alive owns the run."""
    return _BY_OWNER.get((status, row.owner_pid is not None), status)


def silent_s(row: RunRow) -> float:
    """How long the owner of a run has given no sign of life; 0 where nobody owns it."""
    return 0.0 if row.heartbeat_at is None else max(time.time() - row.heartbeat_at, 0.0)


def status_text(status: str, row: RunRow) -> str:
    """A status of a run with the process that has it, if one is at it."""
    if status not in {"running", "pausing"}:
        return status
    silent = f", silent for {duration(silent_s(row))}" if silent_s(row) > STALE_S else ""
    return f"{status} (pid {row.owner_pid}{silent})"


def place_for(settings: Settings, found: Found, means: Means, spec: WorkflowSpec | None = None) -> Place:
    """Where a run goes on: as it is wanted, else as it was begun; `spec` is the definition that it has from now on."""
    flags = found.started.flags
    grace_s = means.grace if means.grace is not None else flags.get("grace")
    return Place(
        store=store_url(settings),
        agents=for_runs(settings, means.agents, [(spec or found.spec, found.started)]),
        backend=means.backend or ("trio" if flags.get("backend") == "trio" else "asyncio"),
        grace_s=float(grace_s) if isinstance(grace_s, int | float) else 10.0,
        allow_hosts=allowed_hosts(settings, means.allows),
    )


def unknown_task(found: Found, task: str) -> TaskNotFoundError:
    """What to raise where a run has no task of that id; it names the nearest."""
    near = difflib.get_close_matches(task, list(found.state.plan.index)[:1000], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return TaskNotFoundError(f"run {found.run_id!r} has no task {task!r}{hint}")
