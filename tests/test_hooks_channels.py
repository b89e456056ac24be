"""The channels of notices: hooks of their own behind all others, and what each service is sent."""

from __future__ import annotations

import json
import os
import re
import stat
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from actorflow import Runtime
from actorflow.core.hook_config import HookConfig, HookEntry, hook_config
from actorflow.hooks.actions.payloads import SERVICES, Notice
from actorflow.hooks.switches import HookSwitches
from actorflow.spec import loads
from actorflow.spec.loading import load_with_warnings
from actorflow.spec.readers.actions import action_of
from tests.hook_tries import around_of, context_of, executor_of, sealed

ABOUT = {"at": 1_000.0, "run_id": "r1", "workflow": "orders", "task": "fetch", "event": "task_finished"}
NOTICE = Notice(message="all <done> & dusted", title="Orders", priority="high", about=ABOUT)
PLAIN = Notice(message="done")


def sent(kind: str, notice: Notice) -> Any:
    return json.loads(SERVICES[kind](notice).body)


# what each service is sent


def test_slack_is_sent_text_in_which_nothing_is_a_mention_or_a_link():
    assert sent("slack", NOTICE) == {"text": "*Orders*\nall &lt;done&gt; &amp; dusted"}
    assert sent("slack", PLAIN) == {"text": "done"}


def test_discord_is_sent_at_most_2000_characters_that_mention_nobody():
    assert sent("discord", NOTICE) == {
        "content": "**Orders**\nall <done> & dusted",
        "allowed_mentions": {"parse": []},
    }
    long = sent("discord", evolve(NOTICE, message="ä" * 5_000))["content"]
    assert (len(long), long[-1]) == (2_000, "…")


