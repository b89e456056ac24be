"""States of runs as people read them: what they say, their JSON, and how they are kept beside the journal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from crash_lives import state_of
from journal_cases import STORES, store_url
from left_behind import leave_child

from actorflow import (
    BadInputError,
    RunNotFoundError,
    RunOwnedElsewhereError,
    Runtime,
    StatePersistence,
    StoreFailed,
    WorkflowState,
    WorkflowStatus,
    load_dict,
)
from actorflow.core.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    Event,
    Failure,
    GenerationStarted,
    PauseRequested,
    RunEnding,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.plan import plan_of
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.errors import DeliveriesOwedError
from actorflow.spec.model import WorkflowSpec

ROOT = Path(__file__).parent.parent

REPORT = {
    "name": "report",
    "version": "1.2",
    "tasks": {
        "fetch": {"agent": "a"},
        "check": {"agent": "a", "sensitive": True},
        "send": {"agent": "a", "depends_on": ["fetch", "check"]},
    },
}
BEGINNING: list[Event] = [
    RunStarted(100.0, "report-1", "report", "hash", {}, {}, {}, {}, CORE_VERSION),
    GenerationStarted(100.0, 1, "start"),
]
STARTS: list[Event] = [AttemptStarted(101.0, "fetch", 1, 0, "a"), AttemptStarted(101.5, "check", 1, 0, "a")]
FETCHED = AttemptSucceeded(102.0, "fetch", 1, {"rows": 3})
WRONG = Failure("ValueError", "card 4711 is bad")
FAILED = AttemptFailed(103.0, "check", 1, WRONG)
END: list[Event] = [
    TaskFailed(103.0, "check", "fatal", WRONG),
    TaskSkipped(103.0, "send", "upstream"),
    RunEnding(103.5, "failed", {}, WRONG, "check"),
    RunFinished(104.0, "failed"),
]


def workflow(definition: object = REPORT) -> WorkflowSpec:
    return load_dict(definition, trust="own")


def state_after(*events: Event) -> WorkflowState:
    run = RunState(plan_of(workflow()))
    for event in (*BEGINNING, *events):
        run.apply(event)
    return WorkflowState.of(run)


def a_state(run_id: str = "report-1", **changes: object) -> WorkflowState:
    """The state of the run that failed."""
    return evolve(state_after(*STARTS, FETCHED, FAILED, *END), run_id=run_id, **changes)


def test_a_run_that_has_just_begun_has_all_its_tasks_before_it():
    state = state_after()
    assert (state.run_id, state.workflow_name, state.workflow_version) == ("report-1", "report", "1.2")
    assert (state.status, state.progress, state.can_resume) == (WorkflowStatus.RUNNING, 0.0, True)
    assert state.pending_tasks == ("fetch", "check", "send")
    assert state.task_attempts == {"fetch": 0, "check": 0, "send": 0}
    assert (state.started_at, state.ended_at, state.checkpoint_at) == (100.0, None, 100.0)
    assert (state.task_start_times, state.task_end_times, state.task_errors) == ({}, {}, {})


def test_a_state_tells_task_by_task_how_far_a_run_has_come():
    state = state_after(*STARTS, FETCHED)
    assert state.task_statuses == {"fetch": "success", "check": "running", "send": "pending"}
    assert state.task_attempts == {"fetch": 1, "check": 1, "send": 0}
    assert state.task_start_times == {"fetch": 101.0, "check": 101.5}
    assert state.task_end_times == {"fetch": 102.0}
    assert state.completed_tasks == ("fetch",)
    assert state.pending_tasks == ("check", "send")
    assert state.progress == pytest.approx(1 / 3)
    assert state.checkpoint_at == 102.0


def test_a_task_between_its_failure_and_the_verdict_is_running_as_everywhere_else():
    assert state_after(*STARTS, FAILED).task_statuses["check"] == "running"


def test_a_paused_run_can_be_resumed_and_what_was_cut_off_is_pending_still():
    state = state_after(*STARTS, PauseRequested(102.0, "operator"), AttemptLost(102.5, "fetch", 1, 0))
    assert (state.status, state.can_resume) == (WorkflowStatus.PAUSED, True)
    assert "fetch" in state.pending_tasks


def test_a_failed_run_is_through_and_can_be_resumed():
    state = a_state()
    assert (state.status, state.progress, state.can_resume) == (WorkflowStatus.FAILED, 1.0, True)
    assert (state.completed_tasks, state.failed_tasks, state.pending_tasks) == (("fetch",), ("check",), ())
    assert state.task_statuses["send"] == "skipped"
    assert (state.ended_at, state.checkpoint_at) == (104.0, 104.0)


def test_a_run_that_succeeded_cannot_be_resumed():
    assert not a_state(status=WorkflowStatus.SUCCESS).can_resume


def test_a_sensitive_task_says_no_more_than_what_kind_of_error_it_had():
    assert a_state().task_errors == {"check": "ValueError: ***"}
    assert "4711" not in a_state().to_json()


def test_no_output_is_in_a_state():
    assert "rows" not in a_state().to_json()


def test_an_error_is_told_as_its_type_and_message():
    failed = [
        AttemptFailed(102.0, "fetch", 1, Failure("timeout", "over 5 s")),
        TaskFailed(102.0, "fetch", "handled", Failure("timeout", "over 5 s")),
    ]
    assert state_after(*STARTS, *failed).task_errors == {"fetch": "timeout: over 5 s"}


def test_a_run_without_tasks_has_come_all_the_way():
    assert a_state(task_statuses={}).progress == 1.0


def test_a_state_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        a_state().status = WorkflowStatus.SUCCESS  # type: ignore[misc]


def test_completed_is_another_word_for_success():
    assert WorkflowStatus.COMPLETED is WorkflowStatus.SUCCESS
    assert WorkflowStatus("completed") is WorkflowStatus.SUCCESS
    assert [status.value for status in WorkflowStatus] == [
        "running", "paused", "success", "failed", "canceled",
    ]  # fmt: skip
    assert f"{WorkflowStatus.COMPLETED}" == "success"


def test_another_word_is_no_status():
    with pytest.raises(ValueError, match="done"):
        WorkflowStatus("done")


def test_a_state_comes_back_from_its_json_as_it_was():
    state = a_state(metadata={"ticket": 4711, "who": ["ann", None], "näh": {"deep": 1.5}})
    assert WorkflowState.from_json(state.to_json()) == state
    assert WorkflowState.from_json(state.to_json().encode()) == state


def test_the_json_of_a_state_is_for_people_too():
    text = a_state().to_json()
    document = json.loads(text)
    assert text.count("\n") > 15
    assert (document["status"], document["progress"], document["can_resume"]) == ("failed", 1.0, True)
    assert document["task_statuses"] == {"fetch": "success", "check": "failed", "send": "skipped"}


def test_what_is_worked_out_is_not_read_and_completed_is_read_as_success():
    document = {**a_state().to_document(), "status": "completed", "progress": 0.1, "of_a_later_version": 1}
    document["task_statuses"] = {"fetch": "completed", "check": "failed"}
    state = WorkflowState.from_document(document)
    assert state.status is WorkflowStatus.SUCCESS
    assert (state.completed_tasks, state.progress) == (("fetch",), 1.0)


def test_a_document_without_metadata_has_none():
    document = a_state(metadata={"a": 1}).to_document()
    del document["metadata"]
    assert WorkflowState.from_document(document).metadata == {}


def test_all_that_is_wrong_with_a_document_is_told_at_once():
    document = a_state().to_document()
    del document["run_id"]
    document.update(status="sucess", started_at="noon", ended_at=True, task_errors=[], metadata=7)
    document["task_statuses"] = {"fetch": "done", "check": "failed"}
    document["task_attempts"] = {"fetch": -1}
    with pytest.raises(BadInputError) as caught:
        WorkflowState.from_document(document)
    assert caught.value.problems == (
        "run_id is missing",
        'status is "sucess", which is not one of running, paused, success, failed, canceled',
        'started_at is "noon", which is not a time in epoch seconds',
        "ended_at is true, which is not a time in epoch seconds, or null",
        'task_statuses.fetch is "done", which is not one of pending, running, waiting, canceled, failed, skipped, success',
        "task_attempts.fetch is -1, which is not a number of attempts",
        "task_errors is [], which is not an object",
        "metadata is 7, which is not an object",
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"status": {"a": 1}}', b"\xff", "[" * 5000])
def test_what_is_no_state_is_refused(text: str | bytes):
    with pytest.raises(BadInputError):
        WorkflowState.from_json(text)


def test_metadata_is_copied_and_replaces_what_was_there():
    given = {"tags": ["a"]}
    state = a_state(metadata={"old": 1}).with_metadata(given)
    given["tags"].append("b")
    assert state.metadata == {"tags": ["a"]}


def test_metadata_that_is_not_json_is_refused_and_says_where():
    with pytest.raises(BadInputError, match=r"metadata: \$\.a\[1\]: .*set"):
        a_state().with_metadata({"a": [1, {2}]})


@pytest.fixture(params=STORES)
def states(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StatePersistence]:
    with StatePersistence(store_url(request.param, tmp_path)) as states:
        yield states


def test_a_state_of_another_store_is_given_back_as_it_was_saved(states: StatePersistence):
    state = a_state(metadata={"ticket": 4711})
    states.save(state)
    assert states.load("report-1") == state


def test_the_last_state_that_was_saved_of_a_run_counts(states: StatePersistence):
    states.save(a_state())
    states.save(a_state(status=WorkflowStatus.SUCCESS))
    assert states.load("report-1").status is WorkflowStatus.SUCCESS
    assert states.list() == ("report-1",)


def test_states_are_listed_the_latest_started_first(states: StatePersistence):
    assert states.list() == ()
    for run_id, started_at in [("b", 20.0), ("c", 30.0), ("a", 10.0)]:
        states.save(a_state(run_id, started_at=started_at))
    assert states.list() == ("c", "b", "a")


def test_a_state_is_found_by_its_id_or_its_workflows_name_or_the_beginning_of_its_id(
    states: StatePersistence,
):
    states.save(a_state("report", workflow_name="other", started_at=1.0))
    states.save(a_state("report-1", started_at=2.0))
    states.save(a_state("report-2", started_at=3.0))
    states.save(a_state("x-1", workflow_name="Nightly", started_at=4.0))
    assert states.load("report").workflow_name == "other"
    assert states.load("other").run_id == "report"
    assert states.load("Nightly").run_id == "x-1"
    assert states.load("x").run_id == "x-1"


def test_a_workflows_name_means_its_latest_run(states: StatePersistence):
    for run_id, started_at in [("report-2", 2.0), ("report-3", 3.0), ("report-1", 1.0)]:
        states.save(a_state(run_id, started_at=started_at))
    assert states.load("report").run_id == "report-3"


@pytest.mark.parametrize(
    ("word", "nearest", "is_ambiguous"),
    [
        ("deploy-7", ("deploy-1",), False),
        ("reprot", ("report",), False),
        ("repor", ("report-2", "report-1"), True),
        ("zzz", (), False),
    ],
)
def test_who_finds_nothing_is_told_the_nearest(
    states: StatePersistence, word: str, nearest: tuple[str, ...], is_ambiguous: bool
):
    states.save(a_state("report-1", started_at=1.0))
    states.save(a_state("report-2", started_at=2.0))
    states.save(a_state("deploy-1", workflow_name="x", started_at=3.0))
    with pytest.raises(RunNotFoundError) as caught:
        states.load(word)
    assert caught.value.nearest[: len(nearest)] == nearest
    assert caught.value.ambiguous is is_ambiguous


def test_what_was_deleted_is_gone(states: StatePersistence):
    states.save(a_state())
    assert states.delete("report-1")
    assert not states.delete("report-1")
    assert states.list() == ()
    with pytest.raises(RunNotFoundError):
        states.load("report-1")


@pytest.mark.parametrize("run_id", ["", "last", "a/b", "ä", "x" * 129])
def test_a_state_under_an_impossible_run_id_is_not_saved(states: StatePersistence, run_id: str):
    with pytest.raises(BadInputError, match="run id"):
        states.save(a_state(run_id))


def test_a_state_that_could_not_be_loaded_again_is_not_saved(states: StatePersistence):
    with pytest.raises(BadInputError, match="started_at"):
        states.save(a_state(started_at="noon"))
    with pytest.raises(TypeError, match="JSON"):
        states.save(a_state(metadata={"a": {1, 2}}))
    assert states.list() == ()


def test_what_is_saved_outlives_who_saved_it(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    states = StatePersistence(url)
    states.save(a_state())
    states.close()
    states.close()
    with pytest.raises(StoreFailed):
        states.list()
    with StatePersistence(url) as others:
        assert others.load("report-1") == a_state()


async def succeed(call: object) -> dict[str, int]:
    return {"rows": 3}


async def ran(url: str, run_id: str = "report-1", definition: object = REPORT) -> None:
    async with Runtime(store=url, agents={"a": succeed}) as rt:
        await rt.run(workflow(definition), run_id=run_id)


@pytest.fixture(params=["sqlite", "json"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return store_url(request.param, tmp_path)


@pytest.mark.anyio
async def test_the_state_of_a_run_comes_from_its_journal(url: str):
    await ran(url)
    with StatePersistence(url) as states:
        state = states.load("report")
    assert (state.run_id, state.status, state.progress) == ("report-1", WorkflowStatus.COMPLETED, 1.0)
    assert state.completed_tasks == ("fetch", "check", "send")
    assert state.ended_at == state.checkpoint_at
    assert (
        state.started_at <= state.task_start_times["send"] <= state.task_end_times["send"] <= state.ended_at
    )


@pytest.mark.anyio
async def test_of_a_run_in_the_store_only_the_metadata_that_was_saved_counts(url: str):
    await ran(url)
    with StatePersistence(url) as states:
        truth = states.load("report-1")
        states.save(evolve(truth, status=WorkflowStatus.FAILED, metadata={"ticket": 4711}))
        assert states.load("report-1") == truth.with_metadata({"ticket": 4711})
        assert states.list() == ("report-1",)


@pytest.mark.anyio
async def test_a_run_goes_with_its_metadata(url: str):
    await ran(url)
    with StatePersistence(url) as states:
        states.save(states.load("report-1").with_metadata({"ticket": 4711}))
        assert states.delete("report-1")
        assert states.list() == ()
    await ran(url)
    with StatePersistence(url) as states:
        assert states.load("report-1").metadata == {}


@pytest.mark.anyio
async def test_a_live_run_can_be_read_and_told_of_and_not_deleted(url: str):
    is_running, may_end = anyio.Event(), anyio.Event()

    async def wait(_: object) -> None:
        is_running.set()
        await may_end.wait()

    async with Runtime(store=url, agents={"a": wait}) as rt:
        handle = await rt.start(workflow({"name": "slow", "tasks": {"t": {"agent": "a"}}}), run_id="slow-1")
        await is_running.wait()
        with StatePersistence(url) as states:
            state = states.load("slow-1")
            assert (state.status, state.pending_tasks) == (WorkflowStatus.RUNNING, ("t",))
            states.save(state.with_metadata({"seen": True}))
            with pytest.raises(RunOwnedElsewhereError):
                states.delete("slow-1")
            may_end.set()
            await handle.wait()
            ended = states.load("slow-1")
    assert (ended.status, ended.metadata) == (WorkflowStatus.SUCCESS, {"seen": True})


@pytest.mark.anyio
async def test_a_run_that_its_program_left_is_paused_and_goes_on_where_it_was(url: str):
    is_running = anyio.Event()

    async def hang(call: object) -> None:
        is_running.set()
        await anyio.sleep_forever()

    definition = {"name": "slow", "tasks": {"t": {"agent": "a"}}}
    async with Runtime(store=url, agents={"a": hang}, grace_s=0.0) as rt:
        await rt.start(workflow(definition), run_id="slow-1")
        await is_running.wait()
    with StatePersistence(url) as states:
        paused = states.load("slow")
        async with Runtime(store=url, agents={"a": succeed}) as rt:
            await rt.resume(paused.run_id)
        ended = states.load("slow")
    assert (paused.status, paused.can_resume, paused.pending_tasks) == (WorkflowStatus.PAUSED, True, ("t",))
    assert (ended.status, ended.can_resume, ended.completed_tasks) == (WorkflowStatus.SUCCESS, False, ("t",))


@pytest.mark.anyio
async def test_a_run_whose_hooks_are_owed_something_is_deleted_by_force_only(url: str):
    definition = {
        "name": "staged",
        "tasks": {"t": {"agent": "a"}},
        "hooks": {"on_stage_complete": ["sleep 600"]},
        "workflows": {"w": {"steps": [{"stage": "all", "tasks": ["t"]}]}},
    }
    async with Runtime(store=url, agents={"a": succeed}, drain_timeout_s=0.0) as rt:
        result = await rt.run(workflow(definition), run_id="staged-1")
    assert result.hooks.pending == 1
    with StatePersistence(url) as states:
        with pytest.raises(DeliveriesOwedError, match="by force"):
            states.delete("staged-1")
        assert states.load("staged-1").status is WorkflowStatus.SUCCESS
        assert states.delete("staged-1", force=True)
        assert states.list() == ()


@pytest.mark.anyio
@pytest.mark.parametrize("force", [False, True])
async def test_what_a_dead_process_left_running_for_a_run_ends_before_the_run_is_deleted(
    url: str, tmp_path: Path, force: bool
):
    is_running = anyio.Event()

    async def hang(call: object) -> None:
        is_running.set()
        await anyio.sleep_forever()

    definition = {"name": "slow", "tasks": {"t": {"agent": "a"}}}
    async with Runtime(store=url, agents={"a": hang}, grace_s=0.0) as rt:
        await rt.start(workflow(definition), run_id="slow-1")
        await is_running.wait()
    pid = leave_child(tmp_path, url, "slow-1")
    (tmp_path / "go").touch()
    with StatePersistence(url) as states:
        assert states.delete("slow-1", force=force)
        assert state_of(pid) in ("", "Z")
        assert states.list() == ()


FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_programs_of_the_page_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    blocks = FENCE.findall((ROOT / "docs" / "state.md").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    shown = 0
    for language, body in blocks:
        if language == "python":
            exec(compile(body, "docs/state.md", "exec"), names)
        else:
            assert timeless(capsys.readouterr().out) == timeless(body)
            shown += 1
    assert shown >= 2


def timeless(text: str) -> str:
    """Without the times, which differ from run to run."""
    return re.sub(r"\b\d{9,}(\.\d+)?", "TIME", text)
