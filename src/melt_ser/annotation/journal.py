"""The journal of a paid job: one SQLite row for each call, written as its answer arrives.

A kill at any moment loses no answer that has arrived. A call with a readable answer in the journal is never sent again;
one with an unreadable answer is sent again to repair it. A call's name depends on its utterance, its sample number and
its content (model, messages, schema, temperature, server, and what else shapes the answer), so a changed prompt or text
makes a new call next to the old one. The journal also holds the batches that are submitted and not collected yet, so
that none is lost or submitted twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from melt_ser.annotation.dialect import ANSWER_LIMIT, THINKING_LIMIT
from melt_ser.annotation.reasons import THINKING, TRUNCATED
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.files import sha256
from melt_ser.core.locks import exclusive_lock

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    call TEXT PRIMARY KEY,
    utterance TEXT NOT NULL,
    sample INTEGER NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    temperature REAL NOT NULL,
    text TEXT NOT NULL,
    problem TEXT,
    rounds INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    probabilities TEXT,
    seconds REAL,
    arrived TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    reason TEXT,
    finish_reason TEXT,
    answered_by TEXT,
    fingerprint TEXT,
    address TEXT,
    max_tokens INTEGER,
    options TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    batch TEXT PRIMARY KEY, id TEXT, model TEXT NOT NULL, prompt_version TEXT NOT NULL, temperature REAL NOT NULL,
    address TEXT, max_tokens INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS submitted (
    call TEXT PRIMARY KEY, utterance TEXT NOT NULL, sample INTEGER NOT NULL,
    batch TEXT NOT NULL REFERENCES batches(batch) ON DELETE CASCADE, sent TEXT
) WITHOUT ROWID;
"""
# Columns that journals of earlier versions lack. Their rows keep NULL: the address is not known, for example.
ADDED = {
    "answers": ("reason", "finish_reason", "answered_by", "fingerprint", "address", "max_tokens", "options"),
    "batches": ("address", "max_tokens"),
    "submitted": ("sent",),
}
APPLICATION = 0x4D454C54  # "MELT"; tells a journal from other SQLite files


class Entry(NamedTuple):
    """An answer as it arrived.

    `problem` says why it is unreadable (None: it is readable), `reason` the same in a word. `rounds` counts the
    requests made for this call, repairs included; the tokens are those of all rounds. `temperature` is "left out" if
    none was sent. `seconds` is the time from the last request to its answer; None for batches, because it would not
    show the engine's speed. The fields from `arrived` on tell where the answer comes from; in rows of earlier versions
    they are None.
    """

    call: str
    utterance: str
    sample: int
    model: str
    prompt: str
    prompt_version: str
    temperature: float | str
    text: str
    problem: str | None
    rounds: int
    prompt_tokens: int
    completion_tokens: int
    probabilities: Any = None  # {label: probability}, if the engine scores labels; JSON in the table
    seconds: float | None = None
    arrived: str = ""  # in UTC, such as 2026-06-01T12:00:00Z
    reason: str | None = None
    finish_reason: str | None = None  # the server's own word
    answered_by: str | None = None  # the model, as the server names it
    fingerprint: str | None = None
    address: str | None = None  # the server's; "" for a model in this process
    max_tokens: int | None = None  # the limit of the answer
    options: str | None = None  # JSON: reasoning effort and extra body


COLUMNS = ", ".join(Entry._fields)


class Settings(NamedTuple):
    """The model, the version of the prompt, the temperature and the server of a job."""

    model: str
    prompt_version: str
    temperature: float | str
    address: str = ""


class Spent(NamedTuple):
    """The number of a model's answers to a prompt, their tokens, and their mean seconds (None: not known)."""

    answers: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float | None


def call_name(utterance: str, sample: int, content: object) -> str:
    """Return the name of a call: 40 hexadecimal digits of the SHA-256 of the arguments."""
    return sha256(json.dumps([utterance, sample, content], sort_keys=True))[:40]


