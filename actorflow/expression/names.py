"""The names that expressions may begin with, and how the founding documents' spellings of them are read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice
from typing import TypeAlias

Path: TypeAlias = tuple[str, ...]

ROOTS = frozenset(
    {
        "env",
        "error",
        "index",
        "input",
        "item",
        "output",
        "secrets",
        "signal",
        "task",
        "tasks",
        "workflow",
    }
)
SECRETS_PLACE = "the params of agents and hooks"  #: as messages say it: nowhere else may a secret be named
WORKFLOW_FIELDS = frozenset({"name", "version", "run_id", "status", "error", "stage"})
TASK_FIELDS = frozenset({"id", "type", "status", "attempt", "error", "duration_ms", "input"})

_SHOWN = 10  # names in one message
_SHOWN_LENGTH = 40  # code points of a name in a message
_SCANNED = 2_000  # names looked at for a suggestion
_COMPARED = 100  # names given to difflib, which takes 16 µs for each
_COMPARABLE_LENGTH = 64  # difflib is quadratic in this


def canonical(path: Path, *, is_dollar: bool) -> Path:
    """Read a path of the founding documents as ours: `task.x.output` of a task, `${workflow.x}` of an input."""
    if len(path) < 2:
        return path
    root, field = path[:2]
    if root == "task" and field not in TASK_FIELDS:
        return ("tasks", *path[1:])
    if is_dollar and root == "workflow" and field not in WORKFLOW_FIELDS:
        return ("input", *path[1:])
    return path


def shown(name: str) -> str:
    """A name as messages show it: quoted, and cut if it is long."""
    return repr(name if len(name) <= _SHOWN_LENGTH else f"{name[:_SHOWN_LENGTH]}…")


def listed(names: Iterable[object]) -> str:
    """The first few names, and a sign if there are more; `nothing` if there are none."""
    first = list(islice(names, _SHOWN + 1))
    texts = [_plain(name) if isinstance(name, str) else type(name).__name__ for name in first[:_SHOWN]]
    return ", ".join([*texts, "…"] if len(first) > _SHOWN else texts) or "nothing"


def _plain(name: str) -> str:
    """A name without quotes where it can be read without; what a terminal would act on is escaped."""
    return shown(name)[1:-1] if name.isprintable() and name else shown(name)


def did_you_mean(name: str, known: Iterable[object]) -> str:
    """A clause that names the known name which is most like this one; empty if none is, or to find it costs too much."""
    if not 0 < len(name) <= _COMPARABLE_LENGTH:
        return ""
    alike = (
        each
        for each in islice(known, _SCANNED)
        if isinstance(each, str)
        and 0 < len(each) <= _COMPARABLE_LENGTH
        and abs(len(each) - len(name)) <= 3
        and (each[0] == name[0] or each[-1] == name[-1])
    )
    nearest = difflib.get_close_matches(name, list(islice(alike, _COMPARED)), 1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
