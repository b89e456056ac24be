"""The webhook action: an event, or a batch of them, as a signed request to somebody else's program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from attrs import frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import Action, ActionSurroundings
from actorflow.hooks.actions.payloads import text_of, values_of, webhook_payload
from actorflow.hooks.actions.sending import Message, host_key, send

__all__ = ["WebhookAction"]


@frozen
class WebhookAction(Action):
    """Sends a request, as Standard Webhooks says. A hook with `batch` sends all that it is given as one.

    The deliveries of a batch differ in nothing but their bodies, so the first speaks for all.
    """

    is_batchable: ClassVar[bool] = True
    commits_batches: ClassVar[bool] = True
    bounds_itself: ClassVar[bool] = True

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Send one request."""
        return [await send(_message(batch), batch[0], around)] * len(batch)

    def breaker_key(self, context: HookContext) -> str:
        """The host: where it is down, it is for all hooks."""
        return host_key(context.params["url"])


def _message(batch: Sequence[HookContext]) -> Message:
    first = batch[0]
    params: Mapping[str, Any] = first.params
    return Message(
        message_id=first.batch or first.delivery_id,
        url=text_of(params["url"]),
        method=params.get("method", "POST"),
        payload=webhook_payload(batch),
        headers=params.get("headers", {}),
        secrets=[text_of(secret) for secret in values_of(params.get("sign", {}).get("secret"))],
        expected=values_of(params.get("expect_status")),
    )
