"""JSONL and Parquet corpora as streams of chunks, and writers that keep every column.

A chunk carries its rows as they stood in the file, so that what is kept is written as it was read:
JSONL lines byte for byte, Parquet rows under the same schema.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Chunk", "Corpus", "JsonlCorpus", "ParquetCorpus", "Record", "Writer", "open_corpus"]

_ROWS = 1024

Record = dict[str, Json]


class Chunk(NamedTuple):
    """Some consecutive rows."""

    records: list[Record]
    """The rows' values, of the columns asked for; of JSONL rows all of them."""
    lines: Sequence[bytes] = ()
    """The rows as they stood in a JSONL file."""
    batch: "pa.RecordBatch | None" = None
    """The rows as they stood in a Parquet file."""


class Writer(Protocol):
    """Where kept rows go."""

    def write(self, chunk: Chunk, keep: Sequence[bool]) -> None:
        """Write the rows of a chunk that are kept."""
        ...


class Corpus(Protocol):
    """A file of documents."""

    suffix: str

    def chunks(self, text_column: str, columns: Sequence[str]) -> Iterator[Chunk]:
        """Yield the file in order; refuse a row without the columns or with a text that is none."""
        ...

    def writer(self, path: Path) -> AbstractContextManager[Writer]:
        """Open a file of the same format."""
        ...


def open_corpus(path: Path) -> Corpus:
    """Return the corpus at `path`, by its suffix."""
    if not path.is_file():
        raise UserError("no such file", file=path, remedy="Give a .jsonl or .parquet file.")
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            return JsonlCorpus(path)
        case ".parquet":
            return ParquetCorpus(path)
        case suffix:
            raise UserError(
                f"the suffix {suffix!r} names no known corpus format",
                file=path,
                remedy="Give a .jsonl, .ndjson or .parquet file.",
            )


class JsonlCorpus:
    """One JSON object a line; blank lines are no rows."""

    suffix = ".jsonl"

    def __init__(self, path: Path) -> None:
        self._path = path

    def chunks(self, text_column: str, columns: Sequence[str]) -> Iterator[Chunk]:
        """Yield the rows in order."""
        chunk = Chunk([], lines := [])
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                record = self._parse(line, number)
                _check(self._path, number, record, text_column, columns)
                chunk.records.append(record)
                lines.append(line if line.endswith(b"\n") else line + b"\n")
                if len(lines) == _ROWS:
                    yield chunk
                    chunk = Chunk([], lines := [])
        if lines:
            yield chunk

    def _parse(self, line: bytes, number: int) -> Record:
        remedy = "Every line must be one JSON object; mend or remove this one."
        try:
            record = json.loads(line)
        except UnicodeDecodeError as error:
            problem = f"not UTF-8: {error.reason} at byte {error.start}"
            raise UserError(problem, file=self._path, line=number, remedy=remedy) from None
        except json.JSONDecodeError as error:
            problem = f"malformed JSON: {error.msg} at column {error.colno}"
            raise UserError(problem, file=self._path, line=number, remedy=remedy) from None
        except RecursionError:
            problem = "malformed JSON: nested too deeply"
            raise UserError(problem, file=self._path, line=number, remedy=remedy) from None
        if not isinstance(record, dict):
            problem = f"a JSON {type(record).__name__} where an object is expected"
            raise UserError(problem, file=self._path, line=number, remedy=remedy)
        return record

    @contextmanager
    def writer(self, path: Path) -> Iterator[Writer]:
        """Open a JSONL file."""
        with path.open("wb") as file:
            yield _JsonlWriter(file.write)


class _Write(Protocol):
    def __call__(self, data: bytes, /) -> int: ...


class _JsonlWriter:
    def __init__(self, write: _Write) -> None:
        self._write = write

    def write(self, chunk: Chunk, keep: Sequence[bool]) -> None:
        self._write(b"".join(line for line, kept in zip(chunk.lines, keep, strict=True) if kept))


class ParquetCorpus:
    """A Parquet file; rows are counted from 1 in messages."""

    suffix = ".parquet"

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(
            f"not a whole Parquet file: {str(error).splitlines()[0]}",
            file=self._path,
            remedy="It may be truncated; copy or write it again.",
        )

    def has(self, column: str) -> bool:
        """Whether the file has a column."""
        return column in self._file.schema_arrow.names

    def chunks(self, text_column: str, columns: Sequence[str]) -> Iterator[Chunk]:
        """Yield the rows in order."""
        import pyarrow as pa

        names = self._file.schema_arrow.names
        wanted = dict.fromkeys((text_column, *columns))
        for name in wanted:
            if name not in names:
                raise _missing(self._path, None, name, names)
        first = 1
        try:
            for batch in self._file.iter_batches(_ROWS):
                records: list[Record] = batch.select(list(wanted)).to_pylist()
                for number, record in enumerate(records, first):
                    _check(self._path, number, record, text_column, columns)
                first += len(records)
                yield Chunk(records, batch=batch)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from None

    @contextmanager
    def writer(self, path: Path) -> Iterator[Writer]:
        """Open a Parquet file under the same schema."""
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path, self._file.schema_arrow, compression="zstd") as writer:
            yield _ParquetWriter(writer.write_batch)


class _WriteBatch(Protocol):
    def __call__(self, batch: "pa.RecordBatch", /) -> None: ...


class _ParquetWriter:
    def __init__(self, write: _WriteBatch) -> None:
        self._write = write

    def write(self, chunk: Chunk, keep: Sequence[bool]) -> None:
        import pyarrow as pa

        if chunk.batch is not None and any(keep):
            self._write(chunk.batch.filter(pa.array(keep)))


def _check(path: Path, line: int, record: Record, text_column: str, columns: Sequence[str]) -> None:
    for name in (text_column, *columns):
        if name not in record:
            raise _missing(path, line, name, list(record))
    text = record[text_column]
    if not isinstance(text, str):
        shown = json.dumps(text, default=str)[:60]
        raise UserError(
            f"the text is no string but {shown}",
            file=path,
            line=line,
            field=text_column,
            remedy="Name the text column with --text-column.",
        )


def _missing(path: Path, line: int | None, name: str, names: Sequence[str]) -> UserError:
    return UserError(
        f"no column {name!r}; there are {', '.join(sorted(names)) or 'none'}",
        file=path,
        line=line,
        remedy="Name the columns with --text-column, --group-by, --cell-by and --id-column.",
    )
