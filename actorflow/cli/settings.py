"""What holds for every command."""

from __future__ import annotations

from typing import Final

import click
from attrs import frozen

from actorflow.cli.screen import Screen
from actorflow.cli.signals import EarlySignals

STORE_KEY: Final = "actorflow.store"


@frozen
class Settings:
    """What a command finds when it begins."""

    screen: Screen
    early: EarlySignals

    @property
    def store_option(self) -> str | None:
        """`--store`, before the command's name or after it; the latter counts."""
        store: str | None = click.get_current_context().meta.get(STORE_KEY)
        return store
