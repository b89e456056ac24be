"""`actorflow.toml`: what it may say, where it is looked for, what comes before it, and when it is not heeded."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from actorflow import Runtime, load
from actorflow.cli import main
from actorflow.cli.configuration import Configuration, parse_configuration
from actorflow.errors import SpecError
from actorflow.spec.text.report import Report

Capture = pytest.CaptureFixture[str]

_CASES = Path(__file__).with_name("data") / "config_cases.txt"
_WORKFLOW = "name: order\ntasks: {t: {agent: x}}\n"


def read_cases() -> list[object]:
    """Cases: a title, and below it the text, and the problems as they are told, with a line between."""
    found: list[object] = []
    for case in _CASES.read_text(encoding="utf-8").split("\n=== ")[1:]:
        title, _, rest = case.partition("\n")
        text, _, told = f"{rest}\n".partition("---\n")
        found.append(pytest.param(text, told.strip().splitlines(), id=title.strip()))
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, without a store that a variable names, and with a home of its own."""
    here = tmp_path / "here"
    (here / "orders").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.delenv("ACTORFLOW_STORE", raising=False)
    monkeypatch.delenv("ACTORFLOW_ALLOW_HOSTS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (here / "orders" / "order.yaml").write_text(_WORKFLOW)
    return here


def users(tmp_path: Path, text: str) -> None:
    """Write the user's own configuration."""
    (tmp_path / "config" / "actorflow").mkdir(parents=True)
    (tmp_path / "config" / "actorflow" / "actorflow.toml").write_text(text)


def parsed(text: str) -> Configuration:
    return parse_configuration(text, Report(file="actorflow.toml"), "/home/me/orders")


def shown(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


# What it says


@pytest.mark.parametrize(("text", "told"), read_cases())
def test_a_configuration_has_all_of_its_problems_told_each_with_its_line(text: str, told: list[str]):
    report = Report(file="actorflow.toml")
    parse_configuration(text, report, "/home/me/orders")
    problems: list[str] = []
    try:
        report.raise_problems()
    except SpecError as error:
        problems = [str(problem) for problem in error.problems]
    # what the parser says is Python's, and differs from version to version
    assert [problem.partition(" no TOML: ")[0] for problem in problems] == [
        each.partition(" no TOML: ")[0] for each in told
    ]


def test_a_whole_configuration_is_read():
    text = """
        store = "runs.db"
        allow_hosts = ["https://hooks.example.com", "10.0.0.0/8"]
        allow_env = ["TOKEN"]
        [agents]
        mailer = "command:./send.sh"
        "*" = "echo"
    """
    assert parsed(text) == Configuration(
        store="sqlite:////home/me/orders/runs.db",
        agents={"mailer": "command:./send.sh", "*": "echo"},
        allow_hosts=("https://hooks.example.com", "10.0.0.0/8"),
        allow_env=("TOKEN",),
    )


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("runs.db", "sqlite:////home/me/orders/runs.db"),
        ("../runs.db", "sqlite:////home/me/runs.db"),
        ("sqlite:///runs.db", "sqlite:////home/me/orders/runs.db"),
        ("sqlite:////srv/runs.db", "sqlite:////srv/runs.db"),
        ("/srv/runs.db", "sqlite:////srv/runs.db"),
        ("memory:", "memory:"),
    ],
)
def test_a_relative_store_is_relative_to_the_folder_of_the_configuration(store: str, url: str):
    assert parsed(f'store = "{store}"').store == url


def test_of_two_configurations_the_first_wins_agents_are_merged_and_lists_united():
    first = Configuration(store="a", agents={"x": "echo"}, allow_hosts=("h", "i"), allow_env=("A",))
    second = Configuration(
        store="b", agents={"x": "fail", "y": "fail"}, allow_hosts=("i", "j"), allow_env=("B",)
    )
    assert first.over(second) == Configuration(
        store="a", agents={"x": "echo", "y": "fail"}, allow_hosts=("h", "i", "j"), allow_env=("A", "B")
    )
    assert Configuration().over(second) == second


# Where it is looked for


