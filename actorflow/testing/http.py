"""The other side of all requests: targets that answer, or don't, as a script says, and no network.

```python
sinks = FakeHttp()
sinks.on("https://hooks.example.com/", TimesOut(is_received=True), Replies(429, headers={"retry-after": "7"}), Replies())
...
assert [received.header("webhook-id") for received in sinks.received] == ["d1", "d1", "d1"]
```

What is refused before anything is sent is refused here as well, by the same code: headers that cannot be sent, URLs that
are none or not allowed, redirects to such. Nobody looks up names, so that each name is a public address; there is no TLS,
and no connection to wait for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias

import anyio
from anyio.lowlevel import checkpoint
from attrs import field, frozen

from actorflow.egress.guard import Permit
from actorflow.egress.urls import parse_url
from actorflow.http.exchange import FailureKind, HttpAnswer, HttpFailed, HttpRequest
from actorflow.http.following import follow, permitted
from actorflow.http.redirects import Step, is_redirect
from actorflow.http.retry_after import retry_after_s
from actorflow.testing.turns import Turns

__all__ = [
    "AnswerOf",
    "FakeAnswer",
    "FakeHttp",
    "Garbage",
    "Received",
    "Refuses",
    "Replies",
    "Resets",
    "TimesOut",
    "delivery_key",
]


@frozen
class Replies:
    """An answer, so many seconds after the request was received; too late if the request does not wait that long."""

    status: int = 200
    body: bytes = b""  #: decompressed, whatever its headers say
    headers: Mapping[str, str] = field(factory=dict[str, str])
    after_s: float = 0.0


@frozen
class TimesOut:
    """No answer within the request's own timeout; without one, none until the request is canceled."""

    #: after the effect. False: before it, since the target was not even connected, for which a request has a timeout always
    is_received: bool


@frozen
class Resets:
    """The connection is reset before an answer. The sender cannot know whether the request was received."""

    is_received: bool
    after_s: float = 0.0


@frozen
class Refuses:
    """Nobody takes the connection."""


@frozen
class Garbage:
    """The request is received, and what comes back is no HTTP."""

    after_s: float = 0.0


FakeAnswer: TypeAlias = Replies | TimesOut | Resets | Refuses | Garbage
"""What becomes of a request."""


