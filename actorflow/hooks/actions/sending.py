"""Sending what hooks have to say: one request, past the guard, and what comes of it.

```
permit ─► gone? ─► headers, signature ─► request, under the hook's timeout ─► what the answer means ─► record
refused   skipped  refused               timed_out, failed
```
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

import anyio
from attrs import evolve, field, frozen

from actorflow.core.delivery import TryResult, TryStatus
from actorflow.core.hook_context import HookContext
from actorflow.core.hook_events import BACK, GONE
from actorflow.egress.guard import Permit
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.telling import refusal_text
from actorflow.egress.urls import Url, parse_url
from actorflow.hooks.actions.action import ActionSurroundings
from actorflow.hooks.actions.answers import judged
from actorflow.hooks.actions.payloads import Payload, text_of
from actorflow.hooks.signatures import SIGNATURE_HEADER, BadSecret, signature
from actorflow.http.exchange import FailureKind, HttpAnswer, HttpFailed, HttpRequest
from actorflow.secrecy.hiding import HIDDEN, Hiding
from actorflow.secrecy.search import Span

__all__ = ["Message", "host_key", "send"]

ANSWER_KEPT: Final = 2_048
"""Characters of an answer that are in the record."""

QUEUE_TIMEOUT_S: Final = 60.0
"""How long a try waits for a connection at least, where others have all of its origin: no part of the hook's timeout."""

_STATUSES: Final[Mapping[FailureKind, TryStatus]] = {"timeout": "timed_out", "queue": "rate_limited"}
"""Of failures that are not just failed. Who was not asked says nothing to a breaker of how it is."""


@frozen(kw_only=True)
class Message:
    """What is to be sent, and where."""

    message_id: str  #: the same for all tries: the target knows by it what it has seen
    url: str = field(repr=False)
    method: str = "POST"
    payload: Payload | None
    headers: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)  #: those that the hook names
    secrets: Sequence[str] = field(default=(), repr=False)  #: to sign with; none: it is not signed
    expected: Sequence[int] = ()  #: statuses; none: any 2xx


async def send(message: Message, context: HookContext, around: ActionSurroundings) -> TryResult:
    """Make one try.

    A target that answers 410 is put on the list of those that are gone, and what is sent to it from then on is skipped,
    unless an operator asks for it: if that is taken, the target is off the list.
    Cancelling ends the request, which may have reached the target.

    Args:
        message: what to send.
        context: of the delivery, or of the first of a batch.
        around: says where requests may go.
    """
    try:
        permit = around.guard.permit(message.url)
        url = permit.url
        target = _target_of(url, message.url, around.secrets.hiding)
        if target.key in around.gone and not context.is_asked_for:
            return TryResult(skip=f"disabled: {url.host} answered 410 Gone")
        request = _request(message, permit, context.spec.timeout, around.host.wall())
    except EgressRefused as refused:
        return _refused(refused, context, around)
    except BadSecret as bad:
        return TryResult(status="refused", error=str(bad))
    return await _made(request, message, target, context, around)


def host_key(url: Any) -> str:
    """What requests to the same host have in common; empty for what is no URL."""
    try:
        return f"host {parse_url(text_of(url)).origin}"
    except EgressRefused:
        return ""


@frozen
class _Target:
    """Where a request goes."""

    key: str  #: of its URL without query, which may hold a secret: so a hash
    host: str
    shown: str  #: without query and secrets


def _target_of(url: Url, given: str, hiding: Hiding) -> _Target:
    """What is known of a target.

    Args:
        url: where it is.
        given: how the hook writes that, secrets put in.
        hiding: takes these out.
    """
    spans = hiding.spans(given)
    shown = url.target if not spans else _without_secrets(url, given, spans)
    return _Target(key=sha256(url.target.encode()).hexdigest(), host=url.host, shown=shown)


