"""The state of a run as people read it: one flat, frozen value, and a JSON document of the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from itertools import chain
from math import isfinite
from typing import Any, Final, Self, TypeGuard

import orjson
from attrs import asdict, evolve, field, frozen

from actorflow.agents.output import OutputError, plain
from actorflow.core.state import RunState
from actorflow.core.transitions import ENDED
from actorflow.errors import BadInputError
from actorflow.runtime.result import result_of
from actorflow.spec.sensitive import HIDDEN, sensitive_tasks

__all__ = ["WorkflowState", "WorkflowStatus"]


class WorkflowStatus(StrEnum):
    """What has become of a run; `completed` is read as `success`, and `COMPLETED` is the same as `SUCCESS`."""

    RUNNING = "running"
    PAUSED = "paused"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    COMPLETED = SUCCESS

    @classmethod
    def _missing_(cls, value: object) -> WorkflowStatus | None:
        return cls.SUCCESS if value == "completed" else None


@frozen(kw_only=True)
class WorkflowState:
    """A run as it stands, task by task; times are in epoch seconds.

    It has no outputs, and of what failed in a task that is `sensitive` only the error's type.
    """

    run_id: str
    workflow_name: str
    workflow_version: str  #: as its definition says it; empty where it does not
    status: WorkflowStatus
    started_at: float
    ended_at: float | None  #: None until the run has ended
    checkpoint_at: float  #: when the run was last committed: all up to here is kept
    task_statuses: Mapping[str, str]  #: of every task: pending, running, waiting, or its outcome
    task_attempts: Mapping[str, int]  #: of every task, over all agents and generations
    task_start_times: Mapping[str, float]  #: of the tasks that have started
    task_end_times: Mapping[str, float]  #: of the tasks that have ended
    task_errors: Mapping[str, str]  #: `type: message`, of the tasks whose last attempt failed
    metadata: Mapping[str, Any] = field(factory=dict[str, Any])  #: JSON that is the user's own

    @classmethod
    def of(cls, state: RunState, metadata: Mapping[str, Any] | None = None) -> Self:
        """Read it off a folded run.

        Args:
            state: behind its first event at least.
            metadata: JSON that is the user's own.
        """
        result = result_of(state, ())
        spec = state.plan.spec
        hidden = sensitive_tasks(spec)
        tasks = result.tasks
        return cls(
            run_id=result.run_id,
            workflow_name=result.workflow,
            workflow_version=spec.version,
            status=WorkflowStatus(result.status),
            started_at=result.started_at,
            ended_at=result.ended_at,
            checkpoint_at=state.last_at,
            task_statuses={name: task.status for name, task in tasks.items()},
            task_attempts={name: task.attempts for name, task in tasks.items()},
            task_start_times={
                name: task.started_at for name, task in tasks.items() if task.started_at is not None
            },
            task_end_times={name: task.ended_at for name, task in tasks.items() if task.ended_at is not None},
            task_errors={
                name: _error_text(task.error, is_hidden=name in hidden)
                for name, task in tasks.items()
                if task.error is not None
            },
            metadata=metadata or {},
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote; `completed` is read as `success`, and keys that it does not know are passed over.

        Raises:
            BadInputError: it is no such document; `problems` has all that is wrong with it.
        """
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BadInputError((f"a state is a JSON document, and this is none: {error}",)) from None
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Read what `to_document` gave; errors are those of `from_json`."""
        if not _is_object(document):
            raise BadInputError((f"a state is a JSON object, not {_shown(document)}",))
        problems = tuple(chain.from_iterable(_problems(name, document) for name in _FORMS))
        if problems:
            raise BadInputError(problems)
        return cls(**{name: form.read(document.get(name)) for name, form in _FORMS.items()})

    def to_json(self) -> str:
        """Write it for people and programs: indented JSON with `progress` and `can_resume`.

        Raises:
            TypeError: the metadata is not JSON.
        """
        return orjson.dumps(self.to_document(), option=orjson.OPT_INDENT_2).decode()

    def to_document(self) -> dict[str, Any]:
        """The same as JSON values; what is worked out from the rest is there too, and is not read again."""
        values = {**asdict(self, recurse=False), "status": self.status.value}
        head = {name: values.pop(name) for name in _HEAD}
        return {**head, "progress": self.progress, "can_resume": self.can_resume, **values}

    def with_metadata(self, metadata: Mapping[str, Any]) -> Self:
        """The same state with this metadata, in place of what it had.

        Raises:
            BadInputError: it is not JSON.
        """
        try:
            return evolve(self, metadata=plain(dict(metadata)))
        except OutputError as error:
            raise BadInputError((f"metadata: {error.path}: {error.problem}",)) from None

    @property
    def progress(self) -> float:
        """Ended tasks over tasks, from 0.0 to 1.0; 1.0 where there are none."""
        if not self.task_statuses:
            return 1.0
        return 1.0 - len(self.pending_tasks) / len(self.task_statuses)

    @property
    def can_resume(self) -> bool:
        """Whether `resume` would find anything to do: in every run but one that succeeded.

        One that a process is at work on has to be left by it first.
        """
        return self.status is not WorkflowStatus.SUCCESS

    @property
    def completed_tasks(self) -> tuple[str, ...]:
        """The tasks that succeeded; a resume does not run them again."""
        return self._tasks_that_are("success")

    @property
    def failed_tasks(self) -> tuple[str, ...]:
        """The tasks that failed, whatever became of that."""
        return self._tasks_that_are("failed")

    @property
    def pending_tasks(self) -> tuple[str, ...]:
        """The tasks that have not ended: what waits for others or for another attempt, and what is running."""
        return tuple(name for name, status in self.task_statuses.items() if status not in ENDED)

    def _tasks_that_are(self, outcome: str) -> tuple[str, ...]:
        return tuple(name for name, status in self.task_statuses.items() if status == outcome)


def _error_text(error: Mapping[str, Any], *, is_hidden: bool) -> str:
    return f"{error['type']}: {HIDDEN if is_hidden else error['message']}"


@frozen
class _Form:
    """What a field of the document must be, and what becomes of it."""

    words: str
    fits: Callable[[Any], bool]
    is_each: bool = False  #: it holds for each value of an object, not for the field itself
    read_one: Callable[[Any], Any] = lambda value: value

    def read(self, value: Any) -> Any:
        """What becomes of a value that fits; an object that is not there is empty."""
        if not self.is_each:
            return self.read_one(value)
        items = value.items() if _is_object(value) else ()
        return {key: self.read_one(each) for key, each in items}


def _problems(name: str, document: Mapping[str, Any]) -> Iterator[str]:
    form, value = _FORMS[name], document.get(name)
    if name not in document:
        if name != "metadata":
            yield f"{name} is missing"
    elif not form.is_each:
        if not form.fits(value):
            yield f"{name} is {_shown(value)}, which is not {form.words}"
    elif not _is_object(value):
        yield f"{name} is {_shown(value)}, which is not an object"
    else:
        for key, each in value.items():
            if not form.fits(each):
                yield f"{name}.{key} is {_shown(each)}, which is not {form.words}"


def _shown(value: Any) -> str:
    """A value of the document, cut where it is long."""
    text = json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _outcome(status: str) -> str:
    """A task's status in our words."""
    return "success" if status == "completed" else status


