"""What a run reads of its surroundings when it starts: declared variables, and whether its secrets are there."""

from __future__ import annotations

import os

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


def secret_source(spec: WorkflowSpec) -> SecretSource:
    """Where the secrets of a definition are read when they are used."""
    return SecretSource(secrets=spec.secrets, folder=spec.folder, environ=os.environ)
