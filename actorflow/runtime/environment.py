"""What a run reads of its surroundings when it starts: declared variables, and whether its secrets are there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from actorflow.core.hook_config import HookConfig
from actorflow.core.plan import Plan, plan_of
from actorflow.errors import MissingVariablesError
from actorflow.expression import SecretName
from actorflow.hooks.switches import HookSwitches
from actorflow.secrecy.logs import SECRETS_IN_LOGS
from actorflow.secrecy.run_secrets import RunSecrets
from actorflow.secrecy.source import SecretSource
from actorflow.spec.model import WorkflowSpec
from actorflow.survivors import COOKIE_VARIABLE


def read_environment(spec: WorkflowSpec, switches: HookSwitches) -> dict[str, str]:
    """Read the variables under `env:`, which the run will see as they are now; and look for each secret, without keeping it.

    Args:
        spec: the definition.
        switches: say which hooks act here: what only others need may be missing.

    Raises:
        MissingVariablesError: with all that is not there.
    """
    missing = [f"the environment variable {name} is not set" for name in spec.env if name not in os.environ]
    plan = plan_of(spec)
    wanted = (*plan.secret_names, *_wanted_by_hooks(plan.hooks, switches))
    missing.extend(_source_of(spec).missing(wanted))
    if missing:
        raise MissingVariablesError(tuple(missing))
    return {name: _text(os.environ[name]) for name in spec.env}


def _wanted_by_hooks(hooks: HookConfig, switches: HookSwitches) -> Iterator[SecretName]:
    for entry in hooks.entries:
        if not (switches.skip_reason(entry.spec, entry.path) or entry.spec.enabled == "false"):
            yield from entry.secret_names


def _text(value: str) -> str:
    """A variable's value for the journal: bytes that are not UTF-8 are replaced."""
    return value.encode(errors="surrogateescape").decode(errors="replace")


def inherited_environment(spec: WorkflowSpec) -> Mapping[str, str]:
    """What commands, scripts and hooks inherit of the environment of this process.

    Under `trust: own` all of it, under `data` the few variables that say who and where they are: the definition is a
    stranger's, though the commands are not. Never the variables of declared secrets, and never those that we set for an
    attempt or a hook: if this process is one itself, they are another run's.

    It is a view: who reads it sees the environment as it is then, and a definition is bound once for all its runs.
    """
    return _Inherited(spec.secret_variables | SET_BY_US, is_all=spec.trust == "own")


SET_BY_US: Final = frozenset(
    {
        COOKIE_VARIABLE,
        *(
            f"ACTORFLOW_{name}"
            for name in (
                *("RUN_ID", "TASK", "ATTEMPT", "LOSS", "IDEMPOTENCY_KEY", "INPUT", "OUTPUT"),
                *("GENERATION", "EVENT", "STATUS", "DELIVERY_ID"),
            )
        ),
    }
)
"""Set for each attempt or hook anew; ACTORFLOW_STORE and its like are settings, and are inherited as any other."""

_HARMLESS: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM"}
)
_HARMLESS_PREFIX: Final = "LC_"


@frozen(eq=False)
class _Inherited(Mapping[str, str]):
    hidden: frozenset[str]
    is_all: bool

    def __getitem__(self, name: str) -> str:
        if not self._has(name):
            raise KeyError(name)
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in os.environ if self._has(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _has(self, name: str) -> bool:
        is_shown = self.is_all or name in _HARMLESS or name.startswith(_HARMLESS_PREFIX)
        return is_shown and name not in self.hidden


def run_secrets(plan: Plan) -> RunSecrets:
    """The secrets of a run of this definition, which our logs hide as well; none is read yet.

    The variables that even a stranger's commands inherit are no secrets, unless they are declared.
    """
    names = (*plan.secret_names, *plan.hooks.secret_names)
    if not names and not plan.spec.secrets:
        return _NO_SECRETS
    secrets = RunSecrets(_source_of(plan.spec), names, _HARMLESS)
    if secrets.has_any:
        SECRETS_IN_LOGS.follow(secrets)
    return secrets


_NO_SECRETS: Final = RunSecrets(SecretSource(secrets={}, folder="/", environ=os.environ))
"""Of all runs whose definitions name none."""


def _source_of(spec: WorkflowSpec) -> SecretSource:
    return SecretSource(secrets=spec.secrets, folder=spec.folder, environ=os.environ)
