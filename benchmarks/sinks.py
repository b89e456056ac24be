"""A receiver of webhooks in a process of its own: one that answers at once, one of a byte a second, and one that never answers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

__all__ = ["sinks"]

ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
BYTE_EVERY_S: Final = 1.0
NAMES: Final = ("live", "slow", "dead")


@contextmanager
def sinks() -> Generator[Mapping[str, str]]:
    """Run one of each; their URLs by name. They end with the block."""
    command = [sys.executable, "-m", "benchmarks.sinks"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        try:
            yield {name: f"http://127.0.0.1:{port}/hook" for name, port in zip(NAMES, ports, strict=True)}
        finally:
            process.kill()


async def _serve(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request after the other, each with a body of known length."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            if name == "dead":
                await asyncio.Event().wait()
            for part in [ANSWER] if name == "live" else [ANSWER[i : i + 1] for i in range(len(ANSWER))]:
                writer.write(part)
                await writer.drain()
                if name == "slow":
                    await asyncio.sleep(BYTE_EVERY_S)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name.lower() == b"content-length"), 0)


async def _main() -> None:
    servers = [await asyncio.start_server(partial(_serve, name), "127.0.0.1", 0) for name in NAMES]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # it ends with whoever started it


if __name__ == "__main__":
    asyncio.run(_main())
