"""Scripts: a text of their own, in one of a few languages, or a file that holds one."""

from __future__ import annotations

import re
from typing import Final

from actorflow.spec.model import Language, ScriptRunner
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.commands import check_opaque, note_arguments
from actorflow.spec.readers.draft import Draft, Scope
from actorflow.spec.readers.paths import read_path, refuse_untrusted
from actorflow.spec.readers.words import LANGUAGES, SCRIPT
from actorflow.spec.text.nodes import MapNode

__all__ = ["read_script"]

_SUFFIXES: Final[dict[str, Language]] = {
    "py": "python",
    "sh": "bash",
    "bash": "bash",
    "js": "javascript",
    "mjs": "javascript",
    "rb": "ruby",
    "pl": "perl",
}
_PROGRAMS: Final[dict[str, Language]] = {
    "python": "python",
    "sh": "bash",
    "bash": "bash",
    "node": "javascript",
    "ruby": "ruby",
    "perl": "perl",
}
_SHEBANG: Final = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+)*)?(?:\S*/)?([A-Za-z]+)")


def read_script(draft: Draft, block: Block, scope: Scope, *, is_raw: bool) -> ScriptRunner | None:
    """Read `script:`, a text or a mapping; its text is opaque, its arguments are templates of `scope`."""
    if refuse_untrusted(draft, block, "script", "E201", "scripts"):
        return None
    value = block.node["script"]
    if isinstance(value, str):
        cwd = read_path(block, "cwd")
        is_good = check_opaque(block, "script", value, scope, is_raw=is_raw)
        language = _language_of_text(block, "script", value) if is_good else None
        return ScriptRunner(language=language, text=value, cwd=cwd) if language else None
    if not isinstance(value, MapNode):
        block.text("script")
        return None
    fields = Block(value, block.path_of("script"), block.report)
    fields.allow(SCRIPT)
    return _read_mapping(draft, block, fields, scope, is_raw=is_raw)


def _read_mapping(
    draft: Draft, block: Block, fields: Block, scope: Scope, *, is_raw: bool
) -> ScriptRunner | None:
    holder = fields if fields.has("cwd") else block
    if fields.has("cwd") and block.has("cwd"):
        block.key_fault("E125", "cwd", "the script has a folder of its own; keep one")
    text, file = fields.text("text"), read_path(fields, "file")
    if fields.has("text") and fields.has("file"):
        fields.key_fault("E125", "file", "'text' and 'file' both are the script; keep one")
    elif not fields.has("text") and not fields.has("file"):
        fields.own_fault("E122", "has no script", "add text:, or file:")
    if text is not None and not check_opaque(fields, "text", text, scope, is_raw=is_raw):
        text = None
    args = note_arguments(draft, fields, "args", scope) if fields.has("args") else ()
    cwd = read_path(holder, "cwd")
    language = _language_of(fields, text, file)
    if language is None or (text is None) == (file is None):
        return None
    return ScriptRunner(language=language, text=text, file=file, args=args, cwd=cwd)


def _language_of(fields: Block, text: str | None, file: str | None) -> Language | None:
    """What is said, or what the first line or the file's ending tells."""
    if fields.has("language"):
        return fields.choice("language", LANGUAGES)
    if text is not None:
        return _language_of_text(fields, "text", text)
    if file is None:
        return None
    language = _SUFFIXES.get(file.rsplit(".", 1)[-1].lower())
    if language is None:
        fields.fault("E122", "file", "its name does not tell the language", f"add language: {_CHOICE}")
    return language


def _language_of_text(block: Block, key: str, text: str) -> Language | None:
    """Bash, unless the first line says which program reads the text."""
    if not text.startswith("#!"):
        return "bash"
    found = _SHEBANG.match(text.split("\n", 1)[0])
    language = _PROGRAMS.get(found[1].lower()) if found else None
    if language is None:
        block.fault("E123", key, "its first line names no program that is known", f"choose from {_CHOICE}")
    return language


_CHOICE: Final = ", ".join(LANGUAGES)
