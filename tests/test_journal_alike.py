"""Whatever is written, in whatever order: all stores answer alike, and say the same afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from journal_cases import (
    BODY,
    RUNNING,
    ask,
    beginning,
    contents,
    delivery,
    delivery_letter,
    letter,
    pending,
    save,
    told,
)

from actorflow.errors import ActorflowError
from actorflow.journal import (
    Answered,
    Append,
    ChangeDefinition,
    CreateRun,
    DropDeadLetters,
    Journal,
    KeepDeadLetter,
    KeepDefinition,
    MemoryJournal,
    RecordDeliveries,
    Release,
)
from actorflow.journal.json.journal import JsonJournal
from actorflow.journal.sqlite import SqliteJournal

TIMES = int(os.environ.get("ACTORFLOW_FUZZ", "1"))

RUNS, TASKS, DIGESTS = ("a", "b", "c"), ("s", "t"), ("d1", "d2")

runs, tasks, digests = st.sampled_from(RUNS), st.sampled_from(TASKS), st.sampled_from(DIGESTS)
times = st.integers(0, 150).map(float)
numbers, seqs, hooks = st.integers(1, 4), st.integers(1, 2), st.sampled_from(["a[0]", "b[0]"])
letter_ids = st.builds(lambda run, number: f"{run}/delivery-{number}", runs, numbers)
bodies = st.none() | st.dictionaries(tasks, numbers)
outcomes = st.sampled_from(["success", "failure", "released"])

writes = st.one_of(
    st.builds(CreateRun, runs, digests, digests, st.just(BODY), st.just(RUNNING), st.booleans()),
    st.builds(lambda run: Append(run, 1, beginning(run)), runs),
    st.builds(lambda run: save(run, 2), runs),
    st.builds(Release, runs),
    st.builds(KeepDefinition, st.sampled_from("kl"), digests, st.just(BODY)),
    st.builds(ChangeDefinition, runs, digests, st.just(BODY)),
    st.builds(lambda *about: KeepDeadLetter(letter(*about)), runs, tasks, times),
    st.builds(DropDeadLetters, runs, st.lists(tasks, max_size=2), st.lists(letter_ids, max_size=2)),
    st.builds(KeepDeadLetter, st.builds(delivery_letter, runs, numbers, times), bodies),
    st.builds(
        RecordDeliveries,
        runs,
        st.lists(st.builds(delivery, numbers, seqs), max_size=2),
        seqs,
        st.lists(st.builds(pending, numbers, seqs, hooks, numbers), max_size=3),
    ),
    st.builds(Answered, st.lists(st.integers(1, 4), max_size=2)),
    st.builds(lambda run, task, at: ask(run, task, at=at), runs, tasks, times),
    st.builds(
        lambda *about, late_s: told(*about, late_s=late_s),
        *(runs, st.integers(1, 3), times, outcomes, tasks),
        late_s=st.sampled_from([0.0, 0.0, 1.0, 60.0]),
    ),
)

Step = Callable[[Journal], Any]
steps = st.one_of(
    st.lists(writes, min_size=1, max_size=4).map(lambda some: lambda journal: journal.commit(some)),
    st.lists(writes, min_size=1, max_size=4).map(lambda some: lambda journal: journal.commit(some)),
    runs.map(lambda run: lambda journal: journal.claim(run)),
    runs.map(lambda run: lambda journal: journal.delete(run)),
    runs.map(lambda run: lambda journal: journal.post(run, "pause", {"cause": run})),
    runs.map(lambda name: lambda journal: journal.save_snapshot(name, {"n": name})),
    st.builds(lambda run, task: lambda journal: journal.purge_dead_letters([f"{run}/1/{task}"]), runs, tasks),
    letter_ids.map(lambda letter_id: lambda journal: journal.purge_dead_letters([letter_id])),
)


def comparable(outcome: Any) -> Any:
    """Errors have no equality of their own."""
    if isinstance(outcome, list):
        return [comparable(each) for each in outcome]
    return (type(outcome), str(outcome)) if isinstance(outcome, Exception) else outcome


def answer(act: Step, journal: Journal) -> Any:
    try:
        return comparable(act(journal))
    except ActorflowError as error:
        return comparable(error)


def everything(journal: Journal) -> list[Any]:
    questions: list[Step] = [
        lambda journal: sorted(journal.runs(), key=lambda row: row.run_id),
        lambda journal: journal.requests(),
        lambda journal: journal.dead_letters(),
        lambda journal: [journal.dead_letter_body(each.id) for each in journal.dead_letters()],
        lambda journal: journal.pending_counts(),
        lambda journal: journal.snapshots(),
        lambda journal: journal.breaker("bank"),
        lambda journal: [journal.is_asked(number) for number in range(1, 5)],
        *(lambda journal, run=run: list(journal.events(run)) for run in RUNS),
        *(lambda journal, run=run: journal.checkpoint(run) is None for run in RUNS),
        *(
            lambda journal, run=run, after=after: journal.deliveries(run, after)
            for run in RUNS
            for after in (0, 1)
        ),
        *(lambda journal, run=run: journal.pending(run) for run in RUNS),
        *(lambda journal, run=run: journal.pending(run, "a[0]", after=1, limit=1) for run in RUNS),
        *(lambda journal, key=key: journal.cached_definition(key) for key in "kl"),
    ]
    return [answer(question, journal) for question in questions]


def has_definition(journal: Journal, digest: str) -> bool:
    try:
        return journal.definition(digest) == BODY
    except ActorflowError:
        return False


@settings(max_examples=60 * TIMES, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), steps), max_size=25))
def test_all_journals_answer_alike_and_say_the_same_afterwards(acts):
    now = 0.0
    with tempfile.TemporaryDirectory() as folder:
        memory = MemoryJournal(clock=lambda: now)
        sqlite = SqliteJournal(os.path.join(folder, "state.db"), clock=lambda: now)  # noqa: PTH118
        sqlite._db.pragma("synchronous", "OFF")
        json = JsonJournal(os.path.join(folder, "state"), clock=lambda: now)  # noqa: PTH118
        for seconds, act in acts:
            now += seconds
            assert answer(act, sqlite) == answer(act, json) == answer(act, memory)
        assert everything(sqlite) == everything(json) == everything(memory)
        for digest in DIGESTS:
            assert has_definition(sqlite, digest) == has_definition(memory, digest)
            assert has_definition(json, digest) == has_definition(memory, digest)
        sqlite.close()
        json.close()


@settings(max_examples=40 * TIMES, deadline=None)
@given(st.lists(st.tuples(st.booleans(), steps), max_size=25))
def test_a_json_store_says_the_same_to_who_opens_it_next_and_to_who_follows_it(acts):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state")  # noqa: PTH118
        memory = MemoryJournal(clock=lambda: 0.0)
        json, reader = (JsonJournal(path, clock=lambda: 0.0, patience_s=0) for _ in range(2))
        for is_opened_anew, act in acts:
            assert answer(act, json) == answer(act, memory)
            owned = [row.run_id for row in memory.runs() if row.owner_pid is not None]
            assert seen(reader) == seen(memory)
            if is_opened_anew:
                json.close()
                memory.commit([Release(run) for run in owned])
                json = JsonJournal(path, clock=lambda: 0.0, patience_s=0)
                assert [json.claim(run) for run in owned] == [memory.claim(run) for run in owned]
                assert everything(json) == everything(memory)
        json.close()
        reader.close()


def seen(journal: Journal) -> list[Any]:
    """What everybody sees of a store, whoever owns its runs."""
    return [sorted(journal.runs(), key=lambda row: row.run_id), journal.snapshots(), contents(journal)]
