"""Mailboxes: bounded, typed, drained in batches."""

from __future__ import annotations

from typing import Generic, TypeVar

import anyio

from actorflow.actors.host import Host

M = TypeVar("M")


class MailboxFullError(RuntimeError):
    """Raised when a mailbox is full that by its owner's promise can't be: a bug, named by that promise."""


class Mailbox(Generic[M]):
    """Messages for one actor, over an anyio memory channel.

    `tell` never waits: every capacity comes with a `promise`, the sentence that says why it is enough.
    """

    def __init__(self, host: Host, capacity: float, promise: str) -> None:
        self._promise = promise
        self._capacity = capacity
        self._count = 0  #: of waiting messages: asking an empty channel costs an exception
        self._gate = host.gate()
        self._send, self._receive = anyio.create_memory_object_stream[M](capacity)

    def tell(self, message: M) -> None:
        """Put a message behind those that are there, on the loop's thread. One for a closed mailbox is dropped."""
        try:
            self._send.send_nowait(message)
        except anyio.WouldBlock:
            raise MailboxFullError(f"{self._capacity} messages wait, although {self._promise}") from None
        except anyio.ClosedResourceError:
            return  # its actor has ended, and with it whatever the message was about
        self._count += 1
        self._gate.open()

    async def drain(self) -> list[M]:
        """Wait for a message; then take all that are there, oldest first. Cancelling takes none."""
        while not self._count:
            await self._gate.wait()
        return self.drain_nowait()

    def drain_nowait(self) -> list[M]:
        """Take all messages that are there."""
        count, self._count = self._count, 0
        receive = self._receive.receive_nowait
        return [receive() for _ in range(count)]

    def close(self) -> None:
        """Take no more messages."""
        self._send.close()
        self._receive.close()