def test_teams_is_sent_a_message_with_an_adaptive_card():
    told = sent("teams", NOTICE)
    (attachment,) = told["attachments"]
    assert told["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert [block["text"] for block in card["body"]] == ["Orders", "all <done> & dusted"]
    assert len(sent("teams", PLAIN)["attachments"][0]["content"]["body"]) == 1


@pytest.mark.parametrize("letter", ["a", "ä", "\U0001f514"])
def test_a_card_for_teams_is_never_larger_than_it_takes(letter: str):
    assert len(SERVICES["teams"](Notice(message=letter * 100_000, title="t")).body) <= 28 * 1024


@pytest.mark.parametrize(
    ("priority", "header"), [("low", "low"), ("normal", "default"), ("high", "high"), ("urgent", "urgent")]
)
def test_ntfy_is_sent_the_text_with_title_and_priority_in_headers(priority: str, header: str):
    payload = SERVICES["ntfy"](evolve(NOTICE, priority=priority))
    assert payload.body.decode() == "all <done> & dusted"
    assert payload.content_type == "text/plain; charset=utf-8"
    assert payload.headers == {"Title": "Orders", "Priority": header}
    assert "Title" not in SERVICES["ntfy"](PLAIN).headers


@pytest.mark.parametrize(
    "title", ["Grüße", "ä" * 300, "two\nlines\r\nX-Evil: 1 ü", "\U0001f514" * 40, "a\x00b"]
)
def test_a_title_that_is_not_ascii_is_sent_as_encoded_words(title: str):
    header = SERVICES["ntfy"](Notice(message="m", title=title)).headers["Title"]
    assert header.isascii()
    assert header.isprintable()
    assert all(len(word) <= 75 for word in header.split(" "))
    assert str(make_header(decode_header(header))) == " ".join(title.split())


def test_a_title_of_several_lines_becomes_one():
    assert SERVICES["ntfy"](Notice(message="m", title=" a\r\n b ")).headers["Title"] == "a b"


def test_a_text_for_ntfy_is_cut_between_characters():
    body = SERVICES["ntfy"](Notice(message="€" * 5_000)).body
    assert len(body) <= 4_096
    assert set(body.decode()) == {"€", "…"}


def test_a_webhook_is_sent_what_is_told_and_of_what():
    told = {"title": "Orders", "message": "all <done> & dusted", "priority": "high"}
    assert sent("webhook", NOTICE) == {**told, **ABOUT}


@pytest.mark.parametrize("kind", sorted(SERVICES))
def test_half_a_character_is_sent_as_a_question_mark(kind: str):
    body = SERVICES[kind](Notice(message="a\ud800b", title="t\udc00")).body
    assert b"a?b" in body


# where they stand

NOTIFYING = """
hooks:
  task_finished:
    - {type: notify, mode: blocking, on_error: fail, name: tell, when: "{{ input.on }}", params: {message: m, title: t, channels: [
        {type: slack, url: "${SLACK_URL}", headers: {X-A: b}}, {type: file, path: told.jsonl}]}}
    - {type: log, mode: blocking, params: {message: after}}
defaults:
  hooks:
    task_finished:
      - {type: notify, retry: 0, timeout: 3s, params: {message: m, channels: [{type: ntfy, url: "https://n.example/t"}]}}
      - echo done
inputs: {on: {type: boolean, default: true}}
tasks:
  a: {agent: x}
  b: {agent: x, hooks: {task_finished: [{type: metric, params: {name: n}}]}}
  c: {agent: x, on_complete: {notify: {message: m, channels: [{type: discord, url: "https://d.example"}]}}}
"""


def config_of(text: str) -> HookConfig:
    return hook_config(loads(text, trust="own"))


def paths(entries: tuple[HookEntry, ...]) -> list[str]:
    assert [entry.index for entry in entries] == list(range(len(entries)))
    return [entry.path for entry in entries]


def test_channels_stand_behind_all_hooks_of_the_merged_list():
    config = config_of(NOTIFYING)
    around = [
        "task_finished[0]",
        "task_finished[1]",
        "defaults.task_finished[0]",
        "defaults.task_finished[1]",
    ]
    theirs = [
        "task_finished[0].channels[0]",
        "task_finished[0].channels[1]",
        "defaults.task_finished[0].channels[0]",
    ]
    assert paths(config.of("task_finished", "a")) == [*around, *theirs]
    assert paths(config.of("task_finished", "b")) == ["tasks.b.task_finished[0]", *around, *theirs]
    assert paths(config.of("task_finished", "c")) == [
        "tasks.c.on_complete", *around, "tasks.c.on_complete.channels[0]", *theirs,
    ]  # fmt: skip


def test_the_places_of_blocking_hooks_are_those_that_they_had_without_channels():
    with_channels, without = config_of(NOTIFYING), config_of(_without_channels(NOTIFYING))
    for task in "abc":
        assert with_channels.blocking("task_finished", task) == without.blocking("task_finished", task)


def _without_channels(text: str) -> str:
    return re.sub(r", channels: \[.*?\]", "", text, flags=re.DOTALL)


def test_nobody_waits_for_a_channel_and_it_acts_on_the_terms_of_its_notice():
    entries = {entry.path: entry for entry in config_of(NOTIFYING).of("task_finished", "a")}
    notice, slack = entries["task_finished[0]"], entries["task_finished[0].channels[0]"]
    assert (slack.spec.action, entries["task_finished[0].channels[1]"].spec.action) == (
        "notify.slack",
        "notify.file",
    )
    assert (notice.spec.mode, slack.spec.mode, slack.spec.on_error) == ("blocking", "async", "continue")
    assert (slack.spec.name, slack.spec.when) == ("tell", notice.spec.when)
    assert dict(slack.spec.params) == {
        "message": "m", "title": "t", "url": "${SLACK_URL}", "headers": {"X-A": "b"},
    }  # fmt: skip
    assert [name.name for name in slack.secret_names] == ["SLACK_URL"]
    assert not list(notice.secret_names)


def test_channels_are_tried_as_webhooks_are_where_the_hook_says_nothing_else():
    webhook = action_of("webhook")
    by_path = {entry.path: entry.spec for entry in config_of(NOTIFYING).of("task_finished", "c")}
    for path in ("task_finished[0].channels[0]", "tasks.c.on_complete.channels[0]"):
        assert (by_path[path].timeout, by_path[path].retry.max_attempts) == (
            webhook.timeout,
            webhook.max_attempts,
        )
    said = by_path["defaults.task_finished[0].channels[0]"]
    assert (said.timeout, said.retry.max_attempts) == (3.0, 1)


def test_a_notice_without_channels_keeps_its_terms():
    entries = config_of(_without_channels(NOTIFYING)).of("task_finished", "c")
    assert {(each.spec.timeout, each.spec.retry.max_attempts) for each in entries if each.spec.action == "notify"} == {
        (5.0, 1), (3.0, 1),
    }  # fmt: skip


def test_a_channel_is_compiled_once_for_all_tasks_whose_list_it_ends():
    config = config_of(NOTIFYING)
    shared = [config.of("task_finished", task)[-1].params for task in "abc"]
    assert shared[0] is shared[1] is shared[2]


def test_channels_are_not_warned_of_any_more():
    path = Path(__file__).parent / "data" / "compat" / "notices.yaml"
    assert {warning.code for warning in load_with_warnings(path).warnings} == {"W101"}


# files


def told_of(folder: Path, path: str = "told.jsonl", **facts: Any) -> Any:
    params = {"message": "done", "title": "Orders", "path": path}
    return context_of("notify.file", params, **facts), around_of(folder)


async def write(folder: Path, **facts: Any) -> Any:
    context, around = told_of(folder, **facts)
    (result,) = await executor_of(around).deliver([context])
    return result


@pytest.mark.anyio
async def test_a_file_gets_a_line_of_json_for_each_notice_and_is_its_owners_alone(tmp_path: Path):
    for _ in range(2):
        result = await write(tmp_path)
        assert (result.status, dict(result.record)) == ("ok", {"path": "told.jsonl"})
    lines = (tmp_path / "told.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "r1/7/task_finished[0]", **ABOUT, "title": "Orders", "message": "done", "priority": "normal"}
    ] * 2
    assert stat.S_IMODE((tmp_path / "told.jsonl").stat().st_mode) == 0o600


@pytest.mark.anyio
async def test_a_notice_without_a_task_says_so(tmp_path: Path):
    await write(tmp_path, task=None, event="workflow_finished")
    assert json.loads((tmp_path / "told.jsonl").read_text())["task"] is None


@pytest.mark.anyio
async def test_no_secret_comes_into_a_file(tmp_path: Path):
    params = sealed({"message": "key ${TOKEN}", "path": "told.jsonl"})
    around = around_of(tmp_path, {"TOKEN": "s3cr3t-value"})
    await executor_of(around).deliver([context_of("notify.file", params)])
    assert json.loads((tmp_path / "told.jsonl").read_text())["message"] == "key ***"


@pytest.mark.anyio
async def test_a_line_that_cannot_be_written_is_a_failed_try_that_says_why(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    found = {path: await write(tmp_path, path=path) for path in ("folder", "pipe", "none/here")}
    assert {path: (result.status, result.error) for path, result in found.items()} == {
        "folder": ("failed", "folder: Is a directory"),
        "pipe": ("failed", "pipe: No such device or address"),
        "none/here": ("failed", "none/here: No such file or directory"),
    }


@pytest.mark.anyio
async def test_a_pipe_that_somebody_reads_is_no_file_either(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        result = await write(tmp_path, path="pipe")
    finally:
        os.close(reader)
    assert result.error == "pipe: is no regular file"


# in a run


@pytest.mark.anyio
async def test_a_channel_of_a_notice_has_deliveries_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SLACK_URL", "https://hooks.slack.example/T/B/x")
    monkeypatch.chdir(tmp_path)
    spec = loads(NOTIFYING, trust="own")
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db", agents={"x": "echo"}) as runtime:
        result = await (await runtime.start(spec, run_id="r")).settled()
        letters = {letter.task: letter.reason for letter in await runtime.dead_letters()}
    assert (result.status, result.had_errors) == ("success", False)
    assert letters.keys() == {
        "task_finished[0].channels[0]", "defaults.task_finished[0].channels[0]", "tasks.c.on_complete.channels[0]",
    }  # fmt: skip
    assert all("E444" in reason and "--allow-host https://" in reason for reason in letters.values())
    lines = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert sorted(line["task"] for line in lines) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "off", ["notify", "tell", "task_finished[0]", "notify.slack", "task_finished[0].channels[0]"]
)
def test_a_channel_is_switched_off_with_its_notice_or_by_itself(off: str):
    switches = HookSwitches.from_environment({"ACTORFLOW_HOOKS": off})
    config = config_of(NOTIFYING)
    (slack,) = (each for each in config.of("task_finished", "a") if each.spec.action == "notify.slack")
    assert switches.skip_reason(slack.spec, slack.path) == "switched off by ACTORFLOW_HOOKS"
    assert not HookSwitches.from_environment({"ACTORFLOW_HOOKS": "log"}).skip_reason(slack.spec, slack.path)
