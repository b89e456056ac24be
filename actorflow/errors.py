"""Every public exception of actorflow, in one flat file.

Each class is one thing that a caller would do differently. Its facts are attributes, its `code` is the same on the
command line, in JSON and here, and its message says what is wrong, where, and what to do.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

__all__ = [
    "ActorflowError",
    "BadInputError",
    "BindError",
    "ChangeRefusedError",
    "DeadLetterNotFoundError",
    "DeliveriesOwedError",
    "ExpressionError",
    "FencedError",
    "IllegalTransitionError",
    "MissingVariablesError",
    "Problem",
    "RunEndedError",
    "RunExistsError",
    "RunFailedError",
    "RunNotEndedError",
    "RunNotFoundError",
    "RunOwnedElsewhereError",
    "SpecError",
    "StoreDamagedError",
    "StoreFailed",
    "StoreUnusableError",
    "SurvivorsError",
    "UnboundAgentsError",
    "WorkflowRunningError",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a workflow file, and where.

    `line` and `column` count from 1, columns in code points; both are 0 where a definition has no text (a dict).
    """

    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""
    source: str = ""  #: the line of the file, for the caret

    def __str__(self) -> str:
        """Render as `file:line:column: code message; hint`, the form that editors and compilers share."""
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = f"{where}: {self.code} {self.message}" if where else f"{self.code} {self.message}"
        return f"{text}; {self.hint}" if self.hint else text

    @property
    def caret(self) -> str:
        """The source line with a caret under the column, or nothing where there is no text."""
        if not self.source:
            return ""
        lead = "".join(_blank(c) for c in self.source[: self.column - 1])
        return f"    {self.source}\n    {lead}^"


def _blank(character: str) -> str:
    """White space as wide as a terminal shows a character: two columns, one, or none."""
    if character == "\t":
        return character
    if character in "\u200b\u200c\u200d\u2060" or unicodedata.category(character) in {"Mn", "Me"}:
        return ""
    return "  " if unicodedata.east_asian_width(character) in {"W", "F"} else " "


class ActorflowError(Exception):
    """Base of all errors that actorflow raises on purpose."""

    code: str = "E000"  #: stable, and the same on the command line, in JSON and here


class SpecError(ActorflowError):
    """Raised when a workflow cannot be loaded; `problems` holds all that is wrong with it, in the file's order.

    Its `code` is that of the first problem.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        self.code = problems[0].code
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class ExpressionError(ActorflowError):
    """Raised when an expression or template cannot be parsed or evaluated."""

    code = "E300"

    def __init__(self, message: str, *, source: str = "", column: int = 1) -> None:
        self.message = message
        self.source = source
        self.column = column  #: from 1, in code points of `source`
        super().__init__(
            f"{message} (column {column} of {_excerpt(source, column)!r})" if source else message
        )


def _excerpt(source: str, column: int) -> str:
    """As much of a text as a message can show, the column in it."""
    if len(source) <= 200:
        return source
    start = max(0, column - 81)
    return f"{'…' if start else ''}{source[start : start + 160]}{'…' if start + 160 < len(source) else ''}"


class BadInputError(ActorflowError):
    """Raised when the inputs of a run do not fit the workflow's `inputs:`; `problems` holds one sentence each."""

    code = "E400"

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class BindError(ActorflowError):
    """Raised when no runner can be made of what an agent was bound to: a word, a path, a callable."""

    code = "E411"


class MissingVariablesError(ActorflowError):
    """Raised before a run exists when variables or secrets that the workflow reads are not there.

    `problems` holds a clause for each: it names the variable or file, and never a value.
    """

    code = "E412"

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__(f"what the workflow reads is not there: {'; '.join(problems)}")


class UnboundAgentsError(ActorflowError):
    """Raised before a run exists when agents that the workflow names have nothing to run them."""

    code = "E410"

    def __init__(self, agents: tuple[str, ...], *, reason: str = "") -> None:
        self.agents = agents
        names = ", ".join(agents)
        super().__init__(
            f"no runner for agent{'s' if len(agents) > 1 else ''} {names}{f' ({reason})' if reason else ''}; "
            f"bind each with --agent NAME=RUNNER or Runtime(agents={{...}})"
        )


class RunExistsError(ActorflowError):
    """Raised when a run is started under an id that the store already has."""

    code = "E420"

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id!r} exists already; choose another --run-id, or resume it")


class RunNotFoundError(ActorflowError):
    """Raised when no run, or more than one, has the id or prefix that was given."""

    code = "E421"

    def __init__(self, run_id: str, *, nearest: tuple[str, ...] = (), ambiguous: bool = False) -> None:
        self.run_id = run_id
        self.nearest = nearest
        self.ambiguous = ambiguous
        what = (
            f"{run_id!r} is the beginning of several runs"
            if ambiguous
            else f"no run {run_id!r} in this store"
        )
        super().__init__(f"{what}; did you mean {', '.join(nearest)}?" if nearest else what)


