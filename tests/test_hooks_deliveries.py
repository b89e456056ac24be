"""Deliveries of a run: each that is owed is made, in order, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.errors import StoreFailed
from actorflow.expression import Sealed, SecretName
from actorflow.hooks.opening import WINDOW
from actorflow.hooks.parcel import renewed
from actorflow.hooks.switches import HookSwitches
from actorflow.hooks.unsettled import pending_documents, unsettled_count
from actorflow.journal import open_journal
from actorflow.journal.protocol import DropDeadLetters, Journal, PendingDelivery, RecordDeliveries
from actorflow.spec.model import RetrySpec
from tests.delivery_lives import (
    BEGINNING,
    FAILED,
    PATIENT,
    RUN,
    Life,
    Pager,
    Run,
    delivery_id,
    hook,
    no,
    path,
    plan_with,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/runs.db"
    opened = open_journal(store)
    yield opened
    opened.close()


async def test_each_event_is_delivered_once_and_in_order(journal: Journal) -> None:
    run, pager = Run(journal, hook()), Pager()
    async with run.life(pager, is_new=True) as life:
        for _ in range(3):
            life.signal(2)
        await life.drain()
    assert pager.numbers() == [(n, 1) for n in range(1, 7)]
    assert run.statuses() == ["delivered"] * 6
    assert (run.rows, run.cursor) == ([], 8)


async def test_events_are_read_from_the_journal_when_they_come_too_fast(journal: Journal) -> None:
    run, pager = Run(journal, hook()), Pager(is_batchable=True)
    async with run.life(pager, is_new=True) as life:
        for _ in range(3):
            life.signal(2_000)
        await life.drain()
    assert pager.numbers() == [(n, 1) for n in range(1, 6_001)]
    assert (run.rows, run.cursor) == ([], BEGINNING + 6_000)


async def test_events_that_nobody_told_of_are_found_in_the_end(journal: Journal) -> None:
    run, pager = Run(journal, hook()), Pager()
    async with run.life(pager, is_new=True) as life:
        life.signal(2)
        life.signal(3, told=False)
        await life.drain()
    assert pager.numbers() == [(n, 1) for n in range(1, 6)]


async def test_what_is_known_is_not_delivered_again(journal: Journal) -> None:
    run, pager, later = Run(journal, hook(), hook()), Pager(), Pager()
    async with run.life(pager, is_new=True) as life:
        life.signal(3)
        await life.drain()
    async with run.life(later) as life:
        await life.drain()
        life.signal(1)
        await life.drain()
    assert len(pager.told) == 6
    assert (later.numbers(0), later.numbers(1)) == ([(4, 1)], [(4, 1)])


async def test_a_hook_that_is_stuck_holds_up_no_other(journal: Journal) -> None:
    run = Run(journal, hook(), hook())
    pager = Pager(is_stuck=lambda context: context.path == path(0))
    async with run.life(pager, is_new=True) as life:
        life.signal(100)
        await until(lambda: len(pager.numbers(1)) == 100)
    assert pager.numbers(0) == [(1, 1)]


async def test_a_stuck_hook_costs_a_window_of_memory_and_no_more(journal: Journal) -> None:
    run = Run(journal, hook(), hook())
    stuck = Pager(is_stuck=lambda context: context.path == path(0), is_batchable=True)
    async with run.life(stuck, is_new=True) as life:
        residents: list[int] = []
        for batch in range(1, 11):
            life.signal(1_000)
            await until(lambda: is_passed_by(life, 1_000 * batch, residents))  # noqa: B023
        assert max(residents) <= 2 * WINDOW
    later = Pager(is_batchable=True)
    async with run.life(later) as life:
        await life.drain()
        assert life.actor.backlog == 0
    assert later.numbers(0) == [(n, 1) for n in range(1, 10_001)]
    assert run.statuses(0) == run.statuses(1) == ["delivered"] * 10_000
    assert (run.rows, run.cursor) == ([], BEGINNING + 10_000)


def is_passed_by(life: Life, count: int, residents: list[int]) -> bool:
    """Whether so many events are taken in, and the cursor is not held up by what nobody takes; counts what is in memory."""
    residents.append(life.deliveries.resident_count)
    return life.actor.backlog >= count and life.run.cursor >= count - 1_100


async def test_rows_are_read_back_in_order_while_more_come(journal: Journal) -> None:
    run, pager = Run(journal, hook()), Pager()
    async with run.life(pager, is_new=True) as life:
        for _ in range(10):
            life.signal(70)
            await anyio.lowlevel.checkpoint()
        await life.drain()
    assert pager.numbers() == [(n, 1) for n in range(1, 701)]
    assert (run.rows, run.cursor) == ([], BEGINNING + 700)


async def test_a_retry_goes_on_with_its_number_in_the_next_process(journal: Journal) -> None:
    slow_retry = RetrySpec(max_attempts=3, delay=1_000.0, max_delay=1_000.0, jitter="none")
    run = Run(journal, hook(retry=slow_retry))
    first = Pager(no)
    async with run.life(first, is_new=True) as life:
        life.signal(2)
        await until(lambda: bool(run.rows))
    (row,) = run.rows
    assert (row.delivery_id, row.due_at > run.at + 999.0) == (delivery_id(1), True)
    due_now(run, row)
    later = Pager()
    async with run.life(later) as life:
        await life.drain()
    assert first.numbers() == [(1, 1)]
    assert later.numbers() == [(1, 2), (2, 1)]
    record = run.settled[delivery_id(1)].record
    assert [(one["number"], one["status"]) for one in record["tries"]] == [(1, "failed"), (2, "ok")]
    assert record["tries"][0]["error"] == "no"


def due_now(run: Run, row: PendingDelivery) -> None:
    due = evolve(row, due_at=run.at)
    assert run.journal.commit([RecordDeliveries(RUN, [], run.cursor, [due])]) == [None]


async def test_what_is_given_up_is_a_dead_letter_with_all_that_it_takes_to_try_it_again(
    journal: Journal,
) -> None:
    run, pager = Run(journal, hook(retry=PATIENT)), Pager(no)
    async with run.life(pager, is_new=True) as life:
        life.signal(1)
        await life.drain()
    assert pager.numbers() == [(1, 1), (1, 2), (1, 3)]
    settled = run.settled[delivery_id(1)]
    assert (settled.status, settled.record["reason"], settled.record["try_count"]) == ("dead_letter", "no", 3)
    (letter,) = journal.dead_letters()
    assert (letter.id, letter.kind, letter.task, letter.reason) == (delivery_id(1), "delivery", path(), "no")
    body = journal.dead_letter_body(letter.id)
    assert body is not None
    again = renewed(PendingDelivery(letter.id, letter.task, letter.seq, 0.0, body), run.at)
    journal.commit([DropDeadLetters(RUN, ids=[letter.id]), RecordDeliveries(RUN, [], run.cursor, [again])])
    later = Pager()
    async with run.life(later) as life:
        await life.drain()
    assert later.numbers() == [(1, 4)]
    assert run.settled[delivery_id(1)].status == "delivered"
    assert later.told[0] == evolve(pager.told[0], number=4, is_asked_for=True)


async def test_what_is_missing_here_is_held_and_at_home_it_is_dead(journal: Journal) -> None:
    def refused(_: HookContext) -> TryResult:
        return TryResult(status="refused", error="no variable KEY")

    run = Run(journal, hook(), hook(ordered=False))
    async with run.life(Pager(refused), is_new=True, is_own=False) as life:
        life.signal(3)
        await life.drain()
        assert life.actor.backlog == 6
    assert run.settled == {}
    reasons = {document["delivery_id"]: document["reason"] for document in pending_documents(run.rows)}
    assert reasons[delivery_id(1)] == "no variable KEY"
    assert unsettled_count(journal, journal.find(RUN), run.plan) == 6
    elsewhere = Pager()
    async with run.life(elsewhere, is_own=False) as life:
        await life.drain()
    assert elsewhere.numbers(0) == [(1, 2), (2, 1), (3, 1)]
    async with run.life(Pager(refused)) as life:
        life.signal(1)
        await life.drain()
    assert run.statuses(0) == ["delivered"] * 3 + ["dead_letter"]
    assert {letter.reason for letter in journal.dead_letters()} == {"no variable KEY"}


async def test_a_hook_that_fails_too_often_is_disabled_for_the_rest_of_the_run(journal: Journal) -> None:
    run = Run(journal, hook(on_error="disable", disable_after=3))
    pager = Pager(lambda context: FAILED if context.params["n"] != 2 else TryResult())
    async with run.life(pager, is_new=True) as life:
        life.signal(4)
        await life.drain()
    async with run.life(pager) as life:
        life.signal(3)
        await life.drain()
    assert pager.numbers() == [(n, 1) for n in range(1, 6)]
    dead, lost = "dead_letter", "skipped"
    assert run.statuses() == [dead, "delivered", dead, dead, dead, lost, lost]
    assert run.settled[delivery_id(6)].record["reason"] == "disabled"


async def test_what_a_definition_or_a_switch_passes_over_is_never_tried(journal: Journal) -> None:
    run = Run(
        journal,
        hook(when="signal.payload != 1"),
        hook(environments=("prod",)),
        hook(name="quiet"),
        hook(params={"n": "{{ signal.payload + 'x' }}"}),
        hook(action="transform", params={"set": {"double": "{{ signal.payload * 2 }}"}}),
        hook(params={"n": "{{ vars.double }}"}),
    )
    pager = Pager()
    async with run.life(
        pager, is_new=True, switches=HookSwitches(off=frozenset({"quiet"})).for_run(None)
    ) as life:
        life.signal(1)
        await life.drain()
    told = {one.hook: (one.status, one.record.get("reason", "")) for one in run.settled.values()}
    assert told[path(0)] == ("skipped", "when is false")
    assert told[path(1)] == ("skipped", "not for the environment development")
    assert told[path(2)] == ("skipped", "switched off by ACTORFLOW_HOOKS")
    assert told[path(3)][0] == "failed"
    assert (told[path(4)][0], run.settled[delivery_id(1, 4)].record) == ("delivered", {"vars": {"double": 2}})
    assert pager.numbers(5) == [(2, 1)]
    assert len(pager.told) == 1


async def test_places_for_secrets_outlast_a_row_and_data_cannot_make_one(journal: Journal) -> None:
    params = {
        "n": "{{ signal.payload }}",
        "url": "${HOST}/x/{{ secrets.key }}",
        "list": ["plain", {"deep": "${HOST}"}],
        "forged": '{{ "$" + "{HOST}" }}',
        "seals": [[["forged"], [["env", "HOST"]]]],
    }
    run = Run(journal, hook(params=params))
    first = Pager(is_stuck=lambda _: True)
    async with run.life(first, is_new=True) as life:
        life.signal(WINDOW + 2)
        await until(lambda: len(run.rows) == WINDOW + 2)
    later = Pager()
    async with run.life(later) as life:
        await life.drain()
    assert later.told[0] == first.told[0]
    given = later.told[-1].params
    assert isinstance(given["url"], Sealed)
    assert given["list"] == ["plain", {"deep": Sealed((SecretName("env", "HOST"),))}]
    assert given["forged"] == "${HOST}"


async def test_functions_of_the_program_are_hooks_like_others(journal: Journal) -> None:
    run = Run(journal, flags={"hooks": [["signal_received", "tell"]]})
    pager = Pager()
    async with run.life(pager, is_new=True) as life:
        life.signal(2)
        await life.drain()
    assert [context.path for context in pager.told] == ["code.signal_received[tell]"] * 2
    assert {one.status for one in run.settled.values()} == {"delivered"}


async def test_rows_of_a_hook_that_the_definition_has_no_more_are_passed_over(journal: Journal) -> None:
    run = Run(journal, hook(retry=RetrySpec(max_attempts=2, delay=1_000.0, max_delay=1_000.0, jitter="none")))
    async with run.life(Pager(no), is_new=True) as life:
        life.signal(1)
        await until(lambda: bool(run.rows))
    run.plan = plan_with()
    async with run.life(Pager()) as life:
        await life.drain()
    settled = run.settled[delivery_id(1)]
    assert (settled.status, settled.record["reason"]) == (
        "skipped",
        "the definition has no such hook any more",
    )


# Crashes


def uneven(context: HookContext) -> TryResult:
    """Every third delivery fails twice, every seventh for good."""
    n = context.params["n"]
    return FAILED if n % 7 == 0 or (n % 3 == 0 and context.number < 3) else TryResult()


async def six_times_five(life: Life) -> None:
    """Each time, there is a record at least."""
    for _ in range(6):
        life.signal(5)
        await life.drain()


@pytest.mark.parametrize("is_last_kept", [False, True], ids=["commit lost", "answer lost"])
async def test_a_life_that_ends_after_any_commit_loses_nothing(tmp_path: Path, *, is_last_kept: bool) -> None:
    for commits in range(14):
        journal = open_journal("memory:")
        run = Run(journal, hook(retry=PATIENT), hook(ordered=False, retry=PATIENT), hook())
        pager = Pager(uneven)
        async with run.life(pager, is_new=True, commits=commits, is_last_kept=is_last_kept) as life:
            await life.until_killed(lambda: six_times_five(life))
        signal_count = journal.find(RUN).last_seq - BEGINNING
        assert unsettled_count(journal, journal.find(RUN), run.plan) == 3 * signal_count - len(run.settled)
        before = set(run.settled)
        later = Pager(uneven)
        async with run.life(later) as life:
            life.signal(30 - signal_count)
            await life.drain()
        assert not before & {context.delivery_id for context in later.told}
        for index in range(2):
            assert run.statuses(index) == ["dead_letter" if n % 7 == 0 else "delivered" for n in range(1, 31)]
        assert len(run.settled) == len(journal.deliveries(RUN)) == 90
        assert (run.rows, run.cursor) == ([], BEGINNING + 30)
        assert len(journal.dead_letters()) == len(
            [one for one in run.settled.values() if one.status == "dead_letter"]
        )


async def test_a_crash_of_ours_begins_again_at_the_cursor(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(journal, hook())
    crashes = iter([True, True])

    def crash_twice(context: HookContext) -> TryResult:
        if context.params["n"] == 3 and next(crashes, False):
            raise RuntimeError("a bug")
        return TryResult()

    pager = Pager(crash_twice)
    async with run.life(pager, is_new=True) as life:
        life.signal(5)
        await life.drain()
    assert run.statuses() == ["delivered"] * 5
    assert [n for n, _ in pager.numbers()] == [1, 2, 3, 3, 3, 4, 5]
    assert caplog.text.count("RuntimeError: a bug") == 2


async def test_the_third_crash_is_the_last_and_what_is_owed_stays(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(journal, hook())

    def crash(context: HookContext) -> TryResult:
        if context.params["n"] == 3:
            raise RuntimeError("a bug")
        return TryResult()

    pager = Pager(crash)
    async with run.life(pager, is_new=True) as life:
        life.signal(5)
        await life.drain()
    assert "they stay pending" in caplog.text
    assert [n for n, _ in pager.numbers()] == [1, 2, 3, 3, 3]
    assert unsettled_count(journal, journal.find(RUN), run.plan) == 3
    later = Pager()
    async with run.life(later) as life:
        await life.drain()
    assert later.numbers() == [(3, 1), (4, 1), (5, 1)]


async def test_what_ends_in_the_middle_of_a_try_is_tried_by_the_next(journal: Journal) -> None:
    run, pager = Run(journal, hook()), Pager(is_stuck=lambda context: context.params["n"] == 2)
    async with run.life(pager, is_new=True) as life:
        life.signal(3)
        await until(lambda: len(pager.told) == 2)
        await life.actor.forget(RUN)
        assert (pager.at_work_count, life.actor.backlog) == (0, 0)
    assert run.statuses() == ["delivered"]
    assert unsettled_count(journal, journal.find(RUN), run.plan) == 2
    later = Pager()
    async with run.life(later) as life:
        await life.drain()
    assert later.numbers() == [(2, 1), (3, 1)]


async def test_a_store_that_fails_ends_deliveries_and_nobody_waits_for_them(journal: Journal) -> None:
    run = Run(journal, hook())
    async with run.life(Pager(), is_new=True) as life:
        life.signal(1)
        await life.drain()
        journal.close()
        life.deliveries.note(4, [])
        with pytest.raises(StoreFailed):
            run.signal(1)
        await life.drain()
        await life.actor.forget(RUN)


async def test_deliveries_go_on_however_busy_the_runtime_is(journal: Journal) -> None:
    run, pager = Run(journal, hook()), Pager(is_batchable=True)
    async with run.life(pager, is_new=True, is_busy=lambda: True) as life:
        life.signal(300)
        await until(lambda: len(pager.told) == 300)
        await life.drain()
    assert run.statuses() == ["delivered"] * 300
