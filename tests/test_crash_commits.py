"""A process is killed before or after each of its commits; the next one comes to the same end, and repeats nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count, product
from pathlib import Path

import pytest
from attrs import evolve
from crash_checks import check_crashed, check_ended
from crash_lives import BACKENDS, Death, Life, Report, live_through
from crash_workflows import RUN_ID

from actorflow.core.events import (
    BreakerClosed,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    DeadLettered,
)

LIVES = {
    "fan": Life(Path(), "fan"),
    "stages": Life(Path(), "stages"),
    "twice": Life(Path(), "twice", generations=2),
    "recovery": Life(Path(), "recovery", generations=2, events_apart=4),
    "guarded": Life(Path(), "guarded", generations=2, events_apart=9),
    "fan, not flushed": Life(Path(), "fan", durability="normal"),
    "recovery in JSON": Life(Path(), "recovery", generations=2, events_apart=4, is_json=True),
    "fan in JSON, not flushed": Life(Path(), "fan", is_json=True, durability="normal"),
}
"""What is to be lived, in some folder and upon either back end; three of them go on from what is kept of their state."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Report]:
    """How each workflow ends when nobody is killed, and after how many commits at most."""

    @cache
    def ended(workflow: str) -> Report:
        reports: list[Report] = []
        for backend in BACKENDS:
            folder = tmp_path_factory.mktemp(workflow)
            report = live_through(evolve(LIVES[workflow], folder=folder, backend=backend))
            assert report is not None
            check_ended(folder)
            reports.append(report)
        assert reports[0].facts == reports[1].facts
        return max(reports, key=lambda report: report.commit_count)

    return ended


def test_undisturbed_every_way_to_recover_is_taken(undisturbed):
    tasks = undisturbed("recovery").facts["tasks"]
    ends = {name: f"{task['status']} {task['reason'] or ''}".strip() for name, task in tasks.items()}
    assert ends == {
        **dict.fromkeys(("asleep", "saved", "big", "sums", "handler", "late", "reached", "clean"), "success"),
        "handled": "failed",
        "below": "skipped upstream",
    }
    assert tasks["handler"]["output"]["given"] == {"n": 1, "of": "handled", "why": "out of order"}
    assert tasks["saved"]["output"] == {"n": 4, "why": "out of order"}


def test_undisturbed_breakers_budget_and_dead_letters_come_into_play(undisturbed, tmp_path):
    tasks = undisturbed("guarded").facts["tasks"]
    assert {name: (task["status"], task["attempts"], task["agent"]) for name, task in tasks.items()} == {
        "flaky": ("success", 3, "shaky"),
        "probed": ("success", 3, "shaky"),
        "detour": ("success", 2, "work"),
        "refused": ("success", 1, "work"),
        "saved": ("success", 3, "spare"),
        "shrugged": ("failed", 2, "broken"),
        "fatal": ("success", 2, "mended"),
        "below": ("success", 1, "work"),
    }
    live_through(evolve(LIVES["guarded"], folder=tmp_path))
    run = check_ended(tmp_path)
    opened = {event.key: event.until for event in run.of(BreakerOpened)}
    assert [event.task for event in run.of(BreakerOpened)] == ["probed", "detour"]
    assert [(event.task, event.key) for event in run.of(BreakerClosed)] == [("probed", "bank")]
    assert [(event.task, event.key) for event in run.of(BreakerRefused) if event.key == "mint"] == [
        ("detour", "mint"),
        ("refused", "mint"),
    ]
    assert (run.breakers["bank"].until, run.breakers["mint"].until) == (None, opened["mint"])
    assert [event.task for event in run.of(BudgetExhausted)] == ["saved"]
    assert [event.letter for event in run.of(DeadLettered)] == [f"{RUN_ID}/1/fatal"]
    assert run.letters == []


@pytest.mark.parametrize("workflow", LIVES)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_any_commit_changes_nothing_of_the_end(workflow, moment, undisturbed, tmp_path):
    expected = undisturbed(workflow)
    killed_on: list[str] = []
    for number in count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        backend = BACKENDS[number % 2]
        life = evolve(LIVES[workflow], folder=folder, backend=backend, death=Death(moment, number))
        if live_through(life) is not None:
            if number > expected.commit_count:
                break
            continue  # batches fell together, and made fewer commits
        killed_on.append(backend)
        left = check_crashed(folder)
        assert bool(left[0].events) == (number > 1 or moment == "after"), "a run begins with its first commit"
        # killed after a commit, the run goes on upon the other back end
        heir = backend if moment == "before" else BACKENDS[(number + 1) % 2]
        report = live_through(evolve(LIVES[workflow], folder=folder, backend=heir))
        assert report is not None
        assert report.was_found == bool(left[0].events)
        assert report.facts == expected.facts
        check_ended(folder, left)
    assert set(killed_on) == set(BACKENDS)


@pytest.mark.parametrize("workflow", [name for name, life in LIVES.items() if life.durability == "full"])
def test_a_kill_of_the_resume_changes_nothing_either(workflow, undisturbed, tmp_path):
    expected = undisturbed(workflow)
    for number, (first, second) in enumerate(product((2, 4, 7), (1, 2, 4))):
        folder = tmp_path / f"{first}-{second}"
        folder.mkdir()
        moment = ("before", "after")[number % 2]
        backend = BACKENDS[number // 2 % 2]
        life = evolve(LIVES[workflow], folder=folder, backend=backend)
        killed = [live_through(evolve(life, death=Death(moment, commit))) for commit in (first, second)]
        left = check_crashed(folder)
        report = killed[1]
        if report is None:
            report = live_through(life)
        assert killed[0] is None
        assert report is not None
        assert report.facts == expected.facts
        check_ended(folder, left)
