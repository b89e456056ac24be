"""The first document's example as it stands, from the command line, against a receiver on this machine."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from actorflow.core.recovery import delay_before_retry
from actorflow.spec import load
from tests.chaos_sink import ChaosSink, answer, reset, silence
from tests.cli_shell import Shell, no_process_left_of, wait_until

SEED = Path(__file__).with_name("seed") / "process_order.yaml"
TASK_FINISHED = 4  #: the event behind RunStarted, GenerationStarted and AttemptStarted
WEBHOOK = "task_finished[0]"
PATH = "/order/complete"
AGENTS = """
def validate(call):
    return {"total": 99, "order": call.input["order_id"]}


def send(call):
    return call.input
"""


@pytest.fixture
def sink() -> Generator[ChaosSink]:
    with ChaosSink() as sink:
        yield sink


@pytest.fixture
def shell(tmp_path: Path, sink: ChaosSink) -> Generator[Shell]:
    shell = Shell(tmp_path)
    shell.write("process_order.yaml", SEED.read_text(encoding="utf-8"))
    shell.write("shop.py", AGENTS)
    shell.env["WEBHOOK_URL"] = sink.url("")
    with no_process_left_of(shell):
        yield shell


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def words(sink: ChaosSink, run_id: str, backend: str = "asyncio") -> list[str]:
    """The command line of a user who has the two agents in a module, and allows the receiver."""
    agents = {"validate_and_process": "python:shop:validate", "send_notification": "python:shop:send"}
    inputs = {"order_id": "42", "customer_id": "c7"}
    return [
        *("run", "process_order.yaml", "--run-id", run_id, "--backend", backend),
        *("--allow-host", sink.url("")),
        *(word for name, runner in agents.items() for word in ("--agent", f"{name}={runner}")),
        *(word for name, value in inputs.items() for word in ("--input", f"{name}={value}")),
    ]


def delivery_id(run_id: str) -> str:
    return f"{run_id}/{TASK_FINISHED}/{WEBHOOK}"


def impatient_run() -> str:
    """A run whose webhook has all of its tries within a second and a half: delays follow from the delivery's id."""
    (hook,) = (hook for hook in load(SEED).hooks.lists["task_finished"] if hook.action == "webhook")
    retry = hook.retry

    def lasts_s(run_id: str) -> float:
        numbers = range(1, retry.max_attempts)
        return sum(delay_before_retry(retry, n, f"{delivery_id(run_id)}/{n}") for n in numbers)

    return next(name for name in (f"order-{n}" for n in range(10_000)) if lasts_s(name) < 1.5)


def runs_by_id(shell: Shell) -> dict[str, Any]:
    return {run["run_id"]: run for run in json.loads(shell.run("list", "--json").stdout)}


def test_the_log_the_metric_the_webhook_and_the_dispatched_task(
    shell: Shell, sink: ChaosSink, backend: str
) -> None:
    done = shell.run(*words(sink, "order-42", backend))
    assert done.returncode == 0, done.stderr
    assert "Processing order 42" in done.stderr

    (request,) = sink.requests
    assert (request.method, request.path) == ("POST", PATH)
    assert json.loads(request.body) == {"order_id": "42", "status": "success", "total": 99}
    assert request.header("content-type") == "application/json"
    assert request.header("webhook-id") == request.header("idempotency-key") == delivery_id("order-42")

    metrics = shell.run("metrics", "order-42").stdout
    assert "order_processing_started" in metrics
    assert "customer_id=c7" in metrics

    (child,) = runs_by_id(shell).keys() - {"order-42"}
    record = shell.show(child)
    assert record["status"] == "success"
    (task,) = record["tasks"].values()
    assert task["output"] == {"order_id": "42", "status": "success"}


def test_while_the_receiver_is_down_tries_are_made_and_what_is_given_up_can_be_sent_later(
    shell: Shell, sink: ChaosSink, backend: str
) -> None:
    run_id = impatient_run()
    sink.answers(PATH, *[reset()] * 5, answer(200))
    done = shell.run(*words(sink, run_id, backend))
    assert done.returncode == 0, done.stderr
    assert len(sink.requests) == 5

    (letter,) = json.loads(shell.run("dead-letters", "list", "--json").stdout)["dead_letters"]
    assert letter["id"] == delivery_id(run_id)
    retried = shell.run("dead-letters", "retry", letter["id"], "--allow-host", sink.url(""))
    assert retried.returncode == 0, retried.stderr
    assert {request.header("webhook-id") for request in sink.requests} == {delivery_id(run_id)}
    assert len(sink.requests) == 6
    assert json.loads(shell.run("dead-letters", "list", "--json").stdout)["dead_letters"] == []


def test_killed_between_the_commit_and_the_delivery_it_is_delivered_on_resume_under_the_same_id(
    shell: Shell, sink: ChaosSink, backend: str
) -> None:
    sink.answers(PATH, silence(), answer(200))
    process = shell.start(*words(sink, "order-42", backend))
    wait_until(lambda: len(sink.requests) == 1)
    process.kill()
    process.wait()

    agents = [word for word in words(sink, "order-42") if word.startswith(("--agent", "validate", "send"))]
    resumed = shell.run("resume", "order-42", "--allow-host", sink.url(""), *agents)
    assert resumed.returncode == 0, resumed.stderr
    first, second = sink.requests
    assert first.header("webhook-id") == second.header("webhook-id") == delivery_id("order-42")
    assert first.body == second.body
    hooks = shell.show("order-42")["hooks"]
    assert (hooks["pending"], hooks["failed"], hooks["dead_letters"]) == (0, 0, 0)
    assert len(runs_by_id(shell)) == 2


def test_without_the_flag_nothing_is_connected_and_the_refusal_names_it(
    shell: Shell, sink: ChaosSink
) -> None:
    command = words(sink, "order-42")
    at = command.index("--allow-host")
    done = shell.run(*command[:at], *command[at + 2 :])
    assert done.returncode == 0, done.stderr
    assert sink.connections() == 0
    (letter,) = json.loads(shell.run("dead-letters", "list", "--json").stdout)["dead_letters"]
    assert "E444" in letter["reason"]
    assert '--allow-host "$WEBHOOK_URL"' in letter["reason"]
