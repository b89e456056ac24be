"""Where requests may go, by text and by address: the judgement alone, without a network."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import assume, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from yarl import URL

from actorflow.egress.allowed import AllowedHost, AllowedNetwork, literal_origin, parse_allowed
from actorflow.egress.guard import NOTHING_ALLOWED, Guard, Permit
from actorflow.egress.ports import OTHER_PROTOCOLS
from actorflow.egress.ranges import METADATA, PUBLIC, Range, kind_of, range_of, special_ranges
from actorflow.egress.refusals import REASONS, EgressRefused
from actorflow.egress.urls import Url, parse_url

DATA = Path(__file__).parent / "data" / "urls.yaml"
PORT = "49200"


@frozen(kw_only=True)
class Case:
    """A line of the table: see its head."""

    url: str
    allow: Sequence[str]
    code: str
    where: str
    why: str
    resolves: Mapping[str, Sequence[Any]] = field(factory=dict[str, Sequence[Any]])


def cases() -> list[Case]:
    return [Case(**each) for each in YAML(typ="safe").load(DATA.read_text(encoding="utf-8"))]


def filled(text: str) -> str:
    """A text of the table, with its words put in."""
    return text.replace("{port}", PORT).replace("{long}", "a" * 100_000)


def guard_of(*entries: str) -> Guard:
    return Guard(tuple(parse_allowed(filled(entry)) for entry in entries))


def first_refused(case: Case, guard: Guard) -> tuple[str, EgressRefused | None]:
    """Which step refuses a case: reading, the list, or one of the addresses."""
    steps: dict[str, Callable[[], object]] = {
        "parse": lambda: parse_url(filled(case.url)),
        "list": lambda: guard.permit(filled(case.url)),
        "dial": lambda: dial(case, guard.permit(filled(case.url))),
    }
    for where, step in steps.items():
        try:
            step()
        except EgressRefused as refused:
            return where, refused
    return "nowhere", None


def dial(case: Case, permit: Permit) -> None:
    """Judge each address that the host of a case comes to, or is."""
    resolved = [address for answers in case.resolves.values() for address in flat(answers)]
    for address in [permit.url.host] if permit.url.is_literal else resolved:
        permit.check_address(address, permit.url.port)


def flat(answers: Sequence[Any]) -> list[str]:
    """The addresses of all look-ups, one after another."""
    return [each for answer in answers for each in ([answer] if isinstance(answer, str) else answer)]


# --- the table -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.code} {case.where} {case.why}")
def test_a_url_of_the_table_is_refused_with_its_code_by_the_step_that_it_names(case: Case) -> None:
    where, refused = first_refused(case, guard_of(*case.allow))

    assert refused is not None
    assert refused.code == case.code
    assert case.where in {where, "redirect"}
    assert str(refused).startswith(f"{case.code} {refused.problem}")
    assert len(str(refused)) < 1_000


def test_the_table_has_every_code_that_a_url_may_get_and_no_case_twice() -> None:
    table = cases()

    assert {case.code for case in table} == REASONS.keys() - {"E446", "E447"}
    assert {case.where for case in table} == {"parse", "list", "dial", "redirect"}
    assert (
        len({(case.url, *case.allow, str(case.resolves), case.where) for case in table}) == len(table) >= 110
    )


@pytest.mark.parametrize(
    "case", [case for case in cases() if case.where in {"list", "dial"}], ids=lambda case: case.why
)
def test_the_flag_that_a_refusal_names_does_allow_it(case: Case) -> None:
    guard = guard_of(*case.allow)
    _, refused = first_refused(case, guard)

    for _ in range(3):  # of a name, of the address that it comes to, and of the one that it comes to later
        if refused is not None:
            named = re.match(
                r"--allow-host (\S+) or Runtime\(allow_hosts=\['(\S+)'\]\) would allow it", refused.hint
            )
            assert named
            assert named[1] == named[2]
            guard = guard.also([parse_allowed(named[1])])
            _, refused = first_refused(case, guard)

    assert refused is None


# --- what is taken ---------------------------------------------------------------------------------------------------------

TAKEN = [
    ("https://api.example.com", "https://api.example.com/"),
    ("HTTPS://API.Example.COM/Path", "https://api.example.com/Path"),
    ("https://api.example.com:443/", "https://api.example.com/"),
    ("http://api.example.com:80/", "http://api.example.com/"),
    ("http://api.example.com:443/", "http://api.example.com:443/"),
    ("https://api.example.com?", "https://api.example.com/"),
    ("https://api.example.com?a=1", "https://api.example.com/?a=1"),
    ("https://h/?next=https%3A%2F%2Fx%2F..%5C", "https://h/?next=https%3A%2F%2Fx%2F..%5C"),
    ("https://h/?q=a/../b?c@d:e", "https://h/?q=a/../b?c@d:e"),
    ("https://h/a@b:c;d=e,f!$&'()*+~", "https://h/a@b:c;d=e,f!$&'()*+~"),
    ("https://h/a%20b", "https://h/a%20b"),
    ('https://h/"<>^`{|}[]', "https://h/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
    ("https://h/Zürich?q=Zürich", "https://h/Z%C3%BCrich?q=Z%C3%BCrich"),
    ("https://h/...", "https://h/..."),
    ("https://h/.well-known/x", "https://h/.well-known/x"),
    ("https://h/a..b/..c", "https://h/a..b/..c"),
    ("https://h//a//", "https://h//a//"),
    ("https://my_service/", "https://my_service/"),
    ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
    ("https://1password.com/", "https://1password.com/"),
    ("https://0x7f.com/", "https://0x7f.com/"),
    ("https://127.0.0.1x/", "https://127.0.0.1x/"),
    ("http://192.0.2.1:65535/", "http://192.0.2.1:65535/"),
    ("http://0.0.0.0/", "http://0.0.0.0/"),
    ("http://[2001:DB8:0:0::1]:8080/", "http://[2001:db8::1]:8080/"),
    ("https://h/" + "a" * 8_182, "https://h/" + "a" * 8_182),
]


@pytest.mark.parametrize(("text", "sent"), TAKEN)
def test_a_url_is_sent_as_its_canonical_text(text: str, sent: str) -> None:
    assert parse_url(text).text == sent


def test_a_url_is_told_apart_into_its_parts() -> None:
    url = parse_url("http://[2001:DB8::1]:8080/a/b?c=d")

    expected = Url("http", "2001:db8::1", 8080, "/a/b", "c=d", IPv6Address("2001:db8::1"))
    assert url == expected
    assert (url.origin, url.target) == ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080/a/b")
    assert url.is_literal
    assert not parse_url("http://example.com").is_literal


@pytest.mark.parametrize(
    "text",
    [
        "https://h/" + "a" * 8_183,
        "https://h/" + "ü" * 1_400,
        "https://h/\ud800",
        "https://" + ".".join(["a" * 60] * 5),
    ],
)
def test_what_is_too_long_or_no_text_is_refused(text: str) -> None:
    with pytest.raises(EgressRefused) as raised:
        parse_url(text)

    assert raised.value.code == "E440"


@pytest.mark.parametrize(
    "text",
    [
        "https://s3cret",
        "https://user:s3cret@example.com/",
        "https://user:s3cret",
        "https://user:1s3cret/",
        "https://example.com/s3cret#x",
        "https://example.com/s3cret/../x",
        "https://example.com/%/s3cret",
        "https://example.com?s3cret=%00",
        "https://example.com/s3cret?s3cret",
        "s3cret",
        "hooks.example.com/s3cret",
        "https:s3cret",
        "https:///s3cret",
        "https://[s3cret]/",
        "https://example.com,s3cret/",
        "https://ü.s3cret/",
    ],
)
def test_no_message_quotes_what_may_be_secret(text: str) -> None:
    with pytest.raises(EgressRefused) as raised:
        NOTHING_ALLOWED.permit(text)

    if text != "https://s3cret":  # a host is told
        assert "s3cret" not in str(raised.value)


def test_a_permit_that_is_printed_shows_the_host_alone() -> None:
    permit = guard_of("https://example.com").permit("https://example.com/s3cret?also=s3cret")

    assert "example.com" in repr(permit)
    assert "s3cret" not in repr(permit)


ALLOWED = [
    # what is asked | the list | what its host comes to
    ("https://api.example.com/x?y", ["https://api.example.com"], "93.184.216.34"),
    ("https://api.example.com/x", ["api.example.com"], "2606:2800:220:1:248:1893:25c8:1946"),
    ("https://api.example.com/x", ["HTTPS://API.EXAMPLE.COM:443/"], "93.184.216.34"),
    ("https://api.example.com/x", ["*.example.com"], "93.184.216.34"),
    ("https://a.b.example.com/x", ["https://*.example.com"], "93.184.216.34"),
    ("https://api.example.com/hooks", ["https://api.example.com/hooks/"], "93.184.216.34"),
    ("https://api.example.com/hooks/1", ["https://api.example.com/hooks"], "93.184.216.34"),
    ("https://api.example.com:8443/", ["https://other.example.com", "api.example.com:8443"], "93.184.216.34"),
    ("http://api.example.com:22/", ["http://api.example.com:22"], "93.184.216.34"),
    ("http://93.184.216.34/", ["http://93.184.216.34"], "93.184.216.34"),
    ("http://127.0.0.1:8080/", ["http://127.0.0.1:8080"], "127.0.0.1"),
    ("http://[::1]:8080/", ["http://[0:0::1]:8080"], "::1"),
    ("http://[::ffff:127.0.0.1]/", ["http://[::ffff:127.0.0.1]"], "::ffff:127.0.0.1"),
    ("http://169.254.169.254/", ["http://169.254.169.254"], "169.254.169.254"),
    ("http://[fe80::1]/", ["http://[fe80::1]"], "fe80::1%eth0"),
    ("http://localhost:8080/", ["http://localhost:8080"], "127.0.0.1"),
    ("http://localhost:8080/", ["http://localhost:8080"], "::1"),
    ("http://localhost:8080/", ["http://localhost:8080"], "::ffff:127.0.0.1"),
    ("http://LocalHost:8080/", ["http://LOCALHOST:8080"], "127.1.2.3"),
    ("http://intern.example.com:8080/", ["http://intern.example.com:8080", "10.0.0.0/8"], "10.1.2.3"),
    ("http://intern.example.com:8080/", ["http://*.example.com:8080", "fd00::/8"], "fd12::1"),
    ("http://intern.example.com/", ["http://intern.example.com", "10.0.0.0/8"], "::ffff:10.1.2.3"),
    (
        "http://intern.example.com:8080/",
        ["http://intern.example.com:8080", "http://10.1.2.3:8080"],
        "10.1.2.3",
    ),
    ("http://intern.example.com/", ["http://intern.example.com", "http://10.1.2.3"], "::ffff:10.1.2.3"),
    ("http://meta.example.com/", ["http://meta.example.com", "169.254.169.254/32"], "169.254.169.254"),
    ("https://nat64.example.com/", ["nat64.example.com"], "64:ff9b::8.8.8.8"),
]


@pytest.mark.parametrize(("url", "allow", "address"), ALLOWED)
def test_what_the_list_allows_may_be_asked_at_its_address(url: str, allow: list[str], address: str) -> None:
    permit = guard_of(*allow).permit(url)

    permit.check_address(address, permit.url.port)

    assert permit.url == parse_url(url)


@pytest.mark.parametrize(
    ("address", "port"),
    [("93.184.216.34", 444), ("example.com", 443), ("", 443), ("/run/x.sock", 443), ("8.8.8", 443)],
)
def test_an_address_that_was_not_asked_for_is_not_dialled(address: str, port: int) -> None:
    permit = guard_of("https://example.com").permit("https://example.com")

    with pytest.raises(EgressRefused, match="E445"):
        permit.check_address(address, port)


MESSAGES = [
    ("api.example.com/x", "E440 the URL has no scheme; begin it with https:// or http://"),
    (
        "https://bücher.example",
        "E440 the host has characters that are not ASCII; write an international name in its ASCII form, which begins with xn--",
    ),
    (
        "https://api.example.com/x\n",
        "E440 the URL has '\\n', a control character; look for a newline at the end of a variable",
    ),
    (
        "https://api.example.com/a%2Fb",
        "E440 the path has '%2F', an encoded slash; servers disagree on what it is",
    ),
    (
        "https://0177.0.0.1/",
        "E440 the host '0177.0.0.1' is a number, but not an address in four decimal parts; write an address as 192.0.2.1, without other bases and leading zeros",
    ),
    ("https://api.example.com:99999/", "E443 the port '99999' is none of 1 to 65535, in plain digits"),
    ("ftp://api.example.com/", "E441 the scheme 'ftp' is not taken; begin the URL with https:// or http://"),
]


@pytest.mark.parametrize(("url", "message"), MESSAGES)
def test_a_refusal_of_a_text_says_what_was_found_and_what_to_do(url: str, message: str) -> None:
    with pytest.raises(EgressRefused) as raised:
        NOTHING_ALLOWED.permit(url)

    assert str(raised.value) == message


def test_a_refusal_says_what_else_the_list_has_of_the_host() -> None:
    guard = guard_of("https://api.example.com/hooks", "*.example.com:8443", "https://other.example.org")

    with pytest.raises(EgressRefused) as raised:
        guard.permit("http://api.example.com")

    assert str(raised.value) == (
        "E444 http://api.example.com is not allowed: of this host, the list has https://api.example.com/hooks, "
        "https://*.example.com:8443; --allow-host http://api.example.com or "
        "Runtime(allow_hosts=['http://api.example.com']) would allow it"
    )


def test_a_refusal_of_an_address_says_what_it_is_and_who_says_so() -> None:
    permit = guard_of("https://api.example.com").permit("https://api.example.com/x")

    with pytest.raises(EgressRefused) as raised:
        permit.check_address("10.1.2.3", 443)

    assert str(raised.value) == (
        "E445 api.example.com comes to 10.1.2.3, which is private (RFC 1918); --allow-host https://10.1.2.3 or "
        "Runtime(allow_hosts=['https://10.1.2.3']) would allow it"
    )


@pytest.mark.parametrize("port", OTHER_PROTOCOLS)
def test_a_port_of_another_protocol_is_asked_only_where_it_is_listed_for_the_very_host(port: int) -> None:
    url = f"http://api.example.com:{port}/"
    wide = guard_of(f"http://*.example.com:{port}", "http://api.example.com", "0.0.0.0/0")

    with pytest.raises(
        EgressRefused, match=f"E443 port {port} of api.example.com is for {OTHER_PROTOCOLS[port]}"
    ):
        wide.permit(url)

    assert wide.also([parse_allowed(url)]).permit(url) == Permit(
        parse_url(url), wide.also([parse_allowed(url)])
    )


# --- ranges ----------------------------------------------------------------------------------------------------------------

KINDS = [
    ("1.1.1.1", PUBLIC),
    ("9.255.255.255", PUBLIC),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("11.0.0.0", PUBLIC),
    ("0.0.0.0", "this host"),
    ("0.1.2.3", "of this network"),
    ("100.63.255.255", PUBLIC),
    ("100.64.0.0", "shared by a carrier's customers"),
    ("100.127.255.255", "shared by a carrier's customers"),
    ("100.128.0.0", PUBLIC),
    ("100.100.100.200", METADATA),
    ("126.255.255.255", PUBLIC),
    ("127.255.255.255", "loopback"),
    ("128.0.0.0", PUBLIC),
    ("168.63.129.16", METADATA),
    ("168.63.129.17", PUBLIC),
    ("169.254.169.254", METADATA),
    ("169.254.0.1", "link-local"),
    ("172.15.255.255", PUBLIC),
    ("172.16.0.0", "private"),
    ("172.31.255.255", "private"),
    ("172.32.0.0", PUBLIC),
    ("192.0.0.255", "for protocols"),
    ("192.0.1.0", PUBLIC),
    ("192.0.2.1", "for documentation"),
    ("192.88.99.1", "a relay of 6to4"),
    ("192.167.255.255", PUBLIC),
    ("192.168.0.1", "private"),
    ("198.17.255.255", PUBLIC),
    ("198.18.0.0", "for benchmarks"),
    ("198.20.0.0", PUBLIC),
    ("223.255.255.255", PUBLIC),
    ("224.0.0.0", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.0", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "this host"),
    ("::1", "loopback"),
    ("2606:4700:4700::1111", PUBLIC),
    ("1fff:ffff::", "not given out to anybody"),
    ("2000::", PUBLIC),
    ("3ffd:ffff::", PUBLIC),
    ("3ffe::1", "of a network that is no more"),
    ("3fff:fff::1", "for documentation"),
    ("3fff:1000::1", PUBLIC),
    ("4000::", "not given out to anybody"),
    ("200::1", "not given out to anybody"),
    ("2001:1ff::1", "for protocols"),
    ("2001:200::1", PUBLIC),
    ("2001:db8::1", "for documentation"),
    ("fbff::1", "not given out to anybody"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", METADATA),
    ("fe80::1", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "of a site"),
    ("ff05::1", "multicast"),
    # IPv4 inside
    ("::ffff:8.8.8.8", PUBLIC),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:169.254.169.254", METADATA),
    ("::ffff:0:127.0.0.1", "translated IPv4"),
    ("64:ff9b::8.8.8.8", PUBLIC),
    ("64:ff9b::192.168.0.1", "private"),
    ("64:ff9b:1::8.8.8.8", "for translation within a network"),
    ("::8.8.8.8", PUBLIC),
    ("::127.0.0.1", "loopback"),
    ("2002:808:808::1", PUBLIC),
    ("2002:a00:1::1", "private"),
    ("2001:0:808:808::f7f7:f7f7", PUBLIC),  # both are 8.8.8.8
    ("2001:0:a00:1::f7f7:f7f7", "private"),  # the server
    ("2001:0:808:808::80ff:fffe", "loopback"),  # the client
]


@pytest.mark.parametrize(("address", "kind"), KINDS)
def test_an_address_is_public_or_of_a_kind(address: str, kind: str) -> None:
    assert kind_of(ip_address(address)) == kind


@pytest.mark.parametrize("row", special_ranges(), ids=lambda row: str(row.network))
def test_every_range_is_found_behind_the_narrower_ones_and_says_whose_word_it_is(row: Range) -> None:
    inner = row.network[-2] if row.network.num_addresses > 2 else row.network[-1]

    assert range_of(inner) == row
    assert row.source.startswith("RFC ") or row.kind == METADATA


@given(st.ip_addresses(v=4))
def test_ipv4_is_judged_alike_however_ipv6_carries_it(address: IPv4Address) -> None:
    bits = int(address)
    server, client = 0x0808_0808 << 64, ~bits & 0xFFFF_FFFF
    carried = [
        0xFFFF << 32 | bits,
        0x64_FF9B << 96 | bits,
        0x2002 << 112 | bits << 80,
        0x2001_0000 << 96 | server | client,
        *([bits] if bits > 1 else []),
    ]

    assert {kind_of(IPv6Address(each)) for each in carried} == {kind_of(address)}


CARRIERS = [ip_network(each) for each in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "2001::/32")]


@given(st.ip_addresses())
def test_nothing_is_public_that_python_knows_to_be_something_else(address: IPv4Address | IPv6Address) -> None:
    is_carrier = any(address in network for network in CARRIERS)
    is_other = address.is_private or address.is_multicast or address.is_reserved or address.is_unspecified

    assert kind_of(address) != PUBLIC or is_carrier or not is_other


# --- entries ---------------------------------------------------------------------------------------------------------------

ENTRIES = [
    ("api.example.com", "https://api.example.com"),
    ("API.example.com/", "https://api.example.com"),
    ("http://api.example.com:80/a/b/", "http://api.example.com/a/b"),
    ("localhost:8080", "https://localhost:8080"),
    ("*.Example.com", "https://*.example.com"),
    ("http://*.example.com:8080/x", "http://*.example.com:8080/x"),
    ("127.0.0.1", "https://127.0.0.1"),
    ("http://[0::1]:8080", "http://[::1]:8080"),
    ("[::1]", "https://[::1]"),
    ("abc.de/12", "https://abc.de/12"),
    ("10.0.0.0/8", "10.0.0.0/8"),
    ("10.1.2.3/32", "10.1.2.3/32"),
    ("FD00::/8", "fd00::/8"),
    ("0.0.0.0/0", "0.0.0.0/0"),
]


@pytest.mark.parametrize(("text", "canonical"), ENTRIES)
def test_an_entry_is_read_and_reads_the_same_again(text: str, canonical: str) -> None:
    entry = parse_allowed(text)

    assert entry.text == canonical
    assert parse_allowed(canonical) == entry


NO_ENTRIES = [
    ("", "the URL has no host"),
    ("*", "'*', which no host has"),
    ("*.", "the URL has no host"),
    ("**.example.com", "'*', which no host has"),
    ("api.*.com", "'*', which no host has"),
    ("*example.com", "'*', which no host has"),
    ("*.127.0.0.1", "nothing is below an address"),
    ("*.[::1]", "nothing is below an address"),
    ("::1", "brackets or colons"),
    ("fd00::1", "brackets or colons"),
    ("10.1.2.3/8", "has host bits set; for a path of a host write https://10.1.2.3/8"),
    ("10.0.0.0/33", "it is no network"),
    ("127.1", "not an address in four decimal parts"),
    ("https://", "the URL has no host"),
    ("https:api", "is none of 1 to 65535"),
    ("https://user@api.example.com", "a user or password"),
    ("ftp://api.example.com", "the scheme 'ftp' is not taken"),
    ("https://api.example.com:0", "the port '0'"),
    ("https://api.example.com?x=1", "it has a query"),
    ("https://api.example.com/?", "it has a query"),
    ("https://api.example.com#x", "a fragment"),
    ("https://api.example.com/a/../b", "a segment of dots"),
    ("a.example.com b.example.com", "a blank"),
    ("https://api.example.com.", "ends with a dot"),
    ("x" * 9_000, "8,192 are the most"),
]


@pytest.mark.parametrize(("text", "problem"), NO_ENTRIES)
def test_what_is_no_entry_is_told_with_what_one_is(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as raised:
        parse_allowed(text)

    message = str(raised.value)
    assert message.startswith(repr(text)[:50])
    assert message.endswith(
        "an entry is scheme://host[:port][/path], *.example.com, or a network such as 10.0.0.0/8"
    )
    assert len(message) < 600


LITERAL = [
    ("https://api.example.com", "https://api.example.com"),
    ("https://api.example.com/users/{{ input.id }}?q={{ input.q }}", "https://api.example.com"),
    ("https://api.example.com?q={{ input.q }}", "https://api.example.com"),
    ("http://localhost:8080/{{ x }}", "http://localhost:8080"),
    ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
    ("http://[::1]/", "http://[::1]"),
    ("{{ input.url }}", None),
    ("{{ input.scheme }}://api.example.com/", None),
    ("https://{{ input.host }}/", None),
    ("https://{{input.host}}/", None),
    ("https://api.example.com{{ input.path }}", None),
    ("https://api.example.com{{ '/' + input.path }}", None),
    ("https://api.example.com:{{ input.port }}/", None),
    ("https://{{ input.user }}@api.example.com/", None),
    ("https://api.{{ input.region }}.example.com/", None),
    ("https://{{ 'a' if x else '/' }}.example.com/", None),
    ("https://user:password@api.example.com/", None),
    ("https://api.example.com#{{ x }}", None),
    ("file:///etc/passwd", None),
    ("/users", None),
    ("", None),
]


@pytest.mark.parametrize(("url", "origin"), LITERAL)
def test_a_url_of_a_file_allows_the_origin_that_stands_in_it(url: str, origin: str | None) -> None:
    found = literal_origin(url)

    assert (found and found.text) == origin


def test_a_literal_origin_counts_as_listed_localhost_and_addresses_too() -> None:
    for url in ("http://localhost:8080/{{ x }}", "http://127.0.0.1:8080/"):
        origin = literal_origin(url)
        assert origin is not None

        permit = NOTHING_ALLOWED.also([origin]).permit(f"{origin.text}/anything?at=all")

        permit.check_address("127.0.0.1", 8080)


# --- properties ------------------------------------------------------------------------------------------------------------

WORDS = """
http https HTTP file : // / /// \\ @ # ? % %2e %2f %00 %41 .. . ; [ ] ::1 ::ffff:1.2.3.4 127.0.0.1 0x7f 1 01 localhost
example.com xn--a a-b _ - 80 :80 :443 :0 :8080 :99999 ü ß １ 。 { } * ! $ & ' ( ) + , = ~ ^ | < > `
"""
PIECES = st.sampled_from([*WORDS.split(), " ", "\t", "\r\n", "\0", "\x7f", "\u200b", "\ud800", ""])
URL_LIKE = st.one_of(
    st.text(),
    st.lists(PIECES, max_size=12).map("".join),
    st.builds(
        "{}://{}".format,
        st.sampled_from(["http", "https", "HTTPS"]),
        st.lists(PIECES, max_size=8).map("".join),
    ),
    st.builds(
        "http://{}/{}?{}".format,
        st.sampled_from(["example.com", "EXAMPLE.com:8080", "10.0.0.1", "[::1]:80", "[1:0:0::2]"]),
        st.text(),
        st.text(),
    ),
)
HOSTS = st.from_regex(
    r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,5}[a-z0-9])?){0,3}", fullmatch=True
)


def refusal(act: Callable[[], object]) -> str | None:
    """The code of the refusal, if there is one."""
    try:
        act()
    except EgressRefused as refused:
        return refused.code
    return None


def read(text: str) -> Url | None:
    """The URL, if a text is one; the refusal has one of the codes for what can be said of a text alone."""
    code = refusal(lambda: parse_url(text))
    assert code in {None, "E440", "E441", "E442", "E443"}
    return parse_url(text) if code is None else None


@given(URL_LIKE)
def test_whatever_the_text_it_is_refused_or_what_is_sent_reads_as_the_same_url(text: str) -> None:
    url = read(text)

    if url is not None:
        assert parse_url(url.text) == url
        assert url.text.isascii()
        assert url.text.isprintable()
        assert " " not in url.text


@given(URL_LIKE)
def test_another_reader_of_urls_reads_what_is_sent_as_we_do(text: str) -> None:
    url = read(text) or parse_url("http://example.com")

    other = URL(url.text, encoded=True)

    assert (other.scheme, other.raw_host, other.port) == (url.scheme, url.host, url.port)
    assert (other.raw_path, other.raw_query_string, other.raw_fragment) == (url.path, url.query, "")
    assert (other.user, other.password) == (None, None)
    assert str(other) == url.text


SPELLINGS = [str, hex, lambda part: f"0{part:o}", lambda part: f"{part:03}", lambda part: f"0X{part:X}"]


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4), st.integers(1, 4), st.data())
def test_of_all_spellings_of_an_address_that_c_reads_only_four_decimal_parts_are_taken(
    parts: list[int], count: int, data: st.DataObject
) -> None:
    last = int.from_bytes(bytes(parts[count - 1 :]), "big")
    numbers = [*parts[: count - 1], last]
    host = ".".join(data.draw(st.sampled_from(SPELLINGS))(number) for number in numbers)
    url = read(f"http://{host}/")

    if url is None:
        assert host != ".".join(map(str, parts))
    else:
        assert url.host == host
        assert url.address == IPv4Address(socket.inet_aton(host)) == IPv4Address(bytes(parts))


@given(HOSTS, st.text("abc.-_*0", min_size=1, max_size=5))
def test_a_host_that_is_allowed_does_not_allow_one_that_only_ends_like_it(host: str, before: str) -> None:
    assume(read(f"https://{host}") is not None)
    longer = read(f"https://{before}{host}")
    assume(longer is not None)
    assert longer is not None

    assert not parse_allowed(host).allows(longer)
    assert parse_allowed(f"*.{host}").allows(longer) == (before.endswith(".") and not longer.is_literal)


@given(HOSTS, st.text("abc.-_", min_size=1, max_size=5))
def test_a_host_that_is_allowed_does_not_allow_one_that_only_begins_like_it(host: str, behind: str) -> None:
    assume(read(f"https://{host}") is not None)
    longer = read(f"https://{host}{behind}")
    assume(longer is not None)
    assert longer is not None

    for entry in (host, f"*.{host}"):
        assert not parse_allowed(entry).allows(longer) or longer.host.endswith(f".{host}")


@given(st.text("ab/.", max_size=8), st.text("ab/.", max_size=8))
def test_a_path_that_is_allowed_allows_the_segments_below_it_alone(prefix: str, path: str) -> None:
    listed, asked = read(f"https://h/{prefix}"), read(f"https://h/{path}")
    assume(listed is not None and asked is not None)
    assert listed is not None
    assert asked is not None

    segments = listed.path.removesuffix("/").split("/")

    assert parse_allowed(listed.text).allows(asked) == (asked.path.split("/")[: len(segments)] == segments)


@given(
    st.ip_addresses(),
    st.lists(st.sampled_from(["http://h", "*.h", "10.0.0.0/8", "fd00::/8", "http://10.0.0.1:81"])),
)
def test_no_address_that_is_not_public_is_dialled_for_a_name_unless_an_entry_of_addresses_has_it(
    address: IPv4Address | IPv6Address, entries: list[str]
) -> None:
    permit = guard_of("http://h", *entries).permit("http://h/")
    is_listed = any(
        isinstance(each, AllowedNetwork) and address in each.network for each in permit.guard.allowed
    )
    assume(kind_of(address) != METADATA)

    code = refusal(lambda: permit.check_address(str(address), 80))

    assert code == (None if kind_of(address) == PUBLIC or is_listed else "E445")


def test_entries_are_values() -> None:
    assert parse_allowed("10.0.0.0/8") == AllowedNetwork(parse_allowed("10.0.0.0/8").network)  # type: ignore[union-attr]
    assert parse_allowed("h") == AllowedHost("https", "h", 443)
    assert len({parse_allowed("h"), parse_allowed("https://H:443/")}) == 1
