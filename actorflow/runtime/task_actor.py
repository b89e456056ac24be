"""The TaskActor: one per task that has become ready; it performs attempts, one turn of a pooled runner each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context
from types import MappingProxyType
from typing import Any, Final

from attrs import define, field, frozen

from actorflow.actors.alarm import Alarm, Appointment
from actorflow.actors.host import Host
from actorflow.actors.pool import RunnerPool, TurnClosed
from actorflow.agents.call import AgentCall, Performer, Recorded
from actorflow.agents.failure import AgentFailed, failure_of
from actorflow.agents.output import plain
from actorflow.agents.soft_errors import soft_failure
from actorflow.core.commands import StartAttempt
from actorflow.core.events import AttemptCanceled, AttemptFailed, AttemptSucceeded, AttemptTimedOut, Failure
from actorflow.core.http_call import HttpCall
from actorflow.core.texts import Text
from actorflow.journal.output_log import NO_OUTPUT, OutputLog
from actorflow.runtime.clock import RunClock
from actorflow.runtime.messages import AllBegun, AttemptEnded, AttemptGone, Message
from actorflow.secrecy.hiding import NOTHING_HIDDEN, Hiding
from actorflow.secrecy.run_secrets import NOTHING_OPENED, Opened, RunSecrets
from actorflow.secrecy.source import SecretUnreadable

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

LEAST_GRACE_S: Final = 0.1
"""What a Python body has to end in at the least, so that one that ends at its next await is never left behind."""

_OVERRULED_BY: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {"timeout": frozenset(), "cancel": frozenset({"pause"}), "pause": frozenset({"timeout", "cancel"})}
)
"""For which cause an attempt ends that was to end for another already: what nobody waits to resume gets no endless grace."""


@frozen
class Performers:
    """Who performs the attempts of a run, bound before the run exists."""

    named: Mapping[str, Performer]  #: by agent name
    inline: Mapping[str, Performer]  #: by task id
    descriptions: Mapping[str, str]  #: of agents, for tasks without one of their own
    options: Mapping[str, Mapping[str, Any]]  #: of agents
    soft_errors: frozenset[str] = frozenset()  #: agents whose outputs may say that they are errors
    as_declared: frozenset[str] = (
        frozenset()
    )  #: agents with the file's own runner: only that gets its argv and request
    makes_requests: bool = False  #: whether some are HTTP requests
    named_python: frozenset[str] = frozenset()  #: agents that are Python, and may go on when they should end
    inline_python: frozenset[str] = frozenset()  #: tasks whose own runner is


@define(eq=False)
class TaskSurroundings:
    """What all TaskActors of a run share."""

    run_id: str
    host: Host
    clock: RunClock
    pool: RunnerPool
    alarm: Alarm
    context: Context  #: the context variables of whoever started the run
    secrets: RunSecrets
    performers: Performers
    tell: Callable[[Message], None]  #: to the WorkflowActor
    note_crash: Callable[[float, str, Exception], None]  #: to the TaskSupervisor
    outputs: OutputLog = NO_OUTPUT  #: where lines go that processes print
    grace_s: float = 10.0  #: what a Python body has to end in, after its timeout or cancel
    queued_count: int = 0  #: attempts that wait for a runner
    is_waiting_for_begun: bool = False  #: the WorkflowActor wants to be told when there are none
    has_secrets: bool = field(init=False)  #: asked once: few definitions have any

    def __attrs_post_init__(self) -> None:
        self.has_secrets = self.secrets.has_any

    @property
    def hiding(self) -> Hiding:
        """What takes the run's secrets out of what is told."""
        return self.secrets.hiding


