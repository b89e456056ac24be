"""Finding and ending processes by a cookie in their environment, whatever session they have moved to.

A program that calls `setsid` leaves its process group, and an orphan its parent: what it keeps is its environment. Linux
shows that to processes of the same user. Elsewhere nothing is found, and the process group is all that can be reached.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from attrs import frozen

__all__ = [
    "COOKIE_VARIABLE",
    "Census",
    "end_survivors",
    "find_survivors",
    "kill_carriers",
    "signal_carrier",
    "take_census",
]

COOKIE_VARIABLE: Final = "ACTORFLOW_COOKIE"

_UNKILLABLE_S: Final = 5.0  # after KILL: one that hangs in the kernel is left
_MOST_LOOKS: Final = 100  # at the list of processes, in one search: strangers may come and go without end
_CHASES: Final = (
    20  # after each look, of 0.1 ms: a process that starts the next one and ends lives for longer
)
_KERNEL_THREAD: Final = 0x0020_0000  # PF_KTHREAD among the flags in /proc/PID/stat

_Wanted: TypeAlias = Callable[[bytes], bool]  # asked with a cookie


def end_survivors(cookie_prefix: str, *, grace_s: float = 5.0) -> tuple[int, ...]:
    """End the processes whose cookie begins so, such as a crashed owner left behind, and what they start meanwhile.

    Each gets TERM, and CONT in case it is stopped; what is there after `grace_s` seconds gets KILL, and five seconds more.
    Blocks until none is left: milliseconds where there is none.

    Linux only: elsewhere nothing is found. Nor are processes of other users, and those that cleared their environment.

    Returns:
        Those that are still there, and hang in the kernel. A zombie is not there.
    """
    is_wanted = _begins(cookie_prefix)
    if not _signalled(is_wanted, (signal.SIGTERM, signal.SIGCONT), grace_s):
        return ()
    return tuple(sorted(_signalled(is_wanted, (signal.SIGKILL,), _UNKILLABLE_S)))


def find_survivors(cookie_prefix: str) -> list[int]:
    """Find processes whose cookie begins so, in any session; the limits are those of `end_survivors`.

    None are found only if there are none; beside others, one that executes another program just now may be missing.
    """
    return sorted(_carriers(_begins(cookie_prefix)))


def kill_carriers(cookies: Collection[str]) -> None:
    """KILL once whoever carries one of these very cookies."""
    is_wanted = _is_one_of(cookies)
    for pid in _carriers(is_wanted):
        _signal_pinned(pid, is_wanted, signal.SIGKILL)


@frozen
class Census:
    """Who is alive: the processes of each group, and the carriers of each cookie; zombies are not."""

    groups: Mapping[int, set[int]]
    carriers: Mapping[bytes, set[int]]

    def of_tree(self, group: int, cookie: str) -> tuple[set[int], set[int]]:
        """The living of a tree: those in its group, and the strays with its cookie elsewhere."""
        if sys.platform != "linux":
            try:
                os.killpg(group, 0)
            except OSError:  # none left, or only zombies, whom nobody may signal there
                return set(), set()
            return {group}, set()
        members = self.groups.get(group, set())
        return members, self.carriers.get(os.fsencode(cookie), set()) - members


def take_census() -> Census:
    """Look at all processes but this one; takes some 30 µs for each."""
    groups: defaultdict[int, set[int]] = defaultdict(set)
    carriers: defaultdict[bytes, set[int]] = defaultdict(set)

    def note(pid: int) -> bool | None:
        state, group = _state_and_group(pid)
        if state in b"ZX":
            return None
        groups[group].add(pid)
        cookie = _cookie(pid)
        if cookie:
            carriers[cookie].add(pid)
        return None if cookie is None else False

    _search(note)
    return Census(dict(groups), dict(carriers))


def signal_carrier(pid: int, cookie: str, number: signal.Signals) -> None:
    """Signal a process, unless its number has gone to one without the cookie."""
    _signal_pinned(pid, _is_one_of([cookie]), number)


def _begins(prefix: str) -> _Wanted:
    beginning = os.fsencode(prefix)
    return lambda cookie: cookie.startswith(beginning)


def _is_one_of(cookies: Collection[str]) -> _Wanted:
    return frozenset(map(os.fsencode, cookies)).__contains__


def _signalled(is_wanted: _Wanted, numbers: Collection[signal.Signals], patience_s: float) -> set[int]:
    """Signal each carrier once, those too that appear meanwhile, until none is left; or say which are, after a time."""
    deadline = time.monotonic() + patience_s
    told: set[int] = set()
    pause = 0.002
    while carriers := _carriers(is_wanted):
        for pid in carriers - told:
            for number in numbers:
                _signal_pinned(pid, is_wanted, number)
        told |= carriers
        if time.monotonic() >= deadline:
            break
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return carriers


def _signal_pinned(pid: int, is_wanted: _Wanted, number: signal.Signals) -> None:
    """Signal a process if it is still one of ours; between the look and the signal its number cannot change hands."""
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:  # no pidfd here: the number may change hands in the microseconds before the signal
            descriptor = -1
        try:
            with suppress(ProcessLookupError, PermissionError):
                if not _carries(pid, is_wanted):
                    return
                if descriptor < 0:
                    os.kill(pid, number)
                else:
                    signal.pidfd_send_signal(descriptor, number)
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def _carriers(is_wanted: _Wanted) -> set[int]:
    return _search(lambda pid: _carries(pid, is_wanted))


def _search(is_one: Callable[[int], bool | None]) -> set[int]:
    """The processes that are asked for; none only where there was none at any moment of the search.

    Whoever ends during a look, or executes another program, cannot be judged (None), and may have started a process
    that was not on the list yet. So a look that found nobody is followed by one at all who are new since, and once more
    at those who could not be judged. One that is another process before the list is read to its end is met by asking for
    the newest process there is.
    """
    found: set[int] = set()
    judged: set[int] = set()
    blurred: set[int] = set()
    for _ in range(_MOST_LOOKS):
        is_certain = True
        for pid in _pids():
            if pid in judged:
                continue
            verdict = is_one(pid)
            if verdict:
                found.add(pid)
            if verdict is None and pid not in blurred:
                blurred.add(pid)
                is_certain = False
            else:
                judged.add(pid)
        if not (found or is_certain):
            found |= _chased(is_one)
        if found or is_certain:
            break
    return found


def _chased(is_one: Callable[[int], bool | None]) -> set[int]:
    """The newest process, if it is one that is asked for at one of a few quick looks."""
    for _ in range(_CHASES):
        pid = _newest_pid()
        if pid and is_one(pid):
            return {pid}
    return set()


def _carries(pid: int, is_wanted: _Wanted) -> bool | None:
    cookie = _cookie(pid)
    return None if cookie is None else cookie != b"" and is_wanted(cookie)


def _cookie(pid: int) -> bytes | None:
    """The cookie of a process, empty if it has none; None where it ends, or executes another program, just now."""
    try:
        environ = _proc(f"{pid}/environ")
    except PermissionError:  # another user's
        return b""
    except OSError:
        return None
    if not environ:
        return b"" if _is_kernel_thread(pid) else None
    _, _, rest = (b"\0" + environ).partition(b"\0%b=" % os.fsencode(COOKIE_VARIABLE))
    return rest.partition(b"\0")[0]


def _is_kernel_thread(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and bool(int(fields[6]) & _KERNEL_THREAD)


def _state_and_group(pid: int) -> tuple[bytes, int]:
    fields = _stat(pid)
    return (fields[0], int(fields[2])) if fields else (b"X", 0)


def _stat(pid: int) -> list[bytes]:
    """State, parent, group, session, terminal, its group, flags, and the rest; nothing of a process that is gone."""
    try:
        _, _, rest = _proc(f"{pid}/stat").rpartition(
            b") "
        )  # the name before it may hold anything, brackets too
    except OSError:
        return []
    return rest.split(b" ", 7)


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


def _newest_pid() -> int:
    """The process that was started last, or has started a thread last; 0 where it has ended, or is this one."""
    try:
        newest = int(_proc("loadavg").rpartition(b" ")[2])
        _, _, rest = _proc(f"{newest}/status").partition(b"\nTgid:")
        pid = int(rest.partition(b"\n")[0])
    except (OSError, ValueError):
        return 0
    return 0 if pid == os.getpid() else pid


def _proc(name: str) -> bytes:
    with open(f"/proc/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - twice the speed of Path.open
        return file.read()
