"""Deliveries that were given up: what they were about, what was tried, and trying them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen

from actorflow.cli.execution import Place, in_runtime
from actorflow.cli.found import found_run
from actorflow.cli.hooks.drain import Drain, Drained, delivered, tell_drained, unless_stopped
from actorflow.cli.hooks.hiding import HookHiding, shown_reason
from actorflow.cli.hooks.runs import hook_name
from actorflow.cli.layout import as_json, columns, duration, local_time, show_table
from actorflow.cli.pending import hook_entries
from actorflow.cli.report import command_line
from actorflow.cli.screen import as_line, as_text
from actorflow.cli.sensitive import shown_params
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interruption
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.cli.store.opening import store_option
from actorflow.core.delivery import Try
from actorflow.core.hook_config import HookEntry
from actorflow.core.hook_rendering import shown_inputs
from actorflow.errors import BadInputError, StoreDamagedError
from actorflow.hooks.parcel import Parcel, opened
from actorflow.journal import Journal
from actorflow.journal.protocol import DeadLetter, PendingDelivery
from actorflow.runtime.runtime import Runtime
from actorflow.spec.model import HookSpec

__all__ = ["GivenUp", "ShownLetters", "letter_document", "parcel_of", "retry_deliveries", "show_delivery"]


@frozen
class GivenUp:
    """A dead letter of a delivery, with what was kept to try it again."""

    letter: DeadLetter
    parcel: Parcel
    params: Any  #: as they are shown


def parcel_of(journal: Journal, letter: DeadLetter) -> GivenUp:
    """Read what a dead letter's delivery was about.

    Raises:
        StoreDamagedError: nothing was kept of it.
    """
    body = journal.dead_letter_body(letter.id)
    if body is None:
        raise StoreDamagedError(f"nothing is kept of the delivery {letter.id!r}")
    found = found_run(journal, journal.find(letter.run_id))
    row = PendingDelivery(letter.id, letter.task, letter.seq, letter.at, body)
    entry = hook_entries(found.state).get(letter.task)
    spec = HookSpec() if entry is None else entry.spec
    parcel = opened(row, letter.run_id, spec, shown_inputs(found.state))
    params = shown_params(found.spec, spec, _task(parcel), parcel.context.params)
    if not HookHiding(found.spec).hides(entry, _task(parcel)):
        return GivenUp(letter, parcel, params)
    tries = evolve(
        parcel.tries, recent=tuple(evolve(one, error=shown_reason(one.error)) for one in parcel.tries.recent)
    )
    return GivenUp(evolve(letter, reason=shown_reason(letter.reason)), evolve(parcel, tries=tries), params)


class ShownLetters:
    """Dead letters of deliveries as a list of them shows them; each run is read once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._runs: dict[str, tuple[HookHiding, Mapping[str, HookEntry]]] = {}

    def shown(self, letter: DeadLetter) -> DeadLetter:
        """The letter without what a hook has said that was given something sensitive."""
        if letter.run_id not in self._runs:
            found = found_run(self._journal, self._journal.find(letter.run_id))
            self._runs[letter.run_id] = (HookHiding(found.spec), hook_entries(found.state))
        hiding, entries = self._runs[letter.run_id]
        if not hiding.hides(entries.get(letter.task), self._task_of(letter)):
            return letter
        return evolve(letter, reason=shown_reason(letter.reason))

    def _task_of(self, letter: DeadLetter) -> str:
        body = self._journal.dead_letter_body(letter.id)
        task: Mapping[str, Any] | None = None if body is None else body["context"]["task"]
        return "" if task is None else str(task["id"])


def show_delivery(settings: Settings, given_up: GivenUp) -> int:
    """Show a dead letter of a delivery: its event, what its action was given, and each try."""
    letter, parcel = given_up.letter, given_up.parcel
    context, tries = parcel.context, parcel.tries
    screen = settings.screen
    if screen.is_json:
        screen.document({**letter_document(letter), **_facts(given_up)})
        return Exit.SUCCESS
    facts = {
        "dead letter": letter.id,
        "run": letter.run_id,
        "hook": f"{letter.task} ({hook_name(context.spec)})",
        "event": f"{context.event} of {_task(parcel)}" if context.task is not None else context.event,
        "since": local_time(letter.at),
        "tries": str(tries.count),
    }
    screen.result("\n".join([*columns(facts.items()), as_line(f"why: {letter.reason}")]))
    screen.result(f"params: {as_text(as_json(given_up.params, indent=2))}")
    if tries.recent:
        head = ("TRY", "AT", "STATUS", "TIME", "ERROR")
        screen.result("")
        show_table(screen, [head, *map(_try_cells, tries.recent)], spare=(3, 1))
    again = command_line("dead-letters retry", letter.id, store_option(settings))
    screen.note(f"to try it again: {again}")
    return Exit.SUCCESS


def retry_deliveries(
    settings: Settings, journal: Journal, letters: Sequence[DeadLetter], place: Place
) -> int:
    """Deliver again what was given up, and what else the runs' hooks are owed; 0 if nothing failed and nothing stays."""
    by_run: dict[str, dict[str, None]] = {}
    for letter in letters:
        by_run.setdefault(letter.run_id, {})[letter.id] = None
    drained: list[Drained] = []

    async def work(runtime: Runtime, interruption: Interruption) -> Drain:
        async def deliver() -> Drain:
            for run_id, ids in by_run.items():
                drained.append(await delivered(journal, run_id, partial(runtime.retry_deliveries, [*ids])))
            return Drain(drained)

        try:
            return await unless_stopped(deliver, interruption)
        except BadInputError as error:
            if drained:
                tell_drained(settings, Drain(drained))
            raise Elsewhere(error, Exit.CONFIG) from error

    return in_runtime(settings, place, work, partial(tell_drained, settings))


def letter_document(letter: DeadLetter) -> Mapping[str, Any]:
    """The JSON of a dead letter; of a delivery, `task` is the path of its hook."""
    return {
        "id": letter.id,
        "kind": letter.kind,
        "run_id": letter.run_id,
        "task": letter.task,
        "reason": letter.reason,
        "at": letter.at,
    }


def _facts(given_up: GivenUp) -> Mapping[str, Any]:
    context, tries = given_up.parcel.context, given_up.parcel.tries
    return {
        "event": context.event,
        "about": _task(given_up.parcel) or None,
        "action": context.spec.action,
        "params": given_up.params,
        "tries": tries.count,
        "tried": [
            {
                "number": one.number,
                "at": one.at,
                "duration_s": one.duration_s,
                "status": one.status,
                "error": one.error,
            }
            for one in tries.recent
        ],
    }


def _try_cells(one: Try) -> tuple[str, ...]:
    status = one.status.replace("_", " ")
    return (str(one.number), local_time(one.at), status, duration(one.duration_s), one.error)


def _task(parcel: Parcel) -> str:
    task = parcel.context.task
    return "" if task is None else str(task["id"])
