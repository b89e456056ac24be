"""What hooks have said that were given something sensitive: kept off the screen, but for the words that are ours.

What such a hook has printed, raised or returned may have anything of it in some form, so none of it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from actorflow.cli.sensitive import may_tell
from actorflow.core.hook_config import HookEntry
from actorflow.spec.model import WorkflowSpec
from actorflow.spec.sensitive import HIDDEN, sensitive_tasks

__all__ = ["HookHiding", "shown_reason", "shown_record"]


class HookHiding:
    """Which hooks of a definition may tell what is sensitive, looked up once for each hook and task."""

    def __init__(self, spec: WorkflowSpec) -> None:
        declared = (spec.inputs or {}).values()
        self._has_any = any(each.sensitive for each in declared) or bool(sensitive_tasks(spec))
        self._spec = spec
        self._known: dict[tuple[str, str], bool] = {}

    def hides(self, entry: HookEntry | None, task: str) -> bool:
        """Whether nothing is shown of what a hook has said about an event.

        Args:
            entry: the hook; None: it is gone from the definition, and so may have been given anything.
            task: that the event is about; empty: the run.
        """
        if not self._has_any:
            return False
        if entry is None:
            return True
        key = (entry.path, task)
        if key not in self._known:
            self._known[key] = may_tell(self._spec, entry.spec, task)
        return self._known[key]


def shown_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of a hook, or of a try, as it is shown: facts of ours, and no word of its own."""
    return {key: _SHOWN.get(key, _hidden)(value) for key, value in record.items()}


def shown_reason(text: str) -> str:
    """Why something failed or waits, as far as we have said so."""
    ours = _OURS.match(text)
    if ours is None:
        return HIDDEN if text else ""
    return ours[0] if ours.end() == len(text) else f"{ours[0]}: {HIDDEN}"


def _hidden(value: Any) -> Any:
    return HIDDEN if value else value


def _as_it_is(value: Any) -> Any:
    return value


def _shown_tries(tries: Any) -> list[dict[str, Any]]:
    return [shown_record(one) for one in cast("list[Mapping[str, Any]]", tries)]


_OURS: Final = re.compile(
    r"exited with status \d+|killed by (?:SIG\w+|signal \d+)|not done after \S+ s|older than \S+ s|E4\d\d\b"
    r"|the circuit breaker\b|switched off by ACTORFLOW_HOOKS|for the environment .*"
    r"|this process has no (?:action|function) '[^']*'|the environment variable \w+ is not set"
)
"""How the reasons begin that are the same whatever a hook was given."""

_SHOWN: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(
        (
            *(
                "number",
                "at",
                "duration_s",
                "status",
                "exit_status",
                "truncated",
                "try_count",
                "due_at",
                "run_id",
            ),
            *("http_status", "bytes_sent", "batch", "code"),
        ),
        _as_it_is,
    ),
    **dict.fromkeys(("summary", "reason", "error"), shown_reason),
    "record": shown_record,
    "tries": _shown_tries,
}
"""How each fact is shown; all others are hidden."""