_SHOWN: Final = 80
_HEAD: Final = ("run_id", "workflow_name", "workflow_version", "status")
_RUN_STATUSES: Final = tuple(status.value for status in WorkflowStatus)
_TASK_STATUSES: Final = ("pending", "running", "waiting", *sorted(ENDED))

_TEXT: Final = _Form("a text", _is_text)
_TIME: Final = _Form("a time in epoch seconds", _is_time)
_TIMES: Final = evolve(_TIME, is_each=True)

_FORMS: Final[Mapping[str, _Form]] = {
    "run_id": _TEXT,
    "workflow_name": _TEXT,
    "workflow_version": _TEXT,
    "status": _Form(
        f"one of {', '.join(_RUN_STATUSES)}",
        lambda value: value in (*_RUN_STATUSES, "completed"),
        read_one=WorkflowStatus,
    ),
    "started_at": _TIME,
    "ended_at": _Form("a time in epoch seconds, or null", lambda value: value is None or _is_time(value)),
    "checkpoint_at": _TIME,
    "task_statuses": _Form(
        f"one of {', '.join(_TASK_STATUSES)}",
        lambda value: value in (*_TASK_STATUSES, "completed"),
        is_each=True,
        read_one=_outcome,
    ),
    "task_attempts": _Form("a number of attempts", _is_count, is_each=True),
    "task_start_times": _TIMES,
    "task_end_times": _TIMES,
    "task_errors": evolve(_TEXT, is_each=True),
    "metadata": _Form("JSON", lambda _: True, is_each=True),
}
