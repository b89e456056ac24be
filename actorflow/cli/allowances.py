"""What a definition may reach and name: by the words of a command, and by actorflow.toml."""

from __future__ import annotations

import os

from attrs import frozen

from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.egress.guard import Guard
from actorflow.errors import Problem, SpecError
from actorflow.runtime.egress import guard_of
from actorflow.spec.loading import Terms
from actorflow.spec.model import Trust

__all__ = ["Allowances", "allowed_hosts", "guard_for", "terms_for"]


@frozen(kw_only=True)
class Allowances:
    """What the words of a command allow."""

    hosts: tuple[str, ...] = ()  #: `--allow-host`
    env: tuple[str, ...] = ()  #: `--allow-env`
    no_commands: bool = False


def allowed_hosts(settings: Settings, given: Allowances) -> tuple[str, ...]:
    """The entries for a runtime, which adds those of ACTORFLOW_ALLOW_HOSTS itself.

    Raises:
        Elsewhere: an entry of that variable cannot be read, or actorflow.toml is wrong.
    """
    entries = tuple(dict.fromkeys((*given.hosts, *settings.configuration.allow_hosts)))
    _guard(entries)
    return entries


def guard_for(settings: Settings, given: Allowances) -> Guard:
    """What requests are judged by; raises as `allowed_hosts` does."""
    return _guard(allowed_hosts(settings, given))


def terms_for(settings: Settings, trust: Trust, given: Allowances) -> Terms:
    """On which terms a file is loaded.

    A list of variables holds for any file as soon as there is one; a file that is data may name hosts as soon as there is
    a list to judge them by.
    """
    listed = settings.configuration.allow_env
    names = frozenset((*given.env, *(listed or ()))) if given.env or listed is not None else None
    if trust == "own":
        return Terms(trust, names, no_commands=given.no_commands)
    may_reach = bool(guard_for(settings, given).allowed)
    return Terms(trust, names, may_reach, no_commands=given.no_commands)


def _guard(entries: tuple[str, ...]) -> Guard:
    try:
        return guard_of(entries, os.environ)
    except ValueError as error:  # the other entries were looked at where they stand
        raise Elsewhere(SpecError((Problem("E612", str(error)),)), Exit.CONFIG) from error
