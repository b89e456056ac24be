"""Whose hook is next, for the naive model, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from actorflow.core.events import HookFinished, StageCompleted, TaskFailed
from actorflow.errors import ExpressionError
from actorflow.expression import compile_template, condition
from actorflow.spec.model import HookSpec, StageSpec
from tests.naive_ends import SUCCESSES, status_of
from tests.naive_hooks import FAILURES, OF_TASKS, Line, hook_of, hooks_for
from tests.naive_recovery import Due, Recovery


class Turns(Recovery):
    """The lines of hooks that a run waits for."""

    def stage_lines(self) -> list[Line]:
        """Of stages that are complete, and not left, in the order of their completion."""
        found = [
            (completion[0], stage) for stage in self.spec.stages if (completion := self.completion(stage))
        ]
        lines = [self.line("on_stage_complete", stage.name) for _, stage in sorted(found, key=lambda e: e[0])]
        return [line for line in lines if line.left]

    def task_lines(self) -> list[Line]:
        """Of tasks that prepare or finish, in the order in which they began to."""
        found: list[tuple[int, Line]] = []
        for task in self.with_status("preparing"):
            line = self.start_line(task)
            assert line.began_at is not None
            found.append((line.began_at, line))
        found += [(at, self.line("task_finished", name)) for name, (at, _) in self.outcomes.items()]
        return [line for _, line in sorted(found, key=lambda each: each[0])]

    def hooks_at_work(self) -> list[Line]:
        """Those that take a slot each."""
        return [line for line in (*self.stage_lines(), *self.task_lines()) if line.running]

    def idle(self, lines: Sequence[Line], free: int) -> list[Line]:
        """The first of them that may go on, as far as slots are free."""
        return [line for line in lines if line.is_idle][: max(free, 0)]

    def unwanted_hooks(self) -> list[Due]:
        """Hooks of tasks that may not begin any more."""
        tasks = {task.id: task for task in self.with_status("preparing")}
        return [
            ("cancel hook", *line.running, line.subject)
            for line in self.task_lines()
            if line.running and line.subject in tasks and self.closed_for(tasks[line.subject]) is not None
        ]

    def closed_by_last(self) -> str:
        """What closed the run last; nothing does any more once handlers are not spared."""
        reasons: list[str] = []
        for _, reason, spares_handlers in self.closings():
            reasons.append(reason)
            if not spares_handlers:
                break
        return reasons[-1]

    def finished(self) -> Iterator[Due]:
        """Tasks whose last hook is done; one that refuses a success turns it into a failure."""
        tasks = {task.id: task for task in self.spec.tasks}
        for name, (_, outcome) in self.outcomes.items():
            line = self.line("task_finished", name)
            if line.left:
                continue
            if line.refusal and isinstance(outcome, SUCCESSES):
                yield ("fail", name, self.effect(tasks[name]), "hook_failed")
            else:
                yield ("finished", name, status_of(outcome))

    def next_hook(self, line: Line) -> Due:
        """The hook whose turn it is: it runs, or is passed over for what it comes to without."""
        event, index = line.left[0]
        path, hook = hooks_for(self.spec, event, line.subject)[index]
        place = (event, index, line.subject)
        if self.failures_in_a_row(path, hook) >= hook.disable_after:
            return ("passed", *place, "skipped", {})
        names = self.names_for(event, line)
        try:
            if not all(
                condition(each).evaluate(names) for each in (hook.enabled, hook.when) if each is not None
            ):
                return ("passed", *place, "skipped", {})
            if hook.action != "transform":
                compile_template(dict(hook.env)).render(names)
                return ("hook", *place)
            made = compile_template(dict(hook.params)).render(names)
        except ExpressionError:
            return ("passed", *place, "failed", {})
        output = {"output": made["output"]} if "output" in made else {}
        return ("passed", *place, "ok", {"vars": made.get("set", {}), **output})

    def failures_in_a_row(self, path: str, hook: HookSpec) -> int:
        """How often a hook has failed since it was fine last, whatever it acted for; 0 if that does not matter."""
        failures = 0
        for _, event in self.events if hook.on_error == "disable" else ():
            if isinstance(event, HookFinished) and hook_of(self.spec, event)[0] == path:
                failures = failures + 1 if event.status in FAILURES else failures * (event.status != "ok")
        return failures

    def names_for(self, event: str, line: Line) -> dict[str, Any]:
        """What templates of a hook may read, as far as these tests' templates do."""
        names: dict[str, Any] = {"tasks": self.known(), "vars": line.vars}
        if event not in OF_TASKS:
            return names
        (task,) = (task for task in self.spec.tasks if task.id == line.subject)
        _, outcome = self.outcomes.get(task.id, (0, None))
        status = "pending" if outcome is None else status_of(outcome)
        names["task"] = {"status": status, "attempt": self.attempt(task) + (outcome is None)}
        names["output"] = outcome.output if isinstance(outcome, SUCCESSES) else None
        return names

    def known(self) -> dict[str, Any]:
        """What templates see of ended tasks."""
        known = {}
        for name, (_, event) in self.ends.items():
            output = event.output if isinstance(event, SUCCESSES) else None
            error = {"message": event.failure.message} if isinstance(event, TaskFailed) else None
            known[name] = {"output": output, "error": error}
        return known

    def completion(self, stage: StageSpec) -> tuple[int, StageCompleted] | None:
        found = [(i, e) for i, e in self.here if isinstance(e, StageCompleted) and e.stage == stage.name]
        return found[0] if found else None
