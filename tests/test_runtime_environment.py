"""What a run reads of its surroundings: declared variables, once; secrets, when they are used, and never kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import pytest

from actorflow import AgentCall, MissingVariablesError, Runtime, SpecError, load_dict, loads
from actorflow.runtime.environment import inherited_environment
from actorflow.spec import WorkflowSpec

pytestmark = pytest.mark.anyio

CANARY = "s3cret-canary-value"


def workflow(tasks: dict[str, object], folder: Path | None = None, **more: object) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": tasks, **more}, trust="own", folder=folder)


def stored(folder: Path) -> bytes:
    return b"".join(
        path.read_bytes() for path in folder.rglob("*") if path.is_file() and "runs.db" in str(path)
    )


async def test_a_declared_variable_is_read_at_the_start_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REGION_HINT", "eu")
    spec = workflow(
        {"a": {"agent": "echo", "with": {"hint": "{{ env.REGION_HINT }}"}}},
        env=["REGION_HINT"],
        outputs={"hint": "{{ env.REGION_HINT }}"},
    )

    async def change(call: AgentCall) -> object:
        monkeypatch.setenv("REGION_HINT", "us")
        return call.input

    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db", agents={"echo": change}) as runtime:
        result = await runtime.run(spec)
    assert result.tasks["a"].output == {"hint": "eu"}
    assert result.outputs == {"hint": "eu"}


async def test_what_is_not_there_is_told_at_once_and_before_a_run_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("REGION_HINT", "API_TOKEN", "OTHER"):
        monkeypatch.delenv(name, raising=False)
    spec = workflow(
        {"a": {"command": "true", "env": {"T": "{{ secrets.token }}", "O": "${OTHER}"}}},
        env=["REGION_HINT"],
        secrets={"token": {"env": "API_TOKEN"}},
    )
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as runtime:
        with pytest.raises(MissingVariablesError) as caught:
            await runtime.run(spec)
        assert await runtime.list() == []
    assert caught.value.code == "E412"
    assert [name for name in ("REGION_HINT", "API_TOKEN", "OTHER") if name in str(caught.value)] == [
        "REGION_HINT",
        "API_TOKEN",
        "OTHER",
    ]


async def test_a_secret_reaches_the_command_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_TOKEN", CANARY)
    (tmp_path / "key").write_text(CANARY + "-of-a-file\n")
    seen = tmp_path / "seen"
    spec = workflow(
        {
            "a": {
                "command": f'echo "$T $K" > {seen}; echo "$T"; echo "$K" >&2',
                "env": {"T": "Bearer ${API_TOKEN}", "K": "{{ secrets.key }}"},
            },
            "b": {
                "command": ["sh", "-c", 'echo "no: $0" >&2; exit 3', "${API_TOKEN}"],
                "on_error": {"strategy": "skip"},
            },
        },
        folder=tmp_path,
        secrets={"key": {"file": "key"}},
        outputs={"a": "{{ tasks.a.output }}"},
    )
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as runtime:
        result = await runtime.run(spec)
    assert seen.read_text() == f"Bearer {CANARY} {CANARY}-of-a-file\n"
    assert result.outputs == {"a": "Bearer ***"}
    assert result.tasks["b"].error is not None
    assert result.tasks["b"].error["message"] == "exited with status 3: no: ***"
    assert CANARY.encode() not in stored(tmp_path)


async def test_no_part_of_a_secret_is_left_where_what_was_printed_is_cut(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_TOKEN", CANARY)
    padding = "head -c {} /dev/zero | tr '\\0' y"
    spec = workflow(
        {
            "out": {
                "command": f'printf %s "$T"; {padding.format(1_048_576 - 10)}',
                "env": {"T": "${API_TOKEN}"},
            },
            "err": {
                "command": f'(printf %s "$T"; {padding.format(4096 - 10)}; printf "\nx") >&2; exit 3',
                "env": {"T": "${API_TOKEN}"},
                "on_error": {"strategy": "skip"},
            },
        }
    )
    async with Runtime(store="memory:") as runtime:
        handle = await runtime.start(spec)
        result = await handle.wait()
        told = str([event async for event in handle.events()])
    assert result.tasks["out"].output[:5] == "***yy"
    assert CANARY[-4:] not in told.replace("y" * 10, "")


async def test_what_is_inherited_is_seen_as_it_is_at_each_look(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_TOKEN", CANARY)
    inherited = inherited_environment(workflow({"a": {"agent": "x"}}, secrets={"t": {"env": "API_TOKEN"}}))
    monkeypatch.setenv("OTHER", "later")
    assert inherited.get("API_TOKEN") is None
    assert inherited["OTHER"] == "later"
    assert {**inherited, "API_TOKEN": CANARY} == dict(os.environ)


async def test_the_variable_of_a_declared_secret_is_not_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", CANARY)
    monkeypatch.setenv("OTHER", "seen")
    say = 'echo "$API_TOKEN$OTHER"'
    spec = workflow(
        {"a": {"command": say}, "b": {"script": say}, "c": {"agent": "cli"}},
        secrets={"token": {"env": "API_TOKEN"}},
        workflows={"w": {"steps": [{"stage": "s", "tasks": ["a", "b", "c"]}]}},
        hooks={
            "post_workflow": [{"type": "command", "command": f"{say} > blocking"}],
            "on_stage_complete": [{"type": "command", "command": f"{say} > owed"}],
        },
        folder=tmp_path,
    )
    async with Runtime(store="memory:", agents={"cli": f"command:{say}"}) as runtime:
        result = await runtime.run(spec)
    assert [task.output for task in result.tasks.values()] == ["seen"] * 3
    assert [(tmp_path / name).read_text() for name in ("blocking", "owed")] == ["seen\n"] * 2


OUTER = {
    f"ACTORFLOW_{name}": "of an outer run"
    for name in (
        *("COOKIE", "RUN_ID", "TASK", "ATTEMPT", "LOSS", "IDEMPOTENCY_KEY", "INPUT", "OUTPUT"),
        *("GENERATION", "EVENT", "STATUS", "DELIVERY_ID"),
    )
}
SETTINGS = {"ACTORFLOW_STORE": "sqlite:///s.db", "ACTORFLOW_ENV": "test"}
HARMLESS = dict.fromkeys(("HOME", "USER", "LOGNAME", "LANGUAGE", "LC_TIME", "TZ", "TMPDIR", "TERM"), "h")
"""Beside PATH, SHELL and LANG, which decide how a command runs here."""


async def test_a_run_inside_of_another_ones_task_or_hook_inherits_its_settings_and_none_of_its_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {**OUTER, **SETTINGS}.items():
        monkeypatch.setenv(name, value)
    say = "env | grep ^ACTORFLOW_"
    spec = workflow(
        {"a": {"command": say, "with": {"big": "x" * 200_000}}},  # too long for ACTORFLOW_INPUT
        hooks={"post_workflow": [{"type": "command", "command": f"{say} > hook"}]},
        folder=tmp_path,
    )
    async with Runtime(store="memory:") as runtime:
        result = await runtime.run(spec)
    for told in (result.tasks["a"].output, (tmp_path / "hook").read_text()):
        lines = dict(line.split("=", 1) for line in told.splitlines())
        assert "of an outer run" not in lines.values()
        assert lines.items() >= SETTINGS.items()
    assert "ACTORFLOW_INPUT" not in result.tasks["a"].output
    assert "ACTORFLOW_TASK" not in lines


@pytest.mark.parametrize(
    ("trust", "inherits_all"), [("own", True), ("data", False)], ids=["own definition", "a stranger's"]
)
async def test_commands_of_a_strangers_definition_inherit_only_who_and_where_they_are(
    trust: Literal["own", "data"], inherits_all: bool, monkeypatch: pytest.MonkeyPatch
):
    others = {
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "LD_X": CANARY,
        "PYTHONPATH_": CANARY,
        "LCX": CANARY,
        **SETTINGS,
    }
    for name, value in {**HARMLESS, **others}.items():
        monkeypatch.setenv(name, value)
    spec = load_dict({"tasks": {"a": {"agent": "cli"}}}, trust=trust)
    async with Runtime(store="memory:", agents={"cli": "command:env"}) as runtime:
        result = await runtime.run(spec)
    lines = set(result.tasks["a"].output.splitlines())
    assert lines >= {f"{name}={value}" for name, value in {"PATH": os.environ["PATH"], **HARMLESS}.items()}
    seen = {f"{name}={value}" for name, value in others.items()} & lines
    assert len(seen) == (len(others) if inherits_all else 0)


async def test_a_strangers_definition_stays_one_when_its_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTHER", CANARY)
    store, agents = f"sqlite:///{tmp_path}/runs.db", {"cli": 'command:echo "seen: $OTHER"'}
    async with Runtime(store=store, agents={"cli": "fail"}) as runtime:
        failed = await runtime.run(load_dict({"tasks": {"a": {"agent": "cli"}}}))
    async with Runtime(store=store, agents=agents) as runtime:
        result = await runtime.resume(failed.run_id)
    assert result.tasks["a"].output == "seen:"


async def test_a_python_agent_finds_a_secret_in_its_env_and_an_exception_does_not_tell_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("API_TOKEN", CANARY)
    seen: list[str] = []

    async def call_out(call: AgentCall) -> None:
        seen.append(call.env["TOKEN"])
        raise ConnectionError(f"401 for {call.env['TOKEN']}")

    spec = workflow({"a": {"agent": "api", "env": {"TOKEN": "${API_TOKEN}"}}})
    async with Runtime(store="memory:", agents={"api": call_out}) as runtime:
        result = await runtime.run(spec)
    assert seen == [CANARY]
    assert result.error is not None
    assert result.error["message"] == "401 for ***"


async def test_an_output_that_looks_like_a_secret_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_TOKEN", CANARY)
    spec = workflow(
        {
            "a": {"agent": "forger"},
            "b": {"command": ["echo", "{{ tasks.a.output }}"], "depends_on": ["a"]},
        }
    )
    async with Runtime(
        store="memory:", agents={"forger": lambda call: "${API_TOKEN} {{ secrets.x }}"}
    ) as runtime:
        result = await runtime.run(spec)
    assert result.tasks["b"].output == "${API_TOKEN} {{ secrets.x }}"


@pytest.mark.parametrize(
    "task",
    [
        {"type": "parallel", "tasks": {"x": {"agent": "x"}}},
        {"agent": "x", "loop": {"repeat": 2}},
    ],
    ids=lambda task: next(key for key in task if key != "agent"),
)
async def test_what_cannot_run_yet_is_refused_before_a_run_exists(task: dict[str, object]):
    async with Runtime(store="memory:", agents={"*": "echo"}) as runtime:
        with pytest.raises(SpecError) as caught:
            await runtime.run(workflow({"a": task}))
        assert caught.value.code == "E190"
        assert await runtime.list() == []


async def test_one_of_several_workflows_is_chosen_by_name():
    spec = loads(
        json.dumps(
            {
                "tasks": {"a": {"agent": "x"}, "b": {"agent": "x"}},
                "workflows": {
                    "one": {"steps": [{"stage": "s", "tasks": ["a"]}]},
                    "two": {"steps": [{"stage": "s", "tasks": ["b"]}]},
                },
            }
        )
    )
    async with Runtime(store="memory:", agents={"x": "echo"}) as runtime:
        assert list((await runtime.run(spec, workflow="two")).tasks) == ["b"]
        assert list((await runtime.run(spec, workflow="one")).tasks) == ["a"]
