"""A run in this process: the loop, the signals, and what is said of it while it goes on and when it ends."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Generic, TypeVar

import anyio
from attrs import evolve, field, frozen

from actorflow.cli.account import STOPPED, Account, stop_cause
from actorflow.cli.children import dispatched_runs
from actorflow.cli.faults import complain
from actorflow.cli.held import owed_still
from actorflow.cli.hooks.runs import failed_hooks, hook_runs
from actorflow.cli.last_output import LastLines
from actorflow.cli.progress import Progress
from actorflow.cli.records import records_shown
from actorflow.cli.report import account_document, account_text, has_hooks_amiss, next_step
from actorflow.cli.screen import Screen, as_line
from actorflow.cli.sensitive import shown_result
from actorflow.cli.settings import Settings
from actorflow.cli.signals import BODIES_END_S, HANDLED, Interrupted, Interruption, end_process
from actorflow.cli.statuses import STATUS_OF_RUN, Exit
from actorflow.cli.store.opening import store_option
from actorflow.cli.store.urls import is_lasting
from actorflow.core.plan import plan_of
from actorflow.journal.output_log import OutputLine
from actorflow.journal.protocol import DeadLetter
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.result import RunResult
from actorflow.runtime.runtime import Runtime
from actorflow.spec.model import WorkflowSpec

T = TypeVar("T")


@frozen(kw_only=True)
class Place:
    """Where something is carried out, and with what."""

    store: str
    agents: Mapping[str, str] = field(factory=dict[str, str])
    backend: str = "asyncio"
    grace_s: float = 10.0
    allow_hosts: tuple[str, ...] = ()


@frozen(kw_only=True)
class Job:
    """A run to be started or resumed, and how."""

    spec: WorkflowSpec
    place: Place
    begin: Callable[[Runtime, Interruption], Awaitable[RunHandle]]
    seen_seq: int = 0  #: of the last event that was there before; what comes after it is told
    is_strict: bool = False  #: whether a success with hooks amiss is none


def carry_out(settings: Settings, job: Job) -> int:
    """Run it to its end, or to where a signal stops it, and tell of it.

    Returns:
        The exit status: of the run, whatever became of its hooks, unless the job is strict.

    Raises:
        ActorflowError: there is no run, or it could not be kept.
        Interrupted: a signal came before there was a run.
    """

    def conclude(account: Account) -> int:
        tell(settings, account, can_go_on=_can_go_on(job))
        status = STATUS_OF_RUN[account.result.status]
        is_amiss = job.is_strict and status == Exit.SUCCESS and has_hooks_amiss(account)
        return Exit.FAILED if is_amiss else status

    return in_runtime(settings, job.place, partial(_follow, settings.screen, job), conclude)


def tell(settings: Settings, account: Account, *, can_go_on: bool = True) -> None:
    """Say what a run has come to, and what to do next where another process can find it."""
    screen = settings.screen
    if screen.is_json:
        screen.document(account_document(account))
    else:
        if account.result.hooks.pending and can_go_on:
            account = evolve(account, pending=owed_still(settings, account.result.run_id))
        screen.told(account_text(account))
    step = next_step(account, store_option(settings)) if can_go_on else None
    if step is not None:
        screen.steps(step)


def in_runtime(
    settings: Settings,
    place: Place,
    work: Callable[[Runtime, Interruption], Awaitable[T]],
    conclude: Callable[[T], int],
) -> int:
    """Do something in a runtime of its own, with signals handled as the command line promises.

    Args:
        settings: of the command.
        place: where, and with what.
        work: what is done.
        conclude: tells of what came of it, and gives the exit status. Called when the runtime has been left; or within
            it where only a Python body that will not end keeps it: then the process ends with that status.

    Raises:
        ActorflowError: whatever the work raises.
        Interrupted: a signal came before it began, or where it says so.
    """
    settings.early.note_only()
    with records_shown(settings.screen), redirect_stdout(sys.stderr):
        # what agents print is no part of the result
        value = anyio.run(partial(_drive, settings, place, work, conclude), backend=place.backend)
    return conclude(value)


async def beside(work: Callable[[], Awaitable[T]], *companions: Callable[[], Awaitable[None]]) -> T:
    """Await work while companions go on, which are cancelled when it is done; what any of them raises comes out as it is."""
    outcome: _Done[T] | BaseException = Interrupted()

    async def accompany(companion: Callable[[], Awaitable[None]]) -> None:
        nonlocal outcome
        ended = await _caught(companion)
        if isinstance(ended, BaseException):
            outcome = ended
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for companion in companions:
            group.start_soon(accompany, companion)
        outcome = await _caught(work)
        group.cancel_scope.cancel()
    return _opened(outcome)


async def _drive(
    settings: Settings,
    place: Place,
    work: Callable[[Runtime, Interruption], Awaitable[T]],
    conclude: Callable[[T], int],
) -> T:
    runtime = Runtime(
        store=place.store, agents=place.agents, grace_s=place.grace_s, allow_hosts=place.allow_hosts
    )
    outcome: _Done[T] | BaseException = Interrupted()
    is_leaving = anyio.Event()

    async def use() -> T:
        nonlocal outcome
        with anyio.open_signal_receiver(*HANDLED) as signals:
            settings.early.raise_noted()
            async with runtime:
                interruption = Interruption(runtime, place.grace_s, settings.screen.note)
                async with anyio.create_task_group() as watch:
                    watch.start_soon(interruption.watch, signals, watch)
                    # an error that left these scopes would come out as a group
                    outcome = await _caught(partial(work, runtime, interruption))
                    watch.cancel_scope.cancel()
                is_leaving.set()
        return _opened(outcome)

    async def leave_bodies_behind() -> None:
        await is_leaving.wait()
        await _wait_until_held_up(runtime)
        end_process(_concluded(settings.screen, outcome, conclude))

    if not settings.early.is_installed:  # the process is somebody else's, who may wait
        return await use()
    return await beside(use, leave_bodies_behind)


async def _wait_until_held_up(runtime: Runtime) -> None:
    """Wait until nothing but Python bodies keeps the runtime from being left, and has done so for a while."""
    was_held_up = False
    while not (was_held_up and runtime.is_held_up):
        was_held_up = runtime.is_held_up
        await anyio.sleep(BODIES_END_S)


def _concluded(screen: Screen, outcome: _Done[T] | BaseException, conclude: Callable[[T], int]) -> int:
    try:
        return screen.status_after(conclude(_opened(outcome)))
    except Interrupted:
        return complain(screen, InterruptedError())
    except Exception as error:  # noqa: BLE001 - all that is raised has a status
        return complain(screen, error)


@frozen
class _Done(Generic[T]):
    value: T


def _opened(outcome: _Done[T] | BaseException) -> T:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome.value


async def _caught(work: Callable[[], Awaitable[T]]) -> _Done[T] | BaseException:
    try:
        return _Done(await work())
    except (Exception, Interrupted) as error:  # noqa: BLE001 - carried out of the scopes, and raised there
        return error


async def _follow(screen: Screen, job: Job, runtime: Runtime, interruption: Interruption) -> Account:
    for name in runtime.unused_agents(job.spec):
        screen.note(as_line(f"--agent {name}: the workflow has no agent of that name"))
    handle = await job.begin(runtime, interruption)
    interruption.run_began()
    conclude = partial(account_of, job.spec, runtime, handle, interruption)
    if screen.is_live:
        from actorflow.cli.live.following import follow_live  # noqa: PLC0415 - nobody else needs rich

        return await follow_live(screen, job.spec, handle, conclude)
    screen.note(f"run {handle.run_id}")
    if not screen.is_quiet:
        await tell_progress(screen, Progress(job.spec, is_kept=_can_go_on(job)), handle, job.seen_seq)
    return await conclude()


async def tell_progress(
    screen: Screen, progress: Progress, handle: RunHandle, seen_seq: int, *, prefix: str = ""
) -> None:
    """Say what happens to a run until it is over, but for what comes up to event `seen_seq`."""
    async for seq, event in handle.events():
        line = progress.line(event)
        if line is not None and seq > seen_seq:
            screen.note(prefix + line.strip() if prefix else line)


async def account_of(
    spec: WorkflowSpec, runtime: Runtime, handle: RunHandle, interruption: Interruption
) -> Account:
    """Wait until the run is over and its hooks have had what they are owed, and give account of it."""
    result = await handle.settled()
    if interruption.is_asked:
        runtime.kill_all()  # of this run only hooks can be left, and they have had their time
    result = shown_result(spec, result)
    letters: tuple[DeadLetter, ...] = ()
    printed: Sequence[OutputLine] = ()
    if result.status == "failed":
        printed = await _last_lines(handle, result)
        letters = tuple(each for each in await runtime.dead_letters() if each.run_id == result.run_id)
    is_stopped = result.status in STOPPED
    plan = plan_of(spec)
    tells_of_hooks = result.hooks.failed or result.hooks.dead_letters or plan.hooks.dispatch_paths
    if not tells_of_hooks and not is_stopped:
        return Account(spec, result, printed=printed, letters=letters)
    events = [each async for each in handle.events()]
    hooks = hook_runs(plan, events, await handle.deliveries()) if tells_of_hooks else ()
    return Account(
        spec,
        result,
        failed_hooks=failed_hooks(hooks, result.generation),
        dispatched=await dispatched_runs(runtime, plan, hooks),
        printed=printed,
        letters=letters,
        cause=stop_cause(result.status, events) if is_stopped else None,
    )


async def _last_lines(handle: RunHandle, result: RunResult) -> Sequence[OutputLine]:
    last = LastLines(result)
    lines, position = await handle.output() if last.are_wanted else ([], 0)
    while lines:
        last.take(lines)
        lines, position = await handle.output(position)
    return last.found


def _can_go_on(job: Job) -> bool:
    """Whether another process can find the run."""
    return is_lasting(job.place.store) and job.spec.limits.durability != "memory"
