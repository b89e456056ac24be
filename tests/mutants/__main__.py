"""`python -m tests.mutants [NAME…] [--jobs N]`: let mutants loose, and name the promise that gives each away.

First each hunt looks at the code as it is, and has to find nothing. Then a line for each mutant, in the order of the
catalogue: its name, what is broken, the promise that it was seen to break, and the seconds that took. The last line says
that all were killed, or names those that were not; the status is 1 then.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.mutants.catalogue import MUTANTS, hunts
from tests.mutants.seen import Seen, let_loose, looked

NAME, WHAT, PROMISE = 44, 62, 52
"""Widths of columns."""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say; the exit status."""
    asked = _parser().parse_args(argv)
    unknown = [name for name in asked.names if name not in MUTANTS]
    if unknown:
        print(f"no such mutant: {', '.join(unknown)}; there are: {', '.join(MUTANTS)}", file=sys.stderr)
        return 2
    names = asked.names or list(MUTANTS)
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        wanted = {MUTANTS[name].hunt for name in names}
        hunted = [name for name, hunt in hunts().items() if hunt in wanted]
        false_alarms = list(_told_of(hunted, pool.map(looked, hunted)))
        survivors = list(_let_loose(names, pool.map(let_loose, names)))
    told, status = verdict(len(names), false_alarms, survivors)
    print(f"\n{told}")
    return status


def verdict(count: int, false_alarms: Sequence[str], survivors: Sequence[str]) -> tuple[str, int]:
    """The last line, and the exit status."""
    if false_alarms:
        return f"{count} mutants, and false alarms by the hunts for: {', '.join(false_alarms)}", 1
    if survivors:
        return f"{count} mutants, {len(survivors)} survive: {', '.join(survivors)}", 1
    return f"{count} mutants, all killed", 0


def _told_of(names: Sequence[str], all_seen: Iterator[Seen]) -> Iterator[str]:
    """Print what hunts have found in the code as it is; the names of those that found anything."""
    took_s = 0.0
    for name, seen in zip(names, all_seen, strict=True):
        took_s += seen.seconds
        if seen.what:
            print(f"the hunt for {name!r} finds in the code as it is: {seen.what}", flush=True)
            yield name
    print(f"{len(names)} hunts have looked at the code as it is, in {took_s:.1f} s\n")
    print(_row("mutant", "what is broken", "killed by the promise", "seconds"), flush=True)
    print(_row("-" * NAME, "-" * WHAT, "-" * PROMISE, "-" * 7), flush=True)


def _let_loose(names: Sequence[str], all_seen: Iterator[Seen]) -> Iterator[str]:
    """Print what became of mutants; the names of those that live, or break what nobody expects."""
    for name, seen in zip(names, all_seen, strict=True):
        mutant = MUTANTS[name]
        is_killed = seen.broken in mutant.broken
        told = seen.broken if is_killed else f"NOT KILLED {seen.what}".strip()
        print(_row(name, mutant.what, told, f"{seen.seconds:.1f}"), flush=True)
        if not is_killed:
            yield name


def _row(name: str, what: str, promise: str, seconds: str) -> str:
    """A row of the table, of as many lines as its longest column needs."""
    columns = [
        textwrap.wrap(text, width) or [""]
        for text, width in ((name, NAME), (what, WHAT), (promise, PROMISE), (seconds, 7))
    ]
    height = max(map(len, columns))
    lines = zip(*(column + [""] * (height - len(column)) for column in columns), strict=True)
    return "\n".join(f"{a:<{NAME}} | {b:<{WHAT}} | {c:<{PROMISE}} | {d:>7}" for a, b, c, d in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Let mutants loose.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of mutants; none: all of them")
    parser.add_argument("--jobs", type=int, default=2, help="processes that hunt at a time (default: 2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
