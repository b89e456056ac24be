"""Secrets that are too short to be hidden where they come up: a look at the environment, apart from loading."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from actorflow.errors import Problem
from actorflow.spec.model import SecretSpec, WorkflowSpec

__all__ = ["SHORTEST_HIDDEN", "short_secrets"]

SHORTEST_HIDDEN: Final = 6
"""Characters: anything shorter comes up by chance, and to hide it would spoil what has nothing to do with it."""

_LONGEST_LOOK: Final = 64
"""Bytes of a file that are read: no more than it takes to tell that six characters are there."""


def short_secrets(spec: WorkflowSpec, file: str, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """A warning, W107, for each declared secret whose value is there now and too short to be hidden.

    Args:
        spec: a definition; the files of its secrets are found from its folder.
        file: what the definition's file is called.
        environ: the environment of the process.
    """
    short = (name for name, secret in spec.secrets.items() if _is_short(_value(spec, secret, environ)))
    why = f"it has fewer than {SHORTEST_HIDDEN} characters, too few to be hidden in outputs, errors and logs"
    return tuple(Problem("W107", f"secrets.{name}: {why}", file, hint="use a longer one") for name in short)


def _is_short(value: str | None) -> bool:
    return value is not None and 0 < len(value) < SHORTEST_HIDDEN


def _value(spec: WorkflowSpec, secret: SecretSpec, environ: Mapping[str, str]) -> str | None:
    """The secret, or so much of it that it is not short; None where it cannot be read, which is told when it is used."""
    if secret.env is not None:
        return environ.get(secret.env)
    try:
        beginning = _beginning(Path(spec.folder, secret.file or ""))
    except (OSError, ValueError):
        return None
    return beginning.decode(errors="replace").removesuffix("\n").removesuffix("\r")


def _beginning(path: Path) -> bytes:
    """The first bytes of a plain file; anything else is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_LONGEST_LOOK) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
