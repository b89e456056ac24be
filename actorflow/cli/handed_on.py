"""Inputs of a run that a hook has started: what its parent calls sensitive stays so."""

from __future__ import annotations

from actorflow.cli.found import parent_of
from actorflow.cli.sensitive import shown_params
from actorflow.core.events import RunStarted
from actorflow.core.hook_config import DISPATCH, hook_config
from actorflow.errors import RunNotFoundError
from actorflow.journal import Journal
from actorflow.spec.definition import from_json
from actorflow.spec.sensitive import HIDDEN

__all__ = ["handed_on"]


def handed_on(journal: Journal, started: RunStarted) -> frozenset[str]:
    """The inputs of a run that may come of what its parent, or a parent of that, calls sensitive; blocks.

    They are all of them where nobody can say any more, because the parent was deleted.
    """
    parent = parent_of(started)
    if parent is None or not started.inputs:
        return frozenset()
    every = frozenset(started.inputs)
    try:
        row = journal.find(parent["run_id"])
    except RunNotFoundError:
        return every
    if row.run_id != parent["run_id"]:  # it only begins so
        return every
    _, begun = next(iter(journal.events(row.run_id)))
    assert isinstance(begun, RunStarted)
    spec = from_json(journal.definition(row.definition))
    asked_by = next(
        (
            entry.spec
            for entry in hook_config(spec).entries
            if entry.spec.action == DISPATCH and parent["delivery_id"].endswith(f"/{entry.path}")
        ),
        None,
    )
    if asked_by is None:
        return every
    given = {"input": dict(started.inputs)}
    shown = shown_params(spec, asked_by, parent["task"] or "", given, handed=handed_on(journal, begun))[
        "input"
    ]
    return every if shown == HIDDEN else frozenset(name for name in every if shown[name] == HIDDEN)
