"""What holds for every command."""

# ruff: noqa: PLC0415 - `--help` and `version` answer without the runtime
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click
from attrs import evolve, frozen

from actorflow.cli.screen import Screen
from actorflow.cli.signals import EarlySignals

if TYPE_CHECKING:
    from actorflow.cli.configuration import Configuration
    from actorflow.spec.model import Trust

STORE_KEY: Final = "actorflow.store"
NO_CONFIG_KEY: Final = "actorflow.no_config"
_CONFIGURATION_KEY: Final = "actorflow.configuration of "


@frozen
class Settings:
    """What a command finds when it begins."""

    screen: Screen
    early: EarlySignals
    folder: str | None = ""  #: whose actorflow.toml counts, empty for the process's own; None: no folder's

    def for_file(self, file: str, trust: Trust = "own") -> Settings:
        """Those of a command about a workflow file: the actorflow.toml beside it counts, unless the file is a stranger's."""
        beside = "" if file == "-" else os.path.dirname(file)  # noqa: PTH120 - any text, judged when it is read
        return evolve(self, folder=beside if trust == "own" else None)

    @property
    def store_flag(self) -> str | None:
        """`--store`, before the command's name or after it; the latter counts."""
        store: str | None = _meta().get(STORE_KEY)
        return store

    @property
    def is_plain(self) -> bool:
        """Whether a command that is typed next, in this folder and without a file, finds the same configuration."""
        return self.folder == "" and not _meta().get(NO_CONFIG_KEY)

    @property
    def configuration(self) -> Configuration:
        """What actorflow.toml says, the folder's and the user's; read once. A warning about them is shown then.

        Raises:
            Elsewhere: with all that is wrong with them.
        """
        from actorflow.cli.configuration import NOTHING
        from actorflow.cli.configured import configured
        from actorflow.cli.faults import problem_text

        meta = _meta()
        if meta.get(NO_CONFIG_KEY):
            return NOTHING
        key = f"{_CONFIGURATION_KEY}{self.folder!r}"
        if key not in meta:
            found = configured(self.folder)
            if found.warnings:
                self.screen.note(problem_text(found.warnings))
            meta[key] = found.configuration
        known: Configuration = meta[key]
        return known


def _meta() -> dict[str, Any]:
    return click.get_current_context().meta
