"""The TaskSupervisor: parent of a run's TaskActors. It answers failures with verdicts, and crashes with restarts."""

from __future__ import annotations

from collections.abc import Callable

from actorflow.actors.host import Host
from actorflow.actors.restarts import DEFAULT, RestartPolicy, Restarts
from actorflow.core.commands import Decide
from actorflow.core.events import Event
from actorflow.core.recovery import answer
from actorflow.runtime.messages import AttemptCrashed, Message, SupervisorGaveUp


class TaskSupervisor:
    """What is decided about a failure is pure (`core.recovery`); this is where it is asked, within the same turn."""

    def __init__(
        self,
        host: Host,
        tell: Callable[[Message], None],
        policy: RestartPolicy = DEFAULT,
    ) -> None:
        self._tell = tell
        self._restarts = Restarts(policy, host)

    def decide(self, failed: Decide, now: float) -> tuple[Event, ...]:
        """The verdict on a failed attempt, as the events to commit with it."""
        return answer(failed, now)

    def note_crash(self, at: float, task: str, error: Exception) -> None:
        """An attempt's actor crashed: the attempt is lost and runs again, unless crashes come too thick."""
        try:
            self._restarts.note_crash(error)
        except Exception as gave_up:  # noqa: BLE001 - the crash itself, for the parent to see
            self._tell(SupervisorGaveUp(task, gave_up))
        else:
            self._tell(AttemptCrashed(at, task))
