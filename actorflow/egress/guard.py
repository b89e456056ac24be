"""The guard: judges URLs by the lists, and addresses right before they are dialled."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from actorflow.egress.allowed import Allowed
from actorflow.egress.urls import Url

__all__ = ["NOTHING_ALLOWED", "Guard", "Permit"]


@frozen
class Permit:
    """A URL that may be asked, by name; the address is judged when it is dialled."""

    url: Url
    guard: Guard

    def check_address(self, address: str, port: int) -> None:
        """Judge an address that the URL's host has come to, in the form that the socket is given.

        Raises:
            EgressRefused: E445.
        """
        raise NotImplementedError


@frozen
class Guard:
    """What may be reached: all that one of its entries allows."""

    allowed: tuple[Allowed, ...] = ()

    def also(self, entries: Iterable[Allowed]) -> Guard:
        """With more entries."""
        return Guard((*self.allowed, *entries))

    def permit(self, url: str) -> Permit:
        """Judge a rendered URL.

        Raises:
            EgressRefused: it is none that we take, or none that is allowed.
        """
        raise NotImplementedError


NOTHING_ALLOWED = Guard()
