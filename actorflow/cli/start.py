"""`actorflow run`: from the words of the command line to a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any, Final, Literal, cast

import click
from attrs import asdict, evolve, field, frozen

from actorflow.agents.binding import parse_runner_word
from actorflow.agents.loading import load_function
from actorflow.cli.allowances import Allowances, allowed_hosts, terms_for
from actorflow.cli.bindings import for_new_run
from actorflow.cli.execution import Job, Place, carry_out
from actorflow.cli.faults import problem_text
from actorflow.cli.files import read_inputs, recall_workflow
from actorflow.cli.screen import Screen, as_line
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interruption
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.cli.store.opening import store_url
from actorflow.cli.store.urls import is_lasting
from actorflow.errors import BadInputError, BindError, SpecError, WorkflowRunningError
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.inputs import checked_inputs
from actorflow.runtime.run_ids import checked_run_id
from actorflow.runtime.runtime import Runtime
from actorflow.spec.entries import chosen
from actorflow.spec.model import Durability, PythonRunner, Trust, WorkflowSpec
from actorflow.spec.short_secrets import short_secrets
from actorflow.spec.unsupported import unsupported

IfRunning = Literal["start", "skip", "wait", "fail"]
"""What to do where another run of the workflow is under way."""

_LOOK_AGAIN_S: Final = 0.5


@frozen(kw_only=True)
class Flags:
    """How a run is to be run; recorded with it, so that `resume` needs to be told nothing."""

    backend: str
    durability: str | None
    max_parallel: int | None
    grace: float  #: seconds


@frozen(kw_only=True)
class StartRequest:
    """What `run` was told."""

    file: str
    workflow: str | None
    inputs: Mapping[str, str]
    input_file: str | None
    agents: Mapping[str, str]
    run_id: str | None
    flags: Flags
    if_running: IfRunning = "start"
    is_strict: bool = False  #: whether a success with hooks amiss is none
    trust: Trust = "own"
    allows: Allowances = field(factory=Allowances)


def start(settings: Settings, request: StartRequest) -> int:
    """Run a workflow file to its end; the exit status says which."""
    check_agent_words(request.agents)
    if request.run_id is not None:
        checked_run_id(request.run_id)
    terms = terms_for(settings, request.trust, request.allows)
    recalled = recall_workflow(settings, request.file, terms)
    loaded = recalled.loaded
    warnings = (*loaded.warnings, *short_secrets(loaded.spec, request.file, os.environ))
    if warnings:
        settings.screen.note(problem_text(warnings))
    flags = request.flags
    spec = limited(chosen(loaded.spec, request.workflow), flags.durability, flags.max_parallel)
    refused = unsupported(spec)
    if refused:
        raise SpecError(tuple(replace(problem, file=request.file) for problem in refused))
    inputs = _inputs(spec, request)
    import_agents(request.agents, spec)

    async def begin(runtime: Runtime, interruption: Interruption) -> RunHandle:
        if recalled.news is not None and spec.limits.durability != "memory":
            runtime.keep_definition(recalled.news)

        async def begun() -> RunHandle:
            if_running: Literal["start", "fail"] = "start" if request.if_running == "start" else "fail"
            return await runtime.start(
                spec, inputs=inputs, run_id=request.run_id, flags=asdict(flags), if_running=if_running
            )

        waits = request.if_running == "wait"
        return await (_alone(settings.screen, begun, interruption) if waits else begun())

    store = store_url(settings)
    if request.if_running != "start" and (not is_lasting(store) or spec.limits.durability == "memory"):
        raise click.UsageError("--if-running: runs in memory know nothing of each other")
    place = Place(
        store=store,
        agents=for_new_run(settings, request.agents, spec),
        backend=flags.backend,
        grace_s=flags.grace,
        allow_hosts=allowed_hosts(settings, request.allows),
    )
    try:
        return carry_out(settings, Job(spec=spec, place=place, begin=begin, is_strict=request.is_strict))
    except WorkflowRunningError as other:
        if request.if_running != "skip":
            raise
        return _skipped(settings.screen, other)


async def _alone(
    screen: Screen, begin: Callable[[], Awaitable[RunHandle]], interruption: Interruption
) -> RunHandle:
    """Begin as soon as no other run of the workflow is under way.

    Raises:
        Interrupted: a signal came first.
    """
    named = ""
    while True:
        try:
            return await begin()
        except WorkflowRunningError as other:
            if other.run_id != named:
                screen.note(f"waiting for run {other.run_id} in process {other.pid} to end")
            named = other.run_id
        await interruption.idle(_LOOK_AGAIN_S)


def _skipped(screen: Screen, other: WorkflowRunningError) -> int:
    if screen.is_json:
        found = {"workflow": other.workflow, "run_id": other.run_id, "pid": other.pid}
        screen.document({"skipped": found})
    else:
        screen.note(as_line(f"skipped: {other}"))
    return Exit.SUCCESS


def limited(spec: WorkflowSpec, durability: object, max_parallel: object) -> WorkflowSpec:
    """The workflow with the limits that the command line gives in place of the file's."""
    limits = spec.limits
    if durability is not None:
        limits = evolve(limits, durability=cast("Durability", durability))
    if isinstance(max_parallel, int):
        limits = evolve(limits, max_parallel=max_parallel)
    return spec if limits == spec.limits else evolve(spec, limits=limits)


def check_agent_words(agents: Mapping[str, str]) -> None:
    """See that every `--agent` names a runner.

    Raises:
        Elsewhere: one does not; it stands on the command line.
    """
    for name, word in agents.items():
        try:
            parse_runner_word(word)
        except BindError as error:
            raise Elsewhere(BindError(f"--agent {name}: {error}"), Exit.USAGE) from error


def import_agents(agents: Mapping[str, str], spec: WorkflowSpec) -> None:
    """Import what `--agent` names and the workflow uses, so that a wrong name is found here.

    Raises:
        Elsewhere: a module or function can't be imported; it stands on the command line.
    """
    for name, word in agents.items():
        runner = parse_runner_word(word)
        if isinstance(runner, PythonRunner) and (name == "*" or name in spec.agent_names):
            try:
                with redirect_stdout(sys.stderr):  # what a module prints is no part of the result
                    load_function(runner.path, spec.folder)
            except BindError as error:
                raise Elsewhere(BindError(f"--agent {name}: {error}"), Exit.USAGE) from error


def _inputs(spec: WorkflowSpec, request: StartRequest) -> dict[str, Any]:
    """All inputs: those of the file, then those that were typed."""
    filed = read_inputs(request.input_file) if request.input_file is not None else {}
    given = {**filed, **request.inputs}
    problems = _problems(spec, given)
    if problems:
        is_files = set(problems) <= set(_problems(_without_required(spec), filed))
        raise Elsewhere(BadInputError(problems), Exit.BAD_FILE if is_files else Exit.USAGE)
    return given


def _problems(spec: WorkflowSpec, given: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        checked_inputs(spec, given)
    except BadInputError as error:
        return error.problems
    return ()


def _without_required(spec: WorkflowSpec) -> WorkflowSpec:
    if spec.inputs is None:
        return spec
    return evolve(
        spec, inputs={name: evolve(declared, required=False) for name, declared in spec.inputs.items()}
    )
