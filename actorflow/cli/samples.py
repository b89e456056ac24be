"""What `hooks test` makes up: inputs of the declared types, outputs, and what happens to which task."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any, Final, Literal, cast, get_args

import click
from attrs import frozen

from actorflow.cli.script import Sample
from actorflow.core.hook_config import OF_RUNS
from actorflow.core.plan import Plan
from actorflow.expression.names import did_you_mean
from actorflow.runtime.inputs import checked_inputs
from actorflow.spec.model import NOT_FIRED_YET, HookEvent, InputSpec, InputType, WorkflowSpec

__all__ = ["TrialRequest", "sample_inputs", "sample_of"]


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


def sample_of(plan: Plan, request: TrialRequest) -> Sample:
    """What is made up for a trial.

    Raises:
        click.UsageError: there is no such event or task, or an output is no JSON.
        BadInputError: an input is not what is declared.
    """
    event = _event(request.event)
    is_failure = event in ("on_error", "dead_lettered")
    if is_failure and request.status not in (None, "failed"):
        raise _usage(f"--status {request.status}: {event} comes of a failure alone")
    task = _task(plan, event, request.task)
    payload, outputs = _outputs(plan, task, request.outputs)
    return Sample(
        event=event,
        run_id=f"test-{token_hex(4)}",
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
    if word in NOT_FIRED_YET:
        raise _usage(f"nothing in this version fires {word}")
    return cast("HookEvent", word)


def _task(plan: Plan, event: HookEvent, word: str | None) -> str:
    if word is not None:
        if event in OF_RUNS:
            raise _usage(f"--task {word}: {event} happens to a run, and to no task of it")
        if word not in plan.index:
            raise _usage(f"--task {word}: the workflow has no such task{did_you_mean(word, plan.index)}")
        return word
    if plan.order:
        return plan.tasks[plan.order[0]].id
    if event in OF_RUNS or event == "signal_received":
        return ""
    raise _usage(f"{event} happens to tasks, and the workflow has none")


def _outputs(plan: Plan, task: str, words: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """What a signal carries, and what tasks gave."""
    payload: Any = None
    outputs: dict[str, Any] = {}
    for word in words:
        named = _OF_TASK.fullmatch(word)
        name, text = (named[1], named[2]) if named else (task, word)
        if named and name not in plan.index:
            raise _usage(f"--output {name}=…: the workflow has no such task{did_you_mean(name, plan.index)}")
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
