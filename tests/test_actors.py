"""Mailboxes, the alarm, the runner pool and restarts, on both back ends."""

from __future__ import annotations

from contextvars import Context, ContextVar, copy_context

import anyio
import anyio.lowlevel
import pytest
import trio.testing

from actorflow.actors.alarm import Alarm
from actorflow.actors.host import current_host
from actorflow.actors.latch import Latch
from actorflow.actors.mailbox import Mailbox, MailboxFullError
from actorflow.actors.pool import IDLE_KEPT, SLICE_COUNT, RunnerPool, TurnClosed, _in_context
from actorflow.actors.restarts import RestartPolicy, Restarts

pytestmark = pytest.mark.anyio


class Step:
    """A turn that runs a coroutine function and notes crashes."""

    def __init__(self, body, context: Context | None = None) -> None:
        self.perform = body
        self.context = context or copy_context()
        self.crashes: list[Exception] = []

    def crashed(self, error: Exception) -> None:
        self.crashes.append(error)


class Pool:
    """A pool in a task group, stopped at the end."""

    async def __aenter__(self) -> RunnerPool:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self.pool = RunnerPool(current_host(), self._tasks)
        return self.pool

    async def __aexit__(self, *error) -> None:
        self.pool.stop()
        await self._tasks.__aexit__(*error)


async def test_a_mailbox_gives_all_that_waits_in_the_order_in_which_it_was_told():
    mailbox: Mailbox[int] = Mailbox(current_host(), 10, "")
    for number in range(5):
        mailbox.tell(number)
    assert await mailbox.drain() == [0, 1, 2, 3, 4]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tell_later, mailbox, 5)
        assert await mailbox.drain() == [5]
    mailbox.close()


async def _tell_later(mailbox: Mailbox[int], number: int) -> None:
    mailbox.tell(number)


async def test_a_full_mailbox_says_which_promise_was_broken():
    mailbox: Mailbox[int] = Mailbox(current_host(), 1, "nobody sends two")
    mailbox.tell(1)
    with pytest.raises(MailboxFullError, match="nobody sends two"):
        mailbox.tell(2)
    mailbox.close()


async def test_a_closed_mailbox_drops_what_it_is_told():
    mailbox: Mailbox[int] = Mailbox(current_host(), 1, "")
    mailbox.close()
    mailbox.tell(1)


async def test_a_cancelled_wait_takes_no_message():
    mailbox: Mailbox[int] = Mailbox(current_host(), 10, "")
    with anyio.move_on_after(0.01):
        await mailbox.drain()
    mailbox.tell(1)
    assert await mailbox.drain() == [1]
    mailbox.close()


async def test_a_gate_that_is_opened_first_lets_one_waiter_pass():
    gate = current_host().gate()
    gate.open()
    gate.open()
    await gate.wait()
    with anyio.move_on_after(0.01) as scope:
        await gate.wait()
    assert scope.cancelled_caught


async def test_a_thread_can_have_the_loop_call():
    host = current_host()
    gate = host.gate()
    await anyio.to_thread.run_sync(host.call_from_thread, gate.open)
    await gate.wait()


def test_the_alarm_calls_in_the_order_of_times_and_never_early():
    called: list[tuple[str, float]] = []

    async def main() -> None:
        alarm = Alarm(current_host())
        start = trio.current_time()

        def note(name: str):
            return lambda: called.append((name, trio.current_time() - start))

        async with trio.open_nursery() as nursery:
            alarm.after(5, note("five"))
            nursery.start_soon(alarm.run)
            await trio.sleep(1)
            alarm.after(1, note("two"))
            alarm.after(86_400, note("a day"))
            alarm.after(2, note("never")).cancel()
            await trio.sleep(86_399)
            await trio.sleep(2)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [name for name, _ in called] == ["two", "five", "a day"]
    assert [time for _, time in called] == pytest.approx([2, 5, 86_401])


async def test_appointments_that_are_cancelled_in_masses_do_not_pile_up():
    alarm = Alarm(current_host())
    alarm.after(1, lambda: None)
    for _ in range(10_000):
        alarm.after(1000, lambda: None).cancel()
    assert len(alarm._heap) <= 2049


async def test_turns_that_never_suspend_share_one_runner(monkeypatch):
    monkeypatch.setattr("actorflow.actors.pool.SLICE_S", 60.0)  # so that a slow machine cuts no slice short
    runners = set()

    async def note() -> None:
        runners.add(anyio.get_current_task().id)

    async with Pool() as pool:
        for _ in range(SLICE_COUNT):
            pool.submit(Step(note))
        while pool.queued_count:
            await anyio.lowlevel.checkpoint()
    assert len(runners) == 1


async def test_turns_that_suspend_run_side_by_side_and_runners_are_used_again():
    runners, waiting, gate = set(), [], anyio.Event()

    async def wait() -> None:
        runners.add(anyio.get_current_task().id)
        waiting.append(1)
        await gate.wait()

    async with Pool() as pool:
        for _ in range(50):
            pool.submit(Step(wait))
        while len(waiting) < 50:
            await anyio.lowlevel.checkpoint()
        gate.set()
        await anyio.wait_all_tasks_blocked()
        gate = anyio.Event()
        for _ in range(50):
            pool.submit(Step(wait))
        while len(waiting) < 100:
            await anyio.lowlevel.checkpoint()
        gate.set()
        await anyio.wait_all_tasks_blocked()
    assert len(runners) == 50


