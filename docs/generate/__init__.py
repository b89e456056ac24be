"""The pages of the reference that are made from the code: `python -m docs.generate` writes them.

Each is a function of the code alone, so a page that is not what its function gives is out of date; a test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.generate.cli import cli_page
from docs.generate.errors import errors_page
from docs.generate.events import events_page
from docs.generate.examples import examples_page
from docs.generate.format import format_page
from docs.generate.states import states_page

DOCS: Final = Path(__file__).parent.parent

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "examples.md": examples_page,
    "reference/cli.md": cli_page,
    "reference/errors.md": errors_page,
    "reference/events.md": events_page,
    "reference/format.md": format_page,
    "reference/states.md": states_page,
}
"""Below `docs/`."""


def write_pages() -> list[str]:
    """Write all pages that are out of date, and name them."""
    written: list[str] = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            written.append(name)
    return written
