"""Where `actorflow.toml` is looked for, and whether what is there is heeded.

It can bind agents to commands. So one that somebody else has written, or could have, is passed over.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from attrs import frozen
from platformdirs import user_config_path

from actorflow.cli.configuration import NOTHING, Configuration, parse_configuration
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.errors import Problem, SpecError
from actorflow.spec.text.report import Report

__all__ = ["FILE_NAME", "Configured", "configured"]

FILE_NAME: Final = "actorflow.toml"

_MOST_BYTES: Final = 65_536
_ROOT: Final = 0
_NOT_HEEDED: Final = "this configuration is not heeded: {}"
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


@frozen
class Configured:
    """What was found, and what is worth saying about it."""

    configuration: Configuration = NOTHING
    warnings: tuple[Problem, ...] = ()


def configured(folder: str | None) -> Configured:
    """Read the configuration of a folder, and below it that of the user.

    Args:
        folder: of a workflow file; empty for the process's own; None: the user's alone counts.

    Raises:
        Elsewhere: with all that is wrong with both files.
    """
    reports: list[Report] = []
    found = NOTHING
    for path in _paths(folder):
        report = Report(file=path)
        text = _read(path, report)
        if text is not None:
            home = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - links in the path are kept
            found = found.over(parse_configuration(text, report, home))
        reports.append(report)
    problems = [problem for report in reports for problem in _problems(report)]
    if problems:
        raise Elsewhere(SpecError(tuple(problems)), Exit.CONFIG)
    return Configured(found, tuple(warning for report in reports for warning in report.warnings))


def _paths(folder: str | None) -> list[str]:
    users = user_config_path("actorflow") / FILE_NAME
    beside = [] if folder is None else [os.path.join(folder, FILE_NAME)]  # noqa: PTH118 - a short name where one was typed
    # without a home there is none of the user
    return [*beside, str(users)] if users.is_absolute() else beside


def _read(path: str, report: Report) -> str | None:
    """The text of a file, if it is there and may be heeded; reports what keeps it from being read."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            report.warn("W120", (0, 0), _NOT_HEEDED.format("it may not be read"))
        elif isinstance(error, OSError) and error.errno not in _ABSENT:
            report.add("E610", (0, 0), f"it cannot be read: {error.strerror}")
        return None
    try:
        return _read_open(number, report)
    finally:
        os.close(number)


def _read_open(number: int, report: Report) -> str | None:
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode):
        report.add("E610", (0, 0), "it is no file")
        return None
    if why := _why_not_heeded(found):
        hint = "it could bind agents to commands; --no-config passes it over silently"
        report.warn("W120", (0, 0), _NOT_HEEDED.format(why), hint)
        return None
    with open(number, "rb", closefd=False) as file:
        return _decoded(file.read(_MOST_BYTES + 1), report)


def _why_not_heeded(found: os.stat_result) -> str:
    if found.st_uid not in {os.geteuid(), _ROOT}:
        return "it belongs to another user"
    return "everybody may write it" if found.st_mode & stat.S_IWOTH else ""


def _decoded(body: bytes, report: Report) -> str | None:
    if len(body) > _MOST_BYTES:
        report.add("E610", (0, 0), f"it has more than {_MOST_BYTES:,} bytes")
        return None
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        report.add("E610", (line, 1), "it is not UTF-8")
        return None


def _problems(report: Report) -> tuple[Problem, ...]:
    try:
        report.raise_problems()
    except SpecError as error:
        return error.problems
    return ()
