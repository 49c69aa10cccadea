"""The ledger: every attempt of a run, exactly once, in one SQLite database.

An attempt's key is (slot, try, step) in one integer, so writing it twice is impossible and slot
order is key order. Text and sketches stand in tables of their own, so that counting and resuming
read the short rows alone. WAL with synchronous=NORMAL: a killed process loses nothing that was
committed; a power cut may lose the last commits, never the database.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from aligngen.core.errors import AligngenError, UserError
from aligngen.core.schema import Completion, FinishReason, Outcome

__all__ = ["Attempt", "Ledger", "LedgerFull", "iter_completions"]

SLOT_SHIFT, STEP_BITS = 12, 3
"""An attempt's key is slot << 12 | try << 3 | step: up to 512 tries, of up to 8 steps each."""

APPLICATION_ID = 0x616C6967
FORMAT = 2
RESERVE_BYTES = 8 << 20

_SCHEMA = """
CREATE TABLE epoch (               -- what the run meant: its configuration and content
    id INTEGER PRIMARY KEY, started REAL NOT NULL, fingerprint TEXT NOT NULL, content TEXT NOT NULL
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,        -- slot << 12 | try << 3 | step
    epoch INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    score REAL,
    twin INTEGER,                  -- slot of the kept document that this one repeats
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,         -- from submission to the last token
    finished REAL NOT NULL         -- Unix time
);
CREATE TABLE completion (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE sketch (id INTEGER PRIMARY KEY, sketch BLOB NOT NULL);
CREATE TABLE session (started REAL PRIMARY KEY, ended REAL, note TEXT NOT NULL);
"""


Values = tuple[str | int | float | bytes | None, ...]


class LedgerFull(UserError):
    """The disk is full; what was finished is on it."""


class Attempt(NamedTuple):
    """One row of the ledger, without the text."""

    slot: int
    number: int
    """Which try, from 0."""
    step: int
    """Which step of the recipe, from 0."""
    epoch: int
    request_id: str
    outcome: Outcome
    detail: str
    score: float | None
    twin: int | None
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    seconds: float
    finished: float


