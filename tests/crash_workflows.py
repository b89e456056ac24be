"""The workflows that the crash tests run. Their bodies write a ledger: one line as each begins, one as it ends.

A line is appended by one `write` to a file that was opened for appending, so that lines of many processes never mix. It
says `start` or `end`, the idempotency key of the task or the delivery id of the hook, the attempt, and the loss.
"""

from __future__ import annotations

import os
import time
from typing import Any

import anyio

from actorflow import AgentCall, WorkflowSpec, load_dict

RUN_ID = "r"


def note(what: str, call: AgentCall) -> None:
    """Append a line about an attempt to the ledger."""
    append(f"{what} {call.idempotency_key} {call.attempt} {call.loss}\n")


def append(line: str) -> None:
    """Append a line to the ledger."""
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)


async def work(call: AgentCall) -> int:
    """Double a number, for a millisecond or two."""
    note("start", call)
    await anyio.sleep(0.001 + 0.001 * (call.input["n"] % 2))
    note("end", call)
    return 2 * call.input["n"]


def threaded(call: AgentCall) -> int:
    """The same in a thread."""
    note("start", call)
    time.sleep(0.002)
    note("end", call)
    return 2 * call.input["n"]


async def shaky(call: AgentCall) -> int:
    """Succeed at the third attempt."""
    note("start", call)
    if call.attempt < 3:
        raise ConnectionError(f"attempt {call.attempt} hung up")
    note("end", call)
    return 2 * call.input["n"]


async def broken(call: AgentCall) -> None:
    """Never succeed."""
    note("start", call)
    raise RuntimeError("out of order")


async def wordy(call: AgentCall) -> str:
    """Return more text than fits beside the events."""
    note("start", call)
    note("end", call)
    return "word " * 20_000


async def mended(call: AgentCall) -> str:
    """Fail in the first generation of a run, and succeed in those after it."""
    note("start", call)
    await anyio.sleep(0.003)
    if _generation(call) == 1:
        raise RuntimeError("not mended yet")
    note("end", call)
    return "mended"


async def slow(call: AgentCall) -> str:
    """Take for ever in the first generation of a run, and no time in those after it."""
    note("start", call)
    if _generation(call) == 1:
        await anyio.sleep(60)
    note("end", call)
    return "at last"


async def held(call: AgentCall) -> str:
    """Wait until there is a file `go` in the folder."""
    note("start", call)
    while not await anyio.Path(os.environ["FOLDER"], "go").exists():  # noqa: ASYNC110 - another process makes it
        await anyio.sleep(0.01)
    note("end", call)
    return "let go"


def _generation(call: AgentCall) -> int:
    return int(call.idempotency_key.rsplit("/", 1)[1])


AGENTS = {
    "work": work,
    "threaded": threaded,
    "shaky": shaky,
    "broken": broken,
    "spare": broken,
    "wordy": wordy,
    "mended": mended,
    "slow": slow,
    "held": held,
}

_ATTEMPT = '"$ACTORFLOW_IDEMPOTENCY_KEY" "$ACTORFLOW_ATTEMPT" "$ACTORFLOW_LOSS" >> "$LEDGER"'
_HOOK = '"$ACTORFLOW_DELIVERY_ID" 0 0 >> "$LEDGER"'


def command(body: str = "", *, line: str = _ATTEMPT) -> str:
    """A shell command that writes the ledger around its body."""
    return f"printf 'start %s %s %s\\n' {line}\n{body}\nprintf 'end %s %s %s\\n' {line}\n"


def hook(body: str = "") -> str:
    """The same for a hook."""
    return command(body, line=_HOOK)


_KILL_ONCE = """if rm "$FOLDER/kill-$ACTORFLOW_EVENT-${{ACTORFLOW_TASK:-$WORKFLOW_STAGE}}-{index}" 2> /dev/null
then kill -9 "$RUNNER_PID"; sleep 0.02; fi"""


def deadly_hooks(count: int) -> list[str]:
    """Hooks, each of which kills its runner where a file `kill-EVENT-SUBJECT-INDEX` says so, and goes on as an orphan."""
    return [hook(_KILL_ONCE.format(index=index)) for index in range(count)]


def _doubled(task: str) -> dict[str, str]:
    return {"n": f"{{{{ tasks.{task}.output + 1 }}}}"}


