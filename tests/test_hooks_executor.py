"""One try of deliveries, whatever their action does."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from attrs import evolve, field, frozen

from actorflow.actors.host import current_host
from actorflow.actors.pool import RunnerPool, TurnClosed
from actorflow.actors.room import AsyncioRoom
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import DispatchRefused
from actorflow.hooks.rates import HookRates
from actorflow.hooks.records import LARGEST
from actorflow.hooks.registry import HookRegistry
from actorflow.spec.model import BreakerSpec
from tests.hook_tries import Breakers, Measurements, around_of, context_of, executor_of, sealed

pytestmark = pytest.mark.anyio


SPEC = BreakerSpec(threshold=2, cooldown=30.0)


@frozen
class NoParams:
    pass


@frozen
class SecretParams:
    token: str = field(repr=False)


def act_with(function: Any, params: type = NoParams) -> HookRegistry:
    registry = HookRegistry()
    registry.hook_action("act", params=params)(function)
    return registry


async def try_of(function: Any, context: HookContext | None = None, **facts: Any) -> Any:
    executor = executor_of(registry=act_with(function), **facts)
    (result,) = await executor.deliver([context or context_of("act")])
    return result


@pytest.fixture
async def rates(anyio_backend: str) -> AsyncIterator[HookRates]:
    room = AsyncioRoom(current_host())
    yield HookRates(room)
    await room.aclose()


# what goes wrong inside


class Unshowable(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


def raising(error: BaseException) -> Any:
    async def act(context: HookContext, params: NoParams) -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no\nsuch  thing"), "ValueError: no such thing"),
        (ValueError(), "ValueError"),
        (KeyError("k"), "KeyError: 'k'"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit("early"), "GeneratorExit: early"),
        (asyncio.CancelledError("of its own"), "CancelledError: of its own"),
        (Unshowable(), "Unshowable, whose message cannot be shown: SystemExit in __str__"),
        (ExceptionGroup("g", [OSError("one")]), "OSError: one"),
        (
            BaseExceptionGroup(
                "g", [OSError("1"), ExceptionGroup("h", [KeyError("2"), OSError("3"), OSError("4")])]
            ),
            "4 errors: OSError: 1; KeyError: '2'; OSError: 3; and 1 more",
        ),
        (ValueError("half \ud800"), "ValueError: half �"),
    ],
)
async def test_whatever_an_action_raises_is_its_failure(error, told):
    result = await try_of(raising(error))
    assert (result.status, result.error) == ("failed", told)
    assert (result.has_acted, result.final) == (False, "")


async def test_an_endless_message_is_cut():
    result = await try_of(raising(ValueError("x" * 1_000_000)))
    assert len(result.error) == 2_000
    assert result.error.endswith("x…")


async def test_an_interrupt_is_the_programs_and_goes_on():
    with pytest.raises(KeyboardInterrupt):
        await try_of(raising(KeyboardInterrupt()))


async def test_a_turn_whose_loop_is_gone_is_closed_and_its_probe_given_back():
    async def act(context: HookContext, params: NoParams) -> None:
        await anyio.sleep_forever()

    breakers = Breakers()
    turn = try_of(act, context_of("act", breaker=SPEC), breakers=breakers)
    turn.send(None)
    with pytest.raises(TurnClosed):
        turn.throw(TurnClosed())
    assert [told.outcome for told in breakers.told] == ["released"]


async def test_a_hook_that_stops_the_program_does_not_stop_the_pool_it_runs_in():
    results = []

    class Turn:
        def __init__(self) -> None:
            self.context = contextvars.copy_context()

        async def perform(self) -> None:
            errors = (SystemExit(1), GeneratorExit(), asyncio.CancelledError(), ValueError())
            results.extend([(await try_of(raising(error))).status for error in errors])

        def crashed(self, error: Exception) -> None:
            raise AssertionError from error

    async with anyio.create_task_group() as group:
        pool = RunnerPool(current_host(), group)
        pool.submit(Turn())
        await anyio.wait_all_tasks_blocked()
        pool.stop()
    assert results == ["failed"] * 4


async def test_a_cancellation_goes_on_once_the_action_has_ended():
    log = []

    async def act(context: HookContext, params: NoParams) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("ended")

    async def run() -> None:
        log.append((await try_of(act)).status)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert log == ["ended"]


async def test_a_cancellation_goes_on_also_where_an_action_makes_an_error_of_it():
    log = []

    async def act(context: HookContext, params: NoParams) -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            raise ValueError("clean-up failed") from None

    async def run() -> None:
        log.append((await try_of(act)).status)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert log == []


# the timeout


@pytest.mark.parametrize("ends_by", ["cancellation", "an error"])
async def test_an_action_that_takes_too_long_is_ended_however_it_takes_that(ends_by):
    async def act(context: HookContext, params: NoParams) -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            if ends_by == "an error":
                raise ValueError("clean-up failed") from None
            raise

    result = await try_of(act, context_of("act", timeout=0.01))
    assert (result.status, result.error) == ("timed_out", "not done after 0.01 s")


async def test_what_an_action_returns_in_spite_of_its_timeout_counts_as_it_was_done():
    async def act(context: HookContext, params: NoParams) -> dict[str, int]:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.03)
        return {"n": 1}

    result = await try_of(act, context_of("act", timeout=0.01))
    assert (result.status, dict(result.record)) == ("ok", {"n": 1})


async def test_the_wait_for_a_rate_is_no_part_of_the_timeout(rates):
    async def act(context: HookContext, params: NoParams) -> None:
        """Is done at once."""

    executor = executor_of(registry=act_with(act), rates=rates)
    context = context_of("act", timeout=0.02, rate_limit=10.0)
    statuses = [(await executor.deliver([context]))[0].status for _ in range(2)]
    assert statuses == ["ok", "ok"]


async def test_a_batch_takes_one_turn_of_its_rate(rates):
    metrics = Measurements()
    batch = [context_of("metric", {"name": "n"}, rate_limit=1 / 3_600) for _ in range(10)]
    with anyio.fail_after(5):
        await executor_of(around_of(metrics=metrics), rates=rates).deliver(batch)
    assert len(metrics.taken) == 10


# secrets


async def test_a_secret_that_is_missing_refuses_its_delivery_by_name_and_no_other():
    async def act(context: HookContext, params: SecretParams) -> None:
        """Is done at once."""

    around = around_of(environ={"HERE": "s3cr3t-value"})
    executor = executor_of(around, registry=act_with(act, SecretParams))
    batch = [context_of("act", sealed({"token": token})) for token in ("${HERE}", "${MISSING}", "plain")]
    results = await executor.deliver(batch)
    assert [result.status for result in results] == ["ok", "refused", "ok"]
    assert "the environment variable MISSING is not set" in results[1].error


async def test_of_a_batch_only_those_reach_the_action_whose_secrets_are_there():
    metrics = Measurements()
    around = around_of(environ={"HERE": "s3cr3t-value"}, metrics=metrics)
    batch = [
        context_of("metric", sealed({"name": name, "tags": {"t": tag}}))
        for name, tag in [("a", "${MISSING}"), ("b", "${HERE}"), ("c", "${MISSING}"), ("d", "x")]
    ]
    results = await executor_of(around).deliver(batch)
    assert [result.status for result in results] == ["refused", "ok", "refused", "ok"]
    assert metrics.taken == [("b", "counter", 1.0, {"t": "***"}), ("d", "counter", 1.0, {"t": "x"})]


async def test_an_action_sees_secrets_and_nobody_is_told_of_them():
    seen = []

    async def act(context: HookContext, params: SecretParams) -> dict[str, Any]:
        seen.append((params.token, context.params))
        if len(seen) > 1:
            raise ValueError(f"refused with {params.token}\n{'x' * 3_000}{params.token}")
        return {"sent": [params.token, {"auth": f"Bearer {params.token}"}]}

    around = around_of(environ={"TOKEN": "s3cr3t-value"})
    executor = executor_of(around, registry=act_with(act, SecretParams))
    context = context_of("act", sealed({"token": "${TOKEN}"}))
    (first,), (second,) = await executor.deliver([context]), await executor.deliver([context])
    assert seen == [("s3cr3t-value", {"token": "s3cr3t-value"})] * 2
    assert first.record == {"sent": ["***", {"auth": "Bearer ***"}]}
    assert second.error.startswith("ValueError: refused with *** x")
    assert "s3cr3t" not in f"{first}{second}"


# records


@pytest.mark.parametrize(
    "record",
    [
        {"text": "x" * 500_000},
        {"text": 'é"\\\n' * 100_000},
        {"a": "x" * 300_000, "b": "y" * 300_000, "n": 1},
        {"rows": list(range(100_000)), "n": 1},
        {f"key{number}": "x" * 100 for number in range(2_000)},
        {"k" * 100_000: 1, "n": 1},
    ],
)
async def test_a_record_that_is_too_large_is_cut_and_says_so(record):
    async def act(context: HookContext, params: NoParams) -> dict[str, Any]:
        return record

    result = await try_of(act)
    assert (result.status, result.record["truncated"]) == ("ok", True)
    assert len(json.dumps(result.record, ensure_ascii=False).encode()) <= LARGEST
    assert result.record.get("n", 1) == 1


async def test_of_a_text_that_is_cut_the_end_is_kept_and_what_is_small_stays_whole():
    async def act(context: HookContext, params: NoParams) -> dict[str, Any]:
        return {"log": "x" * 200_000 + " the end", "small": "y" * 1_000}

    record = (await try_of(act)).record
    assert list(record) == ["log", "small", "truncated"]
    assert record["small"] == "y" * 1_000
    assert record["log"].endswith("x the end")
    assert len(record["log"]) > LARGEST - 1_200


async def test_a_record_of_the_largest_size_is_left_as_it_is():
    async def act(context: HookContext, params: NoParams) -> dict[str, Any]:
        return {"text": "x" * (LARGEST - 12)}

    assert (await try_of(act)).record == {"text": "x" * (LARGEST - 12)}


# actions that are none


async def test_an_action_that_this_process_does_not_have_is_refused():
    results = await executor_of().deliver([context_of("page"), context_of("page")])
    assert [result.status for result in results] == ["refused", "refused"]
    assert results[0].error == "this process has no action 'page'; register it with hook_action('page', …)"


async def test_an_action_that_takes_one_at_a_time_is_given_a_batch_one_by_one():
    seen = []

    async def act(context: HookContext, params: NoParams) -> dict[str, int]:
        seen.append(context.number)
        if context.number == 2:
            raise ValueError("not that one")
        return {"n": context.number}

    batch = [evolve(context_of("act"), number=number) for number in (1, 2, 3)]
    results = await executor_of(registry=act_with(act)).deliver(batch)
    assert seen == [1, 2, 3]
    assert [(each.status, dict(each.record)) for each in results] == [
        ("ok", {"n": 1}),
        ("failed", {}),
        ("ok", {"n": 3}),
    ]


# the breaker


async def test_failures_open_the_breaker_and_an_open_one_is_no_try():
    breakers, calls = Breakers(), []

    async def act(context: HookContext, params: NoParams) -> None:
        calls.append(context.number)
        raise ValueError("down")

    context = context_of("act", breaker=SPEC)
    executor = executor_of(registry=act_with(act), breakers=breakers)
    results = [(await executor.deliver([evolve(context, number=number)]))[0] for number in (1, 2, 3)]
    assert [result.status for result in results] == ["failed", "failed", "circuit_open"]
    assert (results[2].until, results[2].error) == (
        1_030.0,
        "the circuit breaker hook orders/task_finished[0] is open",
    )
    assert calls == [1, 2]
    assert [told.id for told in breakers.told] == ["r1/7/task_finished[0]/1", "r1/7/task_finished[0]/2"]


async def test_a_breaker_has_the_key_that_its_hook_says_and_a_holder_that_names_run_and_delivery():
    breakers = Breakers()
    context = context_of("metric", {"name": "n"}, breaker=evolve(SPEC, key="billing"))
    await executor_of(breakers=breakers).deliver([context])
    (asked,) = breakers.asked
    assert (asked.key, asked.run_id, asked.holder) == ("billing", "r1", "r1/7/task_finished[0]")


def outcome_of(kind: str) -> Any:
    async def act(context: HookContext, params: NoParams) -> Any:
        if kind == "hangs":
            await anyio.sleep_forever()
        if kind == "raises":
            raise ValueError("down")

    return act


@pytest.mark.parametrize(
    ("kind", "outcome"), [("is done", "success"), ("raises", "failure"), ("hangs", "failure")]
)
async def test_a_breaker_is_told_how_the_try_ended(kind, outcome):
    breakers = Breakers()
    context = context_of("act", breaker=SPEC, timeout=0.01)
    await try_of(outcome_of(kind), context, breakers=breakers)
    assert [told.outcome for told in breakers.told] == [outcome]


async def test_a_command_that_said_no_counts_as_a_failure_and_a_delivery_that_is_passed_over_as_nothing():
    async def refuse(context: HookContext, target: str, given: Any) -> str:
        raise DispatchRefused("depth 3 is reached", is_depth=True)

    breakers = Breakers()
    executor = executor_of(around_of(dispatch=refuse), breakers=breakers)
    await executor.deliver([context_of("command", {"command": "exit 1", "env": {}}, breaker=SPEC)])
    await executor.deliver([context_of("dispatch_task", {"task_id": "x"}, breaker=SPEC)])
    assert [told.outcome for told in breakers.told] == ["failure", "released"]


async def test_a_probe_is_given_back_by_a_try_that_is_cancelled():
    breakers = Breakers()
    async with anyio.create_task_group() as group:
        facts = {"context": context_of("act", breaker=SPEC), "breakers": breakers}
        group.start_soon(lambda: try_of(outcome_of("hangs"), **facts))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert [told.outcome for told in breakers.told] == ["released"]


async def test_a_missing_secret_asks_no_breaker():
    breakers = Breakers()
    context = context_of("metric", sealed({"name": "n", "tags": {"t": "${MISSING}"}}), breaker=SPEC)
    (result,) = await executor_of(breakers=breakers).deliver([context])
    assert (result.status, breakers.asked) == ("refused", [])


async def test_a_store_that_fails_is_no_failure_of_the_hook():
    class BrokenStore(Breakers):
        async def ask(self, question: Any) -> Any:
            raise OSError("the store is gone")

    with pytest.raises(OSError, match="the store is gone"):
        await try_of(outcome_of("is done"), context_of("act", breaker=SPEC), breakers=BrokenStore())
