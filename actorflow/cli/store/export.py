"""`actorflow export`: all that is kept of a run, as one JSON document without what is sensitive."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from attrs import asdict, evolve, fields

from actorflow.cli.found import Found, found_run, parent_of, with_owner
from actorflow.cli.handed_on import handed_on
from actorflow.cli.hooks.hiding import HookHiding, shown_record
from actorflow.cli.hooks.lines import hook_document
from actorflow.cli.hooks.runs import HookRun, hook_runs
from actorflow.cli.layout import counted
from actorflow.cli.pending import pending_runs
from actorflow.cli.report import result_document
from actorflow.cli.screen import as_line
from actorflow.cli.sensitive import (
    HOOK_FAILED,
    sensitive_tasks,
    shown_failure,
    shown_hook_message,
    shown_inputs,
    shown_outputs,
    shown_result,
    shown_task_input,
)
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Exit
from actorflow.cli.store.opening import named_run, reading
from actorflow.core.events import (
    AttemptFailed,
    AttemptSucceeded,
    AttemptTimedOut,
    DeadLettered,
    Event,
    Failure,
    FallbackValueUsed,
    HookFinished,
    RunEnding,
    RunStarted,
    TaskFailed,
)
from actorflow.core.plan import Plan
from actorflow.journal import Journal
from actorflow.journal.codec import REGISTRY
from actorflow.runtime.result import result_from
from actorflow.spec.definition import to_json
from actorflow.spec.sensitive import HIDDEN

__all__ = ["FORMAT", "HIDING", "Shown", "export"]

FORMAT: Final = 1
"""The number of this form of a document; a later one may only add keys under it."""

Failed: TypeAlias = AttemptFailed | AttemptTimedOut | TaskFailed | DeadLettered


def export(settings: Settings, run: str, output: str | None) -> int:
    """Write a run as it stands to stdout, or to a file, which it replaces whole.

    Raises:
        RunNotFoundError: there is none.
        StoreDamagedError: it is not what was written.
        OSError: the file cannot be written; one that was there is as it was.
    """
    with reading(settings) as journal:
        document = _document(journal, found_run(journal, named_run(journal, run)))
    screen = settings.screen
    if output is None or output == "-":
        screen.document(document)
        return Exit.SUCCESS
    _write(output, json.dumps(document, indent=2) + "\n")
    if screen.is_json:
        screen.document({"run_id": document["run_id"], "file": output})
    else:
        said = counted(len(document["events"]), "event")
        screen.result(as_line(f"wrote run {document['run_id']}, {said}, to {output}"))
    return Exit.SUCCESS


def _document(journal: Journal, found: Found) -> dict[str, Any]:
    spec, row = found.spec, found.row
    shown = Shown(found.state.plan, found.started, handed_on(journal, found.started))
    result = shown_result(spec, result_from(journal, row, found.state))
    events = [(seq, event) for seq, event in journal.events(row.run_id) if seq <= found.seq]
    settled = hook_runs(found.state.plan, events, journal.deliveries(row.run_id))
    pending = pending_runs(journal, row, found.state)
    again = {each.delivery_id for each in pending}  # an operator has it tried again
    deliveries = [each for each in settled if each.delivery_id and each.delivery_id not in again]
    return {
        "format": FORMAT,
        **result_document(result, with_owner(result.status, row)),
        "entry": spec.entry,
        "inputs": shown.inputs,
        "parent": parent_of(found.started),
        "dead_letters": [each.id for each in journal.dead_letters() if each.run_id == row.run_id],
        "definition": _shown_definition(json.loads(to_json(spec))),
        "events": [shown.event(seq, event) for seq, event in events],
        "deliveries": [shown.delivery(hook) for hook in (*deliveries, *pending)],
    }


def _shown_definition(value: Any) -> Any:
    """A definition as JSON without what it says itself of sensitive values: defaults of inputs, fallbacks of tasks."""
    match value:
        case {"sensitive": True}:
            named = cast("Mapping[str, Any]", value)
            return {
                key: HIDDEN if key in _SAID_OF_SENSITIVE else _without_fallback(key, one)
                for key, one in named.items()
            }
        case Mapping():
            plain = cast("Mapping[str, Any]", value)
            return {key: _shown_definition(one) for key, one in plain.items()}
        case [*items]:
            return [_shown_definition(one) for one in cast("Sequence[Any]", items)]
        case _:
            return value


_SAID_OF_SENSITIVE: Final = frozenset({"default", "enum"})


def _without_fallback(key: str, value: Any) -> Any:
    shown = _shown_definition(value)
    return {**shown, "fallback_value": HIDDEN} if key == "on_error" and "fallback_value" in shown else shown


# Events


class Shown:
    """Events and deliveries of a run, without what is sensitive by its definition, or came so from its parent.

    Args:
        plan: of the run's definition.
        started: how it was begun.
        handed: inputs that came as sensitive ones from its parent.
    """

    def __init__(self, plan: Plan, started: RunStarted, handed: frozenset[str]) -> None:
        spec = plan.spec
        self.inputs = shown_inputs(spec, started.inputs, handed=handed)
        self._spec = spec
        self._handed = handed
        self._hooks = plan.hooks
        self._hiding = HookHiding(spec)
        self._tasks = sensitive_tasks(spec)
        declared = (spec.inputs or {}).values()
        self._has_any = bool(self._tasks or handed) or any(each.sensitive for each in declared)

    def event(self, seq: int, event: Event) -> dict[str, Any]:
        """An event with its number, its kind, and its fields by name."""
        changed = {name: hide(self, event) for name, hide in HIDING.get(type(event), {}).items()}
        values = {each.name: getattr(event, each.name) for each in fields(type(event))} | changed
        return {"seq": seq, "kind": _NAMES[type(event)], **{key: _plain(one) for key, one in values.items()}}

    def output(self, event: AttemptSucceeded | FallbackValueUsed) -> Any:
        """What a task gave."""
        return HIDDEN if event.task in self._tasks and event.output is not None else event.output

    def attempt_record(self, event: AttemptSucceeded) -> Mapping[str, Any]:
        """What is known of an attempt besides, such as the end of its stderr."""
        return shown_record(event.record) if event.task in self._tasks else event.record

    def failure(self, event: Failed | RunEnding) -> Failure | None:
        """Why something failed; of a hook, as far as we have said so, since it may have been told anything."""
        failure = event.failure
        if failure is None or not self._has_any:
            return failure
        if event.task in self._tasks:
            return shown_failure(failure)
        if failure.type != HOOK_FAILED:
            return failure
        return Failure(failure.type, shown_hook_message(failure.message), shown_record(failure.detail))

    def letter_input(self, event: DeadLettered) -> Any:
        """What a task was given that failed for good."""
        return shown_task_input(self._spec, event.task, event.input, handed=self._handed)

    def hook_record(self, event: HookFinished) -> Mapping[str, Any]:
        """What a blocking hook said, or a transform has set."""
        task = event.subject if event.event in ("task_started", "task_finished") else ""
        is_told = self._handed or task in self._tasks
        is_hidden = is_told or self._hiding.hides(self._hooks.entry_of(event), task)
        return shown_record(event.record) if is_hidden and event.status != "skipped" else event.record

    def delivery(self, hook: HookRun) -> dict[str, Any]:
        """A delivery, which has come without what its own definition hides."""
        told = evolve(hook, record=shown_record(hook.record)) if self._handed else hook
        tried = [*told.record.get("tries", ())]
        return {**hook_document(told), "due_at": told.record.get("due_at"), "tried": tried}

    def outputs(self, event: RunEnding) -> Mapping[str, Any]:
        """What the run gave."""
        return shown_outputs(self._spec, event.outputs)


HIDING: Final[Mapping[type[Event], Mapping[str, Callable[[Shown, Any], Any]]]] = {
    RunStarted: {"inputs": lambda shown, _: shown.inputs},
    AttemptSucceeded: {"output": Shown.output, "record": Shown.attempt_record},
    FallbackValueUsed: {"output": Shown.output},
    DeadLettered: {"input": Shown.letter_input, "failure": Shown.failure},
    **{kind: {"failure": Shown.failure} for kind in (AttemptFailed, AttemptTimedOut, TaskFailed)},
    HookFinished: {"record": Shown.hook_record},
    RunEnding: {"outputs": Shown.outputs, "failure": Shown.failure},
}
"""The fields in which something sensitive may be, with how they are shown; all others are facts of ours, or meant to be read."""

_NAMES: Final[Mapping[type[Event], str]] = {kind: name for name, _, kind in REGISTRY}


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, Failure) else value


def _write(path: str, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all; what is no plain file is written into."""
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="ascii")
            return
        handle, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with open(handle, "w", encoding="ascii") as file:  # noqa: PTH123 - it is open already
                file.write(text)
            os.replace(draft, target)  # noqa: PTH105 - beside mkstemp, which gives text
        except BaseException:
            with suppress(OSError):
                os.unlink(draft)  # noqa: PTH108
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
