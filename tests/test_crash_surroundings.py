"""What a resume does without: the workflow's file, and the end of what the dead process has left running."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from crash_checks import check_crashed, check_ended
from crash_lives import BACKENDS, Death, Life, live, live_through, start
from crash_workflows import DEFINITIONS

from actorflow.core.events import AttemptLost


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("workflow", ["fan", "stages"])
def test_a_run_is_resumed_although_its_file_is_gone(workflow, backend, tmp_path):
    path = tmp_path / "workflow.yaml"
    path.write_text(json.dumps(DEFINITIONS[workflow]))
    assert live_through(Life(tmp_path, workflow, backend, Death("after", 4), path=path)) is None
    path.unlink()
    left = check_crashed(tmp_path)
    report = live_through(Life(tmp_path, workflow, backend, path=path))
    assert report is not None
    assert report.facts["status"] == "success"
    check_ended(tmp_path, left)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_is_resumed_as_it_began_although_its_file_has_changed(backend, tmp_path):
    path = tmp_path / "workflow.yaml"
    path.write_text(json.dumps(DEFINITIONS["fan"]))
    assert live_through(Life(tmp_path, "fan", backend, Death("after", 4), path=path)) is None
    path.write_text(json.dumps(DEFINITIONS["stages"]))
    report = live_through(Life(tmp_path, "fan", backend, path=path))
    assert report is not None
    assert report.facts["outputs"] == {"total": 96, "shrugged": "out of order"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_orphans_that_are_still_alive_hold_nothing_of_ours_and_block_no_resume(backend, tmp_path):
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    runner = start(live, Life(tmp_path, "orphaned", backend))
    orphans = [int(pid) for pid in pids.read_text().split()]
    try:
        pids.unlink()
        runner.kill()
        assert runner.report() is None
        assert all(_is_alive(pid) for pid in orphans)
        assert not [held for pid in orphans for held in _open_files(pid) if str(tmp_path) in held]
        left = check_crashed(tmp_path)
        report = live_through(Life(tmp_path, "orphaned", backend))
        assert report is not None
        assert report.facts["status"] == "success"
        assert [lost.task for lost in check_ended(tmp_path, left).of(AttemptLost)] == ["parent"]
        assert all(_is_alive(pid) for pid in orphans)
    finally:
        for pid in orphans:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _open_files(pid: int) -> list[str]:
    """The paths of what a process has open; only Linux tells."""
    if sys.platform != "linux":
        return []
    found: list[str] = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed: a shell opens files in passing
            found.append(str(entry.readlink()))
    return found
