"""`actorflow hooks test`: what the hooks of an event would do, and what comes of it if they do."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, cast, get_args

import click
from attrs import evolve, frozen

from actorflow.cli.execution import Place, in_runtime
from actorflow.cli.files import load_workflow
from actorflow.cli.hook_catalogue import NOT_YET
from actorflow.cli.hook_drain import unless_stopped
from actorflow.cli.hook_lines import hook_lines
from actorflow.cli.hook_runs import HookRun, hook_name
from actorflow.cli.layout import as_json, columns, counted
from actorflow.cli.performance import performer
from actorflow.cli.rehearsal import Rehearsal, rehearse
from actorflow.cli.screen import as_line
from actorflow.cli.script import Fired, Sample
from actorflow.cli.sensitive import shown_params
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interruption
from actorflow.cli.statuses import Exit
from actorflow.core.delivery import TryResult
from actorflow.core.hook_config import OF_RUNS
from actorflow.core.hook_context import HookContext
from actorflow.core.plan import Plan, plan_of
from actorflow.expression.names import did_you_mean
from actorflow.hooks.registry import REGISTRY
from actorflow.hooks.switches import HookSwitches
from actorflow.runtime.environment import run_secrets
from actorflow.runtime.inputs import checked_inputs
from actorflow.runtime.runtime import Runtime
from actorflow.secrecy.source import SecretUnreadable
from actorflow.spec.entries import chosen
from actorflow.spec.model import HookEvent, InputSpec, InputType, WorkflowSpec


@frozen(kw_only=True)
class TrialRequest:
    """What `hooks test` was told."""

    file: str
    event: str
    workflow: str | None
    task: str | None
    status: Literal["success", "failed", "canceled"] | None
    inputs: Mapping[str, str]
    outputs: Sequence[str]  #: JSON, of the task that it is about unless one is named before a `=`
    is_for_real: bool


@frozen
class Verdict:
    """A hook of the event, and whether it would act here."""

    fired: Fired
    params: Any = None  #: as they are shown
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


def try_hooks(settings: Settings, request: TrialRequest) -> int:
    """Show what each hook would do, or did; 0 if nothing is wrong with any.

    Raises:
        click.UsageError: there is no such event or task, or an output is no JSON.
        BadInputError: an input is not what is declared.
        SpecError: with all that is wrong with the file.
    """
    spec = chosen(load_workflow(request.file).spec, request.workflow)
    plan = plan_of(spec)
    sample = _sample(plan, request)
    rehearsal = rehearse(plan, sample)
    verdicts = [_judged(plan, sample, fired) for fired in rehearsal.fired]
    if request.is_for_real and any(each.acts for each in verdicts):

        async def work(_: Runtime, interruption: Interruption) -> list[Verdict]:
            return await _perform(plan, verdicts, interruption)

        return in_runtime(
            settings, Place(store="memory:"), work, lambda done: _tell(settings, sample, rehearsal, done)
        )
    return _tell(settings, sample, rehearsal, verdicts)


# What is made up


def _sample(plan: Plan, request: TrialRequest) -> Sample:
    event = _event(request.event)
    is_failure = event in ("on_error", "dead_lettered")
    if is_failure and request.status not in (None, "failed"):
        raise _usage(f"--status {request.status}: {event} comes of a failure alone")
    task = _task(plan, event, request.task)
    payload, outputs = _outputs(task, request.outputs)
    return Sample(
        event=event,
        task=task,
        status="failed" if is_failure else request.status or "success",
        inputs=sample_inputs(plan.spec, request.inputs),
        outputs=outputs,
        payload=payload,
        now=time.time(),
    )


def _event(word: str) -> HookEvent:
    events = get_args(HookEvent)
    if word not in events:
        hint = did_you_mean(word, events) or "; `actorflow hooks events` lists them"
        raise _usage(f"there is no event {word!r}{hint}")
    if word in NOT_YET:
        raise _usage(f"nothing in this version fires {word}")
    return cast("HookEvent", word)


def _task(plan: Plan, event: HookEvent, word: str | None) -> str:
    if word is not None:
        if word not in plan.index:
            raise _usage(f"--task {word}: the workflow has no such task{did_you_mean(word, plan.index)}")
        return word
    if plan.order:
        return plan.tasks[plan.order[0]].id
    if event in OF_RUNS or event == "signal_received":
        return ""
    raise _usage(f"{event} happens to tasks, and the workflow has none")


def _outputs(task: str, words: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """What a signal carries, and what tasks gave."""
    payload: Any = None
    outputs: dict[str, Any] = {}
    for word in words:
        named = _OF_TASK.fullmatch(word)
        name, text = (named[1], named[2]) if named else (task, word)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _usage(f"--output {word}: no JSON: {error}; a text stands in double quotes") from error
        outputs[name] = value
        payload = payload if named else value
    return payload, outputs


_OF_TASK: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)


def sample_inputs(spec: WorkflowSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that are given, checked, and something for each that must be and is not.

    Raises:
        BadInputError: one is not what is declared.
    """
    made_up = {
        name: _made_up(declared)
        for name, declared in (spec.inputs or {}).items()
        if declared.required and not declared.has_default and name not in given
    }
    return checked_inputs(spec, {**made_up, **given})


