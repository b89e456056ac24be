"""The hooks of one run in this process: blocking ones, which its actor waits for, and what async ones are owed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import get_args

from attrs import frozen

from actorflow.core.commands import RunHook
from actorflow.core.events import Event, HookFinished, RunStarted
from actorflow.core.hook_config import FUNCTION, HookEntry
from actorflow.core.owed import functions_of
from actorflow.core.plan import Plan, plan_of
from actorflow.core.state import RunState
from actorflow.hooks.actions.action import ActionSurroundings, Dispatch
from actorflow.hooks.blocking import BlockingHook, HookOutcome
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.executor import HookExecutor
from actorflow.hooks.switches import ENVIRONMENT, RunSwitches
from actorflow.journal.protocol import Outcome, Write
from actorflow.runtime.clock import RunClock
from actorflow.runtime.dispatch import dispatched_spec, is_detached
from actorflow.runtime.environment import inherited_environment
from actorflow.runtime.hook_breakers import StoreBreakers
from actorflow.runtime.messages import HookGone, HookKey, Message
from actorflow.runtime.patience import is_patient
from actorflow.runtime.staff import Ledger, Staff
from actorflow.secrecy.run_secrets import RunSecrets
from actorflow.spec.model import HookAction

_logger = logging.getLogger("actorflow.runtime")


@frozen(kw_only=True, eq=False)
class HookPorts:
    """What the hooks of a run need of it."""

    run_id: str
    plan: Plan
    state: Callable[[], RunState]  #: as it is then
    staff: Staff
    ledger: Ledger
    clock: RunClock
    secrets: RunSecrets
    tell: Callable[[Message], None]  #: to the WorkflowActor
    keep: Callable[[Write, Callable[[Outcome], None]], None]
    dispatch: Dispatch
    is_new: bool  #: created by this process
    is_own: bool  #: its generation began in this process


class RunHooks:
    """Starts and ends the blocking hooks of a run, and has its async ones follow its events."""

    def __init__(self, ports: HookPorts) -> None:
        self._ports = ports
        self._running: dict[HookKey, BlockingHook] = {}
        if ports.staff.switches.off:
            _tell_of_slips(ports)

    @cached_property
    def debtor(self) -> Debtor:
        """The run as its async hooks know it."""
        ports = self._ports
        return Debtor(
            run_id=ports.run_id,
            plan=ports.plan,
            journal=ports.ledger.journal,
            keep=ports.keep,
            executor=self._executor,
            switches=self._switches,
            now=ports.clock.now,
            is_new=ports.is_new,
            is_own=ports.is_own,
            note=ports.staff.metrics.note_delivery,
        )

    def follow(self, events: Sequence[Event], seq: int) -> None:
        """These events are in the journal, the last under this number."""
        self._ports.staff.hooks.follow(self.debtor).note(seq - len(events) + 1, events)

    def run(self, command: RunHook) -> None:
        """Perform a blocking hook; a HookFinished or HookGone answers."""
        ports, staff = self._ports, self._ports.staff
        place: HookKey = (command.event, command.index, command.subject)

        def answer(outcome: HookOutcome | None) -> None:
            self._running.pop(place, None)
            if outcome is None:
                ports.tell(HookGone(place))
            else:
                event, index, subject = place
                now = ports.clock.now()
                ports.tell(HookFinished(now, event, index, outcome.status, outcome.record, subject))

        spec, path = command.context.spec, command.context.path
        reason = self._switches.skip_reason(spec, path) or self._switches.hold_reason(spec, path)
        if reason:
            answer(HookOutcome("skipped", {"reason": reason}))
            return
        hook = BlockingHook(command.context, self._executor, host=staff.host, pool=staff.pool, answer=answer)
        self._running[place] = hook
        staff.hooks.start(hook)

    def cancel(self, place: HookKey) -> None:
        """End a blocking hook; it counts as canceled."""
        if place in self._running:
            self._running[place].cancel()

    def abandon(self) -> None:
        """End all blocking hooks; nothing of them is recorded."""
        for hook in list(self._running.values()):
            hook.abandon()

    @cached_property
    def _switches(self) -> RunSwitches:
        started = self._ports.state().started
        recorded = None if started is None else started.flags.get(ENVIRONMENT)
        return self._ports.staff.switches.for_run(recorded)

    @cached_property
    def _executor(self) -> HookExecutor:
        ports, staff, spec = self._ports, self._ports.staff, self._ports.plan.spec
        around = ActionSurroundings(
            host=staff.host,
            trees=staff.trees,
            folder=spec.folder,
            inherited=inherited_environment(spec),
            secrets=ports.secrets,
            metrics=staff.metrics,
            dispatch=ports.dispatch,
            functions=staff.functions,
            http=staff.http,
            guard=staff.guard,
        )
        executor = HookExecutor(
            host=staff.host,
            registry=staff.registry,
            around=around,
            rates=staff.rates,
            breakers=StoreBreakers(
                staff.host, ports.ledger.actor, ports.ledger.clock, flush=not is_patient(spec)
            ),
            now=ports.clock.now,
        )
        executor.recall_gone(ports.state().gone_targets)  # by async hooks: once their deliveries are read
        return executor


def _tell_of_slips(ports: HookPorts) -> None:
    """Log what ACTORFLOW_HOOKS lists in vain; of a run that a hook has started, its parent's log has it."""
    started = ports.state().started
    if started is None or is_detached(started):
        return
    actions = {*get_args(HookAction), FUNCTION, *ports.staff.registry.names()}
    slips = ports.staff.switches.slips(_entries(ports.plan, started), actions)
    if slips:
        _logger.warning("run %s: %s", ports.run_id, slips)


def _entries(plan: Plan, started: RunStarted) -> Iterator[HookEntry]:
    """The hooks of a run, its program's functions, and the hooks of the runs that it may start."""
    yield from plan.hooks.entries
    for functions in functions_of(started.flags).values():
        yield from functions
    for task in plan.spec.dispatched:
        yield from plan_of(dispatched_spec(plan.spec, task.id)).hooks.entries
