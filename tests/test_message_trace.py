"""The message traces in docs/design.md are what the actors really say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from actorflow import HookContext, HookExecutor, Runtime, load_dict
from actorflow.core.events import Event, HookFinished
from actorflow.hooks.actor import HookActor
from actorflow.hooks.blocking import BlockingHook
from actorflow.hooks.deliveries import RunDeliveries
from actorflow.journal.protocol import Append, RecordDeliveries
from actorflow.runtime.journal_actor import JournalActor
from actorflow.runtime.messages import Committed, Woken
from actorflow.runtime.supervisor import TaskSupervisor
from actorflow.runtime.task_actor import TaskActor
from actorflow.runtime.workflow_actor import WorkflowActor

pytestmark = pytest.mark.anyio

DESIGN = Path(__file__).parent.parent / "docs" / "design.md"


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said between actors, a line each."""
    lines: list[str] = []
    waiting: list[str] = []  #: who is about to tell the journal something, if it is not the WorkflowActor

    def say(who: str, whom: str, what: str) -> None:
        lines.append(f"{who:<15} → {whom:<15} {what}")

    def spy(owner: type, name: str, note) -> None:
        spied = getattr(owner, name)

        def noting(self, *args):
            note(*args)
            return spied(self, *args)

        monkeypatch.setattr(owner, name, noting)

    def to_workflow(message: object) -> None:
        match message:
            case Committed():
                say("JournalActor", "WorkflowActor", "Committed")
            case Woken():
                say("Alarm", "WorkflowActor", "Woken")
            case HookFinished():
                say("BlockingHook", "WorkflowActor", f"HookFinished {message.event} {message.status}")
            case _:
                say(
                    "TaskActor",
                    "WorkflowActor",
                    f"{type(message).__name__} {message.task} #{message.attempt}",
                )

    def to_journal(write: object, _: object) -> None:
        match write:
            case Append():
                names = ", ".join(type(event).__name__ for event in write.events)
                say("WorkflowActor", "JournalActor", f"Append {names}")
            case RecordDeliveries():
                told = ", ".join(f"{each.hook} {each.status}" for each in write.deliveries)
                say("RunDeliveries", "JournalActor", f"RecordDeliveries {told}")
            case _:
                say(waiting.pop() if waiting else "WorkflowActor", "JournalActor", type(write).__name__)

    def to_journal_and_wait(_: object) -> None:
        waiting.append("Conductor")

    def to_supervisor(failed, _) -> None:
        say("WorkflowActor", "TaskSupervisor", f"Decide {failed.task} #{failed.attempt}")

    def to_task(command) -> None:
        say(
            "WorkflowActor", "TaskActor", f"StartAttempt {command.task} #{command.attempt} by {command.agent}"
        )

    def to_hook(hook: BlockingHook) -> None:
        say("WorkflowActor", "HookActor", f"BlockingHook {hook._given.event}")

    def to_deliveries(first_seq: int, events: Sequence[Event]) -> None:
        say("WorkflowActor", "RunDeliveries", f"note {first_seq} to {first_seq + len(events) - 1}")

    def to_executor(batch: Sequence[HookContext]) -> None:
        who = "BlockingHook" if batch[0].spec.mode == "blocking" else "HookLine"
        say(who, "HookExecutor", f"deliver {batch[0].path}")

    spy(WorkflowActor, "tell", to_workflow)
    spy(RunDeliveries, "note", to_deliveries)
    spy(HookActor, "start", to_hook)
    spy(HookExecutor, "deliver", to_executor)
    spy(JournalActor, "tell", to_journal)
    spy(JournalActor, "keep", to_journal_and_wait)
    spy(TaskSupervisor, "decide", to_supervisor)
    spy(TaskActor, "start", to_task)
    return lines


async def test_the_trace_in_the_design_is_the_one_of_a_run_with_one_retry_and_one_fallback(trace: list[str]):
    async def fail(_):
        raise ConnectionError("no route")

    async def stand_in(_):
        return {"rate": 1.08}

    spec = load_dict(
        {
            "name": "rates",
            "tasks": {
                "fetch": {
                    "agent": "live",
                    "on_error": {
                        "retry": {"max_attempts": 2, "delay": "50ms", "jitter": "none"},
                        "fallback_agent": "backup",
                    },
                }
            },
        }
    )
    async with Runtime(store="memory:", agents={"live": fail, "backup": stand_in}) as rt:
        assert (await rt.run(spec)).status == "success"
    assert_documented("trace", trace)


async def test_the_trace_in_the_design_is_the_one_of_a_run_with_a_blocking_hook_and_an_async_one(
    trace: list[str],
):
    hooks = {
        "task_finished": [{"type": "log", "mode": "blocking", "params": {"message": "charged"}}],
        "workflow_finished": [{"type": "log", "params": {"message": "over"}}],
    }
    spec = load_dict({"name": "order", "tasks": {"charge": {"agent": "bank"}}, "hooks": hooks})
    async with Runtime(store="memory:", agents={"bank": "echo"}) as rt:
        result = await (await rt.start(spec)).settled()
    assert result.hooks.delivered == 2
    assert_documented("trace hooks", trace)


def assert_documented(fence: str, trace: list[str]) -> None:
    documented = re.search(rf"```{fence}\n(.*?)```", DESIGN.read_text(encoding="utf-8"), re.DOTALL)
    assert documented is not None, "\n" + "\n".join(trace)
    assert "\n".join(trace) == documented[1].rstrip(), "\n" + "\n".join(trace)
