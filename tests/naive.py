"""The naive model of a run: what is due, worked out anew from the whole history each time.

A second specification of the core, written to be read and not to be fast; it knows the events and the workflow model,
and nothing else of the core. What is due comes as tuples, such as `("start", task, attempt, loss, agent)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actorflow.core.events import (
    AttemptCanceled,
    AttemptLost,
    AttemptStarted,
    BreakerAllowed,
    CancelRequested,
    Event,
    FallbackChosen,
    RunDeadlinePassed,
    RunEnding,
    RunFinished,
    TaskCanceled,
    TaskFailed,
    TaskSkipped,
)
from actorflow.errors import ExpressionError
from actorflow.expression import compile_template, condition
from actorflow.spec.model import StageSpec, TaskSpec, WorkflowSpec
from tests.naive_ends import (
    edges_to,
    is_failed_set_up,
    is_failed_stage,
    is_false_when,
    is_taken,
    is_unreached,
    why_barred,
)
from tests.naive_hooks import Line
from tests.naive_recovery import Due
from tests.naive_turns import Turns


def due(spec: WorkflowSpec, events: Sequence[Event], now: float) -> list[Due]:
    """All that is due at `now`, in order."""
    return NaiveRun(spec, events, now).due()


class NaiveRun(Turns):
    """What follows from all that has happened."""

    def due(self) -> list[Due]:
        if not self.here or self.has(RunFinished):
            return []
        ending = next((event for _, event in self.here if isinstance(event, RunEnding)), None)
        if ending is not None:
            names = ["on_error", "post_workflow"] if ending.outcome == "failed" else ["post_workflow"]
            hooks = self.next_of_run(Line(self.spec, names, "", self.here))
            return [("finish", ending.outcome)] if hooks is None else hooks
        deciding = self.in_order_of(self.with_status("deciding"))
        if deciding:
            one_by_one = self.spec.limits.retry_budget is not None
            return [self.verdict(task) for task in deciding[: 1 if one_by_one else None]]
        hooks = self.set_up()
        if (hooks is not None or self.open_tasks()) and self.is_out_of_time():
            return [("run deadline",)]
        return self.work() if hooks is None else hooks

    def set_up(self) -> list[Due] | None:
        """What is due before the tasks, if anything is; a closed run goes on to them once no hook is running."""
        line = self.line("pre_workflow", "")
        if self.closed() is None:
            return self.next_of_run(line)
        return [("cancel hook", *line.running, "")] if line.running else None

    def next_of_run(self, line: Line) -> list[Due] | None:
        """The next hook of a line, which has its turn when none is running; None where all have ended."""
        if not line.left:
            return None
        return [] if line.running or self.is_pausing() else [self.next_hook(line)]

    def work(self) -> list[Due]:
        facts = [
            *self.lost_too_often(),
            *self.dead_letters(),
            *self.ways_around_breakers(),
            *self.skips(),
            *self.deadlines(),
            *self.finished(),
            *self.completed_stages(),
        ]
        if facts:
            return facts
        running = self.in_order_of(self.with_status("running"))
        ends: list[Due] = [
            *self.tells(),
            *(
                ("cancel", task.id, self.attempt(task))
                for task in running
                if self.closed_for(task) is not None
            ),
        ]
        free = self.spec.limits.max_parallel - len(running) - len(self.hooks_at_work())
        due = ends + self.what_starts(free)
        return due if due or self.open_tasks() or self.stage_lines() else [self.ending()]

    def what_starts(self, free: int) -> list[Due]:
        """The next hooks of stages, those of tasks, and attempts; hooks that are passed over take no slot."""
        unwanted = self.unwanted_hooks()
        if self.is_pausing():
            return unwanted
        of_stages = [self.next_hook(line) for line in self.idle(self.stage_lines(), free)]
        if any(each[0] == "passed" for each in of_stages):
            return of_stages  # the run may be closed by that
        free -= len(of_stages)
        of_tasks = [self.next_hook(line) for line in self.idle(self.task_lines(), free)]
        free -= sum(each[0] == "hook" for each in of_tasks)
        return [*of_stages, *unwanted, *of_tasks, *self.starts(free)]

    def lost_too_often(self) -> Iterator[Due]:
        for task in self.with_status("waiting"):
            if self.is_lost(task):
                yield ("fail", task.id, self.effect(task), "lost")
            elif self.start_line(task).refusal:
                yield ("fail", task.id, self.effect(task), "hook_failed")

    def is_lost(self, task: TaskSpec) -> bool:
        """Whether crashes have cut the task off too often; what a pause cuts off does not count."""
        losses = [at for at, event in self.here if isinstance(event, AttemptLost) and event.task == task.id]
        if not task.idempotent and isinstance(self.last(task), AttemptLost):
            return True
        return sum(not self.is_pausing(at) for at in losses) > task.on_error.max_losses

    def deadlines(self) -> Iterator[Due]:
        """Tasks that wait, and have no time left, or none once their breaker may let them through."""
        for task in [] if self.is_pausing() else self.with_status("waiting"):
            deadline = self.deadline_of(task)
            if deadline is None or self.closed_for(task) is not None or self.is_lost(task):
                continue
            if self.now >= deadline or self.wait_at_breaker(task).is_hopeless:
                yield ("deadline", task.id)

    def skips(self) -> Iterator[Due]:
        """Tasks that can't run any more; what barred them first is the reason."""
        for task in self.with_status("pending"):
            bars = list(self.bars(task))
            if bars:
                yield ("skip", task.id, min(bars)[2])
        for task in self.with_status("waiting"):
            closed = self.closed_for(task)
            if closed is None or self.is_lost(task) or self.start_line(task).refusal:
                continue
            has_tried = any(isinstance(event, AttemptStarted) for event in self.of(task))
            yield ("cancel task", task.id) if has_tried else ("skip", task.id, closed[1])
        for task in self.with_status("preparing"):
            if self.closed_for(task) is not None and not self.start_line(task).running:
                yield ("skip", task.id, self.closed_by_last())

    def bars(self, task: TaskSpec) -> Iterator[tuple[int, int, str]]:
        """Each thing that bars a task: its position in the history, its rank there, and the reason that it gives."""
        for stage in self.spec.stages:
            is_member = task.id in stage.tasks and not self.is_handler(task)
            if is_member and (at := self.barred_at(stage)) is not None:
                yield (at, 0, "upstream")
        for need, on in edges_to(task):
            if need in self.ends and (reason := why_barred(on, self.ends[need][1])) is not None:
                yield (max(self.ends[need][0], self.here[0][0]), 1 + (reason != "upstream"), reason)
        sources = self.sources(task)
        if sources and all(
            name in self.ends and not is_taken(on, self.ends[name][1]) for name, on in sources
        ):
            yield (max(self.here[0][0], *(self.ends[name][0] for name, _ in sources)), 2, "not_reached")
        if self.is_free(task) and not self.is_reached_task(task):
            ends = [self.ends[need][0] for need, _ in edges_to(task)]
            yield (max(*ends, *map(self.over_at, self.stages_before(task)), 0), 1, "not_reached")
        closed = self.closed_for(task)
        if closed is not None:
            yield (closed[0], 3, closed[1])

    def sources(self, task: TaskSpec) -> list[tuple[str, str]]:
        """The transitions that may lead to a task: where from, and after which end."""
        found: list[tuple[str, str]] = []
        for other in self.spec.tasks:
            for on, to in (("success", other.on_success), ("failure", other.on_error.next)):
                if to is not None and to.next == task.id:
                    found.append((other.id, on))
        return found

    def is_reached_task(self, task: TaskSpec) -> bool:
        """Whether something that was reached itself led to a task; or nothing has to."""
        sources, edges = self.sources(task), edges_to(task)
        if sources:
            return any(name in self.ends and is_taken(on, self.ends[name][1]) for name, on in sources)
        return not edges or not all(is_unreached(self.ends[need][1]) for need, _ in edges)

    def is_free(self, task: TaskSpec) -> bool:
        """Whether nothing holds a pending task any more: no edge, no transition to come, no stage before."""
        edges = edges_to(task)
        if not all(need in self.ends and why_barred(on, self.ends[need][1]) is None for need, on in edges):
            return False
        is_led_to = not self.sources(task) or self.is_reached_task(task)
        return is_led_to and all(map(self.is_over, self.stages_before(task)))

    def stages_before(self, task: TaskSpec) -> list[StageSpec]:
        """The stages that the one of the task waits for."""
        return [
            before for stage in self.spec.stages if task.id in stage.tasks for before in self.before(stage)
        ]

    def starts(self, free: int) -> Iterator[Due]:
        """Tasks that a breaker let through, then the first that are ready, or whose time has come."""
        free = max(free, 0)
        ready = [task for task in self.tasks if self.may_start(task)]
        for task in self.by_leave(ready[:free])[:free]:
            start = self.start(task)
            yield start
            if start[0] == "fail":
                return  # it may bar the others

    def by_leave(self, ready: list[TaskSpec]) -> list[TaskSpec]:
        """Who has leave comes first; of those that wait for the same breaker, one asks."""
        chosen, asked = self.with_leave(), set[str]()
        for task in ready:
            key = self.wait_at_breaker(task).key
            if task not in chosen and key not in asked:
                chosen.append(task)
                asked.update([] if key is None else [key])
        return chosen

    def with_leave(self) -> list[TaskSpec]:
        """The tasks that their breakers let start, the first to be let first."""
        at = {e.task: at for at, e in self.here if isinstance(e, BreakerAllowed)}
        found = [task for task in self.with_status("pending", "waiting") if self.is_allowed(task)]
        return sorted(found, key=lambda task: at[task.id])

    def may_start(self, task: TaskSpec) -> bool:
        if self.status(task) == "waiting":
            return self.closed_for(task) is None and self.due_at(task) <= self.now
        return self.status(task) == "pending" and not any(self.bars(task)) and self.is_free(task)

    def start(self, task: TaskSpec) -> Due:
        events = self.of(task)
        tried = [e for e in events if isinstance(e, AttemptStarted | AttemptLost | FallbackChosen)]
        attempt, loss = self.attempt(task) + 1, 0
        if tried and isinstance(tried[-1], AttemptLost):
            attempt, loss = tried[-1].attempt, tried[-1].loss + 1
        context = {"tasks": self.known(), "task": {"attempt": attempt}, "now": self.now}
        line, is_new = self.start_line(task), self.status(task) == "pending"
        try:
            if is_new and task.when is not None and not condition(task.when).evaluate(context):
                return ("skip", task.id, "when")
            compile_template(task.with_).render(context)
        except ExpressionError:
            return ("fail", task.id, self.effect(task), "expression")
        if is_new and task.sleep is not None:
            return ("sleep", task.id, self.now + task.sleep)
        if line.left:
            return self.next_hook(line)
        number = self.agent_number(task)
        if task.on_error.breaker is not None and not self.is_allowed(task):
            return ("ask", task.id, self.key(task, number))
        return ("start", task.id, attempt, loss, task.agents[number])

    def completed_stages(self) -> Iterator[Due]:
        for stage in self.spec.stages:
            if self.ended_at(stage) is not None and self.is_reached(stage) and self.completion(stage) is None:
                yield ("stage", stage.name, self.stage_status(stage))

    def before(self, stage: StageSpec) -> list[StageSpec]:
        return [other for other in self.spec.stages if other.name in stage.after]

    def is_over(self, stage: StageSpec) -> bool:
        """Whether what comes after the stage knows how it went; one without anything to do goes by those before."""
        if not all(map(self.is_over, self.before(stage))):
            return False
        if self.had_nothing_to_do(stage):
            return True
        if self.ended_at(stage) is None:
            return False
        if self.completion(stage) is None:
            return not self.is_reached(stage)
        return not self.line("on_stage_complete", stage.name).left

    def over_at(self, stage: StageSpec) -> int:
        """The position of what made a stage that is over be so."""
        completion, ended_at = self.completion(stage), self.ended_at(stage)
        if completion is not None:
            return self.line("on_stage_complete", stage.name).over_at or completion[0]
        before = [self.over_at(other) for other in self.before(stage)]
        return max([*before, self.here[0][0] if ended_at is None else ended_at])

    def is_passed(self, stage: StageSpec) -> bool:
        """Whether a stage that is over lets the next ones begin."""
        completion = self.completion(stage)
        if completion is not None:
            is_refused = self.line("on_stage_complete", stage.name).refusal
            return completion[1].status == "success" and not is_refused
        return self.stage_status(stage) == "success" and all(map(self.is_passed, self.before(stage)))

    def barred_at(self, stage: StageSpec) -> int | None:
        """The position of what keeps the stage from ever beginning."""
        bars = [self.bars_later_at(before) for before in self.before(stage)]
        return min((at for at in bars if at is not None), default=None)

    def bars_later_at(self, stage: StageSpec) -> int | None:
        """The position of what made the stage bar those after it: it ended badly, or is barred itself."""
        return None if not self.is_over(stage) or self.is_passed(stage) else self.over_at(stage)

    def had_nothing_to_do(self, stage: StageSpec) -> bool:
        return all(name in self.ends and self.ends[name][0] < self.here[0][0] for name in stage.tasks)

    def ended_at(self, stage: StageSpec) -> int | None:
        """Where in this generation the last task of the stage ended."""
        if self.had_nothing_to_do(stage) or any(name not in self.ends for name in stage.tasks):
            return None
        return max(self.ends[name][0] for name in stage.tasks)

    def is_reached(self, stage: StageSpec) -> bool:
        return any(
            isinstance(event, AttemptStarted | TaskFailed) or is_false_when(event)
            for task in self.spec.tasks
            if task.id in stage.tasks
            for event in self.of(task)
        )

    def stage_status(self, stage: StageSpec) -> str:
        ends = [self.ends[name][1] for name in stage.tasks]
        reasons = [end.reason for end in ends if isinstance(end, TaskSkipped)]
        if any(isinstance(end, TaskFailed) and end.effect != "tolerated" for end in ends):
            return "failed"
        if any(isinstance(end, AttemptCanceled | TaskCanceled) for end in ends):
            return "canceled"
        if "canceled" in reasons or "aborted" in reasons:
            return "canceled"
        return "failed" if "upstream" in reasons else "success"

    def ending(self) -> Due:
        """The end of a run without open tasks, and whose failure it was: what kept the tasks from starting, or the first."""
        if self.has(CancelRequested):
            return ("ending", "canceled", None, None)
        causes: list[tuple[str | None, str]] = []
        closed = self.closed()
        if closed is not None and is_failed_set_up(self.spec, self.events[closed[0]][1]):
            causes.append((None, "hook_failed"))
        for task in self.tasks:  # what failed before, and is not tried again
            at, end = self.ends[task.id]
            if at < self.here[0][0] and isinstance(end, TaskFailed) and end.effect == "fatal":
                causes.append((task.id, end.failure.type))
        for _, event in self.here:
            if isinstance(event, RunDeadlinePassed):
                causes.append((None, "timeout"))
            if isinstance(event, TaskFailed) and event.effect == "fatal":
                causes.append((event.task, event.failure.type))
            if is_failed_stage(self.spec, event):
                causes.append((None, "hook_failed"))
        return ("ending", "failed", *causes[0]) if causes else ("ending", "success", None, None)
