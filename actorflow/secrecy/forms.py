"""The forms in which a secret's value comes back: as it is, inside quotes, inside JSON, in an address, as base64."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Final
from urllib.parse import quote

__all__ = ["SHORTEST_HIDDEN", "encoded", "spelled", "spellings_of", "texts_of"]

SHORTEST_HIDDEN: Final = 6
"""Characters: to hide shorter texts would make every message unreadable, and they are no secrets."""

_HOST: Final = re.compile(r"https?://[^/?#]*|[A-Z0-9._:-]+/?\Z", re.IGNORECASE)
_ALWAYS_PLAIN: Final = re.compile("[A-Za-z0-9_.-]+")  # as most tokens are: nobody writes these otherwise
_GROUP: Final = 3  # bytes that base64 writes as four characters
_BITS: Final = 6  # of one of these


def spelled(value: str) -> Iterator[frozenset[str]]:
    """The forms of a value, those of one text together, in which its letters and digits are what they are."""
    for text in texts_of(value):
        yield frozenset(form for form in spellings_of(text) if len(form) >= SHORTEST_HIDDEN)
        if (of_host := _of_host(text)) != text:
            yield frozenset({of_host})


def encoded(value: str) -> Iterator[frozenset[str]]:
    """Its forms in base64, those that begin alike together."""
    for whole in dict.fromkeys((value, value.strip())):
        if len(whole) >= SHORTEST_HIDDEN:
            yield from _base64_of(whole)


def texts_of(value: str) -> tuple[str, ...]:
    """The value, with and without the space around it, and each of its lines; also as it is read where it is not UTF-8."""
    texts: dict[str, None] = {}
    for whole in (value, _readable(value)):
        texts |= dict.fromkeys((whole, whole.strip(), *(line.strip() for line in whole.splitlines())))
    return tuple(text for text in texts if len(text) >= SHORTEST_HIDDEN)


def spellings_of(text: str) -> Iterator[str]:
    """How a text is written where some of its characters cannot stand: letters and digits stay what they are."""
    yield text
    if _ALWAYS_PLAIN.fullmatch(text):
        return
    yield repr(text)[1:-1]
    yield ascii(text)[1:-1]
    yield repr(text.encode(errors="surrogateescape"))[2:-1]
    yield text.replace("'", "'\\''")  # a shell's trace
    yield from (text.translate(table) for table in _IN_HTML)
    yield from _in_json(text)
    yield from _in_addresses(text)


def _of_host(text: str) -> str:
    """How a text comes back that is a host, a part of one, or a URL: hosts are told in lower case."""
    found = _HOST.match(text)
    return text if found is None else found[0].lower() + text[found.end() :]


_TAGS: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
_IN_HTML: Final = (
    _TAGS,
    _TAGS | {ord('"'): "&quot;", ord("'"): "&#x27;"},
    _TAGS | {ord('"'): "&quot;", ord("'"): "&#39;"},
    _TAGS | {ord('"'): "&quot;", ord("'"): "&apos;"},
    _TAGS | {ord('"'): "&#34;", ord("'"): "&#39;"},
)
"""How writers of HTML and XML escape; the standard library's `html` takes longer to load than all that is ours here."""


def _in_json(text: str) -> Iterator[str]:
    """JSON escapes more or less, as its writer likes; and JSON inside of JSON once more."""
    for is_ascii in (True, False):
        plain = json.dumps(text, ensure_ascii=is_ascii)[1:-1]
        for written in (plain, plain.replace("/", "\\/"), re.sub("[<>&]", _escaped, plain)):
            yield written
            yield re.sub(r"\\u[0-9a-f]{4}", _in_capitals, written)
            yield json.dumps(written, ensure_ascii=is_ascii)[1:-1]


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _in_capitals(found: re.Match[str]) -> str:
    return f"\\u{found[0][2:].upper()}"


_KEPT: Final = (
    "",  # quote(…, safe=""), curl, and all that follow RFC 3986 for a part of an address
    "/",  # quote()
    "*",  # forms of a browser
    "!'()*",  # encodeURIComponent
    "!'()*;/?:@&=+$,#",  # encodeURI
    "!$&'()*+,;=",  # a user and a password before a host
    "!$&'()*+,;=:@/",  # a path
)
"""What writers of addresses leave as it is, besides letters, digits, and `_.-~`."""


def _in_addresses(text: str) -> Iterator[str]:
    encode = partial(quote, errors="surrogateescape")
    for safe, has_plus, has_tilde in product(_KEPT, (False, True), (True, False)):
        written = encode(text, safe=safe)
        if has_plus:
            written = written.replace("%20", "+")
        if not has_tilde:
            written = written.replace("~", "%7E")
        yield written
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), written)


def _base64_of(text: str) -> Iterator[frozenset[str]]:
    """A text in both alphabets: by itself, and what is the same of it wherever it stands inside of something longer.

    So many bytes stand before it, or one more, or two more, that it begins at a border of three; the first and the last
    character that it shares with its neighbours are not looked for: they tell four bits of it at the most.
    """
    data = text.encode(errors="surrogateescape")
    for encode in (b64encode, urlsafe_b64encode):
        wholes = {encode(data).decode(), encode(data + b"\n").decode()}  # as it is, and as `echo` gives it
        wholes |= {whole.rstrip("=") for whole in wholes}
        for before in range(_GROUP):
            first = -(-before * 8 // _BITS)
            behind = (before + len(data)) * 8 // _BITS
            core = encode(bytes(before) + data).decode()[first:behind]
            if len(core) >= SHORTEST_HIDDEN:
                yield frozenset({core, *wholes} if before == 0 else {core})


def _readable(value: str) -> str:
    return value.encode(errors="surrogateescape").decode(errors="replace")
