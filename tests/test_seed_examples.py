"""The YAML of the founding documents, as it stands: with stand-ins for the programs that it calls, and without them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from actorflow.cli import main
from tests.chaos_sink import ChaosSink

SEED = Path(__file__).with_name("seed")
ALL = sorted(path.stem for path in SEED.glob("*.yaml"))
TELLING = {"process_order"}  # its hooks tell somebody
PROGRAMS = ("aws", "pg_dump", "pg_restore", "mail", "slack-notify", "docker-compose", "curl")
COMMON = ("sh", "mkdir", "rm", "date", "echo", "cat")
"""What every system has; nothing else is in PATH, so that nothing real is called."""

Capture = pytest.CaptureFixture[str]


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with the programs that every system has and no others."""
    common = tmp_path / "common"
    common.mkdir()
    for name in COMMON:
        found = next(place for place in ("/bin", "/usr/bin") if os.access(f"{place}/{name}", os.X_OK))
        (common / name).symlink_to(f"{found}/{name}")
    for name in ("backups", "log"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", str(common))
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stand_ins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that note how they were called, first in PATH."""
    programs = folder / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" | /usr/bin/tee -a "{folder}/calls"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return programs


def placed(folder: Path, name: str) -> str:
    """The example with its folders rewritten to the run's own."""
    text = (SEED / f"{name}.yaml").read_text(encoding="utf-8")
    for theirs, ours in (("/tmp", "."), ("/backups", "backups"), ("/var/log", "log")):
        text = text.replace(f"{theirs}/", f"{folder / ours}/")
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def run(folder: Path, name: str, backend: str) -> int:
    return main(
        ["run", placed(folder, name), "--agent", "*=echo", "--backend", backend, "--run-id", "r", "--json"]
    )


def shown(capsys: Capture) -> Any:
    capsys.readouterr()
    assert main(["show", "r", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_example_validates(capsys: Capture):
    assert main(["validate", *(str(SEED / f"{name}.yaml") for name in ALL)]) == 0
    assert len(ALL) == 8


@pytest.mark.parametrize("name", [name for name in ALL if name not in TELLING])
@pytest.mark.usefixtures("stand_ins")
def test_an_example_runs_to_success(name: str, backend: str, folder: Path, capsys: Capture):
    assert run(folder, name, backend) == 0
    assert shown(capsys)["status"] == "success"


@pytest.mark.usefixtures("stand_ins")
def test_the_hooks_of_an_example_call_what_they_say(backend: str, folder: Path):
    run(folder, "database_migration", backend)
    calls = (folder / "calls").read_text().splitlines()
    assert calls == ["pg_dump production", "mail -s DB Migration admin@example.com"]
    assert (folder / "backups" / "pre-migration.sql").read_text() == "pg_dump production\n"


def test_the_webhook_of_an_example_reaches_a_receiver_that_is_listed(
    backend: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with ChaosSink() as sink:
        monkeypatch.setenv("WEBHOOK_URL", sink.url("/shop"))
        status = main(
            [
                *(
                    "run",
                    placed(folder, "process_order"),
                    "--backend",
                    backend,
                    "--run-id",
                    "r",
                    "--strict-hooks",
                ),
                *("--input", "order_id=7", "--input", "customer_id=c1", "--allow-host", sink.url("")),
                *("--agent", "*=echo", "--agent", 'validate_and_process=command:echo "{\\"total\\": 99}"'),
            ]
        )
    (request,) = sink.requests
    assert (status, request.method, request.target) == (0, "POST", "/shop/order/complete")
    assert json.loads(request.body) == {"order_id": "7", "status": "success", "total": 99}
    assert request.header("webhook-id") == request.header("idempotency-key")


@pytest.mark.parametrize(
    ("name", "ended"),
    [
        (
            "ml_training_checkpoints",
            [
                *("pre_workflow[0] ok", "pre_workflow[1] failed", "on_error[0] ok", "on_error[1] failed"),
                *("post_workflow[0] failed", "post_workflow[1] ok"),
            ],
        ),
        (
            "database_migration",
            ["pre_workflow[0] failed", "on_error[0] failed", "on_error[1] failed", "post_workflow[0] failed"],
        ),
        (
            "production_deployment",
            ["pre_workflow[0] ok", "pre_workflow[1] failed", "on_error[0] failed", "post_workflow[0] failed"],
        ),
    ],
)
def test_without_its_programs_an_example_fails_and_show_says_what_each_hook_printed(
    name: str, ended: list[str], backend: str, folder: Path, capsys: Capture
):
    assert run(folder, name, backend) == 1
    document = shown(capsys)
    assert document["status"] == "failed"
    hooks = document["hook_runs"]
    assert [f"{hook['hook']} {hook['status']}" for hook in hooks] == ended
    failed = [hook for hook in hooks if hook["status"] == "failed"]
    assert all("not found" in hook["stderr"] and hook["exit_status"] == 127 for hook in failed)
    main(["show", "r"])
    text = capsys.readouterr().out
    for line in ended:
        path, _, status = line.partition(" ")
        assert f"{path} {status}" in text
    assert "stderr:" in text
    assert "not found" in text
