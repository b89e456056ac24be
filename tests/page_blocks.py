"""The fenced blocks of the Markdown pages, and which words beside a language say what a test does with the block.

On a page that is followed from its top to its end (the tutorial, the how-tos), ```` ```yaml file=order.yaml ```` is a file that
the reader makes, and ```` ```console ```` what they type, with what is printed.
"""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOLLOWED = (DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md")))
_GENERATED = (DOCS / "reference", DOCS / "examples.md")
_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>\w+) ?(?P<words>[^\n]*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@frozen
class Block:
    """A fenced block that has a language."""

    page: Path
    line: int  #: of its fence, from 1
    language: str
    words: tuple[str, ...]
    text: str
    start: int  #: where its text begins in the page, in characters

    @property
    def file(self) -> str | None:
        """The name of the file that a reader makes of it."""
        names = [word.removeprefix("file=") for word in self.words if word.startswith("file=")]
        return names[0] if names else None

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def written_pages() -> list[Path]:
    """All pages that people write, but for the record of changes."""
    found = [ROOT / "README.md", ROOT / "SECURITY.md", *DOCS.rglob("*.md")]
    found += [*(ROOT / "examples").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
    return [page for page in sorted(found) if page.exists() and not _is_generated(page)]


def _is_generated(page: Path) -> bool:
    return any(page.is_relative_to(each) for each in _GENERATED)


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in its order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            tuple(found["words"].split()),
            found["text"],
            found.start("text"),
        )
        for found in _FENCE.finditer(text)
    ]
