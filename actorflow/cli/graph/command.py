"""`actorflow graph`: the tasks of a workflow file or of a run, and what leads from one to another."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import asdict, frozen

from actorflow.cli.files import STDIN, load_workflow
from actorflow.cli.found import found_run, with_owner
from actorflow.cli.graph.dot import dot
from actorflow.cli.graph.mermaid import mermaid
from actorflow.cli.graph.model import Graph, graph_of
from actorflow.cli.graph.text import text
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Exit
from actorflow.cli.store.opening import named_run, reading
from actorflow.cli.terminal import Terminal, terminal_of
from actorflow.runtime.result import result_of
from actorflow.spec.entries import chosen

Form: TypeAlias = Literal["text", "mermaid", "dot"]

_FILE_ENDINGS: Final = (".yaml", ".yml")


@frozen
class Subject:
    """What is drawn."""

    graph: Graph
    run_id: str | None = None
    status: str | None = None  #: of the run


def show_graph(settings: Settings, name: str, workflow: str | None, form: Form) -> int:
    """Draw the workflow of a file or of a run.

    Raises:
        SpecError: the file has problems.
        BadInputError: the file has several workflows and none is named, or there is none of this name.
        RunNotFoundError: it is no file, and no run.
    """
    subject = _of_file(name, workflow) if is_file(name) else _of_run(settings, name, workflow)
    screen = settings.screen
    if screen.is_json:
        screen.document(_document(subject, form))
        return Exit.SUCCESS
    terminal = terminal_of(screen.out)
    if subject.run_id is not None and form == "text":
        screen.result(f"run {subject.run_id}: {subject.status}")
    screen.result(_DRAWN[form](subject.graph, terminal))
    return Exit.SUCCESS


def is_file(name: str) -> bool:
    """Whether a word means a file: it is there, or looks like one. Any other means a run."""
    looks_so = name == STDIN or "/" in name or name.endswith(_FILE_ENDINGS)
    return looks_so or (bool(name) and "\0" not in name and os.path.lexists(name))


def _of_file(name: str, workflow: str | None) -> Subject:
    return Subject(graph_of(chosen(load_workflow(name).spec, workflow)))


def _of_run(settings: Settings, name: str, workflow: str | None) -> Subject:
    with reading(settings) as journal:
        found = found_run(journal, named_run(journal, name))
    result = result_of(found.state, ())
    statuses = {task: each.status for task, each in result.tasks.items()}
    graph = graph_of(chosen(found.spec, workflow), statuses)
    return Subject(graph, found.run_id, with_owner(result.status, found.row))


_DRAWN: Final[Mapping[Form, Callable[[Graph, Terminal], str]]] = {
    "text": text,
    "mermaid": lambda graph, _: mermaid(graph),
    "dot": lambda graph, _: dot(graph),
}


def _document(subject: Subject, form: Form) -> dict[str, Any]:
    """The JSON: the graph itself, and its drawing where it is one for other programs."""
    graph = subject.graph
    document = {
        "workflow": graph.name,
        "entry": graph.entry,
        "run_id": subject.run_id,
        "status": subject.status,
        "stages": [asdict(stage) for stage in graph.stages],
        "tasks": [asdict(node) for node in graph.nodes],
        "edges": [asdict(edge) for edge in graph.edges],
    }
    return document if form == "text" else {**document, form: _DRAWN[form](graph, Terminal())}
