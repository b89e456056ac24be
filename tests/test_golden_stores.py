"""Stores of earlier versions open, show their runs, and go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from actorflow import HookContext, Runtime, StatePersistence, WorkflowStatus
from actorflow.core.events import BreakerAllowed, BreakerClosed, HookFinished, HookLost, SignalReceived
from actorflow.hooks import HookRegistry
from actorflow.journal import DeadLetter, open_journal
from tests.chaos_sink import ChaosSink, answer

pytestmark = pytest.mark.anyio

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BATCH = "b_046da48f8699c49c51005906b412eff7"
KEY = "asking/ask/1"
GOLDEN = sorted(path for form in ("*.db", "*.json") for path in (Path(__file__).parent / "golden").glob(form))
OF_FORMAT_2 = [path for path in GOLDEN if path.stem >= "0.2"]
OF_FORMAT_3 = [path for path in GOLDEN if path.stem >= "0.3"]
OF_FORMAT_4 = [path for path in GOLDEN if path.stem >= "0.4"]
OF_FORMAT_5 = [path for path in GOLDEN if path.stem >= "0.5"]


def test_there_is_a_golden_store_of_each_format():
    formats = ["0.1-spine", "0.2-format", "0.3-recovery", "0.4-hooks", "0.5-requests", "0.6-operator"]
    assert [path.stem for path in GOLDEN] == formats


@frozen
class Text:
    """The params of actions of golden stores."""

    text: str = ""


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return copy_of(request.param, tmp_path)


@pytest.fixture(params=OF_FORMAT_2, ids=lambda path: path.stem)
def store_2(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return copy_of(request.param, tmp_path)


@pytest.fixture(params=OF_FORMAT_3, ids=lambda path: path.stem)
def store_3(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return copy_of(request.param, tmp_path)


@pytest.fixture(params=OF_FORMAT_4, ids=lambda path: path.stem)
def store_4(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return copy_of(request.param, tmp_path)


@pytest.fixture(params=OF_FORMAT_5, ids=lambda path: path.stem)
def store_5(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return copy_of(request.param, tmp_path)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChaosSink]:
    """What the requests of golden stores are sent to from now on."""
    with ChaosSink() as sink:
        monkeypatch.setenv("GOLDEN_URL", sink.url(""))
        monkeypatch.setenv("GOLDEN_SECRET", SECRET)
        yield sink


class Posts:
    """The actions that hooks of golden stores name, of which one notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.registry = HookRegistry()
        self.registry.hook_action("post", params=Text)(self.post)
        self.registry.hook_action("hold", params=Text)(self.post)

    async def post(self, context: HookContext, params: Text) -> None:
        self.told.append((params.text, context.number))


async def delivery_letters(rt: Runtime, run_id: str) -> list[DeadLetter]:
    return [each for each in await rt.dead_letters() if (each.kind, each.run_id) == ("delivery", run_id)]


def copy_of(golden: Path, folder: Path) -> str:
    if golden.is_dir():
        return f"json:{shutil.copytree(golden, folder / 'store')}"
    return f"sqlite:///{shutil.copy(golden, folder / 'store.db')}"


async def test_its_runs_are_listed_and_shown(store: str):
    async with Runtime(store=store) as rt:
        rows = {row.run_id: row.summary.status for row in await rt.list()}
        success, failed, paused = [await rt.get(name) for name in ("success", "failed", "paused")]
    assert rows.items() >= {"success": "success", "failed": "failed", "paused": "paused"}.items()
    assert (success.outputs, success.tasks["a"].output["input"]["text"]) == ({"n": 7}, "ünïcödé ✓")
    assert (failed.error["type"], failed.tasks["c"].attempts, failed.hooks.failed) == ("fail", 2, 1)
    assert (paused.tasks["b"].status, paused.tasks["c"].status) == ("success", "running")


async def test_what_is_not_done_goes_on(store: str):
    agents = {"s": "echo", "y": "echo"}
    async with Runtime(store=store, agents=agents) as rt:
        paused = await rt.resume("paused")
        failed = await rt.resume("failed")
        success = await rt.resume("success")
    assert (paused.status, paused.generation, paused.tasks["c"].attempts) == ("success", 1, 1)
    assert (failed.status, failed.generation, failed.tasks["c"].attempts) == ("success", 2, 3)
    assert (success.status, success.generation) == ("success", 1)


