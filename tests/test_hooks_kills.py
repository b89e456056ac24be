"""A process is killed with hooks of all kinds under way: the next one brings each to its end, under its id, and repeats none."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import count, product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import apsw
import pytest
from attrs import evolve, frozen
from chaos_sink import ChaosSink, answer
from crash_checks import check_crashed, check_ended
from crash_hook_workflows import SINK
from crash_lives import BACKENDS, Death, Life, Report, all_through, live, live_through, start, wait_until
from crash_records import Ledger, Recorded, all_recorded, ledger
from crash_workflows import RUN_ID

from actorflow.core.events import AttemptLost, HookFinished, HookLost, RunFinished
from actorflow.hooks.unsettled import pending_documents
from actorflow.runtime.egress import ALLOW_HOSTS

HOOKED = Life(Path(), "hooked", generations=2)

COMMANDS = (
    "pre_workflow[1]",
    "task_finished[1]",
    "task_finished[2]",
    "on_stage_complete[1]",
    "workflow_finished[0]",
)
"""The async hooks that write a line for each start."""

HOPELESS = "task_finished[3]"
"""The one that is given up at its third try, and writes a line for each."""

TRIES = range(4)
"""Their numbers: 0 where a line does not have them."""

DISPATCH = "tasks.first.task_finished[0]"


@frozen
class Ended:
    """How a run has ended whose processes were killed."""

    run: Recorded
    written: Ledger
    children: Sequence[Recorded]

    @property
    def settled(self) -> Counter[tuple[str, str]]:
        """How deliveries have ended, by hook."""
        return Counter((delivery.hook, delivery.status) for delivery in self.run.deliveries)

    @property
    def waited_for(self) -> Counter[tuple[str, str]]:
        """How blocking hooks have ended."""
        return Counter(
            (self.run.hook_body(event, generation)[0], event.status)
            for generation, _, event in self.run.with_generations
            if isinstance(event, HookFinished)
        )


def ended(folder: Path, left: tuple[Recorded, Ledger] | None = None, kills: int = 0) -> Ended:
    """Check how a run has ended after so many kills, of which the last left something behind."""
    end = Ended(
        check_ended(folder, left),
        ledger(folder),
        [run for run in all_recorded(folder) if run.run_id != RUN_ID],
    )
    check_tries(end, kills)
    check_children(end)
    if left is not None:
        check_nothing_recorded_is_tried_again(left, end)
    return end


def check_tries(end: Ended, kills: int) -> None:
    """A try is repeated only where a kill may have come between it and its record; and the record counts no less than there were."""
    for delivery in end.run.deliveries:
        if delivery.hook in COMMANDS:
            assert 1 <= end.written.starts[delivery.delivery_id, 0, 0] <= 1 + kills
        elif delivery.hook == HOPELESS:
            assert [each["number"] for each in delivery.record["tries"]] == [1, 2, 3]
            for number in TRIES[1:]:
                assert 1 <= end.written.starts[delivery.delivery_id, number, 0] <= 1 + kills


def check_children(end: Ended) -> None:
    """Each delivery to `dispatch_task` has one run, which says by whom it was started, and has ended."""
    asked = [delivery for delivery in end.run.deliveries if delivery.hook == DISPATCH]
    assert [delivery.record["run_id"] for delivery in asked] == [child.run_id for child in end.children]
    for delivery, child in zip(asked, end.children, strict=True):
        assert child.events[0][1].flags["parent"]["delivery_id"] == delivery.delivery_id
        assert [event.outcome for event in child.of(RunFinished)] == ["success"]
        assert len(child.successes) == 1


def check_nothing_recorded_is_tried_again(left: tuple[Recorded, Ledger], end: Ended) -> None:
    """Of what was settled before the kill nothing is tried any more, and of what was pending no try that its row had."""
    run, written = left
    recorded = {delivery.delivery_id: TRIES for delivery in run.deliveries}
    recorded |= {row["delivery_id"]: range(row["try_count"] + 1) for row in pending_documents(run.pending)}
    for delivery_id, numbers in recorded.items():
        for number in numbers:
            body = (delivery_id, number, 0)
            assert end.written.starts[body] == written.starts[body], f"{body} was tried again"


@frozen
class Undisturbed:
    """How the workflow ends when nobody is killed."""

    report: Report
    end: Ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    reports: list[Report] = []
    for backend in BACKENDS:
        folder = tmp_path_factory.mktemp("hooked")
        report = live_through(evolve(HOOKED, folder=folder, backend=backend))
        assert report is not None
        reports.append(report)
    assert reports[0].facts == reports[1].facts
    return Undisturbed(max(reports, key=lambda report: report.commit_count), ended(folder))


def test_undisturbed_deliveries_end_in_every_way(undisturbed):
    assert undisturbed.end.settled == Counter(
        {
            ("pre_workflow[1]", "delivered"): 2,
            ("tasks.first.task_finished[0]", "delivered"): 1,
            ("task_finished[1]", "delivered"): 3,
            ("task_finished[2]", "failed"): 3,
            ("task_finished[3]", "dead_letter"): 3,
            ("task_finished[4]", "delivered"): 3,
            ("on_stage_complete[1]", "delivered"): 3,
            ("post_workflow[1]", "skipped"): 1,
            ("post_workflow[1]", "delivered"): 1,
            ("workflow_finished[0]", "delivered"): 2,
        }
    )
    assert len(undisturbed.end.children) == 1


def check_like(undisturbed: Undisturbed, report: Report, end: Ended) -> None:
    """It has ended as if nobody had been killed."""
    assert report.facts == undisturbed.report.facts
    assert end.settled == undisturbed.end.settled
    assert end.waited_for == undisturbed.end.waited_for


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_any_commit_leaves_nothing_undelivered_and_repeats_nothing(moment, undisturbed, tmp_path):
    killed_on: Counter[str] = Counter()
    for number in range(1, undisturbed.report.commit_count + 1, 2):
        lives = [
            evolve(
                HOOKED,
                folder=_folder(tmp_path, each),
                backend=BACKENDS[each // 2 % 2],
                death=Death(moment, each),
            )
            for each in (number, number + 1)
        ]
        killed = [life for life, report in zip(lives, all_through(lives), strict=True) if report is None]
        left = [check_crashed(life.folder) for life in killed]
        heirs = [evolve(life, death=None) for life in killed]
        for life, remains, report in zip(heirs, left, all_through(heirs), strict=True):
            check_like(undisturbed, report, ended(life.folder, remains, kills=1))
            killed_on[life.backend] += 1
    assert all(killed_on[backend] > 5 for backend in BACKENDS)


def test_a_kill_of_the_resume_repeats_nothing_either(undisturbed, tmp_path):
    for first, moment in product((3, 10, 17, 24), ("before", "after")):
        lives = [
            evolve(HOOKED, folder=_folder(tmp_path, f"{first}-{moment}-{second}"), backend=backend)
            for second, backend in zip((1, 3), BACKENDS, strict=True)
        ]
        deaths = [Death(moment, first), Death("after" if moment == "before" else "before", first % 4 + 1)]
        kills = Counter[Path]()
        for death in deaths:
            mortal = [evolve(life, death=death) for life in lives]
            for life, report in zip(mortal, all_through(mortal), strict=True):
                kills[life.folder] += report is None
        left = [check_crashed(life.folder) for life in lives]
        for life, remains, report in zip(lives, left, all_through(lives), strict=True):
            check_like(undisturbed, report, ended(life.folder, remains, kills[life.folder]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("keeps", ["GenerationStarted", "TaskFinished", "StageCompleted"])
def test_a_kill_between_an_event_and_what_it_owes_loses_none_of_it(keeps, backend, undisturbed, tmp_path):
    life = evolve(HOOKED, folder=tmp_path, backend=backend)
    assert live_through(evolve(life, death=Death("after", keeps=keeps))) is None
    left = check_crashed(tmp_path)
    last = max(seq for seq, event in left[0].events if type(event).__name__ == keeps)
    owed = {delivery_id for delivery_id in left[0].owed if delivery_id.startswith(f"{RUN_ID}/{last}/")}
    assert owed
    assert not [body for body in left[1].starts if body[0] in owed]
    check_like(undisturbed, live_through(life), ended(tmp_path, left, kills=1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_between_two_tries_repeats_none_and_the_numbers_go_on(nth, backend, tmp_path):
    life = Life(tmp_path, "retried", backend)
    assert live_through(evolve(life, death=Death("after", keeps="PendingDelivery", nth=nth))) is None
    left = check_crashed(tmp_path)
    (row,) = pending_documents(left[0].pending)
    assert [each["number"] for each in row["tries"]] == list(range(1, nth + 1))
    assert live_through(life) is not None
    end = Ended(check_ended(tmp_path, left), ledger(tmp_path), [])
    check_nothing_recorded_is_tried_again(left, end)
    (delivery,) = end.run.deliveries
    assert (delivery.delivery_id, delivery.status) == (row["delivery_id"], "dead_letter")
    assert [each["number"] for each in delivery.record["tries"]] == [1, 2, 3]
    assert delivery.record["tries"][:nth] == row["tries"]
    assert [end.written.starts[delivery.delivery_id, number, 0] for number in TRIES] == [0, 1, 1, 1]


LISTS = [
    *product(("task_started", "task_finished"), ("first", "second")),
    *product(("on_stage_complete",), ("build", "test")),
]


@pytest.mark.parametrize(
    ("event", "subject", "index", "backend"),
    [(*place, index, BACKENDS[(i + index) % 2]) for i, place in enumerate(LISTS) for index in range(2)],
)
def test_in_the_list_of_a_task_or_a_stage_only_the_hook_that_was_cut_off_runs_again(
    event, subject, index, backend, tmp_path
):
    (tmp_path / f"kill-{event}-{subject}-{index}").touch()
    life = Life(tmp_path, "deadly-lists", backend)
    assert live_through(life) is None
    left = check_crashed(tmp_path)
    report = live_through(life)
    assert report is not None
    assert (report.facts["status"], report.facts["hooks"]["delivered"]) == ("success", 12)
    end = ended(tmp_path, left, kills=1)
    assert [(lost.event, lost.subject, lost.index) for lost in end.run.of(HookLost)] == [
        (event, subject, index)
    ]
    again = {body for body, times in end.written.starts.items() if times > 1}
    assert again == {(f"{RUN_ID}/1/{subject}/{event}[{index}]", 0, 0)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_the_start_of_a_dispatched_run_leaves_one_run(moment, backend, undisturbed, tmp_path):
    life = evolve(HOOKED, folder=tmp_path, backend=backend)
    assert live_through(evolve(life, death=Death(moment, keeps="CreateRun", nth=2))) is None
    left = check_crashed(tmp_path)
    assert len(all_recorded(tmp_path)) == (1 if moment == "before" else 2)
    check_like(undisturbed, live_through(life), ended(tmp_path, left, kills=1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dispatched_run_that_was_cut_off_goes_on_with_its_parent_though_that_has_ended(backend, tmp_path):
    life = Life(tmp_path, "orphaned", backend)
    assert live_through(evolve(life, death=Death("after", keeps="Delivery"))) is None
    left = check_crashed(tmp_path)
    assert isinstance(left[0].events[-1][1], RunFinished)
    (tmp_path / "go").touch()
    assert live_through(life) is not None
    (child,) = ended(tmp_path, left, kills=1).children
    assert [event.loss for event in child.of(AttemptLost)] == [0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("settled_count", [0, 3])
def test_what_a_dispatched_run_has_started_and_owes_is_seen_to_when_its_parent_is_resumed(
    settled_count, backend, tmp_path
):
    process = start(live, Life(tmp_path, "family", backend))
    wait_until(lambda: any("/grandchild/" in key for key, _, _ in ledger(tmp_path).starts))
    wait_until(lambda: _settled_count(tmp_path) >= settled_count)
    process.kill()
    assert process.report() is None
    check_crashed(tmp_path)
    (tmp_path / "go").touch()
    assert live_through(Life(tmp_path, "family", backend)) is not None
    check_crashed(tmp_path)
    runs = all_recorded(tmp_path)
    assert [type(run.events[-1][1]) for run in runs] == [RunFinished] * 3
    assert all({delivery.delivery_id for delivery in run.deliveries} == set(run.owed) for run in runs)


Sent = Sequence[tuple[str, tuple[str, ...]]]
"""What came to a sink: the names of batches and the ids of their members."""

BATCHED_COUNT = 7


def live_with_sink(channel: Connection, life: Life, url: str) -> None:
    """The main function of a process whose batches go to a URL."""
    os.environ.update({SINK: url, ALLOW_HOSTS: url})
    live(channel, life)


def sent_to(sink: ChaosSink, life: Life) -> Sent:
    """What the processes of a life have sent."""
    return [
        (request.header("webhook-id") or "", tuple(event["id"] for event in json.loads(request.body)))
        for request in sink.requests
        if request.path == f"/{life.folder.name}"
    ]


def lives_before(sink: ChaosSink, lives: Sequence[Life]) -> list[Report | None]:
    """Live through some at a time, each with a path of the sink to itself."""
    processes = [start(live_with_sink, life, sink.url(f"/{life.folder.name}")) for life in lives]
    return [process.report() for process in processes]


@frozen
class Cut:
    """What was there when a process was killed."""

    life: Life
    left: tuple[Recorded, Ledger]
    sent: Sent


def cut_lives(sink: ChaosSink, parent: Path, commit: int) -> list[Cut]:
    """Two processes that kill themselves before and after a commit; of those that have come to it, what was there then.

    Every other request is answered 503, so that batches are sent again without a kill too.
    """
    moments: tuple[Literal["before", "after"], ...] = ("before", "after")
    lives = [
        Life(
            _folder(parent, f"{commit}-{moment}"),
            "batched",
            BACKENDS[(commit + i) % 2],
            Death(moment, commit),
        )
        for i, moment in enumerate(moments)
    ]
    for life in lives:
        sink.answers(f"/{life.folder.name}", *[answer(503), answer(204)] * 20)
    reports = lives_before(sink, lives)
    return [
        Cut(life, check_crashed(life.folder), sent_to(sink, life))
        for life, report in zip(lives, reports, strict=True)
        if report is None
    ]


def test_a_kill_at_any_commit_changes_no_batch_and_loses_none(tmp_path):
    backends: Counter[str] = Counter()
    with ChaosSink() as sink:
        for commit in count(1):
            cuts = cut_lives(sink, tmp_path, commit)
            heirs = [evolve(cut.life, death=None) for cut in cuts]
            for cut, report in zip(cuts, lives_before(sink, heirs), strict=True):
                check_kept_before_sent(cut)
                hooks = report.facts["hooks"]
                assert (hooks["delivered"], hooks["pending"]) == (2 * BATCHED_COUNT, 0)
                check_ended(cut.life.folder, cut.left)
                check_batches(cut, sent_to(sink, cut.life))
                backends[cut.life.backend] += 1
            if not cuts:
                break
    assert all(backends[backend] > 5 for backend in BACKENDS)


def check_kept_before_sent(cut: Cut) -> None:
    """Whatever was sent is known to the journal as of that batch."""
    run, _ = cut.left
    batch_of = {row.delivery_id: row.body.get("batch") for row in run.pending}
    batch_of |= {each.delivery_id: each.record.get("batch") for each in run.deliveries}
    for name, members in cut.sent:
        assert {batch_of[member] for member in members} == {name}


def check_batches(cut: Cut, sent: Sent) -> None:
    """Each delivery was sent in one batch, and each batch whole; of what was settled before the kill nothing was sent again."""
    run, _ = cut.left
    batch_of = {row.delivery_id: row.body["batch"] for row in run.pending if "batch" in row.body}
    for name, members in sent:
        ids = "\n".join(members)
        assert name == f"b_{sha256(ids.encode()).hexdigest()[:32]}"
        assert {batch_of.setdefault(member, name) for member in members} == {name}
    before, after = (Counter(one for _, members in each for one in members) for each in (cut.sent, sent))
    assert len(after) == BATCHED_COUNT
    for delivery in run.deliveries:
        assert before[delivery.delivery_id] == after[delivery.delivery_id]


def _settled_count(folder: Path) -> int:
    """How many deliveries of all runs are settled by a process that goes on."""
    connection = apsw.Connection(f"{folder}/state.db", flags=apsw.SQLITE_OPEN_READONLY)
    try:
        ((settled,),) = connection.execute("SELECT count(*) FROM deliveries").fetchall()
        return int(settled)
    finally:
        connection.close()


def _folder(parent: Path, name: object) -> Path:
    folder = parent / str(name)
    folder.mkdir()
    return folder
