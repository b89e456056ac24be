"""What a runtime and its hooks log, as lines on stderr between those of the tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from actorflow.cli.layout import as_json
from actorflow.cli.screen import Screen, as_line
from actorflow.secrecy.logs import SECRETS_IN_LOGS

__all__ = ["records_shown"]

_LEVELS: Final[Mapping[str, int]] = {
    "actorflow": logging.WARNING,
    "actorflow.hooks": logging.INFO,
    "actorflow.notify": logging.INFO,
}
"""From which level on a logger's records are shown; errors alone where it is to be quiet."""


@contextmanager
def records_shown(screen: Screen) -> Generator[None]:
    """Show what is worth a warning, and what hooks log and give notice of."""
    loggers = {logging.getLogger(name): level for name, level in _LEVELS.items()}
    before = {logger: logger.level for logger in loggers}
    handler = _ScreenHandler(screen)
    root = logging.getLogger("actorflow")  # those of hooks hand their records on to it
    root.addHandler(handler)
    for logger, level in loggers.items():
        logger.setLevel(logging.ERROR if screen.is_quiet else level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level in before.items():
            logger.setLevel(level)


class _ScreenHandler(logging.Handler):
    """Writes records to stderr, each as one line."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self.addFilter(SECRETS_IN_LOGS)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; one that can't be formatted is shown as it stands."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        self._screen.error(as_line(_LINES.get(record.name, _plain)(record, message)))


def _plain(_: logging.LogRecord, message: str) -> str:
    return message


def _logged(record: logging.LogRecord, message: str) -> str:
    """What a hook logs, with its level and its fields; other records of that logger are ours."""
    facts: Mapping[str, Any] | None = getattr(record, "actorflow", None)
    if facts is None:
        return message
    fields = f" {as_json(facts['fields'])}" if facts.get("fields") else ""
    return f"  log {record.levelname.lower()}: {message}{fields}"


def _noticed(record: logging.LogRecord, message: str) -> str:
    """A notice, with its title, and its priority where that is no usual one."""
    title, priority = getattr(record, "title", ""), getattr(record, "priority", "normal")
    urgency = "" if priority == "normal" else f" ({priority})"
    return f"  notice{urgency}: {f'{title}: ' if title else ''}{message}"


_LINES: Final[Mapping[str, Callable[[logging.LogRecord, str], str]]] = {
    "actorflow.hooks": _logged,
    "actorflow.notify": _noticed,
}
