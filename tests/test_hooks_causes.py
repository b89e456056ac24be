"""What each end of a task or a run fires: a case for each cell of the table, whoever is told, and whether or not he is waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import anyio
import pytest
from attrs import define, field, frozen
from ruamel.yaml import YAML

from actorflow import AgentCall, RunHandle, RunResult, Runtime, WorkflowSpec, load_dict
from actorflow.core.events import BlockingHookEvent
from actorflow.core.hook_context import HookContext
from actorflow.errors import (
    ActorflowError,
    BadInputError,
    BindError,
    MissingVariablesError,
    UnboundAgentsError,
)
from actorflow.hooks import HookRegistry
from actorflow.spec.model import NOT_FIRED_YET, HookEvent

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parent / "data" / "hook_causes.yaml"

TABLE = ("task_finished", "on_error", "workflow_finished", "post_workflow")
"""The columns."""

OF_GENERATIONS = ("pre_workflow", "workflow_started")
"""What is told once for each generation."""

RUN_ID = "r"


@frozen(kw_only=True)
class Case:
    """A cause, and all that it fires."""

    cause: str
    tasks: Mapping[str, Any]
    steps: Sequence[str] = ("end",)  #: what is done to the run
    steps_of_stages: Sequence[Mapping[str, Any]] = ()
    limits: Mapping[str, Any] = field(factory=dict[str, Any])
    outputs: Mapping[str, Any] = field(factory=dict[str, Any])
    hooks: Mapping[str, Sequence[Any]] = field(factory=dict[str, Any])  #: beside those that listen
    is_durable: bool = False  #: it needs a store that outlives its runtime
    generations: int = 1
    failed_hooks: int = 0  #: of those beside
    had_errors: bool = False  #: a success that had
    task_finished: Sequence[str] = ()
    on_error: Sequence[str] = ()
    workflow_finished: Sequence[str] = ()
    post_workflow: Sequence[str] = ()
    besides: Sequence[str] = ()
    #: what blocking hooks are told by event, where it is not the same
    waited_for: Mapping[str, Sequence[str]] = field(factory=dict[str, Any])
    #: where they stand behind hooks of the case
    listens_behind: Sequence[str] = ("on_error", "post_workflow")

    @property
    def fires(self) -> Counter[str]:
        """All that async hooks are told."""
        table = [f"{event} {told}" for event in TABLE for told in getattr(self, event)]
        return Counter([*table, *self.besides, *(OF_GENERATIONS * self.generations)])

    @property
    def blocks(self) -> Counter[str]:
        """All that blocking hooks are told."""
        told = {name: count for name, count in self.fires.items() if name.split(" ")[0] in BLOCKING}
        for event, names in self.waited_for.items():
            told = {name: count for name, count in told.items() if name.split(" ")[0] != event}
            told.update(Counter(f"{event} {name}" for name in names))
        return Counter(told)

    def spec(self, registry: HookRegistry, *, is_waited_for: bool) -> WorkflowSpec:
        """The workflow, with hooks that listen to all events."""
        hooks = {
            event: [*self.hooks.get(event, ()), {"type": "note", "mode": "async"}]
            for event in get_args(HookEvent)
        }
        if is_waited_for:
            for event in BLOCKING:
                place = len(hooks[event]) if event in self.listens_behind else 0
                hooks[event].insert(place, LISTENER)
        whole: dict[str, Any] = {
            "name": "w",
            "inputs": {"numbers": {"type": "array", "default": [1]}},
            "limits": dict(self.limits),
            "outputs": dict(self.outputs),
            "tasks": dict(self.tasks),
        }
        if self.steps_of_stages:
            whole["workflows"] = {"main": {"hooks": hooks, "steps": list(self.steps_of_stages)}}
        else:
            whole["hooks"] = hooks
        return load_dict(whole, trust="own", actions=registry.contracts)


BLOCKING = frozenset(get_args(BlockingHookEvent))

LISTENER = {
    "command": 'echo "$ACTORFLOW_EVENT|${ACTORFLOW_TASK-}|$ACTORFLOW_STATUS|$ERROR" >> "$TOLD"',
    "env": {"ERROR": "{{ error.type if error != null else '' }}"},
    "mode": "blocking",
}
"""A blocking hook that appends to a file."""


def _cases() -> list[Case]:
    return [Case(**case) for case in YAML(typ="safe", pure=True).load(DATA.read_text(encoding="utf-8"))]


CASES = _cases()


def _name_of(event: str, task: str, status: str, error: str) -> str:
    """What is told, as the table has it."""
    told = {
        "task_finished": [task, status, error if status == "failed" else ""],
        **{name: [status] for name in ("on_stage_complete", *TABLE[1:])},
    }.get(event, [task])
    return " ".join([event, *filter(None, told)])


@frozen
class NoParams:
    """Nothing."""


@define
class Listener:
    """Hears what hooks are told, in whichever process, and by which way."""

    notes: list[str] = field(factory=list[str])  #: of the action
    calls: list[str] = field(factory=list[str])  #: of functions
    registry: HookRegistry = field(factory=HookRegistry)

    def __attrs_post_init__(self) -> None:
        @self.registry.hook_action("note", params=NoParams)
        async def note(context: HookContext, params: NoParams) -> None:
            self.notes.append(_told(context))

    def listen(self, rt: Runtime) -> None:
        """Have functions called for all events."""

        async def told(context: HookContext) -> None:
            self.calls.append(_told(context))

        for event in get_args(HookEvent):
            if event not in NOT_FIRED_YET:
                rt.on(event, name="told")(told)


def _told(context: HookContext) -> str:
    error = context.error or {}
    task = "" if context.task is None else context.task["id"]
    return _name_of(context.event, task, context.status, error.get("type", ""))


@define
class Stage:
    """Where a case is played: agents, and a runtime that may be left and entered again."""

    store: str
    listener: Listener
    rt: Runtime = field(init=False)
    is_let_go: anyio.Event = field(factory=anyio.Event)
    handle: RunHandle = field(init=False)
    seq: int = 0
    results: list[RunResult] = field(factory=list[RunResult])

    async def __aenter__(self) -> Self:
        self.rt = Runtime(store=self.store, agents=self.agents, hooks=self.listener.registry, grace_s=0.0)
        self.listener.listen(self.rt)
        await self.rt.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.rt.__aexit__(*raised)

    @property
    def agents(self) -> dict[str, Any]:
        return {
            "fine": _fine,
            "broken": _broken,
            "mended": _mended,
            "shaky": _shaky,
            "stuck": _stuck,
            "slow": self._slow,
        }

    async def _slow(self, call: AgentCall) -> str:
        """Take until it is let go, or its second start."""
        if call.loss == 0:
            await self.is_let_go.wait()
        return "let go"

    async def play(self, spec: WorkflowSpec, steps: Sequence[str]) -> None:
        self.handle = await self.rt.start(spec, run_id=RUN_ID)
        for step in steps:
            await self.do(*step.split(" "))

    async def do(self, *step: str) -> None:
        match step:
            case ["until", event, *task]:
                await self.until(event, *task)
            case ["cancel"]:
                self.handle.cancel()
            case ["pause", *gently]:
                await self.handle.pause(grace_s=30.0 if gently else 0.0)
                await self.handle.settled()
            case ["leave"]:
                await self.rt.__aexit__(None, None, None)
                await self.__aenter__()
            case ["resume"]:
                self.handle = await self.rt.start_resumed(RUN_ID)
            case ["retry", task]:
                self.handle = await self.rt.start_retried(f"{RUN_ID}/1/{task}")
            case ["let", "go"]:
                self.is_let_go.set()
            case ["signal"]:
                await self.rt.signal(RUN_ID, "go", {"n": 1})
            case ["end"]:
                self.results.append(await self.handle.settled())
            case _:
                raise AssertionError(f"there is no step {' '.join(step)!r}")

    async def until(self, event: str, task: str | None = None) -> None:
        """Wait for an event that was not there when this was last asked."""
        async for seq, each in self.handle.events(self.seq):
            self.seq = seq
            if type(each).__name__ == event and (task is None or getattr(each, "task", "") == task):
                return
        raise AssertionError(f"{event} of {task} never came")


async def _fine(call: AgentCall) -> str:
    return "fine"


async def _broken(call: AgentCall) -> None:
    raise RuntimeError("out of order")


async def _mended(call: AgentCall) -> str:
    if call.idempotency_key.endswith("/1"):
        raise RuntimeError("not mended yet")
    return "mended"


async def _shaky(call: AgentCall) -> str:
    if call.attempt < 3:
        raise ConnectionError("hung up")
    return "fine"


async def _stuck(call: AgentCall) -> None:
    await anyio.sleep_forever()


def _url(folder: Path, *, is_durable: bool) -> str:
    return f"sqlite:///{folder}/s.db" if is_durable else "memory:"


def _from_file(path: Path) -> Counter[str]:
    lines = path.read_text().splitlines() if path.exists() else ()
    return Counter(_name_of(*line.split("|")) for line in lines)


@pytest.mark.parametrize(
    ("store", "is_waited_for"), [("memory", False), ("sqlite", True)], ids=["async", "blocking"]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.cause.replace(" ", "-"))
async def test_a_cause_fires_exactly_what_the_table_says(case, store, is_waited_for, tmp_path, monkeypatch):
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    listener = Listener()
    spec = case.spec(listener.registry, is_waited_for=is_waited_for)
    async with Stage(_url(tmp_path, is_durable=store == "sqlite" or case.is_durable), listener) as stage:
        await stage.play(spec, case.steps)
        deliveries = await stage.handle.deliveries()
    assert Counter(listener.notes) == case.fires
    assert Counter(listener.calls) == case.fires
    assert {delivery.status for delivery in deliveries} == {"delivered"}
    assert len({delivery.delivery_id for delivery in deliveries}) == 2 * case.fires.total()
    assert _from_file(tmp_path / "told") == (case.blocks if is_waited_for else Counter())
    result = stage.results[-1]
    assert (result.hooks.failed, result.hooks.pending) == (case.failed_hooks, 0)
    assert (result.had_errors and result.status == "success") == case.had_errors


_WANTS_A_SECRET = {"command": "true", "env": {"KEY": "${ACTORFLOW_TESTS_NONE}"}}

NEVER_A_RUN: Mapping[str, tuple[type[ActorflowError], Mapping[str, Any], Mapping[str, Any]]] = {
    "an input that is missing": (
        BadInputError,
        {"inputs": {"order": {"required": True}}, "tasks": {"a": {"agent": "fine"}}},
        {},
    ),
    "an input of another type": (
        BadInputError,
        {"inputs": {"order": {"type": "integer"}}, "tasks": {"a": {"agent": "fine"}}},
        {"order": "seven"},
    ),
    "an agent that nothing runs": (UnboundAgentsError, {"tasks": {"a": {"agent": "nobody"}}}, {}),
    "a module that is not there": (BindError, {"tasks": {"a": {"python": "no_such_module:work"}}}, {}),
    "a function that is not there": (BindError, {"tasks": {"a": {"python": "json:no_such_function"}}}, {}),
    "a secret that is missing": (
        MissingVariablesError,
        {"tasks": {"a": _WANTS_A_SECRET}},
        {},
    ),
    "a secret of a hook that is missing": (
        MissingVariablesError,
        {"tasks": {"a": {"agent": "fine", "hooks": {"task_finished": [_WANTS_A_SECRET]}}}},
        {},
    ),
}


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize(("error", "definition", "inputs"), NEVER_A_RUN.values(), ids=NEVER_A_RUN.keys())
async def test_what_is_found_before_a_run_exists_fires_nothing(
    error, definition, inputs, store, tmp_path, monkeypatch
):
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    listener = Listener()
    hooks = {event: [{"type": "note", "mode": "async"}] for event in get_args(HookEvent)}
    hooks |= {event: [*hooks[event], LISTENER] for event in BLOCKING}
    spec = load_dict(
        {"name": "w", "hooks": hooks, **definition}, trust="own", actions=listener.registry.contracts
    )
    async with Stage(_url(tmp_path, is_durable=store == "sqlite"), listener) as stage:
        with pytest.raises(error):
            await stage.rt.start(spec, inputs=inputs, run_id=RUN_ID)
        assert await stage.rt.list() == []
    assert (listener.notes, listener.calls, (tmp_path / "told").exists()) == ([], [], False)