def _without_secrets(url: Url, given: str, spans: Sequence[Span]) -> str:
    """The origin, which errors tell as well, and the path with `***` where a secret has a part in it.

    The scheme stays away from an origin of secrets: with it, the text may be the very value of one.
    """
    at = _BEHIND_HOST.match(given)
    start = end = len(given) if at is None else at.end()
    path = ""
    for first, behind in spans:
        if given[max(first, start) : behind].strip("/"):  # else it ends with the host
            path += given[end : max(first, end)] + ("/***" if first < start else HIDDEN)
            end = behind
    rest = given[end:].partition("?")[0]
    path = path.partition("?")[0] + ("" if "?" in path else rest)
    return (url.origin if spans[0][0] >= start else url.origin.partition("://")[2]) + path


_BEHIND_HOST: Final = re.compile(r"[^:/?#]+://[^/?#]*")


def _request(message: Message, permit: Permit, timeout: float, now: float) -> HttpRequest:
    """The request of one try; its timestamp, and so its signature, are this try's."""
    payload, timestamp = message.payload, int(now)
    body = b"" if payload is None else payload.body
    ours = {"webhook-id": message.message_id, "webhook-timestamp": str(timestamp)}
    if message.secrets:
        ours[SIGNATURE_HEADER] = signature(message.secrets, message.message_id, timestamp, body)
    ours["Idempotency-Key"] = message.message_id
    return HttpRequest(
        method=message.method,
        url=message.url,
        guard=permit.guard,
        permit=permit,
        headers=_headers(message, ours),
        body=None if payload is None else body,
        timeout_s=timeout,
        queue_timeout_s=max(timeout, QUEUE_TIMEOUT_S),
    )


def _headers(message: Message, ours: Mapping[str, str]) -> list[tuple[str, str]]:
    """Ours, which nothing replaces; the hook's; and those of the payload that the hook does not have."""
    payload = message.payload
    of_payload = {} if payload is None else {"Content-Type": payload.content_type, **payload.headers}
    merged: dict[str, tuple[str, str]] = {}
    for headers in (of_payload, message.headers, ours):
        merged.update({name.lower(): (name, text_of(value)) for name, value in headers.items()})
    return list(merged.values())


async def _made(
    request: HttpRequest,
    message: Message,
    target: _Target,
    context: HookContext,
    around: ActionSurroundings,
) -> TryResult:
    began = anyio.current_time()
    facts: Mapping[str, Any] = {}
    try:
        answer = await around.http.request(request)
        said: str = around.secrets.hidden(answer.body.decode(errors="replace"))
        result = judged(answer, said, message.expected, f"{message.method} {target.shown}")
        presence = _presence(answer, target, around.gone, is_taken=result.status == "ok")
        facts = {**answer.facts, "answer": said[:ANSWER_KEPT], **presence}
    except EgressRefused as refused:
        result = _refused(refused, context, around)
    except HttpFailed as failed:
        result = _failed(failed, f"{message.method} {target.shown}", context.spec.timeout)
    record = {
        **result.record,
        **facts,
        "target": target.shown,
        "bytes_sent": len(request.body or b""),
        "duration_s": round(anyio.current_time() - began, 6),
    }
    return evolve(result, record={**record, **({"batch": context.batch} if context.batch else {})})


def _presence(answer: HttpAnswer, target: _Target, gone: set[str], *, is_taken: bool) -> Mapping[str, str]:
    """Note whether the target is gone, or there again; what the record says of that."""
    if is_taken and target.key in gone:
        gone.discard(target.key)
        return {BACK: target.key}
    if not is_taken and answer.status == HTTPStatus.GONE:
        gone.add(target.key)
        return {GONE: target.key}
    return {}


def _failed(failed: HttpFailed, asked: str, timeout: float) -> TryResult:
    is_unanswered = failed.kind == "timeout" and failed.was_sent
    error = f"{asked} has not been answered after {timeout:g} s" if is_unanswered else str(failed)
    return TryResult(status=_STATUSES.get(failed.kind, "failed"), error=error)


def _refused(refused: EgressRefused, context: HookContext, around: ActionSurroundings) -> TryResult:
    told = refusal_text(refused, text_of(context.spec.params.get("url")), around.secrets.hidden)
    return TryResult(status="refused", error=told, record={"code": refused.code})
