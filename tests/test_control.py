"""Whoever runs a run, it can be canceled, paused and sent signals: a run of this runtime, of another process, of nobody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from crash_checks import check_ended, check_journal, ledger, recorded
from crash_lives import Life, Process, children_in, live, start, wait_until
from crash_workflows import AGENTS, RUN_ID, SPECS, hook

from actorflow import BadInputError, RunNotFoundError, Runtime, load_dict
from actorflow.core.events import CancelRequested, SignalReceived
from actorflow.errors import RunEndedError
from actorflow.journal import open_journal
from actorflow.journal.protocol import Append, CreateRun, Release, RunSummary
from actorflow.journal.sqlite import SqliteJournal
from actorflow.runtime.workflow_actor import REQUESTS_ROOM

pytestmark = pytest.mark.anyio

GRACE_S = 5.0
"""What a command gets from TERM to KILL."""

SLACK_S = 3.0
"""What a machine with much else to do may take beyond that."""

OTHER = {"asyncio": "trio", "trio": "asyncio"}

POST_WORKFLOW = (f"{RUN_ID}/1/post_workflow[0]", 0, 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a run lives, here or in another process; what it leaves running at the end of the test is killed."""
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("FOLDER", str(tmp_path))
    yield tmp_path
    for pid in children_in(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def runtime(folder: Path) -> Runtime:
    return Runtime(store=f"sqlite:///{folder}/state.db", agents=AGENTS)


async def elsewhere(folder: Path, backend: str, workflow: str = "patient", commands: int = 1) -> Process:
    """Another process, upon the other back end, with a run whose commands are at work."""
    process = start(live, Life(folder, workflow, OTHER[backend]))
    await anyio.to_thread.run_sync(wait_until, lambda: len(list(folder.glob("up-*"))) == commands)
    return process


async def killed(process: Process) -> None:
    process.kill()
    assert await anyio.to_thread.run_sync(process.report) is None


async def ended_there(process: Process) -> str:
    """How the other process saw its run end."""
    report = await anyio.to_thread.run_sync(process.report)
    status: str = report.facts["status"]
    return status


def inbox(folder: Path) -> list[tuple[Any, ...]]:
    """What is asked of the runs of a store and not answered yet."""
    connection = apsw.Connection(f"{folder}/state.db", flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute("SELECT run_id, kind FROM inbox ORDER BY id").fetchall()
    finally:
        connection.close()


def post(folder: Path, kind: Any, body: dict[str, Any]) -> None:
    """Ask as a process does that does not wait for the answer."""
    journal = open_journal(f"sqlite:///{folder}/state.db")
    journal.post(RUN_ID, kind, body)
    journal.close()


def signals(folder: Path) -> list[tuple[str, Any, str]]:
    """The signals that the run has received."""
    events = recorded(folder).of(SignalReceived)
    return [(event.name, event.payload, event.signal_id) for event in events]


# cancel


@pytest.mark.parametrize(("now", "within_s"), [(False, GRACE_S + SLACK_S), (True, 1.0 + SLACK_S)])
async def test_cancel_from_another_process_ends_fifty_commands_with_their_trees(
    now, within_s, folder, anyio_backend_name
):
    process = await elsewhere(folder, anyio_backend_name, "fifty", commands=50)
    assert len(children_in(folder)) > 150
    async with runtime(folder) as rt:
        began = anyio.current_time()
        result = await rt.cancel(RUN_ID, now=now)
        assert anyio.current_time() - began < within_s
    assert children_in(folder) == []
    assert (result.status, {task.status for task in result.tasks.values()}) == ("canceled", {"canceled"})
    assert await ended_there(process) == "canceled"
    assert check_ended(folder).of(CancelRequested)[0].cause == "canceled by an operator"
    assert ledger(folder).starts[POST_WORKFLOW] == 1
    assert inbox(folder) == []


async def test_cancel_of_a_paused_run_runs_what_comes_after_it(folder):
    async with runtime(folder) as rt:
        handle = await rt.start(SPECS["patient"], run_id=RUN_ID)
        await handle.pause(grace_s=0.0)
    assert ledger(folder).starts[POST_WORKFLOW] == 0
    async with runtime(folder) as rt:
        result = await rt.cancel(RUN_ID, cause="not wanted any more")
        again = await rt.cancel(RUN_ID)
    assert (result.status, again.status) == ("canceled", "canceled")
    run = check_ended(folder)
    assert [event.cause for event in run.of(CancelRequested)] == ["not wanted any more"]
    assert ledger(folder).starts[POST_WORKFLOW] == 1


async def test_cancel_of_a_crashed_run_ends_what_its_process_left_and_runs_what_comes_after_it(
    folder, anyio_backend_name
):
    await killed(await elsewhere(folder, anyio_backend_name))
    assert children_in(folder)
    async with Runtime(store=f"sqlite:///{folder}/state.db") as rt:  # it needs none of the run's agents
        result = await rt.cancel(RUN_ID)
    assert (result.status, result.tasks["after"].reason) == ("canceled", "canceled")
    assert children_in(folder) == []
    check_ended(folder)
    assert ledger(folder).starts[POST_WORKFLOW] == 1


async def test_cancel_that_comes_as_a_pause_is_under_way_ends_the_run(folder):
    async with runtime(folder) as rt:
        handle = await rt.start(SPECS["patient"], run_id=RUN_ID)
        await anyio.to_thread.run_sync(wait_until, (folder / "up-waiting").exists)
        async with anyio.create_task_group() as callers:
            callers.start_soon(lambda: handle.pause(grace_s=0.0))
            await anyio.lowlevel.checkpoint()
            result = await rt.cancel(RUN_ID)
    assert result.status == "canceled"
    assert children_in(folder) == []
    check_ended(folder)


async def test_cancel_of_a_run_whose_outcome_is_decided_changes_nothing(folder, anyio_backend_name):
    spec = load_dict(
        {
            "name": "decided",
            "tasks": {"t": {"agent": "echo"}},
            "hooks": {
                "post_workflow": [
                    hook(f'touch {folder}/up-last; while ! [ -e "$FOLDER/go" ]; do sleep 0.02; done')
                ]
            },
        },
        trust="own",
    )
    async with (
        Runtime(store=f"sqlite:///{folder}/state.db", agents={"echo": "echo"}) as owner,
        runtime(folder) as rt,
    ):
        handle = await owner.start(spec, run_id=RUN_ID)
        await anyio.to_thread.run_sync(wait_until, (folder / "up-last").exists)
        async with anyio.create_task_group() as callers:

            async def cancel() -> None:
                assert (await rt.cancel(RUN_ID)).status == "success"

            callers.start_soon(cancel)
            async for _, event in handle.events():  # the request's row is gone within a tenth of a second
                if isinstance(event, CancelRequested):
                    break
            (folder / "go").touch()
        assert (await handle.settled()).status == "success"
    assert inbox(folder) == []


@pytest.mark.parametrize("word", ["resume", "recover"])
async def test_a_cancel_that_the_owner_did_not_live_to_see_is_for_who_resumes_the_run(
    word, folder, anyio_backend_name
):
    process = await elsewhere(folder, anyio_backend_name)
    process.stop()
    post(folder, "cancel", {"cause": "too late", "now": True})
    await killed(process)
    async with runtime(folder) as rt:
        if word == "resume":
            result = await rt.resume(RUN_ID)
        else:
            [handle] = (await rt.recover()).handles
            result = await handle.settled()
    assert result.status == "canceled"
    assert [event.cause for event in check_ended(folder).of(CancelRequested)] == ["too late"]
    assert inbox(folder) == []
    assert children_in(folder) == []


async def test_what_was_asked_of_a_run_that_had_ended_is_not_asked_of_its_next_generation(folder):
    spec = load_dict(
        {
            "name": "again",
            "tasks": {"one": {"agent": "mended"}, "two": {"agent": "held", "depends_on": ["one"]}},
        }
    )
    async with runtime(folder) as rt:
        assert (await rt.run(spec, run_id=RUN_ID)).status == "failed"
        post(folder, "cancel", {"cause": "too late", "now": False})
        post(folder, "pause", {"cause": "too late", "grace_s": None})
        post(folder, "signal", {"name": "late", "payload": None, "signal_id": "s"})
    async with runtime(folder) as rt:
        handle = await rt.start_resumed(RUN_ID)
        await anyio.to_thread.run_sync(wait_until, lambda: not inbox(folder))
        (folder / "go").touch()
        result = await handle.settled()
    assert (result.status, result.generation) == ("success", 2)
    assert signals(folder) == [("late", None, "s")]


# pause


async def test_a_run_that_is_paused_from_another_process_is_resumed_in_this_one(folder, anyio_backend_name):
    process = await elsewhere(folder, anyio_backend_name)
    async with runtime(folder) as rt:
        paused = await rt.pause(RUN_ID, grace_s=0.0)
        assert (paused.status, paused.tasks["early"].status) == ("paused", "success")
        assert await ended_there(process) == "paused"
        assert children_in(folder) == []
        assert (await rt.pause(RUN_ID)).status == "paused"
        assert inbox(folder) == []
        (folder / "go").touch()
        result = await rt.resume(RUN_ID)
    assert (result.status, result.generation, result.tasks["held"].losses) == ("success", 1, 0)
    check_ended(folder)


async def test_a_crashed_run_that_is_paused_has_nothing_left_at_work(folder, anyio_backend_name):
    await killed(await elsewhere(folder, anyio_backend_name))
    async with runtime(folder) as rt:
        assert (await rt.pause(RUN_ID)).status == "paused"
        [row] = await rt.list()
        assert (row.summary.status, row.owner_pid) == ("paused", None)
    assert children_in(folder) == []
    check_journal(recorded(folder))


# signals


async def test_a_signal_to_a_run_of_this_runtime_is_in_the_journal_when_it_is_sent(folder):
    async with runtime(folder) as rt:
        await rt.start(SPECS["patient"], run_id=RUN_ID)
        await rt.signal(RUN_ID, "price", {"eur": 3}, signal_id="one")
        await rt.signal(RUN_ID, "price", {"eur": 4}, signal_id="one")
        await rt.signal(RUN_ID, "price")
        *known, (name, payload, drawn) = signals(folder)
        assert known == [("price", {"eur": 3}, "one")]
        assert (name, payload, len(drawn)) == ("price", None, 16)
        await rt.cancel(RUN_ID, now=True)


async def test_a_signal_to_a_run_of_another_process_is_received_once(folder, anyio_backend_name):
    process = await elsewhere(folder, anyio_backend_name)
    async with runtime(folder) as rt:
        for signal_id in ("one", "one", "two"):
            await rt.signal(RUN_ID, "price", [signal_id], signal_id=signal_id)
        await anyio.to_thread.run_sync(wait_until, lambda: not inbox(folder))
        assert signals(folder) == [("price", ["one"], "one"), ("price", ["two"], "two")]
        await rt.cancel(RUN_ID, now=True)
    assert await ended_there(process) == "canceled"


@pytest.mark.parametrize("is_crashed", [False, True])
async def test_a_signal_to_a_run_of_nobodys_is_there_when_it_goes_on(is_crashed, folder, anyio_backend_name):
    process = await elsewhere(folder, anyio_backend_name)
    if is_crashed:
        await killed(process)
    async with runtime(folder) as rt:
        if not is_crashed:
            await rt.pause(RUN_ID, grace_s=0.0)
        [before] = await rt.list()
        for _ in range(2):
            await rt.signal(RUN_ID, "price", 3, signal_id="one")
        [after] = await rt.list()
        assert (after.summary, after.owner_pid) == (before.summary, None)
        assert signals(folder) == [("price", 3, "one")]
        (folder / "go").touch()
        assert (await rt.resume(RUN_ID)).status == "success"
    check_ended(folder)


async def test_a_signal_that_comes_as_the_run_comes_to_rest_is_not_lost(folder):
    async with runtime(folder) as rt:
        handle = await rt.start(SPECS["patient"], run_id=RUN_ID)
        async with anyio.create_task_group() as callers:
            callers.start_soon(lambda: handle.pause(grace_s=0.0))
            for number in range(20):
                callers.start_soon(lambda n: rt.signal(RUN_ID, "price", n, signal_id=str(n)), number)
                await anyio.lowlevel.checkpoint()
        assert sorted(payload for _, payload, _ in signals(folder)) == list(range(20))
        assert (await rt.get(RUN_ID)).status == "paused"


async def paused(rt: Runtime) -> None:
    """A run that nobody has, and that is soon over once it goes on."""
    handle = await rt.start(SPECS["patient"], run_id=RUN_ID)
    await handle.pause(grace_s=0.0)


@pytest.mark.parametrize("word", ["resume", "cancel", "pause"])
async def test_signals_to_a_run_of_nobodys_and_who_takes_it_up_do_not_get_in_each_others_way(word, folder):
    sent: list[int] = []
    async with runtime(folder) as rt:
        await paused(rt)
        (folder / "go").touch()

        async def send(number: int) -> None:
            with suppress(RunEndedError):  # it came too late
                await rt.signal(RUN_ID, "price", number, signal_id=str(number))
                sent.append(number)

        async with anyio.create_task_group() as callers:
            for number in range(10):
                callers.start_soon(send, number)
                if number == 1:
                    callers.start_soon(getattr(rt, word), RUN_ID)
                if number < 5:
                    await anyio.lowlevel.checkpoint()
        assert sorted(payload for _, payload, _ in signals(folder)) == sorted(sent)
        assert sent
        [row] = await rt.list()
        assert row.owner_pid is None


async def test_a_signal_to_a_run_that_has_ended_by_the_time_it_is_had_is_refused(folder):
    (folder / "go").touch()
    async with runtime(folder) as rt:
        ended = await rt.run(SPECS["patient"], run_id="ended")
    journal = open_journal(f"sqlite:///{folder}/state.db")
    row = journal.find("ended")
    events = [event for _, event in journal.events("ended")]
    as_begun = RunSummary("running", 1, ended.started_at, None)  # a summary may trail the events
    body = journal.definition(row.definition)
    create = CreateRun(RUN_ID, row.workflow, row.definition, body, as_begun)
    assert journal.commit([create, Append(RUN_ID, 1, events), Release(RUN_ID)]) == [None] * 3
    journal.close()
    async with runtime(folder) as rt:
        with pytest.raises(RunEndedError, match="has ended: success"):
            await rt.signal(RUN_ID, "price")
        assert (await rt.cancel(RUN_ID)).status == "success"
        assert all(row.owner_pid is None for row in await rt.list())


async def test_who_waits_for_another_process_to_cancel_a_run_leaves_it_to_who_takes_it_up_here(folder):
    spec = load_dict(
        {
            "name": "slow-end",
            "tasks": {"held": {"agent": "held"}},
            "hooks": {
                "post_workflow": [hook("sleep 2.5")]
            },  # longer than the other process is trusted unseen
        },
        trust="own",
    )
    async with runtime(folder) as rt:
        handle = await rt.start(spec, run_id=RUN_ID)
        await handle.pause(grace_s=0.0)
        other = open_journal(f"sqlite:///{folder}/state.db")
        other.claim(RUN_ID)
        async with anyio.create_task_group() as callers:

            async def cancel() -> None:
                assert (await rt.cancel(RUN_ID)).status == "canceled"

            callers.start_soon(cancel)
            await anyio.to_thread.run_sync(wait_until, lambda: inbox(folder))
            other.close()
            handle = await rt.start_resumed(RUN_ID)
            assert (await handle.settled()).status == "canceled"
    check_ended(folder)
    assert ledger(folder).starts[POST_WORKFLOW] == 1
    assert inbox(folder) == []


async def test_a_beginning_that_several_runs_have_is_refused_also_where_only_one_of_them_is_here(folder):
    (folder / "go").touch()
    async with runtime(folder) as rt:
        await rt.run(SPECS["patient"], run_id="run-1")
        (folder / "go").unlink()
        handle = await rt.start(SPECS["patient"], run_id="run-2")
        for ask in (rt.cancel("run-"), rt.pause("run-"), rt.signal("run-", "price")):
            with pytest.raises(RunNotFoundError, match="the beginning of several runs"):
                await ask
        assert (await rt.cancel("run-2", now=True)).run_id == handle.run_id


async def test_what_cannot_be_received_is_refused(folder):
    async with runtime(folder) as rt:
        with pytest.raises(RunNotFoundError):
            await rt.signal("nobody", "price")
        (folder / "go").touch()
        await rt.run(SPECS["patient"], run_id=RUN_ID)
        with pytest.raises(RunEndedError, match="has ended: success"):
            await rt.signal(RUN_ID, "price")
        with pytest.raises(BadInputError, match="the payload of signal 'price' is no JSON"):
            await rt.signal(RUN_ID, "price", object())


# What lies in the inbox

HELD = load_dict({"name": "held", "limits": {"max_parallel": 1}, "tasks": {"t": {"agent": "held"}}})


async def is_empty(folder: Path) -> None:
    await anyio.to_thread.run_sync(wait_until, lambda: not inbox(folder))


async def test_more_signals_at_once_than_a_mailbox_takes_are_received_in_their_order(folder):
    count = REQUESTS_ROOM + 100
    async with runtime(folder) as rt:
        await rt.start(HELD, run_id=RUN_ID)
        journal = open_journal(f"sqlite:///{folder}/state.db")
        for number in range(count):  # the loop stands still, so that they are seen in one look
            journal.post(RUN_ID, "signal", {"name": "n", "payload": number, "signal_id": str(number)})
        journal.close()
        await is_empty(folder)
        assert [payload for _, payload, _ in signals(folder)] == list(range(count))
        assert (await rt.cancel(RUN_ID)).status == "canceled"


SENSELESS = {
    "a signal without a name": ("signal", {"signal_id": "s"}, "its 'name' is None, and no text"),
    "a signal without a number": ("signal", {"name": "n"}, "its 'signal_id' is None, and no text"),
    "a pause of no length": ("pause", {"grace_s": "long"}, "its 'grace_s' is 'long', and no number"),
    "what a later version may ask": ("promote", {}, "a request 'promote' is unknown to this version"),
}


@pytest.mark.parametrize("what", SENSELESS)
async def test_a_request_that_makes_no_sense_is_dropped_and_told_of(what, folder, caplog):
    kind, body, reason = SENSELESS[what]
    async with runtime(folder) as rt:
        handle = await rt.start(HELD, run_id=RUN_ID)
        post(folder, kind, body)
        await is_empty(folder)
        assert [record.message for record in caplog.records] == [f"request 1 to run 'r' is dropped: {reason}"]
        (folder / "go").touch()
        assert (await handle.wait()).status == "success"


async def test_a_damaged_request_keeps_no_other_from_being_seen(folder, caplog):
    async with runtime(folder) as rt:
        handle = await rt.start(HELD, run_id=RUN_ID)
        post(folder, "pause", {})
        connection = apsw.Connection(f"{folder}/state.db")
        connection.execute("UPDATE inbox SET sum = x'00'")
        connection.close()
        post(folder, "signal", {"name": "n", "payload": 1, "signal_id": "s"})
        await anyio.to_thread.run_sync(wait_until, lambda: len(inbox(folder)) == 1)
        assert signals(folder) == [("n", 1, "s")]
        (folder / "go").touch()
        assert (await handle.wait()).status == "success"
    assert "request 1 to run 'r' is damaged" in caplog.text


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0])
async def test_a_cancel_counts_whatever_the_clock_of_who_asks_says(ahead_s, folder):
    async with runtime(folder) as rt:
        handle = await rt.start(HELD, run_id=RUN_ID)
        journal = SqliteJournal(f"{folder}/state.db", clock=lambda: time.time() + ahead_s)
        journal.post(RUN_ID, "cancel", {"cause": "elsewhere", "now": False})
        journal.close()
        with anyio.fail_after(10):
            assert (await handle.wait()).status == "canceled"


