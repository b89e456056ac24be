"""Virtual time for any async function: what is waited for comes at once, and exactly when it is due.

```python
async def main() -> RunResult:
    async with Runtime(store="memory:", agents=agents, ports=virtual_ports()) as rt:
        return await rt.run(spec)

result = run_virtually(main)  # a day of retries takes some milliseconds
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, TypeVarTuple

import trio
import trio.testing

from actorflow.runtime.ports import Ports
from actorflow.testing.host import SimulatedHost
from actorflow.testing.http import FakeHttp
from actorflow.testing.news import News
from actorflow.testing.processes import FakeProcesses
from actorflow.testing.rates import VirtualRates
from actorflow.testing.schedule import seeded_schedule

__all__ = ["EPOCH_S", "run_virtually", "virtual_ports"]

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")

EPOCH_S: Final = 1_800_000_000.0
"""What wall clocks show when virtual time begins."""


def run_virtually(main: Callable[[*_Args], Awaitable[_Result]], *args: *_Args, seed: object = 0) -> _Result:
    """Run an async function upon trio with virtual time, and the order of tasks that a seed says.

    Time goes on when nothing else can, and then at once to what is due next. So nothing may happen beside the loop: a
    thread or a real process that is waited for would see time jump over it.

    Args:
        main: the function.
        args: its own.
        seed: of the order in which tasks go on that could all do so.
    """
    with seeded_schedule(seed):
        return trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))  # pyright: ignore[reportUnknownMemberType] - its stub is untyped


def virtual_ports(*, http: FakeHttp | None = None, commands: FakeProcesses | None = None) -> Ports:
    """Ports for a `Runtime(store="memory:")` in virtual time, whose wall clock follows the loop's.

    For stores that outlive a process, crashes and several processes there is `World`.

    Args:
        http: the targets of all requests; each answers 200 if not given.
        commands: what becomes of commands and scripts; each exits with status 0 if not given.
    """
    targets, processes = http or FakeHttp(), commands or FakeProcesses()
    targets.now = _wall
    return Ports(
        host=lambda: SimulatedHost(_Ideal()),
        trees=processes.under,
        http=lambda _: targets,
        rates=lambda _: VirtualRates(),
    )


def _wall() -> float:
    return EPOCH_S + trio.current_time()


class _Ideal:
    """A machine on which nothing takes any time, and nobody else is."""

    is_stopped = False

    def __init__(self) -> None:
        self.news = News()

    async def may_go_on(self) -> None:
        """At once."""

    def wall(self) -> float:
        """Behind the loop's clock by what had gone by when that began."""
        return _wall()

    def delay_s(self) -> float:
        """None."""
        return 0.0

    def looks(self) -> int:
        """More than anybody takes."""
        return 1_000_000
