"""Where a shell is called by an argv, and which of its items it reads as a program of its own language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count

_SHELL = re.compile(r"(?:a|ba|c|da|fi|k|lk|mk|o|pdk|rba|rk|rz|tc|ya|z)?sh(?:-?[0-9.]+)?(?:\.exe)?")
_WITH_VALUE = {"--rcfile", "--init-file"}
_SWITCHERS = {"su", "runuser"}  # run a shell as somebody else
_TEMPLATES = ("{{", "${")


def shell_item(argv: Sequence[str]) -> int | None:
    """The index of the item that a shell reads as its program (after `sh -c`), if the argv has one.

    That item is opaque, as a shell's text always is: it is never rendered, and the loader refuses a template of ours in
    it. Shells are known by their names, wherever in the argv they stand; a template in place of a name may be one.
    """
    for start, item in enumerate(argv):
        name = item.rsplit("/", 1)[-1]
        found = None
        if _SHELL.fullmatch(name) or (start == 0 and item.startswith(_TEMPLATES)):
            found = _operand(argv, start)[1]
        elif name in _SWITCHERS:
            found = next((i for i in range(start + 2, len(argv)) if argv[i - 1] in ("-c", "--command")), None)
        elif name == "env":
            found = next(
                (i for i in range(start + 2, len(argv)) if argv[i - 1] in ("-S", "--split-string")), None
            )
        if found is not None:
            return found
    return None


def option_in_disguise(argv: Sequence[str]) -> int | None:
    """The index of a template right after a shell's name and options, which may come out as one more option, such as `-c`."""
    for start, item in enumerate(argv):
        if _SHELL.fullmatch(item.rsplit("/", 1)[-1]):
            operand, program = _operand(argv, start)
            is_free = program is None and operand < len(argv) and argv[operand - 1] != "--"
            if is_free and argv[operand].lstrip().startswith(_TEMPLATES):
                return operand
    return None


def _operand(argv: Sequence[str], start: int) -> tuple[int, int | None]:
    """Where a shell's options end; and the same place again if one of them was `-c`, so that a program stands there."""
    has_program = False
    places = count(start + 1)
    for place in places:
        option = argv[place] if place < len(argv) else ""
        if option == "--":
            place = next(places)  # noqa: PLW2901 - what follows is no option, whatever it looks like
        elif option.startswith("--"):
            has_program |= option == "--command"
            if option in _WITH_VALUE:
                next(places)
            continue
        elif len(option) > 1 and option[0] in "-+":
            has_program |= option[0] == "-" and "c" in option
            for letter in option[1:]:
                if letter in "oO":
                    next(places)
            continue
        return place, place if has_program and place < len(argv) else None
    raise AssertionError
