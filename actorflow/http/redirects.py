"""Where a redirect leads, and what goes along; pure: whether it is followed is for the guard to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urldefrag, urljoin, urlsplit

from attrs import evolve, frozen

from actorflow.egress.ranges import METADATA, kind_of
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.urls import parse_url

__all__ = ["Step", "is_redirect", "next_step", "refused_behind"]

_SHOWN: Final = 200  #: characters of where a redirect leads to

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OF_THE_BODY: Final = frozenset({"content-encoding", "content-language", "content-location", "content-type"})
_OF_THE_ORIGIN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


@frozen
class Step:
    """One request of those that redirects make out of one."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes | None


def is_redirect(status: int) -> bool:
    """Whether an answer with this status leads on, if it says where."""
    return status in _REDIRECTS


def next_step(step: Step, status: int, location: str, secret_headers: frozenset[str]) -> Step:
    """What a browser would ask next (https://fetch.spec.whatwg.org/#http-redirect-fetch).

    303 asks by GET for all methods but HEAD; 301 and 302 do for POST; the body stays behind then. Another origin is told
    neither credentials nor secrets.

    Args:
        step: what was answered; its URL was judged.
        status: of the answer, a redirect's.
        location: of the answer; anything. The URL it leads to is not judged yet.
        secret_headers: names in lower case.
    """
    url = _led_to(step.url, location)
    dropped = frozenset[str]()
    if _origin(url) != _origin(step.url):
        dropped |= _OF_THE_ORIGIN | secret_headers
    if (status == 303 and step.method != "HEAD") or (status in {301, 302} and step.method == "POST"):
        step, dropped = evolve(step, method="GET", body=None), dropped | _OF_THE_BODY
    return evolve(step, url=url, headers=[each for each in step.headers if each[0].lower() not in dropped])


def refused_behind(by: str, to: str, refused: EgressRefused) -> EgressRefused:
    """The refusal of what a redirect leads to, which says so.

    It proposes no flag for an address within: whoever answers has chosen it, and may well mean the secrets of a cloud.

    Args:
        by: who answered, without its query.
        to: the URL that it leads to; anything.
        refused: what the guard says of that.
    """
    shown, is_proposed = _target(to)
    is_proposed = is_proposed and refused.code != "E445"
    return EgressRefused(
        refused.code,
        f"redirected by {by} to {shown}: {refused.problem}",
        refused.hint if is_proposed else "",
        is_of_redirect=True,
    )


def _target(url: str) -> tuple[str, bool]:
    """A URL without its query, as it is told, and whether a list may sensibly allow it."""
    try:
        read = parse_url(url)
    except EgressRefused:
        told = "".join(mark if mark.isprintable() else "?" for mark in url.partition("?")[0])
        return told if len(told) <= _SHOWN else f"{told[:_SHOWN]}…", True
    return read.target, read.address is None or kind_of(read.address) != METADATA


def _led_to(base: str, location: str) -> str:
    """A location with strange characters is left as it is: what joins URLs would take them out in silence."""
    if not location.isprintable() or " " in location or "\\" in location:
        return location
    try:
        return urldefrag(urljoin(base, location)).url
    except ValueError:
        return location


def _origin(url: str) -> tuple[str, str] | None:
    """None equals none but itself, and a base is never it: what cannot be read is another origin."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.scheme, parts.netloc
