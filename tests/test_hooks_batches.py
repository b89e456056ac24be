"""Batches that are one thing to their target: which deliveries they are is kept first, and holds for all of their tries."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing
from attrs import evolve

from actorflow import Runtime
from actorflow.actors.host import RealHost
from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.expression import Sealed, SecretName
from actorflow.hooks.batching import composed, is_whole, name_of, sealed
from actorflow.hooks.open_deliveries import RECORD_S
from actorflow.hooks.opening import WINDOW
from actorflow.hooks.parcel import Parcel, renewed
from actorflow.journal import open_journal
from actorflow.journal.protocol import (
    Delivery,
    DropDeadLetters,
    Journal,
    PendingDelivery,
    RecordDeliveries,
    Write,
)
from actorflow.spec.model import BatchSpec, HookSpec, RetrySpec
from tests.chaos_sink import ChaosSink
from tests.delivery_lives import BEGINNING, FAILED, RUN, Life, Pager, Run, delivery_id, hook, no, path, until
from tests.hook_tries import context_of, executor_of
from tests.hooked_runs import AGENTS, ECHO, sqlite, workflow

pytestmark = pytest.mark.anyio

FAR_S = 1_000.0
LONG_S = 25.0
"""So long the first of a batch waits for more, where a batch is to be full whatever the machine is busy with."""

PATIENT = RetrySpec(max_attempts=3, delay=0.0, backoff="constant", jitter="none")
LATER = RetrySpec(max_attempts=3, delay=FAR_S, backoff="constant", jitter="none", max_delay=FAR_S)
LATER_BY_LOT = RetrySpec(max_attempts=3, delay=FAR_S, backoff="constant", max_delay=FAR_S)

Told = tuple[str, list[int]]
"""The name of a batch, and the signals of its members."""


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/runs.db"
    opened = open_journal(store)
    yield opened
    opened.close()


def post(most: int = 3, *, url: str = "http://sink", **more: Any) -> HookSpec:
    """A hook whose deliveries go together, so many at most; `window` is how long the first waits for them."""
    batch = BatchSpec(max=most, window=more.pop("window", LONG_S))
    params = {"url": url, "body": "{{ signal.payload }}"}
    return hook(**{"batch": batch, "params": params, "retry": PATIENT, **more})


def sink(answer: Callable[[HookContext], TryResult] = lambda _: TryResult(), **more: Any) -> Pager:
    """A target of batches."""
    return Pager(answer, commits_batches=True, **more)


def signal_of(context: HookContext) -> int:
    return int(context.params["body"])


def told(pager: Pager) -> list[Told]:
    """What came to a target, in order."""
    for batch in pager.batches:
        assert len({context.batch for context in batch}) == 1
    return [(batch[0].batch, [signal_of(context) for context in batch]) for batch in pager.batches]


def named(*signals: int) -> Told:
    """A batch of these, under the name that it has."""
    ids = "\n".join(delivery_id(number) for number in signals)
    return f"b_{sha256(ids.encode()).hexdigest()[:32]}", list(signals)


def fails_until(number: int) -> Callable[[HookContext], TryResult]:
    return lambda context: FAILED if context.number < number else TryResult()


def virtually(pager: Pager, scene: Callable[[Life], Awaitable[None]], *hooks: HookSpec) -> Run:
    """Play a scene with a new run, on the clock that jumps; what is owed is delivered in the end."""
    run = Run(open_journal("memory:"), *hooks)

    async def main() -> None:
        async with run.life(pager, is_new=True, longest_s=math.inf) as life:
            await scene(life)
            await life.drain()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))  # pyright: ignore[reportUnknownMemberType] - its stub is untyped
    return run


# Before the first try


async def test_members_are_in_the_journal_before_the_first_try(journal: Journal) -> None:
    run = Run(journal, post())
    kept: list[list[tuple[str, str]]] = []

    def answer(context: HookContext) -> TryResult:
        kept.append([(row.delivery_id, row.body["batch"]) for row in run.rows])
        return TryResult()

    pager = sink(answer)
    async with run.life(pager, is_new=True) as life:
        life.signal(3)
        await until(lambda: len(run.settled) == 3)
    assert told(pager) == [named(1, 2, 3)]
    assert kept == [[(delivery_id(number), named(1, 2, 3)[0]) for number in (1, 2, 3)]] * 3
    assert (run.statuses(), run.rows) == (["delivered"] * 3, [])


@pytest.mark.parametrize("ordered", [True, False])
async def test_what_could_not_be_kept_was_not_tried_and_nothing_has_passed_it(
    journal: Journal, *, ordered: bool
) -> None:
    run, never, later = Run(journal, post(window=0.0, ordered=ordered)), sink(), sink()
    async with run.life(never, is_new=True, commits=0, is_last_kept=False) as life:

        async def scene() -> None:
            for _ in range(5):
                life.signal(2)
                await anyio.sleep(0.01)
            await life.drain()

        await life.until_killed(scene)
    assert never.batches == []
    async with run.life(later) as life:
        await life.drain()
    assert {context.delivery_id for context in later.told} == {delivery_id(n) for n in _sent(run)}


def _sent(run: Run) -> range:
    """The signals of a run."""
    return range(1, run.journal.find(RUN).last_seq - BEGINNING + 1)


def test_a_batch_that_is_full_is_kept_at_once() -> None:
    pager = sink()

    async def scene(life: Life) -> None:
        life.signal(15)
        await anyio.sleep(1.0)

    virtually(pager, scene, post(3))
    assert len(pager.batches) == 5
    assert pager.times[-1] - pager.times[0] < RECORD_S


async def test_a_hook_without_batch_sends_each_for_itself_and_keeps_nothing_first(journal: Journal) -> None:
    run, pager = Run(journal, hook(params={"body": "{{ signal.payload }}"})), Pager()
    async with run.life(pager, is_new=True) as life:
        life.signal(3)
        await life.drain()
        assert not any(record.pending for record in life.records)
    assert told(pager) == [("", [1]), ("", [2]), ("", [3])]


async def test_a_full_line_of_batches_is_delivered_whole(journal: Journal) -> None:
    run, pager = Run(journal, post(50)), sink()
    async with run.life(pager, is_new=True) as life:
        life.signal(3 * WINDOW)
        await life.drain()
    assert [signal for _, signals in told(pager) for signal in signals] == list(_sent(run))
    assert told(pager) == [named(*signals) for _, signals in told(pager)]
    assert run.statuses() == ["delivered"] * 3 * WINDOW


# What fits


async def test_a_batch_is_cut_where_the_request_is_another_one(journal: Journal) -> None:
    run, pager = Run(journal, post(3, url="http://sink/{{ signal.payload > 2 }}")), sink()
    async with run.life(pager, is_new=True) as life:
        life.signal(5)
        await until(lambda: len(run.settled) == 5)
    assert told(pager) == [named(1, 2), named(3, 4, 5)]


def parcel(number: int = 1, body: Any = None, *, attempts: int = 0, batch: str = "", **params: Any) -> Parcel:
    """A delivery of a signal."""
    context = context_of("page", {**params, "body": body}, delivery_id=delivery_id(number))
    made = Parcel.packed(context, BEGINNING + number)
    for _ in range(attempts):
        made = made.tried(FAILED, 0.0, 0.0)
    return made.sealed(batch, 0.0) if batch else made


def asked_for() -> Parcel:
    return Parcel(
        parcel(2).context, BEGINNING + 2, parcel(2).terms, 0.0, parcel(2).tries, "", is_asked_for=True
    )


ALIKE = [
    (parcel(1, "a"), parcel(2, "b"), True),
    (parcel(1, url="a"), parcel(2, url="b"), False),
    (parcel(1, method="PUT"), parcel(2), False),
    (
        parcel(1, sign=Sealed((SecretName("env", "A"),))),
        parcel(2, sign=Sealed((SecretName("env", "A"),))),
        True,
    ),
    (
        parcel(1, sign=Sealed((SecretName("env", "A"),))),
        parcel(2, sign=Sealed((SecretName("env", "B"),))),
        False,
    ),
    (parcel(1), parcel(2, attempts=1), False),
    (parcel(1, attempts=1), parcel(2, attempts=1), True),
    (parcel(1), parcel(2, batch="b_2"), False),
    (parcel(1, batch="b_1"), parcel(2), False),
    (parcel(1, batch="b_1"), parcel(2, batch="b_1"), True),
    (parcel(1), asked_for(), False),
    (asked_for(), parcel(2), False),
]


@pytest.mark.parametrize(("first", "second", "fit"), ALIKE)
def test_two_are_of_one_batch_if_one_request_has_room_for_both(
    first: Parcel, second: Parcel, *, fit: bool
) -> None:
    batch = composed(iter([first, second]), 9)
    assert list(batch.parcels) == ([first, second] if fit else [first])
    assert batch.is_closed or fit


def test_members_name_their_batch_and_a_missing_one_is_noticed() -> None:
    parcels = [parcel(number) for number in (1, 2, 3)]
    members = sealed(parcels)
    assert {member.batch for member in members} == {name_of(parcels)} == {named(1, 2, 3)[0]}
    assert is_whole(members)
    assert not is_whole(members[:2])
    assert not is_whole(members[1:])


async def test_what_an_operator_asks_for_goes_alone(journal: Journal) -> None:
    run = Run(journal, post(3))
    async with run.life(sink(no), is_new=True) as life:
        life.signal(3)
        await until(lambda: len(run.settled) == 3)
    assert run.statuses() == ["dead_letter"] * 3
    for number in (1, 2, 3):
        ask_again(run, number)
    pager = sink()
    async with run.life(pager) as life:
        life.signal(3)
        await until(lambda: not run.rows and len(run.settled) == 6)
    assert told(pager) == [named(1), named(2), named(3), named(4, 5, 6)]
    assert run.statuses() == ["delivered"] * 6


def ask_again(run: Run, number: int) -> None:
    """What an operator does to a dead letter."""
    letter_id = delivery_id(number)
    body = run.journal.dead_letter_body(letter_id)
    assert body is not None
    assert body["batch"]
    row = renewed(PendingDelivery(letter_id, path(), BEGINNING + number, run.at, body), run.at)
    writes: list[Write] = [
        RecordDeliveries(RUN, (), run.cursor, (row,)),
        DropDeadLetters(RUN, ids=(letter_id,)),
    ]
    assert run.journal.commit(writes) == [None, None]


# Later tries


@pytest.mark.parametrize("ordered", [True, False])
async def test_each_try_has_the_same_members_whatever_has_come_meanwhile(
    journal: Journal, *, ordered: bool
) -> None:
    run, pager = Run(journal, post(3, window=0.0, ordered=ordered)), sink(fails_until(3))
    async with run.life(pager, is_new=True) as life:
        for _ in range(4):
            life.signal(2)
            await anyio.lowlevel.checkpoint()
        await life.drain()
    tries: dict[str, list[list[int]]] = {}
    for name, signals in told(pager):
        tries.setdefault(name, []).append(signals)
    assert all(name == named(*signals)[0] for name, (signals, *_) in tries.items())
    assert all(each == [each[0]] * 3 for each in tries.values())
    assert sorted(signal for (signals, *_) in tries.values() for signal in signals) == list(_sent(run))
    assert run.statuses() == ["delivered"] * 8
    assert {one.record["batch"] for one in run.settled.values()} == set(tries)


def test_members_are_tried_again_together_at_the_latest_of_their_times() -> None:
    pager = sink(fails_until(2))

    async def scene(life: Life) -> None:
        life.signal(20)
        await anyio.sleep(1.0)

    virtually(pager, scene, post(20, window=0.5, retry=LATER_BY_LOT))
    assert told(pager) == [named(*range(1, 21))] * 2
    assert (
        pager.times[1] - pager.times[0] > 0.8 * FAR_S
    )  # the longest of twenty that are drawn from 0 to that


def test_who_waits_for_company_holds_up_no_batch_that_is_tried_again_and_waits_no_longer_for_it() -> None:
    def answer(context: HookContext) -> TryResult:
        return FAILED if context.number == 1 and signal_of(context) <= 2 else TryResult()

    pager = sink(answer)

    async def scene(life: Life) -> None:
        life.signal(2)
        await anyio.sleep(5.0)
        life.signal(1)
        await anyio.sleep(400.0)

    steady = RetrySpec(max_attempts=5, delay=10.0, backoff="constant", jitter="none")
    virtually(pager, scene, post(2, window=300.0, ordered=False, retry=steady))
    assert told(pager) == [named(1, 2), named(1, 2), named(3)]
    assert [at - pager.times[0] for at in pager.times] == pytest.approx([0.0, 10.0, 305.0], abs=1.0)


def test_who_waits_for_the_end_waits_for_the_company_that_is_owed_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pager = sink()
    monkeypatch.setattr(RealHost, "slice", lambda *_: lambda: True)  # each slice of time is for one event

    async def scene(life: Life) -> None:
        life.signal(3)

    virtually(pager, scene, post(5, window=300.0))
    assert told(pager) == [named(1, 2, 3)]


def test_what_comes_while_a_batch_waits_is_behind_it_or_passes_it_by_as_the_hook_says() -> None:
    in_order, without = sink(fails_until(2)), sink(fails_until(2))

    async def scene(life: Life) -> None:
        life.signal(2)
        await anyio.sleep(5.0)
        life.signal(2)
        await anyio.sleep(5.0)

    virtually(in_order, scene, post(4, window=1.0, retry=LATER))
    virtually(without, scene, post(4, window=1.0, retry=LATER, ordered=False))
    assert told(in_order) == [named(1, 2)] * 2 + [named(3, 4)] * 2
    assert told(without) == [named(1, 2), named(3, 4)] * 2


async def test_each_member_has_its_own_end_and_those_that_are_left_make_a_batch_of_their_own(
    journal: Journal,
) -> None:
    def answer(context: HookContext) -> TryResult:
        return FAILED if signal_of(context) == 2 and context.number < 3 else TryResult()

    run, pager = Run(journal, post(3)), sink(answer)
    async with run.life(pager, is_new=True) as life:
        life.signal(3)
        await until(lambda: len(run.settled) == 3)
    assert told(pager) == [named(1, 2, 3), named(2), named(2)]
    assert run.statuses() == ["delivered"] * 3
    assert [len(run.settled[delivery_id(n)].record["tries"]) for n in (1, 2, 3)] == [1, 3, 1]


def test_a_batch_is_as_old_as_its_youngest_member() -> None:
    pager = sink(no)
    patient = RetrySpec(max_attempts=100, delay=40.0, backoff="constant", jitter="none", max_delay=40.0)

    async def scene(life: Life) -> None:
        life.signal(1)
        await anyio.sleep(35.0)
        life.run.at += 35.0
        life.signal(1)
        await anyio.sleep(30.0)

    run = virtually(pager, scene, post(3, window=50.0, retry=patient, max_age=100.0))
    assert told(pager) == [named(1, 2)] * 3
    assert [at - pager.times[0] for at in pager.times] == pytest.approx([0.0, 40.0, 80.0], abs=0.1)
    assert run.statuses() == ["dead_letter"] * 2
    assert {letter.reason for letter in run.journal.dead_letters()} == {"older than 100 s; last: no"}


# Other processes


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("is_last_kept", [False, True], ids=["commit lost", "answer lost"])
async def test_after_any_commit_the_next_process_sends_the_same_batches(
    tmp_path: Path, *, is_last_kept: bool, ordered: bool
) -> None:
    for commits in range(12):
        store = f"sqlite:///{tmp_path / f'{commits}.db'}"
        run = Run(open_journal(store), post(3, window=0.0, ordered=ordered))
        first = sink(fails_until(3))
        async with run.life(first, is_new=True, commits=commits, is_last_kept=is_last_kept) as life:
            await life.until_killed(partial(_four_times_two, life))
        run.journal.close()
        run.journal = open_journal(store)
        run.journal.claim(RUN)
        kept = {row.delivery_id: row.body.get("batch") for row in run.rows}
        later = sink(fails_until(3))
        async with run.life(later) as life:
            life.signal(1)
            await life.drain()
        check_members(told(first) + told(later))
        assert all(
            context.batch == kept[context.delivery_id] for context in later.told if _has(kept, context)
        )
        assert run.statuses() == ["delivered"] * len(_sent(run))
        run.journal.close()


async def _four_times_two(life: Life) -> None:
    for _ in range(4):
        life.signal(2)
        await anyio.sleep(0.01)
    await life.drain()


def _has(kept: dict[str, Any], context: HookContext) -> bool:
    return bool(kept.get(context.delivery_id))


def check_members(batches: list[Told]) -> None:
    """A name stands for the same members whoever sends, and a delivery is of one batch."""
    assert all(named(*signals) == (name, signals) for name, signals in batches)
    batch_of: dict[int, str] = {}
    for name, signals in batches:
        for signal in signals:
            assert batch_of.setdefault(signal, name) == name


@pytest.mark.parametrize(("ordered", "most"), [(True, WINDOW), (False, WINDOW // 2)])
async def test_a_batch_of_which_a_part_is_in_memory_is_sent_whole(
    journal: Journal, *, ordered: bool, most: int
) -> None:
    """One row comes in front of a window full of batches: the last of them begins in memory, and ends in the journal."""

    def answer(context: HookContext) -> TryResult:
        return TryResult(status="refused", error="no variable KEY") if signal_of(context) == 1 else FAILED

    run = Run(journal, post(most, ordered=ordered, retry=LATER))
    first, later = sink(answer), sink()
    async with run.life(first, is_new=True) as life:
        life.signal(1)
        await life.drain()
        life.signal(WINDOW)
        await until(lambda: are_tried(run, WINDOW))
    ask_again(run, 1)
    assert journal.commit([RecordDeliveries(RUN, (), run.cursor, due_now(run))]) == [None]
    async with run.life(later) as life:
        await life.drain()
    assert sorted(told(later)) == sorted(told(first))
    check_members(told(later))
    assert run.statuses() == ["delivered"] * (1 + WINDOW)


async def test_those_that_are_left_of_a_batch_make_another_one(journal: Journal) -> None:
    """Somebody has removed a row of it."""
    run, first, later = Run(journal, post(3, retry=LATER)), sink(no), sink()
    async with run.life(first, is_new=True) as life:
        life.signal(3)
        await until(lambda: are_tried(run, 3))
    removed, *others = due_now(run)
    settled = Delivery(removed.delivery_id, removed.hook, removed.seq, "skipped", {})
    assert journal.commit([RecordDeliveries(RUN, [settled], run.cursor, others)]) == [None]
    async with run.life(later) as life:
        await life.drain()
    assert told(later) == [named(2, 3)]


def are_tried(run: Run, count: int) -> bool:
    """Whether so many deliveries wait for their next try."""
    return sum(bool(row.body["tries"]) for row in run.rows) == count


def due_now(run: Run) -> list[PendingDelivery]:
    """The rows of a run as they are when the time of their next try has come."""
    return [evolve(row, due_at=run.at) for row in run.rows]


async def test_members_whose_hook_sends_no_batches_any_more_go_one_by_one(journal: Journal) -> None:
    run, first, later = Run(journal, post(2, retry=LATER)), sink(no), Pager()
    async with run.life(first, is_new=True) as life:
        life.signal(2)
        await until(lambda: are_tried(run, 2))
    assert journal.commit([RecordDeliveries(RUN, (), run.cursor, due_now(run))]) == [None]
    async with run.life(later) as life:
        await life.drain()
    assert told(later) == [("", [1]), ("", [2])]


# What executors are told


async def test_targets_that_were_gone_are_told_of_before_the_first_try_of_the_next_process(
    journal: Journal,
) -> None:
    run = Run(journal, hook(action="webhook"))
    gone = TryResult(status="refused", error="410 Gone", record={"gone": "0a1b", "http_status": 410})
    first = Pager(lambda _: gone)
    async with run.life(first, is_new=True) as life:
        life.signal(2)
        await life.drain()
    assert first.gone == set()
    seen: list[set[str]] = []

    def answer(context: HookContext) -> TryResult:
        seen.append(set(later.gone))
        return TryResult()

    later = Pager(answer)
    async with run.life(later) as life:
        life.signal(1)
        await life.drain()
    assert seen == [{"0a1b"}]


async def test_a_batch_with_a_secret_that_is_missing_is_not_sent_in_part() -> None:
    sign = Sealed((SecretName("env", "KEY"),))
    batch = [
        evolve(context_of("log", {"message": message}, delivery_id=f"r1/{n}/x"), batch="b_1")
        for n, message in enumerate(["a", sign, "c"])
    ]
    results = await executor_of().deliver(batch)
    assert [result.status for result in results] == ["refused"] * 3


async def test_a_batch_is_sent_once_it_is_kept_though_no_runner_is_idle(tmp_path: Path) -> None:
    """The journal answers where no task is, and here the only runner is with a hook that ends after the batch."""

    async def after_the_batch(line: Any) -> bool:
        await until(lambda: "/batch" in {request.path for request in sink.requests})
        await line.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        return True

    async def until(is_so: Callable[[], bool]) -> None:
        while not is_so():  # noqa: ASYNC110 - what the sink was sent has no events
            await asyncio.sleep(0.01)  # on the loop of the sink

    with ChaosSink() as sink:
        sink.answers("/slow", after_the_batch)
        slow = {"type": "webhook", "timeout": "60s", "params": {"url": sink.url("/slow")}}
        batched = {
            "type": "webhook",
            "batch": {"max": 5, "window": "200ms"},
            "params": {"url": sink.url("/batch")},
        }
        spec = workflow({"a": ECHO, "b": ECHO}, {"task_finished": [slow, batched]})
        async with Runtime(
            store=sqlite(tmp_path), agents=AGENTS, allow_hosts=[sink.url("")], drain_timeout_s=20.0
        ) as rt:
            handle = await rt.start(spec)
            result = await handle.settled()
    assert (result.hooks.delivered, result.hooks.pending) == (4, 0)