FAN: dict[str, Any] = {
    "name": "fan",
    "tasks": {
        "seed": {"agent": "work", "with": {"n": 2}},
        "left": {"agent": "work", "depends_on": ["seed"], "with": _doubled("seed")},
        "middle": {"agent": "threaded", "depends_on": ["seed"], "with": _doubled("seed")},
        "right": {"agent": "work", "depends_on": ["seed"], "with": {"n": 8}},
        "again": {
            "agent": "shaky",
            "depends_on": ["seed"],
            "with": _doubled("seed"),
            "retry": {"max_attempts": 3, "delay": "10ms", "backoff": "constant", "jitter": "none"},
        },
        "rescued": {
            "agent": "broken",
            "depends_on": ["seed"],
            "with": {"n": 1},
            "on_error": {"fallback_agent": "work"},
        },
        "shrugged": {"agent": "broken", "depends_on": ["seed"], "on_error": {"strategy": "skip"}},
        "join": {
            "agent": "work",
            "depends_on": ["left", "middle", "right", "again", "rescued", "shrugged"],
            "with": {
                "n": "{{ tasks.left.output + tasks.middle.output + tasks.right.output"
                " + tasks.again.output + tasks.rescued.output }}"
            },
        },
    },
    "outputs": {"total": "{{ tasks.join.output }}", "shrugged": "{{ tasks.shrugged.error.message }}"},
}
"""A fan: parallel agents, a retry that fails twice, a fallback, a tolerated failure, outputs."""

CHANGED_FAN: dict[str, Any] = {
    **FAN,
    "tasks": {**FAN["tasks"], "join": FAN["tasks"]["join"] | {"with": {"n": 1}}},
}
"""The fan with another end."""

STAGES: dict[str, Any] = {
    "name": "stages",
    "tasks": {
        "compile": {"command": command('echo \'{"objects": 3}\' > "$ACTORFLOW_OUTPUT"')},
        "lint": {"command": command(), "when": "{{ 1 > 2 }}"},
        "unit": {
            "command": ["/bin/sh", "-c", command("echo done"), "{{ tasks.compile.output.objects }}"],
            "depends_on": ["compile"],
        },
        "integration": {"command": command("sleep 0.01; echo fine")},
        "publish": {"agent": "work", "with": {"n": "{{ tasks.compile.output.objects }}"}},
    },
    "workflows": {
        "main": {
            "hooks": {
                "pre_workflow": [hook(), hook()],
                "on_stage_complete": [hook(), hook()],
                "on_error": [hook()],
                "post_workflow": [hook(), hook("exit 3")],
            },
            "steps": [
                {"stage": "build", "tasks": ["compile", "lint"]},
                {"stage": "test", "tasks": ["unit", "integration"]},
                {"stage": "release", "tasks": ["publish"]},
            ],
        }
    },
    "outputs": {
        "published": "{{ tasks.publish.output }}",
        "tests": ["{{ tasks.unit.output }}", "{{ tasks.integration.output }}"],
    },
}
"""Stages with barriers, hooks of all four kinds, commands, a `when` that is false."""

TWICE: dict[str, Any] = {
    "name": "twice",
    "tasks": {
        "prepare": {"agent": "work", "with": {"n": 1}},
        "fragile": {"agent": "mended", "depends_on": ["prepare"]},
        "slow": {"agent": "slow", "depends_on": ["prepare"]},
        "after": {"agent": "work", "depends_on": ["fragile", "slow"], "with": {"n": 5}},
    },
    "hooks": {"pre_workflow": [hook()], "on_error": [hook(), hook()], "post_workflow": [hook(), hook()]},
    "outputs": {"told": "{{ tasks.fragile.output }}, {{ tasks.slow.output }}"},
}
"""A run that fails, and whose next generation succeeds."""

