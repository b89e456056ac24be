"""The entries of `workflows:`: each a workflow over the tasks of the file, with stages, hooks, inputs and outputs of its own.

A file without entries is one workflow of all its tasks. Of several, each is checked as if it were alone, and which one runs
is chosen later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

from attrs import evolve, field, frozen

from actorflow.errors import BadInputError
from actorflow.spec.checks.dependencies import check_order, tasks_of_run
from actorflow.spec.checks.dispatches import dispatched_by, set_apart
from actorflow.spec.checks.templates import check_templates
from actorflow.spec.model import EntrySpec, HookLists, InputSpec, StageSpec, TaskId, TaskSpec, WorkflowSpec
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.build import read_inputs, read_outputs
from actorflow.spec.readers.draft import Draft, Site
from actorflow.spec.readers.hooks import joined, read_hook_lists
from actorflow.spec.readers.words import ENTRY, STAGE_MODES, STEP
from actorflow.spec.text.report import nearest

__all__ = ["chosen", "with_entries"]

_T = TypeVar("_T")
_MOST_NAMED: Final = 10
_NO_HOOKS: Final = HookLists()


@frozen(kw_only=True)
class _Entry:
    """An entry that is read and not checked yet."""

    name: str = ""  #: empty: the file as a whole
    description: str = ""
    inputs: dict[str, InputSpec] | None = None
    outputs: dict[str, object] | None = None
    hooks: HookLists = _NO_HOOKS
    stages: tuple[StageSpec, ...] = ()
    blocks: tuple[Block, ...] = ()  #: of the stages
    rows: tuple[tuple[TaskId, ...], ...] = ()  #: tasks that run one after the other: of each sequential stage
    sites: tuple[Site, ...] = field(default=(), repr=False)  #: templates of its own hooks and outputs


def chosen(spec: WorkflowSpec, name: str | None) -> WorkflowSpec:
    """The workflow that is to run: the entry of this name, or the only one there is.

    Args:
        spec: what was loaded.
        name: an entry under `workflows:`; None where the file leaves no choice.

    Raises:
        BadInputError: there are several entries and none is named, or there is none of this name.
    """
    names = [entry.name for entry in spec.entries] or ([] if spec.entry is None else [spec.entry])
    if name is None:
        if spec.entries:
            raise BadInputError((f"the file has several workflows, so one must be named: {_shown(names)}",))
        return spec
    if name not in names:
        close = nearest(name, names)
        hint = f"did you mean {close!r}?" if close else f"there are: {_shown(names)}"
        raise BadInputError((f"there is no workflow {name!r}; {hint if names else 'the file names none'}",))
    return next((_entered(spec, entry) for entry in spec.entries if entry.name == name), spec)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def _entered(spec: WorkflowSpec, entry: EntrySpec) -> WorkflowSpec:
    """The file's definition as one of its entries has it."""
    whole = evolve(
        spec,
        entry=entry.name or None,
        entries=(),
        description=entry.description or spec.description,
        inputs=spec.inputs if entry.inputs is None else entry.inputs,
        outputs=spec.outputs if entry.outputs is None else entry.outputs,
        stages=entry.stages,
        tasks=entry.tasks,
        hooks=joined(spec.hooks, entry.hooks) if entry.hooks.inherit else entry.hooks,
    )
    return evolve(whole, dispatched=dispatched_by(whole)) if whole.dispatched else whole


def with_entries(draft: Draft, root: Block, spec: WorkflowSpec) -> WorkflowSpec:
    """Read `outputs:` and `workflows:`, check the order and the templates of each entry, and give the whole definition."""
    outputs, output_sites = _noted(draft, partial(read_outputs, draft, root))
    entries = _read_entries(draft, root) or [_Entry()]
    set_apart(draft, (spec.hooks, spec.default_hooks, *(entry.hooks for entry in entries)))
    file = _File(draft, tuple(draft.sites), output_sites, dict(draft.top.tasks))
    checked = [file.checked(entry) for entry in entries]
    file.check_the_rest({task.id for entry in checked for task in entry.tasks})
    spec = evolve(spec, outputs=outputs or {}, dispatched=tuple(draft.dispatched.values()))
    return _entered(spec, checked[0]) if len(checked) == 1 else evolve(spec, entries=tuple(checked))


def _noted(draft: Draft, read: Callable[[], _T]) -> tuple[_T, tuple[Site, ...]]:
    """Read something, and take the templates that were noted meanwhile out of the draft."""
    first = len(draft.sites)
    value = read()
    sites = tuple(draft.sites[first:])
    del draft.sites[first:]
    return value, sites


