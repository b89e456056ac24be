from __future__ import annotations

import typing
from types import MappingProxyType

import orjson
import pytest
from attrs import fields
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core import events
from actorflow.core.events import (
    AttemptStarted,
    AttemptSucceeded,
    Event,
    Failure,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    Resumed,
    RunEnding,
)
from actorflow.errors import StoreDamagedError
from actorflow.journal.codec import EARLIER, REGISTRY, decode_events, encode_events

#: the format of every store that was ever written: lines are added here, never changed
FROZEN_TAGS = {
    "run_started": (1, "at run_id workflow definition inputs env bindings flags core_version"),
    "generation_started": (2, "at generation cause tasks"),
    "attempt_started": (1, "at task attempt loss agent"),
    "attempt_succeeded": (1, "at task attempt output record"),
    "attempt_failed": (1, "at task attempt failure"),
    "attempt_timed_out": (1, "at task attempt failure"),
    "attempt_canceled": (1, "at task attempt"),
    "attempt_lost": (1, "at task attempt loss"),
    "retry_scheduled": (1, "at task attempt due_at"),
    "fallback_chosen": (1, "at task agent"),
    "fallback_value_used": (1, "at task output"),
    "sleep_started": (1, "at task due_at"),
    "task_failed": (1, "at task effect failure"),
    "task_canceled": (1, "at task"),
    "task_skipped": (1, "at task reason"),
    "stage_completed": (1, "at stage status"),
    "hook_started": (2, "at event index subject"),
    "hook_finished": (2, "at event index status record subject"),
    "hook_lost": (2, "at event index subject"),
    "pause_requested": (1, "at cause"),
    "resumed": (1, "at"),
    "cancel_requested": (1, "at cause"),
    "run_ending": (1, "at outcome outputs failure task"),
    "run_finished": (1, "at outcome"),
    "retries_exhausted": (1, "at task agent attempts"),
    "budget_exhausted": (1, "at task"),
    "breaker_allowed": (1, "at task key is_probe"),
    "breaker_refused": (1, "at task key until is_probing"),
    "breaker_counted": (1, "at task key"),
    "breaker_opened": (1, "at task key until"),
    "breaker_closed": (1, "at task key"),
    "task_deadline_passed": (1, "at task"),
    "dead_lettered": (1, "at task letter input failure attempts"),
    "signal_received": (1, "at name payload signal_id"),
    "definition_changed": (1, "at definition bindings"),
    "run_deadline_passed": (1, "at"),
    "task_finished": (1, "at task status"),
}

#: what earlier versions wrote, and what it is read as
FROZEN_ROWS = {
    '["generation_started",1,1.5,2,"resume"]': GenerationStarted(1.5, 2, "resume"),
    '["generation_started",2,1.5,2,"retry",["a","b"]]': GenerationStarted(1.5, 2, "retry", ("a", "b")),
    '["hook_started",1,1.5,"on_error",0]': HookStarted(1.5, "on_error", 0),
    '["hook_started",2,1.5,"task_started",1,"build"]': HookStarted(1.5, "task_started", 1, "build"),
    '["hook_finished",1,1.5,"on_error",0,"ok",{"exit":0}]': HookFinished(
        1.5, "on_error", 0, "ok", {"exit": 0}
    ),
    '["hook_finished",2,1.5,"on_stage_complete",0,"skipped",{},"test"]': HookFinished(
        1.5, "on_stage_complete", 0, "skipped", {}, "test"
    ),
    '["hook_lost",1,1.5,"post_workflow",2]': HookLost(1.5, "post_workflow", 2),
    '["hook_lost",2,1.5,"task_finished",2,"build"]': HookLost(1.5, "task_finished", 2, "build"),
}

KINDS: tuple[type, ...] = typing.get_args(Event)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
mappings = st.dictionaries(st.text(), json_values, max_size=4)
failures = st.builds(Failure, st.text(), st.text(), mappings)


