"""What the answer to a request of a hook means for its delivery."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from actorflow.core.delivery import TryResult
from actorflow.http.exchange import HttpAnswer, status_named

__all__ = ["judged", "status_line"]

_TRIED_AGAIN: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})  # and all of 5xx
_REASON_SHOWN: Final = 200  #: characters


def judged(answer: HttpAnswer, said: str, expected: Collection[int], who: str) -> TryResult:
    """Say what a try has come to.

    | status | |
    |---|---|
    | one that is expected; any 2xx where none is named | ok |
    | 408, 425, 5xx | failed, and tried again; 503 not before its Retry-After |
    | 429 | rate limited, and tried again, not before its Retry-After |
    | any other | failed, a dead letter at once: another try would see the same |

    Args:
        answer: of the target.
        said: its body, without secrets: what is cut first cannot be known again.
        expected: statuses; empty: any 2xx.
        who: the target, as it is called in the error.
    """
    status = answer.status
    if status in expected if expected else 200 <= status < 300:
        return TryResult()
    error = f"{who} answered {status_line(answer.status, said)}"
    match status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            return TryResult(status="rate_limited", error=error, retry_after_s=answer.retry_after_s)
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return TryResult(status="failed", error=error, retry_after_s=answer.retry_after_s)
        case _ if status in _TRIED_AGAIN or status >= 500:
            return TryResult(status="failed", error=error)
        case _ if 300 <= status < 400:
            error = f"{error}; what a hook sends does not follow redirects: name the URL itself"
            return TryResult(status="failed", error=error, final="dead_letter")
        case _:
            return TryResult(status="failed", error=error, final="dead_letter")


def status_line(status: int, said: str) -> str:
    """The status, what it is called, and the first line of what the target says about it."""
    called = status_named(status)
    first = next((line.strip() for line in said.split("\n") if line.strip()), "")[:_REASON_SHOWN]
    return f"{called}: {first}" if first else called
