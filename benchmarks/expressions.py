"""`python -m benchmarks.expressions`: what expressions cost, and the worst that data and text can make of them.

The bounds of an expression are counted in steps. This says what they come to in time and memory: each case of
`tests/data/expression_torture.txt`, then random expressions over the same data until the seconds are over.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from actorflow.errors import ExpressionError
from actorflow.expression import compile_expression, compile_template
from actorflow.expression.compiled import compile_part
from actorflow.expression.functions import FILTERS
from actorflow.expression.limits import MAX_STEPS, Meter

_CASES = Path(__file__).parent.parent / "tests" / "data" / "expression_torture.txt"
_MODULUS = 2**61 - 1  # integers are hashed modulo this
_SHOWN = 12


def cases() -> list[str]:
    """The expressions of the data file."""
    lines = _CASES.read_text(encoding="utf-8").splitlines()
    rows = [line.rsplit(" ×", 1) for line in lines if line and not line.startswith("# ")]
    return [source if times == "1" else f"[{', '.join([source] * int(times))}]" for source, times in rows]


def torture() -> Mapping[str, Any]:
    """Plain data that makes each operation as slow as it can be."""
    million, mega = list(range(1_000_000)), 1 << 4_000_000
    return {
        "huge": 10**20_000,
        "mega": mega,
        "mega2": mega + 1,
        "megas": [mega, mega + 1] * 4_000,
        "megas2": [mega + 2 - 2, mega + 2 - 1] * 4_000,
        "nan": float("nan"),
        "inf": float("inf"),
        "deep": _nested(50_000),
        "deep2": _nested(50_000),
        "nested": [_nested(97) for _ in range(300)],
        "nested2": [_nested(97) for _ in range(300)],
        "million": million,
        "million2": million.copy(),
        "numbers": [random.Random(i).random() * 10.0 ** (i % 600 - 300) for i in range(10_000)],
        "strings": [f"{'x' * 50}{i * 7919 % 10_007}" for i in range(10_000)],
        "empties": [{} if i % 2 else [] for i in range(10_000)],
        "records": [{"a": i, "b": {"c": [i]}} for i in range(5_000)],
        "keys": {f"key{i:06d}": i for i in range(20_000)},
        "fewer_keys": {f"key{i:06d}": i for i in range(9_000)},
        "collisions": [i * _MODULUS for i in range(1, 10_001)],
        "boxed_collisions": [[i * _MODULUS] for i in range(1, 10_001)],
        "float_collisions": [float(i) * 2.0 ** (61 * (i % 15)) for i in range(1, 10_001)],
        "doubles": _doubled(60),
        "doubles2": _doubled(60),
        "text": "a" * (1 << 20),
        "other": "a" * (1 << 20) + "y",
        "same": ["a" * (1 << 20)] * 10_000,
        "control": "\0" * (1 << 19),
        "sharp": "ß" * (1 << 19),
        "greek": "ΐ" * (1 << 19),
        "sigma": "Σ" * (1 << 20),
        "dotted": "İ" * (1 << 20),
        "spaces": " " * (1 << 20),
        "emoji": "😀" * (1 << 20),
        "needle": f"{'a' * 1_000}b{'a' * 1_000}",
        "short_needle": f"{'a' * 1_200}ba",
        "short_text": "a" * 2_400,
    }


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def _doubled(levels: int) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(levels):
        value = [value, value]
    return value


class Spent(NamedTuple):
    """What one evaluation took; sorted by time."""

    cpu_ms: float
    peak_mib: float
    steps: int
    source: str


def spent_on(source: str, context: Mapping[str, Any]) -> Spent:
    """Evaluate once for the time and once for the memory; compiling counts as well."""
    started = time.process_time()
    meter = Meter()
    _evaluate(source, context, meter)
    cpu_ms = (time.process_time() - started) * 1e3
    tracemalloc.start()
    _evaluate(source, context, Meter())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Spent(cpu_ms, peak / 2**20, MAX_STEPS - meter.steps, source)


def _evaluate(source: str, context: Mapping[str, Any], meter: Meter) -> None:
    try:
        compile_part.__wrapped__(source, 0, len(source)).evaluate_within(context, meter)
    except ExpressionError:
        return


def random_sources(seed: int, names: list[str]) -> Iterator[str]:
    """Expressions over these names, without end: well formed, of whatever types."""
    chance = random.Random(seed)
    filters = [*FILTERS, "default(1)", "join(',')", "round(2)"]
    operators = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or"]

    def make(size: int) -> str:
        if size <= 1:
            return chance.choice([*names, *names, "1", "0.5", "'a'", "true", "null", "range(999)"])
        shape, left, right = chance.randrange(9), make(size // 2), make(size - size // 2)
        match shape:
            case 0 | 1 | 2:
                return f"({left} {chance.choice(operators)} {right})"
            case 3 | 4:
                return f"({left} | {chance.choice(filters)})"
            case 5:
                return f"[{left}, {right}, {left}]"
            case 6:
                return f"{{'a': {left}, 'b': {right}}}"
            case 7:
                return f"({left})[{chance.choice(['0', '-1', 'a', repr('a')])}]"
            case _:
                return f"({left} if {right} == {left} else {right})"

    while True:
        yield make(chance.randrange(2, 40))


def _microseconds(run: Callable[[], object], times: int = 2_000, rounds: int = 25) -> float:
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(times):
            run()
        best = min(best, time.perf_counter() - started)
    return best / times * 1e6


def speeds() -> dict[str, float]:
    """Microseconds, the best of many rounds, for what a workflow does at every task."""
    source = 'input.region in ["eu", "us"] and tasks.fetch.output.total > 3'
    context = {"input": {"region": "eu"}, "tasks": {"fetch": {"output": {"total": 7}}}}
    typical, path = compile_expression(source), compile_expression("tasks.fetch.output.total")
    template = compile_template(
        {"total": "{{ tasks.fetch.output.total }}", "note": "from {{ input.region }}!"}
    )
    return {
        f"compile {source}": _microseconds(lambda: compile_part.__wrapped__(source, 0, len(source)), 200),
        f"evaluate {source}": _microseconds(lambda: typical.evaluate(context)),
        "evaluate tasks.fetch.output.total": _microseconds(lambda: path.evaluate(context)),
        "render a template of two strings": _microseconds(lambda: template.render(context)),
    }


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="How long to try random expressions.")
@click.option("--seed", default=1, show_default=True)
def main(seconds: float, seed: int) -> None:
    """Print the speeds, and the evaluations that took the most processor time and memory."""
    for what, best in speeds().items():
        click.echo(f"{best:8.2f} µs  {what}")
    context = torture()
    spent = [spent_on(source, context) for source in cases()]
    until = time.monotonic() + seconds
    for source in random_sources(seed, sorted(context)):
        if time.monotonic() > until:
            break
        spent.append(spent_on(source, context))
    click.echo(f"\nthe worst of {len(spent):,}:")
    most_memory = sorted(spent, key=lambda one: one.peak_mib)[-3:]
    for one in (*sorted(spent)[-_SHOWN:], *most_memory):
        click.echo(f"{one.cpu_ms:8.1f} ms {one.peak_mib:6.1f} MiB {one.steps:8,} steps  {one.source[:70]}")


if __name__ == "__main__":
    main()