class Ledger:
    """Reads and writes one run's ledger. `open` for writing, `read` for looking at it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db, self.path = connection, path
        self._reserve = path.with_name(".reserve")
        self.epoch = 0
        """The epoch that new attempts belong to."""
        self._pending: list[tuple[str, Values]] = []

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for writing, creating the database where there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with _named_errors(path):
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA cache_size=-65536")
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                # One transaction: a kill half-way leaves an empty database, not half a schema.
                db.executescript(
                    f"BEGIN;{_SCHEMA}PRAGMA application_id={APPLICATION_ID};"
                    f"PRAGMA user_version={FORMAT};COMMIT;"
                )
            ledger = cls(db, path)
            ledger._check_format()
            ledger._keep_reserve()
        return ledger

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open an existing ledger read-only; safe while a run writes to it."""
        if not path.is_file():
            raise UserError(
                "no ledger there", file=path, remedy="Name a run folder made by aligngen generate."
            )
        with _named_errors(path):
            uri = path.absolute().as_uri() + "?mode=ro"
            db = sqlite3.connect(uri, uri=True, check_same_thread=False)
            ledger = cls(db, path)
            ledger._check_format()
        return ledger

    def close(self) -> None:
        """Commit and close."""
        self.commit()
        self._db.close()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; a fault may have come between two writes that belong together: then drop both."""
        if kind is not None and not issubclass(kind, AligngenError):
            self._pending.clear()
        self.close()

    # -- writing -------------------------------------------------------------------------------

    def record(
        self,
        slot: int,
        number: int,
        completion: Completion,
        outcome: Outcome,
        *,
        detail: str = "",
        score: float | None = None,
        sketch: bytes | None = None,
        step: int = 0,
    ) -> None:
        """Add one finished attempt."""
        key, c = attempt_key(slot, number, step), completion
        self._write(
            "INSERT INTO attempt VALUES (?,?,?,?,?,?,NULL,?,?,?,?,?,?)",
            (
                key,
                self.epoch,
                c.request_id,
                outcome.value,
                storable(detail),
                score,
                c.finish_reason.value,
                c.prompt_tokens,
                c.completion_tokens,
                c.cached_tokens,
                round(c.seconds, 3),
                round(time.time(), 3),
            ),
        )
        self._write("INSERT INTO completion VALUES (?,?)", (key, storable(c.text)))
        if sketch is not None:
            self._write("INSERT INTO sketch VALUES (?,?)", (key, sketch))

    def decide(
        self,
        slot: int,
        number: int,
        outcome: Outcome,
        *,
        detail: str = "",
        score: float | None = None,
        twin: int | None = None,
        step: int = 0,
    ) -> None:
        """Turn a candidate into kept or duplicate; nothing else changes, nothing is overwritten."""
        key = attempt_key(slot, number, step)
        self._write(
            "UPDATE attempt SET outcome=?, detail=?, score=?, twin=? WHERE id=? AND outcome=?",
            (outcome.value, detail, score, twin, key, Outcome.CANDIDATE.value),
        )

    def set_meta(self, key: str, value: str) -> None:
        """Set one named value."""
        self._write("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))

    def drop_unused_epoch(self) -> None:
        """Forget the last epoch if no attempt was made in it: nothing means it."""
        self._write(
            "DELETE FROM epoch WHERE id = ? AND NOT EXISTS (SELECT 1 FROM attempt WHERE epoch = ?)",
            (self.epoch, self.epoch),
        )

    def renew_epoch(self, content: str) -> None:
        """Record other settings of the current epoch that change nothing of what it means."""
        self._write("UPDATE epoch SET content = ? WHERE id = ?", (content, self.epoch))

    def release_reserve(self) -> None:
        """Give back the room that was kept for a full disk: the run is finished."""
        self._reserve.unlink(missing_ok=True)

    def add_epoch(self, fingerprint: str, content: str) -> None:
        """Begin an epoch: from here on, attempts mean what these texts say."""
        self.epoch += 1
        self._write(
            "INSERT INTO epoch VALUES (?,?,?,?)", (self.epoch, time.time(), fingerprint, content)
        )

    def start_session(self, started: float, note: str) -> None:
        """Note that a process began to work on the run."""
        self._write("INSERT INTO session VALUES (?,NULL,?)", (started, note))

    def end_session(self, started: float, note: str) -> None:
        """Note how it ended; a killed one stays open."""
        self._write(
            "UPDATE session SET ended=?, note=? WHERE started=?", (time.time(), note, started)
        )

    def commit(self) -> None:
        """Make everything written so far durable against a kill."""
        if self._pending:
            self._run("COMMIT", ())
            self._pending.clear()

    def _write(self, statement: str, values: Values) -> None:
        if not self._pending:
            self._run("BEGIN", ())
        self._pending.append((statement, values))
        self._run(statement, values)

    def _run(self, statement: str, values: Values) -> None:
        """Execute; on a full disk, give back the reserve and commit what is pending first."""
        with _named_errors(self.path):
            try:
                self._db.execute(statement, values)
            except sqlite3.OperationalError as error:
                if not _is_full(error):
                    raise
                self._commit_into_reserve()
                raise self._full() from None

    def _commit_into_reserve(self) -> None:
        """Write the open transaction once more: a full disk may have rolled it back."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._reserve.unlink(missing_ok=True)
        self._db.execute("BEGIN")
        try:
            for statement, values in self._pending:
                self._db.execute(statement, values)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise UserError(
                f"the disk is full, and its reserve too: {error}",
                file=self.path,
                remedy="Free some room, then run the same command: what was committed is there.",
            ) from None
        finally:
            self._pending.clear()

    def _keep_reserve(self) -> None:
        if not self._reserve.exists():
            try:
                with self._reserve.open("wb") as file:
                    file.write(b"\0" * RESERVE_BYTES)
            except OSError:
                self._reserve.unlink(missing_ok=True)
                raise self._full() from None

    def _full(self) -> LedgerFull:
        return LedgerFull(
            "the disk is full; everything finished is in the ledger",
            file=self.path,
            remedy="Free some room, then run the same command again.",
        )

    # -- reading -------------------------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        """Return one named value, or None."""
        with _named_errors(self.path):
            row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def epochs(self) -> list[tuple[int, str, str]]:
        """Return (id, fingerprint, content) of every epoch, in order."""
        with _named_errors(self.path):
            rows = self._db.execute("SELECT id, fingerprint, content FROM epoch ORDER BY id")
            return rows.fetchall()

    def attempts(self, first_slot: int = 0, end_slot: int | None = None) -> Iterator[Attempt]:
        """Yield the attempts of slots in [first_slot, end_slot) in (slot, try, step) order."""
        for row in self._rows("SELECT * FROM attempt", first_slot, end_slot):
            yield _attempt(row)

    def decided_sketches(self, end_slot: int) -> Iterator[tuple[int, Outcome, bytes]]:
        """Yield (slot, outcome, sketch) of every decided candidate of slots before `end_slot`, in
        the order of decision."""
        outcomes = {o.value: o for o in Outcome if o is not Outcome.CANDIDATE}
        query = "SELECT a.id, a.outcome, s.sketch FROM sketch s JOIN attempt a ON a.id = s.id"
        for key, outcome, blob in self._rows(query, 0, end_slot, column="s.id"):
            if outcome in outcomes:
                yield key >> SLOT_SHIFT, outcomes[outcome], blob

    def sketch(self, slot: int, number: int, step: int = 0) -> bytes:
        """Return the sketch of one candidate."""
        with _named_errors(self.path):
            row = self._db.execute(
                "SELECT sketch FROM sketch WHERE id=?", (attempt_key(slot, number, step),)
            ).fetchone()
        return bytes(row[0])

    def kept(self) -> Iterator[tuple[Attempt, str]]:
        """Yield every kept attempt with its completion's text, in slot order."""
        yield from self._with_text("a.outcome = 'kept'")

    def built(self) -> Iterator[tuple[Attempt, str]]:
        """Yield every kept attempt and every step that one may build on, with texts, in order."""
        yield from self._with_text("a.outcome IN ('kept', 'step')")

    def steps(self, first_slot: int) -> Iterator[tuple[Attempt, str]]:
        """Yield every step's output of slots from `first_slot` on, with its text, in order."""
        yield from self._with_text("a.outcome = 'step'", first_slot)

    def _with_text(self, condition: str, first_slot: int = 0) -> Iterator[tuple[Attempt, str]]:
        query = (
            f"SELECT a.*, c.text FROM attempt a JOIN completion c ON c.id = a.id WHERE {condition}"
        )
        for row in self._rows(query, first_slot, None, column="a.id"):
            *attempt, text = row
            yield _attempt(attempt), text

    def text(self, slot: int, number: int | None = None, step: int = 0) -> str:
        """Return the completion of one attempt, the kept one where no number is given."""
        if number is None:
            first, end = attempt_key(slot, 0), attempt_key(slot + 1, 0)
            condition = "id >= ? AND id < ? AND outcome = 'kept'"
        else:
            first = end = attempt_key(slot, number, step)
            condition = "id >= ? AND id <= ?"
        query = f"SELECT text FROM completion JOIN attempt USING (id) WHERE {condition}"
        with _named_errors(self.path):
            row = self._db.execute(query, (first, end)).fetchone()
        return "" if row is None else str(row[0])

    def counts(self) -> Counter[Outcome]:
        """Return how many attempts ended in each outcome."""
        with _named_errors(self.path):
            rows = self._db.execute("SELECT outcome, count(*) FROM attempt GROUP BY outcome")
            return Counter({Outcome(name): count for name, count in rows})

    def sessions(self) -> list[tuple[float, float | None, str]]:
        """Return (started, ended, note) of every process that worked on the run."""
        with _named_errors(self.path):
            rows = self._db.execute("SELECT started, ended, note FROM session ORDER BY 1")
            return rows.fetchall()

    def _rows(
        self, query: str, first: int, end: int | None, column: str = "id"
    ) -> Iterator[tuple[Any, ...]]:
        joint = "AND" if " WHERE " in query else "WHERE"
        last = (1 << 62) if end is None else attempt_key(end, 0)
        query = f"{query} {joint} {column} >= ? AND {column} < ? ORDER BY {column}"
        with _named_errors(self.path):
            cursor = self._db.execute(query, (attempt_key(first, 0), last))
        while True:
            # Not around the yield: what happens there is not the file's fault.
            with _named_errors(self.path):
                rows = cursor.fetchmany(256)
            if not rows:
                return
            yield from rows

    def _check_format(self) -> None:
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if (application, version) != (APPLICATION_ID, FORMAT):
            raise UserError(
                f"not a ledger of this version (id {application:#x}, format {version})",
                file=self.path,
                remedy="Name another run folder, or use the version that wrote it.",
            )


