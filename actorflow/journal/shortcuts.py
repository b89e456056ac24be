"""What a journal could do without: checkpoints and checked definitions, as bytes.

A checkpoint is lines of JSON, so that neither writing nor reading a large one keeps the host's loop waiting for the
interpreter. The first is `[body, marks]`, with a mark (see `blobs`) by the number of each row that has values elsewhere;
each other one has some hundred rows. They are read line by line: a hundred thousand rows at once would be as many
objects for the garbage collector to walk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any, Final

import orjson
from attrs import frozen

from actorflow.journal.admission import MAX_PAYLOAD_BYTES
from actorflow.journal.blobs import BLOB_BYTES, Fetch, put_back, set_apart
from actorflow.journal.plain import encode
from actorflow.journal.protocol import CachedDefinition, Checkpoint, KeepDefinition, SaveCheckpoint

_ROWS_IN_LINE: Final = 256


def encode_checkpoint(write: SaveCheckpoint, *, keeps_blobs: bool) -> tuple[bytes, dict[str, bytes]]:
    """A checkpoint as JSON, and the large values that are not in it, as JSON by hash.

    Raises:
        TypeError: something in it is not JSON.
        ValueError: it is too large.
    """
    blobs: dict[str, bytes] = {}
    marks: dict[str, dict[str, str]] = {}
    lines: list[bytes] = []
    unread = iter(write.rows)
    while rows := list(islice(unread, _ROWS_IN_LINE)):
        line = encode(rows)
        if keeps_blobs and len(line) > BLOB_BYTES:
            line = _encode_apart(rows, len(lines) * _ROWS_IN_LINE, blobs, marks)
        lines.append(line)
    payload = b"\n".join([encode((write.body, marks)), *lines])
    if len(payload) > MAX_PAYLOAD_BYTES:
        msg = f"a checkpoint of run {write.run_id!r} has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are kept"
        raise ValueError(msg)
    return payload, blobs


def decode_checkpoint(seq: int, core_version: int, payload: bytes, fetch: Fetch) -> Checkpoint:
    """Read what `encode_checkpoint` wrote; all that can go wrong does so here, and not when the rows are read.

    Raises:
        StoreDamagedError: a blob is gone, or not what it was.
    """
    head, *lines = payload.split(b"\n")
    body, marks = orjson.loads(head)
    blobs = {name: fetch(name) for mark in marks.values() for name in mark.values()}
    return Checkpoint(seq, core_version, body, _Rows(lines, marks, blobs))


def encode_warnings(write: KeepDefinition) -> bytes:
    """What is to be told again, as JSON; a `TypeError` says that it is none."""
    return encode(write.warnings)


def decode_definition(digest: str, body: bytes, warnings: bytes) -> CachedDefinition:
    """The definition as it was kept."""
    told: Sequence[Mapping[str, Any]] = orjson.loads(warnings)
    return CachedDefinition(digest, body, told)


def _encode_apart(
    rows: Sequence[Sequence[Any]], first: int, blobs: dict[str, bytes], marks: dict[str, dict[str, str]]
) -> bytes:
    """Rows as JSON, `first` the number of the first, without their large values."""
    kept: list[Sequence[Any]] = []
    for number, row in enumerate(rows, first):
        values, mark = set_apart(row, blobs)
        kept.append(values)
        if mark:
            marks[str(number)] = mark
    return encode(kept)


@frozen
class _Rows:
    """Rows that are decoded as they are read."""

    lines: Sequence[bytes]
    marks: Mapping[str, Mapping[str, str]]
    blobs: Mapping[str, bytes]

    def __iter__(self) -> Iterator[Sequence[Any]]:
        for first, line in zip(count(step=_ROWS_IN_LINE), self.lines, strict=False):
            rows = orjson.loads(line)
            if self.marks:
                for number, row in enumerate(rows, first):
                    put_back(row, self.marks.get(str(number), {}), self.blobs.__getitem__)
            yield from rows
