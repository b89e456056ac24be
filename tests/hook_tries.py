"""What tests of hooks' actions need: deliveries, surroundings, and breakers in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from attrs import define, field

from actorflow.actors.host import RealHost, current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.core import breaker as rules
from actorflow.core.breaker import CLOSED, Allowed, Breaker, BreakerAsk, BreakerReport, Refused
from actorflow.core.hook_context import HookContext
from actorflow.egress.guard import NOTHING_ALLOWED
from actorflow.expression import compile_template
from actorflow.hooks.actions.action import ActionSurroundings, MetricKind
from actorflow.hooks.executor import HookExecutor
from actorflow.hooks.rates import HookRates
from actorflow.hooks.registry import HookRegistry
from actorflow.processes import ProcessTrees
from actorflow.secrecy.run_secrets import RunSecrets
from actorflow.secrecy.source import SecretSource
from actorflow.spec.model import HookSpec

TASK = {"id": "fetch", "type": "basic", "status": "failed", "attempt": 3, "error": None, "duration_ms": 7}


def context_of(action: str = "log", params: Any = None, **facts: Any) -> HookContext:
    """A delivery for a task's end; keywords that HookSpec has go into it."""
    of_spec = {name: facts.pop(name) for name in list(facts) if hasattr(HookSpec(), name) and name != "path"}
    return HookContext(
        **{
            "delivery_id": "r1/7/task_finished[0]",
            "event": "task_finished",
            "path": "task_finished[0]",
            "spec": HookSpec(action=action, mode="async", **of_spec),
            "run_id": "r1",
            "workflow": "orders",
            "generation": 2,
            "at": 1_000.0,
            "status": "failed",
            "stage": "import",
            "task": TASK,
            "error": {"type": "command", "message": "exited with status 3", "attempt": 3, "task": "fetch"},
            "params": params,
            **facts,
        }
    )


def sealed(params: Any, names: Mapping[str, Any] | None = None) -> Any:
    """Params as the core renders them: with places for secrets."""
    return compile_template(params, secrets=True).render(names or {})


@define
class Measurements:
    """What was recorded."""

    taken: list[tuple[str, MetricKind, float, Mapping[str, str]]] = field(factory=list)

    def record(self, name: str, kind: MetricKind, value: float, tags: Mapping[str, str]) -> None:
        if any(known[:2] != (name, kind) for known in self.taken if known[0] == name):
            raise ValueError(f"{name} is no {kind}")
        self.taken.append((name, kind, value, tags))


@define
class Breakers:
    """The rules of the core over breakers that are kept in memory."""

    now: float = 1_000.0
    kept: dict[str, Breaker] = field(factory=dict)
    asked: list[BreakerAsk] = field(factory=list)
    told: list[BreakerReport] = field(factory=list)

    async def ask(self, question: BreakerAsk) -> Allowed | Refused:
        self.asked.append(question)
        known = self.kept.get(question.key, CLOSED)
        self.kept[question.key], answer = rules.ask(known, question, self.now, is_probe_held=True)
        return answer

    def report(self, told: BreakerReport) -> None:
        self.told.append(told)
        known = self.kept.get(told.key, CLOSED)
        self.kept[told.key], _ = rules.report(known, told, self.now)


async def no_dispatch(context: HookContext, target: str, given: Any) -> str:
    raise AssertionError(f"nothing was to be dispatched, least of all {target}")


def around_of(
    folder: object = "/", environ: Mapping[str, str] | None = None, **facts: Any
) -> ActionSurroundings:
    """Surroundings in which `environ` is where secrets are read."""
    source = SecretSource(secrets={}, folder=str(folder), environ=environ or {})
    return ActionSurroundings(
        **{
            "host": RealHost(),
            "trees": ProcessTrees(),
            "folder": str(folder),
            "inherited": {"PATH": os.environ["PATH"]},
            "secrets": RunSecrets(source),
            "metrics": Measurements(),
            "dispatch": no_dispatch,
            "functions": {},
            "http": None,  # a test whose hooks make requests hands in a client
            "guard": NOTHING_ALLOWED,
            **facts,
        }
    )


def executor_of(around: ActionSurroundings | None = None, **facts: Any) -> HookExecutor:
    """An executor upon the running loop."""
    host = current_host()
    return HookExecutor(
        **{
            "host": host,
            "registry": HookRegistry(),
            "around": around or around_of(),
            "rates": HookRates(AsyncioRoom(host)),
            "breakers": Breakers(),
            "now": lambda: 1_000.0,
            **facts,
        }
    )


async def until(holds: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    with anyio.fail_after(10):
        while True:
            if holds():
                return
            await anyio.sleep(0.001)
