"""Sending what hooks have to say: one request, past the guard, and what comes of it.

```
permit ─► gone? ─► headers, signature ─► request, under the hook's timeout ─► what the answer means ─► record
refused   skipped  refused               timed_out, failed
```
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import anyio
from attrs import evolve, field, frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.urls import Url, parse_url
from actorflow.hooks.actions.action import ActionSurroundings
from actorflow.hooks.actions.answers import GONE, judged
from actorflow.hooks.actions.payloads import Payload, text_of
from actorflow.hooks.actions.refusals import refusal_text
from actorflow.hooks.signatures import SIGNATURE_HEADER, BadSecret, signature
from actorflow.http.exchange import HttpAnswer, HttpFailed, HttpRequest

__all__ = ["Message", "host_key", "send"]

ANSWER_KEPT: Final = 2_048
"""Characters of an answer that are in the record."""


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

    A target that answers 410 is put on the list of those that are gone, and what is sent to it from then on is skipped.
    Cancelling ends the request, which may have reached the target.

    Args:
        message: what to send.
        context: of the delivery, or of the first of a batch.
        around: says where requests may go.
    """
    try:
        url = around.guard.permit(message.url).url
        target = _target_of(url, message.url, around.secrets.hidden(message.url))
        if target.key in around.gone:
            return TryResult(skip=f"disabled: {url.host} answered 410 Gone")
        request = _request(message, around)
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


def _target_of(url: Url, given: str, hidden: str) -> _Target:
    """What is known of a target.

    Args:
        url: where it is.
        given: how the hook writes that.
        hidden: the same without its secrets. Of what stands behind one that begins it, the host is shown all the same.
    """
    shown = url.target if hidden == given else hidden.partition("?")[0]
    return _Target(
        key=sha256(url.target.encode()).hexdigest(),
        host=url.host,
        shown=shown if shown.startswith(url.origin) else f"{url.host}/{shown}",
    )


def _request(message: Message, around: ActionSurroundings) -> HttpRequest:
    """The request of one try; its timestamp, and so its signature, are this try's."""
    payload, timestamp = message.payload, int(time.time())
    body = b"" if payload is None else payload.body
    ours = {"webhook-id": message.message_id, "webhook-timestamp": str(timestamp)}
    if message.secrets:
        ours[SIGNATURE_HEADER] = signature(message.secrets, message.message_id, timestamp, body)
    ours["Idempotency-Key"] = message.message_id
    return HttpRequest(
        method=message.method,
        url=message.url,
        guard=around.guard,
        headers=_headers(message, ours),
        body=None if payload is None else body,
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
    timeout = context.spec.timeout
    began = time.perf_counter()
    facts: Mapping[str, Any] = {}
    result = TryResult(status="timed_out", error=f"{target.host} has not answered after {timeout:g} s")
    try:
        with anyio.move_on_after(timeout):
            answer = await around.http.request(request)
            said: str = around.secrets.hidden(answer.body.decode(errors="replace"))
            facts = _facts(answer, said, target, around)
            result = judged(answer, said, message.expected, target.host)
    except EgressRefused as refused:
        result = _refused(refused, context, around)
    except HttpFailed as failed:
        result = TryResult(status="timed_out" if failed.kind == "timeout" else "failed", error=str(failed))
    record = {
        **result.record,
        **facts,
        "target": target.shown,
        "bytes_sent": len(request.body or b""),
        "duration_s": round(time.perf_counter() - began, 6),
    }
    return evolve(result, record={**record, **({"batch": context.batch} if context.batch else {})})


def _facts(answer: HttpAnswer, said: str, target: _Target, around: ActionSurroundings) -> dict[str, Any]:
    """What is kept of an answer; where it says that the target is gone, that too."""
    record: dict[str, Any] = {**answer.facts, "answer": said[:ANSWER_KEPT]}
    if answer.status == GONE:
        around.gone.add(target.key)
        record["gone"] = target.key
    return record


def _refused(refused: EgressRefused, context: HookContext, around: ActionSurroundings) -> TryResult:
    told = refusal_text(refused, context.spec, around.secrets)
    return TryResult(status="refused", error=told, record={"code": refused.code})
