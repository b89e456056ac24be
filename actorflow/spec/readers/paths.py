"""Paths that a definition names: relative to the workflow's folder, and inside it."""

from __future__ import annotations

import os.path
from typing import Final

from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft

__all__ = ["how_allowed", "how_listed", "read_path", "refuse_unlisted", "refuse_untrusted"]

_TEMPLATES: Final = ("{{", "${")
_RUNS_CODE: Final = frozenset({"E201", "E202", "E203"})


def read_path(block: Block, key: str, *, may_be_absolute: bool = False) -> str | None:
    """The path of a file or folder; reports what is empty, holds NUL or a template, or leads out of the folder.

    Links are not looked at: this judges the text alone, and whether anything is there shows when it is used. Secrets
    and data lie where others put them, such as in /run/secrets: their paths may be absolute.
    """
    path = block.text(key)
    if path is None:
        return None
    problem, hint = _problem_of(path, may_be_absolute=may_be_absolute)
    if problem:
        block.fault("E127", key, problem, hint)
        return None
    return path


def _problem_of(path: str, *, may_be_absolute: bool) -> tuple[str, str]:
    if not path.strip() or "\0" in path:
        return ("must not hold NUL" if "\0" in path else "the path is empty"), ""
    if any(opening in path for opening in _TEMPLATES):
        return "a path is never a template", "write it out"
    if os.path.isabs(path) and not may_be_absolute:  # noqa: PTH117 - the text is judged, not the file system
        return f"{path!r} leads out of the workflow's folder", "write it relative to the workflow's folder"
    if os.path.normpath(path).split(os.sep, 1)[0] == os.pardir:
        return f"{path!r} climbs out of the workflow's folder", "put what it names inside of that folder"
    return "", ""


def refuse_untrusted(draft: Draft, block: Block, key: str, code: str, what: str) -> bool:
    """Whether the definition may not name such a thing, being data or one that is to run no code; reports it then."""
    if draft.trust == "own":
        if not draft.no_commands or code not in _RUNS_CODE:
            return False
        message = f"{what} are refused by --no-commands, or no_commands=True"
        block.key_fault(code, key, message, "without it, a file of your own may name them")
        return True
    if code == "E206" and draft.may_reach:
        return False
    message = f"{what} are refused in a definition that is data: only a file of your own may name them"
    block.key_fault(code, key, message, how_allowed(code))
    return True


def refuse_unlisted(draft: Draft, block: Block, key: str, name: str, *, index: int | None = None) -> bool:
    """Whether a list of variables holds for a file of one's own and lacks this one; reports it then."""
    if draft.trust == "data" or draft.may_name(name):
        return False
    block.fault("E204", key, *how_listed(name), index=index)
    return True


def how_listed(name: str) -> tuple[str, str]:
    """That a variable is on no list of what a file of one's own may name, and what puts it there."""
    message = f"{name} is not on the list of variables that may be named"
    return message, f"--allow-env {name}, or {name!r} in allow_env, puts it there"


def how_allowed(code: str, name: str = "NAME") -> str:
    """What allows a definition that is data what it was refused; `name` is that of a variable."""
    match code:
        case "E204":
            return f"--allow-env {name}, or loads(..., allow_env=[{name!r}]), allows it as ${{{name}}}"
        case "E206":
            return "--allow-host URL, or loads(..., may_reach=True), leaves them to the list of hosts"
        case _:
            return 'loads(..., trust="own") and load_dict(..., trust="own") allow them'
