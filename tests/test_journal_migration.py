"""What is promised of a store of an earlier version: a whole copy of it is kept before anything is added to it."""

from __future__ import annotations

import resource
import shutil
import stat
from pathlib import Path

import pytest
from journal_cases import contents

from actorflow.errors import StoreUnusableError
from actorflow.journal import schema
from actorflow.journal.migration import copy_path
from actorflow.journal.schema import SCHEMA_VERSION
from actorflow.journal.sqlite import SqliteJournal

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.db"))


def version_of(path: Path) -> int:
    """As the header of a closed database has it (https://www.sqlite.org/fileformat.html#user_version_number)."""
    return int.from_bytes(path.read_bytes()[60:64])


LEAST = 40_000
"""Bytes of a file that SQLite needs beside a store of any size."""

OLD = [path for path in GOLDEN if version_of(path) < SCHEMA_VERSION]


def said(path: Path) -> list[object]:
    journal = SqliteJournal(str(path))
    try:
        return contents(journal)
    finally:
        journal.close()


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copy(request.param, tmp_path / "runs.db"))


def test_the_copy_says_what_the_store_says_and_is_for_us_alone(old: Path, tmp_path: Path):
    version = version_of(old)
    after = said(old)
    copy = Path(copy_path(str(old), version))
    assert (version_of(copy), version_of(old)) == (version, SCHEMA_VERSION)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert said(Path(shutil.copy(copy, tmp_path / "again.db"))) == after


def test_a_copy_that_is_there_is_not_replaced(old: Path):
    copy = Path(copy_path(str(old), version_of(old)))
    copy.write_bytes(b"the first one")
    said(old)
    assert copy.read_bytes() == b"the first one"


def test_what_a_kill_has_left_of_a_copy_is_replaced(old: Path):
    copy = Path(copy_path(str(old), version_of(old)))
    Path(f"{copy}.tmp").write_bytes(b"half of it")
    said(old)
    assert copy.read_bytes().startswith(b"SQLite format 3")
    assert not Path(f"{copy}.tmp").exists()


def test_where_there_is_no_room_for_a_copy_nothing_is_changed(tmp_path: Path):
    old = Path(shutil.copy(OLD[-1], tmp_path / "runs.db"))
    version = version_of(old)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LEAST, limits[1]))
    try:
        with pytest.raises(
            StoreUnusableError, match=f"a copy of it is to be kept first as .*schema-{version}"
        ):
            SqliteJournal(str(old))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in old.parent.iterdir() if ".bak" in path.name] == []
    assert version_of(old) == version
    assert said(old)


def test_a_store_of_this_version_has_no_copy(tmp_path: Path):
    said(tmp_path / "new.db")
    said(tmp_path / "new.db")
    assert [path.name for path in tmp_path.iterdir() if ".bak" in path.name] == []


def test_there_is_a_golden_store_of_each_version_before():
    assert {version_of(path) for path in GOLDEN} >= set(range(1, schema.SCHEMA_VERSION + 1))
