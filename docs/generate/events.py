"""The reference of events: what the journal holds, and what hooks are told."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args, get_origin

from ruamel.yaml import YAML
from sphinx.pycode import ModuleAnalyzer

import actorflow
from actorflow.cli.hooks.catalogue import event_rows
from actorflow.core import events, owed
from actorflow.core.lifecycle import LIFECYCLE
from actorflow.journal.codec import EARLIER, REGISTRY
from docs.generate.markdown import code, codes, page, prose, table

Occasions: TypeAlias = Mapping[type[events.Event], tuple[str, ...]]

_PACKAGE: Final = Path(actorflow.__file__).parent
_CAUSES: Final = Path(__file__).parent.parent.parent / "tests" / "data" / "hook_causes.yaml"
_MAKERS: Final = ("core", "runtime")
_READERS: Final = ("core/run_events.py", "core/task_events.py", "core/hook_events.py", "core/checkpoint.py")
"""They apply events or thaw them, and make none that a journal would see."""

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    name: get_args(value) for name, value in sorted(vars(events).items()) if get_origin(value) is Literal
}
_HOOK_EVENTS: Final = frozenset(row.event for row in event_rows())

USUAL: Final[Mapping[str, str]] = {
    "GenerationStarted.cause": "what began it",
    "agent": "who performs it",
    "attempt": "its number, from 1; it goes on over agents and generations",
    "attempts": "how many it has had",
    "cause": "as whoever asked has put it",
    "core_version": "of the core that began it",
    "due_at": "when it begins, in epoch seconds",
    "effect": "what it means for the run",
    "env": "the variables that it reads, by name",
    "event": "that the hook is on",
    "failure": "why",
    "flags": "how it was started",
    "index": "of the hook in its list, from 0",
    "inputs": "by name",
    "key": "what the breaker is shared by",
    "loss": "how often it was cut off before, from 0",
    "message": "one line or more, for people",
    "name": "of the message",
    "outcome": "how it ends",
    "output": "JSON of any shape",
    "outputs": "of the run, by name",
    "payload": "JSON of any shape",
    "reason": "why not",
    "run_id": "its id",
    "signal_id": "sent again under the same one, it is received once",
    "stage": "its name",
    "status": "how it ended",
    "subject": "the task or stage that the hook is about; empty: the run",
    "task": "its id",
    "workflow": "its name",
}
"""What fields mean, in one class or in all, where the class does not say more."""

_INTRODUCTION: Final = (
    "What can happen to a run, as its journal holds it. `actorflow export RUN` shows the events of a run, and "
    "[States](states.md) which of them can follow which. An event is a frozen fact in the past tense; its time `at`, which "
    "each has, is in epoch seconds, from the clock of the run, which never goes backwards within a run."
)
_FORM: Final = (
    "A journal keeps an event as a JSON array `[tag, version, at, …]`, its fields in the order below. Tags and versions are "
    "the format of every store that was ever written: a tag is never renamed, and a class that gets more fields, at its end "
    "and with defaults, gets the next version. What this version still reads and does not write any more: {earlier}."
)
_HOOKS: Final = (
    "What a hook can be on. *Told by* has the events of the journal that a delivery follows from; where there are several, "
    "or where a blocking hook comes in between, [Hooks](../hooks.md#events) says which."
)
_CELLS: Final = (
    "All that async hooks are told, by what happened: each row is a case that a test runs. `a success` is the task and its "
    "outcome, with the type of its error behind it. `pre_workflow` and `workflow_started` are told once for each generation "
    "besides. [What ends how](../hooks.md#what-ends-how) has the rules."
)
_TABLE: Final = ("task_finished", "on_error", "workflow_finished", "post_workflow", "besides")


def events_page() -> str:
    """Events of the journal, then those of hooks, then what fires which."""
    told = occasions()
    earlier = codes(f"{tag} {version}" for tag, version in EARLIER)
    return page(
        "Events",
        _INTRODUCTION,
        "## Events of the journal",
        _FORM.format(earlier=earlier),
        table(["tag", "event", "what has happened"], (_line(tag, kind) for tag, _, kind in REGISTRY)),
        *(_section(tag, version, kind, told) for tag, version, kind in REGISTRY),
        "### Failure",
        prose(_sentence(events.Failure)),
        _fields(events.Failure),
        "### Words",
        table(["type", "values"], ([code(name), codes(values)] for name, values in _CHOICES.items())),
        "## Events of hooks",
        _HOOKS,
        table(["event", "of", "fired", "when", "may block", "told by"], _hook_rows(told)),
        "## What fires what",
        _CELLS,
        table(["cause", *(code(name) for name in _TABLE[:4]), "besides"], _causes()),
    )


def occasions() -> Occasions:
    """Which events of hooks each event of the journal may be."""
    several = {
        kind: tuple(name for name in tells.__code__.co_consts if name in _HOOK_EVENTS)
        for kind, tells in owed._TOLD.items()  # noqa: SLF001 - the table itself: a copy of it could be wrong
    }
    return {kind: (name,) for kind, name in LIFECYCLE.items()} | several


@cache
def makers() -> Mapping[str, tuple[str, ...]]:
    """The modules that make events, by the event's name."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (path for folder in _MAKERS for path in (_PACKAGE / folder).rglob("*.py")):
        name = path.relative_to(_PACKAGE).as_posix()
        if name not in _READERS:
            for made in _made(ast.parse(path.read_text(encoding="utf-8"))):
                found[made].add(name)
    return {made: tuple(sorted(paths)) for made, paths in found.items()}


