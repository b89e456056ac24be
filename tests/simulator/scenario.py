"""What happens in a world: everything that a seed decides before it begins, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from actorflow.testing.agents import AgentStep
from actorflow.testing.crashes import CrashPoint
from actorflow.testing.http import FakeAnswer
from actorflow.testing.journal import CommitFault
from actorflow.testing.processes import Exits

Mode: TypeAlias = Literal["safety", "liveness"]
"""`safety`: faults come to the end, invariants hold. `liveness`: faults stop, and then everything ends within a bound."""

ActKind: TypeAlias = Literal[
    "cancel",
    "pause",
    "resume",
    "signal",
    "retry_letter",
    "retry_delivery",
    "drain",
    "leave",
    "kill",
    "stop",
    "set_wall",
]
"""What somebody does at a time.

- `cancel`, `pause`, `resume`, `signal`, `retry_letter`, `retry_delivery`, `drain`: an operator, in the process `by`, of a run.
- `leave`: the program of process `by` leaves its runtime, as after SIGTERM: its runs are paused.
- `kill`: process `by` is killed. `stop`: it is stopped for `seconds`; whoever looks meanwhile takes over after 30 s.
- `set_wall`: the wall clock is set by `seconds`.
"""


@frozen
class Start:
    """A run to be started, in the first process that is there at its time."""

    run_id: str
    definition: int  #: index into `Scenario.definitions`
    at_s: float = 0.0
    inputs: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class Act:
    """Something that is done at a time of the world."""

    at_s: float
    kind: ActKind
    run_id: str = ""
    by: int = 1  #: the process, counted as they begin; one that is not there any more does nothing
    seconds: float = 0.0
    name: str = ""  #: of a signal


@frozen
class Life:
    """A process: it begins, starts or takes up what there is, and stays until all is at rest, or it dies."""

    at_s: float = 0.0
    crash: CrashPoint | None = None
    faults: Sequence[CommitFault] = ()
    takes_over: bool = False  #: takes the runs of a stopped process away


@frozen
class Scenario:
    """A world's story. When the last of its lives has died, one more without faults takes up what is left, in `liveness`."""

    seed: int
    mode: Mode
    definitions: Sequence[Mapping[str, Any]]  #: documents, for `load_dict(…, trust="own")`
    starts: Sequence[Start]
    lives: Sequence[Life]
    acts: Sequence[Act] = ()
    agents: Mapping[str, Sequence[AgentStep]] = field(
        factory=dict[str, Sequence[AgentStep]]
    )  #: by agent name
    answers: Sequence[
        FakeAnswer
    ] = ()  #: of the one sink, https://hooks.example.com/, in turn for each delivery; then 200
    exits: Sequence[Exits] = ()  #: of commands, in turn; then status 0
