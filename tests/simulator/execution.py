"""A scenario happens: its processes live and die, its operators act, and all that reaches anybody is written down."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Final, TypeVar

import anyio
import orjson
import trio

from actorflow import HookContext, RunHandle, RunResult, WorkflowSpec, load_dict
from actorflow.errors import ActorflowError, RunExistsError, StoreFailed
from actorflow.journal.protocol import CreateRun
from actorflow.testing.agents import ScriptedAgent
from actorflow.testing.http import FakeHttp, Replies
from actorflow.testing.process import Process
from actorflow.testing.processes import Exits, FakeProcesses
from actorflow.testing.world import World
from tests.simulator.observed import KeptRun, Observed, Told
from tests.simulator.scenario import Act, Life, Scenario, Start

T = TypeVar("T")

SINK: Final = "https://hooks.example.com/"
"""Where webhooks of scenarios go."""

SECRET_NAME: Final = "SIMULATED_SECRET"
SECRET: Final = "s3cret-of-the-simulator"
"""What the environment variable of that name holds."""

LAST_S: Final = 100_000.0
"""A world that is not at rest by then never will be."""

TOLD_EVENTS: Final = ("task_finished", "workflow_finished")
"""Of these a function of the program is told, in each process."""

LOOK_S: Final = 16.0
"""Between two looks at a process that is stopped."""

STALE_S: Final = 31.0
"""When a stopped process may be taken over."""


class NotAtRest(Exception):
    """Raised where something waits for ever."""


def perform(scenario: Scenario) -> Observed:
    """Have a scenario happen, and look at what came of it.

    Raises:
        NotAtRest: something in it waits for ever.
        Exception: what no caller of the library should ever see.
    """
    http, commands = FakeHttp(), FakeProcesses()
    http.on(SINK, *scenario.answers, Replies())
    commands.on("", *scenario.exits, Exits())
    with _secret(), _logged() as logged, World(seed=scenario.seed, http=http, commands=commands) as world:
        story = _Story(world, scenario)
        world.run(story.happen)
        return story.observed(http, logged)


class _Story:
    def __init__(self, world: World, scenario: Scenario) -> None:
        self.world, self.scenario = world, scenario
        self.specs = [_loaded(orjson.dumps(document)) for document in scenario.definitions]
        self.agents = {name: ScriptedAgent(*steps) for name, steps in scenario.agents.items()}
        self.told: list[Told] = []
        self.hook_calls: list[tuple[float, int, str, str]] = []
        self.leaving: dict[int, anyio.Event] = {}
        self.acts_ahead: dict[int, int] = {}  #: that are not done yet, by the process that they are done in
        self.ended_at = 0.0
        self.ended_count = 0  #: of processes
        self.stirred = anyio.Event()
        self.quiet_at = max(
            [0.0, *(act.at_s + act.seconds for act in scenario.acts), *(s.at_s for s in scenario.starts)]
        )

    async def happen(self, world: World) -> None:
        with anyio.move_on_after(LAST_S) as patience:
            async with anyio.create_task_group() as group:
                for act in self.scenario.acts:
                    if act.kind == "set_wall":
                        group.start_soon(self._set_wall, act)
                for life in self.scenario.lives:
                    group.start_soon(self._live, life)
            while self.scenario.mode == "liveness":
                await self._live(Life(at_s=world.now, takes_over=True))
                if not world.processes[-1].is_dead:  # of an agent that takes it down
                    break
        if patience.cancelled_caught:
            raise NotAtRest(f"something waits for ever: {self._what_waits()}")
        self.ended_at = world.now

    def _what_waits(self) -> str:
        return ", ".join(
            f"process {each.number}" for each in self.world.processes if not (each.is_dead or each.is_gone)
        )

    async def _set_wall(self, act: Act) -> None:
        await trio.sleep_until(act.at_s)
        self.world.set_wall(act.seconds)

    async def _live(self, life: Life) -> None:
        """A process, from its beginning to its end or death."""
        await trio.sleep_until(life.at_s)
        try:
            async with self.world.process(
                agents=self.agents, crash=life.crash, faults=life.faults, allow_hosts=[SINK]
            ) as process:
                number = process.number
                self.leaving[number] = anyio.Event()
                for event in TOLD_EVENTS:
                    process.runtime.on(event, name="seen")(self._heard(process))
                acts = [act for act in self.scenario.acts if act.by == number and act.kind != "set_wall"]
                self.acts_ahead[number] = len(acts)
                async with anyio.create_task_group() as group:
                    for act in acts:
                        group.start_soon(self._act, process, act)
                    group.start_soon(self._work, process, life, group.cancel_scope)
                    await self.leaving[number].wait()
                    group.cancel_scope.cancel()
        except* ActorflowError as errors:
            if any(not isinstance(each, StoreFailed) for each in _leaves(errors)):
                raise
        finally:
            self.ended_count += 1
            self._stir()

    async def _work(self, process: Process, life: Life, scope: anyio.CancelScope) -> None:
        """Start and take up runs until nothing is left to do."""
        followed, looked_at = set[str](), (-1, -1)
        async with anyio.create_task_group() as group:

            async def follow(handle: RunHandle) -> None:
                followed.add(handle.run_id)
                await self._told(process, "run", handle.run_id, handle.settled)
                followed.discard(handle.run_id)
                self._stir()

            for start in self.scenario.starts:
                group.start_soon(self._start, process, start, follow)
            while True:
                stirred, is_stuck = self.stirred, life.takes_over and self._is_any_stopped()
                seen = self.ended_count, self.acts_ahead[process.number]  # a drain gives a run back, for one
                if looked_at != seen or is_stuck:
                    looked_at = seen
                    for handle in await self._taken_up(process, is_stuck=is_stuck):
                        if handle.run_id not in followed:
                            group.start_soon(follow, handle)
                            await anyio.lowlevel.checkpoint()
                is_quiet = self.world.now >= self.quiet_at and not self.acts_ahead[process.number]
                is_news = looked_at != (self.ended_count, self.acts_ahead[process.number])
                if is_quiet and not followed and not is_stuck and not is_news:
                    break
                patience_s = LOOK_S if is_stuck else self.quiet_at - self.world.now
                if not is_stuck and patience_s <= 0:
                    patience_s = math.inf
                with anyio.move_on_after(patience_s):
                    await stirred.wait()
        scope.cancel()

    def _stir(self) -> None:
        """Something has changed that a process may want to look at."""
        stirred, self.stirred = self.stirred, anyio.Event()
        stirred.set()

    def _is_any_stopped(self) -> bool:
        return any(each.is_stopped for each in self.world.processes)

    async def _taken_up(self, process: Process, *, is_stuck: bool) -> list[RunHandle]:
        """The runs that are nobody's any more, and go on here; those of who is stopped too, if they may be had."""
        rt = process.runtime
        try:
            handles = list((await rt.recover()).handles)
            for row in await rt.list() if is_stuck else ():
                is_silent = row.heartbeat_at is not None and self.world.wall() - row.heartbeat_at > STALE_S
                if row.summary.status == "running" and row.owner_pid is not None and is_silent:
                    with suppress(ActorflowError):
                        handles.append(await rt.start_resumed(row.run_id, take_over=True))
        except StoreFailed:
            self.leaving[process.number].set()
            await anyio.sleep_forever()
        return handles

    async def _start(
        self, process: Process, start: Start, follow: Callable[[RunHandle], Awaitable[None]]
    ) -> None:
        """Start a run at its time, unless some process has done it."""
        await trio.sleep_until(start.at_s)
        spec = self.specs[start.definition]

        async def begin() -> RunHandle:
            return await process.runtime.start(spec, inputs=start.inputs, run_id=start.run_id)

        if any(self._is_in(commit.writes, start.run_id) for commit in self.world.commits):
            return
        with suppress(RunExistsError):
            handle = await self._attempted(process, "start", start.run_id, begin)
            if handle is not None:
                await follow(handle)

    @staticmethod
    def _is_in(writes: Sequence[Any], run_id: str) -> bool:
        return any(isinstance(write, CreateRun) and write.run_id == run_id for write in writes)

    async def _act(self, process: Process, act: Act) -> None:
        await trio.sleep_until(act.at_s)
        try:
            await self._done(process, act)
        finally:
            self.acts_ahead[process.number] -= 1
            self._stir()

    async def _done(self, process: Process, act: Act) -> None:
        """What an operator does, in a process that is there for it."""
        rt, run_id = process.runtime, act.run_id
        self.world.note(f"{act.kind} {run_id} by process {process.number}")
        match act.kind:
            case "kill":
                process.kill()
            case "stop":
                process.stop()
                try:
                    await anyio.sleep(act.seconds)
                finally:
                    process.go_on()
            case "leave":
                self.leaving[process.number].set()
            case "cancel":
                await self._told(process, act.kind, run_id, lambda: rt.cancel(run_id))
            case "pause":
                await self._told(process, act.kind, run_id, lambda: rt.pause(run_id, grace_s=act.seconds))
            case "resume":
                await self._told(process, act.kind, run_id, lambda: rt.resume(run_id))
            case "drain":
                await self._told(process, act.kind, run_id, lambda: rt.drain_hooks(run_id))
            case "signal":
                signal_id = f"{run_id} at {act.at_s:g}"
                await self._attempted(
                    process,
                    act.kind,
                    run_id,
                    lambda: rt.signal(run_id, act.name, {"n": 1}, signal_id=signal_id),
                )
            case "retry_letter" | "retry_delivery":
                await self._retry(process, act)
            case "set_wall":
                pass

    async def _retry(self, process: Process, act: Act) -> None:
        rt = process.runtime
        letters = await self._attempted(process, act.kind, act.run_id, rt.dead_letters) or ()
        kind = "task" if act.kind == "retry_letter" else "delivery"
        letter = next((each.id for each in letters if each.run_id == act.run_id and each.kind == kind), None)
        if letter is None:
            return
        if kind == "delivery":
            await self._told(process, act.kind, act.run_id, lambda: rt.retry_delivery(letter))
            return
        handle = await self._attempted(process, act.kind, act.run_id, lambda: rt.start_retried(letter))
        if handle is not None:
            await self._told(process, act.kind, act.run_id, handle.settled)

    async def _told(
        self, process: Process, what: str, run_id: str, ask: Callable[[], Awaitable[RunResult]]
    ) -> None:
        """Ask for a result, and write down what the caller is told."""
        result = await self._attempted(process, what, run_id, ask)
        if result is not None and not process.is_dead:
            self.told.append(Told(self.world.now, process.number, what, run_id, result, None))

    async def _attempted(
        self, process: Process, what: str, run_id: str, ask: Callable[[], Awaitable[T]]
    ) -> T | None:
        try:
            return await ask()
        except RunExistsError:
            raise
        except ActorflowError as error:
            if not process.is_dead:
                self.told.append(Told(self.world.now, process.number, what, run_id, None, error))
            if isinstance(error, StoreFailed):
                self.leaving[process.number].set()
            return None

    def _heard(self, process: Process) -> Callable[[HookContext], Awaitable[None]]:
        async def seen(context: HookContext) -> None:
            if not process.is_dead:
                self.hook_calls.append((self.world.now, process.number, context.delivery_id, context.event))

        return seen

    def _written(self) -> list[str]:
        """All that the files of the store are made of, what was overwritten too."""
        files = sorted(path for path in self.world.store.parent.rglob("*") if path.is_file())
        return [path.read_bytes().decode("latin-1") for path in files]

    def observed(self, http: FakeHttp, logged: Sequence[str]) -> Observed:
        by_id = {start.run_id: self.specs[start.definition] for start in self.scenario.starts}
        with self.world.journal() as journal:
            runs = {
                row.run_id: KeptRun(
                    row.run_id,
                    by_id.get(row.run_id),
                    row,
                    [event for _, event in journal.events(row.run_id)],
                    journal.deliveries(row.run_id),
                    journal.pending(row.run_id),
                )
                for row in reversed(journal.runs())
            }
            letters = journal.dead_letters()
        return Observed(
            scenario=self.scenario,
            runs=runs,
            letters=letters,
            commits=self.world.commits,
            bodies=self.world.bodies,
            received=http.received,
            told=self.told,
            hook_calls=self.hook_calls,
            output_seen="\n".join([*logged, *self._written()]),
            ended_at=self.ended_at,
            world=self.world,
        )


@lru_cache(maxsize=64)
def _loaded(document: bytes) -> WorkflowSpec:
    return load_dict(orjson.loads(document), trust="own")


@contextmanager
def _secret() -> Generator[None]:
    before = os.environ.get(SECRET_NAME)
    os.environ[SECRET_NAME] = SECRET
    try:
        yield
    finally:
        if before is None:
            del os.environ[SECRET_NAME]
        else:
            os.environ[SECRET_NAME] = before


@contextmanager
def _logged() -> Generator[list[str]]:
    """All that the library logs meanwhile, which goes nowhere else."""
    lines: list[str] = []
    logger = logging.getLogger("actorflow")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


def _leaves(errors: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in errors.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