async def test_idle_runners_beyond_those_that_are_kept_go_home():
    gate = anyio.Event()

    async with Pool() as pool:
        for _ in range(2 * IDLE_KEPT):
            pool.submit(Step(gate.wait))
        await anyio.wait_all_tasks_blocked()
        gate.set()
        await anyio.wait_all_tasks_blocked()
        assert len(pool._runners) == IDLE_KEPT


async def test_a_long_queue_of_turns_leaves_the_loop_to_others_in_between():
    seen = []

    async def count() -> None:
        seen.append(1)

    async with Pool() as pool:
        for _ in range(4 * SLICE_COUNT):
            pool.submit(Step(count))
        between = []
        while pool.queued_count:
            await anyio.lowlevel.checkpoint()
            between.append(len(seen))
    assert any(0 < n < 4 * SLICE_COUNT for n in between)


async def test_a_turn_at_work_is_cancelled_alone_and_its_runner_goes_on():
    ended, started = [], anyio.Event()

    async def hang() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("hang")

    async def other() -> None:
        ended.append("other")

    async with Pool() as pool:
        hanging = Step(hang)
        pool.submit(hanging)
        await started.wait()
        assert pool.cancel(hanging) == "at_work"
        pool.submit(Step(other))
        await anyio.wait_all_tasks_blocked()
        assert pool.cancel(hanging) == "absent"
    assert sorted(ended) == ["hang", "other"]


async def test_a_turn_in_the_queue_is_taken_out_and_never_begins():
    begun = []

    async def begin() -> None:
        begun.append(1)

    async with Pool() as pool:
        step = Step(begin)
        pool.submit(step)
        assert pool.cancel(step) == "queued"
        await anyio.wait_all_tasks_blocked()
    assert begun == []


async def test_a_turn_that_raises_is_told_so_and_the_pool_lives_on():
    async def crash() -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("bug")

    async with Pool() as pool:
        step = Step(crash)
        pool.submit(step)
        await anyio.wait_all_tasks_blocked()
        done = anyio.Event()

        async def finish() -> None:
            done.set()

        pool.submit(Step(finish))
        await done.wait()
    assert [str(error) for error in step.crashes] == ["bug"]


async def test_a_turn_that_goes_on_after_its_cancel_keeps_its_runner_and_the_others_go_on():
    ended, may_end = [], anyio.Event()

    async def go_on() -> None:
        with anyio.CancelScope(shield=True):
            await may_end.wait()
        ended.append("late")

    async def other() -> None:
        ended.append("other")

    async with Pool() as pool:
        stubborn = Step(go_on)
        pool.submit(stubborn)
        await anyio.wait_all_tasks_blocked()
        assert pool.cancel(stubborn) == pool.cancel(stubborn) == "at_work"
        for _ in range(3):
            pool.submit(Step(other))
        while pool.queued_count:
            await anyio.lowlevel.checkpoint()
        assert ended == ["other"] * 3
        assert pool.is_at_work
        may_end.set()
        await anyio.wait_all_tasks_blocked()
        assert not pool.is_at_work
    assert ended[-1] == "late"


async def test_an_interrupt_in_a_turn_cancels_all_of_the_group_and_is_kept():
    async def interrupt() -> None:
        raise KeyboardInterrupt

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            pool = RunnerPool(current_host(), tasks)
            pool.submit(Step(interrupt))
            try:
                await anyio.sleep_forever()
            finally:
                pool.stop()
    assert isinstance(pool.interrupt, KeyboardInterrupt)


async def test_a_turn_whose_loop_is_gone_is_told_so():
    seen: list[BaseException] = []

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        except GeneratorExit as error:
            seen.append(error)
            raise

    turn = _in_context(copy_context(), wait, lambda: None)
    turn.send(None)
    turn.close()
    assert [type(error) for error in seen] == [TurnClosed]


async def test_each_turn_has_its_context_across_suspensions():
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen = []

    async def use() -> None:
        mine = variable.get()
        variable.set(mine + "!")
        await anyio.lowlevel.checkpoint()
        seen.append(variable.get())

    async with Pool() as pool:
        for name in ("a", "b"):
            context = copy_context()
            context.run(variable.set, name)
            pool.submit(Step(use, context))
        await anyio.wait_all_tasks_blocked()
    assert sorted(seen) == ["a!", "b!"]
    assert variable.get() == "none"


async def test_an_actor_is_restarted_within_its_intensity_and_then_its_crash_is_raised():
    runs, told = [], []

    async def crash() -> None:
        runs.append(1)
        raise ValueError(f"crash {len(runs)}")

    restarts = Restarts(RestartPolicy(intensity=2, period_s=100), current_host())
    with pytest.raises(ValueError, match="crash 3"):
        await restarts.supervise(crash, told.append)
    assert [str(error) for error in told] == ["crash 1", "crash 2"]


def test_crashes_that_are_far_apart_never_use_the_intensity_up():
    async def main() -> None:
        restarts = Restarts(RestartPolicy(intensity=1, period_s=5), current_host())
        for _ in range(10):
            restarts.note_crash(ValueError())
            await trio.sleep(6)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_latch_lets_all_who_wait_pass_and_all_who_come_later():
    latch = Latch(current_host())
    passed = []

    async def wait() -> None:
        await latch.wait()
        passed.append(1)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(wait)
        with anyio.move_on_after(0.01):
            await latch.wait()
        assert passed == []
        latch.set()
        latch.set()
    await latch.wait()
    assert passed == [1, 1, 1]
