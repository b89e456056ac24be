"""From what an agent is bound to (a word, a callable, a runner of the file) to what performs its attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from actorflow.agents import builtin
from actorflow.agents.call import AgentCall, Performer
from actorflow.agents.command import command_performer
from actorflow.agents.http import http_performer
from actorflow.agents.loading import load_function
from actorflow.agents.python import AgentThreads, python_performer
from actorflow.agents.script import script_performer
from actorflow.egress.guard import Guard
from actorflow.errors import BindError
from actorflow.http.client import Requester
from actorflow.processes import Trees
from actorflow.spec.durations import parse_duration
from actorflow.spec.model import CommandRunner, HttpRunner, PythonRunner, Runner, ScriptRunner, Trust

__all__ = [
    "Binding",
    "Echo",
    "Fail",
    "RunnerWord",
    "Sleep",
    "is_python",
    "parse_runner_word",
    "performer_for",
]


@frozen
class Echo:
    """The word `echo`."""


@frozen
class Fail:
    """The word `fail`."""


@frozen
class Sleep:
    """The word `sleep:DURATION`."""

    seconds: float


RunnerWord: TypeAlias = PythonRunner | CommandRunner | Echo | Fail | Sleep
Binding: TypeAlias = str | RunnerWord | Runner | Callable[[AgentCall], Any]  #: a string is a runner word

_FORMS: Final = "python:MODULE:FUNCTION, command:SHELL COMMAND, echo, fail or sleep:DURATION"


def performer_for(
    binding: Binding,
    *,
    folder: str,
    env: Mapping[str, str],
    trees: Trees,
    threads: AgentThreads,
    http: Requester,
    guard: Guard,
    trust: Trust,
) -> Performer:
    """Make what performs the attempts of an agent; imports the module of a Python runner, which may block.

    Args:
        binding: a runner word, a runner, or a callable that takes an `AgentCall`.
        folder: the workflow file's; commands and scripts run there, modules are looked for there first.
        env: what commands and scripts inherit.
        trees: keeps the processes of commands and scripts.
        threads: run the synchronous functions.
        http: makes the requests.
        guard: says where requests may go.
        trust: of the definition; see `http_performer`.

    Raises:
        BindError: nothing can be made of it; the sentence says why.
    """
    runner = parse_runner_word(binding) if isinstance(binding, str) else binding
    match runner:
        case PythonRunner(path=path):
            return python_performer(load_function(path, folder), threads=threads)
        case CommandRunner():
            return command_performer(runner, folder=folder, env=env, trees=trees)
        case ScriptRunner():
            return script_performer(runner, folder=folder, env=env, trees=trees)
        case HttpRunner():
            return http_performer(runner, client=http, guard=guard, trust=trust)
        case Echo():
            return builtin.echo
        case Fail():
            return builtin.fail
        case Sleep(seconds=seconds):
            return builtin.sleep(seconds)
        case _:
            return python_performer(runner, threads=threads)


def is_python(binding: Binding) -> bool:
    """Whether attempts call a Python function, which can be asked to end and not be made to.

    Args:
        binding: as for `performer_for`, which has taken it.
    """
    runner = parse_runner_word(binding) if isinstance(binding, str) else binding
    return not isinstance(runner, CommandRunner | ScriptRunner | HttpRunner | Echo | Fail | Sleep)


def parse_runner_word(word: str) -> RunnerWord:
    """Read a runner as it is written on the command line.

    Raises:
        BindError: it is none of `python:MODULE:FUNCTION`, `command:SHELL COMMAND`, `echo`, `fail`, `sleep:DURATION`.
    """
    kind, colon, rest = word.partition(":")
    match kind, colon, rest.strip():
        case "echo", "", _:
            return Echo()
        case "fail", "", _:
            return Fail()
        case "sleep", ":", duration:
            return Sleep(_seconds(word, duration))
        case "python", ":", path if path:
            return PythonRunner(path=path)
        case "command", ":", command if command:
            return CommandRunner(command=rest)
        case _:
            raise BindError(f"{word!r} is not a runner; write {_FORMS}")


def _seconds(word: str, duration: str) -> float:
    try:
        return parse_duration(duration)
    except ValueError as error:
        raise BindError(f"{word!r} is not a runner: {error}") from error
