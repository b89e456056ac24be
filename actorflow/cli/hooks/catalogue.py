"""`actorflow hooks events` and `hooks actions`: what hooks can be on, and what they can do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, get_args

from attrs import asdict, frozen

from actorflow.cli.layout import columns, show_table
from actorflow.cli.screen import as_line
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Exit
from actorflow.core.hook_config import BLOCKING, OF_RUNS
from actorflow.hooks.actions.custom import CustomAction
from actorflow.hooks.registry import REGISTRY
from actorflow.spec.action_contracts import ActionContract
from actorflow.spec.model import NOT_FIRED_YET, HookAction, HookEvent
from actorflow.spec.readers.actions import CHANNELS, action_of
from actorflow.spec.surface.forms import keys_of
from actorflow.spec.surface.hooks import PARAMS_OF, HookSet

BY_CONTRACT: Final[frozenset[HookEvent]] = frozenset(
    {
        "pre_workflow", "post_workflow", "on_error", "on_stage_complete", "workflow_finished", "task_started",
        "task_finished",
    }
)  # fmt: skip
"""The events that every version of the format has, and fires alike."""

_BESIDE_PARAMS: Final = frozenset({"timeout"})  # of a command: told as a default
_TOLD_OF_RUNS: Final[frozenset[str]] = OF_RUNS | {"signal_received"}


@frozen
class EventRow:
    """A lifecycle event."""

    event: str
    is_by_contract: bool
    of: str  #: `run` or `task`
    may_block: bool
    is_fired: bool  #: by this version
    when: str


@frozen
class ActionRow:
    """Something that a hook can do."""

    action: str
    does: str
    params: tuple[str, ...]
    required: tuple[str, ...]  #: those of them that must be given
    timeout_s: float  #: of a try, where the hook has none
    max_attempts: int
    is_built_in: bool
    is_runnable: bool  #: whether this version can perform it
    channels: tuple[str, ...] = ()  #: the types of those that it may have


def event_rows() -> list[EventRow]:
    """All events, as the format names them."""
    texts = {name: attribute.metadata["text"] for name, attribute in keys_of(HookSet).items()}
    return [
        EventRow(
            event=event,
            is_by_contract=event in BY_CONTRACT,
            of="run" if event in _TOLD_OF_RUNS else "task",
            may_block=event in BLOCKING,
            is_fired=event not in NOT_FIRED_YET,
            when=texts[event],
        )
        for event in get_args(HookEvent)
    ]


def action_rows() -> list[ActionRow]:
    """All actions that a file can name: those of the format, then those that programs have registered."""
    built_in: list[HookAction] = [*get_args(HookAction)]
    own = [name for name in REGISTRY.names() if name not in built_in]
    return [*map(_built_in, built_in), *(_of_a_program(REGISTRY.contracts[name]) for name in own)]


def show_events(settings: Settings) -> int:
    """Show the events of the lifecycle."""
    rows, screen = event_rows(), settings.screen
    if screen.is_json:
        screen.document({"events": [asdict(row) for row in rows]})
        return Exit.SUCCESS
    head = ("EVENT", "OF", "FIRES", "BLOCKS", "WHEN")
    cells = [
        (row.event, row.of, _how_it_fires(row), "may" if row.may_block else "-", row.when) for row in rows
    ]
    show_table(screen, [head, *cells], spare=(3, 2, 1))
    return Exit.SUCCESS


def show_actions(settings: Settings) -> int:
    """Show the actions that hooks can name."""
    rows, screen = action_rows(), settings.screen
    if screen.is_json:
        screen.document({"actions": [asdict(row) for row in rows]})
        return Exit.SUCCESS
    lines: list[str] = []
    for row in rows:
        lines += _action_lines(row)
    screen.result("\n".join(lines))
    return Exit.SUCCESS


def _how_it_fires(row: EventRow) -> str:
    if not row.is_fired:
        return "not yet"
    return "by contract" if row.is_by_contract else "opt-in"


def _action_lines(row: ActionRow) -> list[str]:
    facts: Mapping[str, str] = {
        "needs": ", ".join(row.required),
        "takes": ", ".join(name for name in row.params if name not in row.required),
        "channels": ", ".join(row.channels),
        "defaults": f"timeout {row.timeout_s:g}s, max_attempts {row.max_attempts}",
    }
    later = "" if row.is_runnable else " (not in this version)"
    cells = [(key, value) for key, value in facts.items() if value]
    return [as_line(f"{row.action}{later}: {row.does}"), *columns(cells, indent="  ")]


def _built_in(name: HookAction) -> ActionRow:
    action, keys = action_of(name), keys_of(PARAMS_OF[name])
    return ActionRow(
        action=name,
        does=_first_line(PARAMS_OF[name]),
        params=tuple(key for key in keys if key not in _BESIDE_PARAMS),
        required=tuple(key for key, attribute in keys.items() if attribute.metadata["must"]),
        timeout_s=action.timeout,
        max_attempts=action.max_attempts,
        is_built_in=True,
        is_runnable=name == "transform" or REGISTRY.action(name) is not None,
        channels=CHANNELS if "channels" in keys else (),
    )


def _of_a_program(contract: ActionContract) -> ActionRow:
    action = REGISTRY.action(contract.name)
    return ActionRow(
        action=contract.name,
        does=_first_line(action.function if isinstance(action, CustomAction) else contract.params),
        params=tuple(contract.keys),
        required=tuple(key for key, param in contract.keys.items() if param.is_required),
        timeout_s=contract.timeout,
        max_attempts=contract.max_attempts,
        is_built_in=False,
        is_runnable=True,
    )


def _first_line(documented: Any) -> str:
    """What a docstring says first."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]
