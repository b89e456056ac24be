"""What comes of hunts, in a form that goes from process to process."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from attrs import frozen

from tests.mutants.catalogue import MUTANTS, hunts
from tests.promises import BrokenPromise

PATIENCE_S: Final = 180
EFFORT: Final = 0.02
"""The part of a hunt's examples for the code as it is: what it does not find with these, hundreds of tests would."""


@frozen
class Seen:
    """What came of a hunt."""

    broken: str  #: the promise that was broken; empty: none
    what: str  #: the broken promise with its circumstances, or the error that the hunt met instead
    seconds: float


def looked(name: str) -> Seen:
    """Look at the code as it is."""
    began = perf_counter()
    try:
        with _patience():
            hunts()[name].look(EFFORT)
    except BrokenPromise as broken:
        return Seen(broken.promise, str(broken), perf_counter() - began)
    except Exception as error:
        return Seen("", repr(error), perf_counter() - began)
    return Seen("", "", perf_counter() - began)


def let_loose(name: str) -> Seen:
    """Let a mutant loose, and hunt it."""
    began = perf_counter()
    try:
        with _patience():
            broken = MUTANTS[name].killed_by()
    except Exception as error:
        return Seen("", repr(error), perf_counter() - began)
    told = ("", "") if broken is None else (broken.promise, str(broken))
    return Seen(*told, perf_counter() - began)


@contextmanager
def _patience() -> Generator[None]:
    """A hunt that hangs is given up: TimeoutError is raised wherever it is."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not over after {PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
