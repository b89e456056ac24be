"""The list: what may be reached, entry by entry.

An entry is `scheme://host[:port][/path]`, and host may be `*.example.com`; or a network such as `10.0.0.0/8`. The first
kind says which URLs may be asked. Either kind may lift the refusal of an address that is not public: a host that is that
address itself, or a network that it is in. A name lifts nothing, or whoever holds the name would choose the address.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Final, TypeAlias

from attrs import frozen

from actorflow.egress.ranges import METADATA, Network, kind_of, unmapped
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.urls import Address, Url, origin_of, parse_url

__all__ = ["Allowed", "AllowedHost", "AllowedNetwork", "literal_origin", "parse_allowed"]

_NETWORK: Final = re.compile(r"(?:[0-9.]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)/[0-9]{1,3}")
_BEFORE_PATH: Final = re.compile(r"[^/?]*//[^/?]*")
_ANY_LABELS: Final = "*."


@frozen
class AllowedHost:
    """URLs of one host, or of all hosts below a name."""

    scheme: str
    host: str  #: as in `Url`; of a wildcard, what is behind its star and dot
    port: int
    path: str = ""  #: a prefix, without a slash at its end; matches whole segments
    address: Address | None = None  #: the host, if it is no name
    is_wildcard: bool = False  #: a label at least stands before `host`

    @property
    def text(self) -> str:
        """The entry, with a scheme, without a port that is the scheme's."""
        host = f"{_ANY_LABELS}{self.host}" if self.is_wildcard else self.address or self.host
        return origin_of(self.scheme, host, self.port) + self.path

    def allows(self, url: Url) -> bool:
        """Whether a URL may be asked, by its text."""
        return self.is_of(url.host) and self._covers(url)

    def is_of(self, host: str) -> bool:
        """Whether a host is this one, or below this one; no address is below a name, as no name ends with a number."""
        return host.endswith(f".{self.host}") if self.is_wildcard else host == self.host

    def lifts(self, url: Url, address: Address) -> bool:
        """Whether a URL that is allowed may be asked at an address that is not public."""
        if self.is_wildcard or not self._covers(url):
            return False
        if self.address is not None:
            return unmapped(self.address) == unmapped(address)
        return self.host == url.host == "localhost" and unmapped(address).is_loopback

    def _covers(self, url: Url) -> bool:
        """Whether all but the host is as here."""
        is_within = url.path == self.path or url.path.startswith(f"{self.path}/")
        return is_within and (url.scheme, url.port) == (self.scheme, self.port)


@frozen
class AllowedNetwork:
    """Addresses that hosts which are listed by name may come to."""

    network: Network

    @property
    def text(self) -> str:
        """The entry."""
        return str(self.network)

    def allows(self, url: Url) -> bool:  # noqa: ARG002 - as of a host
        """Whether a URL may be asked, by its text: a network is no host."""
        return False

    def lifts(self, url: Url, address: Address) -> bool:  # noqa: ARG002 - as of a host
        """Whether a URL that is allowed may be asked at an address that is not public.

        A metadata service has to be listed by itself: who lists the addresses of a cloud does not mean its secrets.
        """
        inner = unmapped(address)
        return inner in self.network and (kind_of(inner) != METADATA or self.network.num_addresses == 1)


Allowed: TypeAlias = AllowedHost | AllowedNetwork


def parse_allowed(text: str) -> Allowed:
    """Read an entry; without a scheme it is of https, without a port of the scheme's, without a path of all paths.

    Raises:
        ValueError: it cannot be read; a sentence with the entry in it.
    """
    try:
        return _network(text) if _NETWORK.fullmatch(text) else _host(text)
    except EgressRefused as refused:
        raise _unread(text, refused.problem) from None


def literal_origin(url: str) -> AllowedHost | None:
    """What the url of a file allows by standing there: its scheme, host and port; None if a template makes one of these.

    Args:
        url: as it is in the file, with its templates.
    """
    found = _BEFORE_PATH.match(url)
    if found is None:
        return None
    try:
        origin = parse_url(found[0])
    except EgressRefused:
        return None  # a template is none: its braces are in no host
    return AllowedHost(origin.scheme, origin.host, origin.port, address=origin.address)


def _network(text: str) -> AllowedNetwork:
    try:
        return AllowedNetwork(ip_network(text))
    except ValueError as error:
        hint = f"for a path of a host write https://{text}"
        raise _unread(text, f"it is no network: {error}; {hint}") from None


def _host(text: str) -> AllowedHost:
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "https", text
    is_wildcard = rest.startswith(_ANY_LABELS)
    url = parse_url(f"{scheme}://{rest.removeprefix(_ANY_LABELS)}")
    if "?" in rest:
        raise _unread(text, "it has a query")
    if is_wildcard and url.is_literal:
        raise _unread(text, "nothing is below an address")
    path = url.path.removesuffix("/")
    return AllowedHost(url.scheme, url.host, url.port, path, url.address, is_wildcard)


def _unread(text: str, problem: str) -> ValueError:
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    shapes = "scheme://host[:port][/path], *.example.com, or a network such as 10.0.0.0/8"
    return ValueError(f"{shown!r} is no entry of allowed hosts: {problem}; an entry is {shapes}")
