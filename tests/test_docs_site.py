"""The documentation as a site: its reference is what the code is, and it builds without a warning."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import get_args

import pytest
from attrs import fields
from sphinx.pycode import ModuleAnalyzer

import actorflow
from actorflow import errors
from actorflow.core.events import CancelRequested, Event, Failure
from actorflow.core.state import RunState
from actorflow.core.transitions import RUN_TRANSITIONS, TASK_TRANSITIONS
from docs.generate import PAGES
from docs.generate.asked import Arrow, breaker_arrows, delivery_arrows, hook_arrows
from docs.generate.events import USUAL
from docs.generate.examples import folders, main_file, told
from docs.generate.states import BY_GENERATIONS, BY_HOOKS, SETUP_IS_OVER, arrows_of, diagram
from docs.site import dot_of, name_files
from tests.random_runs import random_workflow
from tests.scenarios import BROKEN
from tests.scripted import ScriptedRun

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
API = (DOCS / "reference" / "api.rst").read_text(encoding="utf-8")
ALIASES = ModuleAnalyzer.for_module("actorflow.core.strategy").find_attr_docs()
CODES = re.findall(r"^### ([EW]\d{3}): ", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_makes_of_it(name: str):
    text = (DOCS / name).read_text(encoding="utf-8")
    assert text == PAGES[name](), f"docs/{name} is out of date: run `python -m docs.generate`"


def test_what_fields_usually_mean_is_said_of_fields_that_are_there():
    kinds = {*get_args(Event), Failure}
    names = {field.name for kind in kinds for field in fields(kind)}
    names |= {f"{kind.__name__}.{field.name}" for kind in kinds for field in fields(kind)}
    assert sorted(USUAL.keys() - names) == []


def test_the_site_builds_without_a_warning_and_every_code_can_be_linked_to(tmp_path: Path):
    for each in ROOT.iterdir():
        if each != DOCS and not each.name.startswith("."):
            (tmp_path / each.name).symlink_to(each)
    pages = shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    links = "\n".join(f"- [{code}](errors.md#{code.lower()})" for code in CODES)
    (pages / "all_codes.md").write_text(
        f"---\norphan: true\n---\n\n# All codes\n\n{links}\n", encoding="utf-8"
    )
    # without writing HTML, which nothing here looks at, and which takes as long again
    command = [sys.executable, "-m", "sphinx", "-b", "dummy", "-W", "--keep-going", "-n", "-q"]
    built = subprocess.run(
        [*command, str(pages), str(tmp_path / "built")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert built.returncode == 0, built.stderr
    assert len(CODES) > 50


def test_every_public_name_is_in_the_reference_once():
    documented = Counter(re.findall(r"^\.\. auto\w+:: (\w+)", API, re.MULTILINE))
    public = {*actorflow.__all__, *errors.__all__}
    assert sorted(public - documented.keys()) == []
    assert [name for name in public if documented[name] != 1] == []
    assert len(actorflow.__all__) <= 40


@pytest.mark.parametrize("name", sorted({*actorflow.__all__, *errors.__all__}))
def test_a_public_name_says_what_it_is_and_so_do_its_methods(name: str):
    thing = getattr(actorflow, name, None) or getattr(errors, name)
    if not inspect.isclass(thing) and not inspect.isfunction(thing):
        assert ("", name) in ALIASES, f"{name} has no words below it"
        return
    assert inspect.getdoc(thing), name
    if inspect.isclass(thing):
        own = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        methods = {
            key
            for key, value in own.items()
            if inspect.isfunction(value) or isinstance(value, property | classmethod)
        }
        assert [key for key in sorted(methods) if not inspect.getdoc(getattr(thing, key))] == [], name


def test_each_example_says_in_a_line_what_it_shows_and_is_in_the_list():
    page = (DOCS / "examples.md").read_text(encoding="utf-8")
    assert len(folders()) >= 8
    for folder in folders():
        assert told(folder), f"{main_file(folder)} does not begin with what it shows"
        assert f"examples/{folder.name}/" in page


def _journal_of(seed: int) -> ScriptedRun:
    """A run with most of what can happen to one, and often another generation."""
    draw = Random(seed)
    run = ScriptedRun(
        random_workflow(draw),
        lambda _: BROKEN if draw.random() < 0.5 else 1,
        lambda _: "failed" if draw.random() < 0.2 else "ok",
    )
    for chance, happens in ((0.3, run.crash), (0.2, lambda: run.happen(CancelRequested(run.now, "enough")))):
        if draw.random() < chance and run.state.phase != "ended":
            happens()
    run.finish()
    return run.next_generation() if draw.random() < 0.5 else run


def test_tasks_and_runs_move_as_the_diagrams_say_and_every_arrow_besides_the_tables_is_taken():
    of_tasks, of_runs = set[Arrow](), set[Arrow]()
    for seed in range(300):
        run = _journal_of(seed)
        state = RunState(run.state.plan)
        for event in run.journal:
            phase, before = state.phase, [task.status for task in state.tasks]
            state.apply(event)
            by = type(event).__name__
            after = [task.status for task in state.tasks]
            of_tasks |= {(old, by, new) for old, new in zip(before, after, strict=True) if old != new}
            of_runs |= {(phase, by, state.phase)} - {(phase, by, phase)}
    in_table = set(arrows_of(TASK_TRANSITIONS))
    besides = {(old, "an outcome" if new == "finishing" else by, new) for old, by, new in of_tasks - in_table}
    assert besides == {*BY_HOOKS, *BY_GENERATIONS}
    # the step that is no event of its own is told of by the event before it
    at_once = {("setup", "HookFinished", "tasks")} | {
        (phase, "GenerationStarted", "tasks") for phase in ("idle", "ended")
    }
    assert of_runs - set(arrows_of(RUN_TRANSITIONS)) == at_once
    assert (SETUP_IS_OVER[0], SETUP_IS_OVER[2]) == ("setup", "tasks")


@pytest.mark.parametrize(
    ("arrows", "ends"),
    [
        (hook_arrows, {"next", "running", "ended"}),
        (breaker_arrows, {"closed", "open", "half_open"}),
        (delivery_arrows, {"pending", "delivered", "failed", "dead_letter", "skipped"}),
    ],
)
def test_what_is_asked_of_the_code_leads_to_every_state_it_has(arrows, ends: set[str]):
    found = list(arrows())
    assert {state for source, _, target in found for state in (source, target)} == ends


def test_a_drawing_has_each_arrow_of_its_diagram_with_its_label():
    text = diagram([("a", "One", "b"), ("a", "Two", "b"), ("b", "Three", "b")], "a", ("b",))
    drawing = dot_of("\n".join(text.splitlines()[1:-1]))
    assert '"a" -> "b" [label="One\\nTwo"]' in drawing
    assert drawing.count("->") == 3


def test_a_block_that_is_a_file_is_shown_under_its_name_and_others_stay_as_they_are():
    source = ["```yaml file=a.yaml bad\nx: 1\n```\n```yaml\ny: 2\n```\n"]
    name_files(None, "tutorial", source)
    assert source == ["```{code-block} yaml\n:caption: a.yaml\n\nx: 1\n```\n```yaml\ny: 2\n```\n"]


def test_labels_of_diagrams_hold_nothing_that_mermaid_would_read_as_its_own():
    lines = PAGES["reference/states.md"]().splitlines()
    labels = [line.split(" : ", 1)[1] for line in lines if " --> " in line and " : " in line]
    assert len(labels) > 30
    assert [label for label in labels if re.search(r"[:;{}\[\]]", label)] == []
