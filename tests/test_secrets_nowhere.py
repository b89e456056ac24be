"""A canary: a secret that all kinds of agents and hooks tell in all its forms, and that is found nowhere afterwards."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import anyio
import pytest

from actorflow import AgentCall, HookContext, Runtime
from actorflow.cli import main
from tests.hooked_runs import Words, registry_with, sqlite, workflow

pytestmark = pytest.mark.anyio

CANARY = 'c4nary/"with"+é\\& 42='
FORMS = (
    CANARY,
    b64encode(CANARY.encode()).decode(),
    quote(CANARY),
    quote_plus(CANARY),
    json.dumps(CANARY),
    json.dumps(CANARY, ensure_ascii=False),
    repr(CANARY),
)
ALL_FORMS = " | ".join(FORMS)

PRINTS = 'printf %s "$ALL"; printf %s "$ALL" >&2; exit "$STATUS"'


async def returns(call: AgentCall) -> object:
    return {"raw": call.env["TOKEN"], "all": [ALL_FORMS, {"deep": FORMS[1]}]}


async def raises(call: AgentCall) -> None:
    raise ConnectionError(f"401 for {ALL_FORMS}")


async def act(context: HookContext, params: Words) -> dict[str, object]:
    assert CANARY in params.say
    match context.event:
        case "task_finished":
            raise PermissionError(f"403 for {params.say} {ALL_FORMS}")
        case _:
            return {"said": params.say, "all": [ALL_FORMS]}


def printing(status: int) -> dict[str, object]:
    return {"command": ["sh", "-c", PRINTS], "env": {"ALL": "${CANARY_FORMS}", "STATUS": str(status)}}


TASKS = {
    "returns": {"agent": "returns", "env": {"TOKEN": "${CANARY}"}},
    "raises": {"agent": "raises", "env": {"TOKEN": "{{ secrets.token }}"}, "on_error": {"strategy": "skip"}},
    "prints": {**printing(0), "depends_on": ["returns"]},
    "prints_and_fails": {**printing(3), "on_error": {"strategy": "skip"}},
    "script": {
        "script": {
            "language": "bash",
            "text": 'printf "%s" "$1"; printf "%s" "$1" >&2',
            "args": ["${CANARY}"],
        },
    },
    "letter": {"agent": "raises", "env": {"TOKEN": "${CANARY}"}, "on_error": {"strategy": "finish"}},
}
SAYS = {"type": "act", "params": {"say": "Bearer {{ secrets.token }}, ${CANARY}"}}
HOOKS = {
    "pre_workflow": [printing(0)],
    "task_started": [{**printing(0), "mode": "blocking"}, {**SAYS, "mode": "blocking"}],
    "task_finished": [
        {**printing(4), "mode": "async"},
        {"type": "log", "params": {"message": "log of ${CANARY}", "fields": {"t": "{{ secrets.token }}"}}},
        {"type": "notify", "params": {"message": "note of {{ secrets.token }}"}},
        {"type": "metric", "params": {"name": "told", "tags": {"t": "${CANARY}"}}},
        SAYS,
    ],
    "workflow_finished": [SAYS],
    "post_workflow": [printing(5)],
}


@pytest.fixture(autouse=True)
def canary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("CANARY_FORMS", ALL_FORMS)
    monkeypatch.setenv("ACTORFLOW_STORE", sqlite(tmp_path))


async def test_a_secret_that_everybody_tells_is_found_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    registry = registry_with(act)
    spec = workflow(
        TASKS, HOOKS, actions=registry.contracts, secrets={"token": {"env": "CANARY"}}, folder=tmp_path
    )
    agents = {"returns": returns, "raises": raises}
    with caplog.at_level(logging.DEBUG):
        async with Runtime(store=sqlite(tmp_path), agents=agents, hooks=registry) as rt:
            handle = await rt.start(spec, run_id="r")
            result = await handle.settled()
            told = [repr(result), repr(await handle.deliveries()), repr(await rt.dead_letters())]
            told += [repr([event async for event in handle.events()]), repr(rt.metrics.snapshot())]
            with pytest.raises(Exception, match="r") as caught:
                result.raise_for_status()
            told += [str(caught.value), repr(caught.value)]
            kept = dict(files_of(tmp_path))
            letters = [letter.id for letter in await rt.dead_letters()]
        kept |= {f"{name}, closed": body for name, body in files_of(tmp_path)}
        shown = await anyio.to_thread.run_sync(said_by_commands, letters, capsys)

    assert {name: task.status for name, task in result.tasks.items()} == {
        **dict.fromkeys(("returns", "prints", "script"), "success"),
        **dict.fromkeys(("raises", "prints_and_fails", "letter"), "failed"),
    }
    assert result.tasks["returns"].output["raw"] == "***"
    assert result.hooks.delivered > 10
    assert letters, "something has to be a dead letter"
    assert any(name.endswith("-wal") for name in kept)
    assert any(name.endswith(".jsonl") for name in kept)  # what the commands have printed
    assert found_in({**{f"told {n}": text for n, text in enumerate(told)}, **shown, "log": caplog.text}) == ""
    assert found_in({name: body.decode("latin-1") for name, body in kept.items()}, codec="latin-1") == ""


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All files there, whole: the database, what is written ahead of it, and what is beside them."""
    return ((path.name, path.read_bytes()) for path in folder.rglob("*") if path.is_file())


def said_by_commands(letters: Iterable[str], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What the command line says of the run."""
    lines = [
        ["list"],
        ["show", "r"],
        ["--json", "show", "r"],
        *(["show", "r", task] for task in TASKS),
        ["hooks", "list", "r"],
        ["--json", "hooks", "list", "r"],
        ["dead-letters", "list"],
        *([*json_, "dead-letters", "show", letter] for letter in letters for json_ in ([], ["--json"])),
        ["metrics", "r"],
        ["export", "r"],
    ]
    said: dict[str, str] = {}
    for line in lines:
        capsys.readouterr()
        status = main(line)
        printed = capsys.readouterr()
        assert status in (0, 1), (line, printed)
        said[" ".join(line)] = printed.out + printed.err
    return said


def found_in(texts: dict[str, str], *, codec: str = "utf-8") -> str:
    """Where the canary is, in any of its forms or a part of it that gives it away; empty if nowhere."""
    signs = {form.encode().decode(codec) for form in (*FORMS, "c4nary", "%22with%22")}
    for name, text in texts.items():
        for sign in signs:
            at = text.find(sign)
            if at >= 0:
                return f"{name}: …{re.sub(r'[^ -~]', '.', text[max(0, at - 200) : at + 60])}…"
    return ""
