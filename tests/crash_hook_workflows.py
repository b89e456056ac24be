"""The workflows whose hooks are killed: waited for and not, on the run, on stages, on tasks; that fail, start a run, send batches."""

from __future__ import annotations

from typing import Any

import aiohttp  # noqa: F401 - imported for the fork server: whoever sends batches needs it
from attrs import frozen
from crash_workflows import append, deadly_hooks, hook

from actorflow import WorkflowSpec, load_dict
from actorflow.core.hook_context import HookContext
from actorflow.hooks import HookRegistry

REGISTRY = HookRegistry()
"""The actions of lives."""


@frozen
class NoParams:
    """Nothing."""


@REGISTRY.hook_action("hopeless", params=NoParams)
async def hopeless(context: HookContext, params: NoParams) -> None:
    """Never succeed; where the ledger has the attempt of a task, it has the number of the try."""
    append(f"start {context.delivery_id} {context.number} 0\n")
    raise ConnectionError("nobody is there")


def _waited_for(body: str = "") -> dict[str, Any]:
    return {"command": hook(body), "mode": "blocking"}


def _told(body: str = "", **more: Any) -> dict[str, Any]:
    return {"command": hook(body), "mode": "async", **more}


_HOPELESS: dict[str, Any] = {
    "type": "hopeless",
    "ordered": False,
    "retry": {"max_attempts": 3, "delay": "4ms", "backoff": "constant", "jitter": "none"},
}

_STEPS = [{"stage": "build", "tasks": ["first"]}, {"stage": "test", "tasks": ["second"]}]

HOOKED: dict[str, Any] = {
    "name": "hooked",
    "tasks": {
        "first": {
            "agent": "work",
            "with": {"n": 1},
            "hooks": {
                "task_finished": [
                    {"type": "dispatch_task", "params": {"task_id": "child", "input": {"n": "{{ output }}"}}}
                ]
            },
        },
        "second": {"agent": "mended"},
        "child": {"agent": "threaded", "with": {"n": "{{ input.n }}"}},
    },
    "workflows": {
        "main": {
            "hooks": {
                "pre_workflow": [hook(), _told()],
                "task_started": [_waited_for()],
                "task_finished": [
                    _waited_for(),
                    _told(),
                    _told("exit 3", ordered=False),
                    _HOPELESS,
                    {"type": "log", "params": {"message": "{{ task.id }} {{ task.status }}"}},
                ],
                "on_stage_complete": [_waited_for(), _told()],
                "on_error": [hook()],
                "post_workflow": [hook(), _told(when="workflow.status == 'success'")],
                "workflow_finished": [_told()],
            },
            "steps": _STEPS,
        }
    },
}
"""Two stages, of which the second fails, and succeeds in the next generation; a run that a hook starts."""

DEADLY_LISTS: dict[str, Any] = {
    "name": "deadly-lists",
    "tasks": {"first": {"agent": "work", "with": {"n": 1}}, "second": {"agent": "work", "with": {"n": 2}}},
    "workflows": {
        "main": {
            "hooks": {
                event: [{"command": command, "mode": "blocking"} for command in deadly_hooks(2)]
                for event in ("task_started", "task_finished", "on_stage_complete")
            },
            "steps": _STEPS,
        }
    },
}
"""Two stages, any of whose blocking hooks can be told to kill its runner."""


def _dispatching(target: str, *more: dict[str, Any]) -> dict[str, Any]:
    dispatch = {"type": "dispatch_task", "params": {"task_id": target, "input": {"n": 1}}}
    return {"task_finished": [dispatch, _waited_for(), *more]}


ORPHANED: dict[str, Any] = {
    "name": "orphaned",
    "tasks": {
        "first": {"agent": "work", "with": {"n": 1}, "hooks": _dispatching("child")},
        "child": {"agent": "held"},
    },
}
"""A run whose hook starts one that waits for a file `go`."""

FAMILY: dict[str, Any] = {
    "name": "family",
    "tasks": {
        "first": {"agent": "work", "with": {"n": 1}, "hooks": _dispatching("child")},
        "child": {"agent": "work", "hooks": _dispatching("grandchild", _told())},
        "grandchild": {"agent": "held"},
    },
}
"""The same, one generation of runs further down."""

RETRIED: dict[str, Any] = {
    "name": "retried",
    "tasks": {"first": {"agent": "work", "with": {"n": 1}}},
    "hooks": {
        "task_finished": [_waited_for(), {**_HOPELESS, "retry": {**_HOPELESS["retry"], "delay": "300ms"}}]
    },
}
"""A hook whose tries are so far apart that each is kept before the next."""

SINK: str = "SINK"
"""The variable with the URL that batches are sent to."""

BATCHED: dict[str, Any] = {
    "name": "batched",
    "tasks": {f"t{n}": {"agent": "work", "with": {"n": n}} for n in range(7)},
    "hooks": {
        "task_finished": [
            _waited_for(),
            {
                "type": "webhook",
                "batch": {"max": 3, "window": "4ms"},
                "retry": {"max_attempts": 9, "delay": "2ms", "backoff": "constant", "jitter": "none"},
                "params": {"url": f"${{{SINK}}}", "body": {"task": "{{ task.id }}"}},
            },
        ]
    },
}
"""Seven events for a hook that sends them by three at most."""

HOOKED_SPECS: dict[str, WorkflowSpec] = {
    definition["name"]: load_dict(definition, trust="own", actions=REGISTRY.contracts)
    for definition in (HOOKED, DEADLY_LISTS, ORPHANED, FAMILY, RETRIED, BATCHED)
}
