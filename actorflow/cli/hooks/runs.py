"""The hooks of a run, read off its journal: what each was about, how it ended, and what it said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen

from actorflow.cli.hooks.hiding import HookHiding, shown_record
from actorflow.core.events import Event, GenerationStarted, HookFinished, HookLost, HookStarted, RunStarted
from actorflow.core.hook_config import HookEntry
from actorflow.core.owed import functions_of
from actorflow.core.plan import Plan
from actorflow.journal.protocol import Delivery
from actorflow.spec.model import HookSpec

__all__ = ["FAILURES", "NOT_ENDED", "PENDING", "HookRun", "failed_hooks", "hook_name", "hook_runs", "made"]

NOT_ENDED: Final = "not_ended"
"""The status of a blocking hook that runs, or that a crash has cut off."""

PENDING: Final = "pending"
"""The status of a delivery that is not settled."""

FAILURES: Final = frozenset({"failed", "timed_out", "canceled", "dead_letter"})
"""The statuses of hooks that did not do what they should."""

_WORDS: Final = {"dead_letter": "given up"}
_LONGEST_NAME: Final = 60


@frozen(kw_only=True)
class HookRun:
    """A blocking hook that has begun, or one event for an async hook."""

    path: str  #: such as `post_workflow[0]`
    name: str  #: what people call the hook
    event: str  #: of the lifecycle
    task: str = ""  #: that it is about
    stage: str = ""  #: that completed
    generation: int = 1
    at: float | None = None  #: when it began, or its event happened, in epoch seconds
    is_blocking: bool = False
    status: str  #: ok, failed, timed_out, canceled, skipped, dead_letter, pending, not_ended
    tries: int = 0
    record: Mapping[str, Any] = field(factory=dict[str, Any])  #: exit status, output, seconds, reason
    delivery_id: str = ""  #: of an async hook

    @property
    def place(self) -> str:
        """The path, with what it is about where the path does not say so."""
        if self.stage:
            return f"{self.path} after stage {self.stage}"
        is_said = not self.task or self.path.startswith(f"tasks.{self.task}.")
        return self.path if is_said else f"{self.path} of {self.task}"

    @property
    def how(self) -> str:
        """How it ended, in words."""
        return _WORDS.get(self.status, self.status.replace("_", " "))

    def sent(self, fact: str) -> Any:
        """What is known of the request of its last try, such as `http_status` or `target`; None where none was made."""
        tries: Sequence[Mapping[str, Any]] = self.record.get("tries", ())
        found: Any = self.record.get(fact)
        return tries[-1].get(fact) if found is None and tries else found

    @property
    def why(self) -> str:
        """Why it did not do what it should, or has not done it yet; the run that it started; else empty."""
        if self.status == "ok" and "run_id" in self.record:
            return f"started run {self.record['run_id']}"
        if self.status in ("ok", NOT_ENDED):
            return ""
        said = self.record.get("summary") or self.record.get("reason")
        return str(said or self.how)


def failed_hooks(runs: Iterable[HookRun], generation: int) -> tuple[HookRun, ...]:
    """Those of a generation that failed."""
    return tuple(each for each in runs if each.generation == generation and each.status in FAILURES)


def hook_runs(
    plan: Plan, events: Iterable[tuple[int, Event]], deliveries: Sequence[Delivery]
) -> tuple[HookRun, ...]:
    """The blocking hooks and the settled deliveries of a run, in the order in which events called for them.

    One that a crash cut off is there once, as its last performance ended; so is a delivery that an operator had tried
    again. The events of a run whose definition has no hooks are not read.

    Args:
        plan: of the run's definition.
        events: all of the run, with their numbers.
        deliveries: settled ones, in the order in which they were settled.
    """
    reader = _Reader(plan, deliveries)
    if deliveries or any(entry.is_blocking for entry in plan.hooks.entries):
        for seq, event in events:
            reader.read(seq, event)
    return tuple(reader.found.values())


def hook_name(hook: HookSpec) -> str:
    """What a hook is called among people: its name, what it is for, or else what it does."""
    return hook.name or hook.description or _deed(hook)


def _deed(hook: HookSpec) -> str:
    if hook.action != "command":
        texts = (hook.params.get(key) for key in _TELLING)
        about = next((text for text in texts if isinstance(text, str) and "{{" not in text), "")
        return f"{hook.action} {about}".strip()[:_LONGEST_NAME]
    command = hook.command if isinstance(hook.command, str) else " ".join(hook.command)
    return command.strip().partition("\n")[0]


_TELLING: Final = ("task_id", "name", "message", "url")
"""Params that tell hooks of the same action apart."""


class _Reader:
    """Reads the events of a run one by one."""

    def __init__(self, plan: Plan, deliveries: Sequence[Delivery]) -> None:
        self.found: dict[object, HookRun] = {}
        self._hooks = plan.hooks
        self._hiding = HookHiding(plan.spec)
        self._entries = {entry.path: entry for entry in plan.hooks.entries}
        self._generation = 0
        self._owed: dict[int, list[Delivery]] = {}
        for delivery in {each.delivery_id: each for each in deliveries}.values():
            self._owed.setdefault(delivery.seq, []).append(delivery)

    def read(self, seq: int, event: Event) -> None:
        """Take the next event."""
        match event:
            case RunStarted(flags=flags):
                for entries in functions_of(flags).values():
                    self._entries |= {entry.path: entry for entry in entries}
            case GenerationStarted(generation=generation):
                self._generation = generation
            case HookStarted() | HookLost() | HookFinished():
                self._note_blocking(event)
            case _:
                pass
        for delivery in sorted(self._owed.get(seq, ()), key=self._place_in_list):
            self.found[delivery.delivery_id] = self._delivered(delivery, event)

    def _place_in_list(self, delivery: Delivery) -> int:
        entry = self._entries.get(delivery.hook)
        return 0 if entry is None else entry.index

    def _note_blocking(self, event: HookStarted | HookLost | HookFinished) -> None:
        key = (self._generation, event.event, event.index, event.subject)
        run = self.found.get(key) or self._blocking(event)
        match event:
            case HookStarted():
                run = evolve(run, status=NOT_ENDED, tries=1)
            case HookLost():
                run = evolve(run, status=NOT_ENDED)
            case HookFinished(status=status):
                record = self._shown(event.record, run.path, run.task, status)
                # one that was tried once lists no tries, and one that was passed over has had none
                count = 0 if status == "skipped" else len(record.get("tries", ())) or run.tries
                run = evolve(run, status=status, record=record, tries=count)
        self.found[key] = run

    def _blocking(self, event: HookStarted | HookLost | HookFinished) -> HookRun:
        is_stage = event.event == "on_stage_complete"
        task = "" if is_stage else event.subject
        entry = self._hooks.of(event.event, task)[event.index]
        return HookRun(
            path=entry.path,
            name=hook_name(entry.spec),
            event=event.event,
            task=task,
            stage=event.subject if is_stage else "",
            generation=self._generation,
            at=event.at,
            is_blocking=True,
            status=NOT_ENDED,
        )

    def _shown(self, record: Mapping[str, Any], path: str, task: str, status: str) -> Mapping[str, Any]:
        """A record without what is sensitive; of a hook that was passed over, the reason is ours."""
        is_hidden = status != "skipped" and self._hiding.hides(self._entries.get(path), task)
        return shown_record(record) if is_hidden else record

    def _delivered(self, delivery: Delivery, event: Event) -> HookRun:
        entry = self._entries.get(delivery.hook)
        task = getattr(event, "task", None) or ""
        return HookRun(
            path=delivery.hook,
            name=delivery.hook if entry is None else hook_name(entry.spec),
            event=event_of(delivery.hook, entry),
            task=task,
            stage=getattr(event, "stage", ""),
            generation=self._generation,
            at=event.at,
            status="ok" if delivery.status == "delivered" else delivery.status,
            tries=made(delivery.record, int(delivery.record.get("try_count", 0)), delivery.status),
            record=self._shown(delivery.record, delivery.hook, task, delivery.status),
            delivery_id=delivery.delivery_id,
        )


def made(record: Mapping[str, Any], count: int, status: str) -> int:
    """How many tries of a delivery its target may have seen: one that was refused, or passed over, is none of them.

    Args:
        record: with the tries that are kept of it.
        count: of all of them.
        status: of the delivery.
    """
    unmade = _UNMADE | {"ok"} if status == "skipped" else _UNMADE
    return count - sum(each["status"] in unmade for each in record.get("tries", ()))


_UNMADE: Final = frozenset({"refused", "circuit_open"})


def event_of(path: str, entry: HookEntry | None) -> str:
    """The event of the hook with a path; as the path says it, where the definition has no such hook any more."""
    return path.rpartition("[")[0].rpartition(".")[2] if entry is None else entry.event
