"""The metrics of a runtime: where everything that is measured goes, and whence it is read."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final

from actorflow.core.events import BreakerClosed, BreakerOpened, Event, HookFinished
from actorflow.core.plan import Plan
from actorflow.core.state import RunState
from actorflow.metrics.built_in import BUILT_IN, OF_EVENTS
from actorflow.metrics.family import MOST_SERIES, LiveFamily
from actorflow.metrics.measuring import TELLING, Measured, hook_action, measured_at_end, settled
from actorflow.metrics.names import (
    checked_tags,
    refuse_bad_kind,
    refuse_bad_name,
    refuse_bad_value,
    sample_names,
)
from actorflow.metrics.snapshot import Family, MetricKind, Snapshot, Tags

MOST_METRICS: Final = 1_000
"""Metrics that workflows and programs may make up."""

MOST_TASKS_WAITING = 2_000
"""Of ended runs that are not measured yet, unless it is one run alone."""

EVENTS_WAITING = 512
"""Events that are not counted yet."""

COMMITS_WAITING = 512
"""Commits that are not measured yet: the writing thread has better things to do."""

_logger = logging.getLogger("actorflow.metrics")


class Metrics:
    """Counters, gauges and histograms, by name and tags; any thread may use it.

    What workflows and programs measure goes in by `record`, what a runtime measures by `note…`; `snapshot` has it all.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._noted: deque[tuple[Plan, Sequence[Event]]] = deque()  #: events that are not counted yet
        self._noted_count = 0
        self._ended: deque[RunState] = deque()  #: runs that are not measured yet
        self._ended_tasks_count = 0  #: of those
        self._commits: deque[float] = deque()  #: seconds of each that is not measured yet
        self._counts: defaultdict[type[Event], int] = defaultdict(int)
        self._built_in: dict[str, LiveFamily] = {}
        self._made_up: dict[str, LiveFamily] = {}
        self._owners: dict[str, str] = {}  #: of the names of samples: the metric that was made up for each
        self._overflowing: set[str] = set()  #: metrics of which the log has it
        self._breakers: dict[str, float] = {}  #: when each was told of last, by key
        self._readings: dict[str, Callable[[], float]] = {}

    def record(self, name: str, kind: MetricKind, value: float, tags: Mapping[str, str]) -> None:
        """Take one measurement of a workflow's or a program's own.

        Args:
            name: letters, digits, `_`, `.` and `:`, and not `actorflow_` at its beginning.
            kind: the same each time: a counter adds the values up, a gauge shows the last one, a histogram counts them
                in buckets that are the same for all.
            value: finite; of a counter not negative.
            tags: which of the metric's series it is for. From `MOST_SERIES` on, others share one: `overflow=true`.

        Raises:
            ValueError: it cannot be taken, and nothing has changed; the message says why.
            TypeError: the same, for what is of another type.
        """
        refuse_bad_kind(name, kind)
        refuse_bad_value(name, kind, value)
        key = checked_tags(name, tags)
        with self._lock:
            family = self._made_up.get(name) or self._new(name, kind)
            if family.kind != kind:
                raise ValueError(f"metric {name!r} is a {family.kind}, and cannot be used as a {kind} too")
            is_news = self._take(family, key, (value,))
        if is_news:
            _tell_of_overflow(name)

    def note(self, plan: Plan, events: Sequence[Event]) -> None:
        """Count events of a run that are in the journal now, many together: a chain's batch of two has no time for it."""
        self._noted.append((plan, events))
        self._noted_count += len(events)
        if self._noted_count >= EVENTS_WAITING:
            self._count_noted()

    def _count_noted(self) -> None:
        """Of nearly all events only the type is looked at."""
        self._noted_count = 0
        kinds: list[type[Event]] = []
        telling: list[tuple[Plan, Event]] = []
        with suppress(IndexError):  # there are none left
            while True:
                plan, events = self._noted.popleft()
                of_batch = [type(event) for event in events]
                kinds += of_batch
                if not TELLING.isdisjoint(of_batch):
                    telling.extend((plan, event) for event in events if type(event) in TELLING)
        with self._lock:
            for kind, count in Counter(kinds).items():
                self._counts[kind] += count
        for plan, event in telling:
            self._look_into(plan, event)

    def note_run(self, state: RunState) -> None:
        """Measure a run that has ended, once for each of its generations; one that has not is passed over.

        In proportion to its tasks: not for the way to its result.
        """
        for measured in measured_at_end(state):
            self._note(measured)

    def note_ended(self, state: RunState) -> None:
        """The same later: when somebody looks, or when `measure_ended` is called. The state is to stay as it is."""
        self._ended.append(state)
        self._ended_tasks_count += len(state.tasks)

    @property
    def has_many_ended(self) -> bool:
        """Whether so many tasks of ended runs wait to be measured that it is time for it, for the memory that they take."""
        return len(self._ended) > 1 and self._ended_tasks_count > MOST_TASKS_WAITING

    def measure_ended(self) -> None:
        """Measure the runs that have ended; in proportion to their tasks, in whatever thread."""
        self._ended_tasks_count = 0
        with suppress(IndexError):  # there are none left, or another thread has the last
            while True:
                self.note_run(self._ended.popleft())

    def note_delivery(self, action: str, status: str) -> None:
        """A delivery to an async hook is settled: `delivered`, `failed`, `dead_letter` or `skipped`."""
        self._note(settled(action, "async", status))

    def note_commit(self, seconds: float) -> None:
        """The store has committed something, and took so long."""
        self._commits.append(seconds)
        if len(self._commits) >= COMMITS_WAITING:
            self._measure_commits()

    def _measure_commits(self) -> None:
        times: list[float] = []
        with suppress(IndexError):  # there are none left
            while True:
                times.append(self._commits.popleft())
        self._note(Measured("actorflow_commit_seconds", (), times))

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Have a built-in gauge read whenever somebody looks, in whatever thread that is."""
        self._readings[name] = read

    def snapshot(self) -> Snapshot:
        """All that was measured up to now."""
        self._count_noted()
        self.measure_ended()
        self._measure_commits()
        readings = {name: read() for name, read in self._readings.items()}
        with self._lock:
            families = {name: family.frozen() for name, family in self._built_in.items()}
            made_up = [self._made_up[name].frozen() for name in sorted(self._made_up)]
            families.update(_counted(self._counts))
        for name, value in readings.items():
            families[name] = _read_family(name, value)
        return Snapshot((*(families[name] for name in BUILT_IN if name in families), *made_up))

    def _look_into(self, plan: Plan, event: Event) -> None:
        match event:
            case HookFinished(status=status):
                word = "delivered" if status == "ok" else status
                self._note(settled(hook_action(plan, event), "blocking", word))
            case BreakerOpened(at=at, key=key):
                self._note_breaker(key, at, is_open=True)
            case BreakerClosed(at=at, key=key):
                self._note_breaker(key, at, is_open=False)
            case _:
                pass

    def _note_breaker(self, key: str, at: float, *, is_open: bool) -> None:
        """What happened last counts, in whichever order runs tell of it."""
        with self._lock:
            is_latest = at >= self._breakers.get(key, at)
            if is_latest:
                self._breakers[key] = at
        if is_latest:
            self._note(Measured("actorflow_breaker_open", (("key", key),), (float(is_open),)))

    def _note(self, measured: Measured) -> None:
        if not measured.values:
            return
        with self._lock:
            family = self._built_in.get(measured.name)
            if family is None:
                family = self._built_in[measured.name] = _built_in(measured.name)
            is_news = self._take(family, measured.tags, measured.values)
        if is_news:
            _tell_of_overflow(measured.name)

    def _take(self, family: LiveFamily, tags: Tags, values: Sequence[float]) -> bool:
        """Add values; whether a metric has no room for other tags any more, and nobody was told of it."""
        is_news = not family.take(tags, values) and family.name not in self._overflowing
        if is_news:
            self._overflowing.add(family.name)
        return is_news

    def _new(self, name: str, kind: MetricKind) -> LiveFamily:
        """A new metric of a workflow or a program."""
        refuse_bad_name(name)
        names = sample_names(name, kind)
        taken = next((each for each in names if each in self._owners), None)
        if taken is not None:
            owner = self._owners[taken]
            raise ValueError(
                f"metric {name!r} would be told as {taken!r}, as metric {owner!r} is; rename one"
            )
        if len(self._made_up) >= MOST_METRICS:
            raise ValueError(f"metric {name!r} is one too many: there are {MOST_METRICS:,} already")
        self._owners.update(dict.fromkeys(names, name))
        family = self._made_up[name] = LiveFamily(name, kind)
        return family


def _built_in(name: str) -> LiveFamily:
    about = BUILT_IN[name]
    return LiveFamily(name, about.kind, about.meaning, about.unit)


def _counted(counts: Mapping[type[Event], int]) -> dict[str, Family]:
    """The metrics that count events by their type; one that has no tags is there from the beginning."""
    found: dict[str, LiveFamily] = {}
    for kind, (name, tags) in OF_EVENTS.items():
        count = counts.get(kind, 0)
        if count or not tags:
            found.setdefault(name, _built_in(name)).take(tags, (float(count),))
    return {name: family.frozen() for name, family in found.items()}


def _read_family(name: str, value: float) -> Family:
    family = _built_in(name)
    family.take((), (value,))
    return family.frozen()


def _tell_of_overflow(name: str) -> None:
    _logger.warning(
        "metric %r has %d sets of tags; what has others goes to one series, overflow=true", name, MOST_SERIES
    )