async def test_what_its_hooks_are_owed_is_delivered_once(store: str):
    async with Runtime(store=store, agents={"s": "echo"}) as rt:
        await rt.resume("paused")
    async with Runtime(store=store) as rt:
        result = await rt.get("paused")
    assert (result.hooks.delivered, result.hooks.failed, result.hooks.pending) == (2, 0, 0)


async def test_every_way_in_which_a_run_was_saved_is_shown(store_2: str):
    async with Runtime(store=store_2) as rt:
        saved = await rt.get("saved")
    assert (saved.status, saved.had_errors, saved.outputs) == ("success", True, {"n": 70_000})
    ends = {name: f"{task.status} {task.reason or ''}".strip() for name, task in saved.tasks.items()}
    assert ends == {
        **dict.fromkeys(("mend", "nap", "saved", "big", "read", "clean"), "success"),
        "broken": "failed",
        "below": "skipped upstream",
        "unreached": "skipped not_reached",
    }
    assert saved.tasks["mend"].output == {"given": {"n": 1, "of": "broken"}}
    assert saved.tasks["saved"].output == {"n": 3, "why": "fail"}
    assert saved.tasks["big"].output == "word " * 14_000


async def test_a_run_with_a_checkpoint_goes_on_from_the_middle_of_a_sleep(store_2: str):
    journal = open_journal(store_2)
    assert journal.checkpoint("resting") is not None
    journal.close()
    async with Runtime(store=store_2, agents={"s": "echo"}) as rt:
        before = await rt.get("resting")
        result = await rt.resume("resting")
    assert (before.status, before.tasks["nap"].status, before.tasks["led"].status) == (
        "paused",
        "waiting",
        "pending",
    )
    assert (result.status, result.generation, result.outputs) == ("success", 1, {"n": 100})
    assert (result.tasks["unled"].reason, result.tasks["broken"].status) == ("not_reached", "failed")
    assert all(task.attempts <= 1 for task in result.tasks.values())


async def test_a_dead_letter_is_listed_and_tried_again(store_3: str):
    async with Runtime(store=store_3, agents={"y": "echo"}) as rt:
        letters = [letter.id for letter in await rt.dead_letters() if letter.kind == "task"]
        retried = await (await rt.start_retried("lettered/1/charge")).wait()
        left = [letter.id for letter in await rt.dead_letters() if letter.kind == "task"]
    assert sorted(letters) == ["failed/1/c", "lettered/1/charge", "lettered/1/other"]
    assert sorted(left) == ["failed/1/c", "lettered/1/other"]
    assert {name: task.status for name, task in retried.tasks.items()} == {
        "charge": "success",
        "other": "failed",
        "ship": "success",
    }
    assert (retried.status, retried.tasks["charge"].attempts) == ("failed", 3)


def test_what_was_saved_of_a_run_is_there(store_3: str):
    with StatePersistence(store_3) as states:
        state = states.load("lettered")
    assert (state.metadata, state.status) == ({"ticket": "OPS-7"}, WorkflowStatus.FAILED)


async def test_a_run_before_an_open_breaker_waits_as_before_and_hears_what_it_was_sent(store_3: str):
    async with Runtime(store=store_3, agents={"y": "echo", "s": "echo"}) as rt:
        handle = await rt.start_resumed("guarded")
        result = await handle.wait()
        events = [event async for _, event in handle.events()]
    assert (result.status, result.tasks["pay"].attempts) == ("success", 3)
    assert [event.signal_id for event in events if isinstance(event, SignalReceived)] == ["s-1", "s-2"]
    assert [event.is_probe for event in events if isinstance(event, BreakerAllowed)] == [False, False, True]
    assert sum(isinstance(event, BreakerClosed) for event in events) == 1


