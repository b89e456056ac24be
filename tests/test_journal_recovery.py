"""What every journal keeps for recovery, in memory and in SQLite alike: breakers, dead letters, requests, snapshots."""

from __future__ import annotations

import os
from functools import partial

import pytest
from journal_cases import (
    BODY,
    BREAKER,
    ENDED,
    RUNNING,
    STORES,
    ask,
    beginning,
    create,
    delivery,
    finished,
    large,
    letter,
    ok,
    save,
    step,
    told,
)

from actorflow.core.breaker import CLOSED, Allowed, Breaker, BreakerAsk, Counted, Refused
from actorflow.errors import (
    RunExistsError,
    RunNotFoundError,
    RunOwnedElsewhereError,
    StoreDamagedError,
    StoreFailed,
    WorkflowRunningError,
)
from actorflow.journal import (
    Answered,
    Append,
    AskBreaker,
    ChangeDefinition,
    CreateRun,
    DeadLetter,
    DropDeadLetters,
    KeepDeadLetter,
    KeepDefinition,
    MemoryJournal,
    RecordDeliveries,
    Release,
    Request,
)
from actorflow.journal.json.journal import JsonJournal
from actorflow.journal.sqlite import SqliteJournal

NEW = b'{"name":"deploy","version":2}'


class Clock:
    """The wall clock, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=STORES)
def journal(request, tmp_path, clock):
    makes = {
        "memory": MemoryJournal,
        "sqlite": partial(SqliteJournal, f"{tmp_path}/state.db"),
        "json": partial(JsonJournal, f"{tmp_path}/state"),
    }
    opened = makes[request.param](clock=clock)
    yield opened
    opened.close()


# Breakers


def test_a_breaker_that_nobody_has_told_anything_lets_everybody_through(journal):
    assert journal.commit([ask("a"), ask("b")]) == [Allowed(is_probe=False)] * 2
    assert journal.breaker("bank") == CLOSED


def test_failures_of_any_run_open_a_breaker_for_all_of_them(journal, clock):
    ok(journal, create("a"), create("b"))
    assert journal.commit([told("a", 1, 990.0), told("b", 1, 995.0)]) == [
        Counted(None),
        Counted("opened", 1025.0),
    ]
    assert journal.commit([ask("a"), ask("c")]) == [Refused(1025.0)] * 2
    assert journal.commit([ask("a", key="post")]) == [Allowed(is_probe=False)]
    assert journal.breaker("bank").until == 1025.0


def test_writes_of_one_commit_see_what_those_before_them_did(journal):
    ok(journal, create("a"))
    outcomes = journal.commit([ask("a"), told("a", 1, 990.0), told("a", 2, 990.0), ask("a")])
    assert outcomes == [
        Allowed(is_probe=False),
        Counted(None),
        Counted("opened", 1020.0),
        Refused(1020.0),
    ]


ask_later = partial(ask, at=1030.0)


def opened(journal, *run_ids: str) -> None:
    """Runs of ours, and a breaker that lets a probe through half a minute later."""
    ok(journal, *map(create, run_ids))
    journal.commit([told("x", 1, 1000.0), told("x", 2, 1000.0)])


def test_a_half_open_breaker_lets_one_probe_through_and_the_same_one_again(journal, clock):
    opened(journal, "a", "b")
    outcomes = journal.commit([ask_later("a"), ask_later("b"), ask_later("a"), ask_later("a", "other")])
    probe, refused = Allowed(is_probe=True), Refused(1060.0, is_probing=True)
    assert outcomes == [probe, refused, probe, refused]
    assert journal.breaker("bank").probe == "a/t"


@pytest.mark.parametrize(
    ("outcome", "answer", "after"),
    [
        ("success", Counted("closed"), Allowed(is_probe=False)),
        ("failure", Counted("opened", 1061.0), Refused(1060.0)),
        ("released", Counted(None), Allowed(is_probe=True)),
    ],
)
def test_the_end_of_the_probe_decides(journal, clock, outcome, answer, after):
    opened(journal, "a", "b")
    journal.commit([ask_later("a")])
    assert journal.commit([told("a", 1, 1031.0, outcome), ask_later("b")]) == [answer, after]


def test_an_outcome_that_is_told_twice_gets_the_same_answer_and_counts_once(journal):
    ok(journal, create("a"))
    assert journal.commit([told("a", 1, 990.0)] * 2) == [Counted(None)] * 2
    assert len(journal.breaker("bank").failures) == 1
    assert journal.commit([told("a", 2, 991.0)] * 2) == [Counted("opened", 1021.0)] * 2


def test_a_failure_that_is_told_a_window_late_counts_nothing(journal):
    ok(journal, create("a"))
    outcomes = journal.commit([told("a", n, 900.0 + n, late_s=60.0) for n in range(3)])
    assert (outcomes, journal.breaker("bank")) == ([Counted(None)] * 3, CLOSED)


def test_what_failed_before_the_probe_succeeded_counts_nothing_afterwards(journal):
    opened(journal, "a", "b")
    journal.commit([ask_later("a"), told("a", 1, 1031.0, "success")])
    assert journal.breaker("bank") == Breaker(changed_by="a/t/1", closed_at=1031.0)
    assert journal.commit([told("b", n, 1030.0, late_s=2.0) for n in range(3)]) == [Counted(None)] * 3
    assert journal.breaker("bank").failures == ()


@pytest.mark.parametrize("end", [Release("a"), None], ids=["released", "never there"])
def test_a_probe_of_a_run_that_nobody_owns_is_free_again(journal, clock, end):
    opened(journal, "b", *(["a"] if end else []))
    journal.commit([ask_later("a")])
    if end is not None:
        ok(journal, end)
    assert journal.commit([ask_later("b")]) == [Allowed(is_probe=True)]


def test_a_run_that_is_given_up_in_the_same_commit_holds_no_probe(journal, clock):
    opened(journal, "a", "b")
    journal.commit([ask_later("a")])
    assert journal.commit([Release("a"), ask_later("b")]) == [None, Allowed(is_probe=True)]


def test_the_run_of_a_probe_is_what_stands_before_the_first_slash(journal, clock):
    opened(journal, "a", "b")
    journal.commit([ask_later("a", "each/1/t")])
    assert journal.breaker("bank").probe == "a/each/1/t"
    assert journal.commit([ask_later("b")]) == [Refused(1060.0, is_probing=True)]


# Alone


def alone(run_id: str, workflow: str = "deploy") -> CreateRun:
    return CreateRun(run_id, workflow, "d1", BODY, RUNNING, is_alone=True)


def test_a_run_that_is_to_be_alone_is_refused_while_its_workflow_runs(journal):
    ok(journal, alone("a"))
    (refused,) = journal.commit([alone("b")])
    assert isinstance(refused, WorkflowRunningError)
    assert (refused.workflow, refused.run_id, refused.pid) == ("deploy", "a", os.getpid())
    with pytest.raises(RunNotFoundError):
        journal.find("b")
    ok(journal, alone("c", "nightly"), create("d"))


def test_two_that_are_to_be_alone_in_one_commit_are_one(journal):
    kept, refused = journal.commit([alone("a"), alone("b")])
    assert kept is None
    assert isinstance(refused, WorkflowRunningError)


def test_a_run_that_was_released_is_no_company(journal):
    ok(journal, alone("a"), Append("a", 1, beginning("a")), Release("a"))
    ok(journal, alone("b"))
    ok(journal, Release("b"), alone("c"))
    (refused,) = journal.commit([CreateRun("a", "other", "d1", BODY, RUNNING, is_alone=True)])
    assert isinstance(refused, RunExistsError)


# Definitions


def test_a_run_goes_on_by_another_definition_and_the_old_one_goes_with_its_last_name(journal):
    ok(journal, create("a"), create("b"))
    ok(journal, ChangeDefinition("a", "d2", NEW))
    assert (journal.find("a").definition, journal.find("b").definition) == ("d2", "d1")
    assert (journal.definition("d1"), journal.definition("d2")) == (BODY, NEW)
    ok(journal, ChangeDefinition("b", "d2", NEW))
    with pytest.raises(StoreDamagedError, match="'d1'"):
        journal.definition("d1")


@pytest.mark.parametrize("is_first", [True, False])
def test_a_definition_that_was_checked_stays_though_no_run_has_it_any_more(journal, is_first):
    ok(journal, create("a"))
    keep, change = KeepDefinition("k", "d1", BODY), ChangeDefinition("a", "d2", NEW)
    ok(journal, *([keep, change] if is_first else [change, keep]))
    assert journal.cached_definition("k").body == BODY


def test_a_definition_that_is_changed_back_is_the_old_one(journal):
    ok(journal, create("a"))
    ok(journal, ChangeDefinition("a", "d2", NEW), ChangeDefinition("a", "d1", BODY))
    assert journal.definition(journal.find("a").definition) == BODY
    ok(journal, ChangeDefinition("a", "d1", BODY))
    assert journal.definition("d1") == BODY


def test_a_checkpoint_of_the_old_definition_is_none_any_more(journal):
    ok(journal, create("a"), Append("a", 1, beginning("a")), save("a", 2))
    ok(journal, ChangeDefinition("a", "d2", NEW))
    assert journal.checkpoint("a") is None
    ok(journal, Append("a", 3, step(0)), save("a", 4))
    assert journal.checkpoint("a").seq == 4


def test_only_its_owner_changes_the_definition_of_a_run(journal):
    ok(journal, create("a"), Release("a"))
    (refused,) = journal.commit([ChangeDefinition("a", "d2", NEW)])
    assert isinstance(refused, ValueError)
    assert journal.find("a").definition == "d1"


# Dead letters


def test_dead_letters_come_back_oldest_first(journal):
    ok(journal, create("a"), create("b"))
    late, early = letter("a", "t", 9.0), letter("b", "t", 5.0)
    ok(journal, KeepDeadLetter(late), KeepDeadLetter(early))
    assert journal.dead_letters() == [early, late]


def test_a_dead_letter_of_the_same_id_takes_the_place_of_the_first(journal):
    ok(journal, create("a"))
    ok(journal, KeepDeadLetter(letter("a", "t", 5.0)), KeepDeadLetter(letter("a", "s", 6.0)))
    ok(journal, KeepDeadLetter(letter("a", "t", 7.0)))
    assert [(each.task, each.at) for each in journal.dead_letters()] == [("s", 6.0), ("t", 7.0)]


def test_only_the_owner_of_a_run_keeps_and_drops_its_dead_letters(journal):
    ok(journal, create("a"), KeepDeadLetter(letter("a", "t")), Release("a"))
    outcomes = journal.commit([KeepDeadLetter(letter("a", "s")), DropDeadLetters("a", ["t"])])
    assert [type(outcome) for outcome in outcomes] == [ValueError, ValueError]
    assert journal.dead_letters() == [letter("a", "t")]


def test_what_is_tried_again_is_no_dead_letter_any_more(journal):
    ok(journal, create("a"), create("b"))
    others = [letter("a", "s"), letter("b", "t"), DeadLetter("x", "delivery", "a", "t", "no", 5.0, 3)]
    mine = [letter("a", "t"), letter("a", "t", generation=2)]
    ok(journal, *map(KeepDeadLetter, [*mine, *others]))
    ok(journal, DropDeadLetters("a", ["t", "u"]))
    assert journal.dead_letters() == others


def test_writes_about_dead_letters_happen_in_their_order(journal):
    ok(journal, create("a"))
    first, second = letter("a", "t"), letter("a", "t", generation=2)
    ok(journal, KeepDeadLetter(first), DropDeadLetters("a", ["t"]), KeepDeadLetter(second))
    assert journal.dead_letters() == [second]


def test_dead_letters_are_purged_by_their_ids_whoever_owns_their_run(journal):
    ok(journal, create("a"), *(KeepDeadLetter(letter("a", task)) for task in "stu"), Release("a"))
    assert journal.purge_dead_letters(["a/1/s", "a/1/t", "a/1/x", "\udcff"]) == 2
    assert journal.purge_dead_letters(["a/1/s"]) == 0
    assert journal.purge_dead_letters([]) == 0
    assert [each.task for each in journal.dead_letters()] == ["u"]


# Requests


def test_a_request_is_found_until_it_is_answered(journal, clock):
    ok(journal, create("a"))
    first = journal.post("a", "cancel", {"cause": "enough", "now": False})
    clock.now = 1001.0
    second = journal.post("a", "signal", {"name": "go", "payload": [1, None, "näh"], "signal_id": "s1"})
    expected = [
        Request(first, "a", "cancel", {"cause": "enough", "now": False}, 1000.0, os.getpid()),
        Request(
            second, "a", "signal", {"name": "go", "payload": [1, None, "näh"], "signal_id": "s1"}, 1001.0,
            os.getpid(),
        ),
    ]  # fmt: skip
    assert journal.requests() == journal.requests() == expected
    ok(journal, Answered([first]))
    assert (journal.is_asked(first), journal.is_asked(second)) == (False, True)
    assert journal.requests() == expected[1:]
    ok(journal, Answered([second, first, 99]))
    assert journal.requests() == []


def test_requests_to_a_run_wait_for_whoever_owns_it(journal):
    ok(journal, create("a"), create("b"), Release("a"))
    number = journal.post("a", "resume", {})
    assert journal.requests() == []
    assert journal.is_asked(number)
    journal.claim("a")
    assert [each.id for each in journal.requests()] == [number]
    ok(journal, Append("a", 1, beginning("a"), ENDED), Release("a"))
    assert journal.requests() == []
    assert journal.is_asked(number)
    ok(journal, Answered([number]))
    assert not journal.is_asked(number)


def test_a_request_is_older_than_the_claim_by_which_its_reader_has_the_run(journal):
    ok(journal, create("a"))
    before = journal.post("a", "pause", {})
    assert [each.is_older for each in journal.requests()] == [False]
    ok(journal, Release("a"))
    between = journal.post("a", "cancel", {})
    journal.claim("a")
    after = journal.post("a", "cancel", {})
    journal.claim("a")  # which it has
    found = {each.id: each.is_older for each in journal.requests()}
    assert found == {before: True, between: True, after: False}


def test_a_number_is_never_used_again(journal):
    ok(journal, create("a"))
    first = journal.post("a", "pause", {})
    ok(journal, Answered([first]))
    second = journal.post("a", "pause", {})
    assert second != first
    assert not journal.is_asked(first)


def test_a_request_must_be_to_a_run_and_be_json(journal):
    ok(journal, create("deploy-1"))
    with pytest.raises(RunNotFoundError) as caught:
        journal.post("depoly-1", "pause", {})
    assert caught.value.nearest == ("deploy-1",)
    with pytest.raises(RunNotFoundError):
        journal.post("\udcff", "pause", {})
    with pytest.raises(TypeError):
        journal.post("deploy-1", "signal", {"payload": object()})
    assert journal.requests() == []


def test_who_owns_nothing_is_asked_nothing(journal):
    assert journal.requests() == []
    assert not journal.is_asked(1)


# Snapshots


def test_a_snapshot_is_kept_under_its_name_in_place_of_the_one_before(journal):
    assert journal.snapshots() == {}
    body = {"n": [1, None, {"x": "näh"}]}
    journal.save_snapshot("b", {"n": 1})
    journal.save_snapshot("a", {})
    journal.save_snapshot("b", body)
    body["n"].append(2)
    assert list(journal.snapshots().items()) == [("a", {}), ("b", {"n": [1, None, {"x": "näh"}]})]
    with pytest.raises(TypeError):
        journal.save_snapshot("c", {"x": object()})
    with pytest.raises(TypeError):
        journal.save_snapshot("\udcff", {})
    assert set(journal.snapshots()) == {"a", "b"}


# Removal


def test_a_run_is_removed_with_all_that_is_its_own_and_nothing_of_others(journal):
    for run_id in ("a", "b"):
        ok(journal, create(run_id), Append(run_id, 1, beginning(run_id)))
        ok(journal, Append(run_id, 3, finished(0, large())), save(run_id, 3, [[large()]]))
        ok(journal, RecordDeliveries(run_id, [delivery(1)], 3), KeepDeadLetter(letter(run_id, "t")))
    numbers = [journal.post(run_id, "pause", {}) for run_id in ("a", "b")]
    journal.save_snapshot("a", {})
    journal.save_snapshot("b", {})
    ok(journal, Release("a"))
    assert journal.delete("a") is True
    assert [row.run_id for row in journal.runs()] == ["b"]
    for method in (journal.find, journal.events, journal.checkpoint, journal.deliveries, journal.claim):
        with pytest.raises(RunNotFoundError):
            method("a")
    assert [seq for seq, _ in journal.events("b")] == [1, 2, 3]
    assert list(journal.checkpoint("b").rows) == [[large()]]
    assert journal.deliveries("b") == [delivery(1)]
    assert journal.dead_letters() == [letter("b", "t")]
    assert [journal.is_asked(number) for number in numbers] == [False, True]
    assert set(journal.snapshots()) == {"b"}
    assert journal.definition("d1") == BODY
    assert journal.delete("a") is False


def test_a_run_of_a_live_owner_is_not_removed_not_even_by_itself(journal):
    ok(journal, create("a"), Append("a", 1, beginning("a")))
    with pytest.raises(RunOwnedElsewhereError) as caught:
        journal.delete("a")
    assert caught.value.pid == os.getpid()
    assert len(list(journal.events("a"))) == 2


def test_the_definition_goes_with_the_last_run_that_names_it(journal):
    ok(journal, create("a"), Release("a"))
    assert journal.delete("a")
    with pytest.raises(StoreDamagedError):
        journal.definition("d1")


def test_the_id_of_a_removed_run_can_be_used_again(journal):
    ok(journal, create("a"), Append("a", 1, beginning("a")), Release("a"))
    number = journal.post("a", "pause", {})
    journal.delete("a")
    ok(journal, create("a"), Append("a", 1, step(5)))
    assert [event for _, event in journal.events("a")] == step(5)
    assert (journal.requests(), journal.is_asked(number)) == ([], False)


def test_a_snapshot_is_deleted_by_its_name(journal):
    journal.save_snapshot("mine", {})
    assert [journal.delete("mine"), journal.delete("mine"), journal.delete("\udcff")] == [True, False, False]


def test_a_cookie_ends_in_a_slash_and_is_of_one_owner(journal):
    other = MemoryJournal()
    assert journal.cookie == journal.cookie
    assert journal.cookie.endswith("/")
    assert journal.cookie.count("/") == 1
    assert len(journal.cookie) > 20
    assert journal.cookie != other.cookie


def test_a_closed_journal_refuses_all_of_this(journal):
    ok(journal, create("a"))
    journal.close()
    for call in (
        lambda: journal.post("a", "pause", {}),
        journal.requests,
        lambda: journal.is_asked(1),
        journal.dead_letters,
        lambda: journal.dead_letter_body("x"),
        lambda: journal.purge_dead_letters(["x"]),
        lambda: journal.breaker("bank"),
        lambda: journal.save_snapshot("a", {}),
        journal.snapshots,
        lambda: journal.delete("a"),
    ):
        with pytest.raises(StoreFailed, match="closed"):
            call()


def test_a_breaker_is_what_its_reports_make_of_it(journal):
    ok(journal, create("a"))
    journal.commit([told("a", 1, 990.0), told("a", 2, 992.0)])
    failures = ((990.0, "a/t/1"), (992.0, "a/t/2"))
    expected = Breaker(failures, 1022.0, None, "a/t/2", window=60.0, cooldown=30.0)
    assert journal.breaker("bank") == expected
    question = AskBreaker(BreakerAsk("\udcff", BREAKER, "a", "t"), 1000.0)
    assert journal.commit([question, ask("a")])[1] == Refused(1022.0)
