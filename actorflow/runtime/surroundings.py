"""What a WorkflowActor sees of the runtime around it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Context
from typing import Protocol

from actorflow.core.commands import RunHook
from actorflow.core.events import Event
from actorflow.journal.output_log import OutputLog
from actorflow.runtime.breaker_talk import Breakers
from actorflow.runtime.clock import RunClock
from actorflow.runtime.messages import HookKey
from actorflow.runtime.outbox import Ledgered
from actorflow.runtime.staff import Staff
from actorflow.runtime.task_actor import Performers
from actorflow.secrecy.run_secrets import RunSecrets


class RunSurroundings(Ledgered, Breakers, Protocol):
    """What a WorkflowActor knows of its run, and speaks to; see `LiveRun`."""

    @property
    def staff(self) -> Staff:
        """The actors that serve all runs."""
        ...

    @property
    def clock(self) -> RunClock:
        """The run's clock."""
        ...

    @property
    def context(self) -> Context:
        """The context variables that attempts see."""
        ...

    @property
    def secrets(self) -> RunSecrets:
        """What its agents and hooks are given, and what is hidden in all that they tell."""
        ...

    @property
    def performers(self) -> Performers:
        """Who performs attempts."""
        ...

    @property
    def outputs(self) -> OutputLog:
        """Where lines go that their processes print."""
        ...

    def over(self, error: Exception | None) -> None:
        """The actor takes no more turns: the run is over, or this keeps it from going on."""
        ...

    def kill_processes(self) -> None:
        """KILL the processes of the run's attempts and hooks at once."""
        ...

    def requests_taken(self) -> None:
        """What was asked of the actor is out of its mailbox: there is room again."""
        ...

    def kept(self, events: Sequence[Event], seq: int) -> None:
        """A batch is in the journal."""
        ...

    def run_hook(self, command: RunHook) -> None:
        """To the HookActor; a HookFinished or HookGone answers."""
        ...

    def cancel_hook(self, place: HookKey) -> None:
        """End a blocking hook that runs; a HookFinished answers."""
        ...

    def abandon_hooks(self) -> None:
        """End the blocking hooks that run; a HookGone answers for each."""
        ...
