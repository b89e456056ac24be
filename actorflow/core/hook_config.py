"""The hooks of a definition, compiled once: whose lists hold for what, in which order, with their templates.

A task's own list comes first, then the workflow's, then that of `defaults`; `inherit: false` cuts off what is around. The
channels of all notices are behind these. A hook keeps the path under which it stands in the definition, whichever task it
acts for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, get_args

from attrs import Factory, field, frozen

from actorflow.core.events import BlockingHookEvent, HookFinished, HookLost, HookStarted
from actorflow.core.hook_channels import NOTIFY, channel_hooks, on_terms_of_channels
from actorflow.expression import Expression, SecretName, Template, compile_template, condition
from actorflow.spec.model import HookEvent, HookLists, HookSpec, TaskSpec, WorkflowSpec, shell_item

BLOCKING: Final[frozenset[str]] = frozenset(get_args(BlockingHookEvent))
"""The events at which something waits, so that a hook may block."""

OF_RUNS: Final[frozenset[HookEvent]] = frozenset(
    {
        "pre_workflow", "post_workflow", "on_error", "on_stage_complete", "workflow_started", "workflow_finished",
        "workflow_paused", "workflow_resumed",
    }
)  # fmt: skip
"""The events of a run as a whole: no task has hooks for them."""

DISPATCH: Final = "dispatch_task"
"""The action of hooks that start runs."""

FUNCTION: Final = "code"
"""The action of hooks that are functions of the program, and no part of the definition."""


def _reads(entry: HookEntry) -> frozenset[tuple[str, ...]]:
    return frozenset(path[:2] for part in entry.parts for path in part.paths)


@frozen(eq=False)
class HookEntry:
    """A hook where it acts: its place in the merged list of an event, and what is rendered for it."""

    path: str  #: where it stands: `task_finished[0]`, `tasks.fetch.task_finished[0]`, `defaults.task_finished[0].channels[1]`
    event: HookEvent
    index: int  #: in the merged list, from 0
    spec: HookSpec = field(repr=False)
    when: Expression | None = field(repr=False)
    enabled: Expression | None = field(repr=False)
    params: Template = field(repr=False)  #: of a command its `env`
    argv: tuple[Template | str, ...] | None = field(
        repr=False
    )  #: of a list command; text is a shell's, and opaque
    reads: frozenset[tuple[str, ...]] = field(
        init=False, repr=False, default=Factory(_reads, takes_self=True)
    )  #: the paths that it reads, two steps of each

    @property
    def is_blocking(self) -> bool:
        """Whether the run waits for it."""
        return self.spec.mode == "blocking"

    @property
    def parts(self) -> Iterator[Expression | Template]:
        """All that is rendered for it."""
        yield from (each for each in (self.when, self.enabled) if each is not None)
        yield self.params
        yield from (item for item in self.argv or () if not isinstance(item, str))

    @property
    def secret_names(self) -> Iterator[SecretName]:
        """What it is given of the environment and of secrets."""
        yield from (name for part in self.parts if isinstance(part, Template) for name in part.secret_names)


Entries: TypeAlias = tuple[HookEntry, ...]
_ByEvent: TypeAlias = Mapping[HookEvent, Entries]

_NONE: Final[_ByEvent] = {}


@frozen(eq=False)
class HookConfig:
    """The hooks of a definition by what they tell of. `hook_config` makes one."""

    around: _ByEvent = field(repr=False)  #: of the run, and of every task that has none of its own
    of_tasks: Mapping[str, _ByEvent] = field(repr=False)  #: of the tasks that have, by id
    has_async: bool  #: whether anything can be owed
    blocks_tasks: bool  #: whether some task waits for a hook, before its first attempt or after its last
    secret_names: tuple[SecretName, ...] = field(
        repr=False
    )  #: what hooks are given of the environment and of secrets
    dispatch_paths: frozenset[str] = field(repr=False)  #: of the hooks that may start runs
    blocks_for_dispatch: bool  #: whether one of them is waited for
    has_environments: bool  #: whether some act in certain environments only

    def entry_of(self, event: HookStarted | HookFinished | HookLost) -> HookEntry:
        """The blocking hook that an event is about."""
        task = event.subject if event.event in ("task_started", "task_finished") else ""
        return self.of(event.event, task)[event.index]

    def of(self, event: HookEvent, task: str = "") -> Entries:
        """The merged list of an event, for a task or for the run."""
        return self.of_tasks.get(task, self.around).get(event, ())

    def blocking(self, event: HookEvent, task: str = "") -> tuple[int, ...]:
        """The places in that list of those that are waited for."""
        return tuple(entry.index for entry in self.of(event, task) if entry.is_blocking)

    @property
    def entries(self) -> Iterator[HookEntry]:
        """All, those around first; a hook that acts for several tasks comes up for each that has hooks of its own."""
        for lists in (self.around, *self.of_tasks.values()):
            for found in lists.values():
                yield from found


def hook_config(spec: WorkflowSpec) -> HookConfig:
    """Merge and compile the hooks of a checked definition."""
    cache: dict[int, HookEntry] = {}
    workflow = _placed("", spec.hooks)
    defaults: _Placed = _placed("defaults.", spec.default_hooks) if spec.hooks.inherit else {}
    around = _merged(cache, (workflow, defaults))
    of_tasks = {
        task.id: _merged(cache, _lists_of(task, workflow, defaults))
        for task in spec.tasks
        if task.hooks.lists or not task.hooks.inherit or task.notify is not None
    }
    merged = [entry for lists in (around, *of_tasks.values()) for found in lists.values() for entry in found]
    blocks = any(entry.is_blocking and entry.event in ("task_started", "task_finished") for entry in merged)
    names = dict.fromkeys(name for entry in merged for name in entry.secret_names)
    starting = [entry for entry in merged if entry.spec.action == DISPATCH]
    return HookConfig(
        around,
        of_tasks,
        has_async=any(not entry.is_blocking for entry in merged),
        blocks_tasks=blocks,
        secret_names=tuple(names),
        dispatch_paths=frozenset(entry.path for entry in starting),
        blocks_for_dispatch=any(entry.is_blocking for entry in starting),
        has_environments=any(entry.spec.environments for entry in merged),
    )


def function_entry(event: HookEvent, name: str) -> HookEntry:
    """The entry of a function that the program has for an event."""
    spec = HookSpec(action=FUNCTION, name=name, mode="async", timeout=FUNCTION_TIMEOUT_S)
    return _entry(f"{FUNCTION}.{event}[{name}]", event, 0, spec)


FUNCTION_TIMEOUT_S: Final = 30.0


@frozen(eq=False)
class _Place:
    """Where a hook stands, and its channels."""

    path: str
    hook: HookSpec
    channels: tuple[tuple[str, HookSpec], ...]


_Placed: TypeAlias = Mapping[HookEvent, Sequence[_Place]]


def _placed(prefix: str, hooks: HookLists) -> _Placed:
    return {
        event: [_place(f"{prefix}{event}[{index}]", hook) for index, hook in enumerate(found)]
        for event, found in hooks.lists.items()
    }


def _place(path: str, hook: HookSpec) -> _Place:
    return _Place(path, hook, tuple(channel_hooks(path, hook)))


def _lists_of(task: TaskSpec, workflow: _Placed, defaults: _Placed) -> Iterator[_Placed]:
    if task.notify is not None:
        yield {"task_finished": [_place(f"tasks.{task.id}.on_complete", _notice(task))]}
    yield _placed(f"tasks.{task.id}.", task.hooks)
    if task.hooks.inherit:
        for each in (workflow, defaults):
            kept: _Placed = {event: found for event, found in each.items() if event not in OF_RUNS}
            yield kept


def _notice(task: TaskSpec) -> HookSpec:
    """What `on_complete: {notify: …}` means."""
    params: dict[str, Any] = {**task.notice, "message": task.notify}
    when = "task.status == 'success'"
    notice = HookSpec(action=NOTIFY, params=params, mode="async", when=when, timeout=5.0)
    return on_terms_of_channels(notice) if params.get("channels") else notice


def _merged(cache: dict[int, HookEntry], lists: Iterable[_Placed]) -> _ByEvent:
    merged: dict[HookEvent, list[_Place]] = {}
    for placed in lists:
        for event, found in placed.items():
            merged.setdefault(event, []).extend(found)
    return {
        event: tuple(
            _known_entry(cache, path, event, index, hook)
            for index, (path, hook) in enumerate(_with_channels(found))
        )
        for event, found in merged.items()
    } or _NONE


def _with_channels(places: Sequence[_Place]) -> Iterator[tuple[str, HookSpec]]:
    """Hooks in the order of their list, then the channels of all of them."""
    yield from ((place.path, place.hook) for place in places)
    for place in places:
        yield from place.channels


def _known_entry(
    cache: dict[int, HookEntry], path: str, event: HookEvent, index: int, spec: HookSpec
) -> HookEntry:
    """A hook of the workflow stands in the lists of many tasks: it is compiled once."""
    known = cache.get(id(spec))
    if known is None or (known.path, known.index) != (path, index):
        known = _entry(path, event, index, spec) if known is None else _at(known, path, event, index)
        cache.setdefault(id(spec), known)
    return known


def _at(known: HookEntry, path: str, event: HookEvent, index: int) -> HookEntry:
    return HookEntry(path, event, index, known.spec, known.when, known.enabled, known.params, known.argv)


def _entry(path: str, event: HookEvent, index: int, spec: HookSpec) -> HookEntry:
    is_command = spec.action == "command"
    return HookEntry(
        path,
        event,
        index,
        spec,
        None if spec.when is None else condition(spec.when),
        None if spec.enabled is None else condition(spec.enabled),
        compile_template(_given(spec), secrets=True),
        _argv(spec.command) if is_command and not isinstance(spec.command, str) else None,
    )


def _given(spec: HookSpec) -> dict[str, Any]:
    """What of a hook is rendered; the channels of a notice are by themselves."""
    match spec.action:
        case "command":
            return dict(spec.env)
        case _ if spec.action == NOTIFY:
            return {key: value for key, value in spec.params.items() if key != "channels"}
        case _:
            return dict(spec.params)


def _argv(command: Sequence[str]) -> tuple[Template | str, ...]:
    opaque = shell_item(tuple(command))
    return tuple(
        item if i == opaque else compile_template(item, secrets=True) for i, item in enumerate(command)
    )
