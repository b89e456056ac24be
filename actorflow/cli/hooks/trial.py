"""`actorflow hooks test`: what the hooks of an event would do, and what comes of it if they do."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from attrs import evolve, frozen

from actorflow.cli.allowances import Allowances, allowed_hosts, guard_for, terms_for
from actorflow.cli.execution import Place, in_runtime
from actorflow.cli.faults import complain
from actorflow.cli.files import load_workflow
from actorflow.cli.hooks.drain import unless_stopped
from actorflow.cli.hooks.hiding import HookHiding, shown_reason, shown_record
from actorflow.cli.hooks.lines import hook_lines
from actorflow.cli.hooks.requests import ShownRequest, obstacle, shown_request
from actorflow.cli.hooks.runs import HookRun, hook_name
from actorflow.cli.layout import as_json, columns, counted
from actorflow.cli.performance import performer
from actorflow.cli.rehearsal import Rehearsal, rehearse
from actorflow.cli.samples import TrialRequest, sample_of
from actorflow.cli.screen import as_line
from actorflow.cli.script import Fired, Sample
from actorflow.cli.sensitive import sensitive_tasks, shown_params
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interrupted, Interruption
from actorflow.cli.statuses import Exit
from actorflow.cli.store.urls import MEMORY
from actorflow.core.delivery import TryResult
from actorflow.core.hook_config import OF_RUNS
from actorflow.core.hook_context import HookContext
from actorflow.core.plan import Plan, plan_of
from actorflow.egress.guard import Guard
from actorflow.hooks.registry import REGISTRY
from actorflow.hooks.switches import HookSwitches
from actorflow.runtime.environment import run_secrets
from actorflow.runtime.runtime import Runtime
from actorflow.secrecy.source import SecretUnreadable
from actorflow.spec.entries import chosen
from actorflow.spec.sensitive import HIDDEN


@frozen
class Verdict:
    """A hook of the event, and whether it would act here."""

    fired: Fired
    params: Any = None  #: as they are shown
    request: ShownRequest | None = None  #: what it would send
    hindrance: str = ""  #: why it cannot act here, or at all
    outcome: TryResult | None = None  #: of performing it
    took_s: float | None = None

    @property
    def is_passed_over(self) -> bool:
        """Whether it does nothing, as it should."""
        return bool(self.fired.skip)

    @property
    def acts(self) -> bool:
        """Whether its action would be performed."""
        return self.fired.context is not None and not self.hindrance and not self.fired.skip

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with it."""
        if self.fired.fault or self.hindrance:
            return False
        return self.outcome is None or bool(self.outcome.skip) or self.outcome.status == "ok"


def try_hooks(settings: Settings, request: TrialRequest, given: Allowances) -> int:
    """Show what each hook would do, or did; 0 if nothing is wrong with any.

    Raises:
        click.UsageError: there is no such event or task, or an output is no JSON.
        BadInputError: an input is not what is declared.
        SpecError: with all that is wrong with the file.
    """
    spec = chosen(load_workflow(request.file, terms_for(settings, "own", given)).spec, request.workflow)
    plan = plan_of(spec)
    sample = sample_of(plan, request)
    rehearsal = rehearse(plan, sample)
    guard = guard_for(settings, given)
    verdicts = [_judged(plan, sample, guard, fired) for fired in rehearsal.fired]
    if not request.is_for_real or not any(each.acts for each in verdicts):
        return _tell(settings, sample, rehearsal, verdicts)

    async def work(_: Runtime, interruption: Interruption) -> Sequence[Verdict] | None:
        try:
            return await unless_stopped(partial(_perform, plan, guard, verdicts), interruption)
        except Interrupted:
            return None

    def conclude(done: Sequence[Verdict] | None) -> int:
        if done is not None:
            return _tell(settings, sample, rehearsal, done)
        if settings.screen.is_json:
            return complain(settings.screen, InterruptedError())
        settings.screen.error("interrupted; what ran was ended")
        return Exit.STOPPED

    place = Place(store=MEMORY, allow_hosts=allowed_hosts(settings, given))
    return in_runtime(settings, place, work, conclude)


# What would be done


def _judged(plan: Plan, sample: Sample, guard: Guard, fired: Fired) -> Verdict:
    spec, context = fired.entry.spec, fired.context
    skip = HookSwitches.from_environment(os.environ).skip_reason(spec, fired.entry.path)
    if skip and not fired.fault:  # what cannot be rendered fails wherever it is switched off
        return Verdict(evolve(fired, skip=fired.skip or skip))
    if context is None:
        return Verdict(fired)
    task = "" if context.task is None else sample.task
    params = shown_params(plan.spec, spec, task, context.params)
    is_hidden = task in sensitive_tasks(plan.spec)
    told = evolve(context, output=HIDDEN, error=None) if is_hidden else context
    is_shown = isinstance(params, Mapping)  # else it is hidden as a whole
    request = shown_request(told, cast("Mapping[str, Any]", params)) if is_shown else None
    return Verdict(fired, params, request, _hindrance(plan, guard, context))


def _hindrance(plan: Plan, guard: Guard, context: HookContext) -> str:
    """What keeps a hook from acting in this process."""
    action, secrets = context.spec.action, run_secrets(plan)
    if REGISTRY.action(action) is None:
        return f"the action {action} cannot run in this version, and no program has registered it"
    try:
        secrets.unsealed(context.params)
    except SecretUnreadable as missing:
        return str(missing)
    return obstacle(context, guard, secrets)


