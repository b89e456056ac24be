"""What passes between the client and who asks it: a request, and its answer or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from actorflow.egress.guard import Guard, Permit

__all__ = [
    "AGENT_BODY_MAX",
    "HOOK_BODY_MAX",
    "FailureKind",
    "HttpAnswer",
    "HttpFailed",
    "HttpRequest",
    "status_named",
]

HOOK_BODY_MAX: Final = 65_536
"""Bytes that are read of an answer to a hook, after decompression."""

AGENT_BODY_MAX: Final = 16 * 1024 * 1024
"""Bytes that an answer to an agent may have, after decompression."""

FailureKind: TypeAlias = Literal["queue", "connect", "tls", "timeout", "protocol", "too_large"]
"""What went wrong.

- `queue`: no connection was free in time, since other requests to this origin have all that there may be.
- `connect`: the name could not be looked up, or nobody took the connection.
- `tls`: the other side could not show who it is, or speaks no TLS.
- `timeout`: there was no connection in time, or no whole answer.
- `protocol`: the connection ended or was reset before the answer was whole, or what came is no answer.
- `too_large`: the body is longer than is read, and not to be cut.
"""


@frozen(kw_only=True)
class HttpRequest:
    """One request."""

    method: str
    url: str = field(repr=False)  #: as rendered, secrets put in; judged before anything is sent
    guard: Guard = field(repr=False)  #: judges the URL, each redirect, and each address that is dialled
    permit: Permit | None = field(default=None, repr=False)  #: of a URL without `query` that has been judged
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)  #: values without CR, LF and NUL
    query: Sequence[tuple[str, str]] = field(default=(), repr=False)  #: behind what the URL has
    body: bytes | None = field(default=None, repr=False)
    body_max: int = HOOK_BODY_MAX  #: bytes of the answer's body that are read, after decompression
    is_cut: bool = True  #: whether a longer body is cut there, instead of being a failure
    redirects_max: int = 0  #: that are followed; 0: a 3xx is an answer like any other
    secret_headers: frozenset[str] = frozenset()  #: in lower case; not sent on to another origin
    connect_timeout_s: float = 10.0  #: for name look-up, connection and TLS together
    timeout_s: float | None = (
        None  #: for all of it, from the moment that a connection is free or may be opened
    )
    queue_timeout_s: float | None = None  #: for the wait until then


@frozen(kw_only=True)
class HttpAnswer:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  #: names in lower case; the first value of each
    body: bytes = field(repr=False)  #: decompressed
    is_cut: bool = False  #: the body was longer than what is here
    redirects: Sequence[str] = ()  #: the URLs that led on, without query
    retry_after_s: float | None = (
        None  #: what the target asks for, from seconds or a date; never negative or endless
    )

    @property
    def facts(self) -> dict[str, Any]:
        """For a record: the status."""
        return {"http_status": self.status}


def status_named(status: int) -> str:
    """A status with what it is called, if it is one that has a name: `503 Service Unavailable`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


class HttpFailed(Exception):  # noqa: N818 - a fact about a request
    """Raised where no whole answer came.

    Args:
        kind: of the failure; all may be tried again.
        message: one sentence.
        was_sent: whether the request may have reached the target, or who redirected it.
    """

    def __init__(self, kind: FailureKind, message: str, *, was_sent: bool) -> None:
        super().__init__(kind, message)
        self.kind: FailureKind = kind
        self.message = message
        self.was_sent = was_sent

    def __str__(self) -> str:
        return self.message
