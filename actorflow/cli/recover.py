"""`actorflow recover`: all runs of a store that were left running, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import anyio
import anyio.to_thread
from attrs import frozen

from actorflow.cli.account import Account
from actorflow.cli.allowances import allowed_hosts
from actorflow.cli.bindings import for_runs
from actorflow.cli.execution import Place, account_of, in_runtime, tell_progress
from actorflow.cli.faults import fault_of
from actorflow.cli.found import Found, Means, found_run, silent_s, status_of_row
from actorflow.cli.progress import Progress
from actorflow.cli.report import account_document, account_text
from actorflow.cli.screen import Screen, as_line
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interruption
from actorflow.cli.start import check_agent_words
from actorflow.cli.statuses import STATUS_OF_RUN, Exit, status_of
from actorflow.cli.store.opening import reading, store_url
from actorflow.errors import ActorflowError, RunOwnedElsewhereError
from actorflow.journal import Journal, RunRow
from actorflow.journal.protocol import STALE_S
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.runtime import Runtime


@frozen
class _Recovered:
    accounts: list[Account]
    errors: Mapping[str, ActorflowError]  #: by run: why it could not be taken up, or seen to its end

    def beside(self, errors: Mapping[str, ActorflowError]) -> _Recovered:
        """The same with errors of other runs."""
        return _Recovered(self.accounts, {**errors, **self.errors})


def recover(settings: Settings, means: Means) -> int:
    """Go on with all that was left running; the exit status is the highest of theirs."""
    check_agent_words(means.agents)
    with reading(settings) as journal:
        rows = journal.runs()
        found = {row.run_id: found_run(journal, row) for row in rows if status_of_row(row) == "crashed"}
        silent = _silent(rows)
        if not found:
            return _tell(settings, _Recovered([], silent))
        place = _place(settings, found.values(), means)
        work = partial(_recover, settings.screen, journal, found)
        return in_runtime(settings, place, work, lambda recovered: _tell(settings, recovered.beside(silent)))


def _place(settings: Settings, found: Iterable[Found], means: Means) -> Place:
    return Place(
        store=store_url(settings),
        agents=for_runs(settings, means.agents, ((each.spec, each.started) for each in found)),
        backend=means.backend or "asyncio",
        grace_s=10.0 if means.grace is None else means.grace,
        allow_hosts=allowed_hosts(settings, means.allows),
    )


def _silent(rows: Iterable[RunRow]) -> dict[str, ActorflowError]:
    """What to say of runs whose process lives and gives no sign of life: nobody but an operator may end it."""
    return {
        row.run_id: RunOwnedElsewhereError(row.run_id, pid=row.owner_pid, heartbeat_age_s=silent_s(row))
        for row in rows
        if row.owner_pid is not None
        and row.summary.status in {"running", "paused"}
        and silent_s(row) > STALE_S
    }


async def _recover(
    screen: Screen,
    journal: Journal,
    found: Mapping[str, Found],
    runtime: Runtime,
    interruption: Interruption,
) -> _Recovered:
    recovered = await runtime.recover()
    interruption.run_began()
    accounts: list[Account] = []
    errors = dict(recovered.refused)

    async def follow(handle: RunHandle) -> None:
        known = found.get(handle.run_id)
        if known is None:  # its process died after we looked
            known = await anyio.to_thread.run_sync(_find, journal, handle.run_id)
        try:
            if not screen.is_quiet:
                await tell_progress(
                    screen, Progress(known.spec), handle, known.seq, prefix=f"{handle.run_id}: "
                )
            accounts.append(await account_of(known.spec, runtime, handle, interruption))
        except ActorflowError as error:
            errors[handle.run_id] = error

    async with anyio.create_task_group() as group:
        for handle in recovered.handles:
            group.start_soon(follow, handle)
    return _Recovered(accounts, errors)


def _find(journal: Journal, run_id: str) -> Found:
    return found_run(journal, journal.find(run_id))


def _tell(settings: Settings, recovered: _Recovered) -> int:
    screen, accounts, errors = settings.screen, recovered.accounts, recovered.errors
    faults = {run_id: fault_of(error) for run_id, error in errors.items()}
    if screen.is_json:
        refused = {run_id: {"code": fault.code, "message": fault.message} for run_id, fault in faults.items()}
        screen.document({"runs": [account_document(each) for each in accounts], "refused": refused})
    else:
        for account in accounts:
            screen.result(account_text(account))
        for run_id, fault in faults.items():
            screen.error(as_line(f"{run_id}: {fault.code} {fault.message}"))
        if not accounts and not faults:
            screen.note("no run of this store was left running")
    statuses = [STATUS_OF_RUN[each.result.status] for each in accounts] + [*map(status_of, errors.values())]
    return max(statuses, default=Exit.SUCCESS)
