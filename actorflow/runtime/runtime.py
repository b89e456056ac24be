"""The Runtime: the scope in which runs live.

It is a guest in its host's process: no signal handlers, no logging set-up, no exits, no settings of the interpreter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args

import anyio
from attrs import frozen

from actorflow.actors.host import Host
from actorflow.core.owed import FLAG
from actorflow.core.state import RunState
from actorflow.errors import ActorflowError, BadInputError, ChangeRefusedError
from actorflow.hooks.actions.action import HookFunction
from actorflow.hooks.registry import REGISTRY, HookRegistry, checked_function
from actorflow.hooks.switches import ENVIRONMENT
from actorflow.journal import Journal
from actorflow.journal.protocol import DeadLetter, KeepDefinition, Outcome, RunRow
from actorflow.metrics.registry import Metrics
from actorflow.runtime.bindings import Agent, Binder
from actorflow.runtime.checkpoints import read_run
from actorflow.runtime.dispatch import PARENT
from actorflow.runtime.drains import Drains
from actorflow.runtime.egress import guard_of
from actorflow.runtime.functions import refuse_event, refuse_function_name
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.letters import chosen_letter
from actorflow.runtime.open_runtime import OpenRuntime
from actorflow.runtime.ports import REAL, Ports
from actorflow.runtime.requests import Requests
from actorflow.runtime.result import RunResult, result_from
from actorflow.runtime.run_ids import checked_run_id, new_run_id
from actorflow.runtime.staff import Staff
from actorflow.spec.model import HookEvent, WorkflowSpec

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
        store: `sqlite:///relative.db`, `sqlite:////absolute.db`, `json:FOLDER` or `memory:`.
        agents: who performs the tasks, by agent name: a callable that takes an `AgentCall` (async, or sync and then run
            in a thread), or a runner word: `echo`, `fail`, `sleep:1s`, `python:MODULE:FUNCTION`, `command:SHELL`.
            `*` is for every name that has nothing else.
        grace_s: seconds that running attempts get when the scope is left while they run. A Python body gets as long to
            end after its timeout or cancel; then its task fails `did_not_stop`, and the body is left behind. One that is
            async and never ends cannot be left: leaving the scope waits for it.
        drain_timeout_s: seconds that async hooks get at the end for what they are owed.
        max_threads: synchronous agents that run side by side, over all runs.
        hooks: the actions that hooks may name; those of the process, which `hook_action` registers, if not given.
        allow_hosts: where hooks and HTTP agents may send requests, as `https://api.example.com`, `*.example.com`,
            `http://10.1.2.3:8080/path` or `10.0.0.0/8`, besides what ACTORFLOW_ALLOW_HOSTS lists. Addresses that are not
            public must be listed themselves.
        ports: through what it reaches the world; others than the machine's are for tests, see `actorflow.testing`.

    Raises:
        ValueError: an entry of one of these lists cannot be read.
    """

    def __init__(
        self,
        *,
        store: str,
        agents: Mapping[str, Agent] | None = None,
        grace_s: float = 10.0,
        drain_timeout_s: float = 10.0,
        max_threads: int = 100,
        hooks: HookRegistry | None = None,
        allow_hosts: Iterable[str] = (),
        ports: Ports = REAL,
    ) -> None:
        self._store = store
        self._ports = ports
        self._agents = dict(agents or {})
        self._grace_s = grace_s
        self._drain_timeout_s = drain_timeout_s
        self._max_threads = max_threads
        self._registry = REGISTRY if hooks is None else hooks
        self._guard = guard_of(allow_hosts, os.environ)
        self._functions: dict[tuple[HookEvent, str], HookFunction] = {}
        self._open: OpenRuntime | None = None
        self._leaving: Staff | None = None

    async def __aenter__(self) -> Self:
        host = self._ports.host()
        journal = await self._open_journal(host)
        task_group = anyio.create_task_group()
        await task_group.__aenter__()
        staff = Staff.hire(
            host,
            journal,
            task_group,
            ports=self._ports,
            thread_count=self._max_threads,
            grace_s=self._grace_s,
            registry=self._registry,
            functions=self._functions,
            guard=self._guard,
        )
        binder = Binder(self._agents, staff.trees, staff.threads, self._registry, staff.http, staff.guard)
        self._open = OpenRuntime.over(staff, binder, self._drain_timeout_s)
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
            cause = "the runtime was closed"
            if not is_cancelled:
                self.pause_all(cause, grace_s=self._grace_s, spares_detached=True)
                await open_.conductor.drain_detached()
            self.pause_all(cause, grace_s=0.0)
            while open_.conductor.live:
                await next(iter(open_.conductor.live.values())).is_settled.wait()
            open_.conductor.hurry()
            await open_.turns.all_over()
            await open_.staff.http.aclose()
            await open_.staff.room.aclose()
            open_.staff.dismiss()
            self._open, self._leaving = None, open_.staff
        if is_cancelled:
            await open_.staff.task_group.__aexit__(kind, error, trace)
        else:  # a task group would wrap an error of the host's in a group
            await open_.staff.task_group.__aexit__(None, None, None)
        if open_.staff.pool.interrupt is not None:
            raise open_.staff.pool.interrupt

    def on(self, event: HookEvent, *, name: str | None = None) -> Callable[[HookFunction], HookFunction]:
        """Have an async function called for an event of the lifecycle, in runs that are started from now on.

        ```python
        @rt.on("task_finished")
        async def tell(context: HookContext) -> None: ...
        ```

        It is an async hook like any other: called once the event is in the journal, in the order of events, within 30 s,
        and owed until it has returned, over crashes too. The names are recorded with the run: one that is resumed by a
        program without a function of that name keeps what it is owed.

        Args:
            event: of the lifecycle.
            name: tells the functions of an event apart, in this program and the next; the function's own if not given.

        Raises:
            BadInputError: there is no such event, nothing in this version fires it, or another function has that name.
            TypeError: it is no coroutine function of one argument.
        """
        refuse_event(event)
        if name is not None:
            refuse_function_name(name)

        def register(function: HookFunction) -> HookFunction:
            known_as = name or str(getattr(function, "__name__", type(function).__name__))
            before = self._functions.setdefault(
                (event, known_as), checked_function(function, "the HookContext")
            )
            if before is not function:
                raise BadInputError(
                    (f"{event} has another function {known_as!r} already; give this one a name",)
                )
            return function

        return register

    @property
    def metrics(self) -> Metrics:
        """What is measured: by the runtime itself, and by hooks with the action `metric`."""
        return self._opened.staff.metrics

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
        taken = sorted({FLAG, PARENT, ENVIRONMENT} & (flags or {}).keys())
        if taken:
            raise BadInputError((f"the flag {taken[0]!r} is the runtime's own; choose another name",))
        if if_running not in get_args(IfRunning):
            raise BadInputError((f"if_running is {if_running!r}; it can be 'start' or 'fail'",))
        open_ = self._opened
        spec = open_.binder.chosen(spec, workflow)
        run_id = new_run_id(spec.name) if run_id is None else checked_run_id(run_id)
        live = await open_.start_new(
            spec, inputs or {}, run_id=run_id, flags=flags or {}, is_alone=if_running == "fail"
        )
        return RunHandle(live)

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
            now: kill processes at once, without their time to end, and wait for no blocking hook of a task or stage.
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
        return await self._opened.staff.host.in_thread(self._opened.staff.store.journal.dead_letters)

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
            letter = chosen_letter(
                [each for each in await self.dead_letters() if each.kind == "task"], letter_id
            )
            live = await open_.live(letter.run_id)
            if live is not None:
                await live.is_settled.wait()
                continue
            retried = await open_.retry(letter)
            if retried is not None:
                return RunHandle(retried)

    async def retry_delivery(self, letter_id: str, *, timeout_s: float | None = None) -> RunResult:
        """Try the delivery of a dead letter again, and what else its run's hooks are owed; its run does not go on.

        Args:
            letter_id: the id of the dead letter, or the beginning of one that is unique.
            timeout_s: as for `drain_hooks`.

        Returns:
            The run as it stands.

        Raises:
            DeadLetterNotFoundError: no dead letter of a delivery, or several, have that id or beginning.
            RunOwnedElsewhereError: another process runs it.
        """
        return (await self.retry_deliveries([letter_id], timeout_s=timeout_s))[0]

    async def retry_deliveries(
        self, letter_ids: Sequence[str], *, timeout_s: float | None = None
    ) -> list[RunResult]:
        """The same for several dead letters, run by run.

        Nothing is tried of a run one of whose letters cannot be tried in this process.

        Returns:
            Each run that they are of, as it stands.
        """
        letters = [each for each in await self.dead_letters() if each.kind == "delivery"]
        by_run: dict[str, dict[str, DeadLetter]] = {}
        for letter in (chosen_letter(letters, letter_id) for letter_id in letter_ids):
            by_run.setdefault(letter.run_id, {})[letter.id] = letter
        return [await self._drains.retry([*chosen.values()], timeout_s) for chosen in by_run.values()]

    async def drain_hooks(self, run_id: str, *, timeout_s: float | None = None) -> RunResult:
        """Deliver what a run's async hooks are owed, without going on with the run.

        What a delivery needs and this process does not have, such as a variable or a function, keeps it pending.

        Args:
            run_id: the run's id, or the beginning of one that is unique.
            timeout_s: what is not delivered then stays pending; None: the runtime's `drain_timeout_s`.

        Returns:
            The run as it stands.

        Raises:
            RunNotFoundError: no run, or several, have that id or beginning.
            RunOwnedElsewhereError: another process runs it.
        """
        return await self._drains.drain(run_id, timeout_s)

    async def purge_dead_letters(self, ids: Sequence[str]) -> int:
        """Forget dead letters by their whole ids; how many there were. Their runs stay as they are."""
        return await self._opened.staff.host.in_thread(
            self._opened.staff.store.journal.purge_dead_letters, ids
        )

    async def get(self, run_id: str) -> RunResult:
        """The result of a run as it stands in the store.

        Args:
            run_id: the run's id, or the beginning of one that is unique.

        Raises:
            RunNotFoundError: no run, or several, have that id or beginning.
        """
        journal = self._opened.staff.store.journal
        return await self._opened.staff.host.in_thread(read_result, journal, run_id)

    async def list(self) -> Sequence[RunRow]:
        """All runs of the store, the latest first."""
        return await self._opened.staff.host.in_thread(self._opened.staff.store.journal.runs)

    def pause_all(self, cause: str, *, grace_s: float, spares_detached: bool = False) -> None:
        """Pause every run: nothing new starts, and what runs after `grace_s` seconds is ended.

        Args:
            cause: recorded.
            grace_s: what runs may take to end.
            spares_detached: let go on what hooks have started.
        """
        open_ = self._opened
        for live in open_.conductor.live.values():
            if not (spares_detached and live.is_detached):
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

    async def _open_journal(self, host: Host) -> Journal:
        if self._store == "memory:":
            return self._ports.journal(self._store)
        return await host.in_thread(self._ports.journal, self._store)

    @property
    def _opened(self) -> OpenRuntime:
        if self._open is None:
            raise RuntimeError("the runtime is not open: use it as `async with Runtime(...) as rt`")
        return self._open

    @property
    def _drains(self) -> Drains:
        return Drains(self._opened)

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


def read_state(journal: Journal, row: RunRow) -> tuple[RunState, int]:
    """Fold a run from its journal; with the number of its last event."""
    read = read_run(journal, row)
    return read.state, read.seq


def read_result(journal: Journal, run_id: str) -> RunResult:
    """The result of a run as its journal has it."""
    row = journal.find(run_id)
    return read_row(journal, row)


def read_row(journal: Journal, row: RunRow) -> RunResult:
    """The same of a run that was found."""
    state, _ = read_state(journal, row)
    return result_from(journal, row, state)
