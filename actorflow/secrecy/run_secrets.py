"""The secrets of one run: opened for who needs them, and hidden in whatever anybody tells."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, Final

from attrs import field, frozen

from actorflow.expression import Sealed, SecretName, unseal
from actorflow.secrecy.hiding import NOTHING_HIDDEN, Hiding, hiding_of
from actorflow.secrecy.source import SecretSource, SecretUnreadable

__all__ = ["NOTHING_OPENED", "Opened", "RunSecrets"]

MOST_REMEMBERED: Final = 64
"""Values of one secret: one that changes every hour in a run of weeks must not make each look slower."""


class RunSecrets:
    """Puts the secrets of a definition in where they are used, and takes their values out of all that is told.

    Hidden are all secrets that the definition declares, also those that nothing names, since a Python function may read
    its process's environment; and the variables that it names as `${NAME}`. Each value that was ever read stays hidden:
    a secret may be changed while the run goes on. One that is not there is not hidden; who needs it says so.

    May be used from any thread.

    Args:
        source: where they are read.
        names: what the definition names in the params of its agents and hooks.
        public: variables that are no secrets, unless they are declared: to hide where a home folder is would break
            every path that an output has.
    """

    __slots__ = ("__weakref__", "_hiding", "_is_learned", "_lock", "_names", "_public", "_source", "_values")

    def __init__(
        self, source: SecretSource, names: Iterable[SecretName] = (), public: frozenset[str] = frozenset()
    ) -> None:
        self._source = source
        self._public = public - source.secrets.keys()
        declared = (SecretName("secret", name) for name in source.secrets)
        self._names = tuple(name for name in dict.fromkeys((*declared, *names)) if self._is_secret(name))
        self._values: dict[SecretName, dict[str, None]] = {}  #: by secret, the one read last at the end
        self._hiding = NOTHING_HIDDEN
        self._is_learned = not self._names
        self._lock = threading.Lock()

    @property
    def has_any(self) -> bool:
        """Whether the definition has secrets; one without pays nothing for what is here."""
        return bool(self._names)

    @property
    def hiding(self) -> Hiding:
        """What takes the values out that have been read so far; each secret has been read once at the least."""
        if not self._is_learned:
            self.learn()
        return self._hiding

    def learn(self) -> None:
        """Read each secret once: before anybody who may tell of it begins. It reads files, and may be said in a thread."""
        self._remember(self._readable())
        self._is_learned = True

    def lookup(self, name: SecretName) -> str:
        """The value of a secret as it is now, which is hidden from now on.

        Raises:
            SecretUnreadable: it is not there.
        """
        value = self._source.lookup(name)
        if self._is_secret(name):
            self._remember([(name, value)])
        return value

    def opened(self, env: Mapping[str, str | Sealed], argv: Iterable[str | Sealed] | None) -> Opened:
        """The variables and arguments of an attempt with their secrets put in; for right before it begins.

        Raises:
            SecretUnreadable: one is not there.
        """
        return Opened(
            env={name: self._text(value) for name, value in env.items()},
            argv=None if argv is None else tuple(map(self._text, argv)),
        )

    def unsealed(self, value: Any) -> Any:
        """A rendered value, such as a hook's params, with its secrets put in; for right before it is used.

        Raises:
            SecretUnreadable: one is not there.
        """
        return unseal(value, self.lookup)

    def hidden(self, told: Any) -> Any:
        """JSON data, or a text, without any of the values."""
        return self.hiding.data(told)

    def _text(self, value: str | Sealed) -> str:
        return value if isinstance(value, str) else value.resolve(self.lookup)

    def _is_secret(self, name: SecretName) -> bool:
        return name.kind == "secret" or name.name not in self._public

    def _readable(self) -> Iterator[tuple[SecretName, str]]:
        for name in self._names:
            with suppress(SecretUnreadable):
                yield name, self._source.lookup(name)

    def _remember(self, values: Iterable[tuple[SecretName, str]]) -> None:
        with self._lock:
            are_new = [self._note(name, value) for name, value in values]
            if any(are_new):
                every = chain.from_iterable(self._values.values())
                self._hiding = hiding_of(dict.fromkeys(every))

    def _note(self, name: SecretName, value: str) -> bool:
        """Put a value behind those that its secret had before; whether it is another one than all of these."""
        known = self._values.setdefault(name, {})
        is_new = value not in known
        known.pop(value, None)
        known[value] = None
        if len(known) > MOST_REMEMBERED:
            del known[next(iter(known))]
        return is_new


@frozen(kw_only=True)
class Opened:
    """What an attempt is given, its secrets in the clear."""

    env: Mapping[str, str] = field(repr=False)
    argv: tuple[str, ...] | None = field(repr=False)


NOTHING_OPENED: Final = Opened(env={}, argv=None)
"""Of an attempt that is given neither variables nor arguments."""
