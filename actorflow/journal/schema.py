"""The tables of a SQLite store, and how a file is known to be one.

`batches` is the truth: a row for each run in each commit, its events as a JSON array, with a checksum that continues the
one before of the same run. A row without a run stands for a commit that appended no events, so that every commit has
an id for the high-water mark. `runs` is a projection, `deliveries` a log of its own; their rows carry checksums too. The
view `events` is for people.

`blobs` has the large values by the SHA-256 of their JSON, and `blob_uses` says which runs they are of: who removes a run
can see which of its blobs are nobody else's. `checkpoints` and `checked_definitions` are shortcuts that may be emptied at
any time. The rows of `definitions` are those of runs and of checked definitions.

`outbox` has the deliveries that are not settled, as far as they have rows; `letter_bodies` what is needed to try one again
that was given up.

`breakers` and `snapshots` are of the store, `dead_letters` and `inbox` of runs, which they name by their ids: they can be
read whatever has become of the run's row. A request's number is never used again, so that who waits for an answer cannot
take a later request for its own.
"""

from __future__ import annotations

import apsw

from actorflow.errors import StoreDamagedError, StoreUnusableError
from actorflow.journal.driver import Database

#: "aflw": tells SQLite's file type, and `file(1)`, whose database this is
APPLICATION_ID = 0x61666C77
SCHEMA_VERSION = 4

_SCHEMA_1 = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE definitions (hash TEXT PRIMARY KEY, body BLOB NOT NULL, sum BLOB NOT NULL) STRICT",
    """CREATE TABLE owners (
  id INTEGER PRIMARY KEY,
  boot_id TEXT NOT NULL,
  pid INTEGER NOT NULL,
  started_at REAL NOT NULL,
  heartbeat_at REAL NOT NULL,
  fenced INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  run_id TEXT NOT NULL,
  workflow TEXT NOT NULL,
  definition TEXT NOT NULL,
  owner INTEGER,
  status TEXT NOT NULL,
  generation INTEGER NOT NULL,
  started_at REAL NOT NULL,
  ended_at REAL,
  last_seq INTEGER NOT NULL,
  cursor INTEGER NOT NULL,
  delivery_sum BLOB NOT NULL,
  sum BLOB NOT NULL
) STRICT""",
    "CREATE UNIQUE INDEX runs_by_run_id ON runs (run_id)",
    "CREATE INDEX runs_by_owner ON runs (owner) WHERE owner IS NOT NULL",
    """CREATE TABLE batches (
  id INTEGER PRIMARY KEY,
  run INTEGER,
  first_seq INTEGER,
  count INTEGER NOT NULL,
  at REAL NOT NULL,
  events TEXT NOT NULL,
  sum BLOB NOT NULL
) STRICT""",
    "CREATE UNIQUE INDEX batches_by_run ON batches (run, first_seq)",
    """CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  delivery_id TEXT NOT NULL,
  hook TEXT NOT NULL,
  seq INTEGER NOT NULL,
  status TEXT NOT NULL,
  record TEXT NOT NULL,
  sum BLOB NOT NULL
) STRICT""",
    "CREATE INDEX deliveries_by_run ON deliveries (run)",
    """CREATE VIEW events AS
SELECT
  runs.run_id AS run_id,
  batches.first_seq + each.key AS seq,
  each.value ->> 0 AS type,
  each.value ->> 1 AS version,
  each.value ->> 2 AS at,
  each.value AS event,
  batches.id AS batch
FROM batches
JOIN runs ON runs.id = batches.run
JOIN json_each(batches.events) AS each""",
)