@frozen
class Received:
    """A whole request, as its target has it."""

    at: float  #: by the loop's clock
    method: str
    url: str = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)  #: without those that a client adds
    body: bytes = field(repr=False)  #: empty as well where there is none

    def header(self, name: str) -> str | None:
        """The first value under a name, whatever its case."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


AnswerOf: TypeAlias = FakeAnswer | Callable[[Received], FakeAnswer]
"""What becomes of a request, or a function that says so; it should go by the request alone."""


def delivery_key(request: Received) -> str:
    """What all tries of one thing have in common: its `webhook-id`, or `Idempotency-Key`, or else the URL."""
    return request.header("webhook-id") or request.header("idempotency-key") or request.url


class FakeHttp:
    """Stands where an HttpClient stands; its targets outlive those that ask them.

    Args:
        usual: for URLs that nothing was said about.
        key: whose requests count as tries of one thing, which get the answers of a URL in turn.
        now: epoch seconds; a Retry-After with a date is counted from there.
    """

    def __init__(
        self,
        *,
        usual: AnswerOf = Replies(),
        key: Callable[[Received], str] = delivery_key,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._usual = usual
        self._key = key
        self.now = now  #: may be set later, to the clock of a world
        self._answers: dict[str, Turns[AnswerOf]] = {}
        #: whole requests, in the order in which they came; what did not reach its target is not there
        self.received: list[Received] = []

    def on(self, prefix: str, *answers: AnswerOf) -> None:
        """Say what becomes of requests to URLs that begin so, from now on.

        The first try of a thing gets the first answer, the second the second, and the last is for all that come behind.
        Of several prefixes that fit, the longest counts.

        Args:
            prefix: with scheme and host, which are compared whole.
            answers: one or more.

        Raises:
            EgressRefused: the prefix is no URL.
            ValueError: there is no answer.
        """
        self._answers[parse_url(prefix).text] = Turns(answers)

    async def request(self, request: HttpRequest) -> HttpAnswer:
        """Make a request; see `HttpClient.request`, whose every promise but those about connections holds."""
        return await follow(request, permitted(request), partial(self._exchange, request))

    async def prepare(self) -> None:
        """Nothing has to be at hand."""

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _exchange(self, request: HttpRequest, step: Step, permit: Permit, was_led: bool) -> HttpAnswer:
        asked = Received(anyio.current_time(), step.method, step.url, tuple(step.headers), step.body or b"")
        answer = self._answer_to(asked)
        if _is_received(answer):
            self.received.append(asked)
        line = _Line(request, step.method, permit.url.origin, was_led)
        match answer:
            case Replies():
                await line.wait(answer.after_s)
                return line.answer(answer, self.now())
            case Garbage():
                await line.wait(answer.after_s)
                raise line.failed("protocol", "sent what is no answer in HTTP")
            case Resets():
                await line.wait(answer.after_s)
                raise line.failed("protocol", "broke the connection: connection reset by peer")
            case TimesOut(is_received=True):
                await line.wait(math.inf)
                raise line.unanswered()
            case TimesOut():
                raise await line.unconnected()
            case Refuses():
                await checkpoint()
                raise line.failed("connect", "could not be connected: connection refused", was_sent=was_led)

    def _answer_to(self, asked: Received) -> FakeAnswer:
        fitting = [prefix for prefix in self._answers if asked.url.startswith(prefix)]
        turns = self._answers[max(fitting, key=len)] if fitting else None
        answer = self._usual if turns is None else turns.next_for(self._key(asked))
        return answer if isinstance(answer, _ANSWERS) else answer(asked)


_ANSWERS: Final = (Replies, TimesOut, Resets, Refuses, Garbage)
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
"""Statuses whose answers have no body (RFC 9110, section 6.4.1)."""


def _is_received(answer: FakeAnswer) -> bool:
    match answer:
        case TimesOut() | Resets():
            return answer.is_received
        case Refuses():
            return False
        case Replies() | Garbage():
            return True


@frozen
class _Line:
    """One request, as it sees its target."""

    request: HttpRequest
    method: str
    origin: str
    was_led: bool  #: a redirect has led here, so that somebody was sent something

    @property
    def timeout_s(self) -> float:
        return math.inf if self.request.timeout_s is None else self.request.timeout_s

    async def wait(self, seconds: float) -> None:
        """Wait for what the target does so late.

        Raises:
            HttpFailed: the request's timeout is over by then.
        """
        await anyio.sleep(min(seconds, self.timeout_s))
        if seconds >= self.timeout_s:
            raise self.unanswered()

    def unanswered(self) -> HttpFailed:
        """The timeout is over."""
        return self.failed("timeout", f"has not answered within {self.timeout_s:g} s")

    async def unconnected(self) -> HttpFailed:
        """Wait for a connection for as long as that is worth."""
        limit_s = min(self.request.connect_timeout_s, self.timeout_s)
        await anyio.sleep(limit_s)
        return self.failed("timeout", f"was not connected within {limit_s:g} s", was_sent=self.was_led)

    def failed(self, kind: FailureKind, what: str, *, was_sent: bool = True) -> HttpFailed:
        """No answer, in the words of a client."""
        return HttpFailed(kind, f"{self.origin} {what}", was_sent=was_sent)

    def answer(self, reply: Replies, now: float) -> HttpAnswer:
        """What a client makes of a reply.

        Raises:
            HttpFailed: the body is too large, and not to be cut.
        """
        body = b"" if self.method == "HEAD" or reply.status in _BODILESS else reply.body
        most = self.request.body_max
        is_on_the_way = bool(self.request.redirects_max) and is_redirect(reply.status)
        if len(body) > most and not self.request.is_cut and not is_on_the_way:
            raise self.failed("too_large", f"answered with more than {most:,} bytes")
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return HttpAnswer(
            status=reply.status,
            headers=headers,
            body=body[:most],
            is_cut=len(body) > most,
            retry_after_s=retry_after_s(headers.get("retry-after"), now),
        )
