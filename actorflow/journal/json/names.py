"""What the files in the folder of a JSON store are called."""

from __future__ import annotations

from typing import Final

EVENTS: Final = ".events.jsonl"
"""Ends the name of a run's file of lines."""

STORE_FILE: Final = "store.jsonl"
LOCK_FILE: Final = "store.lock"
MARK_FILE: Final = "store.mark"
INBOX: Final = "inbox"
STATES: Final = "states"
LOGS: Final = "logs"