class Batch(NamedTuple):
    """A batch that is not collected yet: our name, the server's (None: perhaps not submitted), its answers' limit."""

    name: str
    identity: str | None
    max_tokens: int | None


class Journal:
    """An open journal; `open_journal` makes it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def begin(self) -> None:
        """Create the missing tables and columns."""
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")  # an answer is on the disk before it counts as arrived
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.execute(f"PRAGMA application_id = {APPLICATION}")
        with self.connection:
            for statement in SCHEMA.split(";"):
                self.connection.execute(statement)
            for table, columns in ADDED.items():
                self._add(table, columns)

    def _add(self, table: str, columns: Sequence[str]) -> None:
        """Add the columns that a table of an earlier version lacks, and mark the answers that its limit has cut."""
        present = {name for _, name, *_ in self.connection.execute(f"PRAGMA table_info({table})")}
        if set(columns) <= present:
            return
        for column in columns:
            self.connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
        if table == "answers":
            self.connection.execute(
                "UPDATE answers SET reason = iif(trim(text) = '', ?, ?), max_tokens = ? "
                "WHERE problem IS NOT NULL AND completion_tokens >= ? * rounds",
                (THINKING, TRUNCATED, ANSWER_LIMIT, ANSWER_LIMIT),
            )

    def record(self, entry: Entry) -> None:
        """Write an answer to the disk; it replaces the unreadable one that it repairs."""
        marks = ", ".join("?" * len(entry))
        values = entry._replace(probabilities=entry.probabilities and json.dumps(entry.probabilities))
        with self.connection:
            self.connection.execute(f"INSERT OR REPLACE INTO answers ({COLUMNS}) VALUES ({marks})", values)
            self.connection.execute("DELETE FROM submitted WHERE call = ?", (entry.call,))

    def find(self, call: str, former: str | None = None) -> Entry | None:
        """Return the answer to a call; None if it has none.

        `former` is the call's name in journals that did not know the server's address.
        """
        query = f"SELECT {COLUMNS} FROM answers WHERE call = ? OR (call = ? AND address IS NULL) ORDER BY call = ? DESC"
        row = self.connection.execute(query, (call, former, call)).fetchone()
        if row is None:
            return None
        entry = Entry(*row)
        return entry._replace(probabilities=entry.probabilities and json.loads(entry.probabilities))

    def rename(self, calls: Iterable[tuple[str, str]], answered: bool = True) -> None:
        """Give submitted calls, and answered ones too, other names: pairs of present and new name, if that is free."""
        pairs = [(new, present) for present, new in calls if new != present]
        changes = {"submitted": "call = ?, sent = coalesce(sent, call)"} | ({"answers": "call = ?"} if answered else {})
        with self.connection:
            for table, change in changes.items():
                self.connection.executemany(f"UPDATE OR IGNORE {table} SET {change} WHERE call = ?", pairs)

    def move_batches(self, settings: Settings, address: str) -> None:
        """Take the batches of a job, whose settings have the server's earlier address, for those at another address."""
        with self.connection:
            self.connection.execute(
                "UPDATE batches SET address = ? WHERE (model, prompt_version, temperature, address) = (?, ?, ?, ?)",
                (address, *settings),
            )

    def spent(self, model: str, prompt_version: str) -> Spent:
        """Return the tokens and seconds of a model's answers to a version of a prompt so far."""
        row = self.connection.execute(
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), avg(seconds) "
            "FROM answers WHERE model = ? AND prompt_version = ?",
            (model, prompt_version),
        ).fetchone()
        return Spent(*row)

    def has_seen_thinking(self, model: str, prompt_version: str) -> bool:
        """Return whether a model needed more than the usual tokens, since it thinks before it answers."""
        query = "SELECT 1 FROM answers WHERE (model, prompt_version) = (?, ?) AND (reason = ? OR max_tokens >= ?)"
        found = self.connection.execute(query, (model, prompt_version, THINKING, THINKING_LIMIT)).fetchone()
        return found is not None

    def other_addresses(self, settings: Settings) -> dict[str, int]:
        """Return the number of answers of the same model, prompt and temperature from other servers, by address."""
        query = (
            "SELECT address, count(*) FROM answers WHERE (model, prompt_version, temperature) = (?, ?, ?) "
            "AND address != ? GROUP BY address ORDER BY address"
        )
        return dict(self.connection.execute(query, settings).fetchall())

    def plan_batch(
        self, batch: str, settings: Settings, calls: Iterable[tuple[str, str, int]], max_tokens: int | None = None
    ) -> None:
        """Note the calls of a batch (name, utterance, sample) before it is submitted, with the limit of its answers."""
        columns = "batch, model, prompt_version, temperature, address, max_tokens"
        with self.connection:
            self.connection.execute(
                f"INSERT INTO batches ({columns}) VALUES (?, ?, ?, ?, ?, ?)", (batch, *settings, max_tokens)
            )
            rows = [(*call, batch) for call in calls]
            columns = "call, utterance, sample, batch"
            self.connection.executemany(f"INSERT INTO submitted ({columns}) VALUES (?, ?, ?, ?)", rows)

    def batch_submitted(self, batch: str, identity: str) -> None:
        """Note the server's name of a planned batch."""
        with self.connection:
            self.connection.execute("UPDATE batches SET id = ? WHERE batch = ?", (identity, batch))

    def batch_done(self, batch: str) -> int:
        """Forget a batch, and return the number of its unanswered calls, which are open again."""
        with self.connection:
            unanswered = self.connection.execute("SELECT count(*) FROM submitted WHERE batch = ?", (batch,)).fetchone()
            self.connection.execute("DELETE FROM batches WHERE batch = ?", (batch,))
        return int(unanswered[0])

    def batches(self, settings: Settings) -> list[Batch]:
        """Return the batches of a job that are not collected yet."""
        same = "(model, prompt_version, temperature) = (?, ?, ?) AND (address = ? OR address IS NULL)"
        query = f"SELECT batch, id, max_tokens FROM batches WHERE {same} ORDER BY batch"
        return [Batch(*row) for row in self.connection.execute(query, settings)]

    def submitted(self, sent: str, batch: str) -> tuple[str, str, int] | None:
        """Return name, utterance and sample of a call in a batch that is not collected; `sent` is the server's name."""
        query = "SELECT call, utterance, sample FROM submitted WHERE coalesce(sent, call) = ? AND batch = ?"
        row: tuple[str, str, int] | None = self.connection.execute(query, (sent, batch)).fetchone()
        return row

    def is_submitted(self, call: str, former: str | None = None) -> bool:
        """Return whether a call is in a batch that is not collected yet (see `find` for `former`)."""
        without_address = "batch IN (SELECT batch FROM batches WHERE address IS NULL)"
        query = f"SELECT 1 FROM submitted WHERE call = ? OR (call = ? AND {without_address})"
        return self.connection.execute(query, (call, former)).fetchone() is not None


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open or create a journal, for this process alone.

    Raises SetupError while another process holds it or if SQLite cannot open or write it, OutputError if its folder or
    its lock file cannot be written, InputError if the file is damaged or no journal.
    """
    with exclusive_lock(path):
        try:
            with closing(sqlite3.connect(path)) as connection:
                tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if tables and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
                    raise InputError(f"{path} is another SQLite file, no journal; give another --journal.")
                journal = Journal(connection)
                journal.begin()
                yield journal
        except sqlite3.OperationalError as error:
            raise SetupError(f"The journal {path} cannot be written ({error}); give another --journal.") from None
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path} is no journal ({error}); move it away, or give another --journal.") from None


@contextmanager
def empty_journal() -> Iterator[Journal]:
    """Open a journal in memory, for a dry run."""
    with closing(sqlite3.connect(":memory:")) as connection:
        journal = Journal(connection)
        journal.begin()
        yield journal