async def test_a_pause_that_nobody_lived_to_see_does_not_pause_the_run_that_was_resumed_after_it(folder):
    async with runtime(folder) as rt:
        handle = await rt.start(HELD, run_id=RUN_ID)
        await handle.pause(grace_s=0.0)
        post(folder, "pause", {"cause": "last week", "grace_s": 0})
        handle = await rt.start_resumed(RUN_ID)
        await is_empty(folder)
        (folder / "go").touch()
        assert (await handle.wait()).status == "success"


async def test_a_run_whose_cancel_waits_for_who_resumes_it_starts_nothing_again(folder):
    async with runtime(folder) as rt:
        handle = await rt.start(HELD, run_id=RUN_ID)
        await anyio.to_thread.run_sync(wait_until, lambda: ledger(folder).starts)
        await handle.pause(grace_s=0.0)
        post(folder, "cancel", {"cause": "too late", "now": False})
        assert (await rt.resume(RUN_ID)).status == "canceled"
    assert [event.cause for event in check_ended(folder).of(CancelRequested)] == ["too late"]
    assert ledger(folder).starts.total() == 1


async def test_a_signal_to_a_paused_run_whose_hooks_are_still_being_delivered_is_there_when_it_goes_on(
    folder,
):
    steps = [{"stage": "one", "tasks": ["a"]}, {"stage": "two", "tasks": ["t"]}]
    hooks = {
        "on_stage_complete": [f'touch "{folder}/up-hook"; while ! [ -e "{folder}/on" ]; do sleep 0.02; done']
    }
    spec = load_dict(
        {
            "name": "w",
            "tasks": {"a": {"agent": "work", "with": {"n": 1}}, "t": {"agent": "held"}},
            "workflows": {"w": {"steps": steps, "hooks": hooks}},
        },
        trust="own",
    )
    async with runtime(folder) as rt:
        handle = await rt.start(spec, run_id=RUN_ID)
        await anyio.to_thread.run_sync(wait_until, (folder / "up-hook").exists)
        assert (await handle.pause(grace_s=0.0)).status == "paused"
        post(folder, "signal", {"name": "n", "payload": 1, "signal_id": "s"})
        (folder / "on").touch()
        await handle.settled()
        assert inbox(folder) == [(RUN_ID, "signal")]
        handle = await rt.start_resumed(RUN_ID)
        await is_empty(folder)
        (folder / "go").touch()
        assert (await handle.wait()).status == "success"
    assert signals(folder) == [("n", 1, "s")]


async def test_a_word_for_if_running_that_does_not_exist_is_refused_and_starts_nothing(folder):
    async with runtime(folder) as rt:
        with pytest.raises(BadInputError, match="if_running is 'skip'"):
            await rt.start(load_dict({"name": "w", "tasks": {"t": {"agent": "echo"}}}), if_running="skip")
        assert await rt.list() == []