RECOVERY: dict[str, Any] = {
    "name": "recovery",
    "tasks": {
        "asleep": {
            "agent": "shaky",
            "with": {"n": 3},
            "sleep": "15ms",
            "retry": {"max_attempts": 3, "delay": "5ms", "backoff": "constant", "jitter": "none"},
        },
        "saved": {
            "agent": "broken",
            "retry": {"max_attempts": 2, "delay": "5ms", "jitter": "none"},
            "on_error": {"fallback_value": {"n": 4, "why": "{{ error.message }}"}},
        },
        "big": {"agent": "wordy", "outputs": {"text": "{{ output }}", "by": "{{ task.id }}"}},
        "sums": {
            "agent": "work",
            "depends_on": ["big", "asleep", "saved"],
            "with": {"n": "{{ len(tasks.big.output.text) + tasks.asleep.output + tasks.saved.output.n }}"},
        },
        "handled": {
            "agent": "broken",
            "on_error": {
                "next": "handler",
                "with": {"n": "{{ error.attempt }}", "why": "{{ error.message }}"},
            },
        },
        "handler": {
            "agent": "work",
            "with": {"n": 0, "of": "{{ error.task }}"},
            "outputs": {"twice": "{{ output }}", "given": "{{ task.input }}"},
        },
        "below": {"agent": "work", "depends_on": ["handled"], "with": {"n": 1}},
        "late": {
            "agent": "mended",
            "depends_on": ["sums"],
            "on_error": {"strategy": "finish"},
            "on_success": {"next": "reached"},
        },
        "reached": {"agent": "work", "with": {"n": 6}},
        "clean": {
            "agent": "work",
            "depends_on": [{"task": "late", "on": "always"}, {"task": "handled", "on": "always"}],
            "with": {"n": 7},
            "priority": -1,
        },
    },
    "outputs": {"sum": "{{ tasks.sums.output }}", "given": "{{ tasks.handler.output.given }}"},
}
"""What follows failures: a sleep and retries, a fallback value, a handler, a clean-up, an output too large for its
event, and a failure that lets all else finish; in the next generation it is mended."""

GUARDED: dict[str, Any] = {
    "name": "guarded",
    "limits": {"retry_budget": 6, "deadline": "1h"},
    "tasks": {
        "flaky": {
            "agent": "shaky",
            "with": {"n": 1},
            "deadline": "1h",
            "retry": {"max_attempts": 3, "delay": "5ms", "backoff": "constant", "jitter": "none"},
        },
        "probed": {
            "agent": "shaky",
            "with": {"n": 2},
            "retry": {"max_attempts": 3, "delay": "5ms", "jitter": "equal"},
            "on_error": {
                "circuit_breaker": {"threshold": 2, "window": "1h", "cooldown": "30ms", "key": "bank"}
            },
        },
        "detour": {
            "agent": "broken",
            "depends_on": ["flaky", "probed"],
            "with": {"n": 3},
            "retry": {"max_attempts": 3, "delay": "5ms", "jitter": "none"},
            "on_error": {
                "fallback_agent": "work",
                "circuit_breaker": {"threshold": 1, "cooldown": "1h", "key": "mint"},
            },
        },
        "refused": {
            "agent": "broken",
            "depends_on": ["detour"],
            "with": {"n": 4},
            "on_error": {
                "fallback_agent": "work",
                "circuit_breaker": {"threshold": 1, "cooldown": "1h", "key": "mint"},
            },
        },
        "saved": {
            "agent": "broken",
            "depends_on": ["refused"],
            "retry": {"max_attempts": 3, "delay": "5ms", "jitter": "none"},
            "on_error": {"fallback_agent": "spare", "fallback_value": {"n": 5}},
        },
        "shrugged": {"agent": "broken", "depends_on": ["saved"], "on_error": {"strategy": "skip"}},
        "fatal": {"agent": "mended", "depends_on": ["shrugged"], "with": {"n": "{{ tasks.saved.output.n }}"}},
        "below": {"agent": "work", "depends_on": ["fatal"], "with": {"n": 6}},
    },
    "hooks": {"on_error": [hook()], "post_workflow": [hook()]},
}
"""What stands in the way of attempts: a breaker that opens and is closed by a probe, one that stays open, a budget of
six retries of which the last is spent in `saved`, deadlines that are far away; and a failure that becomes a dead letter,
which the next generation mends."""

DEADLY_HOOKS: dict[str, Any] = {
    "name": "deadly-hooks",
    "tasks": {
        "fine": {"agent": "work", "with": {"n": 1}},
        "fatal": {"agent": "broken", "depends_on": ["fine"]},
    },
    "hooks": {event: deadly_hooks(3) for event in ("pre_workflow", "on_error", "post_workflow")},
}
"""A failing run, any of whose blocking hooks can be told to kill its runner."""

