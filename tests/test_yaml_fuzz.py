"""Whatever the bytes, they are composed or refused with SpecError, and the work is bounded by their size.

More than the few seconds that a default run takes: `ACTORFLOW_FUZZ=100 pytest tests/test_yaml_fuzz.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorflow.errors import SpecError
from actorflow.spec.bounds import Bounds
from actorflow.spec.text.composer import compose
from actorflow.spec.text.nodes import BROKEN, Node
from actorflow.spec.text.report import Report
from actorflow.spec.text.source import decode

HERE = Path(__file__).parent
FILES = [
    file.read_bytes()
    for file in sorted([*(HERE / "seed").glob("*.yaml"), *(HERE.parent / "examples").glob("**/*.yaml")])
]
SLIPS = [
    line.split(" | ", 2)[2]
    .encode("latin-1", "backslashreplace")
    .decode("unicode_escape")
    .encode("utf-8", "replace")
    for table in ("syntax_problems.txt", "yaml_problems.txt")
    for line in (HERE / "data" / "spec" / table).read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
TIMES = int(os.environ.get("ACTORFLOW_FUZZ", "1"))
many = settings(max_examples=150 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SIGNS = st.sampled_from(
    [b": ", b"- ", b"\n- ", b"? ", b"{", b"}", b"[", b"]", b"{{", b"}}", b",", b'"', b"'", b"|", b">", b"&a ", b"*a", b"<<: *a\n",
     b"!!binary ", b"!<", b"%YAML 1.1\n", b"---\n", b"...\n", b"#", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\x1b", b"\xff", b"\xef\xbb\xbf",
     b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xc2\x85", b"\\", b"\\ud800", b"\\x", b"~", b".inf", b"9" * 200, b"1e999", b"0x" + b"f" * 20]
)  # fmt: skip
REPEATED = st.tuples(SIGNS, st.sampled_from([2, 65, 1_000])).map(lambda pair: pair[0] * pair[1])
PUT = SIGNS | REPEATED | st.binary(max_size=4)


def composed(body: bytes) -> Node:
    """What a file of these bytes holds; raises SpecError as loading does."""
    report, bounds = Report(file="f"), Bounds()
    text = decode(body, report, bounds)
    root: Node = BROKEN
    if text is not None:
        report.text = text
        root = compose(text, report, bounds)
    report.raise_problems()
    assert root is not BROKEN
    return root


def assert_composed_or_refused(body: bytes):
    try:
        composed(body)
    except SpecError as error:
        lines = body.count(b"\n") + body.count(b"\r") + 2
        told = [problem for problem in error.problems if problem.code != "E199"]
        for problem in told:
            assert problem.message
            assert 1 <= problem.line <= lines
            assert problem.column >= 1
            assert len(problem.message) + len(problem.hint) < 600


@many
@given(st.binary(max_size=60))
def test_any_bytes(body: bytes):
    assert_composed_or_refused(body)


@many
@given(st.text(max_size=40))
def test_any_text(text: str):
    assert_composed_or_refused(text.encode("utf-8", "surrogatepass"))


@many
@given(st.sampled_from(FILES) | st.sampled_from(SLIPS), st.data())
def test_any_damage_to_a_file(body: bytes, data: st.DataObject):
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        stop = data.draw(st.integers(start, min(len(body), start + 40)))
        match data.draw(st.sampled_from(["put", "drop", "double", "flip"])):
            case "put":
                body = body[:start] + data.draw(PUT) + body[start:]
            case "drop":
                body = body[:start] + body[stop:]
            case "double":
                body = body[:stop] + body[start:stop] * data.draw(st.integers(1, 70)) + body[stop:]
            case _:
                flipped = bytes(byte ^ data.draw(st.integers(1, 255)) for byte in body[start : start + 1])
                body = body[:start] + flipped + body[start + 1 :]

    assert_composed_or_refused(body)


@many
@given(st.lists(PUT, max_size=12))
def test_any_heap_of_signs(parts: list[bytes]):
    assert_composed_or_refused(b"".join(parts))


# Shapes that would take minutes if work grew with more than the size: each takes milliseconds.
N = 20_000
HOSTILE = {
    "open brackets": b"[" * N, "open braces": b"{" * N, "braces with keys": b"{a: " * N, "dashes": b"- " * N, "keys in keys": b"? " * N,
    "levels by lines": b"".join(b" " * n + b"a:\n" for n in range(3_000)), "closing brackets": b"a: " + b"]" * N,
    "quotes": b"'" * (N + 1), "backslashes": b'"' + b"\\" * (N + 1), "an open quote": b'"' + b"x\n" * N,
    "colons": b"a: b: " * N, "spaces before a colon": b"a" + b" " * N + b": b: c", "empty lines": b"a: b\n" + b"\n" * N + b"c\n",
    "anchors": b"".join(b"a%d: &x%d 1\n" % (n, n) for n in range(N // 4)) + b"b: *y\n",
    "duplicate keys": b"a: b\n" * N, "bad keys": b"1: b\n" * N, "tags": b"- !x y\n" * N, "aliases of nothing": b"- *x\n" * N,
    "big numbers": b"- " + b"9" * N + b"\n- 0x" + b"f" * N, "control characters": b"\x01" * N, "half pairs": b'- "\\ud800"\n' * (N // 4),
    "comments": b"#\n" * N + b"@", "merges": b"a: &a {b: c}\nd: {<<: [" + b"*a, " * N + b"*a]}\n", "carriage returns": b"\r" * N + b"@",
    "a key of one line": b"k" * N + b": v", "tabs": b"\t" * N, "documents": b"---\n" * N, "directives": b"%A b\n" * N, "escapes": b'"' + b"\\u0041" * N + b'"',
    "a long flow": b"a: {" + b"b: c, " * 2_000 + b"@}", "bad indentation": b"a:\n" + b"   b: c\n" * 2_000 + b"  d: e\n",
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_shapes_end(body: bytes):
    assert_composed_or_refused(body)
