"""What the circuit breakers of a store promise to all of its runs together: each question and report is judged once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from actorflow.core.breaker import Allowed, BreakerAsk, BreakerReport, Counted, Refused
from tests.promises import expect

TOLERANCE_S = 0.001
"""Who comes so much too early has waited."""


@define
class Told:
    """What has been told and answered under a key."""

    failures: dict[str, float] = field(factory=dict[str, float])  #: since it closed: outcome → when
    window: float = 0.0  #: the widest that anybody has counted in
    closed_at: float | None = None
    until: float | None = None  #: it is open, and lets nobody through before
    cooldown: float = 0.0  #: of who opened it
    probe: str | None = None
    changed_by: str = ""


class BreakerPromises:
    """Reads what goes in and out of a store's breakers, in order."""

    def __init__(self) -> None:
        self.told: dict[str, Told] = {}

    def check_answer(
        self, question: BreakerAsk, answer: Allowed | Refused, now: float, is_owned: Callable[[str], bool]
    ) -> None:
        """Hold an answer to the promises; `is_owned` says of a run whether it is somebody's."""
        told = self.told.setdefault(question.key, Told())
        what = (now, question, answer)
        is_free = told.probe is None or not is_owned(told.probe.partition("/")[0])
        if isinstance(answer, Refused):
            expect("a closed breaker refuses nobody", told.until is not None, what)
            expect("nobody waits longer than a cooldown", answer.until <= now + told.cooldown, what)
            is_due = told.until is not None and now >= told.until - TOLERANCE_S
            expect("a half-open breaker lets a probe through", not (is_due and is_free), what)
            expect("who waits for a probe is told so", answer.is_probing == is_due, what)
            told.until = min(answer.until, told.until or answer.until)  # the clock was set back
        elif told.until is not None and told.probe != question.holder:
            expect("nobody is let through an open breaker", now >= told.until - TOLERANCE_S, what)
            expect("one probe at a time", is_free, what)
            expect("one probe at a time", answer.is_probe, what)
            told.probe = question.holder

    def check_count(self, report: BreakerReport, answer: Counted, now: float) -> None:
        """Hold what came of an outcome that was told now to the promises."""
        told = self.told.setdefault(report.key, Told())
        if report.id == told.changed_by and report.outcome != "released":
            expected = "closed" if told.until is None else "opened"
            expect("an outcome is counted once", answer.change == expected, (report, answer))
            return
        changed = self.note(told, report, now)
        expect("a breaker opens and closes when it must", answer.change == changed, (now, report))

    def note(self, told: Told, report: BreakerReport, now: float) -> str | None:
        """What an outcome changes, by the documentation."""
        if told.until is None:
            window = report.spec.window
            is_late = now - report.at >= window
            is_known = told.closed_at is not None and told.closed_at - window < report.at <= told.closed_at
            if report.outcome != "failure" or is_late or is_known:
                return None
            told.window = max(told.window, window)
            known = {report.id: report.at, **told.failures}
            told.failures = {each: at for each, at in known.items() if abs(report.at - at) < told.window}
            recent = [at for at in told.failures.values() if abs(report.at - at) < window]
            return open_by(told, report) if len(recent) >= report.spec.threshold else None
        if told.probe != report.holder:
            return None
        told.probe = None
        match report.outcome:
            case "released":
                return None
            case "success":
                self.told[report.key] = Told(closed_at=report.at, changed_by=report.id)
                return "closed"
            case "failure":
                return open_by(told, report)


def open_by(told: Told, report: BreakerReport) -> str:
    told.until, told.cooldown = report.at + report.spec.cooldown, report.spec.cooldown
    told.changed_by, told.closed_at = report.id, None
    return "opened"
