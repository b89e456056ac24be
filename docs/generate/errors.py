"""The index of codes: what each is called, which exception has it, and what status the command line ends with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from actorflow import errors
from actorflow.cli.statuses import STATUS_OF_ERROR, UNREADABLE, Exit
from docs.generate.markdown import anchor, code, page, table

_GUIDE: Final = Path(__file__).parent.parent / "errors.md"
_HEADING: Final = re.compile(r"^##(#?) (.+)$", re.MULTILINE)
_CODE: Final = re.compile(r"([EW]\d{3}): (.+)")
_OF_FILES: Final = ("E1", "E2", "E3")
"""Problems of a definition, told together."""
_INTRODUCTION: Final = (
    "Every code with its title, which leads to the cause, an example and the mend. All that is wrong with a file is one "
    "`SpecError`, whose `code` is that of the first problem; codes with a `W` are warnings, and no exceptions. *Status* is "
    "what [a command](cli.md#exit-statuses) ends with."
)


def errors_page() -> str:
    """The codes in the order of the guide, under its headings."""
    return page("Error codes", _INTRODUCTION, *_groups())


def _groups() -> Iterator[str]:
    classes = _classes()
    title, rows = "", list[list[str]]()
    for level, heading in [*_HEADING.findall(_GUIDE.read_text(encoding="utf-8")), ("", "")]:
        found = _CODE.match(heading) if level else None
        if found is not None:
            rows.append(_row(heading, found, classes.get(found[1])))
        elif not level:
            if rows:
                yield f"## {title}\n\n{table(['code', 'title', 'exception', 'status'], rows)}"
            title, rows = heading, []


def _row(heading: str, found: re.Match[str], kind: type[errors.ActorflowError] | None) -> list[str]:
    link = f"[{found[2]}](../errors.md#{anchor(heading)})"
    if kind is None and found[1].startswith(_OF_FILES):
        kind = errors.SpecError
    if kind is None:
        return [code(found[1]), link, "", ""]
    status = next((STATUS_OF_ERROR[each] for each in kind.__mro__ if each in STATUS_OF_ERROR), None)
    if found[1] in UNREADABLE:
        status = Exit.NOT_FOUND
    return [code(found[1]), link, code(kind.__name__), "" if status is None else str(status.value)]


def _classes() -> Mapping[str, type[errors.ActorflowError]]:
    """The public exceptions by their codes, as far as each has one of its own."""
    kinds = (getattr(errors, name) for name in errors.__all__)
    own = (kind for kind in kinds if issubclass(kind, errors.ActorflowError) and "code" in vars(kind))
    return {kind.code: kind for kind in own}
