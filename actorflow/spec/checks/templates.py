"""The templates and conditions of a file: each compiles, and reads only what its reader can know.

A task may read the run's inputs, the run, itself, and the tasks upstream of it: those it depends on, directly or not,
and those of stages that have ended before its own begins. What is inside a container may read what its container may.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias, final

from attrs import frozen

from actorflow.errors import ExpressionError
from actorflow.expression import SecretName, compile_template, condition
from actorflow.spec.checks.apart import is_apart, why_apart
from actorflow.spec.model import TaskId
from actorflow.spec.order import not_upstream
from actorflow.spec.readers.draft import Draft, Graph, Level, Scope, Site
from actorflow.spec.readers.paths import how_allowed, how_listed

__all__ = ["check_templates"]

_Path: TypeAlias = tuple[str, ...]

_ROOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "task": ("input", "tasks", "task", "workflow", "env"),
    "after": ("input", "tasks", "task", "output", "workflow", "env"),
    "agent": ("input", "task", "workflow", "env"),
    "hook": ("input", "tasks", "workflow", "error", "env"),
    "outputs": ("input", "tasks", "workflow", "env"),
}
"""What each kind of reader knows; `names` of its scope and level come to it."""

_FIELDS: Final = {
    "tasks": ("output", "status", "error", "attempts"),
    "task": ("id", "type", "status", "attempt", "error", "duration_ms", "input"),
    "workflow": ("name", "version", "run_id", "status", "error", "stage"),
    "error": ("type", "message", "attempt", "task"),
}
_ELSEWHERE: Final[Mapping[str, tuple[str, str]]] = {
    "tasks": (
        "an agent serves any task, so its templates cannot read tasks",
        "pass the value through the task's with:",
    ),
    "task": ("'task' is known inside a task and in hooks on its events only", "elsewhere it is tasks.<id>"),
    "output": (
        "'output' is known when its task has ended: in outputs, notify, on_success and hooks",
        "elsewhere it is tasks.<id>.output",
    ),
    "error": (
        "'error' is known in hooks, and in a task that handles a failure: the next of an on_error, or on: failure",
        "elsewhere it is tasks.<id>.error",
    ),
    "item": ("'item' is known inside a collection only", ""),
    "index": ("'index' is known inside a collection or loop only", ""),
    "signal": ("'signal' is known in the condition of a wait, and in hooks on signal_received", ""),
    "vars": ("'vars' is known in a list of hooks with a transform only", ""),
}
"""Why a name of ours is not known to some reader, and what to do."""

_OPENING: Final = re.compile(r"\{\{|\$\{")
_SECRET: Final = re.compile(r"\$\{[A-Z_]|secrets\b|\{\{\s*secrets\b")


@frozen
class _Reading:
    """A template that reads a task of a level, and who of that level asks."""

    site: Site
    path: _Path
    level: Level
    asks: TaskId
    target: TaskId


def check_templates(draft: Draft, run: set[TaskId]) -> None:
    """Report every template of the draft's sites that does not compile or reads what it may not.

    Args:
        draft: its levels have their graphs, where they have an order.
        run: the file's tasks that the run will have.
    """
    check = _Check(draft, run)
    for site in draft.sites:
        check.site(site)
    _check_upstream(draft, check.readings)


@final
class _Check:
    """One pass over templates; gathers what is to be looked up in the order of tasks."""

    def __init__(self, draft: Draft, run: set[TaskId]) -> None:
        self._draft = draft
        self._run = run
        self._handlers: dict[Level, set[TaskId]] = {}
        self._containers = {task: level.owner for level in reversed(draft.inner) for task in level.tasks}
        self.readings: list[_Reading] = []

    def site(self, site: Site) -> None:
        try:
            paths, secrets = _reads(site.text, is_condition=site.is_condition, secrets=site.scope.secrets)
        except ExpressionError as error:
            mark = self._draft.report.within(site.mark, site.text, error.column)
            code = "E305" if _SECRET.match(site.text, error.column - 1) else "E300"
            is_journalled = code == "E305" and site.scope.kind == "hook" and not site.scope.secrets
            hint = (
                "what a transform or dispatch_task gives is journalled, and so never a secret"
                if is_journalled
                else ""
            )
            self._draft.report.add(code, mark, f"{site.path}: {error.message}", hint)
            return
        for path in paths:
            self._path(site, path)
        for name in secrets:
            self._secret(site, name)

    def _path(self, site: Site, path: _Path) -> None:
        root = path[0]
        known = self._known_to(site.scope)
        if root not in known:
            _fault(self._draft, site, path, "E301", *self._unknown(root, known))
        elif root == "tasks":
            self._task(site, path)
        elif len(path) == 1:
            return
        elif root == "input":
            self._declared(site, path, self._draft.inputs, "E303", "input", "inputs")
        elif root == "env":
            self._declared(site, path, self._draft.env, "E306", "variable", "env")
        elif root in _FIELDS:
            self._field(site, path, root, path[1])

    def _known_to(self, scope: Scope) -> tuple[str, ...]:
        known = (*_ROOTS[scope.kind], *scope.names, *scope.level.names)
        return (
            (*known, "error") if scope.kind in {"task", "after"} and self._handles_failure(scope) else known
        )

    def _handles_failure(self, scope: Scope) -> bool:
        """Whether the task, or a container around it, is there for the failure of another."""
        level: Level | None = scope.level
        task = scope.task
        while level is not None:
            if task in self._handlers_of(level):
                return True
            task, level = level.owner, level.around
        return False

    def _handlers_of(self, level: Level) -> set[TaskId]:
        if level not in self._handlers:
            tasks = level.tasks.values()
            nexts = {task.on_error.next.next for task in tasks if task.on_error.next is not None}
            self._handlers[level] = nexts | {task.id for task in tasks if task.on_failure_of}
        return self._handlers[level]

    def _unknown(self, root: str, known: tuple[str, ...]) -> tuple[str, str]:
        if root in _ELSEWHERE:
            return _ELSEWHERE[root]
        return f"unknown name {root!r}", self._draft.report.nearest(
            root, known
        ) or f"known here: {', '.join(known)}"

    def _declared(  # noqa: PLR0917 - a row of facts for one message
        self, site: Site, path: _Path, declared: Iterable[str] | None, code: str, what: str, key: str
    ) -> None:
        if declared is None or path[1] in declared:
            return
        names = list(declared)
        hint = self._draft.report.choices(path[1], names) if names else f"{key}: declares none"
        _fault(self._draft, site, path, code, f"there is no {what} {path[1]!r}", hint)

    def _field(self, site: Site, path: _Path, root: str, name: str) -> None:
        if root == "task" and name == "duration_ms" and site.scope.kind in {"task", "agent"}:
            message = "'task.duration_ms' is known when the task has ended: in outputs, notify, on_success and hooks"
            _fault(self._draft, site, path, "E301", message)
        elif name not in _FIELDS[root]:
            shown = ".".join(path[: path.index(name, 1) + 1])
            hint = self._draft.report.choices(name, _FIELDS[root])
            _fault(self._draft, site, path, "E301", f"there is no {shown}", hint)

    def _task(self, site: Site, path: _Path) -> None:
        """Check all of a path to a task but whether that task comes before its reader."""
        draft, scope = self._draft, site.scope
        if len(path) == 1:
            _fault(
                draft, site, path, "E302", "which task is read must be written out", "write tasks.<id>.output"
            )
            return
        target = path[1]
        found = scope.level.level_of(target)
        if found is None:
            if not scope.level.misses(target):
                _fault(draft, site, path, "E302", *self._unknown_task(site, target))
            return
        if len(path) > 2:
            self._field(site, path, "tasks", path[2])
        level, container = found
        asks = scope.task if container is None else container
        if not asks:
            if level is draft.top and level.graph is not None and target not in self._run:
                _fault(draft, site, path, "E302", f"{target!r} is not part of the run: no stage leads to it")
        elif target != asks:
            self.readings.append(_Reading(site, path, level, asks, target))
        elif container is not None:
            _fault(draft, site, path, "E302", f"{target!r} has no result while what is inside it runs")
        elif scope.kind not in {"after", "hook"}:
            _fault(draft, site, path, "E302", f"{target!r} cannot read its own result")

    def _unknown_task(self, site: Site, target: TaskId) -> tuple[str, str]:
        level = site.scope.level
        if is_apart(self._draft, target):
            return why_apart(self._draft, target)
        inside = self._containers.get(target)
        if inside is not None and level.level_of(inside) is not None:
            message = f"{target!r} is inside of the container {inside!r}, and read from there only"
            return message, f"read tasks.{inside}.output"
        fact = self._draft.report.close(target, _FIELDS["task"]) if f"task.{target}" in site.text else ""
        if fact and not self._draft.report.close(target, level.tasks):
            return f"there is no task.{target}", f"did you mean 'task.{fact}'?"
        return f"unknown task {target!r}", self._draft.report.nearest(target, level.tasks)

    def _secret(self, site: Site, secret: SecretName) -> None:
        draft = self._draft
        path = ("secrets", secret.name) if secret.kind == "secret" else (str(secret),)
        if draft.trust == "data":
            if secret.kind == "env" and draft.may_name(secret.name):
                return
            code, what = ("E204", "the environment is") if secret.kind == "env" else ("E205", "secrets are")
            message = f"{secret}: {what} refused in a definition that is data: only a file of your own may name them"
            _fault(draft, site, path, code, message, how_allowed(code, secret.name))
        elif secret.kind == "env":
            if not draft.may_name(secret.name):
                _fault(draft, site, path, "E204", *how_listed(secret.name))
        elif secret.name not in draft.secrets:
            self._declared(site, path, draft.secrets, "E306", "secret", "secrets")


@lru_cache(maxsize=1024)  # the same few texts stand in many tasks
def _reads(
    text: str, *, is_condition: bool, secrets: bool
) -> tuple[tuple[_Path, ...], tuple[SecretName, ...]]:
    if is_condition:
        return condition(text).paths, ()
    compiled = compile_template(text, secrets=secrets)
    return compiled.paths, compiled.secret_names


def _check_upstream(draft: Draft, readings: list[_Reading]) -> None:
    by_level: dict[Level, list[_Reading]] = {}
    for one in readings:
        by_level.setdefault(one.level, []).append(one)
    for level, found in by_level.items():
        if level.graph is not None:
            _check_upstream_in(draft, level.graph, found)


def _check_upstream_in(draft: Draft, graph: Graph, readings: list[_Reading]) -> None:
    pairs = {(graph.number[one.asks], graph.number[one.target]) for one in readings}
    missing = not_upstream(graph.before, graph.order, pairs)
    if not missing:
        return
    turned = {(target, reader) for reader, target in missing}
    downstream = turned - not_upstream(graph.before, graph.order, turned)
    for one in readings:
        reader, target = graph.number[one.asks], graph.number[one.target]
        if (target, reader) in downstream:
            message = f"{one.target!r} comes after {one.asks!r}, which cannot read its result"
            _fault(draft, one.site, one.path, "E302", message)
        elif (reader, target) in missing:
            message = f"{one.target!r} need not have ended before {one.asks!r} starts"
            hint = f"add it to depends_on: [{one.target}]"
            _fault(draft, one.site, one.path, "E302", message, hint)


def _fault(  # noqa: PLR0917 - a report is its facts in a row
    draft: Draft, site: Site, path: _Path, code: str, message: str, hint: str = ""
) -> None:
    opening = _OPENING.search(site.text)
    begin = opening.start() if opening and not site.is_condition else 0
    offsets = (site.text.find(".".join(path[:2]), begin), site.text.find(path[0], begin), 0)
    offset = next(each for each in offsets if each >= 0)
    mark = draft.report.within(site.mark, site.text, offset + 1)
    draft.report.add(code, mark, f"{site.path}: {message}", hint)
