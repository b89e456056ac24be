"""Deliveries that are held by a list, and the words that would let them go."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from actorflow.cli.hooks.runs import HookRun
from actorflow.cli.pending import pending_runs
from actorflow.cli.settings import Settings
from actorflow.cli.store.opening import reading
from actorflow.errors import ActorflowError
from actorflow.runtime.runtime import read_state

__all__ = ["owed_still", "with_flags"]

_FLAG: Final = re.compile(r'--allow-host (?:"([\w:/.${}-]+)"|([\w:/.\[\]-]+))')
"""As refusals name it: a text for a shell where it has a variable; nothing in either could do anything else there."""


def owed_still(settings: Settings, run_id: str) -> tuple[HookRun, ...]:
    """The deliveries of a run that are not settled, read once nobody is at it; none where the store cannot be read."""
    with suppress(ActorflowError), reading(settings) as journal:
        row = journal.find(run_id)
        return pending_runs(journal, row, read_state(journal, row)[0])
    return ()


def with_flags(words: str, pending: Iterable[HookRun]) -> str:
    """The words of a command, with the flags that would allow what is held."""
    return " ".join([words, *dict.fromkeys(_flag(each) for each in pending if _flag(each))])


def _flag(hook: HookRun) -> str:
    found = _FLAG.search(str(hook.record.get("reason", "")))
    if found is None:
        return ""
    word = shlex.quote(found[2]) if found[1] is None else f'"{found[1]}"'
    return f"--allow-host {word}"