async def _perform(plan: Plan, guard: Guard, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    """Perform those that act, one after the other, once each."""
    hiding = HookHiding(plan.spec)
    async with performer(plan, guard) as perform_once:
        return [_hidden(hiding, await _performed(perform_once, each)) for each in verdicts]


async def _performed(
    perform_once: Callable[[HookContext], Awaitable[TryResult]], verdict: Verdict
) -> Verdict:
    context = verdict.fired.context
    if context is None or not verdict.acts:
        return verdict
    began = time.monotonic()
    outcome = await perform_once(context)
    return evolve(verdict, outcome=outcome, took_s=time.monotonic() - began)


def _hidden(hiding: HookHiding, verdict: Verdict) -> Verdict:
    """What came of it, without what is sensitive."""
    outcome, context = verdict.outcome, verdict.fired.context
    if outcome is None or context is None:
        return verdict
    task = "" if context.task is None else str(context.task["id"])
    if not hiding.hides(verdict.fired.entry, task):
        return verdict
    shown = evolve(outcome, error=shown_reason(outcome.error), record=shown_record(outcome.record))
    return evolve(verdict, outcome=shown)


# How it is told


def _tell(settings: Settings, sample: Sample, rehearsal: Rehearsal, verdicts: Sequence[Verdict]) -> int:
    screen = settings.screen
    if screen.is_json:
        screen.document(_document(sample, rehearsal, verdicts))
    elif not verdicts:
        screen.note(as_line(f"there are no hooks on {_occasion(sample)}"))
    else:
        screen.result(as_line(f"{_occasion(sample)}: {counted(len(verdicts), 'hook')}"))
        for each in verdicts:
            screen.result("\n".join(["", *_lines(each)]))
    if not rehearsal.is_possible and not screen.is_json:
        screen.note(as_line(f"as task {sample.task} is defined, {sample.event} cannot happen to it"))
    return Exit.SUCCESS if all(each.is_good for each in verdicts) else Exit.FAILED


def _occasion(sample: Sample) -> str:
    return sample.event if _is_of_run(sample) else f"{sample.event} of task {sample.task}"


def _is_of_run(sample: Sample) -> bool:
    """Whether the event is about no task, whichever the made-up history has."""
    return sample.event in OF_RUNS or sample.event == "signal_received"


def _lines(verdict: Verdict) -> list[str]:
    fired = verdict.fired
    spec = fired.entry.spec
    if verdict.outcome is not None:
        return [*hook_lines(_as_run(verdict, verdict.outcome), indent=""), *_given_lines(verdict)]
    head = f"{fired.entry.path} {_would(verdict)} ({hook_name(spec)}; {spec.mode} {spec.action})"
    return [as_line(head), *_given_lines(verdict), *_param_lines(fired.record)]


def _would(verdict: Verdict) -> str:
    fired = verdict.fired
    if fired.fault:
        return f"would fail: {fired.fault}"
    if fired.skip:
        return f"would be passed over: {fired.skip}"
    if verdict.hindrance:
        return f"cannot act here: {verdict.hindrance}"
    return "would set" if fired.context is None else "would act"


def _given_lines(verdict: Verdict) -> list[str]:
    if verdict.request is None:
        return _param_lines(verdict.params)
    return columns(verdict.request.lines(), indent="  ")


def _param_lines(params: Any) -> list[str]:
    if not isinstance(params, Mapping):
        return []
    given = cast("Mapping[str, Any]", params)
    return columns([(f"{name}:", as_json(value)) for name, value in given.items()], indent="  ")


def _as_run(verdict: Verdict, outcome: TryResult) -> HookRun:
    entry = verdict.fired.entry
    record = {"duration_s": verdict.took_s, **outcome.record, "summary": outcome.skip or outcome.error}
    return HookRun(
        path=entry.path,
        name=hook_name(entry.spec),
        event=entry.event,
        status="skipped" if outcome.skip else outcome.status,
        record=record,
    )


def _document(sample: Sample, rehearsal: Rehearsal, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "event": sample.event,
        "task": None if _is_of_run(sample) else sample.task,
        "status": sample.status,
        "is_possible": rehearsal.is_possible,
        "hooks": [_hook_document(each) for each in verdicts],
    }


def _hook_document(verdict: Verdict) -> dict[str, Any]:
    fired, spec, outcome = verdict.fired, verdict.fired.entry.spec, verdict.outcome
    return {
        "hook": fired.entry.path,
        "name": hook_name(spec),
        "action": spec.action,
        "blocking": fired.entry.is_blocking,
        "acts": verdict.acts,
        "skip": fired.skip or None,
        "fault": fired.fault or verdict.hindrance or None,
        "params": verdict.params,
        "request": None if verdict.request is None else verdict.request.document(),
        "sets": dict(fired.record) or None,
        "outcome": None if outcome is None else _outcome_document(outcome, verdict.took_s),
    }


def _outcome_document(outcome: TryResult, took_s: float | None) -> dict[str, Any]:
    return {
        "status": "skipped" if outcome.skip else outcome.status,
        "why": outcome.skip or outcome.error or None,
        "duration_s": took_s,
        "record": dict(outcome.record),
    }
