"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actorflow import AgentCall, Runtime, load

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


def is_there(path: str) -> bool:
    return Path(path).exists()


@pytest.mark.anyio
async def test_a_release_is_published_and_a_rollback_brings_the_one_before_back(tmp_path: Path):
    release = load(EXAMPLES / "release" / "release.yaml")
    target = str(tmp_path / "published")
    async with Runtime(store="memory:") as rt:
        for number in ("1.0", "1.1"):
            deployed = await rt.run(release, workflow="deploy", inputs={"release": number, "target": target})
            assert deployed.outputs == {"published": {"version": number, "pages": 2}, "instead": None}
        assert "bakery, 1.1" in (tmp_path / "published" / "now" / "index.html").read_text()
        assert not is_there(deployed.tasks["build"].output["folder"])
        back = await rt.run(release, workflow="rollback", inputs={"target": target})
        assert back.outputs == {"published": {"version": "1.0"}}
        again = await rt.run(release, workflow="rollback", inputs={"target": target})
    assert again.status == "failed"
    assert "bakery, 1.0" in (tmp_path / "published" / "now" / "index.html").read_text()


@pytest.mark.anyio
async def test_a_release_with_a_dead_link_is_not_published_and_says_why(tmp_path: Path):
    release = load(EXAMPLES / "release" / "release.yaml")
    target = tmp_path / "published"
    inputs = {"release": "1.2", "pages": "draft", "target": str(target)}
    async with Runtime(store="memory:") as rt:
        result = await rt.run(release, workflow="deploy", inputs=inputs)
    assert (result.status, result.had_errors) == ("success", True)
    assert result.outputs["published"] is None
    assert result.outputs["instead"].endswith("links that lead nowhere: index.html -> cakes.html")
    assert not target.exists()
    assert not is_there(result.tasks["build"].output["folder"])


@pytest.mark.anyio
async def test_the_second_grammar_runs_with_stand_ins_and_hands_what_agents_understand_to_them():
    options: dict[str, object] = {}

    def reader(call: AgentCall) -> str:
        options.update(call.options)
        return f"{call.input['book']} is long"

    circle = load(EXAMPLES / "second_grammar" / "reading_circle.yaml")
    async with Runtime(store="memory:", agents={"*": "echo"}) as rt:
        result = await rt.run(circle)
    assert result.status == "success"
    assert result.tasks["invite"].output == "3 evenings on Middlemarch"
    assert result.tasks["apologize"].reason == "when"

    async with Runtime(store="memory:", agents={"reader": reader, "*": "echo"}) as rt:
        result = await rt.run(circle, inputs={"book": "Ulysses"})
    assert result.tasks["questions"].output["input"] == {"summary": "Ulysses is long", "evenings": 3}
    assert (options["model"], options["max_turns"]) == ("large-model", 5)


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


@pytest.mark.anyio
@pytest.mark.parametrize("bank", ["up", "down"])
async def test_invoices_are_paid_or_wait_as_dead_letters(tmp_path: Path, monkeypatch, bank: str):
    monkeypatch.setenv("BANK", bank)
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as rt:
        result = await rt.run(load(EXAMPLES / "payments" / "pay.yaml"))
        letters = [letter.task for letter in await rt.dead_letters()]
    assert result.tasks["reminder"].status == "success"
    if bank == "up":
        assert (result.outputs, letters) == ({"paid": ["rent", "power", "water"]}, [])
    else:
        assert (result.status, sorted(letters)) == ("failed", ["power", "rent"])
        assert result.tasks["rent"].attempts + result.tasks["power"].attempts <= 3
        assert result.tasks["water"].reason == "upstream"


@pytest.mark.anyio
async def test_orders_are_audited_by_hooks_and_a_letter_goes_out_as_a_run_of_its_own(tmp_path: Path):
    audit = tmp_path / "audit.jsonl"
    async with Runtime(store="memory:") as rt:
        handle = await rt.start(
            load(EXAMPLES / "audited_orders" / "orders.yaml"), inputs={"audit": str(audit)}
        )
        result = await handle.settled()
        runs = {row.workflow: row.summary.status for row in await rt.list()}
        measured = rt.metrics.snapshot().family("order_step_seconds")
    assert (result.status, result.outputs) == ("success", {"total": 99})
    assert runs == {"Audited orders": "success", "Audited orders/letter": "success"}
    assert measured is not None
    assert [dict(series.tags) for series in measured.series] == [{"step": "charge"}, {"step": "ship"}]
    lines = lines_of(audit)
    assert [(line["step"], line["status"], line["attempts"]) for line in lines if "step" in line] == [
        ("charge", "success", 2),
        ("ship", "success", 1),
    ]
    assert [line for line in lines if "letter" in line] == [{"letter": "P-A-17"}]


@pytest.mark.anyio
async def test_an_order_of_nothing_is_not_shipped_and_pages_in_production(
    tmp_path: Path, monkeypatch, caplog
):
    monkeypatch.setenv("ACTORFLOW_ENV", "production")
    caplog.set_level("INFO", "actorflow.notify")
    audit = tmp_path / "audit.jsonl"
    inputs = {"audit": str(audit), "amount": 0}
    async with Runtime(store="memory:") as rt:
        handle = await rt.start(load(EXAMPLES / "audited_orders" / "orders.yaml"), inputs=inputs)
        result = await handle.settled()
    why = "task_finished hook 'plausible' failed: exited with status 1: 19 in all, and nothing was bought"
    assert (result.error or {})["message"] == why
    assert result.tasks["ship"].reason == "upstream"
    assert [(line["step"], line["status"]) for line in lines_of(audit)] == [("charge", "failed")]
    assert f"charge: order A-17: {why}" in caplog.messages


@pytest.mark.anyio
async def test_without_an_audit_log_there_is_no_order(tmp_path: Path):
    inputs = {"audit": str(tmp_path / "nowhere" / "audit.jsonl")}
    async with Runtime(store="memory:") as rt:
        result = await rt.run(load(EXAMPLES / "audited_orders" / "orders.yaml"), inputs=inputs)
    assert result.status == "failed"
    assert (result.error or {})["type"] == "hook_failed"
    assert {task.status for task in result.tasks.values()} == {"skipped"}


def lines_of(audit: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in audit.read_text(encoding="utf-8").splitlines()]


@pytest.mark.anyio
async def test_signed_webhooks_reach_a_shop_that_checks_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    folder = EXAMPLES / "signed_webhooks"
    command = [sys.executable, str(folder / "receiver.py")]
    env = {**os.environ, "PORT": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as shop:  # noqa: ASYNC220 - it is there before the run
        assert shop.stdout is not None
        url = shop.stdout.readline().strip()
        monkeypatch.setenv("SHOP_URL", url)
        async with Runtime(store="memory:", allow_hosts=[url]) as rt:
            handle = await rt.start(load(folder / "order.yaml"))
            result = await handle.settled()
        shop.kill()
        orders = [json.loads(line.removeprefix("order: ")) for line in shop.stdout]
    assert result.outputs == {"total": "29"}
    assert result.hooks.delivered == 3
    assert {order["task"]: order["output"] for order in orders} == {
        "price_of_first": 4,
        "price_of_second": 25,
        "total": "29",
    }
