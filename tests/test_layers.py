"""The order of the layers, read from the imports of every module: each imports only from layers above its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "actorflow").rglob("*.py"))

LAYERS = [
    {"errors"},
    {"expression"},
    {"spec"},
    {"core"},
    {"journal"},
    {"actors", "survivors"},
    {"processes", "secrecy", "metrics", "egress"},
    {"http"},
    {"agents", "hooks"},
    {"runtime"},
    {"__init__"},  # the facade
    {"cli", "web", "temporal", "testing", "telemetry"},
    {"__main__"},
]
"""From the top down; parts of one layer don't import each other."""

NARROWED = {
    "core": ("errors", "expression", "spec.model"),
    "actors": ("errors",),
    "secrecy": ("errors", "expression", "spec.model", "core"),
    "survivors": (),
    "egress": ("errors",),
    "http": ("errors", "egress", "actors"),
}
"""Parts that may import less than all that is above them."""

PACKAGES = {
    "errors": set[str](),
    "expression": set[str](),
    "spec": {"attrs", "cattrs", "ruamel", "_ruamel_yaml"},
    "core": {"attrs"},
    "journal": {"apsw", "attrs", "cattrs", "orjson"},
    "actors": {"anyio", "attrs", "sniffio", "trio"},
    "survivors": {"attrs"},
    "processes": {"anyio", "attrs"},
    "secrecy": {"attrs"},
    "metrics": {"attrs", "prometheus_client"},
    "egress": {"attrs"},
    "http": {"aiohttp", "anyio", "attrs", "yarl"},
    "agents": {"aiohttp", "anyio", "attrs"},
    "hooks": {"aiohttp", "aiolimiter", "anyio", "attrs"},
    "runtime": {"anyio", "attrs", "orjson", "sniffio"},
    "__init__": set[str](),
    "cli": {"anyio", "attrs", "click", "orjson", "platformdirs", "rich", "trio"},
    "testing": {"anyio", "attrs", "hypothesis", "pytest", "trio"},
    "__main__": set[str](),
}
"""What each part may import of other people's packages."""

PURE = {"__future__", "collections", "functools", "heapq", "itertools", "math", "operator", "typing"}
"""What the core may import of the standard library: no clock, no chance, no I/O, no event loop."""

RANDOM = ("actorflow.core.recovery", "random.Random")
"""The one exception: a seeded generator, for jitter."""


def imports_of(source: str) -> Iterator[tuple[str, str]]:
    """Every imported module, and the full names of what is imported of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                yield module, f"{module}.{alias.name}"


def part_of(module: str) -> str:
    """The folder or module right under `actorflow` that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def layer_of(part: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def breaches(module: str, source: str) -> list[str]:
    """What a module imports and must not."""
    part = part_of(module)
    return [
        f"{module} imports {full_name}"
        for imported, full_name in imports_of(source)
        if not may_import(module, part, imported, full_name)
    ]


def may_import(module: str, part: str, imported: str, full_name: str) -> bool:
    package = imported.split(".", maxsplit=1)[0]
    if package == "actorflow":
        return may_import_ours(part, full_name if imported == "actorflow" else imported)
    if package in sys.stdlib_module_names:
        return part != "core" or package in PURE or (module, full_name) == RANDOM
    return package in PACKAGES[part]


def may_import_ours(part: str, imported: str) -> bool:
    target = part_of(imported)
    if not any(target in parts for parts in LAYERS):
        target = "__init__"  # a name of the facade
    if target == part:
        return True
    if part in NARROWED:
        name = imported.removeprefix("actorflow.")
        return any(name == allowed or name.startswith(f"{allowed}.") for allowed in NARROWED[part])
    return layer_of(target) < layer_of(part)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_layers_above_its_own(path: Path) -> None:
    assert breaches(name_of(path), path.read_text(encoding="utf-8")) == []


def test_the_naive_model_knows_nothing_of_the_core_but_its_events() -> None:
    parts = ["naive", "naive_ends", "naive_hooks", "naive_recovery", "naive_turns"]
    sources = [(ROOT / "tests" / f"{part}.py").read_text(encoding="utf-8") for part in parts]
    imported = {module for source in sources for module, _ in imports_of(source)}
    ours = {module for module in imported if module.startswith(("actorflow", "tests"))}
    assert ours == {
        "actorflow.core.events",
        "actorflow.errors",
        "actorflow.expression",
        "actorflow.spec.model",
        "tests.naive_ends",
        "tests.naive_hooks",
        "tests.naive_recovery",
        "tests.naive_turns",
    }


def test_every_part_has_a_layer() -> None:
    parts = {part_of(name_of(path)) for path in MODULES}
    assert parts <= set().union(*LAYERS)
    assert parts <= set(PACKAGES)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("actorflow.errors", "from actorflow.expression import condition"),
        ("actorflow.expression.parser", "from actorflow.spec.model import TaskSpec"),
        ("actorflow.core.state", "from actorflow.spec.loading import load"),
        ("actorflow.core.state", "import actorflow.spec"),
        ("actorflow.core.state", "from actorflow import load"),
        ("actorflow.core.state", "import time"),
        ("actorflow.core.state", "from random import Random"),
        ("actorflow.core.recovery", "from random import random"),
        ("actorflow.core.recovery", "import random"),
        ("actorflow.core.due", "import asyncio"),
        ("actorflow.core.due", "import anyio"),
        ("actorflow.core.due", "import logging"),
        ("actorflow.core.due", "from .state import RunState"),
        ("actorflow.spec.text.composer", "import anyio"),
        ("actorflow.actors.pool", "from actorflow.core.events import Event"),
        ("actorflow.agents.python", "from actorflow.hooks.registry import HookRegistry"),
        ("actorflow.secrecy.source", "from actorflow.agents.call import AgentFailed"),
        ("actorflow.secrecy.source", "from actorflow.journal import Journal"),
        ("actorflow.metrics.registry", "from actorflow.runtime.clock import RunClock"),
        ("actorflow.hooks.registry", "from actorflow.agents.call import AgentCall"),
        ("actorflow.hooks.registry", "from actorflow.runtime.clock import RunClock"),
        ("actorflow.runtime.runtime", "def f():\n    from actorflow import cli"),
        ("actorflow.runtime.runtime", "from actorflow import load"),
        ("actorflow", "from actorflow.cli import main"),
        ("actorflow.journal.sqlite", "import click"),
    ],
)
def test_an_import_against_the_order_is_noticed(module: str, line: str) -> None:
    assert len(breaches(module, line)) == 1


def test_importing_the_package_loads_nothing_that_a_workflow_may_never_use() -> None:
    code = "import sys, actorflow; print(*sorted({'aiohttp', 'click', 'prometheus_client', 'trio'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", [])