DEADLY_DELIVERIES: dict[str, Any] = {
    "name": "deadly-deliveries",
    "tasks": {"one": {"agent": "work", "with": {"n": 1}}, "two": {"agent": "work", "with": {"n": 2}}},
    "workflows": {
        "main": {
            "hooks": {"on_stage_complete": deadly_hooks(2)},
            "steps": [{"stage": "first", "tasks": ["one"]}, {"stage": "second", "tasks": ["two"]}],
        }
    },
}
"""Two stages, the delivery of whose end can be told to kill its runner."""

_TREE = """if ! [ -e "$FOLDER/go" ]; then
  setsid sleep 600 &
  (trap "" TERM; sleep 600; sleep 600) &
  : > "$FOLDER/up-$ACTORFLOW_TASK"
  while ! [ -e "$FOLDER/go" ]; do sleep 0.1; done
fi"""

_WAITS = """if ! [ -e "$FOLDER/go" ]; then
  setsid sleep 600 &
  : > "$FOLDER/up-$ACTORFLOW_TASK"
  while ! [ -e "$FOLDER/go" ]; do sleep 0.02; done
fi"""

_TICKS = f"""echo "begin $ACTORFLOW_LOSS" >> "$FOLDER/ticks"
if ! [ -e "$FOLDER/go" ]; then
  setsid sh -c 'trap "" TERM; while :; do echo "tick $ACTORFLOW_LOSS" >> "$FOLDER/ticks"; sleep 0.02; done' &
fi
{_WAITS}"""


def _waiting(name: str, body: str) -> dict[str, Any]:
    return {
        "name": name,
        "tasks": {
            "early": {"agent": "work", "with": {"n": 1}},
            "waiting": {"command": command(body), "depends_on": ["early"]},
            "held": {"agent": "held", "depends_on": ["early"]},
            "after": {"agent": "work", "depends_on": ["waiting", "held"], "with": {"n": 2}},
        },
        "hooks": {"post_workflow": [hook()]},
    }


PATIENT = _waiting("patient", _WAITS)
"""A run that waits for a file `go`, in a command with a child in a session of its own, and in an agent."""

BESIEGED = _waiting("besieged", _TICKS)
"""The same with another child, which does not heed TERM, and tells all the time that it is there."""

FIFTY: dict[str, Any] = {
    "name": "fifty",
    "tasks": {f"t{number}": {"command": command(_TREE)} for number in range(50)},
    "hooks": {"post_workflow": [hook()]},
}
"""Fifty commands, each with a child in a session of its own and a grandchild that does not heed TERM."""


def _long() -> dict[str, Any]:
    tasks: dict[str, Any] = {}
    above: list[str] = []
    for layer in range(8):
        names = [f"t{layer}_{number}" for number in range(4)]
        agents = ["work", "threaded", "work", "shaky" if layer % 3 == 1 else "work"]
        for name, agent in zip(names, agents, strict=True):
            tasks[name] = {"agent": agent, "with": {"n": layer}, "depends_on": above}
            if agent == "shaky":
                tasks[name]["retry"] = {"max_attempts": 3, "delay": "2ms", "jitter": "full"}
        above = names
    tasks["told"] = {"command": command("echo told"), "depends_on": ["t2_0"]}
    stages = [
        {"stage": f"s{half}", "tasks": [f"t{i}_{n}" for i in (2 * half, 2 * half + 1) for n in range(4)]}
        for half in range(4)
    ]
    stages.append({"stage": "s4", "tasks": ["told"]})
    hooks = {"pre_workflow": [hook()], "on_stage_complete": [hook()], "post_workflow": [hook()]}
    return {
        "name": "long",
        "tasks": tasks,
        "workflows": {"main": {"hooks": hooks, "steps": stages}},
        "outputs": {"last": "{{ tasks.t7_3.output }}"},
    }


LONG = _long()
"""Thirty-odd tasks in layers and stages: a run of some tenths of a second, to be killed anywhere."""

DEFINITIONS = {"changed-fan": CHANGED_FAN} | {
    definition["name"]: definition
    for definition in (
        FAN,
        STAGES,
        TWICE,
        RECOVERY,
        GUARDED,
        DEADLY_HOOKS,
        DEADLY_DELIVERIES,
        PATIENT,
        BESIEGED,
        FIFTY,
        LONG,
    )
}

SPECS: dict[str, WorkflowSpec] = {
    name: load_dict(definition, trust="own") for name, definition in DEFINITIONS.items()
}
