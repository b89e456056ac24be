"""Notices with channels: each channel in our words, or set aside where we have no such channel.

A console needs no channel of its own, as every notice is logged. What only one service could use (colours, attachments)
is set aside by its key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Final

from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.trees import laid_over, mark_of, renamed, taken
from actorflow.spec.text.nodes import ListNode, MapNode, Node

__all__ = ["has_notice", "with_notice"]

_PRIORITIES: Final = {"critical": "urgent"}
_NTFY_HEADERS: Final = {
    "title": "Title",
    "priority": "Priority",
    "click_url": "Click",
    "attach_url": "Attach",
}
_NTFY_READ: Final = frozenset({"type", "server", "topic", "tags", "markdown", "auth_token", *_NTFY_HEADERS})
_OF_A_FILE: Final = frozenset({"append", "timestamp", "format"})
_OF_ONE_SERVICE: Final = frozenset(
    {"channel", "method", "attachments", "username", "avatar_url", "tts", "embed", "theme_color", "facts"}
    | {"body_template", "timeout_secs", "retry"}
)
_NO_CHANNELS: Final = frozenset({"email", "telegram", "pager_duty", "pagerduty"})


def has_notice(on_complete: Node) -> bool:
    """Whether an `on_complete` has a notice that may be that tool's: one that is a text is ours already."""
    return isinstance(on_complete, MapNode) and isinstance(on_complete.get("notify"), MapNode)


def with_notice(task: MapNode, aside: SetAside) -> MapNode:
    """The task with the notice of its `on_complete` in our words."""
    on_complete = task.get("on_complete")
    notice = on_complete.get("notify") if isinstance(on_complete, MapNode) else None
    if not isinstance(on_complete, MapNode) or not isinstance(notice, MapNode):
        return task
    made = aside.strip(notice, ("metadata",))
    priority = made.get("priority")
    if isinstance(priority, str) and priority in _PRIORITIES:
        made = made.with_entry("priority", _PRIORITIES[priority], mark_of(made, "priority"))
    if isinstance(made.get("channels"), ListNode):
        made = _with_channels(made, aside)
    copy = task.without(())
    copy["on_complete"] = laid_over(on_complete, {"notify": made}, notice.mark)
    return copy


def _with_channels(notice: MapNode, aside: SetAside) -> MapNode:
    channels = notice["channels"]
    made = ListNode(notice.mark)
    for item, mark in zip(channels, channels.marks, strict=True) if isinstance(channels, ListNode) else ():
        channel = _channel(item, aside)
        if channel is not None or item is None:  # an empty item is the loader's to refuse
            made.put(channel, mark)
    return notice.with_entry("channels", made, made.mark) if made else notice.without(("channels",))


def _channel(item: Node, aside: SetAside) -> Node:
    """A channel in our words; None where we have none, or need none."""
    kind = item.get("type") if isinstance(item, MapNode) else None
    if not isinstance(item, MapNode) or not isinstance(kind, str) or kind == "console":
        return None if kind == "console" else item
    if kind in _NO_CHANNELS or (kind == "slack" and item.get("method") == "bot"):
        aside.note(kind, mark_of(item, "type"), "there is no such channel here")
        return None
    read = _CHANNELS.get(kind)
    return item if read is None else read(item, aside)


def _slack(channel: MapNode, aside: SetAside) -> MapNode:
    return _by_url(channel, "credential", aside)


def _by_webhook(channel: MapNode, aside: SetAside) -> MapNode:
    return _by_url(channel, "webhook_url", aside)


def _by_url(channel: MapNode, key: str, aside: SetAside) -> MapNode:
    if key not in channel:
        return channel
    return renamed(aside.strip(channel, _OF_ONE_SERVICE), {key: "url"})


def _ntfy(channel: MapNode, aside: SetAside) -> MapNode:
    """A topic of a server, with what ntfy itself reads from headers."""
    topic, server = channel.get("topic"), channel.get("server", "https://ntfy.sh")
    if not isinstance(topic, str) or not isinstance(server, str):
        return channel
    aside.strip(channel, channel.keys() - _NTFY_READ)
    headers = taken(channel, _NTFY_HEADERS)
    tags = channel.get("tags")
    extras: dict[str, Node] = {}
    if isinstance(tags, ListNode) and tags:
        extras["Tags"] = ",".join(str(tag) for tag in tags)
    if channel.get("markdown") is True:
        extras["Markdown"] = "yes"
    if "auth_token" in channel:
        extras["Authorization"] = f"Bearer {channel['auth_token']}"
    headers = laid_over(headers, extras, channel.mark)
    entries: dict[str, Node] = {"type": "ntfy", "url": f"{server.rstrip('/')}/{topic}"}
    return laid_over(MapNode(channel.mark), entries | ({"headers": headers} if headers else {}), channel.mark)


def _webhook(channel: MapNode, aside: SetAside) -> MapNode:
    made = aside.strip(channel, _OF_ONE_SERVICE).without(("auth",))
    proof = _proof(channel.get("auth"))
    if proof is None:
        aside.strip(
            channel, ("auth",), "give a bearer its token, an api_key its header and key, or write headers:"
        )
        return made
    headers = made.get("headers")
    merged = laid_over(
        headers if isinstance(headers, MapNode) else MapNode(channel.mark), proof, channel.mark
    )
    return made.with_entry("headers", merged, channel.mark)


def _proof(auth: Node) -> dict[str, Node] | None:
    """The header that proves who sends a request; a user and password do not go into one text with secrets."""
    if not isinstance(auth, MapNode):
        return None
    if auth.get("type") == "bearer" and isinstance(token := auth.get("token"), str):
        return {"Authorization": f"Bearer {token}"}
    header, key = auth.get("header"), auth.get("key")
    if auth.get("type") == "api_key" and isinstance(header, str) and isinstance(key, str):
        return {header: key}
    own = auth.get("headers")
    return dict(own) if isinstance(own, MapNode) else None


def _file(channel: MapNode, aside: SetAside) -> MapNode | None:
    """The file, unless that tool's words beside it show that it may be anywhere."""
    path = channel.get("path")
    if isinstance(path, str) and PurePosixPath(path).is_absolute() and not _OF_A_FILE.isdisjoint(channel):
        aside.note("path", mark_of(channel, "path"), "a file outside of the workflow's folder is not written")
        return None
    return aside.strip(channel, _OF_A_FILE)


_CHANNELS: Final[Mapping[str, Callable[[MapNode, SetAside], MapNode | None]]] = {
    "slack": _slack,
    "discord": _by_webhook,
    "teams": _by_webhook,
    "ntfy": _ntfy,
    "webhook": _webhook,
    "file": _file,
}
