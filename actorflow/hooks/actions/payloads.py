"""What requests of hooks hold: events for machines, and notices in the words of the services that show them to people.

Where the services say what they take:
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
https://docs.discord.com/developers/resources/webhook#execute-webhook,
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using#send-adaptive-cards-using-an-incoming-webhook,
https://docs.ntfy.sh/publish
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from attrs import field, frozen

from actorflow.core.hook_context import HookContext

__all__ = [
    "SERVICES",
    "Notice",
    "Payload",
    "Service",
    "notice_of",
    "text_of",
    "values_of",
    "webhook_payload",
]

DISCORD_MAX: Final = 2_000
"""Characters of a message; Discord refuses a longer one."""

SLACK_MAX: Final = 40_000
"""Characters of a text; Slack cuts a longer one by itself."""

TITLE_MAX: Final = 300
"""Characters of a title, where a service has a bound for the whole."""

TEAMS_MAX: Final = 6_500
"""Characters of a card's text: as UTF-8 within the 28 KiB that Teams takes, whatever they are."""

NTFY_MAX: Final = 4_096
"""Bytes of a text; ntfy makes a longer one an attachment."""

_WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


@frozen
class Payload:
    """The body of a request, and what headers say of it."""

    body: bytes = field(repr=False)
    content_type: str
    headers: Mapping[str, str] = field(factory=dict[str, str])  #: more of them, by which a service goes


@frozen(kw_only=True)
class Notice:
    """What people are told."""

    message: str
    title: str = ""
    priority: str = "normal"
    about: Mapping[str, Any] = field(factory=dict[str, Any])  #: the event, in plain facts


Service: TypeAlias = Callable[[Notice], Payload]
"""How a service takes a notice."""


def text_of(value: Any) -> str:
    """A value as templates put it into a text."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, sort_keys=True)


def values_of(value: Any) -> Sequence[Any]:
    """A param that may be one value, several, or none, as several."""
    if isinstance(value, list | tuple):
        return cast("Sequence[Any]", value)
    return () if value is None else (value,)


def notice_of(context: HookContext, hide: Callable[[str], str]) -> Notice:
    """What a notify hook tells people.

    Args:
        context: of the hook.
        hide: takes secrets out of a text: where a notice goes is not where these belong.
    """
    params: Mapping[str, Any] = context.params
    return Notice(
        message=hide(text_of(params["message"])),
        title=hide(text_of(params.get("title"))),
        priority=params.get("priority", "normal"),
        about={
            "at": context.at,
            "run_id": context.run_id,
            "workflow": context.workflow,
            "task": None if context.task is None else context.task["id"],
            "event": context.event,
        },
    )


def webhook_payload(batch: Sequence[HookContext]) -> Payload | None:
    """What a webhook sends; a GET or DELETE has a body only if the hook gives it one."""
    first = batch[0]
    if first.params.get("method") in _WITHOUT_BODY and "body" not in first.params:
        return None
    return _event(first) if first.spec.batch is None else _batch(batch)


def _event(context: HookContext) -> Payload:
    """One event: the hook's `body`, a text as it is, anything else as JSON; without one, `{id, event, data}`."""
    if "body" not in context.params:
        return _json(_member(context))
    body = context.params["body"]
    return _text(body) if isinstance(body, str) else _json(body)


def _batch(batch: Sequence[HookContext]) -> Payload:
    """Several events: `[{id, event, data}, …]`, where `data` is the hook's `body`."""
    return _json([_member(context) for context in batch])


def _member(context: HookContext) -> dict[str, Any]:
    data = context.params["body"] if "body" in context.params else context.document()
    return {"id": context.delivery_id, "event": context.event, "data": data}


# The services


def _slack(notice: Notice) -> Payload:
    """Nothing of the text may be a mention or a link of Slack's own."""
    text = _under_title(f"*{_slack_text(notice.title)}*", notice.title, _slack_text(notice.message))
    return _json({"text": _cut(text, SLACK_MAX)})


def _discord(notice: Notice) -> Payload:
    text = _under_title(f"**{notice.title}**", notice.title, notice.message)
    return _json({"content": _cut(text, DISCORD_MAX), "allowed_mentions": {"parse": []}})


def _teams(notice: Notice) -> Payload:
    """A message with one Adaptive Card, as the webhooks of Teams' workflows take it."""
    headline = _cut(notice.title, TITLE_MAX)
    title = {"type": "TextBlock", "text": headline, "weight": "Bolder", "size": "Medium", "wrap": True}
    message = {"type": "TextBlock", "text": _cut(notice.message, TEAMS_MAX), "wrap": True}
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, message] if notice.title else [message],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return _json({"type": "message", "attachments": [attachment]})


def _ntfy(notice: Notice) -> Payload:
    headers = {"Priority": _NTFY_PRIORITIES.get(notice.priority, "default")}
    if notice.title:
        headers["Title"] = _header_text(_cut(notice.title, TITLE_MAX))
    return Payload(_cut_bytes(notice.message, NTFY_MAX), _TEXT, headers)


def _webhook(notice: Notice) -> Payload:
    said = {"title": notice.title, "message": notice.message, "priority": notice.priority}
    return _json({**said, **notice.about})


SERVICES: Final[Mapping[str, Service]] = {
    "slack": _slack,
    "discord": _discord,
    "teams": _teams,
    "ntfy": _ntfy,
    "webhook": _webhook,
}
"""By the type of the channel."""

_NTFY_PRIORITIES: Final = {"low": "low", "normal": "default", "high": "high", "urgent": "urgent"}


# Texts


def _json(value: Any) -> Payload:
    """As JSON; what is no Unicode, as half of a surrogate pair, becomes a question mark.

    Keys are in order: a definition that was kept has them so, and all tries of a delivery are to send the same bytes.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return Payload(text.encode(errors="replace"), _JSON)


def _text(text: str) -> Payload:
    return Payload(text.encode(errors="replace"), _TEXT)


def _under_title(heading: str, title: str, message: str) -> str:
    return f"{heading}\n{message}" if title else message


def _slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _cut_bytes(text: str, most: int) -> bytes:
    """The text as UTF-8, with no character torn apart where it is cut."""
    body = text.encode(errors="replace")
    if len(body) <= most:
        return body
    ellipsis = "…".encode()
    return body[: most - len(ellipsis)].decode(errors="ignore").encode() + ellipsis


def _header_text(text: str) -> str:
    """One line for a header; what is not ASCII as encoded words (https://www.rfc-editor.org/rfc/rfc2047#section-2).

    An encoded word has at most 75 characters, and no character is torn apart between two: eleven fit, whatever they are.
    """
    line = " ".join(text.split())
    if line.isascii() and line.isprintable():
        return line
    words = (line[at : at + 11].encode(errors="replace") for at in range(0, len(line), 11))
    return " ".join(f"=?UTF-8?B?{b64encode(word).decode()}?=" for word in words)
