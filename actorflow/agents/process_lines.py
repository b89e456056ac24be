"""What a process prints, line by line on its way to the output log, while it runs."""

from __future__ import annotations

import codecs
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from actorflow.agents.call import AgentCall
from actorflow.journal.output_log import OutputLine, Stream
from actorflow.secrecy.stream import HidingStream

__all__ = ["ProcessLines"]

KEPT_AS_IT_COMES: Final = 1024 * 1024
"""Characters of each stream of an attempt; of what follows, one line a second, and the end when there is one."""

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
    """One stream: its lines, as far as they are told."""

    def __init__(self, call: AgentCall, stream: Stream) -> None:
        self._call = call
        self._stream: Stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._hiding = HidingStream(call.hiding)
        self._rest = ""  #: of a line that has no end yet
        self._room = KEPT_AS_IT_COMES
        self._end: deque[str] = deque()  #: the last lines of what there is no room for
        self._end_length = 0
        self._left_out = 0  #: characters in front of them
        self._told_at = float("-inf")

    def feed(self, chunk: bytes) -> Iterator[OutputLine]:
        *ended, rest = (self._rest + self._hiding.feed(self._decoder.decode(chunk))).split("\n")
        for text in ended:
            yield from self._line(_last_written(text))
        # what a carriage return ends is written over by what follows it, if anything does
        overwritten, _, last = rest[:-1].rpartition("\r")
        self._rest = last + rest[-1:]
        if overwritten and self._is_time():
            yield from self._line(_last_written(overwritten))
        while len(self._rest) > LINE_MAX:
            yield from self._line(self._rest[:LINE_MAX])
            self._rest = self._rest[LINE_MAX:]

    def end(self) -> Iterator[OutputLine]:
        self._rest += self._hiding.feed(self._decoder.decode(b"", final=True)) + self._hiding.flush()
        if self._rest:
            yield from self._line(_last_written(self._rest))
        if self._left_out:
            yield self._told(f"… {self._left_out:,} characters are left out here", is_note=True)
        for text in self._end:
            yield self._told(text)

    def _line(self, text: str) -> Iterator[OutputLine]:
        for at in range(0, len(text) or 1, LINE_MAX):
            piece = text[at : at + LINE_MAX]
            if self._room > 0:
                self._room -= len(piece) + 1
                yield self._told(piece)
            else:
                self._put_off(piece)
                if self._is_time():
                    yield self._told(f"… {piece}", is_note=True)

    def _put_off(self, text: str) -> None:
        self._end.append(text)
        self._end_length += len(text) + 1
        while self._end_length > END_KEPT:
            dropped = len(self._end.popleft()) + 1
            self._end_length -= dropped
            self._left_out += dropped

    def _is_time(self) -> bool:
        return time.monotonic() - self._told_at >= _PACE_S

    def _told(self, text: str, *, is_note: bool = False) -> OutputLine:
        self._told_at = time.monotonic()
        call = self._call
        return OutputLine(time.time(), call.task, call.attempt, call.loss, self._stream, text, is_note)


def _last_written(text: str) -> str:
    """What a terminal shows of a line in which carriage returns have the beginning written over."""
    return text.rstrip("\r").rpartition("\r")[2]
