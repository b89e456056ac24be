"""The command line: `actorflow run order.yaml`, and what goes with it."""

from __future__ import annotations

from actorflow.cli.entry import main

__all__ = ["main"]
