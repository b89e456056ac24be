"""`actorflow hooks drain`: deliver what runs are owed that nobody goes on with; no task runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread
from attrs import field, frozen

from actorflow.cli.allowances import Allowances, allowed_hosts
from actorflow.cli.bindings import for_runs
from actorflow.cli.execution import Place, beside, in_runtime
from actorflow.cli.faults import fault_of
from actorflow.cli.found import Found, Means, found_run, place_for
from actorflow.cli.hooks.lines import hook_facts, pending_lines
from actorflow.cli.hooks.runs import HookRun, hook_runs
from actorflow.cli.pending import pending_runs
from actorflow.cli.screen import as_line
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interrupted, Interruption
from actorflow.cli.start import check_agent_words
from actorflow.cli.statuses import Exit, status_of
from actorflow.cli.store.opening import named_run, reading, store_url
from actorflow.errors import ActorflowError
from actorflow.journal import Journal, RunRow
from actorflow.journal.protocol import Delivery
from actorflow.runtime.runtime import Runtime, read_row

T = TypeVar("T")


@frozen(kw_only=True)
class DrainRequest:
    """What `hooks drain` was told."""

    run: str | None  #: None: all that nobody has
    timeout_s: float  #: for each run
    agents: Mapping[str, str]  #: for runs that hooks start
    allows: Allowances = field(factory=Allowances)


@frozen(kw_only=True)
class Drained:
    """What was delivered of a run, and what stays."""

    run_id: str
    settled: tuple[HookRun, ...]  #: by this drain
    pending: tuple[HookRun, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing failed, and nothing is left."""
        return not self.pending and all(each.status in ("ok", "skipped") for each in self.settled)


@frozen
class Drain:
    """What became of all runs."""

    drained: Sequence[Drained]
    errors: Mapping[str, ActorflowError] = field(factory=dict[str, ActorflowError])  #: by run
    is_stopped: bool = False  #: a signal came before all of it was done


def drain_hooks(settings: Settings, request: DrainRequest) -> int:
    """Deliver what is owed; 0 if nothing failed and nothing stays."""
    check_agent_words(request.agents)
    with reading(settings) as journal:
        place, rows = _chosen(settings, journal, request)
        if not rows:
            return tell_drained(settings, Drain([]))
        work = partial(_drain, journal, rows, request.timeout_s)
        return in_runtime(settings, place, work, partial(tell_drained, settings))


def tell_drained(settings: Settings, drain: Drain) -> int:
    """Say what was delivered and what stays, and why; the exit status."""
    screen = settings.screen
    faults = {run_id: fault_of(error) for run_id, error in drain.errors.items()}
    if screen.is_json:
        refused = {run_id: {"code": fault.code, "message": fault.message} for run_id, fault in faults.items()}
        screen.document({"runs": [_document(each) for each in drain.drained], "refused": refused})
    else:
        for drained in drain.drained:
            screen.result("\n".join(_lines(drained)))
        for run_id, fault in faults.items():
            screen.error(as_line(f"{run_id}: {fault.code} {fault.message}"))
        if not drain.drained and not faults and not drain.is_stopped:
            screen.note("nothing is owed to any hook by a run that nobody has")
    if drain.is_stopped:
        screen.note("interrupted; what is not delivered stays")
        return Exit.STOPPED
    statuses = [Exit.SUCCESS if each.is_clean else Exit.FAILED for each in drain.drained]
    return max([*statuses, *map(status_of, drain.errors.values())], default=Exit.SUCCESS)


async def delivered(journal: Journal, run_id: str, deliver: Callable[[], Awaitable[object]]) -> Drained:
    """Have something delivered of a run, and say what has come of it."""
    before = await anyio.to_thread.run_sync(journal.deliveries, run_id)
    await deliver()
    return await anyio.to_thread.run_sync(_drained, journal, before, run_id)


async def unless_stopped(work: Callable[[], Awaitable[T]], interruption: Interruption) -> T:
    """Do something that leaves what it was at for later when a signal comes.

    Raises:
        Interrupted: one has come.
    """

    async def stop() -> None:
        await interruption.wait_asked()
        raise Interrupted

    interruption.leave_to_caller()
    return await beside(work, stop)


def _chosen(settings: Settings, journal: Journal, request: DrainRequest) -> tuple[Place, Sequence[RunRow]]:
    if request.run is not None:
        row = named_run(journal, request.run)
        means = Means(agents=request.agents, allows=request.allows)
        return place_for(settings, found_run(journal, row), means), [row]
    owing = [row for row in journal.runs() if row.owner_pid is None and read_row(journal, row).hooks.pending]
    runs = (found_run(journal, row) for row in owing)
    place = Place(
        store=store_url(settings),
        agents=for_runs(settings, request.agents, ((run.spec, run.started) for run in runs)),
        allow_hosts=allowed_hosts(settings, request.allows),
    )
    return place, owing


async def _drain(
    journal: Journal,
    rows: Sequence[RunRow],
    timeout_s: float,
    runtime: Runtime,
    interruption: Interruption,
) -> Drain:
    """Drain one run after the other: each has its whole time."""
    drained: list[Drained] = []
    errors: dict[str, ActorflowError] = {}

    async def deliver() -> Drain:
        for row in rows:
            drain = partial(runtime.drain_hooks, row.run_id, timeout_s=timeout_s)
            try:
                drained.append(await delivered(journal, row.run_id, drain))
            except ActorflowError as error:
                if len(rows) == 1:
                    raise
                errors[row.run_id] = error
        return Drain(drained, errors)

    try:
        return await unless_stopped(deliver, interruption)
    except Interrupted:
        return Drain(drained, errors, is_stopped=True)


def _drained(journal: Journal, before: Sequence[Delivery], run_id: str) -> Drained:
    row = journal.find(run_id)
    found = found_run(journal, row)
    new = journal.deliveries(run_id)[len(before) :]
    return Drained(
        run_id=run_id,
        settled=_settled(journal, found, new),
        pending=pending_runs(journal, row, found.state),
    )


def _settled(journal: Journal, found: Found, new: Sequence[Delivery]) -> tuple[HookRun, ...]:
    ids = {each.delivery_id for each in new}
    runs = hook_runs(found.state.plan, journal.events(found.run_id), new) if new else ()
    return tuple(each for each in runs if each.delivery_id in ids)


def _lines(drained: Drained) -> list[str]:
    counts = Counter("delivered" if each.status == "ok" else each.how for each in drained.settled)
    told = [f"{count} {how}" for how, count in counts.items()]
    stays = (
        [f"{len(drained.pending)} stay" if len(drained.pending) != 1 else "1 stays"]
        if drained.pending
        else []
    )
    failed = [
        as_line(f"  {each.place}: {each.why} ({each.name})")
        for each in drained.settled
        if each.status not in ("ok", "skipped")
    ]
    head = as_line(f"{drained.run_id}  {', '.join([*told, *stays]) or 'nothing was owed'}")
    return [head, *failed, *pending_lines(drained.pending, indent="  ")]


def _document(drained: Drained) -> dict[str, Any]:
    return {
        "run_id": drained.run_id,
        "settled": [hook_facts(each) for each in drained.settled],
        "pending": [hook_facts(each) for each in drained.pending],
    }
