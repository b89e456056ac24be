"""Which hooks act in this process, by its environment: ACTORFLOW_ENV chooses, ACTORFLOW_HOOKS switches off."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from actorflow.core.hook_channels import notice_of
from actorflow.core.hook_config import HookEntry
from actorflow.expression.names import did_you_mean
from actorflow.spec.model import HookSpec

__all__ = ["DEFAULT_ENVIRONMENT", "ENVIRONMENT", "HookSwitches", "RunSwitches"]

DEFAULT_ENVIRONMENT: Final = "development"

ENVIRONMENT: Final = "environment"
"""Under this name a run's flags have the environment that it was started in, where its hooks depend on that."""

_ALL_OFF: Final = frozenset({"off", "0", "false", "no"})
_ALL_ON: Final = frozenset({"on", "1", "true", "yes"})
_SHOWN: Final = 20  #: words
_BETWEEN: Final = re.compile(r"[,\s]+")


@frozen
class HookSwitches:
    """What the environment says about hooks."""

    environment: str = DEFAULT_ENVIRONMENT  #: what `environments` of a hook is compared with
    is_off: bool = False  #: whether no hook acts at all
    off: frozenset[str] = frozenset()  #: names, paths and actions of hooks that do not act

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> HookSwitches:
        """Read ACTORFLOW_ENV, and ACTORFLOW_HOOKS: `off`, or a list of hooks that are off, by commas or spaces.

        A hook is listed by its name, its path or its action, a channel also by those of its notice. A word for yes
        switches nothing off, a word for no all.
        """
        listed = environ.get("ACTORFLOW_HOOKS", "").strip()
        word = listed.casefold()
        return cls(
            environ.get("ACTORFLOW_ENV", "").strip() or DEFAULT_ENVIRONMENT,
            is_off=word in _ALL_OFF,
            off=frozenset()
            if word in _ALL_OFF | _ALL_ON
            else frozenset(filter(None, _BETWEEN.split(listed))),
        )

    def skip_reason(self, spec: HookSpec, path: str) -> str:
        """Why a hook does not act here; empty if it does."""
        if self.is_off or self.off & {spec.name, path, spec.action, *notice_of(path)}:
            return "switched off by ACTORFLOW_HOOKS"
        if spec.environments and self.environment not in spec.environments:
            return f"not for the environment {self.environment}"
        return ""

    def slips(self, entries: Iterable[HookEntry], actions: Container[str]) -> str:
        """A sentence on what is listed as off and is neither a hook nor an action; empty if there is nothing of the kind.

        Args:
            entries: the hooks that there are; where there are none, anything may be listed.
            actions: that there are, whether one of the hooks has it or not.
        """
        known = _words(entries)
        strangers = sorted(word for word in self.off if word not in known and word not in actions)
        if not strangers or not known:
            return ""
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        return (
            f"ACTORFLOW_HOOKS: nothing is switched off by {_guesses(strangers[:_SHOWN], known)}, as no hook of the run "
            f"is listed so; there are {', '.join(known[:_SHOWN])}{more}, and off is for all of them"
        )

    def for_run(self, environment: str | None) -> RunSwitches:
        """What holds for a run that was started in an environment; None: it does not matter to it."""
        return RunSwitches(self, environment or self.environment)


def _words(entries: Iterable[HookEntry]) -> Sequence[str]:
    """By what hooks can be listed: their names, those without one by their paths; then all paths, then actions."""
    found = list({entry.path: entry for entry in entries}.values())
    first = [entry.spec.name or entry.path for entry in found]
    then = [entry.path for entry in found] + [entry.spec.action for entry in found]
    return list(dict.fromkeys((*first, *then)))


def _guesses(strangers: Sequence[str], known: Sequence[str]) -> str:
    """The words, each with the one that may be meant."""
    hints = [did_you_mean(word, known).removeprefix("; ") for word in strangers]
    return ", ".join(
        f"{word!r} ({hint})" if hint else repr(word) for word, hint in zip(strangers, hints, strict=True)
    )


@frozen
class RunSwitches:
    """What the environment of this process, and that in which a run was started, say about its hooks."""

    here: HookSwitches
    environment: str  #: of the run: it chooses, wherever the run goes on

    def skip_reason(self, spec: HookSpec, path: str) -> str:
        """Why a hook does not act for this run, whatever process delivers; empty if it does."""
        return evolve(self.here, environment=self.environment, is_off=False, off=frozenset()).skip_reason(
            spec, path
        )

    def hold_reason(self, spec: HookSpec, path: str) -> str:
        """Why this process delivers nothing to a hook; empty if it does."""
        if spec.environments and self.here.environment != self.environment:
            return f"for the environment {self.environment}, and this process is in {self.here.environment}"
        return evolve(self.here, environment=self.environment).skip_reason(
            evolve(spec, environments=()), path
        )
