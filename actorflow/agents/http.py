"""HTTP requests as agents: one for each attempt, to where it is allowed."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import anyio
from attrs import frozen

from actorflow.agents.call import AgentCall, AgentFailed, Performer, Recorded
from actorflow.agents.http_answer import output_of, unexpected_status
from actorflow.core.http_call import HttpCall
from actorflow.egress.allowed import literal_origin
from actorflow.egress.guard import Guard
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.telling import refusal_text
from actorflow.egress.urls import parse_url
from actorflow.http.client import Requester
from actorflow.http.exchange import AGENT_BODY_MAX, HttpAnswer, HttpFailed, HttpRequest
from actorflow.spec.model import HttpAuth, HttpRunner, Trust

__all__ = ["http_performer"]

REDIRECTS_MAX: Final = 5

_Header: TypeAlias = tuple[str, str]

_PROOFS: Final[Mapping[str, Callable[[Mapping[str, Any]], _Header]]] = {
    "bearer": lambda given: ("Authorization", f"Bearer {given['token']}"),
    "basic": lambda given: ("Authorization", f"Basic {_in_base64(given['username'], given['password'])}"),
    "api_key": lambda given: (given["header"], given["value"]),
}
"""The header in which a request says who asks, by the kind of `HttpAuth`."""

_TYPES: Final[Mapping[str, str]] = {"timeout": "http_timeout"}
"""Failures whose type is not their kind: `timeout` is that of an attempt that was ended by its own."""


def http_performer(runner: HttpRunner, *, client: Requester, guard: Guard, trust: Trust) -> Performer:
    """Make an attempt of one request; `output_of` says what its output is.

    It carries the idempotency key as `Idempotency-Key`, unless the file sets that header. Redirects are followed, five at
    the most, where they lead to what is allowed, and none if a status that is expected is one; what says who asks is not
    sent on to another origin. A cancelled attempt ends its request.

    Args:
        runner: what `AgentCall.http` was rendered from.
        client: makes the requests.
        guard: says where they may go.
        trust: of the definition. A file of one's own may also reach the origin that stands in its `url`.

    An attempt raises `AgentFailed`: `http_status`, `not_allowed`, `connect`, `tls`, `http_timeout`, `protocol`, `too_large`,
    `output` or `expression`.
    """
    own = literal_origin(runner.url) if trust == "own" else None
    attempts = _Attempts(runner, client, guard if own is None else guard.also([own]))
    return attempts.perform


@frozen
class _Attempts:
    """Makes the requests of one agent."""

    runner: HttpRunner
    client: Requester
    guard: Guard

    async def perform(self, call: AgentCall) -> Recorded:
        http = call.http
        assert http is not None, "rendered for every attempt of the runner"
        began_at = anyio.current_time()
        target, answer = await self._asked(call, http)
        if not self._is_expected(answer.status):
            raise unexpected_status(call, http, f"{self.runner.method} {target}", answer)
        output = await output_of(call, http, answer)
        record = {**answer.facts, "target": target, "duration_s": round(anyio.current_time() - began_at, 6)}
        if answer.redirects:
            record["redirects"] = list(answer.redirects)
        return Recorded(output, record)

    async def _asked(self, call: AgentCall, http: HttpCall[str]) -> tuple[str, HttpAnswer]:
        """The target, without its query, and what it answered."""
        try:
            target = parse_url(http.url).target
            return target, await self.client.request(self._request(call, http))
        except EgressRefused as refused:
            told = refusal_text(refused, self.runner.url, call.hiding.text)
            raise AgentFailed("not_allowed", told, {"code": refused.code}) from None
        except HttpFailed as failed:
            facts = {"was_sent": failed.was_sent}
            raise AgentFailed(_TYPES.get(failed.kind, failed.kind), str(failed), facts) from None

    def _is_expected(self, status: int) -> bool:
        expected = self.runner.expect_status
        return status in expected if expected else 200 <= status < 300

    def _request(self, call: AgentCall, http: HttpCall[str]) -> HttpRequest:
        proof = _proof(self.runner.auth, http)
        content_type, body = _body(http, has_json=self.runner.has_json)
        usual = {"Content-Type": content_type, "Idempotency-Key": call.idempotency_key}
        wants_redirect = any(300 <= status < 400 for status in self.runner.expect_status)
        return HttpRequest(
            method=self.runner.method,
            url=http.url,
            guard=self.guard,
            headers=_headers(http, proof, usual),
            query=http.query,
            body=body,
            body_max=AGENT_BODY_MAX,
            is_cut=False,
            redirects_max=0 if wants_redirect else REDIRECTS_MAX,
            secret_headers=http.secret_headers.union(name.lower() for name, _ in proof),
        )


def _headers(http: HttpCall[str], proof: list[_Header], usual: Mapping[str, str]) -> list[_Header]:
    """Those of the file, who asks in place of what is there under that name, and what is usual where there is nothing."""
    replaced = {name.lower() for name, _ in proof}
    given = [(name, value) for name, value in http.headers.items() if name.lower() not in replaced]
    lines = [*given, *proof]
    names = {name.lower() for name, _ in lines}
    return [*lines, *((name, value) for name, value in usual.items() if value and name.lower() not in names)]


def _proof(auth: HttpAuth | None, http: HttpCall[str]) -> list[_Header]:
    return [] if auth is None else [_PROOFS[auth.kind](http.auth)]


def _body(http: HttpCall[str], *, has_json: bool) -> tuple[str, bytes | None]:
    """The type of the content, and the content; keys in order, so that each attempt under the same key sends the same."""
    if has_json:
        text = json.dumps(
            http.json, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True
        )
        return "application/json", _bytes(text)
    return ("", None) if http.body is None else ("text/plain; charset=utf-8", _bytes(http.body))


def _in_base64(username: str, password: str) -> str:
    return b64encode(_bytes(f"{username}:{password}")).decode()


def _bytes(text: str) -> bytes:
    """In UTF-8; what a variable of the environment holds that is none, as it was there."""
    return text.encode(errors="surrogateescape")
