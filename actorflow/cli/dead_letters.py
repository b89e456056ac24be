"""`actorflow dead-letters`: failures that wait for somebody, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
from attrs import evolve, field, frozen

from actorflow.cli.bindings import for_runs
from actorflow.cli.dead_deliveries import (
    ShownLetters,
    letter_document,
    parcel_of,
    retry_deliveries,
    show_delivery,
)
from actorflow.cli.found import Means, found_run, place_for
from actorflow.cli.handed_on import handed_on
from actorflow.cli.history import Row, attempt_lines, attempt_rows
from actorflow.cli.layout import as_json, columns, counted, local_time, show_table
from actorflow.cli.progress import failure_text
from actorflow.cli.report import command_line
from actorflow.cli.resume import take_up
from actorflow.cli.screen import as_line, as_text
from actorflow.cli.sensitive import sensitive_tasks, shown_failure, shown_task_input
from actorflow.cli.settings import Settings
from actorflow.cli.start import check_agent_words
from actorflow.cli.statuses import Exit
from actorflow.cli.store.opening import named_run, reading, store_option
from actorflow.core.events import DeadLettered, Event, Failure
from actorflow.errors import StoreDamagedError
from actorflow.journal import Journal
from actorflow.journal.protocol import DeadLetter
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.letters import chosen_letter
from actorflow.runtime.runtime import Runtime
from actorflow.spec.definition import from_json

_HEAD: Final = ("DEAD LETTER", "KIND", "SINCE", "WHY")
_SPARE: Final = tuple(map(_HEAD.index, ("KIND", "SINCE")))


def list_letters(settings: Settings) -> int:
    """List all dead letters of the store, oldest first."""
    with reading(settings) as journal:
        letters = _shown(journal, journal.dead_letters())
    screen = settings.screen
    if screen.is_json:
        screen.document({"dead_letters": [letter_document(letter) for letter in letters]})
    elif letters:
        cells = [(letter.id, letter.kind, local_time(letter.at), letter.reason) for letter in letters]
        show_table(screen, [_HEAD, *cells], spare=_SPARE)
    else:
        screen.note("there are no dead letters in this store")
    return Exit.SUCCESS


def show_letter(settings: Settings, word: str) -> int:
    """Show a dead letter with what its task or hook was given, its error, and all that was tried."""
    with reading(settings) as journal:
        letter = chosen_letter(journal.dead_letters(), word)
        if letter.kind == "delivery":
            return show_delivery(settings, parcel_of(journal, letter))
        story = _story(journal, letter)
    screen = settings.screen
    if screen.is_json:
        error = {
            "type": story.failure.type,
            "message": story.failure.message,
            "detail": dict(story.failure.detail),
        }
        more = {"input": story.input, "error": error, "attempts": story.attempts}
        screen.document({**letter_document(story.letter), **more})
        return Exit.SUCCESS
    letter = story.letter
    facts = {
        "dead letter": letter.id,
        "run": letter.run_id,
        "task": letter.task,
        "since": local_time(letter.at),
        "attempts": str(story.attempts),
    }
    screen.result("\n".join([*columns(facts.items()), as_line(f"why: {failure_text(story.failure)}")]))
    screen.result(f"input: {as_text(as_json(story.input, indent=2))}")
    screen.result("\n".join(["", *attempt_lines(story.rows)]))
    again = command_line("dead-letters retry", letter.id, store_option(settings))
    screen.note(f"to run {letter.task} again, and what is below it: {again}")
    return Exit.SUCCESS


def retry_letters(settings: Settings, words: Sequence[str], run: str | None, means: Means) -> int:
    """Try what dead letters tell of again; the exit status says how the run ended, or the deliveries.

    Args:
        settings: of the command.
        words: ids, or how they begin: of deliveries, or of one task.
        run: instead of ids: all deliveries of this run that were given up.
        means: how the run goes on.

    Raises:
        click.UsageError: neither ids nor a run are given, or both; or several, one of them a task's.
        DeadLetterNotFoundError: one of them is not there; none is tried then.
    """
    if (run is not None) == bool(words):
        raise click.UsageError("name dead letters, or give --run", click.get_current_context())
    check_agent_words(means.agents)
    with reading(settings) as journal:
        letters = _chosen(journal, words, run)
        if not letters:
            settings.screen.note(f"no delivery of run {run} was given up")
            return Exit.SUCCESS
        runs = [
            found_run(journal, journal.find(run_id)) for run_id in dict.fromkeys(x.run_id for x in letters)
        ]
        found, letter = runs[0], letters[0]
        if letter.kind == "delivery":
            agents = for_runs(settings, means.agents, ((each.spec, each.started) for each in runs))
            place = evolve(place_for(settings, found, means), agents=agents)
            return retry_deliveries(settings, journal, letters, place)

    async def begin(runtime: Runtime) -> RunHandle:
        return await runtime.start_retried(letter.id)

    return take_up(settings, found, means, begin)


def _chosen(journal: Journal, words: Sequence[str], run: str | None) -> list[DeadLetter]:
    letters = journal.dead_letters()
    if run is not None:
        run_id = named_run(journal, run).run_id
        return [each for each in letters if each.run_id == run_id and each.kind == "delivery"]
    chosen = [*{each.id: each for each in (chosen_letter(letters, word) for word in words)}.values()]
    task = next((each for each in chosen if each.kind == "task"), None)
    if task is not None and len(chosen) > 1:
        message = f"{task.id} is a task's: its run goes on for it alone, so it is tried by itself"
        raise click.UsageError(message, click.get_current_context())
    return chosen


def purge_letters(settings: Settings, words: Sequence[str], *, is_all: bool) -> int:
    """Forget dead letters; their runs stay as they are, and can be resumed.

    Raises:
        click.UsageError: neither ids nor `--all` are given, or both.
        DeadLetterNotFoundError: one of them is not there; none is purged then.
    """
    if is_all == bool(words):
        raise click.UsageError("name dead letters, or give --all", click.get_current_context())
    with reading(settings) as journal:
        letters = journal.dead_letters()
        chosen = letters if is_all else [chosen_letter(letters, word) for word in words]
        ids = [*dict.fromkeys(letter.id for letter in chosen)]
        count = journal.purge_dead_letters(ids) if ids else 0
    if settings.screen.is_json:
        settings.screen.document({"purged": count})
    else:
        settings.screen.result(f"purged {counted(count, 'dead letter')}")
    return Exit.SUCCESS


@frozen
class _Story:
    """A dead letter with what its run's journal has about it, as it is shown."""

    letter: DeadLetter
    input: Any
    failure: Failure
    attempts: int
    rows: list[Row] = field(factory=list[Row])


