"""What a workflow needs of the world around it: hosts, variables, programs, agents, files.

It is read from the definition alone, for people to look at before a run: a name behind a template is shown as it is
written, and what a program or an agent needs in turn nobody can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from actorflow.errors import ExpressionError
from actorflow.expression import compile_template
from actorflow.spec.model import (
    AgentSpec,
    CollectionSpec,
    CommandRunner,
    CompositeSpec,
    FileItems,
    HookSpec,
    HttpRunner,
    Language,
    PythonRunner,
    Runner,
    ScriptRunner,
    TaskSpec,
    WorkflowSpec,
    every_task,
    shell_item,
)
from actorflow.spec.readers.words import HOOK_ACTIONS
from actorflow.spec.shell_words import programs_of

__all__ = ["Needs", "Target", "host_of", "needs", "own_actions", "targets"]

# Python scripts are run by the Python that runs us: that one is there.
_INTERPRETERS: Final[Mapping[Language, str]] = {
    "bash": "bash",
    "javascript": "node",
    "ruby": "ruby",
    "perl": "perl",
}
_TEMPLATE: Final = r"\{\{[^}]*\}\}|\$\{[^}]*\}"
_HOST: Final = re.compile(rf"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:{_TEMPLATE}|[^/?#\s])*")


@frozen
class Needs:
    """What there must be for a run to succeed; each name once."""

    hosts: tuple[str, ...]  #: `scheme://host`, or the template that gives it
    environment: tuple[str, ...]  #: variables of the process
    programs: tuple[str, ...]
    agents: tuple[str, ...]  #: every agent that a task names, a fallback or a dispatch included
    unbound_agents: tuple[str, ...]  #: those of them for which the file has no runner
    files: tuple[str, ...]  #: as they are written: relative to the workflow's folder


@frozen
class Target:
    """Where a request goes."""

    url: str  #: as it is written
    is_of_agent: bool  #: an HTTP agent asks; else a hook or a notice does


def needs(spec: WorkflowSpec) -> Needs:
    """What a run of the workflow needs; where one of several entries is still to be chosen, what any of them does."""
    tasks = _tasks(spec)
    hooks = tuple(_hooks(spec, tasks))
    names = _agents(tasks, hooks)
    agents = [spec.agents[name] for name in names if name in spec.agents]
    runners = _runners(agents, tasks)
    return Needs(
        hosts=_once(host_of(target.url) for target in _targets(runners, tasks, hooks)),
        environment=_once(_variables(spec, agents, tasks, runners, hooks)),
        programs=_once(_programs(runners, hooks)),
        agents=names,
        unbound_agents=tuple(
            name for name in names if name not in spec.agents or spec.agents[name].runner is None
        ),
        files=_once(_files(spec, tasks, runners, hooks)),
    )


def targets(spec: WorkflowSpec) -> tuple[Target, ...]:
    """Where requests of the workflow go, those of its agents first."""
    tasks = _tasks(spec)
    hooks = tuple(_hooks(spec, tasks))
    agents = [spec.agents[name] for name in _agents(tasks, hooks) if name in spec.agents]
    return tuple(_targets(_runners(agents, tasks), tasks, hooks))


def host_of(url: str) -> str:
    """Scheme and host of a URL with templates in it: what stands before its path."""
    found = _HOST.match(url)
    return found[0] if found is not None else url


def own_actions(spec: WorkflowSpec) -> tuple[str, ...]:
    """The actions of hooks that are none of the format's, and that a program must have registered."""
    return _once(hook.action for hook in _hooks(spec, _tasks(spec)) if hook.action not in HOOK_ACTIONS)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _tasks(spec: WorkflowSpec) -> tuple[TaskSpec, ...]:
    """All tasks at all depths, those that hooks start included; entries share those of their file."""
    shared = {task.id: task for task in (*spec.tasks, *spec.dispatched)}
    for entry in spec.entries:
        shared |= {task.id: task for task in entry.tasks}
    return every_task(tuple(shared.values()))


def _hooks(spec: WorkflowSpec, tasks: tuple[TaskSpec, ...]) -> Iterator[HookSpec]:
    holders = [
        spec.hooks,
        spec.default_hooks,
        *(entry.hooks for entry in spec.entries),
        *(task.hooks for task in tasks),
    ]
    for holder in holders:
        for hooks in holder.lists.values():
            yield from hooks


