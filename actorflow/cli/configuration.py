"""`actorflow.toml`: what it may say, and what it says.

```toml
store = "runs.db"                                    # relative to the folder of this file
allow_hosts = ["https://hooks.example.com"]
allow_env = ["HOOKS_TOKEN"]                          # the only variables that definitions may name

[agents]
mailer = "command:./send.sh"
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard, cast

from attrs import field, frozen

from actorflow.agents.binding import parse_runner_word
from actorflow.cli.options import check_variable
from actorflow.cli.store.urls import parse_store
from actorflow.egress.allowed import parse_allowed
from actorflow.errors import BindError
from actorflow.spec.text.nodes import Mark
from actorflow.spec.text.report import Report

__all__ = ["NOTHING", "Configuration", "parse_configuration"]

_START: Final[Mark] = (1, 1)
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@frozen(kw_only=True)
class Configuration:
    """What holds for every command, unless its words or the environment say something else."""

    store: str | None = None  #: a URL
    agents: Mapping[str, str] = field(factory=dict[str, str])  #: runner words by name
    allow_hosts: tuple[str, ...] = ()
    allow_env: tuple[str, ...] | None = None  #: no list is another thing than an empty one

    def over(self, other: Configuration) -> Configuration:
        """This one, with what only the other says; lists are united."""
        return Configuration(
            store=self.store if self.store is not None else other.store,
            agents={**other.agents, **self.agents},
            allow_hosts=tuple(dict.fromkeys((*self.allow_hosts, *other.allow_hosts))),
            allow_env=_united(self.allow_env, other.allow_env),
        )


def _united(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    return tuple(dict.fromkeys((*first, *second)))


NOTHING: Final = Configuration()
"""What an absent file says."""


def parse_configuration(text: str, report: Report, folder: str) -> Configuration:
    """Read the text of a configuration; what is wrong with it is reported, all of it, and is as if it were not there.

    Args:
        text: in TOML.
        report: takes the problems, each with its line.
        folder: where the file lies, absolute.
    """
    report.text = text
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        report.add("E610", _mark_in(str(error), text), f"this is no TOML: {_PLACE.sub('', str(error))}")
        return NOTHING
    reader = _Reader(document, text, report, folder)
    return Configuration(
        store=reader.store(),
        agents=reader.agents(),
        allow_hosts=reader.texts("allow_hosts", parse_allowed),
        allow_env=reader.texts("allow_env", check_variable) if "allow_env" in document else None,
    )


_KEYS: Final = ("store", "agents", "allow_hosts", "allow_env")


class _Reader:
    """Takes values out of a document, and reports what is none of them."""

    def __init__(self, document: Mapping[str, Any], text: str, report: Report, folder: str) -> None:
        self._document = document
        self._text = text
        self._report = report
        self._folder = folder
        self._lines: Mapping[tuple[str, ...], int] | None = None
        for key in document.keys() - set(_KEYS):
            self._fault("E611", (key,), f"unknown key {key!r}", report.choices(key, _KEYS))

    def store(self) -> str | None:
        """The store, a relative file taken from the configuration's folder."""
        word = self._document.get("store")
        if word is None:
            return None
        if not isinstance(word, str):
            self._fault("E612", ("store",), f"store must be a text, not {_kind(word)}")
            return None
        try:
            return parse_store(word, self._folder)
        except ValueError as error:
            self._fault("E612", ("store",), f"store: {error}")
            return None

    def agents(self) -> dict[str, str]:
        """The runner words that are good."""
        table = self._document.get("agents", {})
        if not isinstance(table, dict):
            self._fault(
                "E612", ("agents",), f"agents must be a table, not {_kind(table)}", 'write NAME = "RUNNER"'
            )
            return {}
        named = cast("dict[str, Any]", table)
        return {name: word for name, word in named.items() if self._is_runner(name, word)}

    def texts(self, key: str, check: Callable[[str], object]) -> tuple[str, ...]:
        """A list of texts that pass a check, which raises ValueError with a sentence."""
        value = self._document.get(key, [])
        if not isinstance(value, list):
            self._fault("E612", (key,), f"{key} must be a list, not {_kind(value)}", f"write {key} = […]")
            return ()
        items = cast("list[object]", value)
        return tuple(item for item in items if self._is_good(item, key, check))

    def _is_runner(self, name: str, word: object) -> bool:
        path = ("agents", name)
        if not isinstance(word, str):
            self._fault("E612", path, f"agents.{name} must be the text of a runner, not {_kind(word)}")
            return False
        try:
            parse_runner_word(word)
        except BindError as error:
            self._fault("E612", path, f"agents.{name}: {error}")
            return False
        return True

    def _is_good(self, item: object, key: str, check: Callable[[str], object]) -> TypeGuard[str]:
        if not isinstance(item, str):
            self._fault("E612", (key,), f"{key} must be a list of texts; one is {_kind(item)}")
            return False
        try:
            check(item)
        except ValueError as error:
            self._fault("E612", (key,), f"{key}: {error}")
            return False
        return True

    def _fault(self, code: str, path: tuple[str, ...], message: str, hint: str = "") -> None:
        if self._lines is None:
            self._lines = _lines_of(self._text)
        self._report.add(code, (self._lines.get(path, 1), 1), message, hint)


def _lines_of(text: str) -> dict[tuple[str, ...], int]:
    """The line on which the statement begins that gives each key, of a good text.

    The parser tells no positions, so it is asked where a statement ends: as soon as the lines that are not understood
    yet are a document of their own.
    """
    found: dict[tuple[str, ...], int] = {}
    header, pending, first = "", "", 1
    for number, line in enumerate(text.split("\n"), 1):
        pending += line + "\n"
        try:
            keys = _paths(tomllib.loads(header + pending))
        except tomllib.TOMLDecodeError:
            continue
        for path in keys:
            found.setdefault(path, first)
        if pending.lstrip().startswith("["):
            header = pending
        pending, first = "", number + 1
    return found


def _paths(table: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The keys of a document, and those of the tables in it."""
    tables = {key: cast("dict[str, Any]", value) for key, value in table.items() if isinstance(value, dict)}
    inner = [(key, name) for key, value in tables.items() for name in value]
    return [*((key,) for key in table), *inner]


def _mark_in(message: str, text: str) -> Mark:
    """Where the parser stopped: it says so at the end of its message."""
    place = _PLACE.search(message)
    if place is None:
        return _START
    if place[1] is None:
        return (text.count("\n") + 1, 1)
    return (int(place[1]), int(place[2]))


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "a date or time")


_KINDS: Final = (
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (str, "a text"),
    (list, "a list"),
    (dict, "a table"),
)
