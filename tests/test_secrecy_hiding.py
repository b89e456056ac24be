"""No form of a secret's value is found in what is told; and nothing else of it is changed."""

from __future__ import annotations

import html
import json
import re
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from actorflow.secrecy.forms import SHORTEST_HIDDEN, encoded, spelled
from actorflow.secrecy.hiding import HIDDEN, NOTHING_HIDDEN, Hiding, hiding_of
from actorflow.secrecy.stream import HidingStream

# Without `*`: what a mark stands beside could else become a value that it was not.
characters = st.characters(exclude_characters="*\0", exclude_categories=["Cs"])
secrets = st.text(characters, min_size=SHORTEST_HIDDEN, max_size=40).filter(
    lambda value: len(value.strip()) >= SHORTEST_HIDDEN and len(value.splitlines()) == 1
)
tokens = st.text("abcXYZ0123456789_-+/=.~ '\"\\&<é", min_size=SHORTEST_HIDDEN, max_size=40)
values = secrets | tokens.filter(lambda value: len(value.strip()) >= SHORTEST_HIDDEN)


def small(percent: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), percent)


WRITERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": lambda value: repr(value)[1:-1],
    "repr of bytes": lambda value: repr(value.encode())[2:-1],
    "ascii": lambda value: ascii(value)[1:-1],
    "JSON": lambda value: json.dumps(value)[1:-1],
    "JSON in UTF-8": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)[1:-1])[1:-1],
    "JSON with escaped slashes": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "a shell's trace": lambda value: value.replace("'", "'\\''"),
    "HTML": html.escape,
    "a path": quote,
    "a part of a path": lambda value: quote(value, safe=""),
    "a query": quote_plus,
    "a form": lambda value: urlencode({"k": value})[2:],
    "a path in small letters": lambda value: small(quote(value, safe="")),
    "a query in small letters": lambda value: small(quote_plus(value)),
    "base64": lambda value: b64encode(value.encode()).decode(),
    "base64 for addresses": lambda value: urlsafe_b64encode(value.encode()).decode(),
    "base64 without padding": lambda value: b64encode(value.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@given(value=values, before=st.text(), behind=st.text())
def test_a_value_is_hidden_however_it_is_written(
    write: Callable[[str], str], value: str, before: str, behind: str
):
    written = write(value)
    assume(len(written) >= SHORTEST_HIDDEN)

    told = hiding_of([value]).text(before + written + behind)

    assert HIDDEN in told
    assert written not in told
    assert value not in told


@pytest.mark.parametrize(
    ("value", "told", "hidden"),
    [
        (
            "Tenant-A1",
            "https://tenant-a1.example.com is not allowed",
            "https://***.example.com is not allowed",
        ),
        ("API.Example.com:8080", "http://api.example.com:8080/x", "http://***/x"),
        ("https://API.Example.com/Hook", "https://api.example.com/Hook was", "*** was"),
        ("Two Words", "two words", "two words"),
    ],
)
def test_a_value_is_hidden_in_the_lower_case_of_hosts(value: str, told: str, hidden: str):
    assert hiding_of([value]).text(told) == hidden


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@given(
    value=st.text("abcdefghijklmnop/+?~é", min_size=SHORTEST_HIDDEN, max_size=60),
    before=st.text("0123456789:", max_size=70),
    behind=st.text("0123456789:", max_size=5),
)
@example(value="aaaaaa", before="", behind="0")
@example(value="aaaaaa", before="1", behind="")
@example(value="aaaaaa", before="user:", behind="")
def test_a_value_is_hidden_inside_of_a_longer_text_in_base64(
    encode: Callable[[bytes], bytes], value: str, before: str, behind: str
):
    whole = encode((before + value + behind).encode()).decode()
    first = -(-len(before) * 8 // 6)
    last = len((before + value).encode()) * 8 // 6

    told = hiding_of([value]).text(f"Basic {whole}")

    # of the two characters that it shares with its neighbours, the one behind it may be hidden as well
    assert told in {f"Basic {whole[:first]}***{whole[end:]}" for end in (last, last + 1, len(whole))}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@given(
    value=st.text("abcdefghij/+", min_size=40, max_size=200),
    before=st.text("012345", max_size=80),
    width=st.sampled_from([64, 76]),
)
def test_a_value_is_hidden_in_base64_that_is_broken_into_lines(
    value: str, before: str, width: int, line_end: str
):
    whole = b64encode((before + value).encode()).decode()
    text = line_end.join(whole[at : at + width] for at in range(0, len(whole), width))
    first = -(-len(before) * 8 // 6)
    last = len(before + value) * 8 // 6

    told = hiding_of([value]).text(f"it is:\n{text}\n\nend")

    assert "".join(told.splitlines()) in {
        f"it is:{whole[:start]}***{whole[end:]}end"
        for start in (first - 1, first)  # of one letter, it goes on before it and behind it
        for end in (last, last + 1, len(whole))
    }


def test_lines_that_only_touch_are_not_taken_for_one():
    hiding = hiding_of(["t0ps3cret"])

    assert hiding.text("dDBwc\nzNjcmV0\n") == "***\n"
    assert hiding.text("dDBwc\n\nzNjcmV0\n") == "dDBwc\n\nzNjcmV0\n"


@given(st.lists(values, max_size=3), st.text() | st.text("abcXYZ0123%\\\"'= "))
def test_what_holds_no_value_is_told_as_it_is(hidden: list[str], text: str):
    forms = {form for value in hidden for family in (*spelled(value), *encoded(value)) for form in family}
    assume(not any(form in text for form in forms))

    assert hiding_of(hidden).text(text) == text
    assert hiding_of(hidden).data({text: [text]}) == {text: [text]}


@given(st.data())
def test_no_part_of_two_values_is_left_where_they_overlap(data: st.DataObject):
    text = data.draw(st.text("abc", min_size=14, max_size=30))
    places = [data.draw(st.integers(0, len(text) - 6)) for _ in range(2)]
    hidden = [text[at : at + data.draw(st.integers(6, 12))] for at in places]

    left = hiding_of(hidden).text(text).split(HIDDEN)

    covered = {
        at
        for value in hidden
        for start in range(len(text))
        if text.startswith(value, start)
        for at in range(start, start + len(value))
    }
    assert "".join(left) == "".join(char for at, char in enumerate(text) if at not in covered)


TOLD: list[tuple[str, Any, Any]] = [
    ("s3cret", "curl: s3cret: no, s3cret", "curl: ***: no, ***"),
    ("s3cret", {"stderr": ["s3cret", 5, None], "s3cret": True}, {"stderr": ["***", 5, None], "***": True}),
    ("s3cret", ["a", ("s3cret",)], ["a", ["***"]]),
    ('it\'s "s3cret"', "not found: 'it\\'s \"s3cret\"'", "not found: '***'"),
    ('a"b\\s3cret', '{"x": "a\\"b\\\\s3cret"}', '{"x": "***"}'),
    ("üs3cret", '"\\u00fcs3cret" "\\u00FCs3cret"', '"***" "***"'),
    ("<s3cret>", '"\\u003cs3cret\\u003e" &lt;s3cret&gt;', '"***" ***'),
    ("'s3cret'", "&#39;s3cret&#39; &#x27;s3cret&#x27; &apos;s3cret&apos;", "*** *** ***"),
    ("first line\nsecond line", "it says: second line", "it says: ***"),
    ("  s3cret\n", "bad: s3cret", "bad: ***"),
    ("it's s3cret", "+ echo 'it'\\''s s3cret'", "+ echo '***'"),
    ("abcd\udcffefgh", "abcd\ufffdefgh", "***"),
    ("p@ss w/rd", "https://me:p%40ss%20w%2Frd@host/", "https://me:***@host/"),
    ("p@ss w/rd", "k=p%40ss+w%2frd", "k=***"),
    ("abcdef", "abcdefgh abcdefabcdef", "***gh ******"),
    ("short", "short", "short"),
    ("europe", "eu", "eu"),
    ("", "nothing", "nothing"),
    ("48291377", {"pin": [48291377, 48291378, True, None]}, {"pin": ["***", 48291378, True, None]}),
    ("-123456", {"pin": -123456}, {"pin": "***"}),
    ("12.500", {"pin": 12.5}, {"pin": "***"}),
    ("1e1000", {"pin": 1.5}, {"pin": 1.5}),
    ("10000000000", {"pin": 10_000_000_000.0}, {"pin": "***"}),
]


@pytest.mark.parametrize(("value", "told", "hidden"), TOLD)
def test_values_are_hidden_in_whatever_is_told(value: str, told: Any, hidden: Any):
    assert hiding_of([value]).data(told) == hidden


def test_the_longer_of_two_secrets_is_hidden_whole():
    assert hiding_of(["abcdefgh", "abcdef"]).text("abcdefgh abcdef") == "*** ***"


def test_no_value_is_lost_where_keys_become_the_same():
    hiding = hiding_of(["s3cret-1", "s3cret-2"])

    told = hiding.data({"s3cret-1": 1, "s3cret-2": 2, "***": 3, "a": 4})

    assert told == {"*** (2)": 1, "*** (3)": 2, "***": 3, "a": 4}


@pytest.mark.parametrize(
    ("told", "hidden"),
    [
        ("t0ps3cret and more", "*** and more"),
        ("s3cret, then t0ps3cret", "***, then t0ps3cret"),
        ("cret", "***"),
        ("\ufffdcret yes", "*** yes"),
        ("ret: too short", "ret: too short"),
        ("creature", "creature"),
        ("no s3cret", "no s3cret"),
        ("czNjcmV0 in base64", "*** in base64"),
        ("", ""),
    ],
)
def test_the_rest_of_a_value_is_hidden_where_a_beginning_was_cut_off(told: str, hidden: str):
    assert hiding_of(["t0ps3cret"]).after_cut(told) == hidden


def test_without_secrets_all_is_told():
    told = {"a": ["b"]}

    assert NOTHING_HIDDEN.data(told) is told
    assert not NOTHING_HIDDEN.is_needed
    assert not hiding_of(["short", ""]).is_needed
    stream = HidingStream(NOTHING_HIDDEN)
    assert (stream.feed("told"), stream.flush()) == ("told", "")


def test_a_hiding_shows_no_value():
    hiding = hiding_of(["t0ps3cret"])

    assert "s3cret" not in repr(hiding)
    assert "MzY3JldA" not in repr(hiding)


def streamed(hiding: Hiding, pieces: list[str]) -> str:
    stream = HidingStream(hiding)
    return "".join([*(stream.feed(piece) for piece in pieces), stream.flush()])


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_value_is_hidden_wherever_it_is_cut(write: Callable[[str], str]):
    value = "p@ss 'w/rd\" é"
    hiding = hiding_of([value])
    text = f"x{write(value)}y"

    for at in range(len(text) + 1):
        assert streamed(hiding, [text[:at], text[at:]]) == "x***y"
    assert streamed(hiding, [*text]) == "x***y"


@given(st.data())
def test_a_text_in_pieces_is_told_as_the_whole_would_be(data: st.DataObject):
    letters = data.draw(st.sampled_from(["ab", "abc ", "aß/=\n"]))
    hidden = data.draw(st.lists(st.text(letters, min_size=6, max_size=9), min_size=1, max_size=3))
    hiding = hiding_of(hidden)
    forms = sorted(
        form for value in hidden for family in (*spelled(value), *encoded(value)) for form in family
    )
    parts = [st.text(letters)]
    if forms:
        parts += [
            st.sampled_from(forms),
            st.sampled_from(forms).map(lambda form: form[:-2]),
            st.sampled_from(forms).map(lambda form: f"{form[:3]}\r\n{form[3:6]}\n{form[6:]}"),
        ]
    text = "".join(data.draw(st.lists(st.one_of(parts), max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert streamed(hiding, pieces) == hiding.text(text)


def test_a_stream_holds_back_no_more_than_what_may_be_the_beginning_of_a_value():
    stream = HidingStream(hiding_of(["s3cret-key"]))

    assert stream.feed("a line\n") == "a line\n"
    assert stream.feed("the s3cr") == "the "
    assert stream.feed("ewdriver s3cret-ke") == "s3crewdriver "
    assert stream.feed("y!") == "***!"
    assert stream.feed("s3cret-key") == "***"
    assert (stream.feed("s3cret"), stream.flush()) == ("", "s3cret")
    assert stream.feed("-key") == "-key"


def test_a_stream_of_what_could_go_on_for_ever_holds_little_back():
    stream = HidingStream(hiding_of(["aaaaaa"]))

    told = [stream.feed("a" * 100) for _ in range(100)]

    assert told == ["***", *[""] * 99]
    assert stream.feed("ab") + stream.flush() == "b"


def test_a_large_text_is_looked_through_in_milliseconds():
    tokens = [f"t0ken{number}-{'xyz' * 10}" for number in range(3)]
    hiding = hiding_of(tokens)
    text = ("a line of a log, as long as most of them are, " * 24_000)[: 1 << 20]

    started = time.process_time()
    assert hiding.text(text) is text
    spent_s = time.process_time() - started

    assert spent_s < 0.1  # 2 ms, and room for a busy machine
