"""Log records without secrets: what an agent or a hook said comes into them in many ways."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final
from weakref import WeakSet

from actorflow.secrecy.run_secrets import RunSecrets

__all__ = ["SECRETS_IN_LOGS", "SecretsInLogs"]

_LOGGERS: Final = ("actorflow", *(f"actorflow.{part}" for part in ("runtime", "journal", "hooks", "notify")))
_FORMATTER: Final = logging.Formatter()
_FIELDS: Final = "actorflow"  #: attribute of a record that holds what the log action was given


class SecretsInLogs(logging.Filter):
    """Takes the secrets of all runs of this process out of records: messages, tracebacks and fields. It drops none.

    A logger asks its filters for its own records alone, a handler for all that reach it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runs: WeakSet[RunSecrets] = WeakSet()
        self._lock = threading.Lock()

    def follow(self, secrets: RunSecrets) -> None:
        """Hide these, too, as long as somebody holds them."""
        with self._lock:
            self._runs.add(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, if there is something to hide in it."""
        for secrets in self._followed() if self._runs else ():
            _hide(record, secrets)
        return True

    def _followed(self) -> tuple[RunSecrets, ...]:
        with self._lock:
            return tuple(self._runs)


def _hide(record: logging.LogRecord, secrets: RunSecrets) -> None:
    message = _message(record)
    told = secrets.hidden(message)
    if told != message:
        record.msg, record.args = told, None
    if record.exc_info and not record.exc_text:
        record.exc_text = _FORMATTER.formatException(record.exc_info)
    for name in ("exc_text", "stack_info", _FIELDS):
        said: Any = record.__dict__.get(name)
        if said:
            record.__dict__[name] = secrets.hidden(said)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - its arguments are other people's: it is shown as it stands, or not at all
        return str(record.msg)


SECRETS_IN_LOGS: Final = SecretsInLogs()
"""Asked for all records of ours."""

for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(SECRETS_IN_LOGS)