def _made(tree: ast.Module) -> Iterator[str]:
    """What is called, or handed to whoever calls it, as in `partial(PauseRequested, …)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first = node.args[:1] if isinstance(node.func, ast.Name) and node.func.id == "partial" else []
            yield from (each.id for each in (node.func, *first) if isinstance(each, ast.Name))


def _line(tag: str, kind: type[events.Event]) -> list[str]:
    return [code(tag), f"[{kind.__name__}](#{kind.__name__.lower()})", prose(_sentence(kind))]


def _section(tag: str, version: int, kind: type[events.Event], told: Occasions) -> str:
    facts = [f"{code(tag)}, version {version}; made in {codes(makers()[kind.__name__])}"]
    if kind in told:
        facts.append(f"hooks on {codes(told[kind])}")
    return "\n\n".join(
        [f"### {kind.__name__}", prose(_sentence(kind)), f"{'; '.join(facts)}.", _fields(kind)]
    )


def _sentence(kind: type[object]) -> str:
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split())


def _fields(kind: type[object]) -> str:
    said = ModuleAnalyzer.for_module(events.__name__).find_attr_docs()
    rows = []
    for node in _class_bodies()[kind.__name__]:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id != "at":
            text = " ".join(said.get((kind.__name__, node.target.id), [])).strip()
            text = text or USUAL.get(f"{kind.__name__}.{node.target.id}", USUAL[node.target.id])
            rows.append([code(node.target.id), _type(ast.unparse(node.annotation)), prose(text)])
    return table(["field", "type", "meaning"], rows) if rows else "It has no fields but `at`."


def _type(annotation: str) -> str:
    if annotation.startswith("Failure"):
        return f"[{code(annotation)}](#failure)"
    return f"[{code(annotation)}](#words)" if annotation in _CHOICES else code(annotation)


@cache
def _class_bodies() -> Mapping[str, list[ast.stmt]]:
    tree = ast.parse(inspect.getsource(events))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}


def _hook_rows(told: Occasions) -> Iterator[list[str]]:
    for row in event_rows():
        kinds = [kind.__name__ for _, _, kind in REGISTRY if row.event in told.get(kind, ())]
        links = ", ".join(f"[{name}](#{name.lower()})" for name in kinds)
        fired = "yes" if row.is_fired else "not yet"
        yield [code(row.event), row.of, fired, prose(row.when), "yes" if row.may_block else "no", links]


def _causes() -> Iterator[list[str]]:
    for case in YAML(typ="safe", pure=True).load(_CAUSES.read_text(encoding="utf-8")):
        cells = (", ".join(case.get(name, ())) for name in _TABLE)
        yield [prose(case["cause"]), *(prose(cell) or "–" for cell in cells)]
