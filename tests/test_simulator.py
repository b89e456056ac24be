"""Seeded worlds in the default run: a fixed number of them, what finds a breach, and what is said of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from actorflow import load_dict
from tests.mutants.catalogue import MUTANTS
from tests.promises import BrokenPromise
from tests.simulator import __main__ as command
from tests.simulator import verdict as verdicts
from tests.simulator.__main__ import broken, report, try_seeds
from tests.simulator.drawing import draw
from tests.simulator.execution import perform
from tests.simulator.invariants import INVARIANTS
from tests.simulator.observed import Observed
from tests.simulator.scenario import Mode

SEEDS = 240 * int(os.environ.get("ACTORFLOW_FUZZ", "1"))
"""Worlds in a default run; `python -m tests.simulator` performs them by the ten thousand."""

PARTS = 6

FOUND_BY_SEEDS = {
    "restart of a success": {
        "a success never starts again",
        "a body begins only when its start is durable, and no success runs again",
    },
}
"""Mutants that seeds find as well, and the promises that they break first."""

ROOT = Path(__file__).parent.parent


def simulator(*arguments: str, seed_of_hashes: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulator", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed_of_hashes},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_every_invariant_holds_in_every_world(part: int):
    seeds = range(part * SEEDS // PARTS, (part + 1) * SEEDS // PARTS)
    tally = try_seeds(seeds, ("safety", "liveness"), "", 0)
    assert tally.breaches == []
    assert tally.seeds == len(seeds)
    assert tally.counts["killed"] > len(seeds) // 4


@pytest.mark.parametrize("mode", ["safety", "liveness"])
def test_a_seed_gives_one_trace_whatever_the_hashes_of_strings(mode: Mode):
    here = {seed: perform(draw(seed, mode)).world.trace_hash() for seed in range(0, 60, 6)}
    told = simulator(f"--mode={mode}", "--hashes", "--seeds=60", "--check-traces=6", seed_of_hashes="4242")
    rows = [line.split() for line in told.stdout.splitlines()]
    assert {int(seed): known for seed, _, known in rows} == here


def test_what_is_drawn_loads_and_nothing_is_left_out():
    """All kinds of tasks, hooks, accidents and acts come, and every definition is one that a user could write."""
    words = Counter[str]()
    for seed in range(1500):
        scenario = draw(seed, "safety")
        if not seed % 5:
            for document in scenario.definitions:
                load_dict(document, trust="own")
                words.update(_words(document))
        words.update(act.kind for act in scenario.acts)
        words.update(type(step).__name__ for steps in scenario.agents.values() for step in steps)
        words.update(type(answer).__name__ for answer in scenario.answers)
        for life in scenario.lives:
            words.update(fault.kind for fault in life.faults)
            words.update([] if life.crash is None else [life.crash.moment])
    few = {word: words[word] for word in _EXPECTED if words[word] < 5}
    assert not few


_EXPECTED = [
    "retry",
    "fallback_agent",
    "fallback_value",
    "circuit_breaker",
    "max_losses",
    "next",
    "on_success",
    "when",
    "sleep",
    "deadline",
    "timeout",
    "priority",
    "idempotent",
    "with",
    "outputs",
    "on_complete",
    "soft_errors",
    "sensitive",
    "allow_transform",
    "retry_on",
    "no_retry_on",
    "sequential",
    "retry_budget",
    "workflows",
    "failure",
    "always",
    "batch",
    "rate_limit",
    "ordered",
    "max_age",
    "disable_after",
    "pre_workflow",
    "post_workflow",
    "on_error",
    "task_started",
    "task_finished",
    "on_stage_complete",
    "workflow_finished",
    "task_lost",
    "signal_received",
    "webhook",
    "command",
    "transform",
    "dispatch_task",
    "notify",
    "metric",
    "log",
    "cancel",
    "pause",
    "resume",
    "signal",
    "retry_letter",
    "retry_delivery",
    "drain",
    "leave",
    "kill",
    "stop",
    "set_wall",
    "before",
    "after",
    "busy",
    "full",
    "error_before",
    "error_after",
    "Returns",
    "Fails",
    "Raises",
    "Hangs",
    "Crashes",
    "Replies",
    "TimesOut",
    "Resets",
    "Garbage",
    "Refuses",
]


def _words(value: object) -> list[str]:
    match value:
        case dict():
            return [*map(str, value), *(word for each in value.values() for word in _words(each))]
        case list():
            return [word for each in value for word in _words(each)]
        case str():
            return [value]
        case _:
            return []


@pytest.mark.parametrize("name", FOUND_BY_SEEDS)
def test_a_mutant_is_found_and_its_shortest_history_told(name: str):
    assert name in MUTANTS
    tally = try_seeds(range(400), ("safety", "liveness"), name, 0)
    ((seed, mode, breach),) = tally.breaches
    assert breach.promise in FOUND_BY_SEEDS[name], breach
    told = report(seed, mode, breach, name)
    assert told.startswith(f"seed {seed} breaks: {breach.promise}\n")
    assert f"python -m tests.simulator --seed {seed} --mode {mode} --mutant '{name}'" in told
    history = told.partition("Its history:\n")[2].partition("\n\n")[0].splitlines()
    assert 0 < len(history) <= 25
    with broken(name):
        assert try_seeds([seed], (mode,), "", 0).breaches


def test_an_invariant_that_is_broken_on_purpose_says_its_seed_and_the_shortest_history(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def nobody_ever_fails(observed: Observed) -> None:
        failed = [run.run_id for run in observed.runs.values() if run.row.summary.status == "failed"]
        if failed:
            raise BrokenPromise("nobody ever fails", failed)

    monkeypatch.setattr(verdicts, "check", nobody_ever_fails)
    assert command.main(["--seeds=50", "--jobs=1"]) == 1
    said = capsys.readouterr().out
    assert "breaks: nobody ever fails\nagain: python -m tests.simulator --seed " in said
    assert said.count("Start(") + said.count("'run_id': 'r-") == 1, "one run is enough to fail"
    assert "RunFinished" in said


def test_the_command_ends_with_what_it_found():
    good = simulator("--seeds=30", "--jobs=2", "--check-traces=10")
    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines()[-1] == "30 seeds, every invariant held"
    assert "a minute" in good.stdout
    assert "3 traces are the same in another process" in good.stdout


def test_each_invariant_has_a_name_of_its_own():
    names = [invariant.__name__ for invariant in INVARIANTS]
    assert len(names) == len(set(names)) >= 14
