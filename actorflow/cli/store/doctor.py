"""`actorflow doctor`: whether a store is healthy, and what to do where it is not."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import asdict, define, evolve, field

from actorflow import __version__
from actorflow.cli.layout import columns, counted
from actorflow.cli.screen import as_line
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.cli.store.doctor_runs import RunsExamined, examine_runs
from actorflow.cli.store.opening import store_url
from actorflow.cli.store.urls import MEMORY, SQLITE, is_there
from actorflow.cli.terminal import terminal_of
from actorflow.core.state import CORE_VERSION
from actorflow.errors import ActorflowError, StoreDamagedError, StoreUnusableError
from actorflow.journal import open_journal
from actorflow.journal.care.examination import examine_file
from actorflow.journal.care.findings import Finding
from actorflow.journal.care.repair import Rebuilt
from actorflow.journal.care.salvage import salvage
from actorflow.journal.driver import sqlite_version
from actorflow.journal.mark import read_mark
from actorflow.journal.remedy import DAMAGE_REMEDY
from actorflow.journal.sqlite import SqliteJournal

__all__ = ["doctor"]

_MARKS: Final = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@define
class _Visit:
    """What was found, and done about it."""

    store: str
    findings: list[Finding] = field(factory=list[Finding])
    runs: RunsExamined = field(factory=RunsExamined)
    done: list[str] = field(factory=list[str])
    lost: list[str] = field(factory=list[str])

    @property
    def is_damaged(self) -> bool:
        """Whether something that was written is not there any more."""
        return any(each.is_damage for each in self.findings)

    @property
    def is_unmended(self) -> bool:
        """Whether something is wrong that no repair can do anything about."""
        return any(
            each.level == "problem" and not (each.is_damage or each.is_mendable) for each in self.findings
        )

    @property
    def problem_count(self) -> int:
        """How much is wrong."""
        return sum(1 for each in self.findings if each.level == "problem")

    def document(self) -> Mapping[str, Any]:
        """The same for programs."""
        return {
            "store": self.store,
            "is_healthy": not self.problem_count,
            "findings": [asdict(each) for each in self.findings],
            "done": self.done,
            "lost": self.lost,
        }


def doctor(settings: Settings, *, repair: bool, into: str | None) -> int:
    """Examine the store; with `repair`, mend what is derived, or save what can be read into a new file.

    Raises:
        StoreUnusableError: there is no store, or it cannot be repaired as it is.
    """
    url = store_url(settings)
    if url == MEMORY or not is_there(url):
        told = (
            "a store in memory is gone with its process" if url == MEMORY else f"there is no store at {url}"
        )
        raise Elsewhere(StoreUnusableError(f"{told}: there is nothing to examine"), Exit.NOT_FOUND)
    visit = _Visit(url)
    for found in _examined(visit):
        finding = (
            found if url.startswith(SQLITE) else evolve(found, remedy="")
        )  # there is none for other stores
        visit.findings.append(finding)
        if not settings.screen.is_json:
            _tell(settings, finding)
    if repair:
        settings.early.note_only()  # what has begun is not cut off
        _repair(visit, into)
    return _concluded(settings, visit, is_repaired=repair)


def _examined(visit: _Visit) -> Iterator[Finding]:
    yield _versions()
    path = visit.store.removeprefix(SQLITE) if visit.store.startswith(SQLITE) else ""
    if path and os.path.exists(path):  # noqa: PTH110
        yield from examine_file(path)
        if _is_unused(path):
            yield Finding("store", "ok", "its file is empty: nothing was kept in it yet")
            return
    try:
        journal = open_journal(visit.store)
    except ActorflowError as error:
        is_damage = isinstance(error, StoreDamagedError)
        yield Finding("store", "problem", str(error), DAMAGE_REMEDY if is_damage else "", is_damage=is_damage)
        return
    try:
        if isinstance(journal, SqliteJournal):
            yield from _sqlite(journal)
        yield from examine_runs(journal, visit.runs)
    finally:
        journal.close()


def _is_unused(path: str) -> bool:
    """Whether nothing was ever kept in a file; to open it would make a store of it."""
    return not os.stat(path).st_size and not read_mark(f"{os.path.realpath(path)}.mark")  # noqa: PTH116


def _sqlite(journal: SqliteJournal) -> Iterator[Finding]:
    try:
        yield from journal.examine()
    except Exception as error:  # noqa: BLE001 - a damaged database may make anything of a query
        yield Finding("SQLite", "problem", str(error), DAMAGE_REMEDY, is_damage=True)


def _versions() -> Finding:
    parts = {
        "actorflow": __version__,
        "Python": platform.python_version(),
        "SQLite": sqlite_version(),
        "core": str(CORE_VERSION),
    }
    return Finding("versions", "ok", ", ".join(f"{name} {version}" for name, version in parts.items()))


def _repair(visit: _Visit, into: str | None) -> None:
    if not visit.store.startswith(SQLITE):
        if visit.problem_count:
            raise StoreUnusableError(
                f"{visit.store} is no SQLite store: what is damaged in it cannot be repaired"
            )
        return
    path = visit.store.removeprefix(SQLITE)
    if visit.is_damaged or into is not None:
        _salvage(visit, path, into or _new_name(path))
    elif any(each.is_mendable for each in visit.findings):
        journal = SqliteJournal(path)
        try:
            wanted = Rebuilt(summaries=visit.runs.summaries, checkpoints=visit.runs.checkpoints)
            visit.done += journal.repair(wanted)
        finally:
            journal.close()


def _salvage(visit: _Visit, path: str, into: str) -> None:
    saved = salvage(path, into, time.time())
    whole = sum(1 for run in saved.runs if run.lost_after is None)
    visit.done.append(f"{counted(whole, 'run')} saved whole into {into}; {path} is as it was")
    for run in saved.runs:
        if run.lost_after == 0:
            visit.lost.append(f"run {run.run_id}: {run.reason}")
        elif run.lost_after is not None:
            visit.lost.append(f"run {run.run_id} behind event {run.lost_after}: {run.reason}")
    visit.lost += saved.losses
    visit.done.append(f"to use it: move {path} and the files beside it away, and {into} in its place")


def _new_name(path: str) -> str:
    return f"{path}.salvaged-{time.strftime('%y%m%d-%H%M%S')}"


def _concluded(settings: Settings, visit: _Visit, *, is_repaired: bool) -> int:
    screen = settings.screen
    if screen.is_json:
        screen.document(visit.document())
    else:
        for heading, lines in (("done", visit.done), ("lost", visit.lost)):
            if lines:
                screen.result("\n".join([f"{heading}:", *(f"  {as_line(line)}" for line in lines)]))
        screen.note(_verdict(visit, is_repaired=is_repaired))
    if is_repaired:
        return Exit.FAILED if visit.lost or visit.is_unmended else Exit.SUCCESS
    return Exit.FAILED if visit.problem_count else Exit.SUCCESS


def _verdict(visit: _Visit, *, is_repaired: bool) -> str:
    if not visit.problem_count:
        warnings = sum(1 for each in visit.findings if each.level == "warning")
        sound = f"no problems, {counted(warnings, 'warning')}" if warnings else "nothing is wrong"
        return "mended" if visit.done else sound
    if not is_repaired:
        return counted(visit.problem_count, "problem")
    if visit.is_damaged:
        return "what could be read is saved"
    return "this cannot be repaired" if visit.is_unmended else "mended"


def _tell(settings: Settings, finding: Finding) -> None:
    row = (_MARKS[finding.level].ljust(7), finding.check.ljust(11), _text(finding))
    settings.screen.result("\n".join(columns([row], width=terminal_of(settings.screen.out).width)))


def _text(finding: Finding) -> str:
    about = f"run {finding.run_id}: " if finding.run_id and finding.run_id not in finding.text else ""
    remedy = (
        f"; {finding.remedy}"
        if finding.remedy and finding.level != "ok" and finding.remedy not in finding.text
        else ""
    )
    return as_line(f"{about}{finding.text}{remedy}")
