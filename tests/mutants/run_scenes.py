"""How scenes with a runtime are played: on a clock that jumps, or on a loop with a store on a disk."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import anyio
import trio
import trio.testing

from actorflow import Runtime
from actorflow.actors.host import RealHost
from actorflow.core.events import Event
from actorflow.errors import RunNotFoundError
from actorflow.journal.sqlite import SqliteJournal
from tests.mutants.mutant import Check
from tests.mutants.switches import replaced
from tests.promises import BrokenPromise

Scene = Callable[[], Awaitable[None]]

PATIENCE_S: Final = 20.0
"""What takes longer on a real loop never ends."""

EPOCH_S: Final = 1_800_000_000.0
FOR_EVER_S: Final = 30 * 86_400.0


@contextmanager
def keeping(promise: str) -> Generator[None]:
    """Whatever fails in here breaks a promise: what a scene asserts, and that it ends."""
    try:
        yield
    except BaseException as error:
        found = list(_apart(error))
        for each in found:
            if isinstance(each, BrokenPromise):
                raise each from None
        if all(isinstance(each, AssertionError | TimeoutError) for each in found):
            raise BrokenPromise(promise, repr(found[0])) from error
        raise


def _apart(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, and in the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _apart(each)
    else:
        yield error


def virtually(promise: str, scene: Scene) -> Check:
    """Play a scene on trio's clock that jumps; one that does not end breaks the promise."""

    async def bounded() -> None:
        with anyio.fail_after(FOR_EVER_S):
            await scene()

    def play() -> None:
        with keeping(promise):
            trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))

    return Check(play)


def really(promise: str, scene: Scene) -> Check:
    """Play a scene on asyncio; one that does not end breaks the promise."""

    async def bounded() -> None:
        with anyio.fail_after(PATIENCE_S):
            await scene()

    def play() -> None:
        with keeping(promise):
            anyio.run(bounded)

    return Check(play)


class Wall:
    """The wall clock of a scene on a clock that jumps; it can be set."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return EPOCH_S + trio.current_time() + self.ahead_s


@contextmanager
def wall_clock() -> Generator[Wall]:
    """For a while, the wall clock is one that can be set."""
    wall = Wall()
    with replaced(RealHost, "wall", lambda host: wall()):
        yield wall


@contextmanager
def slow_commits(seconds: float = 0.01) -> Generator[None]:
    """For a while, it takes some time until a commit is there."""
    commit = SqliteJournal._commit

    def commit_slowly(journal: SqliteJournal) -> None:
        time.sleep(seconds)
        commit(journal)

    with replaced(SqliteJournal, "_commit", commit_slowly):
        yield


@contextmanager
def variable(name: str, value: str) -> Generator[None]:
    """For a while, there is this variable in the environment."""
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


class Witness:
    """Another process, which reads what is in a store."""

    def __init__(self, path: str) -> None:
        self._journal = SqliteJournal(path)

    def events(self, run_id: str) -> Sequence[Event]:
        """Those of a run; none, if it is not there."""
        try:
            return [event for _, event in self._journal.events(run_id)]
        except RunNotFoundError:
            return []

    def has(self, run_id: str, kind: type[Event], **facts: Any) -> bool:
        """Whether there is such an event."""
        return any(
            isinstance(event, kind) and all(getattr(event, name) == fact for name, fact in facts.items())
            for event in self.events(run_id)
        )

    def letters(self) -> Sequence[str]:
        """The ids of all dead letters."""
        return [letter.id for letter in self._journal.dead_letters()]

    def pending(self, run_id: str) -> Sequence[str]:
        """The ids of a run's deliveries that wait in the outbox."""
        return [row.delivery_id for row in self._journal.pending(run_id)]

    def post(self, run_id: str, kind: Any, body: Mapping[str, Any]) -> int:
        """Ask something of a run; the number of the request."""
        return self._journal.post(run_id, kind, body)

    def is_asked(self, request: int) -> bool:
        """Whether a request is there still."""
        return self._journal.is_asked(request)

    def close(self) -> None:
        """Let go of the store."""
        self._journal.close()


@contextmanager
def witness(path: str) -> Generator[Witness]:
    """Somebody who reads a store while others write."""
    one = Witness(path)
    try:
        yield one
    finally:
        one.close()


def on_disk(path: str, **more: Any) -> Runtime:
    """A runtime with a store at a path."""
    return Runtime(store=f"sqlite:///{path}", **more)
