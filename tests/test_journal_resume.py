"""Runs that are taken up from a checkpoint go on as if they had been folded from their first event."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import apsw
import pytest

from actorflow import AgentCall, RunResult, Runtime, StoreFailed, load_dict
from actorflow.core.events import Event
from actorflow.journal import Checkpoint
from actorflow.journal.sqlite import SqliteJournal
from actorflow.runtime import checkpoints
from actorflow.runtime.checkpoints import EVENTS_WORTH_IT, ReadRun, read_run
from actorflow.runtime.result import result_of

pytestmark = pytest.mark.anyio


def chain(length: int) -> dict:
    tasks = {f"t{n}": {"agent": "x", "depends_on": [f"t{n - 1}"] if n else []} for n in range(length)}
    return {"name": "chain", "tasks": tasks}


EVENTFUL = load_dict(
    {
        "name": "eventful",
        "inputs": {"text": {"type": "string", "default": "ü" * 40_000}},
        "tasks": {
            "a": {"agent": "x", "with": {"text": "{{ input.text }}"}},
            "b": {
                "agent": "bad",
                "depends_on": ["a"],
                "retry": {"max_attempts": 2, "delay": 0.001},
                "on_error": {"strategy": "skip"},
            },
            "c": {"agent": "bad", "depends_on": ["a"], "on_error": {"fallback_agent": "x"}},
            "d": {"agent": "x", "depends_on": ["b", "c"], "when": "tasks.b.status == 'success'"},
            "e": {"agent": "x", "with": {"text": "{{ tasks.a.output.text }}"}, "depends_on": ["c"]},
        },
        "outputs": {"size": "{{ len(tasks.e.output.text) }}"},
    }
)


async def echo(call: AgentCall) -> object:
    return call.input


async def fail(call: AgentCall) -> None:
    raise ValueError(call.task)


AGENTS = {"x": echo, "bad": fail}


class CountingJournal(SqliteJournal):
    """Counts the events that are read from it."""

    read_count = 0

    def events(self, run_id: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        """As ever."""
        for found in super().events(run_id, after):
            self.read_count += 1
            yield found


def read(path: Path, run_id: str) -> tuple[ReadRun, int]:
    """A run as a resume finds it, and how many events that took."""
    journal = CountingJournal(str(path))
    found = read_run(journal, journal.find(run_id))
    journal.close()
    return found, journal.read_count


def comparable(result: RunResult) -> object:
    tasks = {name: (task.status, task.reason, task.output) for name, task in result.tasks.items()}
    return result.status, result.outputs, result.had_errors, tasks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


async def test_a_run_that_ended_is_kept_with_its_last_batch_and_read_without_folding(path: Path):
    spec = load_dict(chain(EVENTS_WORTH_IT))
    async with Runtime(store=f"sqlite:///{path}", agents=AGENTS) as rt:
        result = await rt.run(spec, run_id="r")
        assert rt.commit_count <= len(spec.tasks) + 2
    found, read_count = read(path, "r")
    assert (found.seq, found.checkpoint_seq, read_count) == (404, 404, 0)
    assert result_of(found.state, []) == result


async def test_a_short_run_is_not_kept(path: Path):
    async with Runtime(store=f"sqlite:///{path}", agents=AGENTS) as rt:
        await rt.run(load_dict(chain(20)), run_id="r")
    found, read_count = read(path, "r")
    assert (found.checkpoint_seq, read_count) == (0, 44)


async def test_a_run_that_was_paused_is_taken_up_with_what_is_behind_its_checkpoint(path: Path):
    spec = load_dict(chain(300))
    store = f"sqlite:///{path}"
    async with Runtime(store=store, agents=AGENTS) as rt:
        handle = await rt.start(spec, run_id="r")
        async for seq, _ in handle.events():
            if seq > EVENTS_WORTH_IT + 50:
                break
        paused = await handle.pause(grace_s=0.0)
    found, read_count = read(path, "r")
    assert found.checkpoint_seq > EVENTS_WORTH_IT
    assert (read_count, found.seq) == (found.seq - found.checkpoint_seq, found.seq)
    assert read_count < 10
    assert result_of(found.state, []) == paused
    async with Runtime(store=store, agents=AGENTS) as rt:
        assert (await rt.resume("r")).status == "success"


async def test_a_run_on_its_way_is_kept_every_so_many_events(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoints, "EVENTS_APART", 60)
    monkeypatch.setattr(checkpoints, "EVENTS_WORTH_IT", 60)
    monkeypatch.setattr(checkpoints, "TASKS_PER_EVENT", 1)
    kept: list[int] = []
    commit = SqliteJournal.commit

    def noting(journal: SqliteJournal, writes):
        kept.extend(write.seq for write in writes if isinstance(write, checkpoints.SaveCheckpoint))
        return commit(journal, writes)

    monkeypatch.setattr(SqliteJournal, "commit", noting)
    async with Runtime(store=f"sqlite:///{path}", agents=AGENTS) as rt:
        await rt.run(load_dict(chain(100)), run_id="r")
    gaps = [later - earlier for earlier, later in zip([0, *kept], kept, strict=False)]
    assert (
        len(kept) == 2
    )  # as many tasks as events from one to the next; none at the end, so soon after the last
    assert all(100 <= gap <= 103 for gap in gaps)


@pytest.fixture
async def undisturbed(tmp_path: Path) -> object:
    async with Runtime(store=f"sqlite:///{tmp_path / 'undisturbed.db'}", agents=AGENTS) as rt:
        return comparable(await rt.run(EVENTFUL))


def fail_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commit with this number, and all after it, end in an I/O error."""
    commit, numbers = SqliteJournal._commit, count(1)

    def fail(journal: SqliteJournal) -> None:
        if next(numbers) >= number:
            raise apsw.IOError("disk I/O error")
        commit(journal)

    monkeypatch.setattr(SqliteJournal, "_commit", fail)


