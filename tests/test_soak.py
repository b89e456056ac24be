"""The soak for some seconds: it kills and starves, and finds what is broken on purpose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.soak.__main__ import main


def test_a_soak_of_some_seconds_kills_and_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--minutes=0.1", "--seed=ci", f"--keep={tmp_path}/soak"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "violations: 0"
    counts = {what: int(count) for count, what in re.findall(r"(\d+) ([a-z ]+)", lines[-2])}
    assert counts["runs"] > 1
    assert counts["kill"] + counts["kill at a commit"] > 1
    assert not (tmp_path / "soak").exists()


def test_a_promise_that_is_broken_is_told_with_its_round_and_its_store_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def forget(folder: Path) -> None:
        """The ledger loses its first line: some body never began."""
        path = folder / "ledger"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))

    asked = ["--minutes=0.02", "--seed=ci", f"--keep={tmp_path}/soak"]
    assert main(asked, break_promise=forget) == 1
    said = capsys.readouterr().out
    folders = re.findall(r"^round ci/0/\d+ \(.+\), see (.+):$", said, re.MULTILINE)
    assert folders
    assert all((Path(folder) / "ledger").exists() for folder in folders)
    assert said.splitlines()[-1] == f"violations: {len(folders)}"
