"""Options whose values have a form of their own: inputs, agents, lengths of time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from actorflow.cli.settings import NO_CONFIG_KEY, STORE_KEY

BACKEND: Final = click.Choice(["asyncio", "trio"])
GRACE_HELP: Final = "How long running tasks get to end after SIGINT or SIGTERM, such as 30s."

_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Command = TypeVar("Command", bound=Callable[..., Any])


def for_every_command(command: Command) -> Command:
    """Add the options that hold everywhere, before the command's name and after it.

    Only what is about the store and actorflow.toml is read here: the flags are known before the words are parsed (see
    `Screen.for_words`).
    """
    flags = {
        "--debug": "Show where an error comes from.",
        "--quiet": "Write nothing to stderr but errors.",
        "--json": "Write one JSON document to stdout, and nothing else.",
    }
    for name, text in flags.items():
        command = click.option(name, is_flag=True, expose_value=False, help=text)(command)
    command = click.option(
        "--no-config",
        is_flag=True,
        expose_value=False,
        callback=_remember_no_config,
        help="Pass over every actorflow.toml.",
    )(command)
    return click.option(
        "--store",
        metavar="URL",
        expose_value=False,
        callback=_remember_store,
        help="Where runs are kept: sqlite:///FILE, a file's name, json:FOLDER, or memory:. Also in ACTORFLOW_STORE.",
    )(command)


def agents_option(command: Command) -> Command:
    """Add `--agent`."""
    return click.option(
        "--agent",
        "agents",
        metavar="NAME=RUNNER",
        multiple=True,
        callback=pairs,
        help="Bind an agent: python:MODULE:FUNCTION, command:SHELL, echo, fail or sleep:1s; "
        "the name * is for all that have no runner. May be repeated.",
    )(command)


def hosts_option(command: Command) -> Command:
    """Add `--allow-host`."""
    return click.option(
        "--allow-host",
        "allow_hosts",
        metavar="URL",
        multiple=True,
        callback=_hosts,
        help="A host that webhooks and HTTP agents may reach, such as https://api.example.com or '*.example.com'; "
        "or a network, such as 10.0.0.0/8. May be repeated. Also in ACTORFLOW_ALLOW_HOSTS.",
    )(command)


def variables_option(command: Command) -> Command:
    """Add `--allow-env`."""
    return click.option(
        "--allow-env",
        "allow_env",
        metavar="NAME",
        multiple=True,
        callback=_variables,
        help="A variable of the environment that the file may name, and then no other; under --trust data, where it may "
        "name none, as ${NAME} alone. May be repeated.",
    )(command)


def no_commands_option(command: Command) -> Command:
    """Add `--no-commands`."""
    help_text = "Refuse commands, scripts, Python paths and shell hooks in the file."
    return click.option("--no-commands", is_flag=True, help=help_text)(command)


def trust_options(command: Command) -> Command:
    """Add what says whose a file is, and what it may reach and name.

    That is `--trust`, `--allow-host`, `--allow-env` and `--no-commands`.
    """
    trust = click.option(
        "--trust",
        type=click.Choice(["own", "data"]),
        default="own",
        show_default=True,
        help="Whose the file is: one of your own, or a stranger's, which may name no commands, code, files or secrets.",
    )
    return trust(hosts_option(variables_option(no_commands_option(command))))


def strict_option(command: Command) -> Command:
    """Add `--strict-hooks`."""
    help_text = (
        "Status 1 also for a success with a hook that failed, was given up, or is still owed something."
    )
    return click.option("--strict-hooks", "strict", is_flag=True, help=help_text)(command)


def plain_option(command: Command) -> Command:
    """Add `--plain`; as of the flags of every command, `Screen.for_words` has looked for it before."""
    help_text = "A line for each thing that happens, also on a terminal that could show a live view."
    return click.option("--plain", is_flag=True, expose_value=False, help=help_text)(command)


def means_options(command: Command) -> Command:
    """Add what says how a run is taken up: `--agent`, `--allow-host`, `--backend` and `--grace`.

    Agents, loop and grace are as recorded if they are not given; hosts are never recorded.
    """
    command = click.option("--grace", metavar="DURATION", callback=seconds, help=GRACE_HELP)(command)
    help_text = "The event loop; as recorded if not given."
    return agents_option(hosts_option(click.option("--backend", type=BACKEND, help=help_text)(command)))


def pairs(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read `NAME=VALUE` words; a name can be given once."""
    found: dict[str, str] = {}
    for word in values:
        name, equals, value = word.partition("=")
        if not equals or not name:
            form = parameter.make_metavar(click.get_current_context())
            raise click.BadParameter(f"{word!r} is not {form}")
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice")
        found[name] = value
    return found


def seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read a length of time; zero is one here."""
    from actorflow.spec.durations import parse_duration  # noqa: PLC0415 - not for `--help` and `version`

    if value is None or value == "0":
        return None if value is None else 0.0
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _hosts(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    if values:
        from actorflow.egress.allowed import parse_allowed  # noqa: PLC0415 - not for `--help` and `version`

        for value in values:
            try:
                parse_allowed(value)
            except ValueError as error:
                raise click.BadParameter(str(error)) from error
    return values


def _variables(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            check_variable(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return values


def check_variable(name: str) -> None:
    """Raise ValueError for what cannot be the name of a variable of the environment."""
    if _VARIABLE_NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} cannot be the name of a variable: letters, digits and _")


def _remember_no_config(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[NO_CONFIG_KEY] = True


def _remember_store(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[STORE_KEY] = value
