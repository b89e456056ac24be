"""Which addresses are public: a table of our own, and not the `is_global` of whichever Python this is.

It has every row of IANA's two registries of special-purpose addresses (https://www.iana.org/assignments/iana-ipv4-special-registry,
https://www.iana.org/assignments/iana-ipv6-special-registry), also those that are reachable from everywhere: nobody's API is
there. To these come multicast, what is reserved, and the addresses at which clouds tell a machine its secrets, some of which
look public. In IPv6 nothing but 2000::/3 has been given out, so the rest is not public, whatever it will be.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, TypeAlias

from attrs import frozen

from actorflow.egress.urls import Address

__all__ = ["METADATA", "PUBLIC", "Network", "Range", "kind_of", "range_of", "special_ranges", "unmapped"]

Network: TypeAlias = IPv4Network | IPv6Network

PUBLIC: Final = "public"
METADATA: Final = "a metadata service"


@frozen
class Range:
    """Addresses that are not dialled for a name."""

    network: Network
    kind: str  #: in a sentence: this address is …
    source: str  #: who says so


_ROWS: Final = (
    ("169.254.169.254/32", METADATA, "Amazon EC2, Azure, Google Cloud, and others"),
    ("169.254.170.2/32", METADATA, "Amazon ECS"),
    ("169.254.170.23/32", METADATA, "Amazon EKS"),
    ("169.254.0.23/32", METADATA, "Tencent Cloud"),
    ("169.254.42.42/32", METADATA, "Scaleway"),
    ("100.100.100.200/32", METADATA, "Alibaba Cloud"),
    ("168.63.129.16/32", METADATA, "Azure"),
    ("192.0.0.192/32", METADATA, "Oracle Cloud"),
    ("fd00:ec2::254/128", METADATA, "Amazon EC2"),
    ("fd00:ec2::23/128", METADATA, "Amazon EKS"),
    ("fd20:ce::254/128", METADATA, "Google Cloud"),
    ("fd00:42::42/128", METADATA, "Scaleway"),
    ("fd00:c1::a9fe:a9fe/128", METADATA, "Oracle Cloud"),
    ("fe80::a9fe:a9fe/128", METADATA, "OpenStack"),
    ("0.0.0.0/32", "this host", "RFC 1122"),
    ("0.0.0.0/8", "of this network", "RFC 791"),
    ("10.0.0.0/8", "private", "RFC 1918"),
    ("100.64.0.0/10", "shared by a carrier's customers", "RFC 6598"),
    ("127.0.0.0/8", "loopback", "RFC 1122"),
    ("169.254.0.0/16", "link-local", "RFC 3927"),
    ("172.16.0.0/12", "private", "RFC 1918"),
    ("192.0.0.0/29", "for going from IPv4 to IPv6", "RFC 7335"),
    ("192.0.0.8/32", "a dummy", "RFC 7600"),
    ("192.0.0.9/32", "for port control", "RFC 7723"),
    ("192.0.0.10/32", "for traversal of NAT", "RFC 8155"),
    ("192.0.0.170/31", "for discovery of NAT64", "RFC 8880"),
    ("192.0.0.0/24", "for protocols", "RFC 6890"),
    ("192.0.2.0/24", "for documentation", "RFC 5737"),
    ("192.31.196.0/24", "a sink of name queries", "RFC 7535"),
    ("192.52.193.0/24", "for multicast tunnels", "RFC 7450"),
    ("192.88.99.2/32", "a relay of 6a44", "RFC 6751"),
    ("192.88.99.0/24", "a relay of 6to4", "RFC 7526"),
    ("192.168.0.0/16", "private", "RFC 1918"),
    ("192.175.48.0/24", "a sink of name queries", "RFC 7534"),
    ("198.18.0.0/15", "for benchmarks", "RFC 2544"),
    ("198.51.100.0/24", "for documentation", "RFC 5737"),
    ("203.0.113.0/24", "for documentation", "RFC 5737"),
    ("224.0.0.0/4", "multicast", "RFC 5771"),
    ("255.255.255.255/32", "broadcast", "RFC 8190"),
    ("240.0.0.0/4", "reserved", "RFC 1112"),
    ("::/128", "this host", "RFC 4291"),
    ("::1/128", "loopback", "RFC 4291"),
    ("::ffff:0:0:0/96", "translated IPv4", "RFC 2765"),
    ("64:ff9b:1::/48", "for translation within a network", "RFC 8215"),
    ("100::/64", "for discarding", "RFC 6666"),
    ("100:0:0:1::/64", "a dummy", "RFC 9780"),
    ("2001:1::1/128", "for port control", "RFC 7723"),
    ("2001:1::2/128", "for traversal of NAT", "RFC 8155"),
    ("2001:1::3/128", "for registration of services", "RFC 9665"),
    ("2001:2::/48", "for benchmarks", "RFC 5180"),
    ("2001:3::/32", "for multicast tunnels", "RFC 7450"),
    ("2001:4:112::/48", "a sink of name queries", "RFC 7535"),
    ("2001:10::/28", "a hash that identifies a host", "RFC 4843"),
    ("2001:20::/28", "a hash that identifies a host", "RFC 7343"),
    ("2001:30::/28", "a drone's", "RFC 9374"),
    ("2001:db8::/32", "for documentation", "RFC 3849"),
    ("2620:4f:8000::/48", "a sink of name queries", "RFC 7534"),
    ("3ffe::/16", "of a network that is no more", "RFC 3701"),
    ("3fff::/20", "for documentation", "RFC 9637"),
    ("5f00::/16", "for segment routing", "RFC 9602"),
    ("fc00::/7", "private", "RFC 4193"),
    ("fe80::/10", "link-local", "RFC 4291"),
    ("fec0::/10", "of a site", "RFC 3879"),
    ("ff00::/8", "multicast", "RFC 4291"),
)
"""From the narrower to the wider: the first that has an address is its range. `_CARRIERS` and `_WIDEST` come behind it."""


@frozen
class _Carrier:
    """IPv6 that leads to IPv4."""

    network: IPv6Network
    source: str
    carried: Callable[[int], tuple[int, ...]]  #: the IPv4 addresses that are in one of IPv6; all are judged


def _last(bits: int) -> tuple[int, ...]:
    return (bits & 0xFFFF_FFFF,)


def _behind_prefix(bits: int) -> tuple[int, ...]:
    return (bits >> 80 & 0xFFFF_FFFF,)


def _server_and_client(bits: int) -> tuple[int, ...]:
    return (bits >> 64 & 0xFFFF_FFFF, ~bits & 0xFFFF_FFFF)


_CARRIERS: Final = (
    _Carrier(IPv6Network("::ffff:0:0/96"), "RFC 4291 (mapped)", _last),
    _Carrier(IPv6Network("64:ff9b::/96"), "RFC 6052 (NAT64)", _last),
    _Carrier(IPv6Network("2002::/16"), "RFC 3056 (6to4)", _behind_prefix),
    _Carrier(IPv6Network("2001::/32"), "RFC 4380 (Teredo)", _server_and_client),
    _Carrier(IPv6Network("::/96"), "RFC 4291 (compatible)", _last),
)
_WIDEST: Final = Range(IPv6Network("2001::/23"), "for protocols", "RFC 2928")
_GIVEN_OUT: Final = IPv6Network("2000::/3")
_NOT_GIVEN_OUT: Final = Range(IPv6Network("::/0"), "not given out to anybody", "RFC 4291")


@cache
def special_ranges() -> tuple[Range, ...]:
    """The rows as ranges; made when the first address is judged, since most runs judge none."""
    return tuple(Range(ip_network(network), kind, source) for network, kind, source in _ROWS)


def kind_of(address: Address) -> str:
    """`PUBLIC`, or what else an address is, as it is said in a sentence."""
    found = range_of(address)
    return PUBLIC if found is None else found.kind


def range_of(address: Address) -> Range | None:
    """The range that an address is in, or the IPv4 address that it carries; None if it is public."""
    for known in special_ranges():
        if address in known.network:
            return known
    return _of_ipv6(address) if isinstance(address, IPv6Address) else None


def unmapped(address: Address) -> Address:
    """The IPv4 address that a mapped one is another spelling of: both open the very same connection."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _of_ipv6(address: IPv6Address) -> Range | None:
    for carrier in _CARRIERS:
        if address in carrier.network:
            ranges = map(range_of, map(IPv4Address, carrier.carried(int(address))))
            return next(filter(None, ranges), None)
    if address in _WIDEST.network:
        return _WIDEST
    return None if address in _GIVEN_OUT else _NOT_GIVEN_OUT
