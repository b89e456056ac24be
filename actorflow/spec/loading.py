"""Load a workflow: from a file, from text, or from a dict, checked as a whole before anything is made of it.

Every problem of a definition is told at once, in the order of the file, each with a code, a line and a column. What is
loaded is safe to run as far as a definition can say: its references are good, and its templates compile.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import evolve, frozen

from actorflow.errors import Problem
from actorflow.spec.action_contracts import CONTRACTS, ActionContract
from actorflow.spec.bounds import Bounds
from actorflow.spec.compat import rewrite
from actorflow.spec.entries import with_entries
from actorflow.spec.model import Trust, WorkflowSpec
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.build import build
from actorflow.spec.readers.draft import Draft
from actorflow.spec.readers.tasks import has_too_many_tasks
from actorflow.spec.text.dicts import graft
from actorflow.spec.text.nodes import BROKEN, MapNode, Node, kind_of
from actorflow.spec.text.report import Report
from actorflow.spec.text.source import decode, read_file

__all__ = [
    "OWN",
    "Loaded",
    "Terms",
    "load",
    "load_dict",
    "load_with_warnings",
    "loads",
    "loads_with_warnings",
]

Actions: TypeAlias = Mapping[str, ActionContract]

_LOG: Final = logging.getLogger("actorflow")
_DEFAULT_BOUNDS: Final = Bounds()


@frozen
class Terms:
    """Whose a definition is, what it may name though it is data, and what it may not though it is one's own."""

    trust: Trust = "own"
    #: variables of the environment, the only ones that it may name; data may as `${NAME}` alone. None: as `trust` says
    allow_env: frozenset[str] | None = None
    may_reach: bool = False  #: data may name hosts; the runtime's list says which of them are reached
    no_commands: bool = False  #: it may name no commands, scripts, Python paths and shell hooks


OWN: Final = Terms()
"""Those of a file of one's own, which may name anything."""


@frozen
class Loaded:
    """A checked definition, and what is worth saying about it."""

    spec: WorkflowSpec
    warnings: tuple[Problem, ...]


def load(
    path: str | os.PathLike[str],
    *,
    actions: Actions | None = None,
    allow_env: Collection[str] | None = None,
    no_commands: bool = False,
) -> WorkflowSpec:
    """Load a workflow file of your own: commands, scripts and Python paths are allowed in it, unless you say otherwise.

    Warnings go to the logger `actorflow`.

    Args:
        path: of the file.
        actions: the program's own actions of hooks, by name: those of a registry (`registry.contracts`), or, if not
            given, those that are registered for the whole process.
        allow_env: the only variables of the environment that the file may name; any, if not given.
        no_commands: whether to refuse commands, scripts, Python paths and shell hooks.

    Raises:
        SpecError: with all that is wrong with the file. Code E101 means that there is none.
    """
    terms = Terms("own", _names(allow_env), no_commands=no_commands)
    return _logged(load_with_warnings(path, actions=actions, terms=terms))


def loads(
    text: str | bytes,
    *,
    name: str = "workflow",
    trust: Trust = "data",
    folder: str | os.PathLike[str] | None = None,
    actions: Actions | None = None,
    allow_env: Collection[str] | None = None,
    may_reach: bool = False,
    no_commands: bool = False,
) -> WorkflowSpec:
    """Load a workflow from YAML text.

    Args:
        text: one YAML document, of at most 8 MiB.
        name: the workflow's name if the text gives none.
        trust: `data` refuses commands, scripts, Python paths, files, shell hooks, the environment, secrets, and hosts;
            `own` allows them.
        folder: where commands run and relative paths start; the process's own folder if not given.
        actions: as for `load`.
        allow_env: the only variables of the environment that may be named, under `data` as `${NAME}` alone. If not
            given, `own` may name any, and `data` none.
        may_reach: whether hosts may be named under `trust="data"`. Which of them are reached, the runtime's
            `allow_hosts` says: the text itself allows none.
        no_commands: whether `own` is refused commands, scripts, Python paths and shell hooks as well.

    Raises:
        SpecError: with all that is wrong with the text.
    """
    loaded = loads_with_warnings(
        text,
        name=name,
        trust=trust,
        folder=folder,
        actions=actions,
        allow_env=allow_env,
        may_reach=may_reach,
        no_commands=no_commands,
    )
    return _logged(loaded)


def load_dict(
    data: Mapping[str, Any],
    *,
    name: str = "workflow",
    trust: Trust = "data",
    folder: str | os.PathLike[str] | None = None,
    actions: Actions | None = None,
    allow_env: Collection[str] | None = None,
    may_reach: bool = False,
    no_commands: bool = False,
) -> WorkflowSpec:
    """Load a workflow from plain data: the same keys as in a file, JSON types alone.

    Args:
        data: the definition; it is copied, and may be changed afterwards.
        name: the workflow's name if the data gives none.
        trust: as for `loads`.
        folder: as for `loads`.
        actions: as for `load`.
        allow_env: as for `loads`.
        may_reach: as for `loads`.
        no_commands: as for `loads`.

    Raises:
        SpecError: with all that is wrong with the data; its problems have paths, and no lines.
    """
    report = Report()
    terms = Terms(trust, _names(allow_env), may_reach, no_commands)
    origin = _Origin(name, terms, folder, actions=actions)
    return _logged(_checked(graft(data, report, _DEFAULT_BOUNDS), report, origin))


