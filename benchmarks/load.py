"""What it costs to check a workflow file: a large good one beside a plain YAML loader, and bad ones of hostile kinds."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time
from typing import Any

from attrs import frozen
from ruamel.yaml import YAML

from actorflow.errors import SpecError
from actorflow.spec.bounds import Bounds
from actorflow.spec.loading import loads
from actorflow.spec.text.composer import compose
from actorflow.spec.text.parsers import c_events
from actorflow.spec.text.report import Report
from actorflow.spec.text.source import decode

MOST_FAILING_S = 0.3
"""CPU seconds in which each failing file is refused, but for the one that has more keys than the C parser reads so fast."""


@frozen
class Timed:
    """CPU seconds of one thing, round by round; the first round is the cold one."""

    title: str
    seconds: tuple[float, ...]

    @property
    def warm(self) -> float:
        """The median of all rounds but the first."""
        return median(self.seconds[1:] or self.seconds)


def tasks_text(count: int) -> str:
    """A workflow of some 340 bytes a task, with what people write: comments, quotes, templates, lists and retries."""
    return "name: large\ntasks:\n" + "".join(map(_task_text, range(count)))


def _task_text(number: int) -> str:
    upstream = f"\n    depends_on: [step_{number - 1}]" if number else ""
    return f"""  step_{number}:
    agent: worker
    description: "Step {number}, which takes up what the one before it has left"
    timeout: 30s{upstream}
    with:
      order: "{{{{ input.order }}}}"
      index: {number}
      flags: [fast, careful, 'quoted']
      nested: {{a: 1, b: two, c: 3.5}}
    on_error:
      retry: {{max_attempts: 3, delay: 1s}}
    # and so on
"""


def _bomb(sign: str) -> str:
    lines = ["a0: &a0 {k: v}"]
    for level in range(1, 40):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + sign.replace("…", f"[{aliases}]"))
    return "\n".join(lines) + "\n"


def failing_texts() -> dict[str, str]:
    """Files that are refused, and made to cost a reader dear."""
    keys = "".join(f"  k{number}: v\n" for number in range(200_000))
    return {
        "a bomb of aliases": _bomb("…"),
        "a bomb of merge keys": _bomb("{<<: …}"),
        "10,000 open brackets": "[" * 10_000,
        "10,000 open braces": "{a: " * 10_000,
        "3,000 levels": "".join(" " * level + "a:\n" for level in range(3_000)),
        "200,000 keys, then a slip": f"a:\n{keys}  b\n  c: d\n",
        "5 MB of plain text, then a slip": f"a: {'v' * 5_000_000}\nb\nc: d\n",
        "5 MB in quotes that do not end": f'a: "{"v" * 5_000_000}\n',
        "a number of 5,000 digits": f"a: {'9' * 5_000}\n",
        "a number of 5,000,000 digits": f"a: {'9' * 5_000_000}\n",
        "8 MiB and one byte": "#" * (Bounds().file_bytes + 1),
        "a thousand tags": "a:\n" + "- !x y\n" * 1_000,
        "a slip at the end of 100 tasks": tasks_text(100) + "  - x\n",
    }


def time_large(count: int, rounds: int) -> list[Timed]:
    """Time the checking of a large file, and beside it what the C parser and a plain loader take for the same text."""
    text = tasks_text(count)
    contestants: dict[str, Callable[[], Any]] = {
        "check the workflow": lambda: loads(text),
        "compose its YAML": lambda: compose(text, Report(text=text), Bounds()),
        "the C parser's events": lambda: _drain(text),
        'YAML(typ="safe")': lambda: YAML(typ="safe").load(text),
    }
    seconds: dict[str, list[float]] = {title: [] for title in contestants}
    for _ in range(rounds):
        for title, work in contestants.items():
            seconds[title].append(_timed(work))
    return [Timed(title, tuple(each)) for title, each in seconds.items()]


def time_failing(rounds: int) -> list[Timed]:
    """Time how long each failing file takes to be refused."""
    return [
        Timed(title, tuple(_timed(partial(_refuse, text.encode())) for _ in range(rounds)))
        for title, text in failing_texts().items()
    ]


def table(large: list[Timed], failing: list[Timed], count: int) -> str:
    """The times as text: milliseconds of CPU, cold and warm."""
    loader = large[-1].warm
    lines = [
        f"{count:,} tasks, {len(tasks_text(count)) / 1000:,.0f} kB; CPU milliseconds",
        "",
        _row("", "cold", "warm", "of safe"),
    ]
    lines += [
        _row(each.title, _ms(each.seconds[0]), _ms(each.warm), f"{each.warm / loader:.2f}") for each in large
    ]
    lines += ["", _row("failing files", "cold", "warm", f"< {MOST_FAILING_S * 1000:.0f}")]
    lines += [_row(each.title, _ms(each.seconds[0]), _ms(each.warm), _verdict(each)) for each in failing]
    return "\n".join(lines)


def _row(title: str, cold: str, warm: str, last: str) -> str:
    return f"{title:<34}{cold:>10}{warm:>10}{last:>10}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _verdict(timed: Timed) -> str:
    return "yes" if timed.warm < MOST_FAILING_S else "NO"


def _drain(text: str) -> None:
    next_event = c_events(text)
    while next_event() is not None:
        pass


def _refuse(body: bytes) -> None:
    report, bounds = Report(), Bounds()
    text = decode(body, report, bounds)
    if text is not None:
        report.text = text
        compose(text, report, bounds)
    try:
        report.raise_problems()
    except SpecError:
        return
    raise AssertionError("this file was to be refused")


def _timed(work: Callable[[], Any]) -> float:
    """CPU seconds of one call; starts with no garbage of others, and the collector as the interpreter sets it."""
    gc.collect()
    before = process_time()
    work()
    return process_time() - before
