"""The guard: judges URLs by the lists, and addresses right before they are dialled."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from attrs import frozen

from actorflow.egress.allowed import Allowed, AllowedHost
from actorflow.egress.ports import OTHER_PROTOCOLS
from actorflow.egress.ranges import range_of
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.urls import Address, Url, origin_of, parse_url

__all__ = ["NOTHING_ALLOWED", "Guard", "Permit"]


@frozen
class Permit:
    """A URL that may be asked, by name; the address is judged when it is dialled."""

    url: Url
    guard: Guard

    def check_address(self, address: str, port: int) -> None:
        """Judge an address that the URL's host has come to, in the form that the socket is given.

        A public address may be dialled. Any other has to be the host of the URL, or listed by itself.

        Raises:
            EgressRefused: E445.
        """
        dialled = _address(address)
        if dialled is None or port != self.url.port:
            raise EgressRefused(
                "E445", f"{self.url.host} comes to {address!r}, port {port}, which is not asked for"
            )
        found = range_of(dialled)
        if found is None or any(entry.lifts(self.url, dialled) for entry in self.guard.allowed):
            return
        problem = f"{self.url.host} comes to {dialled}, which is {found.kind} ({found.source})"
        hint = _flag(origin_of(self.url.scheme, dialled, port))
        raise EgressRefused("E445", problem, hint, address=f"{dialled}/{dialled.max_prefixlen}")


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
        read = parse_url(url)
        self._check_port(read)
        if not any(entry.allows(read) for entry in self.allowed):
            raise EgressRefused(
                "E444", f"{read.origin} is not allowed{self._listed(read)}", _flag(read.origin)
            )
        return Permit(read, self)

    def _check_port(self, url: Url) -> None:
        """Refuse a port of another protocol, unless it is listed for the very host."""
        protocol = OTHER_PROTOCOLS.get(url.port)
        if protocol is None:
            return
        if not any(not entry.is_wildcard and entry.allows(url) for entry in self._hosts()):
            raise EgressRefused("E443", f"port {url.port} of {url.host} is for {protocol}", _flag(url.origin))

    def _listed(self, url: Url) -> str:
        """What of the same host is allowed, if anything."""
        near = [entry.text for entry in self._hosts() if entry.is_of(url.host)]
        return f": of this host, the list has {', '.join(near)}" if near else ""

    def _hosts(self) -> Iterable[AllowedHost]:
        return (entry for entry in self.allowed if isinstance(entry, AllowedHost))


NOTHING_ALLOWED = Guard()


def _address(text: str) -> Address | None:
    """The address without its zone, which names an interface of this machine; None if it is none."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _flag(entry: str) -> str:
    return f"--allow-host {entry} or Runtime(allow_hosts=[{entry!r}]) would allow it"