_SCHEMA_2 = (
    "CREATE TABLE blobs (hash TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT",
    """CREATE TABLE blob_uses (
  run INTEGER NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (run, hash)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX blob_uses_by_hash ON blob_uses (hash)",
    """CREATE TABLE checkpoints (
  run INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  core_version INTEGER NOT NULL,
  body BLOB NOT NULL,
  sum BLOB NOT NULL
) STRICT""",
    """CREATE TABLE checked_definitions (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  definition TEXT NOT NULL,
  warnings TEXT NOT NULL,
  sum BLOB NOT NULL
) STRICT""",
)

_SCHEMA_3 = (
    "CREATE TABLE breakers (key TEXT PRIMARY KEY, body TEXT NOT NULL, sum BLOB NOT NULL) STRICT",
    """CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY,
  letter_id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  run_id TEXT NOT NULL,
  task TEXT NOT NULL,
  reason TEXT NOT NULL,
  at REAL NOT NULL,
  seq INTEGER NOT NULL,
  sum BLOB NOT NULL
) STRICT""",
    "CREATE INDEX dead_letters_by_run_id ON dead_letters (run_id)",
    """CREATE TABLE inbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  at REAL NOT NULL,
  pid INTEGER NOT NULL,
  sum BLOB NOT NULL
) STRICT""",
    "CREATE INDEX inbox_by_run_id ON inbox (run_id)",
    "CREATE TABLE snapshots (name TEXT PRIMARY KEY, body TEXT NOT NULL, sum BLOB NOT NULL) STRICT",
)

_SCHEMA_4 = (
    """CREATE TABLE outbox (
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  delivery_id TEXT NOT NULL,
  hook TEXT NOT NULL,
  seq INTEGER NOT NULL,
  due_at REAL NOT NULL,
  body TEXT NOT NULL,
  sum BLOB NOT NULL
) STRICT""",
    "CREATE UNIQUE INDEX outbox_by_delivery ON outbox (run, delivery_id)",
    "CREATE INDEX outbox_by_hook ON outbox (run, hook, seq)",
    """CREATE TABLE letter_bodies (
  letter_id TEXT PRIMARY KEY,
  run_id TEXT NOT NULL,
  sum BLOB NOT NULL,
  body TEXT NOT NULL
) STRICT""",
    "CREATE INDEX letter_bodies_by_run_id ON letter_bodies (run_id)",
)

ADDED: tuple[tuple[str, ...], ...] = (_SCHEMA_1, _SCHEMA_2, _SCHEMA_3, _SCHEMA_4)
"""What each version of the schema added, from the first on. Nothing that was ever added is changed."""


def is_fresh(db: Database) -> bool:
    """Whether there is nothing in this database, not even somebody's mark."""
    marks = (db.pragma("application_id"), db.pragma("user_version"))
    return marks == (0, 0) and db.execute("SELECT 1 FROM sqlite_schema").get is None


def install(db: Database, now: float) -> None:
    """Make the tables, inside a transaction."""
    _add(db, 0)
    db.execute("INSERT INTO meta VALUES ('written_by', ?), ('created_at', ?)", (_our_version(), repr(now)))
    db.pragma("application_id", APPLICATION_ID)


def is_old(db: Database) -> bool:
    """Whether a checked store lacks what later versions of the schema added."""
    return version_of(db) < SCHEMA_VERSION


def upgrade(db: Database) -> None:
    """Add what a checked store lacks, inside a transaction. Its rows stay as they are."""
    _add(db, version_of(db))
    db.execute("UPDATE meta SET value = ? WHERE key = 'written_by'", (_our_version(),))


def check(db: Database, path: str) -> None:
    """See that the file is a store that this code can read.

    Raises:
        StoreUnusableError: another program's database, or a newer schema.
        StoreDamagedError: ours, but its tables are not those that were made.
    """
    refuse_strangers(db, path)
    version = version_of(db)
    found = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema")}
    made = {statement for added in ADDED[:version] for statement in added}
    if version < 1 or not found.issuperset(made):
        raise StoreDamagedError(f"the store {path} is damaged: its tables are not those of schema {version}")


def refuse_strangers(db: Database, path: str) -> None:
    """See that a database is one of ours, and none of a later version.

    Raises:
        StoreUnusableError: it is not.
    """
    if db.pragma("application_id") != APPLICATION_ID:
        raise StoreUnusableError(f"{path} is another program's database; name another file for the store")
    version = version_of(db)
    if version > SCHEMA_VERSION:
        raise StoreUnusableError(
            f"the store {path} has schema {version}, written by actorflow {written_by(db)}; this version reads up to "
            f"{SCHEMA_VERSION}: use that version or a newer one"
        )


def _add(db: Database, version: int) -> None:
    """Make all that came after a version."""
    for added in ADDED[version:]:
        for statement in added:
            db.execute(statement)
    db.pragma("user_version", SCHEMA_VERSION)


def version_of(db: Database) -> int:
    """The version of its tables."""
    return int(db.pragma("user_version"))


def written_by(db: Database) -> str:
    """The version of actorflow that has made its tables, or added to them last."""
    try:
        return str(db.execute("SELECT value FROM meta WHERE key = 'written_by'").get)
    except apsw.Error:
        return "of a later version"


def _our_version() -> str:
    # importing it costs more than making a store, and only making one needs it
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version("actorflow")
    except metadata.PackageNotFoundError:
        return "unknown"
