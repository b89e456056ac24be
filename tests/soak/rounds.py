"""A round of the soak: a run in a store of its own, whose processes die one after the other, and what must hold of it then."""

from __future__ import annotations

import os
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any, Final

import apsw
from attrs import define, evolve, field
from crash_checks import check_crashed, check_ended
from crash_lives import (
    BACKENDS,
    FENCED,
    Death,
    Life,
    Process,
    Report,
    children_in,
    live,
    live_through,
    start,
    state_of,
    wait_until,
)
from crash_workflows import RUN_ID

from actorflow.errors import ActorflowError, StoreFailed, StoreUnusableError
from actorflow.journal import open_journal

LIVES: Final = {
    "fan": Life(Path(), "fan"),
    "fan, not flushed": Life(Path(), "fan", durability="normal"),
    "fan in JSON": Life(Path(), "fan", is_json=True),
    "stages": Life(Path(), "stages"),
    "twice": Life(Path(), "twice", generations=2),
    "recovery": Life(Path(), "recovery", generations=2, events_apart=4),
    "recovery in JSON": Life(Path(), "recovery", generations=2, events_apart=4, is_json=True),
    "guarded": Life(Path(), "guarded", generations=2, events_apart=9),
    "long": Life(Path(), "long"),
}
"""What is lived, in some folder and upon either back end."""

MOST_DEATHS: Final = 4
"""Of the processes of a run: an attempt may be cut off five times before its task fails `lost`."""

STARVED: Final = "starved"


@define
class Tally:
    """What has happened, over all lanes."""

    counts: Counter[str] = field(factory=Counter[str])
    violations: list[str] = field(factory=list[str])
    _lock: Lock = field(factory=Lock)

    def note(self, what: str, count: int = 1) -> None:
        """Something has happened."""
        with self._lock:
            self.counts[what] += count

    def accuse(self, what: str) -> None:
        """A promise was broken."""
        with self._lock:
            self.violations.append(what)

    def told(self) -> str:
        """All counts, in one line."""
        with self._lock:
            return ", ".join(f"{count:,} {what}" for what, count in sorted(self.counts.items()))


def starved(channel: Connection, life: Life, room: int) -> None:
    """The main function of a process whose files may not grow by more than some bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sizes = [path.stat().st_size for path in life.folder.rglob("*") if path.is_file()]
    most = max(sizes, default=0) + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        live(channel, life)
    except* (StoreFailed, StoreUnusableError, OSError):
        channel.send(STARVED)


class Lane:
    """Plays rounds, one after the other.

    Args:
        seed: of its rounds.
        folder: where they have their stores.
        tally: told what happens.
        endings: what each workflow comes to when nothing goes wrong.
        break_promise: told each folder before it is checked: to break something in it on purpose.
    """

    def __init__(
        self,
        seed: str,
        folder: Path,
        tally: Tally,
        endings: Mapping[str, Mapping[str, Any]],
        break_promise: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self._seed = seed
        self._folder = folder
        self._tally = tally
        self._endings = endings
        self._break_promise = break_promise
        self._deaths: Mapping[str, Callable[[Random, Life], None]] = {
            "kill": self._kill,
            "kill at a commit": self._kill_at_a_commit,
            "stop": self._stop,
            "starve": self._starve,
            "pause": self._pause,
        }

    def play(self, number: int) -> bool:
        """Play a round; whether all promises were kept. What broke one stays in its folder."""
        seed = f"{self._seed}/{number}"
        random = Random(seed)
        folder = self._folder / str(number)
        folder.mkdir(parents=True)
        name = random.choice(list(LIVES))
        try:
            self._play(random, evolve(LIVES[name], folder=folder), self._endings[name])
        except Exception:
            self._tally.accuse(f"round {seed} ({name}), see {folder}:\n{traceback.format_exc()}")
            return False
        self._tally.note("runs")
        return True

    def _play(self, random: Random, life: Life, ending: Mapping[str, Any]) -> None:
        left = None
        for _ in range(random.randint(1, MOST_DEATHS)):
            death = random.choice(
                ["kill", "kill", "kill at a commit", "kill at a commit", "stop", "starve", "pause"]
            )
            if life.is_json and death == "stop":
                continue  # a second one waits there for the first to end
            self._deaths[death](random, evolve(life, backend=random.choice(BACKENDS)))
            self._tally.note(death)
            with suppress(
                ActorflowError, FileNotFoundError, IndexError, KeyError
            ):  # died before there was a run
                left = check_crashed(life.folder)
        report = live_through(evolve(life, backend=random.choice(BACKENDS)))
        assert isinstance(report, Report), "the last process came to no end"
        assert report.facts == ending, "the run ended otherwise than undisturbed"
        self._break_promise(life.folder)
        check_ended(life.folder, left)
        assert children_in(life.folder) == [], "processes were left behind"

    def _kill(self, random: Random, life: Life) -> None:
        process = start(live, life)
        awaited = "up" if random.random() < 0.3 else "running"
        with suppress(EOFError):
            while process.hear() not in (awaited, FENCED):
                pass
            time.sleep(random.uniform(0.0, 0.06))
        process.kill()
        process.report()

    def _kill_at_a_commit(self, random: Random, life: Life) -> None:
        moment = "before" if random.random() < 0.5 else "after"
        live_through(evolve(life, death=Death(moment, random.randint(1, 12))))

    def _stop(self, random: Random, life: Life) -> None:
        """A process is stopped, loses its run to another, and wakes up when that is through, or killed."""
        first = start(live, life)
        with suppress(EOFError):
            while first.hear() not in ("running", FENCED):
                pass
            time.sleep(random.uniform(0.0, 0.03))
        if _is_stopped(first):
            if not self._grow_stale(life):
                first.kill()
                first.report()
                return
            second = start(live, evolve(life, take_over=True))
            with suppress(EOFError):
                while second.hear() not in ("running", FENCED):
                    pass
                time.sleep(random.uniform(0.0, 0.03))
            second.kill()
            second.report()
            first.go_on()
        first.report()

    def _grow_stale(self, life: Life) -> bool:
        """Let all owners of the store have said nothing for an hour; False: one was stopped while it wrote."""
        db = apsw.Connection(str(life.folder / "state.db"))
        db.set_busy_timeout(200)
        try:
            db.execute("UPDATE owners SET heartbeat_at = heartbeat_at - 3600")
        except apsw.BusyError:
            return False
        finally:
            db.close()
        return True

    def _starve(self, random: Random, life: Life) -> None:
        process = start(starved, life, random.choice([0, 3000, 20_000]))
        process.report()

    def _pause(self, random: Random, life: Life) -> None:
        """Somebody asks from outside that the run be paused, or that a signal reach it; then its process is killed."""
        process = start(live, life)
        with suppress(EOFError):
            while process.hear() != "running":
                pass
            if not life.is_json:
                self._ask(life)
            time.sleep(random.uniform(0.0, 0.2))
        process.kill()
        process.report()

    def _ask(self, life: Life) -> None:
        with suppress(ActorflowError):
            journal = open_journal(life.store)
            try:
                journal.post(RUN_ID, "signal", {"name": "go", "payload": 1, "signal_id": f"s-{os.getpid()}"})
            finally:
                journal.close()


def _is_stopped(process: Process) -> bool:
    """Stop a process; False: it has ended before."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(process.pid) in ("T", "Z", ""))
    return state_of(process.pid) == "T"


def undisturbed(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """What each workflow comes to when nothing goes wrong."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, life in LIVES.items():
        (folder / name).mkdir(parents=True)
        report = live_through(evolve(life, folder=folder / name))
        assert report is not None
        found[name] = report.facts
    return found