def _story(journal: Journal, letter: DeadLetter) -> _Story:
    found = found_run(journal, journal.find(letter.run_id))
    events = [each for each in journal.events(letter.run_id) if each[0] <= letter.seq]
    told = _last(events)
    if told is None or told.task != letter.task:
        raise StoreDamagedError(f"run {letter.run_id!r} has no dead letter at its event {letter.seq}")
    is_sensitive = letter.task in sensitive_tasks(found.spec)
    failure = shown_failure(told.failure) if is_sensitive else told.failure
    rows = attempt_rows(letter.task, events, is_sensitive=is_sensitive)
    handed = handed_on(journal, found.started)
    given = shown_task_input(found.spec, letter.task, told.input, handed=handed)
    shown = _hidden(letter) if is_sensitive else letter
    return _Story(shown, given, failure, told.attempts, rows)


def _last(events: Sequence[tuple[int, Event]]) -> DeadLettered | None:
    event = events[-1][1] if events else None
    return event if isinstance(event, DeadLettered) else None


def _shown(journal: Journal, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """The letters without what is sensitive; each definition is read once."""
    sensitive: dict[str, frozenset[str]] = {}
    deliveries = ShownLetters(journal)
    shown: list[DeadLetter] = []
    for letter in letters:
        if letter.kind == "delivery":
            shown.append(deliveries.shown(letter))
            continue
        digest = journal.find(letter.run_id).definition
        if digest not in sensitive:
            sensitive[digest] = sensitive_tasks(from_json(journal.definition(digest)))
        shown.append(_hidden(letter) if letter.task in sensitive[digest] else letter)
    return shown


def _hidden(letter: DeadLetter) -> DeadLetter:
    kind = letter.reason.partition(": ")[0]
    return evolve(letter, reason=failure_text(shown_failure(Failure(kind, ""))))
