"""What a run reads of its surroundings when it starts: declared variables, and whether its secrets are there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from attrs import frozen

from actorflow.agents.secrets import SecretSource
from actorflow.core.plan import plan_of
from actorflow.errors import MissingVariablesError
from actorflow.spec.model import WorkflowSpec


def read_environment(spec: WorkflowSpec) -> dict[str, str]:
    """Read the variables under `env:`, which the run will see as they are now; and look for each secret, without keeping it.

    Raises:
        MissingVariablesError: with all that is not there.
    """
    missing = [f"the environment variable {name} is not set" for name in spec.env if name not in os.environ]
    missing.extend(secret_source(spec).missing(plan_of(spec).secret_names))
    if missing:
        raise MissingVariablesError(tuple(missing))
    return {name: _text(os.environ[name]) for name in spec.env}


def _text(value: str) -> str:
    """A variable's value for the journal: bytes that are not UTF-8 are replaced."""
    return value.encode(errors="surrogateescape").decode(errors="replace")


def inherited_environment(spec: WorkflowSpec) -> Mapping[str, str]:
    """What commands and scripts inherit: the environment of the process, without the variables of declared secrets.

    It is a view: who reads it sees the environment as it is then, and a definition is bound once for all its runs.
    """
    return _Inherited(spec.secret_variables)


@frozen(eq=False)
class _Inherited(Mapping[str, str]):
    hidden: frozenset[str]

    def __getitem__(self, name: str) -> str:
        if name in self.hidden:
            raise KeyError(name)
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in os.environ if name not in self.hidden)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def secret_source(spec: WorkflowSpec) -> SecretSource:
    """Where the secrets of a definition are read when they are used."""
    return SecretSource(secrets=spec.secrets, folder=spec.folder, environ=os.environ)
