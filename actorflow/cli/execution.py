"""A run in this process: the loop, the signals, and what is said of it while it goes on and when it ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial

import anyio
from attrs import field, frozen

from actorflow.cli.account import Account, failed_hooks
from actorflow.cli.progress import Progress
from actorflow.cli.report import account_text, next_step, result_document
from actorflow.cli.screen import Screen, as_line
from actorflow.cli.sensitive import shown_result
from actorflow.cli.settings import Settings
from actorflow.cli.signals import HANDLED, EarlySignals, Interrupted, Interruption
from actorflow.cli.statuses import STATUS_OF_RUN
from actorflow.cli.stores import is_lasting
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.result import RunResult
from actorflow.runtime.runtime import Runtime
from actorflow.spec.model import WorkflowSpec


@frozen(kw_only=True)
class Job:
    """A run to be started or resumed, and how."""

    spec: WorkflowSpec
    store: str
    agents: Mapping[str, str] = field(factory=dict[str, str])
    backend: str
    grace_s: float
    begin: Callable[[Runtime], Awaitable[RunHandle]]
    seen_seq: int = 0  #: of the last event that was there before; what comes after it is told


def carry_out(settings: Settings, job: Job) -> int:
    """Run it to its end, or to where a signal stops it, and tell of it.

    Returns:
        The exit status: of the run, whatever became of its hooks.

    Raises:
        ActorflowError: there is no run, or it could not be kept.
        Interrupted: a signal came before there was a run.
    """
    screen = settings.screen
    settings.early.note_only()
    with _records_shown(screen), redirect_stdout(sys.stderr):
        # what agents print is no part of the result
        account = anyio.run(partial(_drive, screen, job, settings.early), backend=job.backend)
    if screen.is_json:
        screen.document(result_document(account.result))
    else:
        screen.result(account_text(account))
    step = next_step(account, settings.store_option) if _can_go_on(job) else None
    if step is not None:
        screen.note(step)
    return STATUS_OF_RUN[account.result.status]


async def _drive(screen: Screen, job: Job, early: EarlySignals) -> Account:
    outcome: Account | BaseException = Interrupted()
    with anyio.open_signal_receiver(*HANDLED) as signals:
        early.raise_noted()
        async with Runtime(store=job.store, agents=job.agents, grace_s=job.grace_s) as runtime:
            interruption = Interruption(runtime, job.grace_s, screen.note)
            async with anyio.create_task_group() as watch:
                watch.start_soon(interruption.watch, signals, watch)
                # an error that left these scopes would come out as a group
                outcome = await _attempt(screen, job, runtime, interruption)
                watch.cancel_scope.cancel()
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def _attempt(
    screen: Screen, job: Job, runtime: Runtime, interruption: Interruption
) -> Account | Exception:
    try:
        for name in runtime.unused_agents(job.spec):
            screen.note(as_line(f"--agent {name}: the workflow has no agent of that name"))
        handle = await job.begin(runtime)
        interruption.run_began()
        screen.note(f"run {handle.run_id}")
        if not screen.is_quiet:
            await _tell_progress(screen, job, handle)
        result = await handle.settled()
        if interruption.is_asked:
            runtime.kill_all()  # of this run only hooks can be left, and they have had their time
        return await _account(job.spec, handle, result)
    except Exception as error:  # noqa: BLE001 - carried out of the scopes, and raised there
        return error


async def _tell_progress(screen: Screen, job: Job, handle: RunHandle) -> None:
    progress = Progress(job.spec)
    async for seq, event in handle.events():
        line = progress.line(event)
        if line is not None and seq > job.seen_seq:
            screen.note(line)


async def _account(spec: WorkflowSpec, handle: RunHandle, result: RunResult) -> Account:
    result = shown_result(spec, result)
    if not result.hooks.failed:
        return Account(spec, result)
    events = [each async for each in handle.events()]
    return Account(spec, result, failed_hooks(spec, events, await handle.deliveries()))


def _can_go_on(job: Job) -> bool:
    """Whether another process can find the run."""
    return is_lasting(job.store) and job.spec.limits.durability != "memory"


@contextmanager
def _records_shown(screen: Screen) -> Generator[None]:
    """Show what the runtime logs: notifications, and what is worth a warning."""
    shown = {
        logging.getLogger("actorflow"): logging.ERROR if screen.is_quiet else logging.WARNING,
        logging.getLogger("actorflow.notify"): logging.ERROR if screen.is_quiet else logging.INFO,
    }
    handlers = {logger: _ScreenHandler(screen, level) for logger, level in shown.items()}
    levels = {logger: logger.level for logger in shown}
    for logger, handler in handlers.items():
        logger.addHandler(handler)
        logger.setLevel(handler.level)
    try:
        yield
    finally:
        for logger, handler in handlers.items():
            logger.removeHandler(handler)
            logger.setLevel(levels[logger])


class _ScreenHandler(logging.Handler):
    """Writes the message of a record to stderr, and nothing else of it."""

    def __init__(self, screen: Screen, level: int) -> None:
        super().__init__(level)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; one that can't be formatted is shown as it stands."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        self._screen.error(as_line(message))
