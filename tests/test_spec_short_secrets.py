"""Secrets that are too short to be hidden: found in the environment and in files, apart from loading."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actorflow.cli import main
from actorflow.secrecy.forms import SHORTEST_HIDDEN as HIDDEN_FROM
from actorflow.spec import load, loads
from actorflow.spec.short_secrets import SHORTEST_HIDDEN, short_secrets

Capture = pytest.CaptureFixture[str]

OF_A_VARIABLE = "secrets: {pin: {env: PIN}}\ntasks: {a: {agent: x}}\n"
OF_A_FILE = "secrets: {pin: {file: pin.txt}}\ntasks: {a: {agent: x}}\n"
VALUES = [("1", True), ("12345", True), ("üüüüü", True), ("123456", False), ("", False), (None, False)]


@pytest.mark.parametrize(("value", "is_short"), VALUES)
def test_a_short_secret_in_a_variable_is_warned_of(value: str | None, is_short: bool):
    found = short_secrets(
        loads(OF_A_VARIABLE, trust="own"), "w.yaml", {} if value is None else {"PIN": value}
    )

    assert [problem.code for problem in found] == ["W107"] * is_short


BODIES = [
    (b"12345", True),
    (b"12345\n", True),
    (b"12345\r\n", True),
    (b"123456\n", False),
    (b"x" * 100_000, False),
]
BODIES += [(b"\xff\xfe\xff\xfe\xff\xfe", False), (b"", False)]


@pytest.mark.parametrize(("body", "is_short"), BODIES)
def test_a_short_secret_in_a_file_is_warned_of(body: bytes, is_short: bool, tmp_path: Path):
    (tmp_path / "pin.txt").write_bytes(body)
    spec = loads(OF_A_FILE, trust="own", folder=tmp_path)

    assert [problem.code for problem in short_secrets(spec, "w.yaml", {})] == ["W107"] * is_short


def test_the_warning_names_the_secret_and_never_its_value():
    (problem,) = short_secrets(loads(OF_A_VARIABLE, trust="own"), "w.yaml", {"PIN": "s3cr"})

    assert str(problem).startswith("w.yaml: W107 secrets.pin: it has fewer than 6 characters")
    assert "s3cr" not in str(problem)


def test_a_secret_that_is_not_there_or_is_no_file_is_left_to_who_uses_it(tmp_path: Path):
    spec = loads(OF_A_FILE, trust="own", folder=tmp_path)
    assert short_secrets(spec, "w.yaml", {}) == ()

    os.mkfifo(tmp_path / "pin.txt")  # nobody writes to it, and nobody waits
    assert short_secrets(spec, "w.yaml", {}) == ()


def test_loading_does_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("PIN", "1")
    (tmp_path / "w.yaml").write_text(OF_A_VARIABLE)

    load(tmp_path / "w.yaml")

    assert caplog.messages == []


def test_validate_and_run_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", "runs.db")
    monkeypatch.setenv("PIN", "1234")
    Path("w.yaml").write_text("secrets: {pin: {env: PIN}}\ntasks: {a: {command: 'true'}}\n")

    for command in ("validate", "run"):
        assert main([command, "w.yaml"]) == 0
        assert "w.yaml: W107 secrets.pin: " in capsys.readouterr().err, command


def test_who_warns_and_who_hides_mean_the_same_length():
    assert SHORTEST_HIDDEN == HIDDEN_FROM
