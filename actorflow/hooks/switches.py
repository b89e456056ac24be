"""Which hooks act in this process, by its environment: ACTORFLOW_ENV chooses, ACTORFLOW_HOOKS switches off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

from actorflow.spec.model import HookSpec

__all__ = ["DEFAULT_ENVIRONMENT", "ENVIRONMENT", "HookSwitches", "RunSwitches"]

DEFAULT_ENVIRONMENT: Final = "development"

ENVIRONMENT: Final = "environment"
"""Under this name a run's flags have the environment that it was started in, where its hooks depend on that."""

_ALL_OFF: Final = frozenset({"off", "0", "false", "no"})
_ALL_ON: Final = frozenset({"on", "1", "true", "yes"})
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

        A hook is listed by its name, its path or its action. A word for yes switches nothing off, a word for no all.
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
        if self.is_off or self.off & {spec.name, path, spec.action}:
            return "switched off by ACTORFLOW_HOOKS"
        if spec.environments and self.environment not in spec.environments:
            return f"not for the environment {self.environment}"
        return ""

    def for_run(self, environment: str | None) -> RunSwitches:
        """What holds for a run that was started in an environment; None: it does not matter to it."""
        return RunSwitches(self, environment or self.environment)


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
