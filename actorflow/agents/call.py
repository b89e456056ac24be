"""What passes between the runtime and whoever performs an attempt: the call, and what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen

from actorflow.core.http_call import HttpCall
from actorflow.journal.output_log import NO_OUTPUT, OutputLog
from actorflow.secrecy.hiding import NOTHING_HIDDEN, Hiding

__all__ = ["AgentCall", "AgentFailed", "Performer", "Recorded"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def _ignore() -> None:
    pass


@define(eq=False)  # not frozen: one is made for each attempt, and a frozen one costs four times as much
class AgentCall:
    """One attempt, as its agent sees it; to be read only."""

    input: Any  #: JSON data: the rendered `with`, or the run's inputs
    task: str
    run_id: str
    attempt: int = 1  #: from 1
    loss: int = 0  #: how often this attempt was cut off by a crash before
    idempotency_key: str = ""  #: the same for all attempts, losses and fallbacks of a task in a generation
    agent: str = ""  #: the name under which the agent was chosen
    description: str = ""  #: what an agent that reads a prompt gets
    options: Mapping[str, Any] = _NOTHING  #: keys of the agent's definition that only it understands
    env: Mapping[str, str] = field(default=_NOTHING, repr=False)  #: for a process, secrets in the clear
    #: of a list command, or a script's arguments
    argv: tuple[str, ...] | None = field(default=None, repr=False)
    #: of an HTTP agent, secrets in the clear
    http: HttpCall[str] | None = field(default=None, repr=False)
    #: takes the run's secrets out of what is told
    hiding: Hiding = field(default=NOTHING_HIDDEN, repr=False)
    #: where its process's lines go while it runs
    outputs: OutputLog = field(default=NO_OUTPUT, repr=False)
    #: says that the attempt is alive; never waits
    heartbeat: Callable[[], None] = field(default=_ignore, repr=False)


#: runs one attempt; returns its output, or `Recorded`
Performer: TypeAlias = Callable[[AgentCall], Awaitable[Any]]


@frozen
class Recorded:
    """An output with facts for the journal beside it, such as a command's exit status."""

    output: Any
    record: Mapping[str, Any]


class AgentFailed(Exception):  # noqa: N818 - a fact about an attempt, as its event is named
    """Raised by an agent that knows what its failure is to be recorded as.

    Args:
        type: what `retry_on` and people know the failure by.
        message: one sentence.
        detail: JSON facts. `retry_after_s`, a number, holds a retry back for so long, at most the retry's `max_delay`.
    """

    def __init__(self, type: str, message: str, detail: Mapping[str, Any] | None = None) -> None:  # noqa: A002
        super().__init__(type, message, detail)
        self.type = type
        self.message = message
        self.detail: Mapping[str, Any] = {} if detail is None else detail

    def __str__(self) -> str:
        return self.message
