"""Real documents that a run writes over, kept in its folder for random access.

In: a text file (passages divided by three empty lines or more), JSONL or Parquet with a `text`
column. Out: a table by number, so that any slot finds its page in constant time and memory, and a
run explains itself without the file it was made from.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Self

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.storage import replace_file
from aligngen.generator.corpus_io import ParquetCorpus, open_corpus

__all__ = ["Passage", "Passages", "import_passages"]

WORDS = (20, 800)
"""Least and greatest number of words of a page: below there is nothing to reflect on, above it
would not fit a prompt beside the rest."""

DIVIDER = 3
"""Empty lines in a row that divide the passages of a text file."""

MAX_LINE_BYTES = 1 << 20
"""Bytes of a text file's line from which it is refused: it is no prose, and must fit memory."""


class Passage(NamedTuple):
    """One page."""

    id: str
    """File name and number, or the row's own `id`."""
    text: str


class Passages:
    """The pages of a run, by number. Open one with `open`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._count = int(connection.execute("SELECT count(*) FROM passage").fetchone()[0])
        self.report: dict[str, Json] = dict(connection.execute("SELECT key, value FROM about"))

    def refuse_change(self, source: Path) -> None:
        """Refuse a file that changed since its pages were taken."""
        if source.exists() and _file_hash(source) != self.report["file"]:
            raise UserError(
                "changed since this run took its pages",
                file=source,
                field="passages",
                remedy="Put the file back, or name another run folder with -o.",
            )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the table that `import_passages` wrote."""
        if not path.is_file():
            raise UserError(
                "the run's pages are missing",
                file=path,
                remedy="Copy them beside the ledger: they belong to the run.",
            )
        uri = path.absolute().as_uri() + "?mode=ro"
        return cls(sqlite3.connect(uri, uri=True, check_same_thread=False))

    @property
    def hash(self) -> str:
        """Content hash of the pages in order."""
        return str(self.report["hash"])

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    def __getitem__(self, number: int) -> Passage:
        """Return one page, counted from 0."""
        row = self._db.execute("SELECT name, text FROM passage WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise IndexError(number)
        return Passage(*row)


def import_passages(source: Path, target: Path) -> None:
    """Write the pages of `source` to the table `target`, aside and then in place, streaming.

    Pages that are too short or too long are left out and counted. Raises UserError where none is
    left or the file cannot be read.
    """
    dropped: Counter[str] = Counter()
    with replace_file(target) as aside:
        aside.unlink(missing_ok=True)
        with closing(sqlite3.connect(aside)) as db, db:
            db.execute("PRAGMA journal_mode=OFF")
            db.execute("CREATE TABLE passage (id INTEGER PRIMARY KEY, name TEXT, text TEXT)")
            db.execute("CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT)")
            digest, kept = hashlib.sha256(), 0
            file_hash = _file_hash(source)
            for passage in _read(source):
                reason = _unfit(passage.text)
                if reason:
                    dropped[reason] += 1
                    continue
                digest.update(passage.text.encode("utf-8", "surrogatepass") + b"\0")
                db.execute("INSERT INTO passage VALUES (?,?,?)", (kept, *passage))
                kept += 1
            about = {"hash": digest.hexdigest()[:32], "pages": str(kept), "file": file_hash}
            about |= {f"left out, {reason}": str(n) for reason, n in dropped.items()}
            db.executemany("INSERT INTO about VALUES (?,?)", about.items())
        if not kept:
            raise UserError(
                f"holds no page of {WORDS[0]} to {WORDS[1]} words ({dict(dropped) or 'empty'})",
                file=source,
                field="passages",
                remedy="Name a file of prose, one page a row.",
            )


def _file_hash(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}", file=source, remedy="Check the path."
        ) from None


def _unfit(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "with half a surrogate pair"
    count = len(text.split())
    if count < WORDS[0]:
        return f"under {WORDS[0]} words"
    return f"over {WORDS[1]} words" if count > WORDS[1] else ""


def _read(source: Path) -> Iterator[Passage]:
    if source.suffix.lower() in (".txt", ".md"):
        for number, text in enumerate(_divide(source)):
            yield Passage(f"{source.name}:{number}", text)
        return
    corpus, columns = open_corpus(source), ["text"]
    if isinstance(corpus, ParquetCorpus) and corpus.has("id"):
        columns.append("id")
    number = 0
    for chunk in corpus.chunks("text", columns):
        for record in chunk.records:
            name = record.get("id")
            fallback = f"{source.name}:{number}"
            yield Passage(fallback if name is None else str(name), str(record["text"]))
            number += 1


def _divide(source: Path) -> Iterator[str]:
    """Yield the passages of a text file; of one that is too long anyway, little more than that."""
    lines: list[str] = []
    words = empty = 0
    for line in _lines(source):
        empty = 0 if line.strip() else empty + 1
        words += len(line.split())
        if words <= 2 * WORDS[1]:
            lines.append(line)
        if empty == DIVIDER:
            yield "".join(lines).strip()
            lines, words = [], 0
    yield "".join(lines).strip()


def _lines(source: Path) -> Iterator[str]:
    number = 0
    with source.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise UserError(
                    f"a line of more than {MAX_LINE_BYTES:,} bytes is no prose",
                    file=source,
                    line=number,
                    remedy="Break it into paragraphs.",
                )
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"not UTF-8 at byte {error.start} of the line",
                    file=source,
                    line=number,
                    remedy="Save the file as UTF-8.",
                ) from None
