"""The Markdown of generated pages: tables, anchors, and text that is shown as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

NOTICE: Final = (
    "<!-- Made by `python -m docs.generate` out of the code: change the code, and run it again. -->"
)

_SPAN: Final = re.compile(r"(`[^`]*`)")
_MEANT: Final = re.compile(r"([*<>\[\]\\])")
_NOT_IN_ANCHORS: Final = re.compile(r"[^\w\- ]")


def page(title: str, *blocks: str) -> str:
    """A page of blocks, one blank line between any two."""
    return "\n\n".join([NOTICE, f"# {title}", *(block for block in blocks if block)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown on one line."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def code(text: str) -> str:
    """Text as code."""
    return f"`{text}`" if text else ""


def codes(texts: Iterable[str]) -> str:
    """Several of them."""
    return ", ".join(code(text) for text in texts)


def prose(text: str) -> str:
    """A sentence of the code as Markdown: what is in backticks is code, and everything else stands for itself."""
    parts = _SPAN.split(text)
    return "".join(part if part.startswith("`") else _MEANT.sub(r"\\\1", part) for part in parts)


def anchor(heading: str) -> str:
    """The anchor that a heading has, where pages are kept and on the site."""
    return _NOT_IN_ANCHORS.sub("", heading.replace("`", "").lower()).replace(" ", "-")


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
