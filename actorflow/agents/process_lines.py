"""What a process prints, line by line on its way to the output log, while it runs."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator
from typing import Final

from actorflow.agents.call import AgentCall
from actorflow.journal.output_log import OutputLine, Stream
from actorflow.secrecy.stream import HidingStream

__all__ = ["ProcessLines"]

KEPT_AS_IT_COMES: Final = 2 * 1024 * 1024
"""Characters of each stream of an attempt; of what follows, one line a second, and the end when there is one."""

LINE_COST: Final = 128
"""Characters that each line counts for beside its own: a flood of empty lines costs as much as one of long ones."""

END_KEPT: Final = 65_536
"""Characters of the end of a stream that is longer."""

LINE_MAX: Final = 8_192
"""Characters; what is longer is told in pieces."""

_PACE_S: Final = 1.0


class ProcessLines:
    """Tells the output log of an attempt's process. Nothing here waits, and nothing raises.

    Bytes that are not UTF-8 are replaced, and secrets are taken out, also those that lie across two reads. What a
    carriage return has a terminal write over is told of once a second at most.
    """

    def __init__(self, call: AgentCall) -> None:
        self._call = call
        self._streams: dict[Stream, _Lines] = {}

    def take(self, stream: Stream, chunk: bytes) -> None:
        """So much was read of a stream."""
        lines = self._streams.get(stream)
        if lines is None:
            lines = self._streams[stream] = _Lines(self._call, stream)
        self._write([*lines.feed(chunk)])

    def end(self) -> None:
        """Nothing more will be."""
        for lines in self._streams.values():
            self._write([*lines.end()])

    def _write(self, lines: list[OutputLine]) -> None:
        if lines:
            self._call.outputs.write(self._call.run_id, lines)


class _Lines:
    """One stream: its lines, as far as they are told. Once there is no room any more, only its end is held, as text."""

    def __init__(self, call: AgentCall, stream: Stream) -> None:
        self._call = call
        self._stream: Stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._hiding = HidingStream(call.hiding)
        self._room = KEPT_AS_IT_COMES
        self._rest = ""  #: of a line that has no end yet; without room, the end of what has come since
        self._left_out = 0  #: characters in front of that
        self._told_at = float("-inf")

    def feed(self, chunk: bytes) -> Iterator[OutputLine]:
        """The lines that a read has brought to their end, as far as there is room."""
        self._rest += self._hiding.feed(self._decoder.decode(chunk))
        start = 0
        while self._room > 0:
            end = self._rest.find("\n", start)
            if end < 0:
                self._rest = self._rest[start:]
                yield from self._unfinished()
                return
            yield from self._pieces(_last_written(self._rest[start:end]))
            start = end + 1
        self._rest = self._rest[start:]
        if self._is_time():
            yield self._told(f"… {_last_line(self._rest)}", is_note=True)
        self._hold_the_end()

    def end(self) -> Iterator[OutputLine]:
        """What is left, as nothing follows."""
        self._rest += self._hiding.feed(self._decoder.decode(b"", final=True)) + self._hiding.flush()
        self._hold_the_end()
        if self._left_out:
            yield self._told(f"… {self._left_out:,} characters are left out here", is_note=True)
        for text in self._rest.removesuffix("\n").split("\n") if self._rest else ():
            yield from self._pieces(_last_written(text))

    def _unfinished(self) -> Iterator[OutputLine]:
        """Of a line that has no end yet: what is written over now and then, and the beginning of a long one."""
        # what a carriage return ends is written over by what follows it, if anything does
        overwritten, _, last = self._rest[:-1].rpartition("\r")
        self._rest = last + self._rest[-1:]
        if overwritten and self._is_time():
            yield from self._pieces(_last_written(overwritten))
        while len(self._rest) > LINE_MAX:
            yield from self._pieces(self._rest[:LINE_MAX])
            self._rest = self._rest[LINE_MAX:]

    def _pieces(self, text: str) -> Iterator[OutputLine]:
        for at in range(0, len(text) or 1, LINE_MAX):
            piece = text[at : at + LINE_MAX]
            self._room -= len(piece) + LINE_COST
            yield self._told(piece)

    def _hold_the_end(self) -> None:
        if self._room <= 0 and len(self._rest) > END_KEPT:
            cut = len(self._rest) - END_KEPT
            cut = self._rest.find("\n", cut) + 1 or cut  # between two lines, if there are any
            self._left_out += cut
            self._rest = self._rest[cut:]

    def _is_time(self) -> bool:
        return time.monotonic() - self._told_at >= _PACE_S

    def _told(self, text: str, *, is_note: bool = False) -> OutputLine:
        self._told_at = time.monotonic()
        call = self._call
        return OutputLine(time.time(), call.task, call.attempt, call.loss, self._stream, text, is_note)


def _last_written(text: str) -> str:
    """What a terminal shows of a line in which carriage returns have the beginning written over."""
    return text.rstrip("\r").rpartition("\r")[2]


def _last_line(text: str) -> str:
    """The last whole line of a text, or what there is of the only one; its beginning, if it is long."""
    return _last_written(text.rpartition("\n")[0].rpartition("\n")[2] or text)[:LINE_MAX]
