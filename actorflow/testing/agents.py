"""Agents whose attempts end as a script says.

```python
billing = ScriptedAgent(Fails("the bank is closed", after_s=2.0), Returns({"paid": True}, after_s=0.5))
result = await rt.run(spec, agents={"billing": billing})
assert [called.how for called in billing.calls] == ["failed", "returned"]
```

Which step an attempt gets follows from its call alone: from the number of the attempt, and from how often that was cut
off before. So a crash and a resume come to the same step, in whatever order the tasks of a run get their turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, Literal, NoReturn, TypeAlias

import anyio
from attrs import evolve, frozen

from actorflow.agents.call import AgentCall, AgentFailed

__all__ = ["AgentStep", "Called", "Crashes", "Ending", "Fails", "Hangs", "Raises", "Returns", "ScriptedAgent"]

Ending: TypeAlias = Literal["running", "returned", "failed", "raised", "canceled", "crashed"]
"""How a call ended.

- `returned`, `failed` (with an `AgentFailed`), `raised` (anything else): by itself.
- `canceled`: by its timeout, by a cancel of the task or the run, or because whoever ran it was killed.
- `crashed`: with its process, by its own step.
- `running`: not yet.
"""


@frozen
class Returns:
    """The attempt succeeds, after so many seconds."""

    output: Any = None  #: JSON data
    after_s: float = 0.0

    async def perform(self) -> Any:
        """Let the time pass, and give the output."""
        await anyio.sleep(self.after_s)
        return self.output


@frozen
class Fails:
    """The attempt fails as an agent's that knows what its failure is: see `AgentFailed`."""

    message: str = ""
    type: str = "Failed"
    after_s: float = 0.0
    retry_after_s: float | None = None  #: for how long the agent asks not to be asked again

    async def perform(self) -> NoReturn:
        """Let the time pass, and raise `AgentFailed`."""
        await anyio.sleep(self.after_s)
        detail = {} if self.retry_after_s is None else {"retry_after_s": self.retry_after_s}
        raise AgentFailed(self.type, self.message, detail)


@frozen
class Raises:
    """The attempt raises an error of any class, as code does that knows nothing of agents."""

    error: Exception
    after_s: float = 0.0

    async def perform(self) -> NoReturn:
        """Let the time pass, and raise the error."""
        await anyio.sleep(self.after_s)
        raise self.error.with_traceback(None)  # one error may stand for many attempts


@frozen
class Hangs:
    """The attempt never ends by itself."""

    ignores_cancel_s: float = 0.0  #: for so long it goes on once it is canceled

    async def perform(self) -> None:
        """Wait until somebody cancels, and then for as long as that is ignored."""
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.ignores_cancel_s)
            raise


@frozen
class Crashes:
    """The process that runs the attempt dies, after so many seconds: only within a simulation, see `crash_now`."""

    after_s: float = 0.0

    async def perform(self) -> NoReturn:
        """Let the time pass, and take the process down."""
        from actorflow.testing.crashes import crash_now  # noqa: PLC0415 - scripts without crashes need no world

        await anyio.sleep(self.after_s)
        await crash_now()


AgentStep: TypeAlias = Returns | Fails | Raises | Hangs | Crashes
"""What becomes of an attempt."""

StepOf: TypeAlias = AgentStep | Callable[[AgentCall], AgentStep]
"""A step, or a function that gives one; it should go by the call alone."""


@frozen
class Called:
    """One call of a scripted agent; times are those of the loop's clock."""

    call: AgentCall
    began_at: float
    ended_at: float | None = None  #: None: it is running
    how: Ending = "running"


class ScriptedAgent:
    """An agent that ends its attempts as its steps say: to be bound like any coroutine function.

    Attempt 1 gets the first step, attempt 2 the second, and so on; the last step is for all that come behind. Attempts
    are counted as `AgentCall.attempt` counts them: those of a task, over its fallbacks and over resumes of the run. Each
    task that has the agent begins with the first step.

    Any number of `Crashes` stand right before the step of the attempt that they cut off: with
    `ScriptedAgent(Crashes(), Crashes(), Returns(1))` the first attempt is lost twice, and then succeeds. An attempt that
    is lost for another reason has used up a `Crashes` as well, or comes to the same step again.

    A step may be a function that takes the `AgentCall` and gives the step. With `ScriptedAgent(decide)` that is asked
    for every attempt.

    Args:
        steps: one or more.
    """

    def __init__(self, *steps: StepOf) -> None:
        if not steps:
            raise ValueError("a script has at least one step, such as Returns()")
        self._attempts = _by_attempts(steps)
        #: in the order in which they began; kept over crashes, as the agent stands outside of the processes
        self.calls: list[Called] = []

    async def __call__(self, call: AgentCall) -> Any:
        """Make one attempt."""
        place = len(self.calls)
        self.calls.append(Called(call, began_at=anyio.current_time()))
        step = self.step_for(call)
        try:
            output = await step.perform()
        except BaseException as error:
            self._end(place, "crashed" if isinstance(step, Crashes) else _ending_by(error))
            raise
        self._end(place, "returned")
        return output

    def step_for(self, call: AgentCall) -> AgentStep:
        """The step that a call gets."""
        is_behind = call.attempt > len(self._attempts)
        steps = self._attempts[-1][-1:] if is_behind else self._attempts[call.attempt - 1]
        step = steps[min(call.loss, len(steps) - 1)]
        return step if isinstance(step, _STEPS) else step(call)

    def _end(self, place: int, how: Ending) -> None:
        self.calls[place] = evolve(self.calls[place], ended_at=anyio.current_time(), how=how)


_STEPS: Final = (Returns, Fails, Raises, Hangs, Crashes)


def _by_attempts(steps: Sequence[StepOf]) -> list[Sequence[StepOf]]:
    """The steps of each attempt: crashes, and what comes behind them."""
    ends = [number for number, step in enumerate(steps, 1) if not isinstance(step, Crashes)]
    if not ends or ends[-1] < len(steps):
        ends.append(len(steps))
    return [steps[begin:end] for begin, end in pairwise([0, *ends])]


def _ending_by(error: BaseException) -> Ending:
    match error:
        case AgentFailed():
            return "failed"
        case Exception():
            return "raised"
        case _:
            return "canceled"
