"""Hunts over deliveries: a process that dies after any of its commits, and another that goes on; batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.journal import open_journal
from actorflow.journal.protocol import Journal
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
    path,
    until,
)
from tests.mutants.mutant import Check, Seeds
from tests.mutants.run_scenes import keeping, really
from tests.promises import expect
from tests.test_hooks_batches import (
    test_each_try_has_the_same_members_whatever_has_come_meanwhile as same_members,
)
from tests.test_hooks_batches import test_members_are_in_the_journal_before_the_first_try as members_first
from tests.test_runtime_hooks_dispatch import (
    test_the_same_delivery_made_again_starts_no_second_run as no_second_run,
)

OWED: Final = "what is owed is delivered, or a dead letter"
ONCE: Final = "what is settled is not tried again"
COUNTED: Final = "tries are counted over restarts"
SAME_ID: Final = "a delivery has one id"
LETTERS: Final = "what is given up is a dead letter"
SAME_MEMBERS: Final = "a batch keeps its id and its members"
KEPT_FIRST: Final = "a batch is kept before it is sent"
ONE_RUN: Final = "a delivery starts one run"

SIGNALS: Final = 15
LATER: Final = RetrySpec(max_attempts=3, delay=0.2, jitter="none")
SHORT_S: Final = 10.0


def uneven(context: HookContext) -> TryResult:
    """Every third delivery fails twice, every seventh for good."""
    n = context.params["n"]
    return FAILED if n % 7 == 0 or (n % 3 == 0 and context.number < 3) else TryResult()


def fails_at_first(context: HookContext) -> TryResult:
    """The last hook's first delivery fails once, and nothing else does."""
    is_first = context.path == path(2) and context.params["n"] == 1
    return FAILED if is_first and context.number == 1 else TryResult()


async def thrice_five(life: Life) -> None:
    """Each time, there is a record at least."""
    for _ in range(3):
        life.signal(SIGNALS // 3)
        await life.drain()


async def _two_lives(commits: int) -> None:
    run = Run(open_journal("memory:"), hook(retry=PATIENT), hook(ordered=False, retry=PATIENT))
    first, later = Pager(uneven), Pager(uneven)
    async with run.life(first, is_new=True, commits=commits, longest_s=SHORT_S) as life:
        await life.until_killed(lambda: thrice_five(life))
    await _go_on(run, first, later)


async def _stuck() -> None:
    """One hook hangs, one has all that it is owed, and one is to try a delivery again."""
    run = Run(open_journal("memory:"), hook(), hook(ordered=False), hook(ordered=False, retry=LATER))
    first = Pager(
        fails_at_first, is_stuck=lambda context: context.path == path(0) and context.params["n"] == 2
    )
    async with run.life(first, is_new=True, longest_s=SHORT_S) as life:
        life.signal(SIGNALS)
        await until(lambda: [len(run.statuses(index)) for index in range(3)] == [1, SIGNALS, SIGNALS - 1])
    await _go_on(run, first, Pager(fails_at_first))


async def _go_on(run: Run, first: Pager, later: Pager) -> None:
    """Have another process deliver what is left, and hold all of it to the promises."""
    settled, counts = set(run.settled), {row.delivery_id: row.body["counts"][0] for row in run.rows}
    sent = run.journal.find(RUN).last_seq - BEGINNING
    async with run.life(later, longest_s=SHORT_S) as life:
        life.signal(SIGNALS - sent)
        await life.drain()
        await until(lambda: not run.rows)
    tried = {each.delivery_id for each in [*first.told, *later.told]}
    owed = {delivery_id(n, index) for n in range(1, SIGNALS + 1) for index in range(3)}
    expect(SAME_ID, tried <= owed, tried - owed)
    expect(ONCE, not settled & {each.delivery_id for each in later.told}, settled)
    begun = {each.delivery_id: each.number for each in reversed(later.told)}
    expect(COUNTED, all(begun.get(one) == count + 1 for one, count in counts.items()), (counts, begun))
    _check_ends(run, tried)


def _check_ends(run: Run, tried: set[str]) -> None:
    """All that is owed to each hook is settled, once, and what was given up has a letter."""
    hooks = {one.rpartition("[")[2] for one in tried}
    ids = {delivery_id(n, int(index[:-1])) for n in range(1, SIGNALS + 1) for index in hooks}
    expect(OWED, set(run.settled) == ids, ids - set(run.settled))
    expect(ONCE, len(run.journal.deliveries(RUN)) == len(ids), run.journal.deliveries(RUN))
    expect(OWED, run.cursor == BEGINNING + SIGNALS, run.cursor)
    kept = {letter.id for letter in run.journal.dead_letters()}
    given_up = {one for one, settled in run.settled.items() if settled.status == "dead_letter"}
    expect(LETTERS, kept == given_up, given_up - kept)


def two_lives(commits: int) -> None:
    """A process that dies after so many commits, and one that goes on with what is owed."""
    with keeping(OWED):
        anyio.run(_two_lives, commits)


def with_a_journal(scene: Callable[[Journal], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A scene that needs a journal, with one in memory."""

    async def play() -> None:
        await scene(open_journal("memory:"))

    return play


LIVES: Final = Seeds(two_lives, 9)
STUCK: Final = really(OWED, _stuck)
MEMBERS: Final = really(SAME_MEMBERS, with_a_journal(partial(same_members, ordered=True)))
MEMBERS_FIRST: Final = really(KEPT_FIRST, with_a_journal(members_first))
DISPATCH: Final[Check] = really(ONE_RUN, partial(no_second_run, "memory:"))
