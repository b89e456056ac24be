"""What each action does with an event, and what it says of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import field, frozen, validators

from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import DispatchRefused
from actorflow.hooks.registry import HookRegistry
from actorflow.processes import ProcessTrees
from tests.hook_tries import TASK, Measurements, around_of, context_of, executor_of, sealed, until

pytestmark = pytest.mark.anyio


async def try_of(context: HookContext, around: Any = None, **facts: Any) -> Any:
    (result,) = await executor_of(around, **facts).deliver([context])
    return result


def command(text: str | list[str], env: dict[str, str] | None = None, **facts: Any) -> HookContext:
    return context_of("command", {"command": text, "env": env or {}}, **facts)


# command


@pytest.mark.parametrize("text", ["echo out; echo err >&2", ["/bin/sh", "-c", "echo out; echo err >&2"]])
async def test_a_command_that_exits_with_0_is_ok_and_its_record_has_what_it_printed(text):
    result = await try_of(command(text))
    assert (result.status, result.error, result.has_acted) == ("ok", "", False)
    facts = {key: result.record[key] for key in ("exit_status", "stdout", "stderr", "truncated")}
    assert facts == {"exit_status": 0, "stdout": "out\n", "stderr": "err\n", "truncated": False}
    assert 0 < result.record["duration_s"] < 10


@pytest.mark.parametrize(
    ("text", "error", "exit_status"),
    [
        ("exit 3", "exited with status 3", 3),
        ("echo first >&2; echo last >&2; exit 3", "exited with status 3: last", 3),
        ("kill -TERM $$", "killed by SIGTERM", None),
        ("kill -40 $$", "killed by signal 40", None),
        (["no-such-program"], "exited with status 127", 127),
    ],
)
async def test_a_command_that_says_no_has_acted(text, error, exit_status):
    result = await try_of(command(text))
    assert (result.status, result.has_acted, result.final) == ("failed", True, "")
    assert result.error.startswith(error)
    assert result.record["exit_status"] == exit_status


async def test_a_command_that_takes_too_long_is_ended_and_what_it_printed_is_kept():
    result = await try_of(command("echo begun; sleep 60", timeout=0.5))
    assert (result.status, result.has_acted) == ("timed_out", True)
    assert result.error == "not done after 0.5 s"
    assert result.record["stdout"] == "begun\n"


async def test_a_command_that_could_not_be_started_has_not_acted(tmp_path: Path):
    result = await try_of(command("true", cwd="missing"), around_of(tmp_path))
    assert (result.status, result.has_acted, dict(result.record)) == ("failed", False, {})
    assert "missing" in result.error


VARIABLES = {
    "WORKFLOW_NAME": "orders",
    "WORKFLOW_STAGE": "import",
    "WORKFLOW_ERROR": "fetch: exited with status 3",
    "ACTORFLOW_RUN_ID": "r1",
    "ACTORFLOW_GENERATION": "2",
    "ACTORFLOW_EVENT": "task_finished",
    "ACTORFLOW_STATUS": "failed",
    "ACTORFLOW_DELIVERY_ID": "r1/7/task_finished[0]",
    "ACTORFLOW_TASK": "fetch",
    "ACTORFLOW_ATTEMPT": "3",
}


async def variables_seen(context: HookContext) -> dict[str, str]:
    result = await try_of(context)
    lines = result.record["stdout"].splitlines()
    pairs = dict(line.partition("=")[::2] for line in lines)
    return {
        name: value for name, value in pairs.items() if name.startswith(("WORKFLOW_", "ACTORFLOW_", "OWN"))
    }


async def test_a_command_finds_what_happened_in_its_environment():
    seen = await variables_seen(command("env", {"OWN": "x"}))
    seen = {name: value for name, value in seen.items() if "COOKIE" not in name}
    assert seen == {**VARIABLES, "OWN": "x"}


async def test_what_there_is_nothing_to_say_of_is_set_and_empty():
    context = command("env", event="pre_workflow", task=None, error=None, stage="of a generation before")
    seen = await variables_seen(context)
    assert (seen["WORKFLOW_STAGE"], seen["WORKFLOW_ERROR"]) == ("", "")
    assert {"ACTORFLOW_TASK", "ACTORFLOW_ATTEMPT"} & seen.keys() == set()


async def test_the_variables_of_a_hook_come_above_all_others():
    seen = await variables_seen(command("env", {"WORKFLOW_NAME": "mine"}))
    assert seen["WORKFLOW_NAME"] == "mine"


async def test_a_message_with_a_nul_does_not_keep_the_command_from_running():
    seen = await variables_seen(command("env", error={"message": "a\0b", "task": None}))
    assert seen["WORKFLOW_ERROR"] == "a␀b"


async def test_a_command_runs_in_the_workflows_folder_or_where_its_hook_says(tmp_path: Path):
    (tmp_path / "inner").mkdir()
    around = around_of(tmp_path)
    assert (await try_of(command("pwd"), around)).record["stdout"] == f"{tmp_path}\n"
    assert (await try_of(command("pwd", cwd="inner"), around)).record["stdout"] == f"{tmp_path}/inner\n"


async def test_no_more_of_a_commands_output_is_kept_than_its_hook_says_be_it_more_than_a_record_holds():
    result = await try_of(command("head -c 300000 /dev/zero | tr '\\0' x", max_output=200_000))
    assert (len(result.record["stdout"]), result.record["truncated"]) == (200_000, True)


def is_alive(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][0] not in "ZX"


async def test_cancelling_ends_a_command_with_its_whole_tree(tmp_path: Path):
    trees, pid = ProcessTrees(), tmp_path / "pid"
    text = "sleep 60 & echo $! > begun; mv begun pid; wait"
    async with anyio.create_task_group() as group:
        group.start_soon(try_of, command(text), around_of(tmp_path, trees=trees))
        await until(pid.exists)
        assert is_alive(pid.read_text().strip())
        group.cancel_scope.cancel()
    assert trees.live_count == 0
    assert not is_alive(pid.read_text().strip())


async def test_a_commands_secrets_are_given_to_it_and_not_told():
    params = sealed({"command": "echo $TOKEN; echo no $TOKEN >&2; exit 1", "env": {"TOKEN": "${TOKEN}"}})
    result = await try_of(context_of("command", params), around_of(environ={"TOKEN": "s3cr3t-value"}))
    assert (result.record["stdout"], result.record["stderr"]) == ("***\n", "no ***\n")
    assert result.error == "exited with status 1: no ***"


# log and notify


async def test_a_log_hook_logs_its_message_with_its_facts_under_one_key(caplog):
    params = {"level": "error", "message": "lost 100 %s", "fields": {"message": "a fact", "n": 1}}
    with caplog.at_level(logging.DEBUG, "actorflow.hooks"):
        result = await try_of(context_of("log", params))
    (record,) = caplog.records
    assert (result.status, dict(result.record)) == ("ok", {})
    assert (record.name, record.levelname, record.getMessage()) == ("actorflow.hooks", "ERROR", "lost 100 %s")
    assert record.actorflow == {
        "run_id": "r1",
        "event": "task_finished",
        "task": "fetch",
        "delivery_id": "r1/7/task_finished[0]",
        "fields": {"message": "a fact", "n": 1},
    }


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical", None])
async def test_a_log_hook_keeps_to_its_level(caplog, level):
    params = {"message": "m"} if level is None else {"message": "m", "level": level}
    with caplog.at_level(logging.DEBUG, "actorflow.hooks"):
        await try_of(context_of("log", params, task=None))
    assert [(record.levelname, record.actorflow["task"]) for record in caplog.records] == [
        ((level or "info").upper(), None)
    ]


async def test_a_batch_is_logged_at_once_and_in_order(caplog):
    batch = [context_of("log", {"message": f"m{number}"}) for number in range(20)]
    with caplog.at_level(logging.INFO, "actorflow.hooks"):
        results = await executor_of().deliver(batch)
    assert [result.status for result in results] == ["ok"] * 20
    assert [record.getMessage() for record in caplog.records] == [f"m{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("facts", "text"),
    [({}, "fetch: 3 rows"), ({"task": None, "event": "workflow_finished"}, "orders: 3 rows")],
)
async def test_a_notice_says_what_it_is_about(caplog, facts, text):
    params = {"message": "3 rows", "title": "Import", "priority": "high"}
    with caplog.at_level(logging.INFO, "actorflow.notify"):
        assert (await try_of(context_of("notify", params, **facts))).status == "ok"
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("actorflow.notify", text)
    assert (record.run_id, record.title, record.priority) == ("r1", "Import", "high")


@pytest.mark.parametrize("action", ["log", "notify"])
async def test_no_log_has_a_secret(caplog, action):
    params = sealed(
        {"message": "with ${TOKEN}", "fields": {"${TOKEN}": 1, "a": ["${TOKEN}"]}, "title": "${TOKEN}"}
    )
    with caplog.at_level(logging.INFO, "actorflow"):
        result = await try_of(context_of(action, params), around_of(environ={"TOKEN": "s3cr3t-value"}))
    (record,) = caplog.records
    assert result.status == "ok"
    assert record.getMessage().endswith("with ***")
    assert "s3cr3t" not in str(vars(record))


# metric


@pytest.mark.parametrize(
    ("params", "record"),
    [
        ({"name": "orders"}, ("orders", "counter", 1.0, {})),
        ({"name": "size", "kind": "gauge", "value": 7}, ("size", "gauge", 7.0, {})),
        (
            {
                "name": "t",
                "kind": "histogram",
                "value": 0.5,
                "tags": {"a": "x", "b": 2, "c": True, "d": None},
            },
            ("t", "histogram", 0.5, {"a": "x", "b": "2", "c": "true", "d": ""}),
        ),
    ],
)
async def test_a_measurement_is_taken_and_kept_in_the_record(params, record):
    metrics = Measurements()
    result = await try_of(context_of("metric", params), around_of(metrics=metrics))
    assert metrics.taken == [record]
    assert (result.status, tuple(result.record.values())) == ("ok", record)
    assert tuple(result.record) == ("name", "kind", "value", "tags")


@pytest.mark.parametrize("value", ["12", True, None, [1], {}, float("nan"), float("inf"), 10**400, "x" * 500])
async def test_what_is_no_finite_number_is_not_measured_and_never_will_be(value):
    metrics = Measurements()
    result = await try_of(context_of("metric", {"name": "n", "value": value}), around_of(metrics=metrics))
    assert (result.status, result.final, metrics.taken) == ("failed", "failed", [])
    assert result.error.startswith("the value of n must be a finite number, not ")
    assert len(result.error) < 120


async def test_a_name_that_is_used_for_another_kind_fails_its_own_delivery_alone():
    metrics = Measurements()
    batch = [context_of("metric", {"name": "n", "kind": kind}) for kind in ("counter", "gauge", "counter")]
    results = await executor_of(around_of(metrics=metrics)).deliver(batch)
    assert [(each.status, each.final, each.error) for each in results] == [
        ("ok", "", ""),
        ("failed", "failed", "n is no gauge"),
        ("ok", "", ""),
    ]


# dispatch_task


async def test_a_dispatch_starts_a_run_and_names_it():
    seen = []

    async def dispatch(context: HookContext, target: str, given: Any) -> str:
        seen.append((context.delivery_id, target, given))
        return "clean-1"

    params = {"task_id": "clean", "input": {"n": 1}}
    result = await try_of(context_of("dispatch_task", params), around_of(dispatch=dispatch))
    assert seen == [("r1/7/task_finished[0]", "clean", {"n": 1})]
    assert (result.status, dict(result.record)) == ("ok", {"run_id": "clean-1"})


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (DispatchRefused("depth 3 is reached", is_depth=True), ("ok", "depth 3 is reached", "", "")),
        (DispatchRefused("no agent 'clean'"), ("failed", "", "no agent 'clean'", "failed")),
        (OSError("the store is full"), ("failed", "", "OSError: the store is full", "")),
    ],
)
async def test_a_dispatch_that_is_refused_says_why(raised, told):
    async def dispatch(context: HookContext, target: str, given: Any) -> str:
        raise raised

    result = await try_of(context_of("dispatch_task", {"task_id": "clean"}), around_of(dispatch=dispatch))
    assert (result.status, result.skip, result.error, result.final) == told


async def test_a_secret_is_not_dispatched_as_a_runs_input_is_recorded():
    params = sealed({"task_id": "clean", "input": {"token": "${TOKEN}"}})
    result = await try_of(context_of("dispatch_task", params), around_of(environ={"TOKEN": "s3cr3t-value"}))
    assert (result.status, result.final) == ("failed", "failed")
    assert "the input for clean holds a secret" in result.error


# custom actions, and functions for an event


@frozen
class PageParams:
    who: str = field(validator=validators.min_len(2))
    times: int = 1
    tags: tuple[str, ...] = ()


def with_page(function: Any) -> HookRegistry:
    registry = HookRegistry()
    registry.hook_action("page", params=PageParams)(function)
    return registry


async def test_a_custom_action_gets_the_event_and_its_params_as_an_object():
    seen = []

    async def page(context: HookContext, params: PageParams) -> None:
        seen.append((context.task, params))

    result = await try_of(context_of("page", {"who": "ann", "tags": ["a", "b"]}), registry=with_page(page))
    assert seen == [(TASK, PageParams("ann", 1, ("a", "b")))]
    assert (result.status, dict(result.record)) == ("ok", {})


async def test_what_a_custom_action_returns_is_its_record_and_holds_no_secret():
    async def page(context: HookContext, params: PageParams) -> dict[str, Any]:
        return {"answer": f"paged {params.who}", "ids": (1, 2), params.who: 1}

    context = context_of("page", sealed({"who": "${WHO}"}))
    result = await try_of(context, around_of(environ={"WHO": "nobody-knows"}), registry=with_page(page))
    assert result.record == {"answer": "paged ***", "ids": [1, 2], "***": 1}


@pytest.mark.parametrize(
    ("params", "mentioned"),
    [
        ({"who": 7}, ["who"]),
        ({"who": "ann", "times": "2"}, ["times"]),
        ({"who": "ann", "times": True}, ["times"]),
        ({"who": "ann", "tags": "ab"}, ["tags"]),
        ({"who": "ann", "whom": 1}, ["whom"]),
        ({}, ["who"]),
        (None, ["who"]),
        ({"who": 1, "times": 1.5, "tags": [2]}, ["who", "times", "tags"]),
        ({"who": "a"}, ["who"]),
    ],
)
async def test_params_that_do_not_fit_their_class_are_told_all_at_once_and_nothing_is_called(
    params, mentioned
):
    async def page(context: HookContext, params: PageParams) -> None:
        raise AssertionError

    result = await try_of(context_of("page", params), registry=with_page(page))
    assert (result.status, result.final) == ("failed", "failed")
    assert result.error.startswith("params: ")
    assert all(name in result.error for name in mentioned)


async def test_a_function_may_change_what_it_is_given_and_nobody_else_sees_it():
    output = {"rows": [1, 2]}

    async def page(context: HookContext, params: PageParams) -> None:
        context.output["rows"].append(context.input["n"])
        context.params.clear()

    context = context_of("page", {"who": "ann"}, output=output, input={"n": 3})
    result = await try_of(context, registry=with_page(page))
    assert (result.status, output, context.params) == ("ok", {"rows": [1, 2]}, {"who": "ann"})


@pytest.mark.parametrize("returned", [3, "text", ["a"], False])
async def test_anything_else_that_a_function_returns_is_a_failure_that_says_so(returned):
    async def page(context: HookContext, params: PageParams) -> Any:
        return returned

    result = await try_of(context_of("page", {"who": "ann"}), registry=with_page(page))
    assert (result.status, result.final) == ("failed", "failed")
    assert f"returned a {type(returned).__name__}; return a mapping" in result.error


async def test_what_is_no_json_of_a_record_is_left_out_and_the_record_says_why():
    async def page(context: HookContext, params: PageParams) -> Any:
        return {
            "good": {"n": 1},
            "bad": object(),
            "nan": float("nan"),
            "big": 2**70,
            "half": "\ud800",
            1: "one",
        }

    result = await try_of(context_of("page", {"who": "ann"}), registry=with_page(page))
    assert result.status == "ok"
    assert {key: result.record[key] for key in ("good", "1")} == {"good": {"n": 1}, "1": "one"}
    problems = result.record["not_kept"]
    assert [problem.split(":")[0] for problem in problems] == ["$.bad", "$.nan", "$.big", "$.half"]


class Unreadable(dict[str, Any]):
    def __bool__(self) -> bool:
        raise SystemExit(1)

    def items(self) -> Any:
        raise SystemExit(1)


async def test_a_record_that_cannot_even_be_read_is_a_failure_of_the_function():
    async def page(context: HookContext, params: PageParams) -> Any:
        return Unreadable(a=1)

    result = await try_of(context_of("page", {"who": "ann"}), registry=with_page(page))
    assert (result.status, result.error) == ("failed", "SystemExit: 1")


async def test_a_function_for_an_event_is_called_with_the_event():
    seen = []

    async def noted(context: HookContext) -> dict[str, Any]:
        seen.append(context.status)
        return {"n": len(seen)}

    context = context_of("code", {}, name="noted")
    result = await try_of(context, around_of(functions={("task_finished", "noted"): noted}))
    assert (seen, result.record) == (["failed"], {"n": 1})


async def test_a_function_that_this_process_does_not_have_is_refused_and_may_be_had_later():
    result = await try_of(context_of("code", {}, name="noted"))
    assert result.status == "refused"
    assert "no function 'noted' for task_finished; register it with Runtime.on" in result.error
