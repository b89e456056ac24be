"""Where a command line comes in and an exit status goes out.

A process gets what an embedded runtime must never take: signal handlers, log handlers, and an end even where a thread
is stuck. Nothing of the runtime is imported here, so that `--help` and `version` answer at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence

import click

from actorflow.cli.app import app
from actorflow.cli.faults import fault_document, fault_of, fault_text
from actorflow.cli.screen import Screen, open_missing_streams
from actorflow.cli.settings import Settings
from actorflow.cli.signals import EarlySignals, Interrupted
from actorflow.cli.statuses import Exit, status_of

_THREADS_END_S = 0.25
"""How long threads that have been told to end may take to do so, before the process ends without them."""


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
        return _complain(screen, InterruptedError("interrupted"))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug of ours gets a status too
        return _complain(screen, error)
    return screen.status_after(int(status or 0))


def _complain(screen: Screen, error: Exception) -> int:
    """Say what stands in the way: in JSON on stdout, or in words on stderr; a traceback only on request."""
    fault = fault_of(error)
    if screen.is_json:
        screen.document(fault_document(fault))
    else:
        screen.error(fault_text(fault))
    if screen.is_debug:
        screen.traceback(error)
    elif status_of(error) == Exit.SOFTWARE:
        screen.error("this is a bug in actorflow; --debug shows where it happened")
    return int(status_of(error))


def _leave_stuck_threads(status: int) -> None:
    """End the process if a synchronous agent's thread would keep it: nobody can end such a thread from outside."""
    deadline = time.monotonic() + _THREADS_END_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                os._exit(status)