def _read_entries(draft: Draft, root: Block) -> list[_Entry]:
    workflows = root.block("workflows")
    if workflows is None:
        return []
    if not workflows.node:
        workflows.own_fault("E122", "has no entry", "add one, or remove the key")
    entries: list[_Entry] = []
    for name, block in workflows.children():
        if not name.strip():
            workflows.key_fault("E124", name, "an entry needs a name")
        entry, sites = _noted(draft, partial(_read_entry, draft, name, block))
        entries.append(evolve(entry, sites=sites))
    return entries


def _read_entry(draft: Draft, name: str, block: Block) -> _Entry:
    block.allow(ENTRY)
    if block.has("steps") and block.node["steps"] == []:
        block.fault("E123", "steps", "must not be empty", "remove the key to run all tasks")
    steps = [step for step in (block.item_block("steps", *item) for item in block.items("steps")) if step]
    read = [(step, stage) for step in steps if (stage := _read_step(step)) is not None]
    stages = [stage for _, stage in read]
    if not any(step.has("depends_on") for step, _ in read):
        stages = (
            [
                evolve(stage, after=(before.name,)) if before is not None else stage
                for before, stage in zip([None, *stages[:-1]], stages, strict=True)
            ]
            if stages
            else []
        )
    return _Entry(
        name=name,
        description=block.text("description") or "",
        inputs=read_inputs(draft, block),
        outputs=read_outputs(draft, block),
        hooks=read_hook_lists(draft, block, draft.top, ""),
        stages=tuple(stages),
        blocks=tuple(step for step, _ in read),
        rows=tuple(stage.tasks for step, stage in read if step.node.get("mode") == "sequential"),
    )


def _read_step(block: Block) -> StageSpec | None:
    block.allow(STEP)
    block.choice("mode", STAGE_MODES)
    for key in ("stage", "tasks"):
        if not block.has(key):
            block.own_fault("E122", f"a step needs {key!r}")
    if block.has("tasks") and block.node["tasks"] == []:
        block.fault("E123", "tasks", "must not be empty")
    name = block.name("stage")
    if name is None:
        return None
    tasks = tuple(dict.fromkeys(item.text for item in block.names("tasks")))
    after = tuple(dict.fromkeys(item.text for item in block.names("depends_on")))
    return StageSpec(name=name, tasks=tasks, after=after)


@frozen
class _File:
    """What all entries share."""

    draft: Draft
    sites: tuple[Site, ...]  #: of tasks, agents and the file's hooks
    output_sites: tuple[Site, ...]  #: of the file's outputs
    tasks: dict[TaskId, TaskSpec]

    def checked(self, entry: _Entry) -> EntrySpec:
        """Check an entry: its stages with the order of its tasks, and what its templates read."""
        self.draft.top.tasks = _in_rows(self.tasks, entry.rows)  # the level is what every scope points to
        part = evolve(
            self.draft,
            inputs=self.draft.inputs if entry.inputs is None else entry.inputs,
            stages=list(entry.stages),
            stage_blocks=list(entry.blocks),
        )
        check_order(part)
        tasks = tasks_of_run(part)
        part.sites = [
            *(site for site in self.sites if not (root := site.scope.root_task) or root in tasks),
            *(self.output_sites if entry.outputs is None else ()),
            *entry.sites,
        ]
        check_templates(part, set(tasks))
        return EntrySpec(
            name=entry.name,
            description=entry.description,
            inputs=entry.inputs,
            outputs=entry.outputs,
            stages=entry.stages,
            tasks=tuple(tasks.values()),
            hooks=entry.hooks,
        )

    def check_the_rest(self, reached: set[TaskId]) -> None:
        """Warn of tasks that no entry runs, and check their templates in the order that they would have by themselves."""
        rest = [name for name in self.tasks if name not in reached]
        if not rest:
            return
        draft = self.draft
        mark = draft.task_blocks[rest[0]].node.mark
        message = f"no stage leads to these tasks, so they are not part of the run: {_shown(rest)}"
        draft.report.warn("W103", mark, message)
        draft.top.tasks = dict(self.tasks)
        alone = set(rest)
        part = evolve(draft, stages=[], stage_blocks=[])
        part.sites = [site for site in self.sites if site.scope.root_task in alone]
        check_order(part)
        check_templates(part, set(self.tasks))


def _in_rows(tasks: dict[TaskId, TaskSpec], rows: tuple[tuple[TaskId, ...], ...]) -> dict[TaskId, TaskSpec]:
    """The tasks, those of each row depending on the one before; an edge that the file has stays as it is."""
    changed = dict(tasks)
    for row in rows:
        known = [name for name in row if name in tasks]
        for before, name in pairwise(known):
            task = changed[name]
            if before not in (*task.depends_on, *task.on_failure_of, *task.on_end_of):
                changed[name] = evolve(task, depends_on=(*task.depends_on, before))
    return changed
