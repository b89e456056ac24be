"""What the circuit breakers of a store promise to all of its runs together: each question and report is judged once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from actorflow.core.breaker import Allowed, BreakerAsk, BreakerReport, Counted, Refused
from tests.promises import expect


@define
class Told:
    """What has been told and answered under a key."""

    failures: dict[str, float] = field(factory=dict[str, float])  #: since it closed: outcome → when
    until: float | None = None  #: it is open, and lets nobody through before
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
            expect("nobody waits longer than a cooldown", answer.until <= now + question.spec.cooldown, what)
            is_due = told.until is not None and now >= told.until and is_free
            expect("a half-open breaker lets a probe through", not is_due, what)
            told.until = min(answer.until, told.until or answer.until)  # with another spec's cooldown
        elif told.until is not None and told.probe != question.holder:
            expect("nobody is let through an open breaker", now >= told.until, what)
            expect("one probe at a time", is_free, what)
            expect("one probe at a time", answer.is_probe, what)
            told.probe = question.holder

    def check_count(self, report: BreakerReport, answer: Counted) -> None:
        """Hold what came of an outcome to the promises."""
        told = self.told.setdefault(report.key, Told())
        if report.id == told.changed_by and report.outcome != "released":
            expected = "closed" if told.until is None else "opened"
            expect("an outcome is counted once", answer.change == expected, (report, answer))
            return
        expect("a breaker opens and closes when it must", answer.change == self.note(told, report), report)

    def note(self, told: Told, report: BreakerReport) -> str | None:
        """What an outcome changes, by the documentation."""
        if told.until is None:
            if report.outcome != "failure":
                return None
            known, window = {report.id: report.at, **told.failures}, report.spec.window
            told.failures = {each: at for each, at in known.items() if abs(report.at - at) < window}
            if len(told.failures) < report.spec.threshold:
                return None
            told.until, told.changed_by = report.at + report.spec.cooldown, report.id
            return "opened"
        if told.probe != report.holder:
            return None
        told.probe = None
        match report.outcome:
            case "released":
                return None
            case "success":
                told.until, told.changed_by, told.failures = None, report.id, {}
                return "closed"
            case "failure":
                told.until, told.changed_by = report.at + report.spec.cooldown, report.id
                return "opened"