class RunOwnedElsewhereError(ActorflowError):
    """Raised when another live process owns the run."""

    code = "E422"

    def __init__(self, run_id: str, *, pid: int, heartbeat_age_s: float = 0.0) -> None:
        self.run_id = run_id
        self.pid = pid
        self.heartbeat_age_s = heartbeat_age_s
        age = f"{heartbeat_age_s:.0f} s"
        mend = (
            f"it has said nothing for {age}: end it, or take its runs over with --take-over"
            if heartbeat_age_s > 30
            else f"wait for it, or end it first (it gave a sign of life {age} ago; --take-over needs 30 s of silence)"
        )
        super().__init__(f"run {run_id!r} is run by process {pid}; {mend}")


class WorkflowRunningError(ActorflowError):
    """Raised when a run is to be the only one of its workflow, and another is under way."""

    code = "E431"

    def __init__(self, workflow: str, run_id: str, pid: int) -> None:
        self.workflow = workflow
        self.run_id = run_id
        self.pid = pid
        super().__init__(f"workflow {workflow!r} is running already: run {run_id!r} in process {pid}")


class SurvivorsError(ActorflowError):
    """Raised when a run cannot go on because processes that its last owner left behind cannot be ended."""

    code = "E424"

    def __init__(self, run_id: str, pids: tuple[int, ...]) -> None:
        self.run_id = run_id
        self.pids = pids
        listed = ", ".join(map(str, pids))
        super().__init__(
            f"run {run_id!r} has processes of its last owner that do not end ({listed}); end them first"
        )


class DeliveriesOwedError(ActorflowError):
    """Raised when a run cannot be deleted because its async hooks have not had what they are owed."""

    code = "E425"

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"the hooks of run {run_id!r} are owed deliveries; resume it first, or delete it by force"
        )


class DeadLetterNotFoundError(ActorflowError):
    """Raised when no dead letter, or more than one, has the id or beginning that was given."""

    code = "E426"

    def __init__(self, letter: str, *, nearest: tuple[str, ...] = ()) -> None:
        self.letter = letter
        self.nearest = nearest
        is_beginning = len(nearest) > 1 and all(name.startswith(letter) for name in nearest)
        what = f"no dead letter {letter!r} in this store"
        if is_beginning:
            super().__init__(f"several dead letters begin with {letter!r}: {', '.join(nearest)}")
        else:
            super().__init__(f"{what}; did you mean {', '.join(nearest)}?" if nearest else what)


class ChangeRefusedError(ActorflowError):
    """Raised when a run cannot go on by a changed definition; `problems` holds a clause for each reason."""

    code = "E427"

    def __init__(self, run_id: str, problems: tuple[str, ...]) -> None:
        self.run_id = run_id
        self.problems = problems
        super().__init__(f"run {run_id!r} cannot take these changes: {'; '.join(problems)}")


class RunNotEndedError(ActorflowError):
    """Raised when something is asked of a run that only one that has ended can do."""

    code = "E428"

    def __init__(self, run_id: str, what: str) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id!r} has not ended: {what}")


class RunEndedError(ActorflowError):
    """Raised when something is asked of a run that has ended."""

    code = "E429"

    def __init__(self, run_id: str, status: str) -> None:
        self.run_id = run_id
        self.status = status
        super().__init__(f"run {run_id!r} has ended: {status}")


class RunFailedError(ActorflowError):
    """Raised by `raise_for_status()` for a run that did not end in success; `result` is the whole result."""

    code = "E430"

    def __init__(self, run_id: str, status: str, reason: str, result: object) -> None:
        self.run_id = run_id
        self.status = status
        self.result = result
        super().__init__(f"run {run_id!r} ended {status}{f': {reason}' if reason else ''}")


class StoreFailed(ActorflowError):  # noqa: N818 - a fact about the store, as the design names it
    """Raised to every caller once the store has failed to commit or to read.

    What was acknowledged before is safe. Whether the last write is, only a fresh process can tell: this one never
    touches the store again.
    """

    code = "E500"


class FencedError(StoreFailed):
    """Raised when another process has taken over the runs of this one, which was stopped or hung meanwhile.

    Nothing of this process is kept from here on; what it was running goes on over there.
    """

    code = "E503"


class StoreBusyError(StoreFailed):
    """Raised when a JSON store cannot be written to because another process is at work in it; nothing was written."""

    code = "E504"

    def __init__(self, path: str, *, pid: int) -> None:
        self.path = path
        self.pid = pid
        super().__init__(
            f"the store {path} is in use by process {pid}, and one process at a time writes to a JSON store; "
            "wait for it or end it, or keep runs in SQLite, which many processes share"
        )


class StoreUnusableError(ActorflowError):
    """Raised when a store cannot be opened or made: a folder, no permission, another program's file."""

    code = "E501"


class StoreDamagedError(ActorflowError):
    """Raised when a store is not what was written: a gap, a broken checksum, a lost tail, an unknown event."""

    code = "E502"


class IllegalTransitionError(ActorflowError):
    """Raised when an event does not fit the state it is applied to; the state is left as it was."""

    code = "E510"

    def __init__(self, subject: str, status: str, event: str) -> None:
        self.subject = subject
        self.status = status
        self.event = event
        super().__init__(f"{subject} is {status}: {event} cannot happen to it")
