"""The file as a whole: a document that is one task, its secrets and its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.outputs import declared_source
from actorflow.spec.compat.trees import each, laid_over, listing, mark_of, taken
from actorflow.spec.compat.words import LIMITS_ASIDE, WORKFLOW_ASIDE
from actorflow.spec.readers.words import TASK, TASK_KEYS
from actorflow.spec.text.nodes import BROKEN, Broken, MapNode, Node

__all__ = ["as_whole", "with_limits", "with_outputs", "with_secrets", "without_keys_aside"]

_OF_THE_WORKFLOW: Final = frozenset(
    {
        "name",
        "version",
        "inputs",
        "outputs",
        "limits",
        "agents",
        "hooks",
        "workflows",
    }
)
_SECRETS: Final = {"env": ("var", "env"), "file": ("path", "file")}


def as_whole(root: MapNode) -> MapNode:
    """A document with an `id` and a `type` or `action`, and no `tasks`, as a workflow of that one task.

    Task keys go to the task, the others stay: an `env` that is a mapping is the task's, and one that is a list of names the
    workflow's. The workflow is called by the task's id. Where an agent performs the task, its output may say that it is
    an error, as that document's tasks do.
    """
    if "id" not in root or "tasks" in root or ("type" not in root and "action" not in root):
        return root
    name = root["id"]
    moved = [key for key in root if key in TASK.words and key not in _OF_THE_WORKFLOW]
    if not isinstance(root.get("env", BROKEN), MapNode | Broken):
        moved.remove("env")
    if root.get("type") == "aggregate" and "outputs" in root:
        moved.append("outputs")
    task = taken(root, {key: key for key in moved})
    if "soft_errors" not in task and _may_be_soft(task.get("type", "basic")):
        task.put("soft_errors", root.mark, value=True, mark=root.mark)
    whole = root.without(moved)
    if "name" not in whole and isinstance(name, str):
        whole.put("name", root.key_marks.get("id", root.mark), name, mark_of(root, "id"))
    return whole.with_entry("tasks", listing(root.mark, [task]), root.mark)


def _may_be_soft(kind: Node) -> bool:
    return any("soft_errors" in keys for name, keys in TASK_KEYS.items() if name == kind)


def without_keys_aside(root: MapNode, aside: SetAside) -> MapNode:
    """The definition without the keys that say nothing to us."""
    return aside.strip(root, WORKFLOW_ASIDE)


def with_limits(root: MapNode, aside: SetAside) -> MapNode:
    """The definition with our limits alone: how much of an output is kept is not for the file to say."""
    limits = root.get("limits")
    if not isinstance(limits, MapNode):
        return root
    kept = aside.strip(limits, LIMITS_ASIDE)
    if kept is limits:
        return root
    return laid_over(root, {"limits": kept}, limits.mark) if kept else root.without(("limits",))


def with_secrets(root: MapNode) -> MapNode:
    """The definition with `{source: {type: env, var: X}}` written as `{env: X}`, and files likewise."""
    return each(root, "secrets", _secret)


def _secret(secret: MapNode) -> MapNode:
    source = secret.get("source")
    if not isinstance(source, MapNode):
        return secret
    kind = source.get("type")
    if not isinstance(kind, str) or kind not in _SECRETS:
        return source.without(("type",))  # `value: …` is a secret in the file: the loader refuses it
    return taken(source, dict([_SECRETS[kind]]))


def with_outputs(root: MapNode, states: Mapping[str, str], aside: SetAside) -> MapNode:
    """The definition with its `{source: …}` outputs as templates; those that nothing here gives are set aside."""
    outputs = root.get("outputs")
    if not isinstance(outputs, MapNode) or not any(declared_source(value) for value in outputs.values()):
        return root
    made = MapNode(outputs.mark)
    for name, value in outputs.items():
        source = declared_source(value)
        read = None if source is None else _READERS.get(str(source.get("type")))
        text = value if source is None else read(source, states) if read is not None else None
        if text is None:
            aside.note(
                "outputs", outputs.key_marks.get(name, outputs.mark), "files and states are no outputs here"
            )
        else:
            made.put(name, outputs.key_marks.get(name, outputs.mark), text, mark_of(outputs, name))
    return laid_over(root, {"outputs": made}, outputs.mark) if made else root.without(("outputs",))


def _of_task(source: MapNode, _states: Mapping[str, str]) -> Node:
    task = source.get("task")
    return "{{ tasks." + task + ".output }}" if isinstance(task, str) else None


def _of_state(source: MapNode, states: Mapping[str, str]) -> Node:
    task = states.get(str(source.get("key")))
    return None if task is None else "{{ tasks." + task + ".output }}"


_READERS: Final[Mapping[str, Callable[[MapNode, Mapping[str, str]], Node]]] = {
    "task_output": _of_task,
    "state": _of_state,
}