def _made_up(declared: InputSpec) -> Any:
    return declared.enum[0] if declared.enum else _OF_TYPE[declared.type]


_OF_TYPE: Final[Mapping[InputType, Any]] = {
    "string": "sample",
    "number": 1.5,
    "integer": 1,
    "boolean": True,
    "object": {},
    "array": [],
}


def _usage(message: str) -> click.UsageError:
    return click.UsageError(message, click.get_current_context())


# What would be done


def _judged(plan: Plan, sample: Sample, fired: Fired) -> Verdict:
    spec, context = fired.entry.spec, fired.context
    skip = HookSwitches.from_environment(os.environ).skip_reason(spec, fired.entry.path)
    if skip:
        return Verdict(evolve(fired, skip=fired.skip or skip))
    if context is None:
        return Verdict(fired)
    task = "" if context.task is None else sample.task
    params = shown_params(plan.spec, spec, task, context.params)
    return Verdict(fired, params, _hindrance(plan, fired))


def _hindrance(plan: Plan, fired: Fired) -> str:
    """What keeps a hook from acting in this process."""
    action = fired.entry.spec.action
    if REGISTRY.action(action) is None:
        return f"the action {action} cannot run in this version, and no program has registered it"
    try:
        run_secrets(plan).unsealed(None if fired.context is None else fired.context.params)
    except SecretUnreadable as missing:
        return str(missing)
    return ""


async def _perform(plan: Plan, verdicts: Sequence[Verdict], interruption: Interruption) -> list[Verdict]:
    """Perform those that act, one after the other, once each.

    Raises:
        Interrupted: a signal came; what ran was ended.
    """
    perform_once = performer(plan)

    async def perform() -> list[Verdict]:
        return [await _performed(perform_once, each) for each in verdicts]

    return await unless_stopped(perform, interruption)


async def _performed(
    perform_once: Callable[[HookContext], Awaitable[TryResult]], verdict: Verdict
) -> Verdict:
    context = verdict.fired.context
    if context is None or not verdict.acts:
        return verdict
    began = time.monotonic()
    outcome = await perform_once(context)
    return evolve(verdict, outcome=outcome, took_s=time.monotonic() - began)


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
    if sample.event in OF_RUNS or sample.event == "signal_received":
        return sample.event
    return f"{sample.event} of task {sample.task}"


def _lines(verdict: Verdict) -> list[str]:
    fired = verdict.fired
    spec = fired.entry.spec
    if verdict.outcome is not None:
        return [*hook_lines(_as_run(verdict, verdict.outcome), indent=""), *_param_lines(verdict.params)]
    head = f"{fired.entry.path} {_would(verdict)} ({hook_name(spec)}; {spec.mode} {spec.action})"
    return [as_line(head), *_param_lines(verdict.params), *_param_lines(fired.record)]


def _would(verdict: Verdict) -> str:
    fired = verdict.fired
    if fired.fault:
        return f"would fail: {fired.fault}"
    if fired.skip:
        return f"would be passed over: {fired.skip}"
    if verdict.hindrance:
        return f"cannot act here: {verdict.hindrance}"
    return "would set" if fired.context is None else "would act"


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
        "task": sample.task or None,
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
