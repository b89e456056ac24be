"""Finding and ending processes by a cookie in their environment, whatever session they have moved to.

A program that calls `setsid` leaves its process group, and an orphan its parent: what it keeps is its environment. Linux
shows that to processes of the same user. Elsewhere nothing is found, and the process group is all that can be reached.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Final

__all__ = [
    "COOKIE_VARIABLE",
    "find_survivors",
    "kill_carriers",
    "kill_survivors",
    "living",
    "signal_carrier",
]

COOKIE_VARIABLE: Final = "ACTORFLOW_COOKIE"


def find_survivors(cookie_prefix: str) -> list[int]:
    """Find the processes whose cookie begins so, in any session, such as a crashed owner left behind.

    Linux only: elsewhere nothing is found. Nor are processes of other users, and those that cleared their environment.
    """
    return _carriers([_entry(cookie_prefix)])


def kill_survivors(cookie: str) -> None:
    """KILL all processes with this very cookie, and what they start meanwhile; blocks for a second at most.

    Linux only: elsewhere it does nothing.
    """
    deadline = time.monotonic() + 1.0
    while kill_carriers([cookie]) and time.monotonic() < deadline:
        time.sleep(0.005)


def kill_carriers(cookies: Collection[str]) -> bool:
    """KILL once whoever carries one of the cookies; say whether there was any."""
    entries = [_entry(cookie) + b"\0" for cookie in cookies]
    pids = _carriers(entries)
    for pid in pids:
        _signal_pinned(pid, entries, signal.SIGKILL)
    return bool(pids)


def living(group: int, cookie: str) -> tuple[set[int], set[int]]:
    """The living of a tree: those in its group, and the strays with its cookie elsewhere."""
    if sys.platform != "linux":
        try:
            os.killpg(group, 0)
        except OSError:  # none left, or only zombies, whom nobody may signal there
            return set(), set()
        return {group}, set()
    members: set[int] = set()
    strays: set[int] = set()
    entries = [_entry(cookie) + b"\0"]
    for pid in _pids():  # in one pass: what is forked during it must not be seen as a carrier only
        if _living_group(pid) == group:
            members.add(pid)
        elif _carries(pid, entries):
            strays.add(pid)
    return members, strays


def signal_carrier(pid: int, cookie: str, number: signal.Signals) -> None:
    """Signal a process, unless its number has gone to one without the cookie."""
    _signal_pinned(pid, [_entry(cookie) + b"\0"], number)


def _signal_pinned(pid: int, entries: Collection[bytes], number: signal.Signals) -> None:
    """Signal a process if it is still one of ours; between the look and the signal its number cannot change hands."""
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except (
            OSError
        ):  # no pidfd here: the number may change hands in the microseconds between look and signal
            descriptor = -1
        try:
            with suppress(ProcessLookupError, PermissionError):
                if not _carries(pid, entries):
                    return
                if descriptor < 0:
                    os.kill(pid, number)
                else:
                    signal.pidfd_send_signal(descriptor, number)
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def _carriers(entries: Collection[bytes]) -> list[int]:
    return [pid for pid in _pids() if _carries(pid, entries)]


def _carries(pid: int, entries: Collection[bytes]) -> bool:
    environ = b"\0" + _proc(pid, "environ")  # empty for a zombie, and for the processes of others
    return any(entry in environ for entry in entries)


def _entry(cookie: str) -> bytes:
    return b"\0" + os.fsencode(f"{COOKIE_VARIABLE}={cookie}")


def _living_group(pid: int) -> int | None:
    """The group of a process that is not a zombie."""
    _, _, rest = _proc(pid, "stat").rpartition(
        b") "
    )  # the name before it may hold anything, spaces and brackets too
    if not rest or rest[:1] in b"ZX":
        return None
    return int(rest.split(b" ", 3)[2])


def _pids() -> list[int]:
    """All processes but this one, whose own environment may carry the cookie of an outer run."""
    if sys.platform != "linux":
        return []
    own = os.getpid()
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - names, not a hundred Path objects
    except OSError:
        return []
    return [pid for name in names if name.isdigit() and (pid := int(name)) != own]


def _proc(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - twice the speed of Path.open
            return file.read()
    except OSError:
        return b""
