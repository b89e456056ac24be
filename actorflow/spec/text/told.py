"""Problems as they are told, before they have a file and its line of source."""

from __future__ import annotations

from attrs import frozen

from actorflow.spec.text.nodes import Mark
from actorflow.spec.text.scene import Scene, shown

__all__ = ["Told", "anything", "wrong"]


@frozen
class Told:
    """A problem as it is told."""

    code: str
    mark: Mark
    message: str
    hint: str = ""


def wrong(mark: Mark, message: str, hint: str) -> Told:
    """Text that is not YAML."""
    return Told("E110", mark, message, hint)


def anything(scene: Scene) -> Told:
    """What is true of any text that cannot be read."""
    message = (
        f"YAML cannot be read from {shown(scene.found_on)} on"
        if scene.found_on
        else "YAML cannot be read here"
    )
    hint = "look here and in the line above for a quote, bracket, colon, space or indentation that is missing"
    return wrong(scene.mark, message, hint)
