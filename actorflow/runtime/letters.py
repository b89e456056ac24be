"""Dead letters: what the journal keeps of tasks that failed for good, and what keeps a delivery from being tried again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from actorflow.core.events import DeadLettered, Event
from actorflow.core.hook_config import FUNCTION
from actorflow.core.hook_context import HookContext
from actorflow.core.hook_events import has_target
from actorflow.core.hook_rendering import shown_inputs
from actorflow.core.state import RunState
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.telling import refusal_text
from actorflow.errors import DeadLetterNotFoundError
from actorflow.hooks.opening import specs_of
from actorflow.hooks.parcel import opened
from actorflow.hooks.switches import ENVIRONMENT
from actorflow.journal.protocol import DeadLetter, KeepDeadLetter, PendingDelivery
from actorflow.runtime.environment import run_secrets
from actorflow.runtime.staff import Staff
from actorflow.secrecy.source import SecretUnreadable


def letters(run_id: str, events: Sequence[Event], first_seq: int) -> Iterator[KeepDeadLetter]:
    """The rows for the dead letters among a batch of events, whose first has the number `first_seq`."""
    for seq, event in enumerate(events, first_seq):
        if isinstance(event, DeadLettered):
            reason = f"{event.failure.type}: {event.failure.message}"
            yield KeepDeadLetter(DeadLetter(event.letter, "task", run_id, event.task, reason, event.at, seq))


def chosen_letter(letters: Sequence[DeadLetter], letter_id: str) -> DeadLetter:
    """The dead letter of this id, or the only one whose id begins so.

    Raises:
        DeadLetterNotFoundError: none or several; it names the nearest.
    """
    found = [letter for letter in letters if letter.id.startswith(letter_id)]
    exact = [letter for letter in found if letter.id == letter_id]
    if exact or len(found) == 1:
        return (exact or found)[0]
    near = [letter.id for letter in found] or get_close_matches(
        letter_id, [each.id for each in letters][:1000]
    )
    raise DeadLetterNotFoundError(letter_id, nearest=tuple(near[:5]))


def hindrance_to(pending: PendingDelivery, state: RunState, staff: Staff) -> str:
    """Why a delivery that was given up cannot be tried again in this process; empty if it can.

    A dead letter that is tried where something is missing would only change places: out of sight of whoever looks for
    dead letters.

    Args:
        pending: the delivery, as it would be tried.
        state: of its run.
        staff: of this runtime.
    """
    spec = specs_of(state).get(pending.hook)
    if spec is None:
        return f"the run has no hook {pending.hook} any more: there is nobody to deliver to"
    context = opened(pending, state.run_id, spec, shown_inputs(state)).context
    return (
        _missing_action(context, staff)
        or _switched_off(context, state, staff)
        or _refused(context, state, staff)
    )


def _missing_action(context: HookContext, staff: Staff) -> str:
    spec = context.spec
    if spec.action == FUNCTION and (context.event, spec.name) not in staff.functions:
        return f"this process has no function {spec.name!r} for {context.event}; register it with Runtime.on"
    if staff.registry.action(spec.action) is None:
        return f"this process has no action {spec.action!r}; try it by the program that registers it"
    return ""


def _switched_off(context: HookContext, state: RunState, staff: Staff) -> str:
    recorded = None if state.started is None else state.started.flags.get(ENVIRONMENT)
    return staff.switches.for_run(recorded).hold_reason(context.spec, context.path)


def _refused(context: HookContext, state: RunState, staff: Staff) -> str:
    """What of its params is not there, or not allowed."""
    secrets = run_secrets(state.plan)
    try:
        params = secrets.unsealed(context.params)
        if has_target(context.spec) and "url" in params:
            staff.guard.permit(params["url"])
    except EgressRefused as refused:
        return refusal_text(refused, str(context.spec.params.get("url", "")), secrets.hidden)
    except SecretUnreadable as missing:
        return str(secrets.hidden(str(missing)))
    return ""
