"""Ways to break what a crash must not change, as a whole world in virtual time finds out, crashed at each of its commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from attrs import evolve

from actorflow.core.events import Resumed
from actorflow.core.state import RunState
from actorflow.hooks.actions import sending
from actorflow.testing import CrashPoint, Fails, Returns, ScriptedAgent, crash_at, simulate
from actorflow.testing.simulation import Simulated
from tests.hooked_runs import workflow
from tests.mutants.mutant import Mutant, Seeds
from tests.mutants.switches import also, replaced
from tests.promises import expect

SAME_END: Final = "a crash changes nothing of the end"
SAME_TIME: Final = "a crash delays what it has cut off and nothing else"
SAME_IDS: Final = "a webhook has one id, whoever sends it"

SETTLED: Final = "a delivery is settled once"

SINK: Final = "https://hooks.example.com/"
BODY_S: Final = 60.0
SLACK_S: Final = 10.0
HOUR_S: Final = 3_600.0
HOURLY: Final = {"max_attempts": 3, "delay": "1h", "backoff": "constant", "jitter": "none", "max_delay": "1h"}


def _crashed(at: CrashPoint) -> Simulated:
    """Four tasks, of which one is retried an hour later, and a webhook for each; the first process dies at a commit."""
    tasks = {
        "a": {"agent": "x"},
        "b": {"agent": "x", "depends_on": ["a"]},
        "c": {"agent": "y", "depends_on": ["a"], "retry": HOURLY},
        "d": {"agent": "x", "depends_on": ["b", "c"]},
    }
    hooks = {"task_finished": [{"type": "webhook", "params": {"url": f"{SINK}{{{{ task.id }}}}"}}]}
    outputs = {"all": "{{ tasks.a.output }} {{ tasks.b.output }} {{ tasks.c.output }}"}
    return simulate(
        workflow(tasks, hooks, outputs=outputs),
        agents={"x": ScriptedAgent(Returns(1, after_s=BODY_S)), "y": ScriptedAgent(Fails("no"), Returns(2))},
        allow_hosts=[SINK],
        crashes=[at],
    )


def crashed_at(point: int) -> None:
    """A process dies before a commit, for even points, or after one, and another goes on."""
    lived = _crashed(crash_at(point // 2 + 1, "after" if point % 2 else "before"))
    end = lived.result.status, dict(lived.result.outputs), lived.result.tasks["c"].attempts
    expect(SAME_END, end == ("success", {"all": "1 1 2"}, 2), end)
    expect(SAME_TIME, lived.took_s < BODY_S + HOUR_S + 2 * BODY_S + SLACK_S, lived.took_s)
    ids = {(each.url, each.header("webhook-id")) for each in lived.received}
    expect(SAME_IDS, sorted(url for url, _ in ids) == [f"{SINK}{task}" for task in "abcd"], ids)
    settled = [each.delivery_id for each in lived.deliveries]
    expect(SETTLED, len(settled) == len(set(settled)) == 4, settled)


@contextmanager
def waits_anew() -> Iterator[None]:
    """A retry that waits when its process dies waits for its whole delay again."""

    def wait(state: RunState, event: Resumed) -> None:
        for index, each in enumerate(state.tasks):
            if each.status == "waiting":
                state.frontier.wait_until(index, event.at + HOUR_S)

    with also(Resumed, wait):
        yield


@contextmanager
def outputs_in_memory() -> Iterator[None]:
    """What tasks have come to is forgotten with the process."""

    def forget(state: RunState, event: Resumed) -> None:
        for each in state.tasks:
            each.output = None
        for known in state.known.values():
            known.update(output=None)

    with also(Resumed, forget):
        yield


@contextmanager
def id_of_each_request() -> Iterator[None]:
    """Each request of a webhook has an id of its own."""
    numbers = count()
    request = sending._request

    def request_with_a_number(message: Any, *facts: Any, **more: Any) -> Any:
        return request(evolve(message, message_id=f"{message.message_id}/{next(numbers)}"), *facts, **more)

    with replaced(sending, "_request", request_with_a_number):
        yield


CRASHES: Final = Seeds(crashed_at, 24)

WORLDS: Final = {
    "retry waits anew after a crash": Mutant(waits_anew, {SAME_TIME}, CRASHES),
    "outputs in memory": Mutant(outputs_in_memory, {SAME_END}, CRASHES),
    "webhook id of each request": Mutant(id_of_each_request, {SAME_IDS}, CRASHES),
}
