"""What a target asks for by Retry-After (RFC 9110, section 10.2.3)."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["RETRY_AFTER_MAX_S", "retry_after_s"]

RETRY_AFTER_MAX_S: Final = 86_400.0
"""Nobody is waited for longer: a day, which is also how old a delivery may become."""

_DIGITS_MAX: Final = 20


def retry_after_s(value: str | None, now: float) -> float | None:
    """Read a Retry-After: seconds from `now`, from 0 to `RETRY_AFTER_MAX_S`; None where it says nothing that can be read.

    A number is of whole seconds, as the RFC has it; a date that is over means at once.

    Args:
        value: of the header; None if there is none.
        now: epoch seconds.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:_DIGITS_MAX]), RETRY_AFTER_MAX_S)
    # what is no date raises whatever its reader stumbles over
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return min(max(at.timestamp() - now, 0.0), RETRY_AFTER_MAX_S)
    return None
