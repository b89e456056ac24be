"""The names of runs."""

from __future__ import annotations

import re
import secrets
import string
import time
from functools import lru_cache
from itertools import product

from actorflow.errors import BadInputError

_ALPHABET = string.ascii_lowercase + string.digits
_PAIRS = tuple(map("".join, product(_ALPHABET, repeat=2)))
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def new_run_id(workflow: str) -> str:
    """`<slug>-<yymmdd-hhmmss, UTC>-<8 of a-z0-9>`: readable, sortable, and unique enough for a store."""
    stamp = time.strftime("%y%m%d-%H%M%S", time.gmtime())
    number = int.from_bytes(secrets.token_bytes(8))  # so many that all ids are as likely
    letters = ""
    for _ in range(4):
        number, pair = divmod(number, len(_PAIRS))
        letters += _PAIRS[pair]
    return f"{_slug(workflow)}-{stamp}-{letters}"


@lru_cache
def _slug(workflow: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", workflow.lower())[:40].strip("-") or "run"


def checked_run_id(run_id: str) -> str:
    """The id itself, if it may be one.

    Raises:
        BadInputError: it is `last`, which the command line uses, or has other characters than it may.
    """
    if run_id == "last" or not _VALID.fullmatch(run_id):
        possible = "up to 128 letters, digits, dots, underscores and hyphens, the first a letter or digit"
        raise BadInputError((f"run id {run_id!r} is not possible; use {possible}, and not the word 'last'",))
    return run_id
