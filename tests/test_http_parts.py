"""The parts of a request that are pure: what may be sent, where a redirect leads, how a body is read, when to come back."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import reduce
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.egress.refusals import EgressRefused
from actorflow.http.bodies import BodyUnread, decodings_of, read_body
from actorflow.http.dialling import dialling, socket_for
from actorflow.http.redirects import Step, next_step
from actorflow.http.retry_after import retry_after_s
from actorflow.http.sendable import check_headers
from tests.http_clients import guard_of

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0


def dated(offset_s: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + offset_s, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("86401", DAY),
        ("9" * 5_000, DAY),
        (dated(90), 90.0),
        (dated(-90), 0.0),
        (dated(10 * DAY), DAY),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
        ("Sunday, 22-Nov-26 12:00:30 GMT", 30.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("²", None),
        ("soon", None),
        ("inf", None),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
        ("Sun, 22 Nov 99999999999 12:00:30 GMT", None),
    ],
)
def test_a_retry_after_is_seconds_within_a_day_or_nothing(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value, NOW) == expected


@given(st.text() | st.builds("{} {} {}".format, st.integers(), st.sampled_from(["Nov", "x"]), st.text()))
def test_whatever_a_retry_after_says_is_within_a_day_or_nothing(value: str) -> None:
    found = retry_after_s(value, NOW)
    assert found is None or 0.0 <= found <= DAY


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("X-Note", "a\rb", "has a carriage return at position 2"),
        ("X-Note", "a\nb", "has a line break at position 2"),
        ("X-Note", "ab\0", "has a NUL at position 3"),
        ("X-Note", "\x1b", r"has the character '\x1b' at position 1"),
        ("X-Note", "\ud800", r"has the character '\ud800' at position 1"),
        ("X Note", "a", "'X Note' is no name of a header"),
        ("X-Note:", "a", "'X-Note:' is no name of a header"),
        ("", "a", "'' is no name of a header"),
        ("X-Nöte", "a", "'X-Nöte' is no name of a header"),
        ("a\nb", "a", r"'a\nb' is no name of a header"),
        ("Host", "evil.example", "the header Host is not for a request to set"),
        ("content-length", "0", "the header content-length is not for a request to set"),
        ("Transfer-Encoding", "chunked", "the header Transfer-Encoding is not for a request to set"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(EgressRefused) as refused:
        check_headers([("X-Good", "fine"), (name, value)])
    assert refused.value.code == "E447"
    assert says in refused.value.problem
    assert refused.value.hint


def test_other_headers_are_sent_as_they_are() -> None:
    check_headers([("X-Note", "tab\tand ä"), ("Authorization", "Bearer x"), ("X-Empty", "")])


STEP = Step(
    "POST",
    "https://api.example.com/v1/orders?x=1",
    [("Content-Type", "text/plain"), ("authorization", "Bearer x"), ("X-Key", "k"), ("X-Open", "y")],
    b"body",
)


@pytest.mark.parametrize(
    ("status", "method", "then", "has_body"),
    [
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (303, "HEAD", "HEAD", True),
        (301, "PUT", "PUT", True),
        (302, "DELETE", "DELETE", True),
        (307, "POST", "POST", True),
        (308, "POST", "POST", True),
        (307, "GET", "GET", True),
    ],
)
def test_a_redirect_asks_as_a_browser_would(status: int, method: str, then: str, has_body: bool) -> None:
    step = Step(method, STEP.url, STEP.headers, STEP.body)
    led = next_step(step, status, "/there", frozenset())
    assert (led.method, led.body == b"body", ("Content-Type", "text/plain") in led.headers) == (
        then,
        has_body,
        has_body,
    )


@pytest.mark.parametrize(
    ("location", "url", "keeps_secrets"),
    [
        ("/there", "https://api.example.com/there", True),
        ("there?y=2", "https://api.example.com/v1/there?y=2", True),
        ("?y=2", "https://api.example.com/v1/orders?y=2", True),
        ("../up", "https://api.example.com/up", True),
        ("/there#part", "https://api.example.com/there", True),
        ("/ü", "https://api.example.com/ü", True),
        ("https://api.example.com/there", "https://api.example.com/there", True),
        ("//other.example.com/", "https://other.example.com/", False),
        ("http://api.example.com/", "http://api.example.com/", False),
        ("https://api.example.com:8443/", "https://api.example.com:8443/", False),
        ("https://api.example.com@evil.example/", "https://api.example.com@evil.example/", False),
        ("https://evil.example\t/", "https://evil.example\t/", False),
        ("/a b", "/a b", False),
        ("\\there", "\\there", False),
        ("http://[::1", "http://[::1", False),
    ],
)
def test_a_redirect_leads_where_it_says_and_secrets_stay_with_their_origin(
    location: str, url: str, keeps_secrets: bool
) -> None:
    led = next_step(STEP, 307, location, frozenset({"x-key"}))
    assert led.url == url
    names = {name for name, _ in led.headers}
    assert names == ({"Content-Type", "X-Open"} | ({"authorization", "X-Key"} if keeps_secrets else set()))


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET, ("8.8.8.8", 81)),
        (socket.AF_INET6, ("::ffff:10.0.0.1", 80, 0, 0)),
        (socket.AF_INET6, ("fe80::1%eth0", 80, 0, 0)),
    ],
)
def test_no_socket_is_made_for_an_address_that_is_not_permitted(
    family: int, address: tuple[Any, ...]
) -> None:
    permit = guard_of("http://api.example.com").permit("http://api.example.com/")
    with dialling(permit), pytest.raises(EgressRefused, match="E445"):
        socket_for((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address))


def test_no_socket_is_made_but_for_a_request() -> None:
    with pytest.raises(LookupError):
        socket_for((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("8.8.8.8", 80)))


PACK = {
    "gzip": gzip.compress,
    "x-gzip": lambda body: gzip.compress(body[:5]) + gzip.compress(body[5:]),
    "deflate": zlib.compress,
    "Deflate": lambda body: zlib.compress(body, wbits=-15),
    "identity": bytes,
}


def read(
    data: bytes, encoding: str, most: int, cuts: Sequence[int] = (), *, is_cut: bool = True
) -> tuple[bytes, bool]:
    async def chunks() -> AsyncIterator[bytes]:
        bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        for start, end in pairwise(bounds):
            yield data[start:end]

    async def reading() -> tuple[bytes, bool]:
        return await read_body(chunks(), decodings_of(encoding), most, is_cut=is_cut)

    return anyio.run(reading)


@given(
    st.binary(max_size=200) | st.builds(bytes, st.integers(0, 300_000)),
    st.lists(st.sampled_from(sorted(PACK)), max_size=3),
    st.lists(st.integers(0, 500), max_size=5),
)
def test_a_body_is_the_same_however_it_was_packed_and_cut_to_pieces(
    body: bytes, names: list[str], cuts: list[int]
) -> None:
    packed = reduce(lambda data, name: PACK[name](data), names, body)
    assert read(packed, ", ".join(names), len(body), cuts, is_cut=False) == (body, False)


@given(
    st.binary(max_size=300), st.lists(st.sampled_from(["gzip", "deflate"]), max_size=3), st.integers(0, 400)
)
def test_whatever_comes_ends_as_a_body_within_its_bound_or_as_a_failure(
    data: bytes, names: list[str], most: int
) -> None:
    try:
        body, _ = read(data, ",".join(names), most)
    except BodyUnread as failed:
        assert failed.kind == "protocol"  # noqa: PT017 - either end is right
    else:
        assert len(body) <= most


@pytest.mark.parametrize(
    ("data", "encoding", "says"),
    [
        (b"no gzip at all", "gzip", "gzip is broken"),
        (gzip.compress(b"abc" * 50)[:-1], "gzip", "gzip ends in the middle"),
        (gzip.compress(b"abc") + b"and more", "gzip", "gzip is broken"),
        (gzip.compress(b"abc")[:-8] + bytes(8), "gzip", "gzip is broken"),
        (zlib.compress(b"abc")[:-1], "deflate", "deflate ends in the middle"),
        (b"\x78", "deflate", "deflate ends in the middle"),
        (b"x", "br", "in 'br', though only gzip, deflate are asked for"),
        (b"x", "gzip, zstd", "in 'zstd', though"),
        (b"x", "gzip, gzip, gzip, gzip", "that is compressed 4 times; 3 are the most"),
    ],
    # The header of gzip holds the time: without names of their own the cases of two worker
    # processes would have different ones.
    ids=[
        "no-gzip",
        "gzip-short",
        "gzip-more",
        "gzip-zeros",
        "deflate-short",
        "deflate-one-byte",
        "br",
        "zstd",
        "four-times",
    ],
)
def test_a_body_that_stands_for_nothing_fails_with_what_is_wrong(
    data: bytes, encoding: str, says: str
) -> None:
    with pytest.raises(BodyUnread, match=says) as failed:
        read(data, encoding, 1_000)
    assert failed.value.kind == "protocol"


@pytest.mark.parametrize("cuts", [(), range(200)], ids=["whole", "byte by byte"])
def test_zeros_behind_the_end_of_gzip_are_padding(cuts: Sequence[int]) -> None:
    packed = gzip.compress(b"abc") + bytes(5) + gzip.compress(b"def") + bytes(100)
    assert read(packed, "gzip", 100, cuts, is_cut=False) == (b"abcdef", False)


def test_a_bomb_in_a_bomb_is_cut() -> None:
    bomb = gzip.compress(gzip.compress(bytes(64 * 2**20)))
    assert read(bomb, "gzip, gzip", 1_000) == (bytes(1_000), True)


def test_a_bomb_that_stands_for_nothing_ends_too() -> None:
    empty_block = b"\x00\x00\x00\xff\xff"
    bomb = gzip.compress(empty_block * 2_000_000)
    with pytest.raises(BodyUnread, match="more than 1,000 bytes"):
        read(bomb, "deflate, gzip", 1_000, is_cut=False)


def test_a_body_as_long_as_its_bound_is_whole() -> None:
    assert read(bytes(1_000), "", 1_000, is_cut=False) == (bytes(1_000), False)
    assert read(bytes(1_001), "", 1_000) == (bytes(1_000), True)
