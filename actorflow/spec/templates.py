"""The templates and conditions of a file: each compiles, and reads only what its reader can know.

A task may read the run's inputs, the run, itself, and the tasks upstream of it: those it depends on, directly or not,
and those of stages that have ended before its own begins.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from actorflow.errors import ExpressionError
from actorflow.expression import compile_template, condition
from actorflow.spec.dependencies import Graph
from actorflow.spec.draft import Draft, Site
from actorflow.spec.model import TaskId
from actorflow.spec.order import not_upstream

__all__ = ["check_templates"]

_ROOTS: Final = {
    "task": ("input", "tasks", "task", "workflow"),
    "notify": ("input", "tasks", "task", "workflow", "output"),
    "agent": ("input", "task", "workflow"),
    "outputs": ("input", "tasks", "workflow"),
}
_ROOTS_LATER: Final = frozenset({"item", "index", "signal", "error", "env", "secrets"})
_FIELDS: Final = {
    "tasks": ("output", "status", "error", "attempts"),
    "task": ("id", "type", "status", "attempt", "error", "input"),
    "workflow": ("name", "version", "run_id", "status", "error", "stage"),
}
_FIELDS_LATER: Final = {"task": frozenset({"duration_ms"})}


@frozen
class _Reading:
    """A template of a task that reads another task."""

    site: Site
    path: tuple[str, ...]
    target: TaskId


def check_templates(draft: Draft, graph: Graph | None, run: set[TaskId]) -> None:
    """Report every template that does not compile or reads what it may not; `run` holds the tasks of the run."""
    readings: list[_Reading] = []
    for site in draft.sites:
        for path in _paths(draft, site):
            target = _check_path(draft, site, path, run)
            if target is not None:
                readings.append(_Reading(site, path, target))
    if graph is not None:
        _check_upstream(draft, graph, readings)


def _paths(draft: Draft, site: Site) -> tuple[tuple[str, ...], ...]:
    try:
        compiled = condition(site.text) if site.is_condition else compile_template(site.text)
    except ExpressionError as error:
        mark = draft.report.within(site.mark, site.text, error.column)
        draft.report.add("E300", mark, f"{site.path}: {error.message}")
        return ()
    return tuple(compiled.paths)


def _check_path(draft: Draft, site: Site, path: tuple[str, ...], run: set[TaskId]) -> TaskId | None:
    """Check what can be checked of a path alone; gives the task whose being upstream is still to be checked."""
    root, kind = path[0], site.scope.kind
    if root in _ROOTS_LATER:
        _fault(draft, site, path, "E190", f"{root!r} in expressions is not supported yet")
    elif root not in _ROOTS[kind]:
        _fault(draft, site, path, "E301", *_unknown_root(draft, root, kind))
    elif root == "input":
        if len(path) > 1 and draft.inputs is not None and path[1] not in draft.inputs:
            known = draft.report.choices(path[1], draft.inputs) if draft.inputs else "inputs: declares none"
            _fault(draft, site, path, "E303", f"there is no input {path[1]!r}", known)
    elif root == "tasks":
        return _check_task(draft, site, path, run)
    elif root in _FIELDS and len(path) > 1:
        _check_field(draft, site, path, root, path[1])
    return None


def _unknown_root(draft: Draft, root: str, kind: str) -> tuple[str, str]:
    if root == "tasks":
        return (
            "an agent serves any task, so its templates cannot read tasks",
            "pass the value through the task's with:",
        )
    if root == "output":
        return "'output' is known in notify: only", "elsewhere it is tasks.<id>.output"
    if root == "task":
        return "'task' is known inside a task only", "elsewhere it is tasks.<id>"
    known = _ROOTS[kind]
    nearest = draft.report.nearest(root, known)
    return f"unknown name {root!r}", nearest or f"known here: {', '.join(known)}"


def _check_task(draft: Draft, site: Site, path: tuple[str, ...], run: set[TaskId]) -> TaskId | None:
    if len(path) == 1:
        _fault(draft, site, path, "E302", "which task is read must be written out", "write tasks.<id>.output")
        return None
    target = path[1]
    if target not in draft.tasks:
        known = [*draft.tasks, *_FIELDS["task"]] if f"task.{target}" in site.text else draft.tasks
        _fault(draft, site, path, "E302", f"unknown task {target!r}", draft.report.nearest(target, known))
        return None
    if len(path) > 2:
        _check_field(draft, site, path, "tasks", path[2])
    if site.scope.kind == "outputs":
        if target not in run:
            _fault(draft, site, path, "E302", f"{target!r} is not part of the run: no stage leads to it")
        return None
    if target != site.scope.task:
        return target
    if site.scope.kind != "notify":
        _fault(draft, site, path, "E302", f"{target!r} cannot read its own result")
    return None


def _check_field(draft: Draft, site: Site, path: tuple[str, ...], root: str, name: str) -> None:
    if name in _FIELDS_LATER.get(root, ()):
        _fault(draft, site, path, "E190", f"{root}.{name} is not supported yet")
    elif name not in _FIELDS[root]:
        shown = ".".join(path[: path.index(name, 1) + 1])
        _fault(draft, site, path, "E301", f"there is no {shown}", draft.report.choices(name, _FIELDS[root]))


def _check_upstream(draft: Draft, graph: Graph, readings: list[_Reading]) -> None:
    pairs = {(graph.number[one.site.scope.task], graph.number[one.target]) for one in readings}
    missing = not_upstream(graph.before, graph.order, pairs)
    if not missing:
        return
    turned = {(target, reader) for reader, target in missing}
    downstream = turned - not_upstream(graph.before, graph.order, turned)
    for one in readings:
        reader, target = graph.number[one.site.scope.task], graph.number[one.target]
        if (target, reader) in downstream:
            message = f"{one.target!r} comes after {one.site.scope.task!r}, which cannot read its result"
            _fault(draft, one.site, one.path, "E302", message)
        elif (reader, target) in missing:
            message = f"{one.target!r} need not have ended before {one.site.scope.task!r} starts"
            _fault(draft, one.site, one.path, "E302", message, f"add it to depends_on: [{one.target}]")


def _fault(  # noqa: PLR0917 - a report is its facts in a row
    draft: Draft, site: Site, path: tuple[str, ...], code: str, message: str, hint: str = ""
) -> None:
    offset = max(site.text.find(".".join(path[:2])), 0) or max(site.text.find(path[0]), 0)
    mark = draft.report.within(site.mark, site.text, offset + 1)
    draft.report.add(code, mark, f"{site.path}: {message}", hint)
