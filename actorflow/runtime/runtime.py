"""The Runtime: the scope in which runs live.

It is a guest in its host's process: no signal handlers, no logging set-up, no exits, no settings of the interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args

import anyio
import anyio.to_thread
from attrs import frozen

from actorflow.actors.host import current_host
from actorflow.core.events import RunStarted
from actorflow.core.plan import plan_of
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import next_generation
from actorflow.errors import ActorflowError, BadInputError, ChangeRefusedError
from actorflow.journal import Journal, open_journal
from actorflow.journal.protocol import CreateRun, DeadLetter, KeepDefinition, Outcome, RunRow, RunSummary
from actorflow.runtime.bindings import Agent, Binder
from actorflow.runtime.checkpoints import read_run
from actorflow.runtime.clock import RunClock
from actorflow.runtime.conductor import Conductor, Opening
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.inputs import checked_inputs
from actorflow.runtime.letters import chosen_letter
from actorflow.runtime.open_runtime import OpenRuntime
from actorflow.runtime.requests import Requests
from actorflow.runtime.result import RunResult, result_of
from actorflow.runtime.run_ids import checked_run_id, new_run_id
from actorflow.runtime.staff import Staff
from actorflow.runtime.turns import Turns
from actorflow.spec.definition import spec_definition
from actorflow.spec.model import WorkflowSpec

IfRunning: TypeAlias = Literal["start", "fail"]
"""What to do where another run of the same workflow is under way."""


@frozen
class Recovered:
    """What has become of the runs that were left running."""

    handles: tuple[RunHandle, ...]  #: of those that go on here
    refused: Mapping[str, ActorflowError]  #: why the others do not, by run


class Runtime:
    """Runs workflows in this process, on the running event loop (asyncio or trio).

    ```python
    async with Runtime(store="sqlite:///runs.db", agents={"charge": charge}) as rt:
        result = await rt.run(load("order.yaml"), inputs={"order_id": "42"})
    ```

    Leaving the scope pauses what still runs: it is resumed with `resume`, by this program or another.

    Args:
        store: `sqlite:///relative.db`, `sqlite:////absolute.db` or `memory:`.
        agents: who performs the tasks, by agent name: a callable that takes an `AgentCall` (async, or sync and then run
            in a thread), or a runner word: `echo`, `fail`, `sleep:1s`, `python:MODULE:FUNCTION`, `command:SHELL`.
            `*` is for every name that has nothing else.
        grace_s: seconds that running attempts get when the scope is left while they run. A Python body gets as long to
            end after its timeout or cancel; then its task fails `did_not_stop`, and the body is left behind. One that is
            async and never ends cannot be left: leaving the scope waits for it.
        drain_timeout_s: seconds that async hooks get at the end for what they are owed.
        max_threads: synchronous agents that run side by side, over all runs.
    """

    def __init__(
        self,
        *,
        store: str,
        agents: Mapping[str, Agent] | None = None,
        grace_s: float = 10.0,
        drain_timeout_s: float = 10.0,
        max_threads: int = 100,
    ) -> None:
        self._store = store
        self._agents = dict(agents or {})
        self._grace_s = grace_s
        self._drain_timeout_s = drain_timeout_s
        self._max_threads = max_threads
        self._open: OpenRuntime | None = None
        self._leaving: Staff | None = None

    async def __aenter__(self) -> Self:
        host = current_host()
        journal = await _open(self._store)
        task_group = anyio.create_task_group()
        await task_group.__aenter__()
        staff = Staff.hire(host, journal, task_group, self._max_threads, self._grace_s)
        binder = Binder(self._agents, staff.trees, staff.threads)
        self._open = OpenRuntime(staff, binder, Conductor(staff, self._drain_timeout_s), Turns())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        open_ = self._opened
        is_cancelled = kind is not None and issubclass(kind, open_.staff.host.cancelled_class)
        with anyio.CancelScope(shield=True):
            if is_cancelled:
                open_.conductor.hurry()
            open_.conductor.is_closing = True
            self.pause_all("the runtime was closed", grace_s=0.0 if is_cancelled else self._grace_s)
            while open_.conductor.live:
                await next(iter(open_.conductor.live.values())).is_settled.wait()
            open_.staff.dismiss()
            self._open, self._leaving = None, open_.staff
        if is_cancelled:
            await open_.staff.task_group.__aexit__(kind, error, trace)
        else:  # a task group would wrap an error of the host's in a group
            await open_.staff.task_group.__aexit__(None, None, None)
        if open_.staff.pool.interrupt is not None:
            raise open_.staff.pool.interrupt

    async def run(
        self,
        spec: WorkflowSpec,
        *,
        inputs: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        workflow: str | None = None,
        if_running: IfRunning = "start",
    ) -> RunResult:
        """Run a workflow to its end. Cancelling pauses the run, which `resume` takes up again.

        Args:
            spec: what `load` gives.
            inputs: JSON values by name.
            run_id: a name for the run; made from the workflow's name and the time if not given.
            workflow: the entry of the file's `workflows:` that is meant.
            if_running: `fail` refuses to start beside another run of the same workflow's name, in any process.

        Returns:
            The result, of a failed run too; see `RunResult.raise_for_status`.

        Raises:
            BadInputError: inputs, run id or workflow are not what the definition allows; nothing was run.
            SpecError: the definition says what a run of this version cannot do (code E190); nothing was run.
            MissingVariablesError: a variable or secret that the definition reads is not there; nothing was run.
            UnboundAgentsError: names every agent that has nothing to run it; nothing was run.
            BindError: an agent can't be imported or called; nothing was run.
            RunExistsError: the store has a run of that id.
            WorkflowRunningError: one is under way, and `if_running` is `fail`.
            StoreFailed: the store failed under the run.
        """
        handle = await self.start(
            spec, inputs=inputs, run_id=run_id, workflow=workflow, if_running=if_running
        )
        return await self._finish(handle)

    async def start(
        self,
        spec: WorkflowSpec,
        *,
        inputs: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        workflow: str | None = None,
        if_running: IfRunning = "start",
        flags: Mapping[str, Any] | None = None,
    ) -> RunHandle:
        """Start a run and return once its start is in the journal; arguments and errors are those of `run`.

        Args:
            spec: what `load` gives.
            inputs: JSON values by name.
            run_id: a name for the run.
            workflow: the entry of the file's `workflows:` that is meant.
            if_running: what to do beside another run of the workflow.
            flags: whatever else should be recorded of how the run was started.
        """
        if if_running not in get_args(IfRunning):
            raise BadInputError((f"if_running is {if_running!r}; it can be 'start' or 'fail'",))
        open_ = self._opened
        spec = open_.binder.chosen(spec, workflow)
        run_id = new_run_id(spec.name) if run_id is None else checked_run_id(run_id)
        given = checked_inputs(spec, inputs or {})
        bound = await open_.bind_new(spec)
        env = await open_.read_environment(spec)
        digest, body = spec_definition(spec)
        clock = RunClock(open_.staff.host)
        state = RunState(plan_of(spec))
        started = RunStarted(
            clock.now(), run_id, spec.name, digest, given, env, bound.recorded, flags or {}, CORE_VERSION
        )
        summary = RunSummary("running", 1, started.at, None)
        create = CreateRun(run_id, spec.name, digest, body, summary, is_alone=if_running == "fail")
        ledger = open_.staff.memory if spec.limits.durability == "memory" else open_.staff.store
        opening = Opening(
            state, 0, [started, next_generation(state, started.at)], bound.performers, clock, create
        )
        return RunHandle(await open_.start(run_id, opening, ledger))

    async def resume(
        self, run_id: str, *, accept: WorkflowSpec | None = None, take_over: bool = False
    ) -> RunResult:
        """Go on with a paused or crashed run, or begin the next generation of a failed or canceled one.

        The workflow file is not read: the run is pinned to the definition that it began with. The result of a run that
        has succeeded is returned as it is, after its async hooks have had what they are still owed.

        Args:
            run_id: the run's id, or the beginning of one that is unique.
            accept: go on by this definition instead, in which only tasks that have not begun may be other ones.
            take_over: also from a process that is stopped or hangs; it loses all of its runs.

        Raises:
            RunNotFoundError: no run, or several, have that id or beginning.
            RunOwnedElsewhereError: another process runs it; one that is alive, or one that `take_over` would end.
            SurvivorsError: processes that its last owner left behind cannot be ended.
            ChangeRefusedError: what is different in `accept` has begun already, or the run goes on in this runtime.
            UnboundAgentsError: it has agents that were bound in code, and this runtime has none of that name.
        """
        return await self._finish(await self.start_resumed(run_id, accept=accept, take_over=take_over))

    async def start_resumed(
        self, run_id: str, *, accept: WorkflowSpec | None = None, take_over: bool = False
    ) -> RunHandle:
        """Like `resume`, but return a handle once the run goes on."""
        open_ = self._opened
        spec = None if accept is None else open_.binder.chosen(accept, None)
        ledger = open_.staff.store
        run_id = (await ledger.actor.ask(lambda: ledger.journal.find(run_id))).run_id
        while True:
            live = await open_.live(run_id)
            if live is None:
                resumed = await open_.resume(run_id, accept=spec, take_over=take_over)
                if resumed is not None:
                    return RunHandle(resumed)
            elif live.is_over.is_set or live.actor.state.is_pausing:
                await live.is_settled.wait()
            elif accept is not None:
                raise ChangeRefusedError(run_id, ("it is running; pause it first",))
            else:
                return RunHandle(live)

    async def recover(self) -> Recovered:
        """Go on with all runs of the store that were left running: their processes are gone.

        What cannot go on is told with its reason, and keeps nothing else from doing so.
        """
        handles: list[RunHandle] = []
        refused: dict[str, ActorflowError] = {}
        for row in reversed(await self.list()):
            if row.summary.status == "running" and row.owner_pid is None:
                try:
                    handles.append(await self.start_resumed(row.run_id))
                except ActorflowError as error:
                    refused[row.run_id] = error
        return Recovered(tuple(handles), refused)

    async def cancel(
        self,
        run_id: str,
        *,
        now: bool = False,
        cause: str = "canceled by an operator",
        take_over: bool = False,
    ) -> RunResult:
        """End a run as canceled, whoever runs it, and wait for that; its post_workflow hooks run.

        A run of this runtime is told. A run of another process is asked through the store's inbox. A paused or crashed
        one is brought to its end here.

        Args:
            run_id: the run's id, or the beginning of one that is unique.
            now: kill processes at once, without their time to end.
            cause: recorded.
            take_over: as for `resume`.

        Returns:
            The result, of a run that had ended before too.

        Raises:
            RunNotFoundError: no run, or several, have that id or beginning.
            RunOwnedElsewhereError: its process is stopped or hangs.
        """
        return await self._requests.cancel(run_id, now=now, cause=cause, take_over=take_over)

    async def pause(
        self,
        run_id: str,
        *,
        grace_s: float | None = None,
        cause: str = "paused by an operator",
        take_over: bool = False,
    ) -> RunResult:
        """Have a run start nothing new, whoever runs it, and wait until nothing of it runs; `resume` takes it up again.

        Args:
            run_id: the run's id, or the beginning of one that is unique.
            grace_s: what runs may take to end; None: as its process has it.
            cause: recorded.
            take_over: as for `resume`.

        Returns:
            The result, of a run that had ended or was paused before too.

        Raises:
            RunNotFoundError: no run, or several, have that id or beginning.
            RunOwnedElsewhereError: its process is stopped or hangs.
        """
        return await self._requests.pause(run_id, grace_s=grace_s, cause=cause, take_over=take_over)

    async def signal(
        self, run_id: str, name: str, payload: Any = None, *, signal_id: str | None = None
    ) -> None:
        """Send a run a named message, whoever runs it; one that is paused or crashed has it when it goes on.

        Args:
            run_id: the run's id, or the beginning of one that is unique.
            name: of the signal.
            payload: JSON.
            signal_id: the same one twice is received once; a new one if not given.

        Raises:
            RunNotFoundError: no run, or several, have that id or beginning.
            RunEndedError: it has ended.
        """
        await self._requests.signal(run_id, name, payload, signal_id)

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """What used up its tries and waits for an operator, oldest first."""
        return await anyio.to_thread.run_sync(self._opened.staff.store.journal.dead_letters)

    async def start_retried(self, letter_id: str) -> RunHandle:
        """Try the task of a dead letter again, with what is below it, as the next generation of its run.

        Args:
            letter_id: the id of the dead letter, or the beginning of one that is unique.

        Raises:
            DeadLetterNotFoundError: no dead letter, or several, have that id or beginning.
            RunNotEndedError: the run goes on with other tasks yet.
            RunOwnedElsewhereError: another process runs it.
        """
        open_ = self._opened
        while True:
            letter = chosen_letter(await self.dead_letters(), letter_id)
            live = await open_.live(letter.run_id)
            if live is not None:
                await live.is_settled.wait()
                continue
            retried = await open_.retry(letter)
            if retried is not None:
                return RunHandle(retried)

    async def purge_dead_letters(self, ids: Sequence[str]) -> int:
        """Forget dead letters by their whole ids; how many there were. Their runs stay as they are."""
        return await anyio.to_thread.run_sync(self._opened.staff.store.journal.purge_dead_letters, ids)

    async def get(self, run_id: str) -> RunResult:
        """The result of a run as it stands in the store.

        Args:
            run_id: the run's id, or the beginning of one that is unique.

        Raises:
            RunNotFoundError: no run, or several, have that id or beginning.
        """
        journal = self._opened.staff.store.journal
        return await anyio.to_thread.run_sync(read_result, journal, run_id)

    async def list(self) -> Sequence[RunRow]:
        """All runs of the store, the latest first."""
        return await anyio.to_thread.run_sync(self._opened.staff.store.journal.runs)

    def pause_all(self, cause: str, *, grace_s: float) -> None:
        """Pause every run: nothing new starts, and what runs after `grace_s` seconds is ended."""
        open_ = self._opened
        for live in open_.conductor.live.values():
            live.ask_pause(cause, grace_s)
        open_.staff.alarm.after(grace_s, open_.staff.threads.abandon)

    def kill_all(self) -> None:
        """End what still runs at once, children and all; what it was doing is lost, and runs again on resume."""
        open_ = self._opened
        open_.staff.threads.abandon()
        open_.staff.trees.kill_all_nowait()
        open_.conductor.hurry()
        for live in open_.conductor.live.values():
            live.ask_pause("killed", 0.0)

    def stop_draining(self) -> None:
        """Wait no more for async hooks; what they are still owed stays in the journal."""
        self._opened.conductor.hurry()

    def unused_agents(self, spec: WorkflowSpec) -> tuple[str, ...]:
        """Names of `agents` that a workflow does not use."""
        return self._opened.binder.unused(spec)

    def keep_definition(self, checked: KeepDefinition) -> None:
        """Have the store remember a checked definition together with whatever it keeps next; nobody waits for it.

        Args:
            checked: the `news` of `load_cached`.
        """
        self._opened.staff.store.actor.tell(checked, _forget)

    @property
    def is_held_up(self) -> bool:
        """Whether the scope is being left, and nothing is waited for but async agents that were told to end, and go on."""
        return self._leaving is not None and self._leaving.is_held_up

    @property
    def commit_count(self) -> int:
        """Transactions that this runtime has committed to its store: in a durable one, each is one flush."""
        return self._opened.staff.store.actor.commit_count

    @property
    def _opened(self) -> OpenRuntime:
        if self._open is None:
            raise RuntimeError("the runtime is not open: use it as `async with Runtime(...) as rt`")
        return self._open

    @property
    def _requests(self) -> Requests:
        return Requests(self._opened)

    async def _finish(self, handle: RunHandle) -> RunResult:
        cancelled_class = self._opened.staff.host.cancelled_class
        try:
            return await handle.wait()
        except cancelled_class:
            with anyio.CancelScope(shield=True):
                await handle.pause(grace_s=0.0, cause="its caller was cancelled")
            raise


def _forget(_: Outcome) -> None:
    """A definition that could not be kept is checked again."""


async def _open(store: str) -> Journal:
    if store == "memory:":
        return open_journal(store)
    return await anyio.to_thread.run_sync(open_journal, store)


def read_state(journal: Journal, row: RunRow) -> tuple[RunState, int]:
    """Fold a run from its journal; with the number of its last event."""
    read = read_run(journal, row)
    return read.state, read.seq


def read_result(journal: Journal, run_id: str) -> RunResult:
    """The result of a run as its journal has it."""
    row = journal.find(run_id)
    state, _ = read_state(journal, row)
    return result_of(state, journal.deliveries(row.run_id))
