"""Secrets at the last moment: where they are read, for whom, and how they are kept out of what is told."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from actorflow.agents.failure import AgentFailed, failure_of
from actorflow.agents.hiding import NOTHING_HIDDEN, Hiding, hiding_of
from actorflow.core.events import Failure
from actorflow.expression import Sealed, SecretName
from actorflow.spec.model import SecretSpec

__all__ = ["NOTHING_OPENED", "Opened", "SecretSource"]

LARGEST_FILE: Final = 65_536  #: bytes


@frozen(kw_only=True)
class SecretSource:
    """Reads the secrets of one workflow when they are used, anew each time; it keeps no value."""

    secrets: Mapping[str, SecretSpec]  #: those that the workflow declares
    folder: str  #: the workflow's, absolute: files are relative to it
    environ: Mapping[str, str] = field(repr=False)  #: the environment of the process, as it is at each look

    def lookup(self, name: SecretName) -> str:
        """The value of a secret: of `secrets.NAME`, and of `${NAME}` if it is declared; else of the variable NAME.

        A file's value is its text without the line's end that it may have.

        Raises:
            AgentFailed: `environment`, with a message that says which variable or file, and never a value.
        """
        spec = self.secrets.get(name.name)
        if spec is None and name.kind == "env":
            spec = SecretSpec(env=name.name)
        try:
            return self._read(spec)
        except _Unreadable as problem:
            raise AgentFailed("environment", _told(name, spec, problem)) from None

    def missing(self, names: Iterable[SecretName]) -> tuple[str, ...]:
        """What stands in the way of these secrets, a clause for each that cannot be read; each is looked at once."""
        problems: dict[str, None] = {}
        for name in dict.fromkeys(names):
            try:
                self.lookup(name)
            except AgentFailed as error:
                problems[error.message] = None
        return tuple(problems)

    def opened(self, env: Mapping[str, str | Sealed], argv: Iterable[str | Sealed] | None) -> Opened:
        """The variables and arguments of an attempt with their secrets put in; for right before it begins.

        Raises:
            AgentFailed: as `lookup`.
        """
        values: dict[str, None] = {}

        def lookup(name: SecretName) -> str:
            value = self.lookup(name)
            values[value] = None
            return value

        return Opened(
            env={name: _text(value, lookup) for name, value in env.items()},
            argv=None if argv is None else tuple(_text(item, lookup) for item in argv),
            values=tuple(values),
            hiding=hiding_of(values) if values else NOTHING_HIDDEN,
        )

    def _read(self, spec: SecretSpec | None) -> str:
        if spec is None:
            raise _Unreadable("is not declared under `secrets`")
        value = self._of_variable(spec.env) if spec.env is not None else self._of_file(spec.file or "")
        if "\0" in value:
            raise _Unreadable("holds a NUL, which no program can be given")
        return value

    def _of_variable(self, name: str) -> str:
        try:
            return self.environ[name]
        except KeyError:
            raise _Unreadable("is not set") from None

    def _of_file(self, file: str) -> str:
        try:
            data = _read_file(Path(self.folder, file))
        except OSError as error:
            raise _Unreadable(f"cannot be read: {error.strerror}") from None
        try:
            return data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise _Unreadable("is not UTF-8") from None


@frozen(kw_only=True)
class Opened:
    """What an attempt is given, its secrets in the clear; and what must not be told of it."""

    env: Mapping[str, str] = field(repr=False)
    argv: tuple[str, ...] | None = field(repr=False)
    values: tuple[str, ...] = field(repr=False)  #: that were put in
    hiding: Hiding  #: takes them out of what is told

    def hidden(self, told: Any) -> Any:
        """What is kept or told of the attempt, its output as well, without any of the values."""
        return self.hiding.data(told)

    def hidden_failure(self, error: BaseException) -> Failure:
        """The same of why it failed; values are taken out before anything is cut."""
        failure = failure_of(error, self.hiding.text)
        return evolve(failure, detail=self.hidden(failure.detail)) if self.values else failure


NOTHING_OPENED: Final = Opened(env={}, argv=None, values=(), hiding=NOTHING_HIDDEN)
"""Of an attempt that is given neither variables nor arguments."""


class _Unreadable(Exception):  # noqa: N818 - what is wrong with a secret; never leaves this module
    pass


def _told(name: SecretName, spec: SecretSpec | None, problem: _Unreadable) -> str:
    if spec is None:
        return f"secrets.{name.name} {problem}"
    place = f"the environment variable {spec.env}" if spec.env is not None else f"the file {spec.file!r}"
    whose = "" if spec.env == name.name else f", where the secret {name.name} is read,"
    return f"{place}{whose} {problem}"


def _text(value: str | Sealed, lookup: Callable[[SecretName], str]) -> str:
    return value if isinstance(value, str) else value.resolve(lookup)


def _read_file(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):
        raise _Unreadable("is not a regular file")
    with open(path, "rb", opener=_without_waiting) as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise _Unreadable(f"has more than {LARGEST_FILE // 1024} KiB")
    return data


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO that has come in its place would wait for a writer