async def test_a_store_that_fails_at_any_commit_changes_nothing_of_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: object
):
    """With a checkpoint in nearly every commit, from which all lives but the first few begin."""
    monkeypatch.setattr(checkpoints, "EVENTS_APART", 1)
    monkeypatch.setattr(checkpoints, "EVENTS_WORTH_IT", 1)
    begun_from: list[int] = []
    for number in count(2):
        store, run_id = f"sqlite:///{path}", f"r{number}"
        result = None
        with monkeypatch.context() as failing:
            fail_at(number, failing)
            try:
                async with Runtime(store=store, agents=AGENTS) as rt:
                    result = await rt.run(EVENTFUL, run_id=run_id)
            except StoreFailed:
                pass
        if result is not None:
            break
        begun_from.append(read(path, run_id)[0].checkpoint_seq)
        async with Runtime(store=store, agents=AGENTS) as rt:
            assert comparable(await rt.resume(run_id)) == undisturbed
    assert len(begun_from) >= 3
    assert begun_from == sorted(begun_from)
    assert begun_from[-1] > 0


@pytest.mark.parametrize("what", ["another core", "another form", "none"])
async def test_a_checkpoint_that_this_code_cannot_read_is_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch, what: str
):
    spec = load_dict(chain(EVENTS_WORTH_IT))
    async with Runtime(store=f"sqlite:///{path}", agents=AGENTS) as rt:
        result = await rt.run(spec, run_id="r")
    genuine = SqliteJournal.checkpoint

    def other(journal: SqliteJournal, run_id: str) -> Checkpoint | None:
        found = genuine(journal, run_id)
        assert found is not None
        body = {**found.body, "form": ["of the future"]}
        return {
            "another core": Checkpoint(found.seq, found.core_version + 1, found.body, found.rows),
            "another form": Checkpoint(found.seq, found.core_version, body, found.rows),
            "none": None,
        }[what]

    monkeypatch.setattr(SqliteJournal, "checkpoint", other)
    found, read_count = read(path, "r")
    assert (found.checkpoint_seq, read_count) == (0, 404)
    assert result_of(found.state, []) == result


async def test_an_ended_run_begins_its_next_generation_from_its_checkpoint(path: Path):
    last = {"agent": "bad", "depends_on": [f"t{EVENTS_WORTH_IT - 1}"]}
    tasks = {**chain(EVENTS_WORTH_IT)["tasks"], "last": last}
    spec = load_dict({"name": "w", "tasks": tasks})
    store = f"sqlite:///{path}"
    async with Runtime(store=store, agents=AGENTS) as rt:
        assert (await rt.run(spec, run_id="r")).status == "failed"
    assert read(path, "r")[1] == 0
    async with Runtime(store=store, agents={"x": echo, "bad": echo}) as rt:
        result = await rt.resume("r")
    assert (result.status, result.generation, result.progress) == ("success", 2, 1.0)
