"""URLs: which texts are taken for one, and what exactly is then sent.

Attacks on lists of hosts live on two readers that understand one text differently. So whatever is known to be read in
more than one way is refused, instead of being mended: blanks and controls, backslashes, other numbers than four decimal
parts, names that are not ASCII, encoded slashes, segments of dots. And what is sent is `Url.text`, which is written
here, from parts that have been judged.

No message quotes more than scheme, host and port, and these only where they are well formed: the rest may be secret.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, TypeAlias
from urllib.parse import quote

from attrs import field, frozen

from actorflow.egress.refusals import EgressRefused

__all__ = ["Address", "Url", "origin_of", "parse_url"]

Address: TypeAlias = IPv4Address | IPv6Address

_LENGTH_MAX: Final = 8_192
_HOST_MAX: Final = 253
"""Characters of a name; RFC 1035, section 2.3.4, without the dot at its end."""

_PORTS: Final = {"http": 80, "https": 443}
"""The schemes that are taken, and the port of each."""

_PATH_SAFE: Final = "/%!$&'()*+,;=:@"
"""What a path has unencoded, besides letters, digits and `-._~`; RFC 3986, section 3.3."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_REST: Final = re.compile(r"//(?P<authority>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?")
_AUTHORITY: Final = re.compile(r"(?:\[(?P<inner>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:\[\]]*))?")
_NOT_OF_AUTHORITY: Final = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""The last label of a host that somebody's reader takes for an address; https://url.spec.whatwg.org/#ends-in-a-number-checker."""

_Rules: TypeAlias = tuple[tuple[re.Pattern[str], str, str], ...]
"""What may not be found, what it is, and what to do; the text that is found is harmless to quote."""

_TEXT_RULES: Final[_Rules] = (
    (
        re.compile(r"[\x00-\x1f\x7f-\x9f]"),
        "a control character",
        "look for a newline at the end of a variable",
    ),
    (re.compile(r" "), "a blank", "write %20"),
    (re.compile(r"\\"), "a backslash", "write %5C in a query; elsewhere a slash is meant"),
    (re.compile(r"#"), "a fragment, which is never sent", "leave it out, or write %23"),
    (re.compile(r"[\ud800-\udfff]"), "half a character", ""),
    (re.compile(r"%(?![0-9A-Fa-f]{2})"), "without two hexadecimal digits behind it", "write %25"),
)
_PATH_RULES: Final[_Rules] = (
    (re.compile(r"%(?:25)*00"), "an encoded NUL", ""),
    (re.compile(r"%(?:25)*2f", re.IGNORECASE), "an encoded slash", "servers disagree on what it is"),
    (re.compile(r"%(?:25)*5c", re.IGNORECASE), "an encoded backslash", "servers disagree on what it is"),
    (
        re.compile(r"/(?:\.|%(?:25)*2e){1,2}(?=/|;|%(?:25)*3b|$)", re.IGNORECASE),
        "a segment of dots, which leads out of the path before it",
        "write the path without it",
    ),
)
"""Encoded twice is no better: some servers decode until nothing is left, and some drop what is behind a semicolon."""

_QUERY_RULES: Final[_Rules] = ((re.compile(r"%00"), "an encoded NUL", ""),)


@frozen
class Url:
    """A URL that is well formed; whether it may be asked is for `Guard.permit` to say."""

    scheme: str  #: http or https
    host: str  #: in lower case, without brackets; an address as `ipaddress` writes it
    port: int  #: 1 to 65535
    path: str = field(repr=False)  #: begins with a slash; encoded
    query: str = field(repr=False)  #: without the question mark; encoded, empty if there is none
    address: Address | None  #: the host, if it is no name

    @property
    def is_literal(self) -> bool:
        """Whether the host is an address, not a name."""
        return self.address is not None

    @property
    def origin(self) -> str:
        """Scheme, host, and the port if it is not the scheme's: as an entry of a list would have it."""
        return origin_of(self.scheme, self.address or self.host, self.port)

    @property
    def text(self) -> str:
        """What is sent: reads as this same URL, here and everywhere."""
        return f"{self.target}?{self.query}" if self.query else self.target

    @property
    def target(self) -> str:
        """The text without the query."""
        return f"{self.origin}{self.path}"


