"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from actorflow import Runtime, load

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_survey_measures_hundreds_of_real_files_from_the_command_line(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "actorflow",
        "run",
        str(EXAMPLES / "source_survey" / "survey.yaml"),
        "--json",
    ]
    ran = subprocess.run(
        [*command, "--store", str(tmp_path / "runs.db")],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["outputs"]["files"] > 200
    assert result["outputs"]["lines"] > 100_000
    assert (
        sum(result["tasks"][f"measure_{i}"]["output"]["files"] for i in range(1, 5))
        == result["outputs"]["files"]
    )


@pytest.mark.anyio
async def test_the_flaky_feed_is_mended_by_retries_and_the_dead_one_by_its_fallback():
    async with Runtime(store="memory:") as rt:
        result = await rt.run(load(EXAMPLES / "flaky_feed" / "prices.yaml"))
    assert result.outputs == {"report": "4 items, 14.7 in local money, at a rate of 1.08", "attempts": 3}
    assert (result.tasks["rate"].agent, result.tasks["rate"].attempts) == ("yesterdays_rate", 3)


@pytest.mark.anyio
async def test_the_embedded_program_charges_each_order_once_and_resumes_the_one_that_failed(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("orders", EXAMPLES / "embedded" / "orders.py")
    assert spec is not None
    assert spec.loader is not None
    orders = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(orders)
    results = await orders.main(f"sqlite:///{tmp_path / 'orders.db'}")
    assert {name: result.status for name, result in results.items()} == {
        f"o-{i}": "success" for i in range(1, 8)
    }
    assert results["o-7"].generation == 2
    assert "7 charges, 434.00 in all" in capsys.readouterr().out
