"""Commands: a text for the shell, which is opaque, or an argv, whose items are templates."""

from __future__ import annotations

import re
from typing import Final

from actorflow.expression import our_template_roots
from actorflow.expression.names import canonical
from actorflow.spec.model import option_in_disguise, shell_item
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Scope
from actorflow.spec.readers.paths import refuse_untrusted
from actorflow.spec.text.nodes import BROKEN, ListNode, Node, kind_of

__all__ = ["check_opaque", "note_arguments", "read_command"]

_LAST_NAME: Final = re.compile(r"[A-Za-z_][\w-]*(?=\W*$)")


def read_command(
    draft: Draft,
    block: Block,
    scope: Scope,
    *,
    code: str = "E201",
    what: str = "commands",
    is_raw: bool = False,
) -> str | tuple[str, ...] | None:
    """Read `command:`: a text for the shell, or an argv whose items are templates of `scope`.

    A template of ours in what a shell reads is reported, unless `is_raw` says that it is meant. Under `trust: data`
    there is no command at all: that is reported with `code`, and `what` names the thing.
    """
    if refuse_untrusted(draft, block, "command", code, what):
        return None
    value = block.node["command"]
    if isinstance(value, str):
        return value if check_opaque(block, "command", value, scope, is_raw=is_raw) else None
    if isinstance(value, ListNode):
        return _read_argv(draft, block, value, scope, is_raw=is_raw)
    if value is not BROKEN:
        block.fault("E121", "command", f"must be text or a list of texts, not {kind_of(value)}")
    return None


def check_opaque(
    block: Block, key: str, text: str, scope: Scope, *, is_raw: bool, index: int | None = None
) -> bool:
    """Whether a text may be given to a program that reads it as its own language; reports why not."""
    if not text.strip() or "\0" in text:
        problem = (
            "must not hold NUL" if "\0" in text else f"the {'script' if key != 'command' else key} is empty"
        )
        block.fault("E127", key, problem, index=index)
        return False
    templates = () if is_raw else our_template_roots(text)
    if not templates:
        return True
    first = templates[0]
    mark = block.report.within(block.mark(key, index), text, text.index(first) + 1)
    message = f"{block.path_of(key, index)}: this text is never a template, yet {first} stands in it"
    block.report.add("E304", mark, message, _rewrite(first, scope))
    return False


def _rewrite(template: str, scope: Scope) -> str:
    last = _LAST_NAME.search(template)
    name = last[0].upper().replace("-", "_") if last else "VALUE"
    inner = template if template.startswith("{{") else "{{ " + _our_path(template[2:-1].strip()) + " }}"
    hint = f'pass the value in the environment: env: {{{name}: "{inner}"}} and "${name}"'
    return hint if scope.kind == "hook" else f"{hint}; or raw: true if it is meant"


def _our_path(path: str) -> str:
    return ".".join(canonical(tuple(path.split(".")), is_dollar=True))


def _read_argv(
    draft: Draft, block: Block, items: ListNode, scope: Scope, *, is_raw: bool
) -> tuple[str, ...] | None:
    argv = note_arguments(draft, block, "command", None)
    program = items[0] if items else ""
    if isinstance(program, str) and not program.strip():
        block.fault("E127", "command", "the command is empty")
        return None
    opaque, disguised = shell_item(argv), option_in_disguise(argv)
    if disguised is not None and not is_raw:
        message = "a template right after a shell's name may come out as an option, such as -c"
        block.fault("E304", "command", message, 'put "--" before it, or begin it with ./', index=disguised)
    for index, text in enumerate(argv):
        if index == opaque:
            check_opaque(block, "command", text, scope, is_raw=is_raw, index=index)
        else:
            draft.note(text, block.mark("command", index), block.path_of("command", index), scope)
    return argv


def note_arguments(draft: Draft, block: Block, key: str, scope: Scope | None) -> tuple[str, ...]:
    """A list of arguments, each a text without NUL; noted as templates of `scope`, if there is one."""
    items = block.node[key]
    if not isinstance(items, ListNode):
        block.fault("E121", key, f"must be a list of texts, not {kind_of(items)}")
        return ()
    arguments: list[str] = []
    for index, item in enumerate(items):
        problem = _argument_problem(item)
        if problem:
            word = block.report.word_at(block.mark(key, index)) or item
            block.fault("E127", key, problem, f'quote it: "{word}"' if _is_scalar(item) else "", index=index)
        arguments.append(item if isinstance(item, str) else "")
        if scope is not None:
            draft.note(arguments[-1], block.mark(key, index), block.path_of(key, index), scope)
    return tuple(arguments)


def _argument_problem(item: Node) -> str:
    if item is BROKEN:
        return ""
    if not isinstance(item, str):
        return f"an argument must be text, not {kind_of(item)}"
    return "must not hold NUL" if "\0" in item else ""


def _is_scalar(item: Node) -> bool:
    return isinstance(item, bool | int | float)
