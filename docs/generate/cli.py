"""The reference of the command line, from the program's own words."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

import click
from sphinx.pycode import ModuleAnalyzer

from actorflow.cli.app import app
from actorflow.cli.statuses import STATUS_OF_ERROR, STATUS_OF_RUN, Exit
from docs.generate.markdown import code, codes, fenced, page, prose, table

_PROGRAM: Final = "actorflow"
_INTRODUCTION: Final = (
    "Every command, its arguments and its options. [The command line](../cli.md) is the guided tour, with what the "
    "commands print and their JSON documents."
)
_EVERYWHERE: Final = "These may stand before a command's name and after it."


def cli_page() -> str:
    """Commands in the order of their names, and what a shell learns of them."""
    commands = list(_commands(app, (_PROGRAM,)))
    return page(
        "Commands",
        _INTRODUCTION,
        table(["command", "what it does"], ([_link(path), _first(each)] for path, each in commands)),
        "## Options of every command",
        _EVERYWHERE,
        _options(app, ()),
        *(_section(path, command) for path, command in commands),
        "## Exit statuses",
        table(["status", "name", "of runs and errors", "meaning"], _statuses()),
    )


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _link(path: tuple[str, ...]) -> str:
    return f"[{code(' '.join(path[1:]))}](#{'-'.join(path)})"


def _first(command: click.Command) -> str:
    return prose(inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " "))


def _section(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(path))
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    known = tuple(name for parameter in app.params for name in parameter.opts)
    text = "\n\n".join(
        prose(part.replace("\n", " ")) for part in inspect.cleandoc(command.help or "").split("\n\n")
    )
    blocks = [f"## {' '.join(path)}", text, fenced("text", usage), _options(command, known)]
    return "\n\n".join(block for block in blocks if block)


def _options(command: click.Command, known: tuple[str, ...]) -> str:
    context = click.Context(command, info_name=command.name)
    options = [each for each in command.params if isinstance(each, click.Option)]
    rows = [_option(each, context) for each in options if not {*each.opts} & {*known} and not each.hidden]
    return table(["option", "value", "default", "meaning"], rows) if rows else ""


def _option(option: click.Option, context: click.Context) -> list[str]:
    default = str(option.get_default(context)) if option.show_default else ""
    return [codes(option.opts), _value(option), code(default), prose(option.help or "")]


def _value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    match option.type:
        case click.Choice(choices=choices):
            return " or ".join(code(str(choice)) for choice in choices)
        case click.IntRange(min=least, max=most):
            return f"{least} to {most}" if most is not None else f"{least} or more"
        case kind:
            return code(option.metavar or kind.name.upper())


def _statuses() -> Iterator[list[str]]:
    said = ModuleAnalyzer.for_module(Exit.__module__).find_attr_docs()
    for status in Exit:
        runs = [f"a run that ended {code(name)}" for name, its in STATUS_OF_RUN.items() if its is status]
        errors = [code(kind.__name__) for kind, its in STATUS_OF_ERROR.items() if its is status]
        text = " ".join(said.get(("Exit", status.name), [])).strip()
        if runs or errors or text:
            yield [str(status.value), code(status.name), ", ".join([*runs, *errors]), prose(text)]
