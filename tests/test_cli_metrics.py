"""`actorflow metrics`: what the runs of a store measure up to, for people, for programs and for Prometheus."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from actorflow.cli import main
from actorflow.metrics.built_in import BUILT_IN

Capture = pytest.CaptureFixture[str]

SEED = Path(__file__).parent / "seed"

_FLAKY = """
calls = 0
async def flaky(call):
    global calls
    calls += 1
    if calls < 3:
        raise ConnectionError("down")
    return calls
"""


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(capsys: Capture, text: str, *words: str, run_id: str = "r") -> int:
    Path("w.yaml").write_text(text, encoding="utf-8")
    status = main(["run", "w.yaml", "--run-id", run_id, *words])
    capsys.readouterr()
    return status


def lines(capsys: Capture, *words: str) -> list[str]:
    assert main(["metrics", *words]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def values(capsys: Capture, name: str, *words: str) -> dict[tuple[tuple[str, str], ...], Any]:
    """The series of one metric by their tags: numbers, or how often a histogram has measured."""
    assert main(["metrics", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    (series,) = (metric["series"] for metric in found if metric["name"] == name)
    return {tuple(each["tags"].items()): each.get("value", each.get("count")) for each in series}


def test_an_agent_of_the_data_sync_file_that_fails_twice_shows_two_retries(
    backend: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    Path("flaky_api.py").write_text(_FLAKY, encoding="utf-8")
    text = (SEED / "data_sync.yaml").read_text(encoding="utf-8")
    agents = ["--agent", "primary_api=python:flaky_api:flaky", "--agent", "*=echo", "--backend", backend]
    monkeypatch.delitem(sys.modules, "flaky_api", raising=False)
    assert ran(capsys, text, *agents) == 0
    assert values(capsys, "actorflow_retries_total") == {(): 2}
    assert values(capsys, "actorflow_attempts_total") == {
        (("outcome", "failed"),): 2,
        (("outcome", "success"),): 2,
    }
    assert values(capsys, "actorflow_task_seconds") == {(("status", "success"),): 2}
    told = lines(capsys)
    assert told[0] == "METRIC TAGS VALUE"
    assert "actorflow_retries_total - 2" in told
    assert "actorflow_runs_total status=success workflow=Data Sync 1" in told


def test_a_line_of_the_table_has_times_with_their_unit(capsys: Capture):
    assert ran(capsys, "tasks: {t: {agent: x}}", "--agent", "x=sleep:10ms") == 0
    (task,) = (line for line in lines(capsys) if line.startswith("actorflow_task_seconds"))
    assert task.startswith("actorflow_task_seconds status=success 1 × ")
    assert task.endswith(" at most")
    assert " ms on average, " in task or " s on average, " in task


def test_one_run_is_measured_alone(capsys: Capture):
    assert ran(capsys, "tasks: {t: {agent: x}}", "--agent", "x=echo", run_id="one") == 0
    assert ran(capsys, "tasks: {t: {agent: x}}", "--agent", "x=fail", run_id="two") == 1
    assert values(capsys, "actorflow_tasks_total", "o") == {(("status", "success"),): 1}
    assert values(capsys, "actorflow_tasks_total", "last") == {(("status", "failed"),): 1}
    assert sum(values(capsys, "actorflow_tasks_total").values()) == 2


def test_a_run_that_is_not_there_ends_with_66(capsys: Capture):
    assert main(["metrics", "nobody"]) == 66
    assert "E421" in capsys.readouterr().err


def test_an_empty_store_says_so(capsys: Capture):
    assert main(["metrics"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "there are no runs in this store\n")
    assert values(capsys, "actorflow_retries_total") == {(): 0}


def test_prometheus_reads_the_metrics_of_a_store(capsys: Capture):
    assert ran(capsys, "tasks: {t: {agent: x}}", "--agent", "x=echo") == 0
    assert main(["metrics", "--format", "prometheus"]) == 0
    out = capsys.readouterr().out
    families = {family.name: family for family in text_string_to_metric_families(out)}
    (attempts,) = families["actorflow_attempts"].samples
    assert (attempts.labels, attempts.value) == ({"outcome": "success"}, 1.0)
    assert families["actorflow_task_seconds"].documentation == BUILT_IN["actorflow_task_seconds"].meaning
    assert out.endswith("\n")
    assert not out.endswith("\n\n")


def test_without_the_package_the_error_names_the_extra(capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["metrics", "--format", "prometheus"]) == 64
    assert "pip install 'actorflow[prometheus]'" in capsys.readouterr().err
    assert main(["metrics"]) == 0


def test_json_and_prometheus_are_not_to_be_had_at_once(capsys: Capture):
    assert main(["metrics", "--format", "prometheus", "--json"]) == 64
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["message"]) == (
        "E600",
        "--json and --format prometheus are two forms; choose one",
    )


def test_nothing_sensitive_is_in_the_metrics_of_a_store(capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PASSWORD", "pw-31415926")
    text = (
        "inputs: {key: {type: string, default: kk-2718281, sensitive: true}}\n"
        "tasks: {t: {command: 'echo $P; exit 1', env: {P: '${PASSWORD}'}, with: {k: '{{ input.key }}'}}}\n"
    )
    assert ran(capsys, text) == 1
    for words in ([], ["--json"], ["--format", "prometheus"]):
        assert main(["metrics", *words]) == 0
        out = capsys.readouterr().out
        assert "pw-31415926" not in out
        assert "kk-2718281" not in out
