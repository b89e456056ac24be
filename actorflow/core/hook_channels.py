"""The channels of notices: each is a hook of its own, so that one that is down holds up no other.

```yaml
task_finished:                                # merged:  0  task_finished[0]              notify, for the log
  - type: notify                              #          1  task_finished[1]              whatever comes next
    params: {message: m, channels: [a, b]}    #          2  task_finished[0].channels[0]  notify.slack
                                              #          3  task_finished[0].channels[1]  notify.file
```

They stand behind all hooks of the merged list: no other hook's place in it depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from attrs import evolve

from actorflow.spec.model import HookSpec, RetrySpec

__all__ = ["NOTIFY", "channel_action", "channel_hooks", "notice_of", "on_terms_of_channels"]

NOTIFY: Final = "notify"
"""The action whose hooks may have channels."""

_CHANNELS: Final = ".channels["
_TIMEOUT_S: Final = 10.0
_MAX_ATTEMPTS: Final = 5


def on_terms_of_channels(notice: HookSpec) -> HookSpec:
    """The notice that a task's `on_complete` means, which has no say in that: its channels are tried as webhooks are."""
    return evolve(notice, timeout=_TIMEOUT_S, retry=RetrySpec(max_attempts=_MAX_ATTEMPTS))


def notice_of(path: str) -> tuple[str, ...]:
    """Path and action of the notice that a channel is of; empty for any other hook."""
    notice, found, _ = path.rpartition(_CHANNELS)
    return (notice, NOTIFY) if found else ()


def channel_action(kind: str) -> str:
    """The action of channels of a type. No file can name it."""
    return f"{NOTIFY}.{kind}"


def channel_hooks(path: str, hook: HookSpec) -> Iterator[tuple[str, HookSpec]]:
    """The channels of a hook, with their paths; none, unless it is a notice that has some.

    Each acts when the notice does, on the same terms. Nobody waits for one, so none can fail what it tells of.
    """
    if hook.action != NOTIFY:
        return
    channels: Sequence[Mapping[str, Any]] = hook.params.get("channels") or ()
    text = {key: value for key, value in hook.params.items() if key != "channels"}
    for index, channel in enumerate(channels):
        where = {key: value for key, value in channel.items() if key != "type"}
        yield (
            f"{path}{_CHANNELS}{index}]",
            evolve(
                hook,  # its timeout and retry are those of a webhook, where the file has no others
                action=channel_action(cast("str", channel["type"])),
                params={**text, **where},
                mode="async",
                on_error="disable" if hook.on_error == "disable" else "continue",
                batch=None,
            ),
        )
