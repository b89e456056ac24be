"""Scenarios out of a seed: dense with what the format can do, and with accidents, and small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from actorflow.testing.agents import AgentStep, Crashes, Fails, Hangs, Raises, Returns
from actorflow.testing.crashes import CrashPoint
from actorflow.testing.http import FakeAnswer, Garbage, Refuses, Replies, Resets, TimesOut
from actorflow.testing.journal import CommitFault, FaultKind
from actorflow.testing.processes import Exits
from tests.simulator.execution import SECRET, SECRET_NAME
from tests.simulator.scenario import Act, ActKind, Life, Mode, Scenario, Start

SINK: Final = "https://hooks.example.com/"
"""Where webhooks go."""

SHARED: Final = 5
"""So many seeds have the same workflows, and accidents of their own: to load a workflow takes as long as to run it."""

LARGE: Final = 8
"""Of so many groups of seeds one has large worlds: what goes wrong shows in small ones, nearly always, and these are quick."""

AGENTS: Final = ("main", "second", "third")

_BLOCKING_EVENTS: Final = (
    "pre_workflow", "post_workflow", "on_error", "task_started", "task_finished", "on_stage_complete"
)  # fmt: skip
_OF_TASKS: Final = frozenset({
    "task_started", "task_finished", "task_retrying", "task_lost", "task_skipped", "task_timed_out", "fallback_started"
})  # fmt: skip
_OUTPUTS: Final = (*({"n": n} for n in range(8)), {"error": "no luck"}, {"n": SECRET})
_ASIDE: Final = "aside"  #: the task that hooks start
_LAST: Final = ("on_error", "post_workflow")
_ASYNC_EVENTS: Final = (
    "task_started", "task_finished", "workflow_finished", "workflow_started", "on_stage_complete", "task_retrying",
    "task_lost", "task_skipped", "retries_exhausted", "dead_lettered", "workflow_resumed", "workflow_paused",
    "signal_received", "breaker_opened", "fallback_started", "task_timed_out", "budget_exhausted", "breaker_closed",
)  # fmt: skip
_COMMIT_FAULTS: Final[tuple[FaultKind, ...]] = ("busy", "full", "error_before", "error_after")
_OPERATOR: Final[tuple[ActKind, ...]] = (
    "cancel", "pause", "resume", "signal", "retry_letter", "retry_delivery", "drain", "leave", "kill", "stop", "set_wall"
)  # fmt: skip

_AGAIN: Final[tuple[ActKind, ...]] = ("retry_letter", "retry_letter", "retry_delivery")
_ENDS: Final = ("leave", "kill")
"""Acts after which somebody else must be there, to take up what is left."""


def draw(seed: int, mode: Mode) -> Scenario:
    """The scenario of a seed; the same one each time. Some seeds after each other share their workflows."""
    words = Random(f"workflows {seed // SHARED}")
    is_large = not seed // SHARED % LARGE
    documents = [
        _document(words, number, most_tasks=7 if is_large else 4)
        for number in range(_few(words, 1, 2 if is_large else 1))
    ]
    random = Random(f"scenario {seed}")
    starts = [
        Start(
            f"r-{number}",
            random.randrange(len(documents)),
            random.choice([0.0, 0.0, 0.0, 7.5]),
            {"order": random.choice([1, "one", None])},
        )
        for number in range(1, 1 + _few(random, 1, 3 if is_large else 2))
    ]
    lives = _lives(random, another=0.45 if is_large else 0.25)
    return Scenario(
        seed=seed,
        mode=mode,
        definitions=documents,
        starts=starts,
        lives=lives,
        acts=_acts(random, [start.run_id for start in starts], len(lives) + (mode == "liveness")),
        agents={name: _steps(random) for name in AGENTS},
        answers=[_answer(random) for _ in range(random.choice([0, 0, 1, 2, 4]))],
        exits=[_exit(random) for _ in range(random.choice([0, 0, 1, 3]))],
    )


def _few(random: Random, least: int, most: int) -> int:
    """Mostly the least."""
    return min(random.randint(least, most) for _ in range(2))


# Workflows


def _document(random: Random, number: int, *, most_tasks: int) -> Mapping[str, Any]:
    ids = [f"t{index}" for index in range(_few(random, 1, most_tasks))]
    stages = _stages(random, ids) if len(ids) > 1 and random.random() < 0.3 else []
    tasks = {name: _task(random, name, ids[:index], ids[index + 1 :]) for index, name in enumerate(ids)}
    hooks = _hooks(random, has_stages=bool(stages)) if random.random() < 0.7 else {}
    limits = {"max_parallel": random.choice([1, 2, 50])}
    if random.random() < 0.25:
        limits["retry_budget"] = random.choice([0, 1, 2])
    if random.random() < 0.1:
        limits["deadline"] = random.choice([4, 20])
    if "dispatch_task" in str((tasks, hooks)):
        tasks[_ASIDE] = {"agent": random.choice(AGENTS), "timeout": 20, "with": {"by": "{{ input.by }}"}}
    document: dict[str, Any] = {
        "name": f"w{number}",
        "secrets": {"token": {"env": SECRET_NAME}},
        "limits": limits,
        "tasks": tasks,
        "hooks": hooks,
    }
    if random.random() < 0.25:
        document["outputs"] = {"last": f"{{{{ tasks.{ids[-1]}.{random.choice(['output', 'status'])} }}}}"}
    if stages:
        document["workflows"] = {"all": {"steps": stages}}
    return document


def _task(random: Random, name: str, earlier: Sequence[str], later: Sequence[str]) -> Mapping[str, Any]:
    needs = random.sample(earlier, min(len(earlier), random.randint(0, 2)))
    edges = [{"task": need, "on": random.choice(["success"] * 5 + ["failure", "always"])} for need in needs]
    agent = random.choice(AGENTS)
    others = [other for other in AGENTS if other != agent]
    task: dict[str, Any] = {
        "agent": agent,
        "depends_on": edges,
        "on_error": _on_error(random, others, later),
        "timeout": random.choice([4, 20, 20, 60]),  # scripts may hang
    }
    if random.random() < 0.6:
        task["retry"] = {
            "max_attempts": random.randint(2, 4),
            "delay": random.choice([0.5, 2, 30]),
            "backoff": random.choice(["constant", "linear", "exponential"]),
            "max_delay": random.choice([30, 60]),
            "jitter": random.choice(["none", "full", "equal"]),
        }
        if random.random() < 0.2:
            task["retry"][random.choice(["retry_on", "no_retry_on"])] = ["busy"]
    for key, odds, values in (
        ("deadline", 0.15, [2, 10, 60]),
        ("sleep", 0.1, [1, 15]),
        ("priority", 0.1, [-1, 1]),
        ("idempotent", 0.1, [False]),
        ("sensitive", 0.1, [True]),
        ("soft_errors", 0.2, [True]),
        ("allow_transform", 0.2, [True]),
        ("outputs", 0.1, [{"n": "{{ output.n }}"}]),  # an error where an agent says something else
        ("on_complete", 0.1, [{"notify": "{{ task.id }} is done"}]),
    ):
        if random.random() < odds:
            task[key] = random.choice(values)
    sources = [edge["task"] for edge in edges if edge["on"] == "success"]
    if sources and random.random() < 0.4:
        task["with"] = {"from": f"{{{{ tasks.{sources[0]}.output }}}}", "order": "{{ input.order }}"}
    if random.random() < 0.1:
        task["when"] = random.choice(["true", "false"])
    if later and random.random() < 0.1:
        task["on_success"] = {"next": random.choice(later), "with": {"n": "{{ output }}"}}
    if random.random() < 0.2:
        task["hooks"] = _task_hooks(random, may_replace="allow_transform" in task)
    return task


def _task_hooks(random: Random, *, may_replace: bool) -> Mapping[str, Any]:
    if may_replace:
        params = {"set": {"twice": "[output, output]"}, "output": {"twice": "{{ vars.twice }}"}}
        return {"task_finished": [{"type": "transform", "mode": "blocking", "params": params}]}
    event = random.choice(["task_started", "task_finished", "task_finished"])
    return {event: [random.choice([_async_hook, _async_hook, _blocking_hook])(random, event)]}


def _on_error(random: Random, others: Sequence[str], later: Sequence[str]) -> Mapping[str, Any]:
    found: dict[str, Any] = {"strategy": random.choice(["abort", "finish", "finish", "skip"])}
    if random.random() < 0.3:
        found["fallback_agent"] = random.choice([*others, others])
    if random.random() < 0.1:
        found["fallback_value"] = {"instead": 1}
    if later and random.random() < 0.1:
        found |= {"next": random.choice(later), "with": {"why": "{{ error.message }}"}}
    if random.random() < 0.2:
        found["max_losses"] = random.choice([1, 2])
    if random.random() < 0.2:
        found["circuit_breaker"] = {
            "threshold": random.choice([1, 2]),
            "window": 60,
            "cooldown": random.choice([5, 25]),
            "key": random.choice(["shared", "main"]),
        }
    return found


def _stages(random: Random, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    cut = random.randint(1, len(ids) - 1)
    first = {"stage": "first", "tasks": list(ids[:cut]), "mode": random.choice(["parallel", "sequential"])}
    then: dict[str, Any] = {"stage": "then", "tasks": list(ids[cut:])}
    return [first, then | random.choice([{}, {"depends_on": ["first"]}])]


def _hooks(random: Random, *, has_stages: bool) -> Mapping[str, Any]:
    hooks: dict[str, list[Mapping[str, Any]]] = {}
    for _ in range(random.choice([0, 0, 1, 2])):
        event = random.choice(_BLOCKING_EVENTS)
        if event != "on_stage_complete" or has_stages:
            hooks.setdefault(event, []).append(_blocking_hook(random, event))
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        event = random.choice(_ASYNC_EVENTS)
        if event != "on_stage_complete" or has_stages:
            hooks.setdefault(event, []).append(_async_hook(random, event))
    return hooks


def _blocking_hook(random: Random, event: str) -> Mapping[str, Any]:
    may_fail = event not in _LAST
    hook: dict[str, Any] = {
        "type": "command",
        "mode": "blocking",
        "params": {"command": "do-it"},
        "timeout": random.choice([3, 20]),
        "on_error": random.choice(["continue", "continue", "disable", "fail" if may_fail else "continue"]),
    }
    if random.random() < 0.3:
        hook["retry"] = {"max_attempts": 2, "delay": 1}
    return hook


def _async_hook(random: Random, event: str) -> Mapping[str, Any]:
    kind = random.choice(
        ["webhook"] * 10 + ["log", "log", "metric", "metric", "notify", "command", "dispatch_task"]
    )
    if kind == "dispatch_task" and event not in _OF_TASKS:
        kind = "log"
    hook: dict[str, Any] = {"type": kind, "mode": "async"}
    if random.random() < 0.1:
        hook["when"] = random.choice(["workflow.status == 'running'", "false"])
    if random.random() < 0.1:
        hook |= {"on_error": "disable", "disable_after": random.choice([1, 2])}
    if random.random() < 0.05:
        hook["max_age"] = random.choice([5, 60])
    match kind:
        case "webhook":
            hook["params"] = {
                "url": f"{SINK}{event}{random.choice(['', '?key={{ secrets.token }}'])}",
                "headers": {"Authorization": "Bearer {{ secrets.token }}"},
            }
            if random.random() < 0.3:
                hook["params"]["body"] = {"run": "{{ workflow.run_id }}", "status": "{{ workflow.status }}"}
            hook["timeout"] = 5
            if random.random() < 0.7:
                hook["retry"] = {"max_attempts": random.randint(1, 4), "delay": random.choice([1, 8])}
            if random.random() < 0.25:
                hook["batch"] = {"max": random.choice([2, 3]), "window": random.choice([2, 20])}
            if random.random() < 0.15:
                hook["rate_limit"] = random.choice([1, 10])
            if random.random() < 0.15:
                hook["circuit_breaker"] = {"threshold": 2, "window": 60, "cooldown": 10}
            if random.random() < 0.2:
                hook["ordered"] = False
        case "log":
            hook["params"] = {"message": "{{ workflow.run_id }} {{ secrets.token }}"}
        case "notify":
            channel = {"type": "webhook", "url": f"{SINK}notices"}
            hook["params"] = {"message": "{{ workflow.run_id }}", "channels": [channel]}
        case "command":
            hook |= {"params": {"command": "do-it"}, "timeout": 3}
        case "dispatch_task":
            hook["params"] = {"task_id": _ASIDE, "input": {"by": "{{ task.id }}"}}
        case _:
            hook["params"] = {"name": "things", "value": 1}
    return hook


# What goes on around them


def _steps(random: Random) -> list[AgentStep]:
    return [_step(random) for _ in range(random.choice([1, 1, 2, 3, 4]))]


def _step(random: Random) -> AgentStep:
    after_s = random.choice([0.0, 0.0, 0.01, 1.0, 3.0, 9.0])
    match random.choice(["returns"] * 14 + ["fails"] * 6 + ["raises", "raises", "hangs", "hangs", "crashes"]):
        case "returns":
            return Returns(random.choice(_OUTPUTS), after_s)
        case "fails":
            asked = random.choice([None, None, None, 5.0])
            return Fails("no luck", random.choice(["Broken", "busy"]), after_s, asked)
        case "raises":
            return Raises(ValueError("no luck"), after_s)
        case "hangs":
            return Hangs(random.choice([0.0, 2.0, 12.0]))
        case _:
            return Crashes(after_s)


def _answer(random: Random) -> FakeAnswer:
    after_s = random.choice([0.0, 0.5, 2.0])
    answers: list[FakeAnswer] = [
        Replies(random.choice([200, 204]), after_s=after_s),
        Replies(random.choice([500, 502, 503]), after_s=after_s),
        Replies(429, headers={"retry-after": random.choice(["2", "20"])}),
        Replies(random.choice([400, 404, 410])),
        TimesOut(is_received=True),
        TimesOut(is_received=False),
        Resets(is_received=True, after_s=after_s),
        Resets(is_received=False),
        Garbage(after_s),
        Refuses(),
    ]
    return random.choice(answers)


def _exit(random: Random) -> Exits:
    return Exits(random.choice([0, 0, 1]), after_s=random.choice([0.0, 1.0, 5.0]))


def _lives(random: Random, *, another: float) -> list[Life]:
    lives = [_life(random, 0.0)]
    while len(lives) < 4 and random.random() < another:
        lives.append(_life(random, random.choice([0.0, 1.0, 12.0, 40.0])))
    return lives


def _life(random: Random, at_s: float) -> Life:
    crash, faults = None, list[CommitFault]()
    match random.choice(["nothing", "crash", "crash", "fault"]):
        case "crash":
            crash = CrashPoint(
                random.choice([1, 2, 2, 3, 4, 5, 6, 8, 11]), random.choice(["before", "after"])
            )
        case "fault":
            kind = random.choice(_COMMIT_FAULTS)
            faults = [CommitFault(random.choice([1, 2, 3, 4, 6, 9]), kind, random.choice([0.5, 10.0, 45.0]))]
        case _:
            pass
    return Life(at_s, crash, faults, takes_over=random.random() < 0.5)


def _acts(random: Random, run_ids: Sequence[str], lives: int) -> list[Act]:
    acts = list[Act]()
    for _ in range(random.choice([0, 0, 0, 0, 1, 1, 2, 4])):
        kind = random.choice(_OPERATOR)
        seconds = {
            "stop": random.choice([5.0, 60.0]),
            "set_wall": random.choice([-3600.0, 3600.0, 86400.0]),
        }.get(kind, random.choice([0.0, 5.0]))
        acts.append(
            Act(
                at_s=random.choice([0.001, 0.1, 0.5, 3.0, 10.0, 30.0]),
                kind=kind,
                run_id=random.choice(run_ids),
                by=random.randint(1, 1 if kind in _ENDS else lives),
                seconds=seconds,
                name="go",
            )
        )
    if random.random() < 0.35:  # what has failed is tried again
        kind = random.choice(_AGAIN)
        acts.append(Act(random.choice([12.0, 60.0, 150.0]), kind, random.choice(run_ids), lives))
    return acts