def test_that_beside_the_file_comes_before_that_of_the_user(folder: Path, tmp_path: Path, capsys: Capture):
    users(tmp_path, '[agents]\nx = "fail"\n')
    assert main(["run", "orders/order.yaml", "--quiet"]) == 1
    (folder / "orders" / "actorflow.toml").write_text('store = "o.db"\n[agents]\nx = "echo"\n')
    assert main(["run", "orders/order.yaml", "--quiet"]) == 0
    assert (folder / "orders" / "o.db").exists()
    assert main(["run", "orders/order.yaml", "--agent", "x=fail", "--quiet"]) == 1
    capsys.readouterr()


def test_that_of_the_folder_counts_for_commands_without_a_file(folder: Path, capsys: Capture):
    (folder / "actorflow.toml").write_text('store = "here.db"\n')
    assert main(["run", "orders/order.yaml", "--agent", "x=echo", "--store", "here.db", "--run-id", "a"]) == 0
    capsys.readouterr()
    assert main(["list", "--json"]) == 0
    assert [row["run_id"] for row in shown(capsys)] == ["a"]


def test_a_flag_comes_before_a_variable_and_a_variable_before_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    (folder / "orders" / "actorflow.toml").write_text('store = "file.db"\n[agents]\nx = "echo"\n')
    monkeypatch.setenv("ACTORFLOW_STORE", "variable.db")
    assert main(["run", "orders/order.yaml", "--quiet"]) == 0
    assert main(["run", "orders/order.yaml", "--store", "flag.db", "--quiet"]) == 0
    capsys.readouterr()
    found = {path.name for path in folder.rglob("*.db")}
    assert found == {"variable.db", "flag.db"}


def test_no_config_passes_over_both(folder: Path, tmp_path: Path, capsys: Capture):
    users(tmp_path, '[agents]\nx = "echo"\n')
    (folder / "orders" / "actorflow.toml").write_text("this is no TOML")
    assert main(["run", "orders/order.yaml", "--store", "r.db"]) == 78
    assert main(["run", "orders/order.yaml", "--store", "r.db", "--no-config"]) == 65
    assert "E410" in capsys.readouterr().err


def test_that_beside_a_strangers_file_is_never_read(folder: Path, tmp_path: Path, capsys: Capture):
    (folder / "orders" / "actorflow.toml").write_text('store = "o.db"\n[agents]\nx = "command:touch ran"\n')
    words = ["run", "orders/order.yaml", "--trust", "data", "--store", "r.db"]
    assert main(words) == 65
    assert "E410" in capsys.readouterr().err
    users(tmp_path, '[agents]\nx = "echo"\n')
    assert main([*words, "--quiet"]) == 0
    assert [path.name for path in folder.rglob("ran")] == []


def test_agents_that_a_workflow_does_not_use_are_no_concern_of_its_runs(folder: Path, capsys: Capture):
    (folder / "orders" / "actorflow.toml").write_text(
        'store = "o.db"\n[agents]\nx = "echo"\nother = "python:nowhere:f"\n'
    )
    assert main(["run", "orders/order.yaml"]) == 0
    assert "other" not in capsys.readouterr().err


def test_the_next_command_that_is_told_finds_the_same_store(folder: Path, capsys: Capture):
    (folder / "orders" / "actorflow.toml").write_text('store = "o.db"\n[agents]\nx = "fail"\n')
    assert main(["run", "orders/order.yaml", "--run-id", "a"]) == 1
    store = f"sqlite:///{folder}/orders/o.db"
    assert f"actorflow resume a --store {store}" in capsys.readouterr().err
    (folder / "actorflow.toml").write_text('store = "orders/o.db"\n')
    assert main(["run", "orders/order.yaml", "--run-id", "b"]) == 1
    assert "actorflow resume b\n" in capsys.readouterr().err


def test_a_run_goes_on_with_the_agents_that_it_began_with(folder: Path, capsys: Capture):
    (folder / "actorflow.toml").write_text('store = "r.db"\n[agents]\nx = "echo"\n"*" = "echo"\n')
    assert main(["run", "orders/order.yaml", "--agent", "x=fail", "--store", "r.db", "--run-id", "a"]) == 1
    assert main(["resume", "a", "--quiet"]) == 1, "recorded: x=fail"
    assert main(["resume", "a", "--agent", "x=echo", "--quiet"]) == 0
    capsys.readouterr()