def strategy_of(hint: object) -> st.SearchStrategy[object]:
    if hint is typing.Any:
        return json_values
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return st.lists(st.text(), max_size=3).map(tuple)
    options = typing.get_args(hint) if "|" in str(hint) else (hint,)
    known = {
        str: st.text(),
        int: st.integers(0, 2**62),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        Failure: failures,
        type(None): st.none(),
    }
    return st.one_of(*(known.get(option, mappings) for option in options))


def events_of(kind: type) -> st.SearchStrategy[Event]:
    hints = typing.get_type_hints(kind, vars(events))
    return st.builds(kind, *(strategy_of(hints[one.name]) for one in fields(kind)))


@settings(max_examples=100)
@given(st.lists(st.one_of(*map(events_of, KINDS)), max_size=4))
def test_every_event_comes_back_equal(written):
    assert decode_events(encode_events(written), "run", 1) == written


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_of_event_comes_back_as_itself(kind):
    @settings(max_examples=5)
    @given(events_of(kind))
    def check(event):
        (found,) = decode_events(encode_events([event]), "run", 1)
        assert type(found) is kind
        assert found == event

    check()


def test_every_member_of_the_union_has_exactly_one_tag():
    assert sorted(kind.__name__ for _, _, kind in REGISTRY) == sorted(kind.__name__ for kind in KINDS)
    assert len({tag for tag, _, _ in REGISTRY}) == len(REGISTRY)


def test_tags_versions_and_fields_are_those_of_every_store_ever_written():
    found = {tag: (version, " ".join(one.name for one in fields(kind))) for tag, version, kind in REGISTRY}
    assert found == FROZEN_TAGS


@pytest.mark.parametrize("row", FROZEN_ROWS)
def test_what_any_version_wrote_is_read_with_defaults_for_what_it_lacked(row):
    assert decode_events(f"[{row}]".encode(), "run", 1) == [FROZEN_ROWS[row]]


def test_every_version_below_the_current_one_is_still_read():
    below = {(tag, older) for tag, version, _ in REGISTRY for older in range(1, version)}
    assert set(EARLIER) == below


def test_an_event_is_a_short_array_that_people_can_read():
    written = encode_events([AttemptStarted(1.5, "build", 2, 0, "make")])
    assert written == b'[["attempt_started",1,1.5,"build",2,0,"make"]]'


def test_an_event_of_one_field_is_an_array_too():
    assert encode_events([Resumed(1.5)]) == b'[["resumed",1,1.5]]'


@pytest.mark.parametrize(
    ("tag", "version"), [("task_reborn", 1), ("resumed", 2), ("resumed", "x"), (None, None)]
)
def test_an_unknown_tag_or_newer_version_refuses_the_run_and_is_named(tag, version):
    payload = orjson.dumps([["resumed", 1, 1.5], [tag, version, 1.5]])
    with pytest.raises(StoreDamagedError) as caught:
        decode_events(payload, "run-7", 41)
    for fact in ("run-7", "event 42", repr(tag), repr(version)):
        assert fact in str(caught.value)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[", b"1", b"null", b"[1]", b"[[]]", b'["resumed"]', b'[["resumed",1]]', b'[["resumed",1,2,3]]'],
)
def test_what_is_no_event_is_damage_and_never_another_error(payload):
    with pytest.raises(StoreDamagedError):
        decode_events(payload, "run-7", 1)


@pytest.mark.parametrize("output", [object(), {1}, 2**70, "\ud800", {1: 2}, Failure("a", "b"), float])
def test_what_is_not_json_is_refused_when_it_is_written(output):
    with pytest.raises(TypeError):
        encode_events([AttemptSucceeded(1.5, "t", 1, output)])


def test_what_is_not_an_event_is_refused():
    with pytest.raises(TypeError, match="str is not an event"):
        encode_events(["resumed"])


def test_a_mapping_that_is_no_dict_is_written_as_one():
    event = RunEnding(1.5, "success", MappingProxyType({"a": MappingProxyType({"b": 1})}), None, None)
    (found,) = decode_events(encode_events([event]), "run", 1)
    assert found.outputs == {"a": {"b": 1}}
