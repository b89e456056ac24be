"""Files that a command line names: workflows, and inputs for them."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from actorflow.cli.settings import Settings
from actorflow.cli.store.opening import reading
from actorflow.errors import Problem, SpecError, StoreDamagedError, StoreFailed, StoreUnusableError
from actorflow.runtime.definitions import Recalled, is_worth_keeping, load_cached
from actorflow.spec.bounds import Bounds
from actorflow.spec.loading import OWN, Loaded, Terms, load_with_warnings, loads_with_warnings
from actorflow.spec.text.composer import compose
from actorflow.spec.text.nodes import ListNode, MapNode, Node, kind_of
from actorflow.spec.text.report import Report
from actorflow.spec.text.source import decode, read_file

STDIN = "-"


def load_workflow(file: str, terms: Terms = OWN) -> Loaded:
    """Load a workflow file, or what comes on stdin: a user who names a file trusts it, if nothing else is said.

    Raises:
        SpecError: with all that is wrong with it.
    """
    if file != STDIN:
        return load_with_warnings(file, terms=terms)
    body = b"" if sys.stdin is None else sys.stdin.buffer.read(Bounds().file_bytes + 1)
    return loads_with_warnings(
        body,
        name="stdin",
        trust=terms.trust,
        file="<stdin>",
        allow_env=terms.allow_env,
        may_reach=terms.may_reach,
        no_commands=terms.no_commands,
    )


def recall_workflow(settings: Settings, file: str, terms: Terms = OWN) -> Recalled:
    """Load a workflow file as `load_workflow` does, or take it from the store if it was found good before.

    What is wrong with the store is told by who runs something in it.

    Raises:
        SpecError: with all that is wrong with the file.
    """
    if file != STDIN and is_worth_keeping(file):
        with suppress(StoreFailed, StoreDamagedError, StoreUnusableError), reading(settings) as journal:
            return load_cached(file, journal, terms)
    return Recalled(load_workflow(file, terms), None)


def read_inputs(file: str) -> dict[str, Any]:
    """Read a file of inputs, a mapping in JSON or YAML.

    Raises:
        SpecError: with all that is wrong with it.
    """
    root = _root(file)
    if not isinstance(root, MapNode):
        raise SpecError((Problem("E109", f"inputs must be a mapping, not {kind_of(root)}", file, 1, 1),))
    return {name: _plain(value) for name, value in root.items()}


def read_value(file: str) -> Any:
    """Read any value in JSON or YAML.

    Raises:
        SpecError: with all that is wrong with it.
    """
    return _plain(_root(file))


def _root(file: str) -> Node:
    report, bounds = Report(file=file), Bounds()
    body = read_file(file, report, bounds)
    text = decode(body, report, bounds) if body is not None else None
    root: Node = None
    if text is not None:
        report.text = text
        root = compose(text, report, bounds)
    report.raise_problems()
    return root


def _plain(node: Node) -> Any:
    """Nodes as the data that they stand for; no deeper than the composer allows."""
    if isinstance(node, MapNode):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, ListNode) else node
