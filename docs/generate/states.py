"""The state diagrams: from the transition tables where there is one, and else by asking the code what follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

from actorflow.core.delivery import Again, Held, Settled, SettledStatus, TryStatus, Verdict
from actorflow.core.transitions import ENDED, RUN_TRANSITIONS, SHOWN, TASK_TRANSITIONS
from docs.generate.asked import SITUATIONS, Arrow, breaker_arrows, delivery_arrows, hook_arrows, verdict
from docs.generate.markdown import code, codes, fenced, page, table

START: Final = "[*]"

SETUP_IS_OVER: Final[Arrow] = ("setup", "the last pre_workflow hook has ended", "tasks")
"""The one step of a run that is no event of its own."""

BY_HOOKS: Final[tuple[Arrow, ...]] = (
    ("pending", "HookStarted", "preparing"),
    ("pending", "HookFinished", "preparing"),
    ("pending", "HookFinished", "waiting"),
    ("waiting", "HookStarted", "preparing"),
    ("waiting", "HookFinished", "preparing"),
    ("preparing", "HookFinished", "waiting"),
    ("pending", "an outcome", "finishing"),
    ("running", "an outcome", "finishing"),
    ("deciding", "an outcome", "finishing"),
    ("waiting", "an outcome", "finishing"),
    ("finishing", "TaskFinished", "failed"),
    ("finishing", "TaskFinished", "canceled"),
)
"""What blocking hooks of tasks add to the table of tasks. `an outcome`: the event that has it in the table."""

BY_GENERATIONS: Final[tuple[Arrow, ...]] = tuple(
    (status, "GenerationStarted", "pending") for status in ("failed", "canceled", "skipped")
)
"""What another generation does to the tasks that it opens again."""

_OF_HOOKED_TASKS: Final = ("preparing", "finishing")
_OF_TASKS: Final = (
    "What is not in the table cannot happen: an event that does not fit is refused, and leaves the state as it was. People and "
    "templates see some statuses under another name: {shown}. Another generation opens tasks again that did not succeed: all "
    "of them, or those that an operator names with what is below them."
)
_WITH_HOOKS: Final = (
    "A task with blocking hooks on `task_started` is `preparing` while they run. One with blocking hooks on `task_finished` is "
    "`finishing` when it would have its outcome otherwise; `TaskFinished` then gives it that, or `TaskFailed` a failure."
)
_OF_RUNS: Final = (
    "`setup` is the time of `pre_workflow` hooks, `ending` that of `on_error` and `post_workflow`. The step from `setup` to "
    "`tasks` is no event of its own: where no hook is waited for, it comes with `GenerationStarted`. A run that has ended "
    "begins another generation when it is resumed. `PauseRequested` leaves a run where it is, and holds back all that is new "
    "until `Resumed`."
)
_OF_STAGES: Final = (
    "A stage has no states of its own: it is open until all of its tasks have ended and one of them was entered, and then "
    "`StageCompleted` says once in a generation how it went. What comes after a stage begins when its blocking hooks are done."
)
_OF_HOOKS: Final = (
    "A blocking hook in its line: what the run, a stage or a task waits for. `HookFinished` without `HookStarted` is a hook "
    "that was passed over, or a transform. One that was lost is next again."
)
_OF_DELIVERIES: Final = (
    "What an async hook is owed is `pending` until it is settled. A try ends in one of the words on the left; the table has "
    "what follows. *Another try* keeps it pending until its time; *held* keeps it pending for whoever takes it up later, "
    "since something is missing in this process. One that is not wanted is skipped: by its `when`, its environments, a switch, "
    "or the depth of dispatched runs."
)
_OF_BREAKERS: Final = (
    "Shared by all runs of a store under its key. Half open, one attempt at a time is let through to show whether the "
    "breaker may close; who asks meanwhile is refused, and so is who asks before the cooldown is over."
)


def states_page() -> str:
    """Runs, tasks, stages, hooks, deliveries, breakers."""
    run, task = arrows_of(RUN_TRANSITIONS), arrows_of(TASK_TRANSITIONS)
    hooked = [arrow for arrow in task if arrow[0] in _OF_HOOKED_TASKS]
    plain = [arrow for arrow in task if arrow not in hooked]
    shown = ", ".join(f"{code(status)} is {code(name)}" for status, name in SHOWN.items())
    return page(
        "States",
        "How a run and its parts move, as the tables and functions of the core have it. [Events](events.md) has what each "
        "event holds.",
        *_part("A run", _OF_RUNS, diagram([*run, SETUP_IS_OVER], "new", ("ended",)), _rows(run)),
        *_part(
            "A task",
            _OF_TASKS.format(shown=shown),
            diagram(plain, "pending", ENDED),
            _rows([*task, *BY_GENERATIONS]),
        ),
        *_part(
            "A task with blocking hooks", _WITH_HOOKS, diagram([*BY_HOOKS, *hooked], "pending", ENDED), ""
        ),
        "## A stage",
        _OF_STAGES,
        *_part("A blocking hook", _OF_HOOKS, diagram(hook_arrows(), "next", ("ended",)), ""),
        *_part(
            "A delivery",
            _OF_DELIVERIES,
            diagram(delivery_arrows(), "pending", get_args(SettledStatus)),
            _verdicts(),
        ),
        *_part("A circuit breaker", _OF_BREAKERS, diagram(breaker_arrows(), "closed", ()), ""),
    )


def _part(title: str, text: str, drawing: str, rows: str) -> tuple[str, ...]:
    return (f"## {title}", text, drawing, rows)


def arrows_of(transitions: Mapping[tuple[Any, Any], str]) -> list[Arrow]:
    """The arrows of a transition table, in its order."""
    return [(source, event.__name__, target) for (source, event), target in transitions.items()]


def diagram(arrows: Iterable[Arrow], first: str, last: Iterable[str]) -> str:
    """A Mermaid state diagram; what leaves a state as it is has its place in the table alone."""
    labels: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for source, by, target in arrows:
        if source != target and by not in labels[source, target]:
            labels[source, target].append(by)
    lines = [f"{START} --> {first}"]
    lines += [f"{source} --> {target} : {'<br/>'.join(by)}" for (source, target), by in labels.items() if by]
    lines += [f"{status} --> {START}" for status in sorted(last)]
    return fenced("mermaid", "\n".join(["stateDiagram-v2", *(f"    {line}" for line in lines)]))


def _rows(arrows: Iterable[Arrow]) -> str:
    """Events that have the same states before and behind them are told of together."""
    sources: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for source, by, target in arrows:
        sources[by, "the same" if source == target else code(target)].append(source)
    events: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for (by, target), found in sources.items():
        events[codes(found), target].append(f"[{by}](events.md#{by.lower()})")
    rows = ([", ".join(links), found, target] for (found, target), links in events.items())
    return table(["event", "in", "leads to"], rows)


def _verdicts() -> str:
    rows = (
        [code(status), *(_shown(verdict(status, situation)) for situation in SITUATIONS.values())]
        for status in get_args(TryStatus)
    )
    return table(["a try ends", *SITUATIONS], rows)


def _shown(follows: Verdict) -> str:
    match follows:
        case Settled(status=status):
            return code(status)
        case Again():
            return "another try"
        case Held():
            return "held"
