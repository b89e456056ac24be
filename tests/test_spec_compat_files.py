"""Whole files in the second document's style: each loads, says what it passes over, and runs where it has no container."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from actorflow import Runtime
from actorflow.spec.loading import load_with_warnings

FILES = Path(__file__).parent / "data" / "compat"


@frozen
class Expected:
    """What a file is worth."""

    aside: str = ""  #: the keys that are named in warnings, in the file's order
    more: tuple[str, ...] = ()  #: the codes of its other warnings
    statuses: dict[str, str] | None = (
        None  #: of its tasks, run with an echo for every agent; None: it is not run
    )
    inputs: dict[str, Any] = field(factory=dict)


def succeed(names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), "success")


EXPECTED = {
    "agents_and_permissions": Expected(aside="dsl_version tools", statuses=succeed("look note")),
    "agents_of_the_caller": Expected(
        aside="imports mcp_servers api_key overrides",
        statuses=succeed("look think shorten send keep"),
        inputs={"topic": "sea"},
    ),
    "collections": Expected(aside="break_condition continue_condition checkpoint_interval"),
    "commands": Expected(aside="capture_stderr", statuses=succeed("check say")),
    "conditions_on_states": Expected(
        more=("W105",),
        statuses=succeed("water rest check") | dict.fromkeys(("close_hose", "measure", "refill"), "skipped"),
    ),
    "conditions_on_tasks": Expected(
        more=("W105",),
        statuses=succeed("weigh stamp post file")
        | dict.fromkeys(("mend", "complain", "burn", "wait"), "skipped"),
    ),
    "groups_and_limits": Expected(
        aside="max_stdout_bytes max_context_tasks truncation_strategy cleanup_strategy communication task_groups group"
        " limits definition_of_done output",
        more=("W105", "W105", "W105"),
        statuses=succeed("kitchen bath sweep"),
    ),
    "inputs_and_outputs": Expected(aside="outputs", statuses=succeed("shop bake serve")),
    "loops": Expected(aside="min_iterations"),
    "notices": Expected(
        aside="notifications metadata channel method attachments username tts embed theme_color facts slack telegram"
        " pager_duty email body_template timeout_secs retry append timestamp format path",
        statuses=succeed("plain chats phones machines"),
    ),
    "recovery": Expected(aside="fallback_agent", statuses=succeed("first second third last")),
    "requests": Expected(aside="follow_redirects"),
    "scripts": Expected(aside="agent outputs", statuses=succeed("count double")),
    "several_workflows": Expected(aside="agents"),
    "spellings": Expected(more=("W105",), statuses=succeed("greet body")),
    "stages_with_modes": Expected(
        aside="parallel_with agents", statuses=succeed("heat_oven knead lay_table fill_shelf")
    ),
    "subflows": Expected(aside="subflow"),
    "subtasks": Expected(),
    "tasks_in_stages": Expected(aside="agents", statuses=succeed("wrap_plates fold_clothes load_van drive")),
    "tasks_of_an_entry": Expected(statuses=succeed("rinse soap dry")),
}
RUN = [name for name, expected in EXPECTED.items() if expected.statuses is not None]


def test_every_file_is_in_the_table():
    assert sorted(file.stem for file in FILES.glob("*.yaml")) == sorted(EXPECTED)
    assert len(EXPECTED) == 20


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_the_second_document_loads_and_says_what_it_passes_over(name: str):
    expected = EXPECTED[name]

    warnings = load_with_warnings(FILES / f"{name}.yaml").warnings

    assert [w.message.split()[-1] for w in warnings if w.code == "W101"] == expected.aside.split()
    assert tuple(w.code for w in warnings if w.code != "W101") == expected.more
    assert all(w.line > 0 for w in warnings)


@pytest.mark.anyio
@pytest.mark.parametrize("name", RUN)
async def test_a_file_without_containers_runs_with_agents_that_echo(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = EXPECTED[name]
    for variable in ("CHAT_HOOK", "PUSH_TOKEN"):
        monkeypatch.setenv(variable, f"https://{variable.lower().replace('_', '-')}.example/of-nobody")
    folder = shutil.copytree(FILES, tmp_path / "files")  # a channel of a notice writes beside its file
    spec = load_with_warnings(folder / f"{name}.yaml").spec

    async with Runtime(store="memory:", agents={"*": "echo"}) as rt:
        result = await rt.run(spec, inputs=expected.inputs)

    assert {task: found.status for task, found in result.tasks.items()} == expected.statuses
    assert result.status == "success", result.error


@pytest.mark.anyio
async def test_each_workflow_of_a_file_runs_its_own_tasks():
    spec = load_with_warnings(FILES / "several_workflows.yaml").spec

    async with Runtime(store="memory:", agents={"*": "echo"}) as rt:
        daily = await rt.run(spec, workflow="daily")
        yearly = await rt.run(spec, workflow="yearly")

    assert {task: found.status for task, found in daily.tasks.items()} == succeed("take_back shelve")
    assert {task: found.status for task, found in yearly.tasks.items()} == succeed("count")


@pytest.mark.anyio
async def test_what_a_file_of_the_second_document_gives_reaches_its_tasks():
    spec = load_with_warnings(FILES / "inputs_and_outputs.yaml").spec

    async with Runtime(store="memory:", agents={"*": "echo"}) as rt:
        result = await rt.run(spec, inputs={"guests": 6})

    bake = result.tasks["bake"].output["input"]
    assert (bake["heat"], bake["words"]) == (180, "rustic cake of apple for 6")
    assert bake["basket"]["input"] == {"what": "apple", "pieces": 6, "sizes": [1, 2]}
    assert result.outputs["cake"] == result.tasks["bake"].output