async def test_what_its_hooks_have_come_to_is_shown(store_4: str):
    async with Runtime(store=store_4) as rt:
        result = await rt.get("hooked")
        (letter,) = await delivery_letters(rt, "hooked")
        (child,) = [row for row in await rt.list() if row.workflow == "golden hooks/note"]
        dispatched = await rt.get(child.run_id)
    assert (result.status, result.tasks["a"].output) == ("success", {"n": 5})
    counts = result.hooks
    assert (counts.delivered, counts.failed, counts.pending, counts.dead_letters, counts.skipped) == (
        4,
        0,
        1,
        1,
        1,
    )
    assert (letter.run_id, letter.task) == ("hooked", "tasks.a.task_finished[3]")
    assert letter.reason == "ConnectionError: no route for a of 8 9"
    assert (child.summary.status, dispatched.tasks["note"].output["input"]) == ("success", {"n": 5})


async def test_what_waits_for_its_next_try_and_what_was_given_up_is_delivered_as_it_was(store_4: str):
    posts = Posts()
    async with Runtime(store=store_4, hooks=posts.registry) as rt:
        drained = await rt.drain_hooks("hooked")
        (letter,) = await delivery_letters(rt, "hooked")
        retried = await rt.retry_delivery(letter.id)
        runs = [row for row in await rt.list() if row.workflow == "golden hooks/note"]
    assert (drained.hooks.delivered, drained.hooks.pending, drained.hooks.dead_letters) == (5, 0, 1)
    assert (retried.hooks.delivered, retried.hooks.pending, retried.hooks.dead_letters) == (6, 0, 0)
    assert posts.told == [("a of 8 9", 2), ("a of 8 9", 2)]
    assert len(runs) == 1


async def test_tasks_that_waited_for_hooks_go_on_with_those_that_were_cut_off(store_4: str):
    posts = Posts()
    async with Runtime(store=store_4, hooks=posts.registry) as rt:
        before = await rt.get("finishing")
        handle = await rt.start_resumed("finishing")
        result = await handle.wait()
        events = [event async for _, event in handle.events()]
    ended = [(event.subject, event.index) for event in events if isinstance(event, HookFinished)]
    assert (before.status, before.tasks["c"].status) == ("paused", "pending")
    assert (result.status, {task.attempts for task in result.tasks.values()}) == ("success", {1})
    assert sorted(posts.told) == [("a", 1), ("b", 1)]
    assert sorted(ended) == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]
    assert sum(isinstance(event, HookLost) for event in events) == 2


async def test_what_requests_have_come_to_is_shown(store_5: str):
    async with Runtime(store=store_5) as rt:
        requested, batched = await rt.get("requested"), await rt.get("batched")
        (letter,) = await delivery_letters(rt, "batched")
    assert (requested.status, requested.outputs, requested.tasks["price"].attempts) == (
        "success",
        {"price": 5},
        2,
    )
    assert requested.tasks["wordy"].output == "word " * 14_000
    assert (requested.hooks.delivered, requested.hooks.failed, requested.hooks.pending) == (3, 0, 0)
    assert (batched.hooks.pending, batched.hooks.dead_letters, batched.hooks.skipped) == (3, 1, 2)
    assert letter.reason.endswith("answered 410 Gone")


async def test_a_batch_that_was_sent_is_sent_again_as_it_was(store_5: str, sink: ChaosSink):
    async with Runtime(store=store_5, allow_hosts=[sink.url("")]) as rt:
        drained = await rt.drain_hooks("batched")
    (request,) = sink.requests
    assert (drained.hooks.delivered, drained.hooks.pending) == (3, 0)
    assert request.header("webhook-id") == BATCH
    assert sorted(each["data"]["n"] for each in json.loads(request.body)) == [0, 1, 2]


async def test_a_request_without_an_answer_is_made_again_under_the_same_key(store_5: str, sink: ChaosSink):
    sink.answers("/slow", answer(200, b'"yes"', ("Content-Type", "application/json")))
    async with Runtime(store=store_5, allow_hosts=[sink.url("")]) as rt:
        result = await rt.resume("asking")
    assert (result.status, result.outputs["answer"], result.hooks.failed) == ("success", "yes", 0)
    assert [(each.method, each.path) for each in sink.requests] == [("POST", "/slow"), ("POST", "/told")]
    assert sink.requests[0].header("idempotency-key") == KEY
