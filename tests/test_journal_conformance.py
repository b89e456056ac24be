"""What every journal does: in memory, in SQLite and in files of JSON lines alike."""

from __future__ import annotations

import os
from threading import Thread

import pytest
from journal_cases import (
    BODY,
    ENDED,
    RUNNING,
    STORES,
    beginning,
    contents,
    create,
    delivery,
    failed_step,
    finished,
    large,
    ok,
    save,
    step,
    store_url,
    write_history,
)

from actorflow.core.events import AttemptSucceeded, HookFinished, PauseRequested, RunStarted
from actorflow.errors import (
    RunExistsError,
    RunNotFoundError,
    StoreDamagedError,
    StoreFailed,
    StoreUnusableError,
)
from actorflow.journal import (
    Append,
    CachedDefinition,
    CreateRun,
    KeepDefinition,
    RecordDeliveries,
    Release,
    RunSummary,
    SaveCheckpoint,
    admission,
    open_journal,
)


@pytest.fixture(params=STORES)
def journal(request, tmp_path):
    opened = open_journal(store_url(request.param, tmp_path))
    yield opened
    opened.close()


def test_events_come_back_in_order_with_gapless_numbers(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    ok(journal, Append("r", 3, step(0)), Append("r", 5, failed_step(1)))
    expected = [*beginning("r"), *step(0), *failed_step(1)]
    assert list(journal.events("r")) == list(enumerate(expected, 1))


@pytest.mark.parametrize("after", range(8))
def test_reading_goes_on_after_any_event(journal, after):
    ok(
        journal,
        create("r"),
        Append("r", 1, beginning("r")),
        Append("r", 3, step(0)),
        Append("r", 5, failed_step(1)),
    )
    expected = list(enumerate([*beginning("r"), *step(0), *failed_step(1)], 1))
    assert list(journal.events("r", after)) == expected[after:]


def test_a_long_run_is_read_whole(journal):
    ok(journal, create("r"))
    for number in range(200):
        ok(journal, Append("r", 1 + 2 * number, step(number)))
    assert [seq for seq, _ in journal.events("r")] == list(range(1, 401))
    assert [seq for seq, _ in journal.events("r", 255)] == list(range(256, 401))


def test_a_run_without_events_has_none(journal):
    ok(journal, create("r"))
    assert list(journal.events("r")) == []


def test_one_commit_takes_writes_of_many_runs_and_kinds(journal):
    ok(
        journal,
        create("a"),
        Append("a", 1, beginning("a")),
        create("b"),
        Append("b", 1, beginning("b")),
        RecordDeliveries("a", [delivery(1)], 1),
        Append("b", 3, [PauseRequested(2.5, "asked")], RunSummary("paused", 1, 1000.0, None)),
        Release("b"),
    )
    assert {row.run_id: row.summary.status for row in journal.runs()} == {"a": "running", "b": "paused"}


def test_a_write_that_cannot_be_leaves_the_others_alone(journal):
    ok(journal, create("r"))
    outcomes = journal.commit(
        [
            create("r"),
            Append("r", 2, step(0)),
            Append("nobody", 1, step(0)),
            Append("r", 1, [AttemptSucceeded(1.5, "t", 1, object())]),
            Append("r", 1, beginning("r")),
            RecordDeliveries("r", [delivery(1, seq=3)], 2),
            RecordDeliveries("r", [], 3),
            RecordDeliveries("nobody", [], 0),
            Release("nobody"),
            Append("r", 3, step(0)),
        ]
    )
    kinds = [type(outcome) for outcome in outcomes]
    refused, kept = ValueError, type(None)
    assert kinds == [
        RunExistsError,
        refused,
        refused,
        TypeError,
        kept,
        refused,
        refused,
        refused,
        refused,
        kept,
    ]
    assert list(journal.events("r")) == list(enumerate([*beginning("r"), *step(0)], 1))


def test_a_run_that_exists_keeps_its_definition_and_events(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    (outcome,) = journal.commit([CreateRun("r", "other", "d2", b"{}", ENDED)])
    assert isinstance(outcome, RunExistsError)
    assert journal.find("r").workflow == "deploy"
    assert len(list(journal.events("r"))) == 2


@pytest.mark.parametrize("run_id", ["\ud800", "r\ud800"])
def test_an_id_that_cannot_be_written_is_refused_and_hurts_nobody(journal, run_id):
    outcome, kept = journal.commit([create(run_id), create("r")])
    assert isinstance(outcome, TypeError)
    assert kept is None


def test_a_sequence_goes_on_after_a_refused_append(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    for wrong in (0, 1, 2, 4, 99):
        (outcome,) = journal.commit([Append("r", wrong, step(0))])
        assert isinstance(outcome, ValueError)
        assert "at 3" in str(outcome)
    ok(journal, Append("r", 3, step(0)))


def test_a_summary_is_that_of_the_last_append_which_had_one(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r"), ENDED))
    ok(journal, Append("r", 3, step(0)))
    assert journal.find("r").summary == ENDED
    ok(journal, Append("r", 5, [], RUNNING))
    assert journal.find("r").summary == RUNNING


def test_a_definition_is_kept_once_for_its_hash(journal):
    ok(journal, create("a"), create("b"))
    assert journal.definition("d1") == BODY
    with pytest.raises(StoreDamagedError, match="'d2'"):
        journal.definition("d2")


def test_deliveries_come_back_oldest_first_and_the_cursor_never_goes_back(journal):
    ok(
        journal,
        create("r"),
        Append("r", 1, beginning("r")),
        RecordDeliveries("r", [delivery(1), delivery(2)], 2),
    )
    ok(journal, RecordDeliveries("r", [delivery(3, 2)], 1))
    assert journal.deliveries("r") == [delivery(1), delivery(2), delivery(3, 2)]
    assert journal.find("r").cursor == 2


def test_runs_are_listed_the_latest_started_first(journal):
    for run_id, started_at in (("a", 5.0), ("b", 9.0), ("c", 1.0), ("d", 9.0)):
        ok(journal, create(run_id, RunSummary("running", 1, started_at, None)))
    assert [row.run_id for row in journal.runs()] == ["d", "b", "a", "c"]


def test_our_own_runs_show_our_pid_until_they_are_released(journal):
    ok(journal, create("r"))
    assert journal.find("r").owner_pid == os.getpid()
    ok(journal, Release("r"))
    assert journal.find("r").owner_pid is None


def test_a_released_run_takes_no_write_until_it_is_claimed(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")), Release("r"))
    (outcome,) = journal.commit([Append("r", 3, step(0))])
    assert isinstance(outcome, ValueError)
    row = journal.claim("r")
    assert (row.run_id, row.owner_pid) == ("r", os.getpid())
    ok(journal, Append("r", 3, step(0)))
    assert [seq for seq, _ in journal.events("r")] == [1, 2, 3, 4]


def test_a_run_is_not_given_up_when_what_it_was_to_end_with_was_refused(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    unfit = Append("r", 3, [AttemptSucceeded(1.5, "t", 1, object())])
    outcomes = journal.commit([unfit, Release("r", 3)])
    assert [type(outcome) for outcome in outcomes] == [TypeError, ValueError]
    assert journal.find("r").owner_pid == os.getpid()
    ok(journal, Append("r", 3, step(0)), Release("r", 4))
    assert journal.find("r").owner_pid is None


def test_a_batch_is_as_large_as_what_is_left_once_its_large_values_are_apart(journal, monkeypatch):
    monkeypatch.setattr(admission, "MAX_PAYLOAD_BYTES", 200_000)
    ok(journal, create("r"), Append("r", 1, [event for n in range(9) for event in step(n, large(n))]))
    assert [event.output for _, event in list(journal.events("r"))[::2]] == [large(n) for n in range(9)]
    (refused,) = journal.commit(
        [Append("r", 19, [event for n in range(9) for event in step(n, "x" * 50_000)])]
    )
    assert isinstance(refused, ValueError)


def test_claiming_what_is_ours_changes_nothing(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    assert journal.claim("r") == journal.find("r")
    ok(journal, Append("r", 3, step(0)))


def test_a_run_is_found_by_its_id_before_any_prefix(journal):
    ok(journal, create("deploy"), create("deploy-2"), create("nightly"))
    assert journal.find("deploy").run_id == "deploy"
    assert journal.find("nig").run_id == "nightly"


def test_a_prefix_of_several_runs_is_ambiguous_and_names_them(journal):
    ok(journal, create("deploy-1"), create("deploy-2"))
    with pytest.raises(RunNotFoundError) as caught:
        journal.find("dep")
    assert caught.value.ambiguous
    assert set(caught.value.nearest) == {"deploy-1", "deploy-2"}


@pytest.mark.parametrize("method", ["find", "claim", "events", "checkpoint", "deliveries", "pending"])
def test_an_unknown_run_is_answered_with_the_nearest(journal, method):
    ok(journal, create("deploy-1"), create("nightly"))
    with pytest.raises(RunNotFoundError) as caught:
        getattr(journal, method)("depoly-1")
    assert caught.value.nearest == ("deploy-1",)
    assert not caught.value.ambiguous


def test_percent_and_underscore_are_letters_like_any_other(journal):
    ok(journal, create("a%b"), create("axb"), create("a_c"))
    assert journal.find("a%").run_id == "a%b"
    assert journal.find("a_").run_id == "a_c"


def test_what_the_writer_changes_later_does_not_change_the_journal(journal):
    output, record = {"n": [1]}, {"exit": 0}
    ok(journal, create("r"), Append("r", 1, [AttemptSucceeded(1.5, "t", 1, output, record)]))
    output["n"].append(2)
    record["exit"] = 9
    ((_, event),) = journal.events("r")
    event.output["n"].append(3)
    ((_, again),) = journal.events("r")
    assert (again.output, again.record) == ({"n": [1]}, {"exit": 0})


def test_a_reader_sees_only_whole_commits(journal):
    ok(journal, create("r"))
    seen: list[int] = []
    done = False

    def read() -> None:
        while not done:
            seen.append(sum(1 for _ in journal.events("r")))

    reader = Thread(target=read)
    reader.start()
    for number in range(150):
        ok(journal, Append("r", 1 + 2 * number, step(number)))
        journal.maintain()
    done = True
    reader.join()
    assert seen == sorted(seen)
    assert all(count % 2 == 0 for count in seen)


def test_many_threads_read_at_once(journal):
    write_history(journal)
    expected, found = contents(journal), []
    threads = [Thread(target=lambda: found.append(contents(journal))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_large_values_come_back_as_they_were_wherever_they_stand(journal):
    inputs, record = {"all": large(1)}, {"tail": "x" * 70_000}
    events = [
        RunStarted(1.5, "r", "deploy", "d1", inputs, {}, {}, {}, 1),
        *finished(0, large(0)),
        *step(0),
        AttemptSucceeded(2.5, "t", 1, large(0), record),
        *failed_step(1),
        HookFinished(2.5, "pre_workflow", 0, "ok", record),
        *finished(2, '\\"\n\u0001' * 20_000),
    ]
    ok(journal, create("r"), Append("r", 1, events))
    assert list(journal.events("r")) == list(enumerate(events, 1))
    assert list(journal.events("r", 4)) == list(enumerate(events, 1))[4:]


@pytest.mark.parametrize(
    "output", [{"0": "5f"}, ["attempt_succeeded", 1, {"5": "abc"}], {"5": None, "6": {}}, [{"3": "x"}]]
)
def test_what_looks_like_a_reference_is_a_value_like_any_other(journal, output):
    events = [*finished(0, [output, large()]), *finished(1, output)]
    ok(
        journal,
        create("r"),
        Append("r", 1, events),
        SaveCheckpoint("r", 2, 1, {}, [[output, large()], [output]]),
    )
    assert [event for _, event in journal.events("r")] == events
    assert list(journal.checkpoint("r").rows) == [[output, large()], [output]]


def test_the_last_checkpoint_of_a_run_comes_back_whole(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    assert journal.checkpoint("r") is None
    ok(journal, Append("r", 3, step(0)), save("r", 4))
    rows = [[number, None, {"n": [number]}, large() if number % 400 == 0 else ""] for number in range(1000)]
    ok(journal, Append("r", 5, step(1)), save("r", 6, rows))
    found = journal.checkpoint("r")
    assert (found.seq, found.core_version, found.body) == (6, 1, {"phase": "tasks"})
    assert [list(found.rows), list(found.rows)] == [rows, rows]
    ok(journal, Append("r", 7, step(2)))
    assert journal.checkpoint("r").seq == 6
    assert [seq for seq, _ in journal.events("r", journal.checkpoint("r").seq)] == [7, 8]


def test_a_checkpoint_must_be_of_the_end_of_its_run_and_json(journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    wrong = [save("r", 1), save("r", 3), save("r", 2, [[object()]]), save("nobody", 0)]
    assert [type(outcome) for outcome in journal.commit(wrong)] == [
        ValueError,
        ValueError,
        TypeError,
        ValueError,
    ]
    assert journal.checkpoint("r") is None
    ok(journal, save("r", 2), Release("r"))
    assert journal.checkpoint("r").seq == 2


def test_a_checked_definition_is_found_by_its_key_with_its_warnings(journal):
    assert journal.cached_definition("k") is None
    ok(journal, KeepDefinition("k", "d1", BODY, [{"code": "W1"}]))
    assert journal.cached_definition("k") == CachedDefinition("d1", BODY, [{"code": "W1"}])
    assert journal.definition("d1") == BODY
    ok(journal, KeepDefinition("k", "d2", b"{}"), KeepDefinition("k", "d3", b"[]"))
    assert journal.cached_definition("k") == CachedDefinition("d3", b"[]", [])


def test_only_the_latest_checked_definitions_are_kept(journal):
    for number in range(300):
        ok(journal, KeepDefinition(f"k{number}", "d1", BODY))
    kept = [number for number in range(300) if journal.cached_definition(f"k{number}") is not None]
    assert kept == list(range(44, 300))


def test_heartbeat_and_upkeep_may_come_at_any_time(journal):
    journal.heartbeat()
    journal.maintain()
    write_history(journal)
    journal.heartbeat()
    journal.maintain()


def test_an_empty_commit_is_nothing(journal):
    assert journal.commit([]) == []


def test_a_closed_journal_refuses_every_call_and_closes_again(journal):
    ok(journal, create("r"))
    journal.close()
    journal.close()
    for call in (
        lambda: journal.commit([create("s")]),
        lambda: journal.claim("r"),
        journal.heartbeat,
        journal.maintain,
        journal.runs,
        lambda: journal.find("r"),
        lambda: journal.definition("d1"),
        lambda: journal.events("r"),
        lambda: journal.deliveries("r"),
        lambda: journal.pending("r"),
        journal.pending_counts,
        lambda: journal.checkpoint("r"),
        lambda: journal.cached_definition("k"),
    ):
        with pytest.raises(StoreFailed, match="closed"):
            call()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("json:", "names no folder"),
        ("json:a\0b", "names no folder"),
        ("state.db", "sqlite:///relative.db"),
        ("", "memory:"),
        ("sqlite:///", "names no file"),
        ("sqlite://state.db", "no store's URL"),
        ("sqlite:///:memory:", "memory:"),
        ("sqlite:///a\0b", "names no file"),
        ("postgres:///x", "no store's URL"),
    ],
)
def test_a_url_that_names_no_store_says_what_to_write(url, word):
    with pytest.raises(StoreUnusableError, match=word):
        open_journal(url)
