"""The list of examples, from the comment that each begins with."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docs.generate.markdown import fenced, page

EXAMPLES: Final = Path(__file__).parent.parent.parent / "examples"

_INTRODUCTION: Final = (
    "Folders of the repository that run as they are, each with a test that runs it. Commands are meant for the folder that "
    "the repository is in."
)
_COMMENT: Final = re.compile(r"\A(?:#[^\n]*\n)+")


def examples_page() -> str:
    """What each example shows, and how it is run."""
    return page("Examples", _INTRODUCTION, *(_section(folder) for folder in folders()))


def folders() -> list[Path]:
    """The examples, by name."""
    return sorted(
        each for each in EXAMPLES.iterdir() if each.is_dir() and not each.name.startswith(("_", "."))
    )


def told(folder: Path) -> list[str]:
    """What an example's main file says of itself, in paragraphs: its workflow's comment, or its program's docstring."""
    file = main_file(folder)
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        found = _COMMENT.match(text)
        said = "\n".join(line[1:].removeprefix(" ") for line in found[0].splitlines()) if found else ""
    return [part for part in said.split("\n\n") if part.strip()]


def main_file(folder: Path) -> Path:
    """Its workflow, or the program that has one in it."""
    return next(iter([*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.py"))]))


def _section(folder: Path) -> str:
    file = main_file(folder)
    title = folder.name.replace("_", " ").capitalize()
    source = f"[{folder.name}/{file.name}](../examples/{folder.name}/{file.name})"
    return "\n\n".join([f"## {title}", *_paragraphs(told(folder)), source])


def _paragraphs(parts: list[str]) -> Iterator[str]:
    for part in parts:
        lines = part.splitlines()
        is_command = lines[0].startswith(("  ", "python "))
        yield fenced("text", "\n".join(line.strip() for line in lines)) if is_command else " ".join(lines)
