"""The webhook action: an event, or a batch of them, as a signed request to somebody else's program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, cast

from attrs import frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import Action, ActionSurroundings
from actorflow.hooks.actions.payloads import Payload, batch_payload, event_payload, text_of
from actorflow.hooks.actions.sending import Message, host_key, send

__all__ = ["WebhookAction"]

_WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})


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
    method = params.get("method", "POST")
    return Message(
        message_id=first.batch or first.delivery_id,
        url=text_of(params["url"]),
        method=method,
        payload=_payload(batch, method),
        headers=params.get("headers", {}),
        secrets=[text_of(secret) for secret in _listed(params.get("sign", {}).get("secret"))],
        expected=_listed(params.get("expect_status")),
    )


def _payload(batch: Sequence[HookContext], method: str) -> Payload | None:
    """What is sent; a GET or DELETE has a body only if the hook gives it one."""
    if method in _WITHOUT_BODY and "body" not in batch[0].params:
        return None
    return event_payload(batch[0]) if batch[0].spec.batch is None else batch_payload(batch)


def _listed(value: Any) -> Sequence[Any]:
    """One or several, as a list."""
    if isinstance(value, list | tuple):
        return cast("Sequence[Any]", value)
    return () if value is None else (value,)