class TaskActor:
    """Performs the attempts of one task.

    It takes StartAttempt (`start`) and CancelAttempt (`cancel`), and tells the WorkflowActor exactly one AttemptEnded
    for each start, or AttemptGone after `abandon`, or AttemptCrashed through the supervisor.

    A Python body may go on after its timeout or cancel. The answer waits for it, and with that the retry; after the
    grace period the attempt has failed, `did_not_stop`, and the body is left behind with this actor, which takes no
    start any more: what becomes of the body is nobody's business.
    """

    __slots__ = ("_command", "_end_cause", "_is_at_work", "_timer", "_with", "is_left_behind")

    def __init__(self, surroundings: TaskSurroundings, command: StartAttempt) -> None:
        self._with = surroundings
        self._command = command
        self._end_cause: str | None = None  #: `timeout`, `cancel` or `pause`, once the attempt is to end
        self._timer: Appointment | None = None  #: the timeout; or the grace, once the attempt is to end
        self._is_at_work = False
        self.is_left_behind = False

    @property
    def run_id(self) -> str:
        """The run's."""
        return self._with.run_id

    @property
    def task(self) -> str:
        """The task's id."""
        return self._command.task

    def start(self, command: StartAttempt) -> None:
        """Perform an attempt, as soon as a runner is free."""
        assert not self.is_left_behind
        self._command = command
        self._end_cause = None
        self._with.queued_count += 1
        self._with.pool.submit(self)

    def cancel(self) -> None:
        """End the attempt; again, nothing."""
        self._end_for("cancel")

    def abandon(self) -> None:
        """End the attempt so that nothing of it is recorded: it will be lost on resume."""
        self._end_for("pause")

    @property
    def context(self) -> Context:
        """A fresh copy of the run's context, so that attempts do not see each other's variables."""
        return self._with.context.copy()

    async def perform(self) -> None:
        """One attempt, from its call to its outcome."""
        self._is_at_work = True
        around, command = self._with, self._command
        around.queued_count -= 1
        if around.is_waiting_for_begun and not around.queued_count:
            around.is_waiting_for_begun = False
            around.tell(AllBegun())
        if command.timeout is not None:
            self._timer = around.alarm.after(command.timeout, self._time_out)
        try:
            ended: AttemptEnded = self._returned(
                await self._performer()(self._call(self._opened(), self._request()))
            )
        except TurnClosed:
            raise
        except KeyboardInterrupt:  # of the program, not of the agent: the run is to be resumed
            self._end_cause = "pause"
            self._finish()
            raise
        except BaseException as error:
            is_cancelled = isinstance(error, around.host.cancelled_class) and around.host.is_cancelled()
            if is_cancelled and self._end_cause is None:
                raise  # the whole runtime is going
            now = around.clock.now()
            failure = failure_of(error, around.hiding)
            self._finish(AttemptFailed(now, command.task, command.attempt, failure))
            if is_cancelled:
                raise
        else:
            self._finish(ended)

    def crashed(self, error: Exception) -> None:
        """The turn raised: a bug of ours. The supervisor decides."""
        self._rest()
        if not self.is_left_behind:
            self._with.note_crash(self._with.clock.now(), self._command.task, error)

    def _end_for(self, cause: str) -> None:
        if self.is_left_behind or (
            self._end_cause is not None and self._end_cause not in _OVERRULED_BY[cause]
        ):
            return
        where = self._with.pool.cancel(self)
        if where != "absent":
            self._end_cause = cause
        if where == "queued":
            self._with.queued_count -= 1
            self._finish()
        elif where == "at_work":
            self._set_grace()

    def _set_grace(self) -> None:
        """Wait for the body to end; in a pause as long as it takes, as the grace of the pause is over."""
        self._cancel_timer()
        if self._end_cause != "pause" and self._is_python():
            grace_s = max(self._with.grace_s, LEAST_GRACE_S)
            self._timer = self._with.alarm.after(grace_s, lambda: self._leave_behind(grace_s))

    def _leave_behind(self, grace_s: float) -> None:
        command = self._command
        what = f"its timeout of {command.timeout:g} s" if self._end_cause == "timeout" else "it was canceled"
        failure = Failure("did_not_stop", f"still running {grace_s:g} s after {what}; it was left behind")
        self._rest()
        self.is_left_behind = True
        self._with.tell(AttemptFailed(self._with.clock.now(), command.task, command.attempt, failure))

    def _time_out(self) -> None:
        if self._is_at_work:
            self._end_for("timeout")

    def _finish(self, ended: AttemptEnded | None = None) -> None:
        """Tell how the attempt ended. What ended it comes before what the body made of that."""
        if self.is_left_behind:
            return
        self._rest()
        self._with.tell(ended if ended is not None and self._end_cause is None else self._ended_by_us())

    def _rest(self) -> None:
        self._is_at_work = False
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ended_by_us(self) -> Message:
        command, now = self._command, self._with.clock.now()
        match self._end_cause:
            case "pause":
                return AttemptGone(command.task)
            case "timeout":
                deadline = command.deadline
                ended = (
                    f"after {command.timeout:g} s"
                    if deadline is None
                    else f"within its deadline of {deadline:g} s"
                )
                message = f"not done {ended}"
                return AttemptTimedOut(now, command.task, command.attempt, Failure("timeout", message))
            case _:
                return AttemptCanceled(now, command.task, command.attempt)

    def _performer(self) -> Performer:
        command, performers = self._command, self._with.performers
        return performers.inline[command.task] if command.is_inline else performers.named[command.agent]

    def _is_python(self) -> bool:
        command, performers = self._command, self._with.performers
        if command.is_inline:
            return command.task in performers.inline_python
        return command.agent in performers.named_python

    def _opened(self) -> Opened:
        """The variables and arguments, their secrets put in."""
        env, argv = self._command.env, self._argv()
        if not env and argv is None:
            return NOTHING_OPENED
        try:
            return self._with.secrets.opened(env, argv)
        except SecretUnreadable as error:
            raise AgentFailed("environment", str(error)) from None

    def _argv(self) -> tuple[Text, ...] | None:
        """The arguments that were rendered, for the runner that they are for."""
        return self._command.argv if self._is_as_declared() else None

    def _request(self) -> HttpCall[str] | None:
        """The request that was rendered, for the runner that it is for; its secrets put in."""
        request = self._command.http
        if request is None or not self._is_as_declared():
            return None
        try:
            return request.opened(self._with.secrets.lookup)
        except SecretUnreadable as error:
            raise AgentFailed("environment", str(error)) from None

    def _is_as_declared(self) -> bool:
        """Whether the runner is the one of the file, which all was rendered for."""
        return self._command.is_inline or self._command.agent in self._with.performers.as_declared

    def _call(self, opened: Opened, request: HttpCall[str] | None) -> AgentCall:
        command, around = self._command, self._with
        agent = command.agent
        return AgentCall(  # by position: keywords cost a microsecond more, for every attempt
            plain(command.input)
            if command.input
            else {},  # its own copy: agents may change what they are given
            command.task,
            around.run_id,
            command.attempt,
            command.loss,
            command.idempotency_key,
            agent,
            command.spec.description or self._description(),
            self._options(),
            opened.env,
            opened.argv,
            request,
            around.hiding if around.has_secrets else NOTHING_HIDDEN,
            NO_OUTPUT if command.spec.sensitive else around.outputs,
        )

    def _description(self) -> str:
        """That of the agent; an inline runner has none, whatever agent may be called as its kind is."""
        command = self._command
        return "" if command.is_inline else self._with.performers.descriptions.get(command.agent, "")

    def _options(self) -> Mapping[str, Any]:
        command, options = self._command, _NO_OPTIONS
        if not command.is_inline:
            options = self._with.performers.options.get(command.agent, _NO_OPTIONS)
        own = command.spec.options
        return {**options, **own} if own else options

    def _returned(self, output: Any) -> AttemptSucceeded | AttemptFailed:
        """What is kept of an output. It is the output from here on: without secrets, whoever reads it."""
        command, now = self._command, self._with.clock.now()
        record: dict[str, Any] = {}
        if isinstance(output, Recorded):
            output, record = output.output, dict(output.record)
        output = plain(output)
        if self._with.has_secrets:
            hiding = self._with.hiding
            output, record = hiding.data(output), hiding.data(record)
        if self._may_fail_softly():
            failure = soft_failure(output, record, quotes=not command.spec.sensitive)
            if failure is not None:
                return AttemptFailed(now, command.task, command.attempt, failure)
        return AttemptSucceeded(now, command.task, command.attempt, output, record)

    def _may_fail_softly(self) -> bool:
        command = self._command
        is_agents = not command.is_inline and command.agent in self._with.performers.soft_errors
        return is_agents or command.spec.soft_errors
