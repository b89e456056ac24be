"""The ports: all through which a runtime reaches the world, so that another world can stand behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from actorflow.actors.host import Host, current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.hooks.rates import HookRates, Rates
from actorflow.http.client import HttpClient, Requester
from actorflow.journal import Journal, open_journal
from actorflow.processes import ProcessTrees, Trees

__all__ = ["REAL", "Ports"]


@frozen
class Ports:
    """What makes each thing that reaches beyond the runtime; `actorflow.testing` has others.

    What Python agents and functions of the program reach by themselves does not come by here.
    """

    host: Callable[[], Host] = current_host  #: the loop, its clocks and its threads
    journal: Callable[[str], Journal] = open_journal  #: from the URL of a store; may block
    trees: Callable[[str], Trees] = ProcessTrees  #: from what the cookies of its processes begin with
    http: Callable[[AsyncioRoom], Requester] = HttpClient
    rates: Callable[[AsyncioRoom], Rates] = HookRates


REAL: Final = Ports()
"""The machine's."""
