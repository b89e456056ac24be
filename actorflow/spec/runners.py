"""Who performs an attempt, as a file says it: a Python callable or a command, with its environment."""

from __future__ import annotations

import re
from typing import Final

from actorflow.expression import our_template_roots
from actorflow.spec.block import Block
from actorflow.spec.draft import Draft, Scope, read_data
from actorflow.spec.model import CommandRunner, PythonRunner, Runner, shell_item
from actorflow.spec.nodes import BROKEN, ListNode, Mark, Node, kind_of

__all__ = ["WAYS", "read_command", "read_env", "read_runner"]

WAYS: Final = ("python", "command", "script", "http")
"""The keys that say how an attempt is performed; one mapping has at most one of them."""

_IMPORT_PATH: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_LAST_NAME: Final = re.compile(r"[A-Za-z_][\w-]*(?=\W*$)")
_LONGEST_VARIABLE: Final = 128 * 1024 - 2  # Linux refuses a longer `NAME=value`


def read_runner(draft: Draft, block: Block, scope: Scope, ways: tuple[str, ...] = WAYS) -> Runner | None:
    """The runner of an agent or task; reports a second one of `ways`, and what `trust: data` may not name."""
    given = [way for way in ways if block.has(way)]
    if len(given) > 1:
        block.key_fault("E125", given[1], f"{given[0]!r} and {given[1]!r} both say how to run; keep one")
    if "python" in given:
        return _read_python(draft, block)
    if "command" in given:
        command = read_command(draft, block, scope)
        return CommandRunner(command=command) if command is not None else None
    return None


def _read_python(draft: Draft, block: Block) -> PythonRunner | None:
    if draft.trust == "data":
        _refuse_untrusted(block, "python", "E202", "Python paths")
        return None
    path = block.text("python")
    if path is None:
        return None
    if _IMPORT_PATH.fullmatch(path) is None:
        block.fault("E123", "python", f"{path!r} is not an import path", "write package.module:function")
        return None
    return PythonRunner(path=path)


def read_command(
    draft: Draft, block: Block, scope: Scope | None, *, code: str = "E201", what: str = "commands"
) -> str | tuple[str, ...] | None:
    """A command: a text for the shell, or an argv whose items are templates of `scope` (None: plain words)."""
    if draft.trust == "data":
        _refuse_untrusted(block, "command", code, what)
        return None
    value = block.node["command"]
    if isinstance(value, str):
        return value if _is_shell_text(block, value, None, scope) else None
    if isinstance(value, ListNode):
        return _read_argv(draft, block, value, scope)
    if value is not BROKEN:
        block.fault("E121", "command", f"must be text or a list of texts, not {kind_of(value)}")
    return None


def _refuse_untrusted(block: Block, key: str, code: str, what: str) -> None:
    hint = 'loads(..., trust="own") and load_dict(..., trust="own") allow them'
    message = f"{what} are refused in a definition that is data: only a file of your own may name them"
    block.key_fault(code, key, message, hint)


def _is_shell_text(block: Block, text: str, index: int | None, scope: Scope | None) -> bool:
    if not text.strip() or "\0" in text:
        problem = "must not hold NUL" if "\0" in text else "the command is empty"
        block.fault("E127", "command", problem, index=index)
        return False
    templates = our_template_roots(text)
    if not templates:
        return True
    first = templates[0]
    mark = block.report.within(block.mark("command", index), text, text.index(first) + 1)
    message = (
        f"{block.path_of('command', index)}: a shell's text is never a template, yet {first} stands in it"
    )
    block.report.add("E304", mark, message, _rewrite(first, scope))
    return False


def _rewrite(template: str, scope: Scope | None) -> str:
    if scope is None:
        return "a hook's command reads $WORKFLOW_NAME, $WORKFLOW_STAGE and $WORKFLOW_ERROR"
    last = _LAST_NAME.search(template)
    name = last[0].upper().replace("-", "_") if last else "VALUE"
    inner = template if template.startswith("{{") else "{{ " + template[2:-1].strip() + " }}"
    return f'pass the value in the environment: env: {{{name}: "{inner}"}} and "${name}"'


def _read_argv(draft: Draft, block: Block, items: ListNode, scope: Scope | None) -> tuple[str, ...] | None:
    argv: list[str] = []
    for index, item in enumerate(items):
        problem = _argv_problem(item)
        if problem:
            hint = (
                f'quote it: "{block.report.word_at(items.marks[index]) or item}"' if _is_scalar(item) else ""
            )
            block.fault("E127", "command", problem, hint, index=index)
        argv.append(item if isinstance(item, str) else "")
    if not argv or not argv[0]:
        block.fault("E127", "command", "the command is empty")
        return None
    opaque = shell_item(argv)
    for index, text in enumerate(argv):
        mark, path = items.marks[index], block.path_of("command", index)
        if index == opaque:
            _is_shell_text(block, text, index, scope)
        elif scope is not None:
            draft.note(text, mark, path, scope)
        elif our_template_roots(text):
            block.report.add("E190", mark, f"{path}: a template in a hook's argv is not supported yet")
    return tuple(argv)


def _argv_problem(item: Node) -> str:
    if item is BROKEN:
        return ""
    if not isinstance(item, str):
        return f"an argument must be text, not {kind_of(item)}"
    return "must not hold NUL" if "\0" in item else ""


def _is_scalar(item: Node) -> bool:
    return isinstance(item, bool | int | float)


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
