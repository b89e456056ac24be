"""Makes a golden store: `python -m tests.golden.make tests/golden/NAME.db`, or NAME.json, a folder of JSON.

Made once, when a change of the format is released, and never again: every later version must open it, show its runs and
go on with those that are not done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from attrs import frozen

from actorflow import AgentCall, HookContext, Runtime, StatePersistence, load_dict
from actorflow.core.events import AttemptStarted, BreakerRefused, Event, HookStarted, SleepStarted
from actorflow.hooks import HookRegistry
from actorflow.journal import open_journal
from actorflow.spec.model import WorkflowSpec
from tests.chaos_sink import ChaosSink, answer, silence

FOLDER = "/tmp"
JSON = ("Content-Type", "application/json")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CHAIN: dict[str, Any] = {
    "a": {"agent": "x", "with": {"n": "{{ input.n }}", "text": "ünïcödé ✓"}},
    "b": {"agent": "x", "with": {"before": "{{ tasks.a.output.input.n }}"}, "depends_on": ["a"]},
}

HANDLED: dict[str, Any] = {
    "broken": {"agent": "y", "on_error": {"next": "mend", "with": {"of": "{{ error.task }}"}}},
    "mend": {"agent": "x", "with": {"n": 1}, "outputs": {"given": "{{ output.input }}"}},
    "below": {"agent": "x", "depends_on": ["broken"]},
}


ACTIONS = HookRegistry()
"""What hooks can do here: `post` reaches nobody, and `hold` never ends."""


@frozen
class Text:
    """The params of both."""

    text: str = ""


@ACTIONS.hook_action("post", params=Text)
async def _post(context: HookContext, params: Text) -> None:
    raise ConnectionError(f"no route for {params.text}")


@ACTIONS.hook_action("hold", params=Text)
async def _hold(context: HookContext, params: Text) -> None:
    await anyio.sleep_forever()


def _workflow(name: str, tasks: dict, **more: object) -> WorkflowSpec:
    document = {"name": name, "tasks": tasks, **more}
    return load_dict(document, trust="own", folder=FOLDER, actions=ACTIONS.contracts)


async def make(path: Path) -> None:
    """Fill a store with runs that succeeded, failed, were saved in every way there is, and were paused."""
    store = f"sqlite:///{path}" if path.suffix == ".db" else f"json:{path}"
    await _make_success(store)
    await _make_failed(store)
    await _make_paused(store)
    await _make_saved(store)
    await _make_resting(store)
    await _make_lettered(store)
    await _make_guarded(store)
    await _make_hooked(store)
    await _make_finishing(store)
    with ChaosSink() as sink:
        os.environ.update(GOLDEN_URL=sink.url(""), GOLDEN_SECRET=SECRET)
        await _make_requested(store, sink)
        await _make_batched(store, sink)
        await _make_asking(store, sink)


async def _make_success(store: str) -> None:
    async with Runtime(store=store, agents={"x": "echo"}) as rt:
        spec = _workflow("golden success", CHAIN, outputs={"n": "{{ tasks.b.output.input.before }}"})
        await rt.run(spec, inputs={"n": 7}, run_id="success")


async def _make_failed(store: str) -> None:
    """Two attempts, and two hooks, one of which fails."""
    async with Runtime(store=store, agents={"x": "echo", "y": "fail"}) as rt:
        tasks = {
            **CHAIN,
            "c": {"agent": "y", "depends_on": ["b"], "retry": {"max_attempts": 2, "delay": 0.001}},
        }
        hooks = {"on_error": ["true"], "post_workflow": ["false"]}
        await rt.run(_workflow("golden failure", tasks, hooks=hooks), inputs={"n": 8}, run_id="failed")


async def _make_paused(store: str) -> None:
    """Paused in an attempt, with a hook owed."""
    tasks = {**CHAIN, "c": {"agent": "s", "depends_on": ["b"]}}
    steps = [{"stage": "one", "tasks": ["a", "b"]}, {"stage": "two", "tasks": ["c"]}]
    entry = {"w": {"steps": steps, "hooks": {"on_stage_complete": ["true"]}}}
    spec = _workflow("golden pause", tasks, workflows=entry)
    await _pause(store, spec, "paused", lambda event: isinstance(event, AttemptStarted) and event.task == "c")


async def _make_saved(store: str) -> None:
    """A sleep, a fallback value, a handler, a clean-up, what was not reached, and an output kept apart."""
    tasks = {
        **HANDLED,
        "nap": {"agent": "x", "sleep": 0.01, "priority": -1, "with": {"n": 2}},
        "saved": {
            "agent": "y",
            "retry": {"max_attempts": 2, "delay": 0.001},
            "on_error": {"fallback_value": {"n": 3, "why": "{{ error.type }}"}},
        },
        "big": {"agent": "wordy"},
        "read": {"agent": "x", "depends_on": ["big"], "with": {"n": "{{ len(tasks.big.output) }}"}},
        "unreached": {"agent": "x", "depends_on": [{"task": "nap", "on": "failure"}]},
        "clean": {"agent": "x", "depends_on": [{"task": "broken", "on": "always"}]},
    }
    async with Runtime(store=store, agents={"x": "echo", "y": "fail", "wordy": _wordy}) as rt:
        spec = _workflow("golden recovery", tasks, outputs={"n": "{{ tasks.read.output.input.n }}"})
        await rt.run(spec, run_id="saved")


async def _make_resting(store: str) -> None:
    """Paused with a checkpoint: in a sleep, whose task leads on to another, beside an attempt."""
    many = {f"t{number:02}": {"agent": "x", "with": {"n": number}} for number in range(100)}
    tasks = {
        **many,
        **HANDLED,
        "held": {"agent": "s", "depends_on": list(many)},
        "nap": {
            "agent": "x",
            "sleep": "5s",
            "depends_on": list(many),
            "with": {"n": "{{ tasks.t99.output.input.n }}"},
            "on_success": {"next": "led", "with": {"n": "{{ task.input.n + 1 }}"}},
            "on_error": {"next": "unled"},
        },
        "led": {"agent": "x"},
        "unled": {"agent": "x"},
    }
    spec = _workflow("golden rest", tasks, outputs={"n": "{{ tasks.led.output.input.n }}"})
    await _pause(store, spec, "resting", lambda event: isinstance(event, SleepStarted))


async def _make_lettered(store: str) -> None:
    """Failed for good, with a dead letter, its retries spent before they were used up, and what somebody saved of it."""
    tasks = {
        "charge": {
            "agent": "y",
            "with": {"n": "{{ input.n }}"},
            "retry": {"max_attempts": 3, "delay": 0.001},
        },
        "other": {"agent": "y", "on_error": {"strategy": "finish"}},
        "ship": {"agent": "x", "depends_on": ["charge"]},
    }
    async with Runtime(store=store, agents={"x": "echo", "y": "fail"}) as rt:
        spec = _workflow("golden letters", tasks, limits={"retry_budget": 1, "max_parallel": 2})
        await rt.run(spec, inputs={"n": 4}, run_id="lettered")
    with StatePersistence(store) as states:
        states.save(states.load("lettered").with_metadata({"ticket": "OPS-7"}))


async def _make_guarded(store: str) -> None:
    """Paused before an open breaker, within its deadline, with a signal received and another one waiting in the inbox."""
    breaker = {"threshold": 2, "window": "1h", "cooldown": "2s", "key": "bank"}
    tasks = {
        "pay": {
            "agent": "y",
            "deadline": "1h",
            "on_error": {
                "retry": {"max_attempts": 9, "delay": 0.001, "jitter": "none"},
                "circuit_breaker": breaker,
            },
        },
        "held": {"agent": "s"},
    }
    spec = _workflow("golden breaker", tasks, limits={"deadline": "2h"})
    agents = {"y": "fail", "s": "sleep:1h"}
    async with Runtime(store=store, agents=agents, grace_s=0) as rt:
        handle = await rt.start(spec, run_id="guarded")
        await rt.signal("guarded", "approved", {"by": "ann"}, signal_id="s-1")
        async for _, event in handle.events():
            if isinstance(event, BreakerRefused):
                break
    journal = open_journal(store)
    journal.post("guarded", "signal", {"name": "approved", "payload": {"by": "bob"}, "signal_id": "s-2"})
    journal.close()


async def _make_hooked(store: str) -> None:
    """Ended, with deliveries of all kinds: settled ones, a dead letter, one before its next try, and one that started a run."""
    post = {"type": "post", "params": {"text": "{{ task.id }} of {{ input.n }} {{ vars.n }}"}}
    own = [
        {
            "type": "transform",
            "mode": "blocking",
            "params": {"set": {"n": "output.input.n + 1"}, "output": {"n": 5}},
        },
        {"command": "echo $ACTORFLOW_TASK", "mode": "blocking"},
        {"type": "dispatch_task", "params": {"task_id": "note", "input": {"n": "{{ output.n }}"}}},
        post,
        {**post, "retry": {"max_attempts": 2, "delay": "1s", "jitter": "none"}, "max_age": "36500d"},
        {"type": "log", "when": "false", "params": {"message": "never"}},
    ]
    tasks = {
        "a": {**CHAIN["a"], "allow_transform": True, "hooks": {"task_finished": own}},
        "note": {"agent": "x", "with": {"n": "{{ input.n }}"}},
    }
    spec = _workflow("golden hooks", tasks, hooks={"workflow_finished": ["echo $ACTORFLOW_EVENT"]})
    async with Runtime(store=store, agents={"x": "echo"}, hooks=ACTIONS, drain_timeout_s=0.7) as rt:
        await rt.run(spec, inputs={"n": 8}, run_id="hooked")


async def _make_finishing(store: str) -> None:
    """Paused while tasks wait for hooks: one before its first attempt, one behind its last, and behind it a dependant."""
    hold = {"type": "hold", "params": {"text": "{{ task.id }}"}, "mode": "blocking", "timeout": "1h"}
    done = {"command": "true", "mode": "blocking"}
    tasks = {
        "a": {"agent": "x", "with": {"n": 1}, "hooks": {"task_finished": [done, hold, done]}},
        "b": {"agent": "x", "with": {"n": 2}, "hooks": {"task_started": [done, hold]}},
        "c": {"agent": "x", "with": {"n": 3}, "depends_on": ["a"]},
    }
    held: set[str] = set()

    def are_held(event: Event) -> bool:
        if isinstance(event, HookStarted) and event.index == 1:
            held.add(event.subject)
        return held == {"a", "b"}

    await _pause(store, _workflow("golden preparations", tasks), "finishing", are_held)


async def _make_requested(store: str, sink: ChaosSink) -> None:
    """Ended, with an answer that was asked for twice, another that is large, and signed webhooks that arrived."""
    sink.answers("/prices", answer(503), answer(200, b'{"price": 5}', JSON))
    sink.answers("/wordy", answer(200, b"word " * 14_000))
    price = {
        "http": {"url": "${GOLDEN_URL}/prices", "query": {"n": "{{ input.n }}"}, "extract": "output.price"}
    }
    tasks = {
        "price": {**price, "retry": {"max_attempts": 2, "delay": 0.001}},
        "wordy": {"http": {"url": "${GOLDEN_URL}/wordy"}},
        "order": {
            "http": {
                "url": "${GOLDEN_URL}/orders",
                "method": "POST",
                "json": {"n": "{{ tasks.price.output }}"},
            },
            "depends_on": ["price"],
        },
    }
    told = {
        "url": "${GOLDEN_URL}/told",
        "sign": {"secret": "${GOLDEN_SECRET}"},
        "body": {"task": "{{ task.id }}"},
    }
    hooks = {"task_finished": [{"type": "webhook", "params": told}]}
    spec = _workflow("golden requests", tasks, hooks=hooks, outputs={"price": "{{ tasks.price.output }}"})
    async with Runtime(store=store, allow_hosts=[sink.url("")]) as rt:
        await (await rt.start(spec, inputs={"n": 7}, run_id="requested")).settled()


async def _make_batched(store: str, sink: ChaosSink) -> None:
    """Ended, with a batch that was sent once and is to be sent again, and a target that is gone."""
    sink.answers("/batches", answer(503))
    sink.answers("/gone", answer(410))
    tasks = {name: {"agent": "x", "with": {"n": number}} for number, name in enumerate("abc")}
    batch = {"max": 3, "window": "30s"}
    retry = {"max_attempts": 2, "delay": "2s", "jitter": "none"}
    told = {"type": "webhook", "retry": retry, "max_age": "36500d"}
    body = {"n": "{{ output.input.n }}"}
    hooks = {
        "task_finished": [
            {**told, "batch": batch, "params": {"url": "${GOLDEN_URL}/batches", "body": body}},
            {**told, "params": {"url": "${GOLDEN_URL}/gone"}},
        ]
    }
    spec = _workflow("golden batches", tasks, hooks=hooks)
    async with Runtime(
        store=store, agents={"x": "echo"}, allow_hosts=[sink.url("")], drain_timeout_s=1
    ) as rt:
        await rt.run(spec, run_id="batched")


async def _make_asking(store: str, sink: ChaosSink) -> None:
    """Paused before an answer came, with a blocking webhook behind it."""
    sink.answers("/slow", silence())
    agents = {
        "shop": {"http": {"url": "${GOLDEN_URL}/slow", "json": {"n": "{{ input.n }}"}, "method": "POST"}}
    }
    told = {
        "type": "webhook",
        "mode": "blocking",
        "params": {"url": "${GOLDEN_URL}/told", "body": "{{ task.id }}"},
    }
    tasks = {"ask": {"agent": "shop", "hooks": {"task_finished": [told]}}}
    spec = _workflow("golden question", tasks, agents=agents, outputs={"answer": "{{ tasks.ask.output }}"})
    async with Runtime(store=store, allow_hosts=[sink.url("")], grace_s=0) as rt:
        handle = await rt.start(spec, inputs={"n": 9}, run_id="asking")
        async for _, event in handle.events():
            if isinstance(event, AttemptStarted):
                break


async def _pause(store: str, spec: WorkflowSpec, run_id: str, is_time: Callable[[Event], bool]) -> None:
    """Begin a run, and leave it when it has come to something; what it then does still counts."""
    agents = {"x": "echo", "y": "fail", "s": "sleep:1h"}
    async with Runtime(store=store, agents=agents, grace_s=0, hooks=ACTIONS) as rt:
        handle = await rt.start(spec, inputs={"n": 9}, run_id=run_id)
        async for _, event in handle.events():
            if is_time(event):
                break


async def _wordy(_: AgentCall) -> str:
    return "word " * 14_000


if __name__ == "__main__":
    anyio.run(make, Path(sys.argv[1]).resolve())
