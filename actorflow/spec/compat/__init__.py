"""The second document's spellings, rewritten into ours; nothing behind this package knows them.

Rewriting goes from nodes to nodes, which keep their places in the file, and knows that tool's keys by their shape: a key
that both have in the same shape is left alone. What says nothing to us is set aside with a warning (W101) for each key,
and a text that loses its meaning stays as it is written (W105).

| module | what it rewrites |
|---|---|
| `documents` | a document of one task; secrets, outputs and limits of the file |
| `agents` | keys that only an agent understands |
| `steps` | tasks that are written out in stages |
| `tasks` | tasks and subtasks, key by key |
| `performers`, `subflows` | who performs a task |
| `loops`, `conditions`, `edges` | repetition, and conditions with the edges that they need |
| `notices`, `retries`, `outputs` | what follows an attempt |
| `spellings` | variables in texts |

`names` chooses names that the file leaves unsaid, and `growth` bounds what subflows may add.
"""

from __future__ import annotations

from actorflow.spec.compat.agents import input_defaults, with_agents
from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.documents import (
    as_whole,
    with_limits,
    with_outputs,
    with_secrets,
    without_keys_aside,
)
from actorflow.spec.compat.names import AgentNames
from actorflow.spec.compat.outputs import results_of
from actorflow.spec.compat.places import File, Place
from actorflow.spec.compat.retries import with_paced_retry
from actorflow.spec.compat.steps import with_steps
from actorflow.spec.compat.subflows import with_subflow_agents
from actorflow.spec.compat.tasks import rewritten_tasks
from actorflow.spec.text.nodes import MapNode, Node
from actorflow.spec.text.report import Report

__all__ = ["rewrite"]


def rewrite(root: MapNode, report: Report) -> MapNode:
    """Give the same definition in our own words."""
    aside = SetAside()
    root = with_steps(with_secrets(as_whole(root)), aside, report)
    file = _file(root, report, aside)
    root = with_agents(with_subflow_agents(root), aside)
    root = with_outputs(with_limits(without_keys_aside(root, aside), aside), file.states, aside)
    tasks = root.get("tasks")
    changed = rewritten_tasks(tasks, Place(file=file, task="", siblings=frozenset()))
    if changed is not tasks:
        copy = root.without(())
        copy["tasks"] = changed
        root = copy
    defaults = root.get("defaults")
    if isinstance(defaults, MapNode) and (paced := with_paced_retry(defaults)) is not defaults:
        copy = root.without(())
        copy["defaults"] = paced
        root = copy
    aside.warn(report)
    return root


def _file(root: MapNode, report: Report, aside: SetAside) -> File:
    inputs, subflows, tasks = root.get("inputs"), root.get("subflows"), root.get("tasks")
    return File(
        report=report,
        aside=aside,
        inputs=inputs if isinstance(inputs, MapNode) else None,
        states=_states(tasks),
        results=results_of(tasks),
        agents=input_defaults(root),
        library=AgentNames(root),
        subflows={
            name: subflow
            for name, subflow in (subflows.items() if isinstance(subflows, MapNode) else ())
            if isinstance(subflow, MapNode)
        },
    )


def _states(tasks: Node) -> dict[str, str]:
    """By the key of a state: the first task whose loop collects its results there."""
    states: dict[str, str] = {}
    for name, task in tasks.items() if isinstance(tasks, MapNode) else ():
        control = task.get("loop_control") if isinstance(task, MapNode) else None
        key = control.get("result_key") if isinstance(control, MapNode) else None
        if isinstance(key, str):
            states.setdefault(key, name)
    return states
