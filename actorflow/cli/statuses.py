"""Exit statuses: what a shell learns of a command, as sysexits.h numbers it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import click

from actorflow.cli.signals import Interrupted
from actorflow.errors import (
    ActorflowError,
    BadInputError,
    BindError,
    ChangeRefusedError,
    DeadLetterNotFoundError,
    DeliveriesOwedError,
    ExpressionError,
    FencedError,
    MissingVariablesError,
    RunEndedError,
    RunExistsError,
    RunNotEndedError,
    RunNotFoundError,
    RunOwnedElsewhereError,
    SpecError,
    StoreBusyError,
    StoreDamagedError,
    StoreFailed,
    StoreUnusableError,
    SurvivorsError,
    UnboundAgentsError,
    WorkflowRunningError,
)


class Exit(IntEnum):
    """The statuses that this program ends with."""

    SUCCESS = 0
    FAILED = (
        1  #: the run failed, or had ended before it could be asked anything; or hooks are amiss that matter
    )
    STOPPED = 2  #: the run was canceled or paused
    USAGE = 64
    BAD_FILE = 65
    NOT_FOUND = 66  #: no such file, run or task
    UNAVAILABLE = 69
    SOFTWARE = 70  #: a bug of ours
    CANNOT_CREATE = 73
    IO_ERROR = 74
    TRY_AGAIN = 75  #: the run, another of its workflow, or its store is another process's
    CONFIG = 78


class TaskNotFoundError(ActorflowError):
    """Raised when a run has no task of that id."""

    code = "E423"


class FolderRefusedError(ActorflowError):
    """Raised when a folder cannot be made, or has something in it already."""

    code = "E650"


class Elsewhere(Exception):  # noqa: N818 - not an error by itself: it says where one comes from
    """Raised from an error whose status depends on where its cause was written, such as on the command line."""

    def __init__(self, error: ActorflowError, status: Exit) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status


STATUS_OF_ERROR: Final[Mapping[type[BaseException], Exit]] = {
    click.UsageError: Exit.USAGE,
    BadInputError: Exit.USAGE,
    SpecError: Exit.BAD_FILE,
    ExpressionError: Exit.BAD_FILE,
    BindError: Exit.BAD_FILE,
    UnboundAgentsError: Exit.BAD_FILE,
    MissingVariablesError: Exit.CONFIG,
    RunExistsError: Exit.BAD_FILE,
    RunNotFoundError: Exit.NOT_FOUND,
    TaskNotFoundError: Exit.NOT_FOUND,
    DeadLetterNotFoundError: Exit.NOT_FOUND,
    ChangeRefusedError: Exit.BAD_FILE,
    RunEndedError: Exit.FAILED,
    StoreUnusableError: Exit.CANNOT_CREATE,
    FolderRefusedError: Exit.CANNOT_CREATE,
    StoreFailed: Exit.IO_ERROR,
    StoreDamagedError: Exit.IO_ERROR,
    OSError: Exit.IO_ERROR,
    RunOwnedElsewhereError: Exit.TRY_AGAIN,
    WorkflowRunningError: Exit.TRY_AGAIN,
    SurvivorsError: Exit.TRY_AGAIN,
    DeliveriesOwedError: Exit.TRY_AGAIN,
    RunNotEndedError: Exit.TRY_AGAIN,
    FencedError: Exit.TRY_AGAIN,
    StoreBusyError: Exit.TRY_AGAIN,
    InterruptedError: Exit.STOPPED,
    Interrupted: Exit.STOPPED,
}

STATUS_OF_RUN: Final[Mapping[str, Exit]] = {
    "success": Exit.SUCCESS,
    "failed": Exit.FAILED,
    "canceled": Exit.STOPPED,
    "paused": Exit.STOPPED,
}

UNREADABLE: Final = frozenset({"E101", "E102"})
"""Codes of files that are not there or can't be read at all: not found, rather than bad."""


def status_of(error: BaseException) -> Exit:
    """The status that an error ends the program with."""
    if isinstance(error, Elsewhere):
        return error.status
    if isinstance(error, SpecError) and error.code in UNREADABLE:
        return Exit.NOT_FOUND
    known = (STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_OF_ERROR)
    return next(known, Exit.SOFTWARE)
