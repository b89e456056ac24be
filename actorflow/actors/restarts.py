"""Restarts of actors that crash, within an intensity; attempts of tasks are retried, which is another matter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from actorflow.actors.host import Host


@frozen
class RestartPolicy:
    """At most `intensity` restarts within `period_s` seconds; one more crash, and the supervisor gives up."""

    intensity: int = 3
    period_s: float = 5.0


DEFAULT = RestartPolicy()


class Restarts:
    """The restarts of one supervised actor, counted against a policy."""

    __slots__ = ("_crashes", "_host", "_policy")

    def __init__(self, policy: RestartPolicy, host: Host) -> None:
        self._policy = policy
        self._host = host
        self._crashes: tuple[float, ...] = ()

    def note_crash(self, error: Exception) -> None:
        """Count a crash; raise it again when the intensity is used up."""
        now = self._host.time()
        since = now - self._policy.period_s
        self._crashes = (*(crash for crash in self._crashes if crash >= since), now)
        if len(self._crashes) > self._policy.intensity:
            raise error

    async def supervise(
        self, run: Callable[[], Awaitable[None]], on_crash: Callable[[Exception], None]
    ) -> None:
        """Run an actor; after a crash tell `on_crash` and run it again, until it ends or crashes too often."""
        while True:
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - whatever it was, the policy says what follows
                self.note_crash(error)
                on_crash(error)
            else:
                return
