"""One run of a workflow through a world: with its crashes, to its end, and what came of it.

```python
def test_an_order_is_paid_whatever_crashes():
    plain = simulate(load("order.yaml"), inputs={"order": 7}, agents={"bank": bank})
    assert plain.result.status == "success"
    for crashed in plain.crashed_everywhere():
        assert crashed.ending == plain.ending
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, evolve, field, frozen

from actorflow.core.events import Event
from actorflow.core.hook_context import HookContext
from actorflow.errors import RunNotFoundError, StoreFailed
from actorflow.hooks.registry import HookRegistry
from actorflow.journal.protocol import DeadLetter, Delivery
from actorflow.processes import ProcessRequest
from actorflow.runtime.bindings import Agent
from actorflow.runtime.result import RunResult
from actorflow.spec.model import HookEvent, WorkflowSpec
from actorflow.testing.crashes import CrashPoint, crash_at
from actorflow.testing.http import Received
from actorflow.testing.journal import CommitFault
from actorflow.testing.process import Process
from actorflow.testing.recorder import HookRecorder
from actorflow.testing.world import Body, World

__all__ = ["RUN_ID", "Simulated", "simulate"]

RUN_ID: Final = "r-1"
"""The id of the run of a simulation."""

_PATIENCE_S: Final = 7 * 86_400.0
"""Virtual seconds in which hooks may get what they are owed: as long as it takes."""

_ENDED: Final = frozenset({"success", "failed", "canceled"})


def _nothing(_: World) -> None:
    """Targets answer 200, commands exit with 0."""


@frozen(kw_only=True)
class _Plan:
    spec: WorkflowSpec
    inputs: Mapping[str, Any]
    agents: Mapping[str, Agent]
    arrange: Callable[[World], None]
    hooks: HookRegistry | None
    listen: Sequence[HookEvent]
    allow_hosts: Sequence[str]
    crashes: Sequence[CrashPoint]
    faults: Sequence[CommitFault]
    seed: object


@frozen(kw_only=True, eq=False)
class Simulated:
    """What became of a run, and what reached anybody meanwhile. Times are seconds since the beginning of the world."""

    result: RunResult  #: as the last process has it
    events: Sequence[Event]
    took_s: float  #: virtual seconds until all of it was at rest, hooks included
    bodies: Sequence[Body]  #: calls of agents, in the order of their beginning
    deliveries: Sequence[Delivery]  #: settled, to async hooks
    dead_letters: Sequence[DeadLetter]
    received: Sequence[Received]  #: requests that reached their target
    commands: Sequence[ProcessRequest]  #: that were run
    told: Sequence[HookContext]  #: of the events in `listen`
    commit_counts: Sequence[int]  #: of each process
    trace: Sequence[str]  #: what happened, a line each
    trace_hash: str  #: the same for the same seed
    _plan: _Plan = field(repr=False, alias="plan")

    @property
    def ending(self) -> Mapping[str, Any]:
        """All of the result that crashes must not change: not when things were, and how often they were cut off."""
        facts = asdict(self.result)
        for each in (facts, *facts["tasks"].values()):
            for name in ("started_at", "ended_at", "losses"):
                each.pop(name, None)
        return facts

    def crash_points(self) -> Iterator[CrashPoint]:
        """Before and after each commit of the first process."""
        for commit in range(1, self.commit_counts[0] + 1):
            yield crash_at(commit, "before")
            yield crash_at(commit, "after")

    def crashed(self, *crashes: CrashPoint) -> Simulated:
        """The same again, with processes that die there: the first at the first point, and so on, and one that does not."""
        return _simulated(evolve(self._plan, crashes=crashes))

    def crashed_everywhere(self) -> Iterator[Simulated]:
        """The same again for each crash point, one after the other."""
        for point in self.crash_points():
            yield self.crashed(point)


def simulate(
    spec: WorkflowSpec,
    *,
    inputs: Mapping[str, Any] | None = None,
    agents: Mapping[str, Agent] | None = None,
    arrange: Callable[[World], None] = _nothing,
    hooks: HookRegistry | None = None,
    listen: Sequence[HookEvent] = (),
    allow_hosts: Sequence[str] = (),
    crashes: Sequence[CrashPoint] = (),
    faults: Sequence[CommitFault] = (),
    seed: object = 0,
) -> Simulated:
    """Run a workflow to its end in a world of its own, in virtual time.

    A process starts the run; when it dies, another goes on with it, until one brings it to its end.

    Args:
        spec: what `load` gives.
        inputs: of the run.
        agents: as for `Runtime`; such as `ScriptedAgent`. Those that are async must run upon trio. What they do by
            themselves is real: they should wait with `anyio.sleep` and reach nothing outside.
        arrange: told the world before anything happens, to say what its targets and commands do.
        hooks: actions of the program.
        listen: events of which `Simulated.told` is to keep what functions of the program are told.
        allow_hosts: as for `Runtime`.
        crashes: where processes die: the first at the first point, the next at the second, and so on.
        faults: what goes wrong with commits of the first process.
        seed: of all that is left to chance.

    Raises:
        ActorflowError: as `Runtime.run` does. A fault that ends a process is none: the next one goes on.
    """
    return _simulated(
        _Plan(
            spec=spec,
            inputs=inputs or {},
            agents=agents or {},
            arrange=arrange,
            hooks=hooks,
            listen=listen,
            allow_hosts=allow_hosts,
            crashes=crashes,
            faults=faults,
            seed=seed,
        )
    )


def _simulated(plan: _Plan) -> Simulated:
    with World(seed=plan.seed) as world:
        plan.arrange(world)
        recorder = HookRecorder()
        result, took_s = world.run(lambda world: _story(world, plan, recorder))
        with world.journal() as journal:
            return Simulated(
                result=result,
                events=[event for _, event in journal.events(RUN_ID)],
                took_s=took_s,
                bodies=world.bodies,
                deliveries=journal.deliveries(RUN_ID),
                dead_letters=journal.dead_letters(),
                received=world.http.received,
                commands=world.commands.ran,
                told=recorder.told,
                commit_counts=[process.commit_count for process in world.processes],
                trace=world.trace(),
                trace_hash=world.trace_hash(),
                plan=plan,
            )


async def _story(world: World, plan: _Plan, recorder: HookRecorder) -> tuple[RunResult, float]:
    crashes, faults = list(plan.crashes), plan.faults
    while True:
        crash = crashes.pop(0) if crashes else None
        result: RunResult | None = None
        try:
            async with world.process(
                agents=plan.agents,
                hooks=plan.hooks,
                crash=crash,
                faults=faults,
                drain_timeout_s=_PATIENCE_S,
                allow_hosts=plan.allow_hosts,
            ) as process:
                if plan.listen:
                    recorder.listen(process.runtime, *plan.listen)
                result = await _brought_on(process, plan)
        except StoreFailed:
            if not faults:
                raise
        if result is not None:
            return result, world.now
        faults = ()


async def _brought_on(process: Process, plan: _Plan) -> RunResult:
    """Start the run, or go on with what is left of it."""
    rt = process.runtime
    try:
        row = (await rt.get(RUN_ID)).status
    except RunNotFoundError:
        handle = await rt.start(plan.spec, inputs=plan.inputs, run_id=RUN_ID)
        return await handle.settled()
    if row in _ENDED:
        return await rt.drain_hooks(RUN_ID)
    return await (await rt.start_resumed(RUN_ID)).settled()
