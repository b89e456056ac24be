"""What tests of workflows stand on: a world of their own, with virtual time, crashes, and fakes for all that is outside.

`simulate` takes a workflow through it in a few lines. `World` is for stories with several processes, `run_virtually` for
any async function in virtual time. `actorflow.testing.strategies` draws definitions and histories with hypothesis, and
`actorflow.testing.plugin` has fixtures for pytest: each is imported by itself, since it needs that package.
"""

from actorflow.testing.agents import AgentStep, Called, Crashes, Fails, Hangs, Raises, Returns, ScriptedAgent
from actorflow.testing.clock import run_virtually, virtual_ports
from actorflow.testing.crashes import CrashPoint, crash_at, crash_now
from actorflow.testing.host import SimulatedHost
from actorflow.testing.http import FakeAnswer, FakeHttp, Garbage, Received, Refuses, Replies, Resets, TimesOut
from actorflow.testing.journal import CommitFault, FaultyJournal
from actorflow.testing.process import Process
from actorflow.testing.processes import CommandEnd, Exits, FakeProcesses, NotStarted
from actorflow.testing.rates import VirtualRates
from actorflow.testing.recorder import HookRecorder
from actorflow.testing.schedule import seeded_schedule
from actorflow.testing.simulation import Simulated, simulate
from actorflow.testing.world import Body, Commit, World

__all__ = [
    "AgentStep",
    "Body",
    "Called",
    "CommandEnd",
    "Commit",
    "CommitFault",
    "CrashPoint",
    "Crashes",
    "Exits",
    "Fails",
    "FakeAnswer",
    "FakeHttp",
    "FakeProcesses",
    "FaultyJournal",
    "Garbage",
    "Hangs",
    "HookRecorder",
    "NotStarted",
    "Process",
    "Raises",
    "Received",
    "Refuses",
    "Replies",
    "Resets",
    "Returns",
    "ScriptedAgent",
    "Simulated",
    "SimulatedHost",
    "TimesOut",
    "VirtualRates",
    "World",
    "crash_at",
    "crash_now",
    "run_virtually",
    "seeded_schedule",
    "simulate",
    "virtual_ports",
]
