"""Hooks as `actorflow show` tells of them: how each ended, the end of what it printed, and what is still owed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from actorflow.cli.hooks.runs import HookRun
from actorflow.cli.layout import counted, duration
from actorflow.cli.pending import heads
from actorflow.cli.screen import as_line, as_text

LINES_SHOWN: Final = 40  #: of each stream, the last ones
LONGEST_LINE: Final = 500  #: characters
HOOKS_SHOWN: Final = 50  #: the last ones that have something to tell

_STREAMS: Final = ("stdout", "stderr")


def hooks_lines(hooks: Sequence[HookRun], pending: Sequence[HookRun], *, indent: str) -> list[str]:
    """The hooks that have something to tell; of the others, how many there were; and what is owed by whom."""
    telling = [hook for hook in hooks if _has_to_tell(hook)]
    hidden = len(telling) - HOOKS_SHOWN
    lines = [f"{indent}… {hidden} more before"] if hidden > 0 else []
    for hook in telling[max(hidden, 0) :]:
        lines += hook_lines(hook, indent=indent)
    lines += _quiet_lines((hook for hook in hooks if not _has_to_tell(hook)), indent)
    return lines + pending_lines(pending, indent=indent)


def hook_lines(hook: HookRun, *, indent: str) -> list[str]:
    """A line for the hook, and below it what it printed."""
    why = f": {hook.why}" if hook.why else ""
    seconds = duration_s(hook)
    took = "" if seconds is None else f", {duration(seconds)}"
    tries = f", {hook.tries} tries" if hook.tries > 1 else ""
    lines = [as_line(f"{indent}{hook.place} {hook.how}{took}{tries}{why} ({hook.name})")]
    for stream in _STREAMS:
        lines += _stream_lines(stream, hook, indent + "  ")
    return lines


def pending_lines(pending: Sequence[HookRun], *, indent: str) -> list[str]:
    """A line for each hook that is owed something: how much, and what its first delivery waits for."""
    return [
        as_line(f"{indent}{head.path} is owed {count}; the first{_about(head)}: {head.why} ({head.name})")
        for head, count in heads(pending)
    ]


def hook_document(hook: HookRun) -> dict[str, Any]:
    """The same for programs, with all that is kept of what it printed."""
    keys = ("summary", "exit_status", "duration_s", *_STREAMS, "truncated")
    facts = {key: hook.record.get(key) for key in keys}
    return {**hook_facts(hook), **facts, "duration_s": duration_s(hook)}


def hook_facts(hook: HookRun) -> dict[str, Any]:
    """What a program can know of a hook without what it printed."""
    return {
        "hook": hook.path,
        "name": hook.name,
        "event": hook.event,
        "task": hook.task or None,
        "stage": hook.stage or None,
        "generation": hook.generation,
        "at": hook.at,
        "blocking": hook.is_blocking,
        "status": hook.status,
        "tries": hook.tries,
        "why": hook.why or None,
        "delivery_id": hook.delivery_id or None,
        **{fact: hook.sent(fact) for fact in ("http_status", "target", "batch")},
    }


def duration_s(hook: HookRun) -> float | None:
    """How long its last try took, if that is known."""
    tries: Sequence[Mapping[str, Any]] = hook.record.get("tries", ())
    last = tries[-1] if tries else hook.record
    seconds: float | None = hook.record.get("duration_s", last.get("duration_s"))
    return seconds


def _has_to_tell(hook: HookRun) -> bool:
    has_printed = any(hook.record.get(stream) for stream in _STREAMS)
    return hook.is_blocking or has_printed or hook.status not in ("ok", "skipped")


def _quiet_lines(hooks: Iterable[HookRun], indent: str) -> list[str]:
    """Deliveries without anything to tell may be thousands: a line for each hook."""
    counts = Counter((hook.path, hook.status, hook.why, hook.name) for hook in hooks)
    return [
        as_line(f"{indent}{path} {status} {counted(count, 'time')}{f': {why}' if why else ''} ({name})")
        for (path, status, why, name), count in counts.items()
    ]


def _about(head: HookRun) -> str:
    if head.stage:
        return f", after stage {head.stage}"
    return f", of {head.task}" if head.task else ""


def _stream_lines(stream: str, hook: HookRun, indent: str) -> list[str]:
    text = str(hook.record.get(stream) or "").rstrip()
    if not text:
        return []
    printed = text.replace("\r\n", "\n").split("\n")
    hidden = len(printed) - LINES_SHOWN
    shown = printed[max(hidden, 0) :]
    notes = [f"… {counted(hidden, 'line')} before"] if hidden > 0 else []
    return [f"{indent}{stream}:", *(f"{indent}  {_cut(line)}" for line in (*notes, *shown))]


def _cut(line: str) -> str:
    surplus = len(line) - LONGEST_LINE
    return as_text(line) if surplus <= 0 else f"{as_text(line[:LONGEST_LINE])}… {surplus} more characters"