def iter_completions(path: Path) -> Iterator[Completion]:
    """Yield every completion of a run's ledger, in (slot, try, step) order."""
    with Ledger.read(path) as ledger:
        query = "SELECT a.*, c.text FROM attempt a JOIN completion c ON c.id = a.id"
        for row in ledger._rows(query, 0, None, column="a.id"):
            *columns, text = row
            a = _attempt(columns)
            detail = a.detail if a.finish_reason is FinishReason.ERROR else ""
            yield Completion(
                request_id=a.request_id,
                text=text,
                finish_reason=a.finish_reason,
                prompt_tokens=a.prompt_tokens,
                completion_tokens=a.completion_tokens,
                cached_tokens=a.cached_tokens,
                seconds=a.seconds,
                detail=detail,
            )


def attempt_key(slot: int, number: int, step: int = 0) -> int:
    """Return the key of one attempt."""
    return slot << SLOT_SHIFT | number << STEP_BITS | step


def _attempt(row: Sequence[Any]) -> Attempt:
    key, epoch, request_id, outcome, detail, score, twin, finish, *numbers = row
    slot, number, step = (
        key >> SLOT_SHIFT,
        (key & (1 << SLOT_SHIFT) - 1) >> STEP_BITS,
        key & (1 << STEP_BITS) - 1,
    )
    return Attempt(
        slot, number, step, epoch, request_id, Outcome(outcome), detail, score, twin,
        FinishReason(finish), *numbers,
    )  # fmt: skip


def storable(text: str) -> str:
    """Return `text` with lone surrogates escaped, which SQLite cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_full(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Name the file where SQLite only says that it is malformed."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise UserError(
                "another process writes to this run", file=path, remedy="Wait for it, or stop it."
            ) from None
        if error.sqlite_errorcode in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise UserError(
                f"cannot be opened: {error}", file=path, remedy="Check the folder's permissions."
            ) from None
        raise
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise  # ours, not the file's
        raise UserError(
            f"the ledger is damaged: {error}",
            file=path,
            remedy="Restore it from a copy, or start a new run with another -o.",
        ) from None
