"""The client against a server that does what it wants: every request ends, as a table says, and costs little."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from gzip import compress
from traceback import format_exception
from typing import Any

import anyio
import pytest
from attrs import frozen

from actorflow.actors.host import current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.egress.refusals import EgressRefused
from actorflow.http.client import HttpClient
from actorflow.http.exchange import HOOK_BODY_MAX, HttpAnswer, HttpFailed, HttpRequest
from actorflow.http.redirects import Step
from actorflow.http.session import Session, _Progress, tls_context
from tests.chaos_sink import (
    Act,
    ChaosSink,
    Greeting,
    Tls,
    answer,
    drip,
    endless,
    gzip_bomb,
    packed,
    promised,
    raw,
    redirect,
    reset,
    retry_after,
    silence,
)
from tests.hook_tries import until
from tests.http_clients import Names, client_of, guard_of

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\n"
SECRET = "hunter2"
MIB = 2**20
GIB = 2**30
TEXT = b"a line of an answer, " * 20
CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.fixture
def sink() -> Iterator[ChaosSink]:
    with ChaosSink() as opened:
        yield opened


async def ask(client: HttpClient, sink: ChaosSink, path: str = "/", **facts: Any) -> HttpAnswer:
    """POST to the sink, which is allowed."""
    url = facts.pop("url", sink.url(path))
    guard = facts.pop("guard", None) or guard_of(sink.url(""), sink.url("", host="localhost"))
    return await client.request(HttpRequest(**{"method": "POST", "url": url, "guard": guard, **facts}))


@frozen
class Ends:
    """How a request ends: with an answer, or a kind of failure."""

    status: int = 0
    body: bytes = b""
    is_cut: bool = False
    kind: str = ""
    was_sent: bool = True


BROKEN = Ends(kind="protocol")
CUT = Ends(200, bytes(HOOK_BODY_MAX), is_cut=True)

ENDS: dict[str, tuple[Act, Ends]] = {
    "a body": (answer(200, TEXT), Ends(200, TEXT)),
    "no content": (answer(204), Ends(204)),
    "not found": (answer(404, b"no"), Ends(404, b"no")),
    "unavailable": (answer(503, b"later"), Ends(503, b"later")),
    "a status of nobody": (answer(799), Ends(799)),
    "a redirect that is not followed": (redirect("/elsewhere"), Ends(302)),
    "gone": (answer(410), Ends(410)),
    "a switch of protocols": (
        raw(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx"),
        Ends(101),
    ),
    "until the end, by 1.0": (raw(b"HTTP/1.0 200 OK\r\n\r\nabc"), Ends(200, b"abc")),
    "continue, then the answer": (raw(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\nabc"), Ends(200, b"abc")),
    "chunked": (endless(65_536, CHUNKED), Ends(200, bytes(65_536))),
    "gzip": (packed(TEXT, "gzip"), Ends(200, TEXT)),
    "deflate": (packed(TEXT, "deflate"), Ends(200, TEXT)),
    "deflate without its frame": (packed(TEXT, "raw-deflate"), Ends(200, TEXT)),
    "gzip in deflate": (packed(TEXT, "gzip", "deflate"), Ends(200, TEXT)),
    "gzip in gzip, in two headers": (
        answer(200, compress(compress(TEXT)), ("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")),
        Ends(200, TEXT),
    ),
    "a byte at a time": (drip(OK + b"Content-Length: 2\r\n\r\nok", every_s=0), Ends(200, b"ok")),
    "a bomb": (gzip_bomb(64 * MIB), CUT),
    "ten GiB": (endless(), CUT),
    "ten GiB in chunks": (endless(10 * GIB, CHUNKED), CUT),
    "one byte more than is read": (answer(200, bytes(HOOK_BODY_MAX + 1)), CUT),
    "an encoding of nobody": (answer(200, TEXT, ("Content-Encoding", "br")), BROKEN),
    "no gzip": (answer(200, TEXT, ("Content-Encoding", "gzip")), BROKEN),
    "no answer": (raw(b""), BROKEN),
    "no HTTP": (raw(b"220 mail.example.com ESMTP\r\n"), BROKEN),
    "another version": (raw(b"HTTP/2 200 OK\r\n\r\n"), BROKEN),
    "half a head": (raw(b"HTTP/1.1 200"), BROKEN),
    "less than promised": (promised(10, b"abc"), BROKEN),
    "more than promised": (promised(2, b"abcdef"), BROKEN),
    "a negative length": (promised(-1, b"abc"), BROKEN),
    "a length in words": (promised("three", b"abc"), BROKEN),
    "two lengths": (raw(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), BROKEN),
    "a chunk of no size": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"), BROKEN),
    "a chunk that is not whole": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), BROKEN),
    "a header of 200 kB": (raw(OK + b"X: " + bytes([97]) * 200_000 + b"\r\n\r\n"), BROKEN),
    "a head without end": (drip(b"X: a\r\n" * 100_000, 0, head=OK), BROKEN),
    "20,000 headers": (raw(OK + b"X: a\r\n" * 20_000 + b"\r\n"), BROKEN),
    "a NUL in a header": (raw(OK + b"X: a\0b\r\n\r\n"), BROKEN),
    "reset before an answer": (reset(), BROKEN),
    "reset within the first line": (reset(b"HTTP/1.1 2"), BROKEN),
    "reset within the head": (reset(OK), BROKEN),
    "reset within the body": (reset(OK + b"Content-Length: 100\r\n\r\nabc"), BROKEN),
    "reset within a chunk": (reset(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), BROKEN),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_request_ends_as_the_table_says(name: str, sink: ChaosSink) -> None:
    act, expected = ENDS[name]
    sink.answers("/", act)
    async with client_of() as client:
        assert await ending_of(client, sink) == expected
    assert len(sink.requests) == 1


async def ending_of(client: HttpClient, sink: ChaosSink, **facts: Any) -> Ends:
    try:
        given = await ask(client, sink, **facts)
    except HttpFailed as failed:
        return Ends(kind=failed.kind, was_sent=failed.was_sent)
    return Ends(given.status, given.body, given.is_cut)


@pytest.mark.parametrize("name", [name for name, (_, ends) in ENDS.items() if ends.is_cut])
async def test_a_body_that_must_be_whole_fails_when_it_is_too_large(name: str, sink: ChaosSink) -> None:
    sink.answers("/", ENDS[name][0])
    async with client_of() as client:
        assert await ending_of(client, sink, is_cut=False) == Ends(kind="too_large")


@pytest.mark.parametrize(
    "act", [gzip_bomb(GIB), endless(), endless(10 * GIB, CHUNKED)], ids=["bomb", "endless", "chunked"]
)
@pytest.mark.parametrize("is_cut", [True, False])
async def test_an_enormous_body_costs_no_memory(act: Act, is_cut: bool, sink: ChaosSink) -> None:
    sink.answers("/", act)
    async with client_of() as client:
        await ask(client, sink, "/warm")
        tracemalloc.start()
        try:
            await ending_of(client, sink, is_cut=is_cut, body_max=MIB)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 * MIB
    assert sink.bytes_sent < GIB


async def test_a_connection_is_kept_and_used_again(sink: ChaosSink) -> None:
    async with client_of() as client:
        for _ in range(5):
            await ask(client, sink, body=b"{}")
    assert (len(sink.requests), sink.connections()) == (5, 1)


async def test_requests_that_come_at_once_share_one_session_and_few_connections(sink: ChaosSink) -> None:
    async with client_of() as client, anyio.create_task_group() as group:
        for number in range(64):
            group.start_soon(ask, client, sink, f"/{number}")
    assert len({request.path for request in sink.requests}) == 64
    assert sink.connections() <= 16


async def test_waiting_for_a_free_connection_is_no_failure_to_connect(sink: ChaosSink) -> None:
    sink.answers("/", drip(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", every_s=0.03))  # 1.3 s
    async with client_of() as client, anyio.create_task_group() as group:
        for _ in range(17):
            group.start_soon(lambda: ask(client, sink, connect_timeout_s=1.0))
    assert len(sink.requests) == 17


async def test_what_others_hold_is_waited_for_beside_the_timeout_of_the_request(sink: ChaosSink) -> None:
    sink.answers("/held", silence())
    statuses: list[int] = []

    async def wait(client: HttpClient) -> None:
        statuses.append((await ask(client, sink, timeout_s=5.0)).status)

    async with (
        client_of() as client,
        anyio.create_task_group() as waiting,
        anyio.create_task_group() as holding,
    ):
        for _ in range(16):
            holding.start_soon(ask, client, sink, "/held")
        await until(lambda: len(sink.requests) == 16)
        with pytest.raises(HttpFailed, match=r"no connection to .* was free within 0\.05 s") as failed:
            await ask(client, sink, timeout_s=0.01, queue_timeout_s=0.05)
        waiting.start_soon(wait, client)
        holding.cancel_scope.cancel()
    assert (failed.value.kind, failed.value.was_sent, statuses) == ("queue", False, [204])


@pytest.mark.parametrize("is_kept", [True, False])
async def test_an_answer_is_waited_for_as_long_as_the_request_says(is_kept: bool, sink: ChaosSink) -> None:
    sink.answers("/late", silence())
    async with client_of() as client:
        if is_kept:
            await ask(client, sink)
        with pytest.raises(HttpFailed, match=r"has not answered within 0\.2 s") as failed:
            await ask(client, sink, "/late", timeout_s=0.2)
    assert (failed.value.kind, failed.value.was_sent) == ("timeout", True)


async def test_closing_the_client_closes_its_connections(sink: ChaosSink) -> None:
    async with client_of() as client:
        await ask(client, sink)
        assert sink.open_connections == 1
        await client.aclose()
        await until(lambda: sink.open_connections == 0)


async def test_a_client_that_was_closed_opens_anew(sink: ChaosSink) -> None:
    async with client_of() as client:
        await ask(client, sink)
        await client.aclose()
        await ask(client, sink)
    assert sink.connections() == 2


@pytest.mark.parametrize(
    "act",
    [silence(), drip(OK * 100, 0.05), drip(b"x" * 1_000, 0.05, head=OK + b"Content-Length: 1000\r\n\r\n")],
    ids=["silence", "a head byte by byte", "a body byte by byte"],
)
async def test_cancelling_a_request_closes_its_connection(act: Act, sink: ChaosSink) -> None:
    sink.answers("/", act)
    async with client_of() as client:
        await ask(client, sink, "/warm")
        async with anyio.create_task_group() as group:
            group.start_soon(ask, client, sink)
            await until(lambda: len(sink.requests) == 2)
            group.cancel_scope.cancel()
        await until(lambda: sink.open_connections == 0)
        assert (await ask(client, sink, "/warm")).status == 204


async def test_what_is_sent_is_what_was_asked_for(sink: ChaosSink) -> None:
    async with client_of() as client:
        await ask(
            client,
            sink,
            "/orders?a=1",
            method="PUT",
            query=[("b", "x y"), ("b", "ä&=")],
            headers=[("Content-Type", "text/plain"), ("X-Two", "1"), ("X-Two", "2")],
            body=b"hi",
        )
    (request,) = sink.requests
    assert (request.method, request.body) == ("PUT", b"hi")
    assert request.target == "/orders?a=1&b=x%20y&b=%C3%A4%26%3D"
    assert sorted(request.headers) == [
        ("accept", "*/*"),
        ("accept-encoding", "gzip, deflate"),
        ("content-length", "2"),
        ("content-type", "text/plain"),
        ("host", f"127.0.0.1:{sink.port}"),
        ("user-agent", "actorflow/0.1.0"),
        ("x-two", "1"),
        ("x-two", "2"),
    ]


async def test_a_query_is_judged_with_its_url(sink: ChaosSink) -> None:
    async with client_of() as client:
        with pytest.raises(EgressRefused, match="E440"):
            await ask(client, sink, query=[("a", "x" * 9_000)])


@pytest.mark.parametrize("value", ["a\r\nHost: evil.example", "a\nb", "a\rb", "a\0b"])
async def test_a_header_that_would_end_early_is_not_sent(value: str, sink: ChaosSink) -> None:
    async with client_of() as client:
        with pytest.raises(EgressRefused, match=r"E447 .* header X-Note") as refused:
            await ask(client, sink, headers=[("X-Note", value)])
    assert sink.connections() == 0
    assert "evil" not in str(refused.value)


async def test_proxies_of_the_environment_are_not_used(
    sink: ChaosSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChaosSink() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        async with client_of() as client:
            await ask(client, sink)
        assert proxy.connections() == 0
    assert sink.connections() == 1


async def test_passwords_of_a_netrc_are_not_sent(
    sink: ChaosSink, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with client_of() as client:
        await ask(client, sink)
    assert sink.requests[0].header("authorization") is None


async def test_cookies_are_not_kept(sink: ChaosSink) -> None:
    sink.answers("/", answer(200, b"", ("Set-Cookie", "session=1; Path=/")))
    async with client_of() as client:
        for _ in range(2):
            await ask(client, sink, url=sink.url("/", host="localhost"))
    assert [request.header("cookie") for request in sink.requests] == [None, None]


async def test_what_headers_say_is_told(sink: ChaosSink) -> None:
    sink.answers(
        "/", raw(OK + b"X-A: 1\r\nx-a: 2\r\nX-B: \xff\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
    )
    async with client_of() as client:
        given = await ask(client, sink)
    assert (given.headers["x-a"], given.headers["x-b"], given.retry_after_s) == ("1", "\ufffd", 7.0)


async def test_an_absurd_retry_after_is_a_day_at_most(sink: ChaosSink) -> None:
    sink.answers("/", retry_after("9" * 400), retry_after("-5"))
    async with client_of() as client:
        assert [(await ask(client, sink)).retry_after_s for _ in range(2)] == [86_400.0, None]


# --- redirects ---------------------------------------------------------------------------------------------------------------


async def test_redirects_are_followed_as_far_as_is_said(sink: ChaosSink) -> None:
    for number in range(5):
        sink.answers(f"/{number}", redirect(f"{number + 1}?from={number}"))
    async with client_of() as client:
        given = await ask(client, sink, "/0", redirects_max=5)
        with pytest.raises(EgressRefused, match="E446 there are more than 4 redirects"):
            await ask(client, sink, "/0", redirects_max=4)
    assert given.status == 204
    assert given.redirects == tuple(sink.url(f"/{number}") for number in range(5))
    assert sink.connections() == 1


async def test_a_redirect_to_itself_ends(sink: ChaosSink) -> None:
    sink.answers("/", redirect(""), redirect("/"))
    async with client_of() as client:
        with pytest.raises(EgressRefused, match="E446"):
            await ask(client, sink, redirects_max=5)
    assert len(sink.requests) == 6


@pytest.mark.parametrize(
    ("status", "method", "body"), [(302, "GET", b""), (303, "GET", b""), (307, "POST", b"{}")]
)
async def test_another_origin_is_told_no_secrets(
    status: int, method: str, body: bytes, sink: ChaosSink
) -> None:
    headers = [("Authorization", "Bearer x"), ("X-Key", "x"), ("X-Open", "y")]
    with ChaosSink() as other:
        sink.answers("/", redirect(other.url("/there"), status))
        async with client_of() as client:
            await ask(
                client,
                sink,
                guard=guard_of(sink.url(""), other.url("")),
                headers=headers,
                secret_headers=frozenset({"x-key"}),
                body=b"{}",
                redirects_max=1,
            )
        (request,) = other.requests
    names = ("authorization", "x-key", "x-open")
    assert [request.header(name) for name in names] == [None, None, "y"]
    assert (request.method, request.body) == (method, body)


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://127.0.0.1\t.example.com/", "E440"),
        ("/a\tb", "E440"),
        ("\\\\10.0.0.1\\", "E440"),
        ("http://[::1", "E440"),
        ("http://[10.0.0.1]/", "E440"),
        ("/a/%2e%2e/b", "E440"),
        ("javascript:alert(1)", "E441"),
        ("file:///etc/passwd", "E441"),
        ("http://me:secret@10.0.0.1/", "E442"),
        ("//10.0.0.1/", "E444"),
        ("https://127.0.0.1/", "E444"),
        ("http://" + "a." * 4_000, "E440"),
    ],
)
async def test_a_hostile_location_is_refused(location: str, code: str, sink: ChaosSink) -> None:
    sink.answers("/", redirect(location))
    async with client_of(Names({})) as client:
        with pytest.raises(EgressRefused) as refused:
            await ask(client, sink, redirects_max=5)
    assert refused.value.code == code
    assert len(sink.requests) == 1


async def test_what_was_redirected_was_sent(sink: ChaosSink) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    sink.answers("/", redirect(f"{nobody}/there", 307))
    async with client_of() as client:
        with pytest.raises(HttpFailed) as failed:
            await ask(client, sink, guard=guard_of(sink.url(""), nobody), redirects_max=1)
    assert (failed.value.kind, failed.value.was_sent) == ("connect", True)


async def test_a_redirect_without_location_is_an_answer(sink: ChaosSink) -> None:
    sink.answers("/", answer(302, b"where?"))
    async with client_of() as client:
        given = await ask(client, sink, redirects_max=5)
    assert (given.status, given.body) == (302, b"where?")


async def test_an_enormous_body_of_a_redirect_is_passed_over(sink: ChaosSink) -> None:
    sink.answers("/", endless(10 * GIB, ("Location", "/there"), CHUNKED))
    sink.answers("/far", raw(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n" + bytes(MIB)))
    async with client_of() as client:
        given = await ask(client, sink, "/far", redirects_max=1, is_cut=False)
    assert (given.status, given.redirects) == (204, (sink.url("/far"),))


# --- connections -------------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


async def test_a_port_where_nobody_listens_is_a_failure_to_connect() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    async with client_of() as client:
        with pytest.raises(HttpFailed, match="could not be connected: ") as failed:
            await client.request(HttpRequest(method="POST", url=url, guard=guard_of(url)))
    assert (failed.value.kind, failed.value.was_sent) == ("connect", False)


@pytest.mark.parametrize("answers", [{}, {"gone.example.com": [[]]}], ids=["unknown", "no address"])
async def test_a_name_that_is_not_found_is_a_failure_to_connect(answers: Any) -> None:
    url = "http://gone.example.com/"
    async with client_of(Names(answers)) as client:
        with pytest.raises(HttpFailed, match="could not be looked up: ") as failed:
            await client.request(HttpRequest(method="POST", url=url, guard=guard_of(url)))
    assert (failed.value.kind, failed.value.was_sent) == ("connect", False)


TLS: dict[str, tuple[Tls | None, Greeting, str]] = {
    "a certificate of an unknown authority": ("unknown", "", "tls"),
    "a certificate for another name": ("other_name", "", "tls"),
    "a certificate of yesterday": ("expired", "", "tls"),
    "a server without TLS": (None, "mail", "tls"),
    "a handshake that never ends": (None, "silent", "timeout"),
    "a connection that is reset at once": ("trusted", "reset", "connect"),
}


@pytest.mark.parametrize("name", TLS)
async def test_tls_that_fails_sends_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, greeting, kind = TLS[name]
    with ChaosSink(tls=tls, greeting=greeting) as sink:
        if tls is not None:
            monkeypatch.setenv("SSL_CERT_FILE", sink.ca_file)
        url = sink.url("/", scheme="https")
        async with client_of() as client:
            with pytest.raises(HttpFailed) as failed:
                await ask(client, sink, url=url, guard=guard_of(url), connect_timeout_s=0.3)
        assert (failed.value.kind, failed.value.was_sent) == (kind, False)
        assert sink.requests == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_an_authority_of_ones_own_is_trusted_by_ssl_cert_file(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChaosSink(tls="trusted") as sink:
        monkeypatch.setenv("SSL_CERT_FILE", sink.ca_file)
        async with client_of(Names({"localhost": [["127.0.0.1"]]})) as client:
            assert (await ask(client, sink, url=sink.url(host=host))).status == 204


async def test_a_kept_connection_is_judged_by_who_uses_it(sink: ChaosSink) -> None:
    host = sink.url("", host="api.example.com")
    wide, narrow = guard_of(host, "127.0.0.1/32"), guard_of(host)
    async with client_of(Names({"api.example.com": [["127.0.0.1"]]})) as client:
        await ask(client, sink, url=host, guard=wide)
        with pytest.raises(EgressRefused, match="E445"):
            await ask(client, sink, url=host, guard=narrow)
        await ask(client, sink, url=host, guard=wide)
    assert (len(sink.requests), sink.connections()) == (2, 1)


async def test_names_are_looked_up_for_every_new_connection(sink: ChaosSink) -> None:
    sink.answers("/", answer(200, b"", ("Connection", "close")))
    url = sink.url("/", host="localhost")
    names = Names({"localhost": [["127.0.0.1"], ["10.0.0.1"]]})
    async with client_of(names) as client:
        await ask(client, sink, url=url)
        with pytest.raises(EgressRefused, match="E445"):
            await ask(client, sink, url=url)
    assert len(sink.requests) == 1


async def test_an_address_that_is_dead_does_not_hide_the_others(sink: ChaosSink) -> None:
    names = Names({"localhost": [["::1", "127.0.0.1"]]})
    async with client_of(names) as client:
        assert (await ask(client, sink, url=sink.url("/", host="localhost"))).status == 204


@pytest.mark.parametrize(
    "act", [reset(), raw(b"?"), promised(9, b""), answer(200, b"x", ("Content-Encoding", "gzip"))]
)
async def test_no_failure_quotes_the_query_or_the_path(act: Act, sink: ChaosSink) -> None:
    sink.answers(f"/{SECRET}", act)
    async with client_of() as client:
        with pytest.raises(HttpFailed) as failed:
            await ask(client, sink, f"/{SECRET}", query=[("token", SECRET)])
    assert SECRET not in "".join(format_exception(failed.value, chain=True))
    assert SECRET not in repr(failed.value)


async def test_nothing_is_dialled_but_for_a_request_that_is_permitted(sink: ChaosSink) -> None:
    step = Step("POST", sink.url(), (), None)
    request = HttpRequest(method="POST", url=sink.url(), guard=guard_of(sink.url("")))

    async def go_around() -> None:
        session = Session(tls_context())
        try:
            async with asyncio.timeout(None) as deadline:
                with pytest.raises(LookupError):
                    await session._answer(step, request, _Progress(request, deadline=deadline))
        finally:
            await session.aclose()

    room = AsyncioRoom(current_host())
    await room.call(go_around)
    await room.aclose()
    assert sink.connections() == 0


def test_no_http_library_is_loaded_before_the_first_request() -> None:
    code = "import sys, actorflow, actorflow.http.client; print('aiohttp' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


EMPTY_DEFLATE = b"\x03\x00"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_streams_that_stand_for_nothing_do_not_hold_the_loop(encoding: str, sink: ChaosSink) -> None:
    """A megabyte of them took seconds, in which no timeout could fire: each copied all that was behind it."""
    empty = EMPTY_DEFLATE if encoding == "deflate" else compress(b"")
    body = empty * (MIB // len(empty))
    sink.answers("/", answer(200, body, ("Content-Encoding", encoding)))
    async with client_of() as client:
        await ask(client, sink, "/warm")
        with pytest.raises(HttpFailed, match="goes on behind its end"):
            await ask(client, sink, "/")
