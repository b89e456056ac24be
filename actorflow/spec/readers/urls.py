"""What the address, the headers and the answer of a request may look like, before any template in them is rendered.

This only finds mistakes early: which hosts may be reached is judged when a request is made, on the rendered text and on the
address that is dialled.
"""

from __future__ import annotations

import re
from typing import Final

from actorflow.spec.readers.block import Block
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, kind_of

__all__ = [
    "HEADER_NAME",
    "check_headers",
    "check_is_secret",
    "check_url",
    "fault_written_secret",
    "read_statuses",
]

_TEMPLATE: Final = re.compile(r"\$\$|\$?\{")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ODD: Final = re.compile(r"[\x00-\x20\x7f\\]")
_AUTHORITY: Final = re.compile(r"[a-z]+://([^/?#]*)", re.IGNORECASE)
_PORT: Final = re.compile(r":([0-9]*)$")
HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAMES_SECRET: Final = re.compile(r"\$\{\s*[A-Z_][A-Z0-9_]*\s*\}|(?:\{\{|\$\{)[^{}]*\bsecrets\.")
_PROOF_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "x-api-key", "cookie"})
_LONGEST_URL: Final = 8_192
_LONGEST_PORT: Final = 5  # digits


def check_url(block: Block, key: str) -> None:
    """Report a text that cannot be the URL of a request; of one with templates, what stands before the first."""
    url = block.text(key)
    problem = _problem_of(url) if url is not None else ""
    if problem:
        block.fault("E141", key, problem, "write https://HOST/PATH")


def _problem_of(url: str) -> str:
    template = _TEMPLATE.search(url)
    literal = url if template is None else url[: template.start()]
    if len(url) > _LONGEST_URL:
        return f"a URL has at most {_LONGEST_URL:,} characters, not {len(url):,}"
    if _ODD.search(literal):
        return "a URL holds no spaces, control characters or backslashes"
    scheme = _SCHEME.match(literal)
    if scheme is None:
        return "" if template is not None and ":" not in literal[:1] else "the URL has no scheme"
    if scheme[1].lower() not in {"http", "https"}:
        return f"a URL begins with http or https, not {scheme[1]}"
    return _problem_of_authority(literal, is_whole=template is None)


def _problem_of_authority(literal: str, *, is_whole: bool) -> str:
    found = _AUTHORITY.match(literal)
    if found is None:
        return "there is no host in this URL" if is_whole else ""
    authority = found[1]
    if "@" in authority:
        return "a URL holds no user and password"
    if not is_whole and found.end() == len(literal):
        return ""  # a template may go on with it
    port = _PORT.search(authority)
    if port is not None and not (len(port[1]) <= _LONGEST_PORT and 0 < int(port[1] or 0) < 65_536):
        return f"{port[1][:20]!r} is no port: 1 to 65535"
    return "" if authority.removesuffix(port[0] if port else "") else "there is no host in this URL"


def check_headers(block: Block, key: str) -> None:
    """Report headers that are no mapping of names to texts or numbers, break out of their line, or hold a secret."""
    headers = block.block(key)
    if headers is None:
        return
    for name, value in headers.node.items():
        if HEADER_NAME.fullmatch(name) is None:
            headers.key_fault("E141", name, f"{name!r} cannot be the name of a header")
        elif isinstance(value, MapNode | list) or value is None or isinstance(value, bool):
            headers.fault("E121", name, f"must be text or a number, not {kind_of(value)}")
        elif isinstance(value, str) and any(odd in value for odd in "\r\n\0"):
            headers.fault("E141", name, "a header's value is one line, without NUL")
        elif name.lower() in _PROOF_HEADERS:
            check_is_secret(headers, name)


def check_is_secret(block: Block, key: str) -> None:
    """Report a text that should name a secret, or hold the name of one, and stands in the file as it is."""
    text = block.node.get(key)
    if isinstance(text, str) and _NAMES_SECRET.search(text) is None:
        fault_written_secret(block, key)


def fault_written_secret(block: Block, key: str, index: int | None = None) -> None:
    """Report a secret that stands in the file; its value is not shown."""
    hint = 'write "${NAME}", a variable of the environment, or "{{ secrets.name }}"'
    block.fault("E140", key, "a secret must not be written into the file", hint, index=index)


def read_statuses(block: Block, key: str) -> tuple[int, ...]:
    """HTTP statuses: one, or a list; each once."""
    value = block.node.get(key, BROKEN)
    items = list(enumerate(value)) if isinstance(value, ListNode) else [(None, value)]
    statuses: dict[int, None] = {}
    for index, item in items:
        if isinstance(item, int) and not isinstance(item, bool) and 100 <= item <= 599:
            statuses[item] = None
        elif item is not BROKEN:
            message = f"must be an HTTP status, 100 to 599, not {kind_of(item)}"
            block.fault("E123", key, message, index=index)
    return tuple(statuses)
