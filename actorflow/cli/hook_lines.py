"""Hooks as `actorflow show` tells of them: how each ended, and the end of what it printed."""

from __future__ import annotations

from typing import Any, Final

from actorflow.cli.account import HookRun
from actorflow.cli.layout import counted, duration
from actorflow.cli.screen import as_line, as_text

LINES_SHOWN: Final = 40  #: of each stream, the last ones
LONGEST_LINE: Final = 500  #: characters

_STREAMS: Final = ("stdout", "stderr")


def hook_lines(hook: HookRun, *, indent: str) -> list[str]:
    """A line for the hook, and below it what it printed."""
    how = hook.status.replace("_", " ")
    why = "" if hook.status in {"ok", "not_ended"} else f": {hook.summary}"
    seconds = hook.record.get("duration_s")
    took = "" if seconds is None else f", {duration(seconds)}"
    stage = "" if hook.stage is None else f" after stage {hook.stage}"
    lines = [as_line(f"{indent}{hook.path}{stage} {how}{took}{why} ({hook.name})")]
    for stream in _STREAMS:
        lines += _stream_lines(stream, hook, indent + "  ")
    return lines


def hook_document(hook: HookRun) -> dict[str, Any]:
    """The same for programs, with all that is kept of what it printed."""
    keys = ("summary", "exit_status", "duration_s", *_STREAMS, "truncated")
    facts = {key: hook.record.get(key) for key in keys}
    return {"hook": hook.path, "name": hook.name, "stage": hook.stage, "status": hook.status, **facts}


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
