"""What a hook would send, as it is shown: nothing is sent, and secrets stand there by their names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from attrs import asdict, evolve, frozen

from actorflow.cli.layout import as_json
from actorflow.core.hook_channels import channel_action
from actorflow.core.hook_context import HookContext
from actorflow.egress.guard import Guard
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.telling import refusal_text
from actorflow.hooks.actions.payloads import (
    SERVICES,
    Payload,
    notice_of,
    text_of,
    values_of,
    webhook_payload,
)
from actorflow.hooks.signatures import BadSecret, signature
from actorflow.secrecy.run_secrets import RunSecrets

__all__ = ["ShownRequest", "obstacle", "shown_request"]

_SERVICE_OF: Final = {channel_action(kind): service for kind, service in SERVICES.items()}


@frozen(kw_only=True)
class ShownRequest:
    """A request without what is secret, and without the headers that say which delivery it is."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Any  #: what the JSON stands for; else a text; None where there is none
    signed_with: int  #: how many secrets

    def lines(self) -> Sequence[tuple[str, str]]:
        """Each part with its name."""
        count = self.signed_with
        parts = {
            "request": f"{self.method} {self.url}",
            "headers": as_json(dict(self.headers)) if self.headers else "",
            "body": "" if self.body is None else as_json(self.body),
            "signed": f"with {count} secret{'s' if count > 1 else ''}" if count else "no",
        }
        return [(f"{name}:", text) for name, text in parts.items() if text]

    def document(self) -> Mapping[str, Any]:
        """The same for programs."""
        return asdict(self)


def shown_request(context: HookContext, params: Mapping[str, Any]) -> ShownRequest | None:
    """What the hook's action would send; None for an action that sends nothing.

    Args:
        context: what the action is told.
        params: the same params as they are shown.
    """
    payload = _payload(evolve(context, params=params))
    if payload is None:
        return None
    headers = {"Content-Type": payload.content_type, **payload.headers} if payload.body else {}
    given = params.get("headers", {})
    if isinstance(given, Mapping):  # else it is hidden as a whole
        headers |= {str(name): text_of(value) for name, value in cast("Mapping[str, Any]", given).items()}
    return ShownRequest(
        method=str(params.get("method", "POST")),
        url=text_of(params["url"]),
        headers=headers,
        body=_readable(payload),
        signed_with=len(_secrets(context.params)),
    )


def obstacle(context: HookContext, guard: Guard, secrets: RunSecrets) -> str:
    """Why nothing could be sent from here: a URL that may not be asked, or a secret that cannot sign; else empty.

    Whether the address may be dialled that a name leads to, shows when it is.
    """
    if context.spec.action != "webhook" and context.spec.action not in _SERVICE_OF:
        return ""
    params: Mapping[str, Any] = secrets.unsealed(context.params)
    try:
        guard.permit(text_of(params["url"]))
        signature([text_of(secret) for secret in _secrets(params)], context.delivery_id, 0, b"")
    except EgressRefused as refused:
        return refusal_text(refused, text_of(context.spec.params.get("url")), secrets.hidden)
    except BadSecret as bad:
        return str(bad)
    return ""


def _payload(context: HookContext) -> Payload | None:
    service = _SERVICE_OF.get(context.spec.action)
    if service is not None:
        return service(notice_of(context, str))
    if context.spec.action != "webhook":
        return None
    return webhook_payload([context]) or Payload(b"", "")


def _readable(payload: Payload) -> Any:
    text = payload.body.decode()
    return (json.loads(text) if payload.content_type == "application/json" else text) if text else None


def _secrets(params: Mapping[str, Any]) -> Sequence[Any]:
    return values_of(params.get("sign", {}).get("secret"))
