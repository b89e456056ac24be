"""Texts that are expressions as a whole: bare, or exactly one template."""

from __future__ import annotations

from typing import Any, Final

from actorflow.errors import ExpressionError
from actorflow.expression import compile_template
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Scope, Site
from actorflow.spec.text.nodes import BROKEN

__all__ = ["UNKNOWN", "constant_of", "is_template", "read_choice", "read_condition", "read_expression"]

UNKNOWN: Final = object()
"""The value of an expression that only a run can tell."""


def read_condition(draft: Draft, block: Block, key: str, scope: Scope) -> str | None:
    """What must be true or false: an expression, one template, or a boolean."""
    value = block.node.get(key, BROKEN)
    if value is BROKEN:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    text = block.text(key)
    if text is not None:
        draft.sites.append(Site(text, block.mark(key), block.path_of(key), scope, is_condition=True))
    return text


def read_expression(draft: Draft, block: Block, key: str, scope: Scope) -> str | None:
    """What gives a value of any type: a bare expression, or one in `{{ }}`, which are taken off."""
    text = block.name(key) if block.has(key) else None
    if text is None:
        return None
    bare = text.strip()
    if is_template(bare):
        if not (bare.startswith("{{") and bare.endswith("}}") and bare.count("{{") == 1):
            block.fault("E300", key, "must be one expression, bare or wholly in {{ }}")
            return None
        bare = bare[2:-2].strip()
    draft.sites.append(Site(_in_braces(bare), block.mark(key), block.path_of(key), scope))
    return bare


def read_choice(draft: Draft, block: Block, key: str, scope: Scope) -> str | None:
    """What gives a text to choose by: templates, or a bare expression, which is put in braces."""
    text = block.name(key) if block.has(key) else None
    if text is None:
        return None
    template = text if is_template(text) else _in_braces(text.strip())
    draft.sites.append(Site(template, block.mark(key), block.path_of(key), scope))
    return template


def _in_braces(expression: str) -> str:
    return "{{ " + expression + " }}"


def is_template(text: str) -> bool:
    """Whether a text may hold an expression of ours."""
    return "{{" in text or "${" in text


def constant_of(text: str) -> Any:
    """The value of a template that reads nothing; `UNKNOWN` if it reads something, costs much, or does not compile."""
    try:
        template = compile_template(text)
        return UNKNOWN if template.paths else template.render_cheaply()
    except ExpressionError:
        return UNKNOWN
