"""The channels of notices: services that are sent what people are told, and files that it is added to."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from anyio import CapacityLimiter
from attrs import field, frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import Action, ActionSurroundings
from actorflow.hooks.actions.payloads import Service, notice_of, text_of
from actorflow.hooks.actions.sending import Message, host_key, send

__all__ = ["FileChannel", "ServiceChannel"]

_APPENDING: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""Not blocking: a FIFO that nobody reads would keep its thread for good."""


@frozen
class ServiceChannel(Action):
    """Sends a notice to a service, in its words, on the terms of a webhook."""

    service: Service = field(repr=False)

    is_batchable: ClassVar[bool] = False
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = True

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Send one request."""
        (context,) = batch
        params: Mapping[str, Any] = context.params
        message = Message(
            message_id=context.delivery_id,
            url=text_of(params["url"]),
            payload=self.service(notice_of(context, around.secrets.hidden)),
            headers=params.get("headers", {}),
        )
        return [await send(message, context, around)]

    def breaker_key(self, context: HookContext) -> str:
        """The host, as for webhooks."""
        return host_key(context.params["url"])


@frozen
class FileChannel(Action):
    """Adds a notice to a file, as one line of JSON; makes the file, readable for its owner alone, if there is none."""

    is_batchable: ClassVar[bool] = False
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = False

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Write one line, in a thread; once it has begun, it is not cancelled."""
        (context,) = batch
        path = os.path.join(around.folder, context.params["path"])  # noqa: PTH118 - said as written
        notice = notice_of(context, around.secrets.hidden)
        facts = {"title": notice.title, "message": notice.message, "priority": notice.priority}
        line = json.dumps({"id": context.delivery_id, **notice.about, **facts}, ensure_ascii=False) + "\n"
        try:
            # a limiter of its own: the threads of the program may all be taken by what waits for us
            await around.host.in_thread(
                _append, path, line.encode(errors="replace"), limiter=CapacityLimiter(1)
            )
        except OSError as error:
            return [TryResult(status="failed", error=f"{context.params['path']}: {error.strerror}")]
        return [TryResult(record={"path": context.params["path"]})]


def _append(path: str, line: bytes) -> None:
    """Add a line in one write, so that those of several processes stay whole.

    Raises:
        OSError: it is no regular file, or cannot be written to; the disk may have taken a part of the line.
    """
    descriptor = os.open(path, _APPENDING, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no regular file")
        if os.write(descriptor, line) < len(line):
            raise OSError(0, "only a part of the line could be written")
    finally:
        os.close(descriptor)
