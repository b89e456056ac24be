"""Where a command line comes in and an exit status goes out.

A process gets what an embedded runtime must never take: signal handlers, log handlers, and an end even where a thread
is stuck. Nothing of the runtime is imported here, so that `--help` and `version` answer at once.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence

import click

from actorflow.cli.app import app
from actorflow.cli.faults import complain
from actorflow.cli.screen import Screen, open_missing_streams
from actorflow.cli.settings import Settings
from actorflow.cli.signals import BODIES_END_S, EarlySignals, Interrupted, end_process


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Args:
        argv: the words after the program's name. Without them, those of the process are taken, and the process is made
            ours: signals are handled, and a thread that will not end is left behind.

    Returns:
        The exit status, as in sysexits.h; see `Exit`. Nothing is raised.
    """
    if argv is not None:
        return _answer(argv, EarlySignals())
    open_missing_streams()
    early = EarlySignals()
    early.install()
    status = _answer(sys.argv[1:], early)
    early.restore()
    _leave_stuck_threads(status)
    return status


def _answer(argv: Sequence[str], early: EarlySignals) -> int:
    screen = Screen.for_words(argv)
    try:
        status = app.main(
            args=list(argv), prog_name="actorflow", standalone_mode=False, obj=Settings(screen, early)
        )
    except (Interrupted, KeyboardInterrupt, click.Abort):
        return complain(screen, InterruptedError("interrupted"))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug of ours gets a status too
        return complain(screen, error)
    return screen.status_after(int(status or 0))


def _leave_stuck_threads(status: int) -> None:
    """End the process if a synchronous agent's thread would keep it: nobody can end such a thread from outside."""
    deadline = time.monotonic() + BODIES_END_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                end_process(status)
