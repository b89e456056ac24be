"""The message trace in docs/design.md is what the actors really say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actorflow import Runtime, load_dict
from actorflow.journal.protocol import Append
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
            case _:
                say(
                    "TaskActor",
                    "WorkflowActor",
                    f"{type(message).__name__} {message.task} #{message.attempt}",
                )

    def to_journal(write: object, _: object) -> None:
        names = ", ".join(type(e).__name__ for e in write.events) if isinstance(write, Append) else ""
        say("WorkflowActor", "JournalActor", f"{type(write).__name__} {names}".rstrip())

    def to_supervisor(failed, _) -> None:
        say("WorkflowActor", "TaskSupervisor", f"Decide {failed.task} #{failed.attempt}")

    def to_task(command) -> None:
        say(
            "WorkflowActor", "TaskActor", f"StartAttempt {command.task} #{command.attempt} by {command.agent}"
        )

    spy(WorkflowActor, "tell", to_workflow)
    spy(JournalActor, "tell", to_journal)
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
    documented = re.search(r"```trace\n(.*?)```", DESIGN.read_text(), re.DOTALL)
    assert documented is not None
    assert "\n".join(trace) == documented[1].rstrip(), "\n" + "\n".join(trace)
