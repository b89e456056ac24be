"""The `items:` of a collection: a template, a list, or a file of them."""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeAlias

from actorflow.spec.model import FileItems
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Scope, read_data
from actorflow.spec.readers.expressions import UNKNOWN, constant_of, is_template
from actorflow.spec.readers.paths import read_path, refuse_untrusted
from actorflow.spec.readers.words import ITEMS_FILE
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, kind_of

__all__ = ["read_items"]

_Format: TypeAlias = Literal["json", "jsonl", "csv", "lines"]
_FORMATS: Final[tuple[_Format, ...]] = ("json", "jsonl", "csv", "lines")
_LONE_TEMPLATE: Final = re.compile(r"\s*(\{\{|\$\{).*\}\s*\Z", re.DOTALL)
_SUFFIXES: Final[dict[str, _Format]] = {
    "json": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "txt": "lines",
}


def read_items(draft: Draft, block: Block, scope: Scope) -> Any:
    """The items as the model has them; what can be no list is reported, and becomes an empty one."""
    if not block.has("items"):
        block.own_fault("E122", "says no items", 'add items: a list, "{{ a template }}", or a file')
        return []
    value = block.node["items"]
    if isinstance(value, ListNode):
        return read_data(draft, block, "items", scope)
    if isinstance(value, str) and is_template(value):
        return _read_template(draft, block, value, scope)
    if isinstance(value, str):
        return _read_file(draft, block, "items", block) or []
    if isinstance(value, MapNode) and value.keys() & ITEMS_FILE.words:
        fields = Block(value, block.path_of("items"), block.report)
        fields.allow(ITEMS_FILE)
        if not fields.has("file"):
            fields.own_fault("E122", "says no file", "add file:")
            return []
        return _read_file(draft, fields, "file", block) or []
    if value is not BROKEN:
        message = f"must be a list, a template that gives one, or a file, not {kind_of(value)}"
        block.fault("E121", "items", message)
    return []


def _read_template(draft: Draft, block: Block, text: str, scope: Scope) -> str:
    draft.note(text, block.mark("items"), block.path_of("items"), scope)
    value = constant_of(text)
    if value is not UNKNOWN and not isinstance(value, list | tuple):
        block.fault("E121", "items", f"must give a list, and always gives {kind_of(value)}")
    elif value is UNKNOWN and "}" in text and _LONE_TEMPLATE.match(text) is None:
        hint = 'write items: "{{ … }}", with nothing around the template'
        block.fault("E123", "items", "must give a list, and text around a template makes it a text", hint)
    return text


def _read_file(draft: Draft, fields: Block, key: str, block: Block) -> FileItems | None:
    """The file by its path, and what is in it by its ending unless `format` says so."""
    said = fields is not block and fields.has("format")
    chosen = fields.choice("format", _FORMATS) if said else None
    if refuse_untrusted(draft, block, "items", "E207", "files"):
        return None
    path = read_path(fields, key, may_be_absolute=True)
    if path is None:
        return None
    form = chosen if said else _SUFFIXES.get(path.rsplit(".", 1)[-1].lower())
    if form is None and not said:
        hint = "write a list, a template, or {file: NAME, format: json, jsonl, csv or lines}"
        fields.fault("E123", key, f"{path[:40]!r} is neither a template nor a file of a known kind", hint)
    return None if form is None else FileItems(path=path, format=form)