def load_with_warnings(
    path: str | os.PathLike[str],
    *,
    bounds: Bounds = _DEFAULT_BOUNDS,
    actions: Actions | None = None,
    terms: Terms = OWN,
) -> Loaded:
    """Load a workflow file, one of your own if nothing else is said, and hand its warnings back.

    Of one that is data the folder is the process's own: nothing is imported from where it lies, and no command runs there.

    Raises:
        SpecError: with all that is wrong with the file.
    """
    file = os.fspath(path)
    report = Report(file=file)
    body = read_file(file, report, bounds)
    text = decode(body, report, bounds) if body is not None else None
    whole = os.path.abspath(file) if text is not None else file  # noqa: PTH100 - links in the path are kept
    folder = os.path.dirname(whole) if terms.trust == "own" else None  # noqa: PTH120
    origin = _Origin(Path(file).stem or "workflow", terms, folder, path=whole, actions=actions)
    return _loaded_text(text, report, origin, bounds)


def loads_with_warnings(
    text: str | bytes,
    *,
    name: str = "workflow",
    trust: Trust = "data",
    folder: str | os.PathLike[str] | None = None,
    file: str = "<text>",
    bounds: Bounds = _DEFAULT_BOUNDS,
    actions: Actions | None = None,
    allow_env: Collection[str] | None = None,
    may_reach: bool = False,
    no_commands: bool = False,
) -> Loaded:
    """Load a workflow from text as `loads` does, and hand its warnings back; `file` is what problems call it.

    Raises:
        SpecError: with all that is wrong with the text.
    """
    report = Report(file=file)
    body = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    decoded = decode(body, report, bounds)
    terms = Terms(trust, _names(allow_env), may_reach, no_commands)
    return _loaded_text(decoded, report, _Origin(name, terms, folder, actions=actions), bounds)


def _names(variables: Collection[str] | None) -> frozenset[str] | None:
    return None if variables is None else frozenset(variables)


@frozen
class _Origin:
    """Where a definition comes from, what that allows, and which actions of its own the program has."""

    name: str
    terms: Terms
    folder: str | os.PathLike[str] | None
    path: str | None = None
    actions: Actions | None = None


def _logged(loaded: Loaded) -> WorkflowSpec:
    for warning in loaded.warnings:
        _LOG.warning("%s", warning)
    return loaded.spec


def _loaded_text(text: str | None, report: Report, origin: _Origin, bounds: Bounds) -> Loaded:
    if text is None:
        return _checked(BROKEN, report, origin)
    from actorflow.spec.text.composer import compose  # noqa: PLC0415 - the parsers take 20 ms to import; dicts do without

    report.text = text
    root = compose(text, report, bounds)
    return _checked(root, report, origin, bounds)


def _checked(root: Node, report: Report, origin: _Origin, bounds: Bounds = _DEFAULT_BOUNDS) -> Loaded:
    if not isinstance(root, MapNode):
        if root is None:
            report.add("E109", (1, 1), "the file is empty; a workflow needs tasks, or hooks")
        elif root is not BROKEN:
            report.add("E109", (1, 1), f"a workflow must be a mapping, not {kind_of(root)}")
        report.raise_problems()
        root = MapNode()
    if has_too_many_tasks(Block(root, "", report), bounds.tasks):
        report.raise_problems()
    root = rewrite(root, report)
    if has_too_many_tasks(Block(root, "", report), bounds.tasks):  # it may have written some out
        report.raise_problems()
    actions = CONTRACTS if origin.actions is None else origin.actions
    terms = origin.terms
    draft = Draft(
        report,
        terms.trust,
        terms.allow_env,
        may_reach=terms.may_reach,
        no_commands=terms.no_commands,
        actions=actions,
    )
    spec = _assembled(draft, Block(root, "", report), origin)
    report.raise_problems()
    return Loaded(spec, report.warnings)


def _assembled(draft: Draft, root: Block, origin: _Origin) -> WorkflowSpec:
    spec = with_entries(draft, root, build(draft, root, origin.name))
    parts = spec.entries or (spec,)
    if (
        not draft.report.has_problems
        and not spec.hooks.lists
        and not any(p.tasks or p.hooks.lists for p in parts)
    ):
        root.own_fault("E126", "there are no tasks and no hooks: nothing to run", "add tasks:")
    folder = os.path.abspath(origin.folder or "")  # noqa: PTH100 - links in the path are kept
    return evolve(spec, path=origin.path, folder=folder)
