"""What a program and its environment allow, put together when the runtime is made."""

from __future__ import annotations

from typing import Any

import pytest

from actorflow import Runtime
from actorflow.runtime.egress import ALLOW_HOSTS, guard_of


def test_the_lists_of_the_program_and_of_the_environment_are_one():
    guard = guard_of(["https://a.example"], {ALLOW_HOSTS: "https://b.example, *.c.example https://a.example"})
    for url in ("https://a.example/x", "https://b.example/", "https://deep.c.example/"):
        guard.permit(url)
    assert len(guard.allowed) == 3


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ("https://a.example", r"write \['https://a.example'\]"),
        (None, "is a list of entries, not None"),
        (7, "is a list of entries, not 7"),
        ([3], "an entry is a text such as .*, not 3"),
        ([None], "an entry is a text such as"),
        (["https://a.example", "ftp://a.example"], "allow_hosts: .*ftp"),
        ([""], "allow_hosts: "),
    ],
)
def test_what_is_no_list_of_hosts_is_refused_when_the_runtime_is_made(entries: Any, says: str):
    with pytest.raises(ValueError, match=says):
        Runtime(store="memory:", allow_hosts=entries)


def test_an_entry_of_the_environment_that_cannot_be_read_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv(ALLOW_HOSTS, "https://a.example gopher://b.example")
    with pytest.raises(ValueError, match=f"{ALLOW_HOSTS}: .*gopher"):
        Runtime(store="memory:")