async def refuse(_: object) -> None:
    raise ValueError("not today")


def test_it_stands_in_for_an_agent_that_was_bound_in_code(folder: Path, capsys: Capture):
    async def begin() -> None:
        async with Runtime(store="sqlite:///r.db", agents={"x": refuse}) as runtime:
            await runtime.run(load("orders/order.yaml"), run_id="a")

    anyio.run(begin)
    assert main(["resume", "a", "--store", "r.db", "--quiet"]) == 78
    (folder / "actorflow.toml").write_text('store = "r.db"\n[agents]\nx = "echo"\n')
    assert main(["resume", "a", "--quiet"]) == 0
    capsys.readouterr()


def test_validate_counts_agents_of_the_configuration_as_bound(folder: Path, capsys: Capture):
    (folder / "orders" / "actorflow.toml").write_text('[agents]\nx = "echo"\n')
    assert main(["validate", "orders/order.yaml", "--json"]) == 0
    (file,) = shown(capsys)["files"]
    assert file["needs"]["unbound_agents"] == []
    assert file["warnings"] == []


# When it is not heeded, or cannot be


def test_problems_of_both_files_come_at_once_with_status_78(folder: Path, tmp_path: Path, capsys: Capture):
    users(tmp_path, "agents = 3\n")
    (folder / "orders" / "actorflow.toml").write_text('\n\nstroe = "x"\n')
    assert main(["run", "orders/order.yaml", "--json"]) == 78
    problems = shown(capsys)["problems"]
    assert [(each["code"], each["line"]) for each in problems] == [("E611", 3), ("E612", 1)]
    assert problems[0]["file"] == "orders/actorflow.toml"
    assert problems[0]["hint"] == "did you mean 'store'?"


def owned_by_somebody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it another user's; who cannot give files away, becomes another user."""
    if os.geteuid() == 0:
        os.chown(path, 12_345, 12_345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


@pytest.mark.parametrize("whose", ["somebody else's", "everybody's"])
def test_what_somebody_else_could_have_written_is_not_heeded(
    whose: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    path = folder / "orders" / "actorflow.toml"
    path.write_text('[agents]\nx = "echo"\n')
    if whose == "everybody's":
        path.chmod(0o666)
    else:
        owned_by_somebody_else(path, monkeypatch)
    assert main(["run", "orders/order.yaml", "--store", "r.db"]) == 65
    told = capsys.readouterr().err
    assert told.count("orders/actorflow.toml: W120 this configuration is not heeded") == 1
    assert "E410" in told


@pytest.mark.parametrize(
    ("kind", "why"),
    [("folder", "it is no file"), ("fifo", "it is no file"), ("loop", "cannot be read"), ("large", "65,536")],
)
def test_what_is_no_readable_file_is_a_wrong_configuration(
    kind: str, why: str, folder: Path, capsys: Capture
):
    path = folder / "orders" / "actorflow.toml"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "loop":
            path.symlink_to("actorflow.toml")
        case _:
            path.write_text("#" * 70_000)
    assert main(["run", "orders/order.yaml", "--store", "r.db"]) == 78
    told = capsys.readouterr().err
    assert "orders/actorflow.toml: E610" in told
    assert why in told


def test_what_is_not_utf_8_is_told_with_its_line(folder: Path, capsys: Capture):
    (folder / "orders" / "actorflow.toml").write_bytes(b'# fine\nstore = "\xff"\n')
    assert main(["validate", "orders/order.yaml"]) == 78
    assert "orders/actorflow.toml:2:1: E610" in capsys.readouterr().err


def test_a_wrong_entry_of_the_variable_is_a_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    monkeypatch.setenv("ACTORFLOW_ALLOW_HOSTS", "https://good.example.com ftp://x")
    assert main(["run", "orders/order.yaml", "--agent", "x=echo", "--store", "r.db"]) == 78
    told = capsys.readouterr().err
    assert "E612 ACTORFLOW_ALLOW_HOSTS: 'ftp://x'" in told
