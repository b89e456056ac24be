"""SIGTERM and SIGINT end no run, and so they fire no end: that comes after the resume, once."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import PATIENCE_S, WAITS, Shell, no_process_left_of

TELL = """{command: 'echo "$ACTORFLOW_EVENT ${ACTORFLOW_TASK-} $ACTORFLOW_STATUS" >> %s', mode: %s}"""

EVENTS = (
    "pre_workflow", "on_error", "post_workflow", "task_started", "task_finished", "workflow_finished", "workflow_paused",
    "workflow_resumed", "task_lost", "task_skipped",
)  # fmt: skip

BLOCKING = ("pre_workflow", "on_error", "post_workflow", "task_started", "task_finished")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with no_process_left_of(Shell(tmp_path)) as shell:
        yield shell


def _workflow(task: str) -> str:
    hooks = [
        f"  {event}: [{TELL % ('told', 'async')}{', ' + TELL % ('waited-for', 'blocking') if event in BLOCKING else ''}]\n"
        for event in EVENTS
    ]
    return f"tasks:\n  a: {{command: '{task}'}}\n  b: {{command: 'true', depends_on: [a]}}\nhooks:\n{''.join(hooks)}"


def _lines(shell: Shell, name: str) -> Counter[str]:
    """What was told: the event, its task, and of an end the status."""
    path = shell.folder / name
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else ()
    return Counter(" ".join(line.split() if line.startswith(ENDS) else line.split()[:-1]) for line in lines)


ENDS = ("task_finished", "on_error", "post_workflow", "workflow_finished")

BEFORE = Counter(["pre_workflow", "task_started a"])
BEHIND = Counter(
    ["task_started b", "task_finished a success", "task_finished b success", "post_workflow success"]
)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_signal_fires_a_pause_and_the_ends_come_after_the_resume(shell: Shell, backend: str, sent):
    file = shell.write("w.yaml", _workflow(WAITS))
    process = shell.start("run", file, "--grace", "0.2s", "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    process.send_signal(sent)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, err
    told = BEFORE + Counter(["workflow_paused"])
    assert (_lines(shell, "told"), _lines(shell, "waited-for")) == (told, BEFORE)

    (shell.folder / "go").touch()
    assert shell.run("resume", "r").returncode == 0
    told += BEHIND + Counter(["task_lost a", "workflow_resumed", "workflow_finished success"])
    assert (_lines(shell, "told"), _lines(shell, "waited-for")) == (told, BEFORE + BEHIND)
