"""The names of runs."""

from __future__ import annotations

import re
import secrets
import string
import time

from actorflow.errors import BadInputError

_ALPHABET = string.ascii_lowercase + string.digits
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def new_run_id(workflow: str) -> str:
    """`<slug>-<yymmdd-hhmmss, UTC>-<8 of a-z0-9>`: readable, sortable, and unique enough for a store."""
    slug = re.sub(r"[^a-z0-9]+", "-", workflow.lower())[:40].strip("-") or "run"
    stamp = time.strftime("%y%m%d-%H%M%S", time.gmtime())
    number = secrets.randbelow(len(_ALPHABET) ** 8)
    letters = ""
    for _ in range(8):
        number, letter = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[letter]
    return f"{slug}-{stamp}-{letters}"


def checked_run_id(run_id: str) -> str:
    """The id itself, if it may be one.

    Raises:
        BadInputError: it is `last`, which the command line uses, or has other characters than it may.
    """
    if run_id == "last" or not _VALID.fullmatch(run_id):
        possible = "up to 128 letters, digits, dots, underscores and hyphens, the first a letter or digit"
        raise BadInputError((f"run id {run_id!r} is not possible; use {possible}, and not the word 'last'",))
    return run_id
