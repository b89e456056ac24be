"""Who performs an attempt, as a file says it: one of four ways to run something, with its environment and folder."""

from __future__ import annotations

import re
from typing import Final

from actorflow.spec.model import CommandRunner, PythonRunner, Runner
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.commands import read_command
from actorflow.spec.readers.draft import Draft, Scope, read_data
from actorflow.spec.readers.http import read_http
from actorflow.spec.readers.paths import read_path, refuse_untrusted
from actorflow.spec.readers.scripts import read_script
from actorflow.spec.text.nodes import BROKEN, Mark, kind_of

__all__ = ["WAYS", "read_env", "read_runner"]

WAYS: Final = ("python", "command", "script", "http")
"""The keys that say how an attempt is performed; one mapping has at most one of them."""

_IMPORT_PATH: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_LONGEST_VARIABLE: Final = 128 * 1024 - 2  # Linux refuses a longer `NAME=value`
_OF_A_PROCESS: Final = ("cwd", "raw")  # besides `env`, which every agent gets


def read_runner(draft: Draft, block: Block, scope: Scope, ways: tuple[str, ...] = WAYS) -> Runner | None:
    """The runner of an agent or task; reports a second one of `ways`, and what `trust: data` may not name."""
    given = [way for way in ways if block.has(way)]
    if len(given) > 1:
        block.key_fault("E125", given[1], f"{given[0]!r} and {given[1]!r} both say how to run; keep one")
    if not block.has("command") and not block.has("script"):
        for key in _OF_A_PROCESS:
            if block.has(key):
                block.key_fault("E137", key, f"{key!r} belongs to a command or a script")
    if "python" in given:
        return _read_python(draft, block)
    is_raw = block.boolean("raw") or False
    if "command" in given:
        return _read_command(draft, block, scope, is_raw=is_raw)
    if "script" in given:
        return read_script(draft, block, scope, is_raw=is_raw)
    return read_http(draft, block, scope) if "http" in given else None


def _read_python(draft: Draft, block: Block) -> PythonRunner | None:
    if refuse_untrusted(draft, block, "python", "E202", "Python paths"):
        return None
    path = block.text("python")
    if path is None:
        return None
    if _IMPORT_PATH.fullmatch(path) is None:
        block.fault("E123", "python", f"{path!r} is not an import path", "write package.module:function")
        return None
    return PythonRunner(path=path)


def _read_command(draft: Draft, block: Block, scope: Scope, *, is_raw: bool) -> CommandRunner | None:
    command = read_command(draft, block, scope, is_raw=is_raw)
    cwd = read_path(block, "cwd") if block.has("cwd") else None
    return None if command is None else CommandRunner(command=command, cwd=cwd)


def read_env(draft: Draft, block: Block, scope: Scope) -> dict[str, object]:
    """Variables for the environment of whoever performs the attempts; values are templates, or plain scalars."""
    variables = block.block("env")
    if variables is None:
        return {}
    env: dict[str, object] = {}
    for name, value in variables.node.items():
        mark = variables.key_mark(name)
        if not name or "=" in name or "\0" in name:
            block.report.add("E127", mark, f"{variables.path}: {name!r} cannot be the name of a variable")
        elif isinstance(value, str | bool | int | float):
            _check_variable(variables, name, value, variables.mark(name))
            env[name] = read_data(draft, variables, name, scope)
        elif value is not BROKEN:
            variables.fault("E121", name, f"must be text or a number, not {kind_of(value)}")
    return env


def _check_variable(variables: Block, name: str, value: str | float, mark: Mark) -> None:
    text = str(value)
    if "\0" in text:
        variables.report.add("E127", mark, f"{variables.path_of(name)}: must not hold NUL")
    elif len(name.encode()) + len(text.encode()) > _LONGEST_VARIABLE:
        message = f"{variables.path_of(name)}: a variable of more than 128 KiB cannot be passed to a program"
        variables.report.add("E128", mark, message, "pass a file's name instead")
