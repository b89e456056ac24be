"""The page about hooks: its tables name what there is, and each of its examples does what stands below it."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from attrs import frozen

from actorflow import RunResult, Runtime, loads
from actorflow.cli.hooks.catalogue import EventRow, event_rows
from actorflow.journal.protocol import Delivery
from actorflow.metrics.built_in import BUILT_IN, PREFIX
from actorflow.metrics.snapshot import Distribution, Snapshot
from actorflow.spec.readers.words import HOOK, HOOK_ACTIONS
from tests.chaos_sink import ChaosSink

PAGE = (Path(__file__).parent.parent / "docs" / "hooks.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@frozen
class Example:
    """A workflow or program of the page, and what the page shows below it, by what that is of."""

    language: str
    text: str
    shown: Mapping[str, str]


def examples(language: str) -> list[object]:
    found: list[Example] = []
    for kind, word, text in FENCE.findall(PAGE):
        if kind == "text":
            last = found.pop()
            found.append(Example(last.language, last.text, {**last.shown, word: text}))
        else:
            found.append(Example(kind, text, {}))
    return [
        pytest.param(each, id=f"{language}-{number}")
        for number, each in enumerate(found)
        if each.language == language
    ]


def rows(first_column: str) -> list[list[str]]:
    """The cells of the table whose first column is called so, without its head."""
    table = PAGE.split(f"\n| {first_column} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


# What examples do


class LogKept(logging.Handler):
    """Records of our loggers as lines, with the fields that a hook gives."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "actorflow", {}).get("fields")
        told = f" {json.dumps(fields)}" if fields else ""
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}{told}")


@pytest.fixture
def log() -> Iterator[list[str]]:
    kept = LogKept()
    logger = logging.getLogger("actorflow")
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    yield kept.lines
    logger.setLevel(level)
    logger.removeHandler(kept)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChaosSink]:
    """Who takes the requests of the examples."""
    with ChaosSink() as sink:
        monkeypatch.setenv("SHOP_URL", sink.url(""))
        monkeypatch.setenv("ACTORFLOW_ALLOW_HOSTS", sink.url(""))
        yield sink


@pytest.mark.anyio
@pytest.mark.parametrize("example", examples("yaml"))
async def test_a_workflow_does_what_stands_below_it(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str], sink: ChaosSink
):
    monkeypatch.chdir(tmp_path)
    assert example.shown, "nothing stands below it"
    for name, value in re.findall(r"^# with (\w+)=(\S+)", example.text):
        monkeypatch.setenv(name, value)
    async with Runtime(store="sqlite:///runs.db") as rt:
        handle = await rt.start(loads(example.text, trust="own"), run_id="order-1")
        result = await handle.settled()
        deliveries = await handle.deliveries()
        runs = sorted(f"{row.workflow} {row.summary.status}" for row in await rt.list())
        told: dict[str, Callable[[], list[str]]] = {
            "log": lambda: log,
            "metrics": lambda: list(own_metrics(rt.metrics.snapshot())),
            "outputs": lambda: [f"{name}: {value}" for name, value in result.outputs.items()],
            "printed": lambda: [line for each in deliveries for line in printed_by(each)],
            "requests": lambda: [
                f"{each.method} {each.target} {each.body.decode()}" for each in sink.requests
            ],
            "runs": lambda: runs,
            "tasks": lambda: list(tasks_of(result)),
        }
        for what, shown in example.shown.items():
            lines = told[what]() if what in told else lines_of(what)
            assert timeless(lines) == timeless(shown.splitlines()), what
    assert result.hooks.pending == result.hooks.dead_letters == 0


def printed_by(delivery: Delivery) -> list[str]:
    return delivery.record.get("stdout", "").splitlines()


def lines_of(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def timeless(lines: list[str]) -> list[str]:
    """Lines in which one time is as good as another."""
    return [re.sub(r'(?<="at": )[0-9.]+', "0", line) for line in lines]


def own_metrics(snapshot: Snapshot) -> Iterator[str]:
    for family in snapshot.families:
        if family.name.startswith(PREFIX):
            continue
        for series in family.series:
            assert not isinstance(series.value, Distribution)
            tags = ", ".join(f"{name}={value}" for name, value in series.tags.items())
            yield f"{family.name}{{{tags}}} {series.value:g}" if tags else f"{family.name} {series.value:g}"


def tasks_of(result: RunResult) -> Iterator[str]:
    for name, task in result.tasks.items():
        why = "" if task.error is None else f", {task.error['type']}: {task.error['message']}"
        yield f"{name} {task.status}{why}"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("example", examples("python"))
def test_a_program_prints_what_stands_below_it(example: Example, backend: str, tmp_path: Path):
    program = example.text.replace("anyio.run(main)", f"anyio.run(main, backend={backend!r})")
    assert program != example.text
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (example.shown[""], "", 0)


# What tables name


def test_the_table_of_events_is_the_one_that_the_command_line_shows():
    told = {name.strip("`"): (who, fires, may_block) for name, who, fires, may_block, _ in rows("event")}
    assert told == {
        row.event: (row.of, _fires(row), "yes" if row.may_block else "no") for row in event_rows()
    }


def _fires(row: EventRow) -> str:
    if not row.is_fired:
        return "not yet"
    return "by contract" if row.is_by_contract else "opt-in"


def test_every_action_has_a_heading_of_its_own():
    section = PAGE.split("## Actions\n", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"^### ([a-z_]+)$", section, re.MULTILINE)) == set(HOOK_ACTIONS)


def test_the_table_of_keys_has_every_key_of_a_hook():
    listed = {key for keys, *_ in rows("key") for key in re.findall(r"`(\w+)`", keys)}
    assert listed == HOOK.words


def test_the_table_of_metrics_is_the_one_that_is_measured_by():
    told = [
        (name.strip("`"), kind, tuple(re.findall(r"`(\w+)`", tags)), meaning)
        for name, kind, tags, meaning in rows("metric")
    ]
    assert told == [
        (name, ", ".join(filter(None, (about.kind, about.unit))), about.tags, about.meaning)
        for name, about in BUILT_IN.items()
    ]
