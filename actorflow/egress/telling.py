"""Refusals in words, where secrets may have a part in the URL: a hint that is masked is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from actorflow.egress.refusals import EgressRefused

__all__ = ["named_entry", "refusal_text"]

_VARIABLE: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_ORIGIN: Final = re.compile(
    rf"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:{_VARIABLE}|[^/?#{{}}$\s\"'`\\])+(?=[/?#]|$)"
)
_ALONE: Final = re.compile(r"\$\{(\w+)\}(?!\w)")
"""A variable that a shell reads without braces as well."""


def refusal_text(refused: EgressRefused, written: str, hide: Callable[[str], str]) -> str:
    """What is told of a refusal, without secrets.

    A host that is a secret, as it is where a URL begins with `${BASE}`, goes by the name of its variable: whoever reads it
    is to know what would allow it, and a shell knows the variable too. Of an address that happens to read like a secret,
    the flag is that of the address alone.

    Args:
        refused: what the guard has said.
        written: the URL as it stands in the definition, templates and all.
        hide: takes the secrets of the run out of a text.
    """
    told = str(refused)
    hidden = hide(told)
    if hidden == told or not refused.hint:
        return hidden
    problem = hide(refused.problem)
    if refused.address:
        return f"{refused.code} {problem}; {hide(f'--allow-host {refused.address} would allow it')}"
    entry = None if refused.is_of_redirect else named_entry(written)
    if entry is None:
        return f"{refused.code} {problem}"
    if refused.code == "E444":
        problem = f"{_origin(written)} is not allowed"
    return f'{refused.code} {problem}; --allow-host "{entry}" would allow it'


def named_entry(written: str) -> str | None:
    """What a shell would put in for the origin of a URL, such as `$BASE` or `http://$HOST:8080`; to stand in double quotes.

    None where it has no variable, or is made by a template of another kind.
    """
    found = _ORIGIN.match(written)
    return _ALONE.sub(r"$\1", found[0]) if found is not None and "${" in found[0] else None


def _origin(written: str) -> str:
    """The origin in a sentence."""
    found = _ORIGIN.match(written)
    assert found is not None, "asked for an entry only"
    return f"what {found[0]} holds" if re.fullmatch(_VARIABLE, found[0]) else found[0]
