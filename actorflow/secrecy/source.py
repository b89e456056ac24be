"""Where secrets are read: the environment, or files, as they are when they are used."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from actorflow.expression import SecretName
from actorflow.spec.model import SecretSpec

__all__ = ["SecretSource", "SecretUnreadable"]

LARGEST_FILE: Final = 65_536  #: bytes


class SecretUnreadable(Exception):  # noqa: N818 - a fact about the surroundings, as a failure is told by it
    """Raised when a secret that is to be used is not there, or is none; it says which variable or file, never a value."""


@frozen(kw_only=True)
class SecretSource:
    """Reads the secrets of one definition when they are used, anew each time; it keeps no value."""

    secrets: Mapping[str, SecretSpec]  #: those that the definition declares
    folder: str  #: the definition's, absolute: files are relative to it
    environ: Mapping[str, str] = field(repr=False)  #: the environment of the process, as it is at each look

    def lookup(self, name: SecretName) -> str:
        """The value of a secret: of `secrets.NAME`, and of `${NAME}` if it is declared; else of the variable NAME.

        A file's value is its text without the line's end that it may have.

        Raises:
            SecretUnreadable: it is not there, or cannot be given to a program.
        """
        spec = self.secrets.get(name.name)
        if spec is None and name.kind == "env":
            spec = SecretSpec(env=name.name)
        try:
            return self._read(spec)
        except _Unreadable as problem:
            raise SecretUnreadable(_told(name, spec, problem)) from None

    def missing(self, names: Iterable[SecretName]) -> tuple[str, ...]:
        """What stands in the way of these secrets, a clause for each that cannot be read; each is looked at once."""
        problems: dict[str, None] = {}
        for name in dict.fromkeys(names):
            try:
                self.lookup(name)
            except SecretUnreadable as error:
                problems[str(error)] = None
        return tuple(problems)

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


class _Unreadable(Exception):  # noqa: N818 - what is wrong with a secret; never leaves this module
    pass


def _told(name: SecretName, spec: SecretSpec | None, problem: _Unreadable) -> str:
    if spec is None:
        return f"secrets.{name.name} {problem}"
    place = f"the environment variable {spec.env}" if spec.env is not None else f"the file {spec.file!r}"
    whose = "" if spec.env == name.name else f", where the secret {name.name} is read,"
    return f"{place}{whose} {problem}"


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