def origin_of(scheme: str, host: str | Address, port: int) -> str:
    """Scheme, host and port as a text; without the port if it is the scheme's."""
    name = f"[{host}]" if isinstance(host, IPv6Address) else str(host)
    return f"{scheme}://{name}" if _PORTS[scheme] == port else f"{scheme}://{name}:{port}"


def parse_url(text: str) -> Url:
    """Read a URL, with http or https for its scheme.

    Characters of a path or query that may not stand there as they are get encoded; nothing else is changed.

    Raises:
        EgressRefused: E440, E441, E442 or E443; `REASONS` says what these are.
    """
    _check_length(len(text))
    _check(text, _TEXT_RULES, "URL")
    scheme, rest = _scheme_and_rest(text)
    parts = _REST.fullmatch(rest)
    if parts is None:
        raise _none("the URL has no // and host behind its scheme", "write scheme://host/path")
    host, address, port = _host_and_port(parts["authority"])
    path, query = parts["path"] or "/", parts["query"] or ""
    _check(path, _PATH_RULES, "path")
    _check(query, _QUERY_RULES, "query")
    url = Url(
        scheme=scheme,
        host=host,
        port=_PORTS[scheme] if port is None else port,
        path=quote(path, safe=_PATH_SAFE),
        query=quote(query, safe=_PATH_SAFE + "?"),
        address=address,
    )
    _check_length(len(url.text))
    return url


def _none(problem: str, hint: str = "") -> EgressRefused:
    return EgressRefused("E440", problem, hint)


def _check_length(length: int) -> None:
    if length > _LENGTH_MAX:
        raise _none(f"the URL has {length:,} characters, and {_LENGTH_MAX:,} are the most")


def _check(part: str, rules: _Rules, name: str) -> None:
    for pattern, problem, hint in rules:
        if found := pattern.search(part):
            raise _none(f"the {name} has {_shown(found[0])}, {problem}", hint)


def _scheme_and_rest(text: str) -> tuple[str, str]:
    found = _SCHEME.match(text)
    if found is None:
        raise _none("the URL has no scheme", "begin it with https:// or http://")
    scheme = found[1].lower()
    if scheme not in _PORTS:
        problem = f"the scheme {_shown(scheme)} is not taken"
        raise EgressRefused("E441", problem, "begin the URL with https:// or http://")
    return scheme, text[found.end() :]


def _host_and_port(authority: str) -> tuple[str, Address | None, int | None]:
    """What stands between the slashes; the port is None where it is the scheme's."""
    _check_authority(authority)
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise _none(
            "the host has brackets or colons that make no address", "write IPv6 as http://[::1]:8080/"
        )
    if found["inner"] is not None:
        address = _ipv6(found["inner"])
        return str(address), address, _port(found["port"])
    host = _name(found["name"])
    return host, _ipv4(host), _port(found["port"])


def _check_authority(authority: str) -> None:
    if "@" in authority:
        hint = "put them into a header: `auth` of an agent, `headers` of a webhook"
        raise EgressRefused("E442", "a user or password stands in the URL", hint)
    if not authority.isascii():
        hint = "write an international name in its ASCII form, which begins with xn--"
        raise _none("the host has characters that are not ASCII", hint)
    if found := _NOT_OF_AUTHORITY.search(authority):
        raise _none(f"the host has {found[0]!r}, which no host has")


def _ipv6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise _none("what the host has in brackets is no IPv6 address") from None


def _name(text: str) -> str:
    """A host that is a name, or IPv4, in lower case."""
    if not text:
        raise _none("the URL has no host")
    if text.endswith("."):
        raise _none(f"the host {_shown(text)} ends with a dot", "leave the dot out")
    if len(text) > _HOST_MAX or not all(map(_LABEL.fullmatch, text.lower().split("."))):
        raise _none(
            f"the host {_shown(text)} is no name of labels with 1 to 63 letters, digits and inner hyphens"
        )
    return text.lower()


def _ipv4(host: str) -> IPv4Address | None:
    """The address that a host is; None if it is a name."""
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(host)
    except AddressValueError:
        hint = "write an address as 192.0.2.1, without other bases and leading zeros"
        raise _none(
            f"the host {_shown(host)} is a number, but not an address in four decimal parts", hint
        ) from None


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if _PORT.fullmatch(text) and int(text) <= 65_535:
        return int(text)
    found = f"the port {_shown(text)}" if text.isdecimal() else "what stands behind the host's colon"
    raise EgressRefused("E443", f"{found} is none of 1 to 65535, in plain digits")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")
