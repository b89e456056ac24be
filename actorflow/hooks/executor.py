"""The HookExecutor: one try of deliveries, whatever their action does.

```
rate_limit ─► secrets put in ─► breaker? ─► action, under its timeout ─► secrets taken out, bounds ─► TryResult
  a turn       refused            circuit_open   timed_out, failed
```
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from typing import Any, Final, Protocol, cast

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from attrs import evolve, field, frozen

from actorflow.actors.host import Host
from actorflow.actors.pool import TurnClosed
from actorflow.core.breaker import Allowed, BreakerAsk, BreakerReport, Outcome, Refused
from actorflow.core.delivery import TryResult, TryStatus
from actorflow.core.hook_context import HookContext
from actorflow.expression import Sealed
from actorflow.hooks.actions.action import Action, ActionSurroundings
from actorflow.hooks.rates import Rates
from actorflow.hooks.reasons import one_line, reason_of
from actorflow.hooks.records import bounded
from actorflow.hooks.registry import HookRegistry
from actorflow.secrecy.source import SecretUnreadable
from actorflow.spec.model import BreakerSpec, HookSpec

__all__ = ["HookBreakers", "HookExecutor"]

_HASH_KEPT: Final = 16  # characters of the hash of a key that must not be shown


class HookBreakers(Protocol):
    """The circuit breakers of a store, as hooks use them; times are those of the run's clock."""

    async def ask(self, question: BreakerAsk) -> Allowed | Refused:
        """Whether a try may be made. Who is allowed tells how it ended."""
        ...

    def report(self, told: BreakerReport) -> None:
        """Tell how a try ended; never waits."""
        ...


