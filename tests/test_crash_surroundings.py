"""What a resume does without: the workflow's file."""

from __future__ import annotations

import json

import pytest
from crash_checks import check_crashed, check_ended
from crash_lives import BACKENDS, Death, Life, live_through
from crash_workflows import DEFINITIONS


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
