"""The HookActor: takes lifecycle messages in batches, and sees to it that nobody waits who need not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, assert_never

from attrs import frozen

from actorflow.actors.host import Host
from actorflow.actors.mailbox import Mailbox
from actorflow.actors.pool import RunnerPool
from actorflow.hooks.blocking import BlockingHook
from actorflow.hooks.owed import Debtor, DeliveryLine
from actorflow.processes import ProcessTrees


@frozen
class Owed:
    """The journal holds events of this run that async hooks may be owed."""

    debtor: Debtor


HookMessage: TypeAlias = BlockingHook | Owed


class HookActor:
    """Starts blocking hooks at once; delivers what async hooks are owed, in a line for each run.

    What is owed lies in the journal, so a message lost with a crash of this actor costs nothing but a new look.
    """

    def __init__(
        self,
        host: Host,
        pool: RunnerPool,
        trees: ProcessTrees,
    ) -> None:
        self._host = host
        self._pool = pool
        self._trees = trees
        self._lines: dict[str, DeliveryLine] = {}
        self._idle_watchers: dict[str, list[Callable[[], None]]] = {}
        promise = "each run has one blocking hook and looks once per batch"
        self._mailbox: Mailbox[HookMessage] = Mailbox(host, float("inf"), promise)

    def tell(self, message: HookMessage) -> None:
        """Put a message into the actor's mailbox."""
        self._mailbox.tell(message)

    async def run(self) -> None:
        """Take messages until cancelled."""
        while True:
            for message in await self._mailbox.drain():
                match message:
                    case BlockingHook():
                        message.start()
                    case Owed(debtor):
                        self._line(debtor).look()
                    case _:
                        assert_never(message)

    def close(self) -> None:
        """Take no more messages."""
        self._mailbox.close()

    async def drain(self, debtor: Debtor) -> None:
        """Look again, and wait until nothing is owed to the run's hooks, or their line has crashed."""
        gate = self._host.gate()
        self._idle_watchers.setdefault(debtor.run_id, []).append(gate.open)
        self.tell(Owed(debtor))
        await gate.wait()

    def _line(self, debtor: Debtor) -> DeliveryLine:
        line = self._lines.get(debtor.run_id)
        if line is None:
            line = self._lines[debtor.run_id] = DeliveryLine(
                debtor,
                host=self._host,
                pool=self._pool,
                trees=self._trees,
                on_idle=self._idle,
            )
        return line

    def _idle(self, run_id: str) -> None:
        self._lines.pop(run_id, None)
        for opened in self._idle_watchers.pop(run_id, []):
            opened()
