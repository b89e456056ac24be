"""What goes into a run and comes out of it: inputs, arguments, environments, and batches that a store refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from actorflow import ActorflowError, AgentCall, BadInputError, Runtime, load_dict
from actorflow.agents.failure import AgentFailed
from actorflow.journal import admission
from actorflow.runtime.inputs import checked_inputs
from actorflow.spec.model import WorkflowSpec

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}"


def workflow(tasks: Mapping[str, Any], folder: Path | None = None, **more: object) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": dict(tasks), **more}, trust="own", folder=folder)


# Batches that the journal refuses


async def test_a_batch_that_its_journal_refuses_ends_its_run_alone(
    store: str, monkeypatch: pytest.MonkeyPatch
):
    is_refused = anyio.Event()

    async def wait(_: AgentCall) -> int:
        await is_refused.wait()
        return 1

    agents = {"long": lambda _: "x" * 5_000, "wait": wait}
    async with Runtime(store=store, agents=agents) as rt:
        innocent = await rt.start(workflow({"t": {"agent": "wait"}}))
        monkeypatch.setattr(admission, "MAX_PAYLOAD_BYTES", 2_000)
        with pytest.raises(
            ActorflowError, match="run 'r' cannot go on, because its store refuses"
        ) as refused:
            await rt.run(workflow({"t": {"agent": "long"}}), run_id="r")
        assert "at most 2000 are kept" in str(refused.value)
        is_refused.set()
        assert (await innocent.wait()).status == "success"


async def test_a_run_whose_last_batch_was_refused_can_be_taken_up_again(
    store: str, monkeypatch: pytest.MonkeyPatch
):
    async with Runtime(store=store, agents={"long": lambda _: "x" * 5_000}) as rt:
        monkeypatch.setattr(admission, "MAX_PAYLOAD_BYTES", 2_000)
        with pytest.raises(ActorflowError):
            await rt.run(workflow({"t": {"agent": "long"}}), run_id="r")
        (row,) = await rt.list()
        assert (row.summary.status, row.owner_pid) == ("running", None)
        monkeypatch.undo()
        result = await rt.resume("r")
    assert (result.status, result.tasks["t"].attempts) == ("success", 1)


async def test_rendered_values_that_no_journal_could_keep_fail_what_they_are_of(store: str):
    tasks = {"t": {"agent": "big", "outputs": {"n": "{{ output * 10 }}"}}}
    async with Runtime(store=store, agents={"big": lambda _: 2**63}) as rt:
        of_task = await rt.run(workflow(tasks))
        of_run = await rt.run(workflow({"t": {"agent": "big"}}, outputs={"n": "{{ tasks.t.output * 10 }}"}))
    assert [(result.status, result.error["type"]) for result in (of_task, of_run)] == [
        ("failed", "expression")
    ] * 2


# Arguments, descriptions and environments

DECLARED = {
    "charge": {"command": ["echo", "real {{ input.amount }}"], "env": {"KEPT": "{{ input.amount }}"}},
    "script": {"script": {"language": "bash", "text": "echo script", "args": ["echo", "args"]}},
}


async def test_arguments_of_the_files_runner_are_not_run_in_place_of_the_callers(store: str):
    agents = {"charge": "command:echo mock $KEPT", "script": "command:echo mock"}
    spec = workflow({"a": {"agent": "charge"}, "b": {"agent": "script"}}, agents=DECLARED)
    async with Runtime(store=store, agents=agents) as rt:
        bound = await rt.run(spec, inputs={"amount": "7"})
    async with Runtime(store="memory:") as rt:
        declared = await rt.run(spec, inputs={"amount": "7"})
    assert [task.output for task in bound.tasks.values()] == ["mock 7", "mock"]
    assert [task.output for task in declared.tasks.values()] == ["real 7", "script"]


async def test_a_resumed_run_uses_the_command_that_was_recorded(tmp_path: Path):
    flag = tmp_path / "flag"
    word = f"command:test -e {flag} && echo mock"
    spec = workflow({"a": {"agent": "charge"}}, agents=DECLARED)
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with Runtime(store=store, agents={"charge": word}) as rt:
        assert (await rt.run(spec, inputs={"amount": "7"}, run_id="r")).status == "failed"
    flag.touch()
    async with Runtime(store=store) as rt:
        assert (await rt.resume("r")).tasks["a"].output == "mock"


async def test_an_inline_runner_takes_nothing_from_an_agent_that_is_called_like_its_kind(
    tmp_path: Path, anyio_backend: str
):
    module = f"told_on_{anyio_backend}"
    source = "def told(call): return [call.description, dict(call.options)]\n"
    (tmp_path / f"{module}.py").write_text(source)
    agents = {"python": {"description": "of another", "python": "json:dumps", "model": "m"}}
    spec = workflow({"t": {"python": f"{module}:told"}}, tmp_path, agents=agents)
    async with Runtime(store="memory:") as rt:
        assert (await rt.run(spec)).tasks["t"].output == ["", {}]


async def test_each_attempt_of_a_command_has_the_environment_as_it_is_then(
    store: str, monkeypatch: pytest.MonkeyPatch
):
    seen: list[object] = []
    spec = workflow({"t": {"command": "echo $CHANGING"}})
    async with Runtime(store=store) as rt:
        for value in ("one", "two"):
            monkeypatch.setenv("CHANGING", value)
            seen.append((await rt.run(spec)).tasks["t"].output)
    assert seen == ["one", "two"]


# Inputs

BAD_TEXTS = [
    ("number", "9" * 30, "is not JSON: $: an integer of more than 64 bits"),
    ("number", "nan", "is not JSON: $: NaN"),
    ("number", "1e999", "is not JSON: $: an infinite number"),
    ("number", "many", 'is "many", which is not of type number'),
    ("array", "[99999999999999999999999999]", "is not JSON: $[0]: an integer of more than 64 bits"),
    ("array", "[NaN]", "is not JSON: $[0]: NaN"),
    ("array", "[" * 150 + "]" * 150, "more than 100 levels"),
    ("array", '["\\ud800"]', "is not JSON: $[0]: a lone surrogate"),
    ("object", '{"a": 1e999}', "is not JSON: $.a: an infinite number"),
]


@pytest.mark.parametrize(("kind", "text", "problem"), BAD_TEXTS, ids=[text[:20] for _, text, _ in BAD_TEXTS])
def test_what_is_made_of_text_is_checked_again(kind: str, text: str, problem: str):
    spec = workflow({"t": {"agent": "a"}}, inputs={"n": {"type": kind}})
    with pytest.raises(BadInputError) as refused:
        checked_inputs(spec, {"n": text})
    (sentence,) = refused.value.problems
    assert sentence.startswith("input 'n' is ")
    assert problem in sentence


@pytest.mark.parametrize(
    "declared",
    [{"type": "integer"}, {"type": "number"}, {"type": "array"}, {"type": "string", "enum": ["a", "b"]}],
)
@pytest.mark.parametrize("value", ["hunter2", '{"hunter2": NaN}', ["hunter2", {"hunter2": float("nan")}]])
def test_the_value_of_a_sensitive_input_is_not_told(declared: dict[str, Any], value: Any):
    spec = workflow({"t": {"agent": "a"}}, inputs={"n": {**declared, "sensitive": True}})
    with pytest.raises(BadInputError) as refused:
        checked_inputs(spec, {"n": value})
    assert "hunter2" not in str(refused.value)


def test_every_undeclared_input_that_is_not_json_is_named():
    with pytest.raises(BadInputError) as refused:
        checked_inputs(workflow({"t": {"agent": "a"}}), {"a": 1, "b": object(), "c": float("nan")})
    assert [problem[:20] for problem in refused.value.problems] == [
        "input 'b' is not JSO",
        "input 'c' is not JSO",
    ]


async def test_an_agent_that_gives_no_mapping_as_detail_fails_and_nothing_else():
    def odd(call):
        raise AgentFailed("odd", "look", ["no", "mapping"])

    async with Runtime(store="memory:", agents={"odd": odd, "fine": "echo"}) as rt:
        result = await rt.run(workflow({"a": {"agent": "odd", "retry": 1}}))
        assert (await rt.run(workflow({"a": {"agent": "fine"}}))).status == "success"
    assert (result.status, result.error["type"]) == ("failed", "odd")
