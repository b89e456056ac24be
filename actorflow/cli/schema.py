"""`actorflow schema`: the JSON Schema of workflow files."""

from __future__ import annotations

from actorflow.cli.screen import Screen
from actorflow.cli.statuses import Exit
from actorflow.spec.surface.schema import workflow_schema


def show_schema(screen: Screen) -> int:
    """Print the schema: the document is the result, with `--json` and without."""
    screen.document(workflow_schema())
    return Exit.SUCCESS