def _agents(tasks: tuple[TaskSpec, ...], hooks: tuple[HookSpec, ...]) -> tuple[str, ...]:
    names: list[str] = []
    for task in tasks:
        performs = task.agent is not None or task.runner is not None
        names += task.agents[0 if task.runner is None else 1 :] if performs else ()
    ids = {task.id for task in tasks}
    dispatched = (str(hook.params.get("task_id", "")) for hook in hooks if hook.action == "dispatch_task")
    return _once([*names, *(name for name in dispatched if name not in ids)])


def _runners(agents: list[AgentSpec], tasks: tuple[TaskSpec, ...]) -> list[Runner]:
    return [
        *(agent.runner for agent in agents if agent.runner is not None),
        *(task.runner for task in tasks if task.runner is not None),
    ]


def _targets(
    runners: list[Runner], tasks: tuple[TaskSpec, ...], hooks: tuple[HookSpec, ...]
) -> Iterator[Target]:
    yield from (Target(runner.url, is_of_agent=True) for runner in runners if isinstance(runner, HttpRunner))
    yield from (Target(url, is_of_agent=False) for url in _told(tasks, hooks, "url"))


def _told(tasks: tuple[TaskSpec, ...], hooks: tuple[HookSpec, ...], key: str) -> Iterator[str]:
    """Where notices and webhooks go: by `url` to a host, by `path` into a file."""
    senders = [task.notice for task in tasks]
    senders += [hook.params for hook in hooks if hook.action in {"webhook", "notify"}]
    for sender in senders:
        for holder in (sender, *sender.get("channels", ())):
            if key in holder:
                yield holder[key]


def _variables(
    spec: WorkflowSpec,
    agents: list[AgentSpec],
    tasks: tuple[TaskSpec, ...],
    runners: list[Runner],
    hooks: tuple[HookSpec, ...],
) -> Iterator[str]:
    yield from spec.env
    yield from (secret.env for secret in spec.secrets.values() if secret.env is not None)
    for value in (
        *(agent.env for agent in agents),
        *(part for task in tasks for part in (task.env, task.notice)),
        *(part for runner in runners for part in _templated(runner)),
        *(part for hook in hooks for part in (hook.env, hook.params, *_argv(hook.command))),
    ):
        yield from (name for name in _secret_names(value) if name not in spec.secrets)


def _secret_names(value: Any) -> Iterator[str]:
    """The names in `${NAME}`; what does not compile the loader has refused, or leaves to others."""
    try:
        template = compile_template(value, secrets=True)
    except ExpressionError:
        return
    yield from (secret.name for secret in template.secret_names if secret.kind == "env")


def _templated(runner: Runner) -> Iterator[Any]:
    """What may hold templates; a shell's text and a script are opaque."""
    match runner:
        case HttpRunner():
            auth = dict(runner.auth.values) if runner.auth is not None else None
            yield from (runner.url, runner.headers, runner.query, runner.body, runner.json, auth)
        case CommandRunner():
            yield from _argv(runner.command)
        case ScriptRunner():
            yield from runner.args
        case PythonRunner():
            pass


def _argv(command: str | tuple[str, ...]) -> Iterator[str]:
    """The items of an argv that are templates."""
    if not isinstance(command, str):
        opaque = shell_item(command)
        yield from (item for index, item in enumerate(command) if index != opaque)


def _programs(runners: list[Runner], hooks: tuple[HookSpec, ...]) -> Iterator[str]:
    for runner in runners:
        if isinstance(runner, CommandRunner):
            yield from _programs_of(runner.command)
        elif isinstance(runner, ScriptRunner) and runner.language in _INTERPRETERS:
            yield _INTERPRETERS[runner.language]
            if runner.language == "bash" and runner.text is not None:
                yield from programs_of(runner.text)
    for hook in hooks:
        if hook.action == "command":
            yield from _programs_of(hook.command)


def _programs_of(command: str | tuple[str, ...]) -> Iterator[str]:
    if isinstance(command, str):
        yield from programs_of(command)
        return
    yield from command[:1]
    opaque = shell_item(command)
    if opaque is not None:
        yield from programs_of(command[opaque])


def _files(
    spec: WorkflowSpec, tasks: tuple[TaskSpec, ...], runners: list[Runner], hooks: tuple[HookSpec, ...]
) -> Iterator[str]:
    yield from (secret.file for secret in spec.secrets.values() if secret.file is not None)
    yield from (runner.file for runner in runners if isinstance(runner, ScriptRunner) and runner.file)
    yield from _told(tasks, hooks, "path")
    for task in tasks:
        match task.container:
            case CollectionSpec(items=FileItems(path=path)):
                yield path
            case CompositeSpec(uses=str(path)):
                yield path
            case _:
                pass
