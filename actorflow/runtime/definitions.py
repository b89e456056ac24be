"""Workflow files that were found good before: taken from a journal, and not parsed and checked again.

What is known by a key is the outcome of checking one file: its bytes, its path, the trust and the allowances that it is
given, and the code that checked it. Nothing else is read when a file is loaded but the contracts of a program's own actions, and a file that
names one of these is not kept: so nothing else can change the outcome.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import orjson
from attrs import frozen

import actorflow.errors
import actorflow.expression
import actorflow.spec
from actorflow.errors import Problem
from actorflow.journal.protocol import CachedDefinition, Journal, KeepDefinition
from actorflow.spec.bounds import Bounds
from actorflow.spec.definition import from_json, remember_definition, spec_definition
from actorflow.spec.loading import OWN, Loaded, Terms, load_with_warnings
from actorflow.spec.needs import own_actions
from actorflow.spec.text.parsers import VERSION

WORTH_BYTES: Final = 16_384
"""Files shorter than this are checked in less time than it takes to open a store."""


@frozen
class Recalled:
    """A checked definition, and what a journal should keep so that it is known the next time."""

    loaded: Loaded
    news: KeepDefinition | None  #: None where the journal knows it, or it is not worth keeping


def load_cached(path: str | os.PathLike[str], journal: Journal, terms: Terms = OWN) -> Recalled:
    """Load a workflow file, as `load_with_warnings` does, or take it from a journal that knows it.

    An entry that can't be read is as good as none, and `news` overwrites it.

    Raises:
        SpecError: with all that is wrong with the file.
        StoreFailed: the journal can't be read.
    """
    key = source_key(path, terms)
    known = None if key is None else journal.cached_definition(key)
    loaded = None if known is None else _read(known)
    if loaded is not None:
        return Recalled(loaded, None)
    loaded = load_with_warnings(path, terms=terms)
    if key is None or source_key(path, terms) != key:  # changed while it was being checked
        return Recalled(loaded, None)
    # what the program's own actions take is in no key: who names one is checked each time
    return Recalled(loaded, None if own_actions(loaded.spec) else _news(key, loaded))


def is_worth_keeping(path: str | os.PathLike[str]) -> bool:
    """Whether a file is there that takes longer to check than to look up, and is not too long to be checked at all."""
    try:
        return WORTH_BYTES <= os.stat(path).st_size <= Bounds().file_bytes  # noqa: PTH116 - a text may have a NUL in it
    except (OSError, ValueError):
        return False


def source_key(path: str | os.PathLike[str], terms: Terms = OWN) -> str | None:
    """What the outcome of checking a file is known by; None for one that is short, too long, or can't be read."""
    if not is_worth_keeping(path) or (rules := _rules()) is None:
        return None
    try:
        body = Path(path).read_bytes()
        file: str = os.fspath(path)
        whole = os.path.abspath(file)  # noqa: PTH100 - links in the path are kept, as the loader does
        folder = "" if terms.trust == "own" else os.getcwd()  # noqa: PTH109 - where data is at home
        names = None if terms.allow_env is None else sorted(terms.allow_env)
        given = (terms.trust, names, terms.may_reach, terms.no_commands, folder)
        context = orjson.dumps((rules, given, file, whole))
    except (OSError, TypeError, ValueError):
        return None
    return sha256(context + b"\n" + body).hexdigest()


def _news(key: str, loaded: Loaded) -> KeepDefinition:
    digest, body = spec_definition(loaded.spec)
    return KeepDefinition(key, digest, body, [_plain(warning) for warning in loaded.warnings])


def _read(known: CachedDefinition) -> Loaded | None:
    try:
        loaded = Loaded(from_json(known.body), tuple(Problem(**warning) for warning in known.warnings))
    except (TypeError, ValueError):
        return None
    remember_definition(loaded.spec, known.digest, known.body)
    return loaded


def _plain(problem: Problem) -> dict[str, str | int]:
    return {name: getattr(problem, name) for name in Problem.__slots__}


@cache
def _rules() -> str | None:
    """Which code checks: its files by name, size and time, so that no version number has to be kept, and whose parser.

    None where there are no files.
    """
    try:
        modules = sorted(
            module
            for package in (actorflow.expression, actorflow.spec)
            for module in _modules(package.__path__[0])
        )
        errors = os.stat(actorflow.errors.__file__)  # noqa: PTH116 - as its neighbours, which os.scandir finds
    except OSError:
        return None
    rules = (modules, errors.st_size, errors.st_mtime_ns, VERSION)
    return sha256(orjson.dumps(rules)).hexdigest() if modules else None


def _modules(folder: str) -> Iterator[tuple[str, int, int]]:
    """The modules of a package and of those inside it: path, size and time of each."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                found = entry.stat()
                yield entry.path, found.st_size, found.st_mtime_ns
            elif entry.name != "__pycache__" and entry.is_dir():
                yield from _modules(entry.path)
