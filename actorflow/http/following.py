"""A request, and those that redirects make out of it; each is judged before it is made, whoever makes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from urllib.parse import quote, urlencode

from attrs import evolve

from actorflow.egress.guard import Permit
from actorflow.egress.refusals import EgressRefused
from actorflow.http.exchange import HttpAnswer, HttpRequest
from actorflow.http.redirects import Step, is_redirect, next_step, refused_behind
from actorflow.http.sendable import check_headers

__all__ = ["Exchange", "follow", "permitted"]

Exchange: TypeAlias = Callable[[Step, Permit, bool], Awaitable[HttpAnswer]]
"""Makes one request, and follows nothing. Is told whether somebody has been asked before it, who led here."""


def permitted(request: HttpRequest) -> Permit:
    """Judge a request before anything happens.

    Raises:
        EgressRefused: a header cannot be sent, or the URL is none that may be asked.
    """
    check_headers(request.headers)
    return request.permit or request.guard.permit(_with_query(request.url, request.query))


async def follow(request: HttpRequest, permit: Permit, exchange: Exchange) -> HttpAnswer:
    """Make a request that is permitted, and then whatever its answers lead to, as far as `redirects_max` lets them.

    Raises:
        EgressRefused: what a redirect leads to is refused, or there are too many of them.
        Exception: Whatever `exchange` raises.
    """
    step = Step(request.method, permit.url.text, request.headers, request.body)
    led: list[str] = []
    while True:
        try:
            answer = await exchange(step, permit, bool(led))
        except EgressRefused as refused:
            raise refused_behind(led[-1], step.url, refused) if led else refused from None
        location = answer.headers.get("location")
        if location is None or not request.redirects_max or not is_redirect(answer.status):
            return evolve(answer, redirects=tuple(led))
        led.append(permit.url.target)
        if len(led) > request.redirects_max:
            raise _too_many_redirects(led)
        step = next_step(step, answer.status, location, request.secret_headers)
        try:
            permit = request.guard.permit(step.url)
        except EgressRefused as refused:
            raise refused_behind(led[-1], step.url, refused) from None
        step = evolve(step, url=permit.url.text)


def _with_query(url: str, query: Sequence[tuple[str, str]]) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query, quote_via=quote, errors='replace')}"


def _too_many_redirects(led: list[str]) -> EgressRefused:
    shown = " -> ".join(dict.fromkeys(led))
    problem = f"there are more than {len(led) - 1} redirects, by {shown}"
    return EgressRefused("E446", problem, "ask the URL that they lead to, if there is one")
