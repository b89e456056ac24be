"""What a world has come to, as it is seen from outside: what the store holds, and what reached anybody.

Times are seconds since the world began, but for those of the store, which are epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from actorflow.core.events import Event
from actorflow.journal.protocol import DeadLetter, Delivery, PendingDelivery, RunRow
from actorflow.runtime.result import RunResult
from actorflow.spec.model import WorkflowSpec
from actorflow.testing.http import Received
from actorflow.testing.world import Body, Commit, World
from tests.simulator.scenario import Scenario


@frozen(eq=False)
class Told:
    """A result that a caller was given, or an error, by a process that was alive then."""

    at: float
    process: int
    what: str  #: the kind of act that asked, or `run`
    run_id: str
    result: RunResult | None
    error: Exception | None


@frozen(eq=False)
class KeptRun:
    """What the store holds of a run at the end."""

    run_id: str
    spec: WorkflowSpec | None  #: None: a hook has started it
    row: RunRow
    events: Sequence[Event]  #: event n has number n + 1
    deliveries: Sequence[Delivery]
    pending: Sequence[PendingDelivery]


@frozen(eq=False)
class Observed:
    """A world at its end."""

    scenario: Scenario
    runs: Mapping[str, KeptRun]  #: those that a commit has created
    letters: Sequence[DeadLetter]
    commits: Sequence[Commit]  #: in order
    bodies: Sequence[Body]  #: in the order of their beginning
    received: Sequence[Received]  #: requests that reached the sink
    told: Sequence[Told]
    hook_calls: Sequence[
        tuple[float, int, str, str]
    ]  #: time, process, delivery id, event: calls of the program's functions
    output_seen: (
        str  #: all that was logged, told in errors, or written to files of the store, to look for secrets in
    )
    ended_at: float
    world: World  #: gone by now; its trace is there: `world.trace()`, `world.trace_hash()`
