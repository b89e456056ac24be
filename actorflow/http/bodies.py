"""Bodies of answers: decompressed piece by piece, never more in memory than was asked for."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterable, Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from actorflow.http.exchange import FailureKind

__all__ = ["ACCEPTED", "BodyUnread", "Decoding", "decodings_of", "read_body"]

ACCEPTED: Final = "gzip, deflate"
"""What a client says that it takes."""

_PIECE: Final = 65_536
_SLACK: Final = 65_536  # what headers and tables of an encoding may add to a body that is within its bound
_SLICE: Final = 16_384  # what an engine is given at a time: it copies what it does not take
_LAYERS_MAX: Final = 3
_GZIP_MEMBERS_MAX: Final = (
    64  # of one body; each may stand for nothing, so no bound on what comes out would end them
)
_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


class BodyUnread(Exception):  # noqa: N818 - a fact about an answer
    """Raised for a body that cannot be read, or must not.

    Args:
        kind: protocol or too_large.
        what: its sender did, behind whose name.
    """

    def __init__(self, kind: FailureKind, what: str) -> None:
        super().__init__(kind, what)
        self.kind: FailureKind = kind
        self.what = what


class Decoding(Protocol):
    """Undoes one encoding."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Give what these bytes stand for, `_PIECE` at most at a time; the next is made when it is asked for.

        Raises:
            BodyUnread: they stand for nothing.
        """
        ...

    def end(self) -> None:
        """Nothing more comes.

        Raises:
            BodyUnread: something was to come.
        """
        ...


class _Engine(Protocol):
    """What zlib gives, which names no type for it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Inflating:
    """gzip, of one member or a few, and deflate, with zlib's frame (RFC 9110) or, as some send it, without.

    Zeros behind the end of gzip are padding.
    """

    def __init__(self, name: str, wbits: int | None, members_max: int) -> None:
        self._name = name
        self._wbits = wbits  # None: as the first bytes say
        self._members_max = members_max
        self._members_left = members_max
        self._begun = b""
        self._engine: _Engine | None = None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _SLICE):
            yield from self._of_slice(data[at : at + _SLICE])

    def _of_slice(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._engine is None:
                if self._members_left < self._members_max and self._wbits == _GZIP:
                    data = data.lstrip(b"\0")
                    if not data:
                        return
                if not self._members_left:
                    raise _broken(f"whose {self._name} goes on behind its end")
                self._begun, data = self._begun + data, b""
                if self._wbits is None and len(self._begun) < 2:
                    return
                self._engine = zlib.decompressobj(self._wbits or _wbits_of(self._begun))
                self._begun, data = b"", self._begun
                self._members_left -= 1
            yield from self._of_one(self._engine, data)
            data = self._engine.unused_data
            if self._engine.eof:
                self._engine = None

    def end(self) -> None:
        if self._engine is not None or self._begun:
            raise _broken(f"whose {self._name} ends in the middle")

    def _of_one(self, engine: _Engine, data: bytes) -> Iterator[bytes]:
        piece = b""
        while not engine.eof and (data or len(piece) == _PIECE):
            try:
                piece = engine.decompress(data, _PIECE)
            except zlib.error:
                raise _broken(f"whose {self._name} is broken") from None
            data = engine.unconsumed_tail
            if piece:
                yield piece


def _wbits_of(begun: bytes) -> int:
    """By the check in zlib's header (RFC 1950, section 2.2)."""
    has_frame = begun[0] & 0x0F == 8 and int.from_bytes(begun[:2]) % 31 == 0
    return zlib.MAX_WBITS if has_frame else _RAW


_DECODINGS: Final[Mapping[str, Callable[[], Decoding]]] = {
    "gzip": lambda: _Inflating("gzip", _GZIP, _GZIP_MEMBERS_MAX),
    "x-gzip": lambda: _Inflating("gzip", _GZIP, _GZIP_MEMBERS_MAX),
    "deflate": lambda: _Inflating("deflate", None, 1),
}


def decodings_of(content_encoding: str) -> list[Decoding]:
    """What undoes the encodings of a header, in the order in which it must be done.

    Raises:
        BodyUnread: one of them is unknown, or there are too many.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    named = [name for name in names if name not in {"", "identity"}]
    unknown = [name for name in named if name not in _DECODINGS]
    if unknown:
        raise _broken(f"in {unknown[0][:100]!r}, though only {ACCEPTED} are asked for")
    if len(named) > _LAYERS_MAX:
        raise _broken(f"that is compressed {len(named)} times; {_LAYERS_MAX} are the most")
    return [_DECODINGS[name]() for name in reversed(named)]


async def read_body(
    chunks: AsyncIterable[bytes], decodings: Sequence[Decoding], most: int, *, is_cut: bool
) -> tuple[bytes, bool]:
    """Read a body of up to `most` bytes; stops as soon as there are more. Lets others go on behind each piece.

    Returns:
        The body, and whether it was cut there.

    Raises:
        BodyUnread: what came stands for nothing, or is too large and not to be cut.
    """
    body = bytearray()
    bounds = _Bounds(most, len(decodings))
    async for chunk in chunks:
        for piece in _through(chunk, decodings, bounds):
            body += piece
            if len(piece) == _PIECE:
                await asyncio.sleep(0)
        if bounds.is_over:
            if not is_cut:
                raise BodyUnread("too_large", f"answered with more than {most:,} bytes")
            return bytes(body[:most]), True
    for decoding in decodings:
        decoding.end()
    return bytes(body), False


class _Bounds:
    """How much has come through each layer: a bomb in a bomb, or one that stands for nothing, ends as others do."""

    def __init__(self, most: int, layers: int) -> None:
        self._left = [most + _SLACK] * layers + [most]
        self.is_over = False

    def count(self, layer: int, size: int) -> None:
        self._left[layer] -= size
        self.is_over = self.is_over or self._left[layer] < 0


def _through(data: bytes, decodings: Sequence[Decoding], bounds: _Bounds, layer: int = 0) -> Iterator[bytes]:
    bounds.count(layer, len(data))
    if layer == len(decodings):
        yield data
        return
    for piece in decodings[layer].pieces(data):
        if bounds.is_over:
            return
        yield from _through(piece, decodings, bounds, layer + 1)


def _broken(how: str) -> BodyUnread:
    return BodyUnread("protocol", f"answered with a body {how}")