@frozen(kw_only=True, eq=False)
class HookExecutor:
    """Makes tries for the hooks of one run."""

    host: Host
    registry: HookRegistry = field(repr=False)
    around: ActionSurroundings = field(repr=False)
    rates: Rates = field(repr=False)
    breakers: HookBreakers = field(repr=False)
    now: Callable[[], float]  #: the run's clock

    async def deliver(self, batch: Sequence[HookContext]) -> Sequence[TryResult]:
        """Make one try of each delivery of a batch, one at least and all of one hook; say what each came to, in order.

        A rate limit is waited for first, and does not count as part of the timeout. Whatever an action raises is its
        failure, but two things: a real cancellation goes on, once the action has ended, and so does KeyboardInterrupt,
        which is the program's. One that does not end when it is cancelled is waited for: it holds up its own hook alone.

        Raises:
            StoreFailed: the store of the breakers has failed; nothing is known then.
        """
        spec = batch[0].spec
        action = self.registry.action(spec.action)
        if action is None:
            error = f"this process has no action {spec.action!r}; register it with hook_action({spec.action!r}, …)"
            return [TryResult(status="refused", error=error)] * len(batch)
        if len(batch) > 1 and not self.is_batchable(spec):
            return [result for context in batch for result in await self.deliver([context])]
        if spec.rate_limit is not None:
            await self.rates.turn(key_of(batch[0]), spec.rate_limit)
        opened = [self._opened(context) for context in batch]
        refused = next((each for each in opened if isinstance(each, TryResult)), None)
        if refused is not None and batch[0].batch:
            opened = [refused] * len(batch)  # it goes as it was kept, or not at all
        ready = [each for each in opened if isinstance(each, HookContext)]
        results = iter(await self._behind_breaker(action, ready) if ready else ())
        told = (next(results) if isinstance(each, HookContext) else each for each in opened)
        return [self._told(each, action) for each in told]

    def is_batchable(self, spec: HookSpec) -> bool:
        """Whether the action of a hook takes several deliveries at once; those that are one to a target, if it says so."""
        action = self.registry.action(spec.action)
        if action is None or not action.is_batchable:
            return False
        return spec.batch is not None or not action.commits_batches

    def commits_batches(self, spec: HookSpec) -> bool:
        """Whether it is to be kept which deliveries of a hook are tried together, before they are."""
        action = self.registry.action(spec.action)
        return action is not None and action.commits_batches and spec.batch is not None

    def recall_gone(self, targets: Collection[str]) -> None:
        """These targets have said in this run that they are gone, by what its journal has of them."""
        self.around.gone.update(targets)

    def _opened(self, context: HookContext) -> HookContext | TryResult:
        """The delivery with its secrets put in, or why that cannot be."""
        if not _has_places(context.params):
            return context
        try:
            params = self.around.secrets.unsealed(context.params)
        except SecretUnreadable as missing:
            return TryResult(status="refused", error=str(missing))
        return evolve(context, params=params)

    async def _behind_breaker(self, action: Action, batch: Sequence[HookContext]) -> Sequence[TryResult]:
        breaker = batch[0].spec.breaker
        if breaker is None:
            return await self._performed(action, batch)
        question = self._question(batch[0], breaker, action)
        answer = await self.breakers.ask(question)
        if isinstance(answer, Refused):
            error = f"the circuit breaker {question.key} is open"
            return [TryResult(status="circuit_open", error=error, until=answer.until)] * len(batch)
        results: Sequence[TryResult] = ()
        try:
            results = await self._performed(action, batch)
        finally:  # a probe that is not given back keeps everybody waiting
            self.breakers.report(self._report(question, batch[0].number, results))
        return results

    def _question(self, context: HookContext, spec: BreakerSpec, action: Action) -> BreakerAsk:
        """Whoever asks for a delivery again has its probe still: it is named by the delivery."""
        within_run = context.delivery_id.removeprefix(f"{context.run_id}/")
        key = spec.key or self._key_shown(action.breaker_key(context)) or key_of(context)
        return BreakerAsk(key, spec, context.run_id, within_run)

    def _key_shown(self, key: str) -> str:
        """A key as it may be kept: by its hash where a secret has a part in it."""
        if self.around.secrets.hidden(key) == key:
            return key
        return f"{key.partition(' ')[0]} {sha256(key.encode()).hexdigest()[:_HASH_KEPT]}"

    def _report(self, question: BreakerAsk, number: int, results: Sequence[TryResult]) -> BreakerReport:
        key, spec, run_id, task = question.key, question.spec, question.run_id, question.task
        return BreakerReport(key, spec, run_id, task, number, self.now(), _outcome(results))

    async def _performed(self, action: Action, batch: Sequence[HookContext]) -> Sequence[TryResult]:
        timeout = batch[0].spec.timeout
        patience = anyio.move_on_after(None if action.bounds_itself else timeout)
        failed = TryResult(status="timed_out", error=f"not done after {timeout:g} s")
        try:
            with patience:
                return _one_each(await action.deliver(batch, self.around), batch)
        except (TurnClosed, KeyboardInterrupt):
            raise
        except BaseException as error:
            if isinstance(error, self.host.cancelled_class) and self.host.is_cancelled():
                raise
            if not isinstance(error, GeneratorExit):
                # an error of its own may be all that it has made of a cancellation
                await checkpoint_if_cancelled()
            if not patience.cancel_called:
                failed = TryResult(status="failed", error=reason_of(error))
        return [failed] * len(batch)

    def _told(self, result: TryResult, action: Action) -> TryResult:
        """A result as it may be kept: without secrets, and of a size."""
        if not (result.record or result.error or result.skip):
            return result
        hidden = self.around.secrets.hidden
        record = hidden(result.record)
        return evolve(
            result,
            error=one_line(hidden(result.error)),
            skip=one_line(hidden(result.skip)),
            record=record if action.bounds_itself else bounded(record),
        )


def _has_places(params: Any) -> bool:
    """Whether there are places for secrets in rendered params."""
    match params:
        case dict():
            return any(map(_has_places, cast("dict[str, Any]", params).values()))
        case list() | tuple():
            return any(map(_has_places, cast("Sequence[Any]", params)))
        case _:
            return isinstance(params, Sealed)


def key_of(context: HookContext) -> str:
    """What the runs of a workflow share of a hook: its rate, and its breaker if that is about nothing else."""
    return f"hook {context.workflow}/{context.path}"


def _outcome(results: Sequence[TryResult]) -> Outcome:
    """What a breaker counts: a batch is as good as its worst delivery; one that was passed over is nothing.

    Neither is one that its target would never take: that says nothing of how the target is.
    """
    counted = (result for result in results if not result.skip and result.final != "dead_letter")
    statuses = {result.status for result in counted}
    if statuses & _FAILURES:
        return "failure"
    return "success" if "ok" in statuses else "released"


_FAILURES: Final[frozenset[TryStatus]] = frozenset({"failed", "timed_out"})


def _one_each(results: Sequence[TryResult], batch: Sequence[HookContext]) -> Sequence[TryResult]:
    if len(results) == len(batch):
        return results
    error = (
        f"{len(results)} results for {len(batch)} deliveries: a fault of the action {batch[0].spec.action}"
    )
    return [TryResult(status="failed", error=error)] * len(batch)
