"""What stands in the way, in the two forms in which it is told: lines for people, and a JSON document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
from attrs import frozen

from actorflow.cli.screen import Screen, as_line, in_place
from actorflow.cli.statuses import Elsewhere, Exit, status_of
from actorflow.errors import (
    ActorflowError,
    BadInputError,
    ChangeRefusedError,
    MissingVariablesError,
    Problem,
    SpecError,
)

USAGE_CODE = "E600"
INTERRUPTED_CODE = "E601"
IO_CODE = "E602"
BUG_CODE = "E999"


@frozen
class Fault:
    """An error with its code, where it is, and the problems that it consists of."""

    code: str
    message: str
    where: str = ""
    problems: tuple[Problem, ...] = ()
    about: str = ""  #: what the problems are in the way of, where several clauses make up the message


def fault_of(error: Exception) -> Fault:
    """What is to be told of an error."""
    match error:
        case Elsewhere():
            return fault_of(error.error)
        case SpecError(problems=(first, *others)):
            more = f" (and {len(others)} more)" if others else ""
            return Fault(first.code, first.message + more, place(first), error.problems)
        case BadInputError() | ChangeRefusedError() | MissingVariablesError():
            problems = tuple(Problem(error.code, one) for one in error.problems)
            about = str(error).removesuffix("; ".join(error.problems)).removesuffix(": ")
            return Fault(error.code, str(error), problems=problems, about=about)
        case ActorflowError():
            return Fault(error.code, str(error))
        case click.UsageError():
            command = error.ctx.command_path if error.ctx is not None else "actorflow"
            return Fault(USAGE_CODE, error.format_message().removesuffix("."), command)
        case InterruptedError():
            return Fault(INTERRUPTED_CODE, "interrupted; nothing was started")
        case OSError():
            return Fault(IO_CODE, str(error))
        case _:
            return Fault(BUG_CODE, f"unexpected {type(error).__name__}: {error}")


def complain(screen: Screen, error: Exception) -> int:
    """Say what stands in the way: in JSON on stdout, or in words on stderr; a traceback only on request.

    Returns:
        The exit status.
    """
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


def place(problem: Problem) -> str:
    """Where a problem is, as `file:line:column`."""
    return f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file


def fault_document(fault: Fault) -> dict[str, Any]:
    """The JSON of a command that came to no run."""
    return {
        "error": {"code": fault.code, "message": fault.message, "where": fault.where},
        "problems": problem_documents(fault.problems),
    }


def problem_documents(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """The JSON of problems."""
    names = ("code", "message", "file", "line", "column", "hint")
    return [{name: getattr(problem, name) for name in names} for problem in problems]


def fault_text(fault: Fault) -> str:
    """The same for people."""
    if any(problem.file for problem in fault.problems):
        return problem_text(fault.problems)
    hint = f"; try '{fault.where} --help'" if fault.code == USAGE_CODE else ""
    head = f"actorflow: {fault.code} "
    if len(fault.problems) < 2:
        return as_line(f"{head}{fault.message}{hint}")
    lines = [f"{head}{fault.about}:"] if fault.about else []
    lead = "  " if fault.about else head
    return "\n".join(map(as_line, [*lines, *(f"{lead}{problem.message}" for problem in fault.problems)]))


def problem_text(problems: Iterable[Problem]) -> str:
    """Problems, each in one line, with the line of the file and a caret where there is one."""
    lines: list[str] = []
    for problem in problems:
        lines.append(as_line(str(problem)))
        if problem.source:
            lines.append(in_place(problem.caret))
    return "\n".join(lines)
