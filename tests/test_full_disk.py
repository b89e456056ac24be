"""A disk that is really full: the command says so, what was acknowledged is there, and the run goes on where there is room."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli_shell import Shell

FLOW = """
name: grows
tasks:
  t1: {command: "echo began; head -c 60000 /dev/zero | tr '\\\\0' 1"}
  t2: {command: "head -c 60000 /dev/zero | tr '\\\\0' 2", depends_on: [t1]}
  t3: {command: "head -c 60000 /dev/zero | tr '\\\\0' 3", depends_on: [t2]}
  t4: {command: "head -c 60000 /dev/zero | tr '\\\\0' 4", depends_on: [t3]}
  t5: {command: "head -c 60000 /dev/zero | tr '\\\\0' 5", depends_on: [t4]}
  t6: {command: "head -c 60000 /dev/zero | tr '\\\\0' 6", depends_on: [t5]}
"""

SMALL_DISK = "mount -t tmpfs -o size=480k,mode=700 none small"
SMALL_FILES = "ulimit -f 1000"  # blocks of 512 bytes


def _may_mount() -> bool:
    """Whether a process may have a file system of its own here, in a namespace that nobody else sees."""
    try:
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


LIMITS = {"files": ("sh -c", SMALL_FILES)} | (
    {"disk": ("unshare -rm sh -c", SMALL_DISK)} if _may_mount() else {}
)


@pytest.mark.parametrize(("inside", "limit"), LIMITS.values(), ids=LIMITS)
def test_a_full_disk_ends_the_run_and_nothing_that_was_kept_is_lost(tmp_path: Path, inside: str, limit: str):
    shell = Shell(tmp_path)
    shell.write("grows.yaml", FLOW)
    (tmp_path / "small").mkdir()
    script = f"""
        ({limit} && $A run grows.yaml --store small/runs.db --run-id r-1 --quiet >told 2>&1; echo $? >status)
        mkdir big && cp small/runs.db small/runs.db-wal small/runs.db.mark big/
    """
    (tmp_path / "script").write_text(script)
    done = shell.sh(f"{inside} '. ./script'")
    assert done.stderr == b""
    assert (tmp_path / "status").read_text().strip() == "74", (tmp_path / "told").read_text()
    told = (tmp_path / "told").read_text()
    assert "E500" in told
    assert "Traceback" not in told

    shell.env["ACTORFLOW_STORE"] = str(tmp_path / "big" / "runs.db")
    assert shell.run("doctor").returncode == 0
    kept = shell.show("r-1")["tasks"]
    successes = [name for name, task in kept.items() if task["status"] == "success"]
    assert 0 < len(successes) < 6
    assert shell.run("resume", "r-1", "--quiet").returncode == 0
    after = shell.show("r-1")["tasks"]
    assert {name: after[name]["ended_at"] for name in successes} == {
        name: kept[name]["ended_at"] for name in successes
    }
