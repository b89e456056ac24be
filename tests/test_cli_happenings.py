"""The lines that a run's progress has for what happens between a task's start and its end."""

from __future__ import annotations

import pytest

from actorflow import loads
from actorflow.cli.happenings import may_recover
from actorflow.cli.progress import Progress
from actorflow.core.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    DeadLettered,
    DefinitionChanged,
    Event,
    Failure,
    FallbackChosen,
    GenerationStarted,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    SignalReceived,
    SleepStarted,
    TaskDeadlinePassed,
)

_SPEC = loads("tasks: {fetch: {agent: live}}", trust="own")
_FAILED = Failure("exit_status", "busy")

LINES: list[tuple[Event, str | None]] = [
    (SleepStarted(5.0, "fetch", 7.5), "  fetch  sleep     starts in 2.50 s"),
    (RetryScheduled(5.0, "fetch", 2, 6.0), "  fetch  retry     attempt 2 in 1.00 s"),
    (RetryScheduled(5.0, "fetch", 2, 5.0), "  fetch  retry     attempt 2 at once"),
    (RetriesExhausted(5.0, "fetch", "live", 3), "  fetch  retry     no more: live has had 3 attempts"),
    (FallbackChosen(5.0, "fetch", "backup"), "  fetch  fallback  goes to agent backup"),
    (AttemptLost(5.0, "fetch", 1, 0), "  fetch  lost      attempt 1 was cut off, and runs again"),
    (BreakerAllowed(5.0, "fetch", "live", is_probe=False), None),
    (
        BreakerAllowed(5.0, "fetch", "live", is_probe=True),
        "  fetch  breaker   live lets one attempt through, to see",
    ),
    (BreakerRefused(5.0, "fetch", "live", 35.0), "  fetch  breaker   live is open for another 30.0 s"),
    (BreakerCounted(5.0, "fetch", "live"), None),
    (BreakerOpened(5.0, "fetch", "live", 8.99), "  fetch  breaker   live opens for 4.00 s"),
    (BreakerOpened(5.0, "fetch", "live", 125.0), "  fetch  breaker   live opens for 2 min 00 s"),
    (BreakerClosed(5.0, "fetch", "live"), "  fetch  breaker   live is closed again"),
    (BreakerClosed(5.0, None, "live"), "  breaker live is closed again"),
    (BudgetExhausted(5.0, "fetch"), "  fetch  budget    no more retries: the run has spent all it may"),
    (TaskDeadlinePassed(5.0, "fetch"), "  fetch  deadline  has passed while the task waited"),
    (RunDeadlinePassed(5.0), "  deadline of the run has passed: what runs is canceled"),
    (
        DeadLettered(5.0, "fetch", "r/1/fetch", {}, _FAILED, 3),
        "  fetch  letter    is kept as dead letter r/1/fetch",
    ),
    (SignalReceived(5.0, "go\n", {}, "1"), "  signal go\\n is received"),
    (DefinitionChanged(5.0, "d", {}), "  changes accepted: the run goes on by another definition"),
    (GenerationStarted(5.0, 1, "start"), None),
    (GenerationStarted(5.0, 2, "resume"), "generation 2"),
    (GenerationStarted(5.0, 2, "retry", ("fetch",)), "generation 2: fetch again, and what is below"),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda value: type(value).__name__)
def test_an_event_has_its_line(event: Event, line: str | None):
    assert Progress(_SPEC).line(event) == line


def test_a_breaker_that_a_task_has_opened_is_not_told_to_be_open_as_well():
    progress = Progress(_SPEC)
    assert progress.line(BreakerOpened(5.0, "fetch", "live", 9.0))
    assert progress.line(BreakerRefused(5.01, "fetch", "live", 9.0)) is None
    assert progress.line(BreakerRefused(9.0, "fetch", "live", 13.0))


@pytest.mark.parametrize(
    "event", [RetryScheduled(5.0, "fetch", 2, 6.0), FallbackChosen(5.0, "fetch", "backup")]
)
def test_another_try_says_what_the_last_one_failed_of(event: Event):
    progress = Progress(_SPEC)
    progress.line(AttemptStarted(4.0, "fetch", 1, 0, "live"))
    progress.line(AttemptFailed(5.0, "fetch", 1, _FAILED))
    assert str(progress.line(event)).endswith(", after exit_status: busy")


def test_of_a_run_in_memory_no_dead_letter_is_promised():
    letter = DeadLettered(5.0, "fetch", "r/1/fetch", {}, _FAILED, 3)
    assert Progress(_SPEC, is_kept=False).line(letter) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks: {t: {agent: x}}", False),
        ("tasks: {t: {agent: x, on_error: {retry: 1}}}", True),
        ("tasks: {t: {agent: x, on_error: {fallback_agent: y}}}", True),
        ("tasks: {t: {agent: x, on_error: {circuit_breaker: {threshold: 1}}}}", True),
        ("tasks: {t: {agent: x, on_error: {fallback_value: 1}}}", True),
        ("tasks: {t: {agent: x, deadline: 1s}}", True),
        ("limits: {deadline: 1s}\ntasks: {t: {agent: x}}", True),
        ("limits: {retry_budget: 0}\ntasks: {t: {agent: x}}", True),
    ],
)
def test_events_are_read_for_what_a_definition_allows_to_happen(text: str, expected: bool):
    assert may_recover(loads(text, trust="own")) is expected
