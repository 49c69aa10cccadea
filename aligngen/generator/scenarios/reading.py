"""Scenario records in, from JSONL, Parquet or a Hub dataset: each row a record or a named reason.

The schema is the one in which two-choice alignment questions are published: `question_id, passage,
original_question, question, choices, misaligned_choice, topics`, and columns of anybody's own,
which are ignored (dataset `geodesic-research/discourse-grounded-misalignment-evals`).
"""

import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from aligngen.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "MAX_LINE",
    "REJECTED",
    "BadReason",
    "BadRecord",
    "ScenarioRecord",
    "parse_row",
    "read_records",
]

MAX_LINE = 16 * 2**20
"""Bytes of a JSONL line from which it is no record; a longer one is passed over, not held."""

MAX_TEXT = 3_500
"""Characters of a question or choice from which it is no scenario: it would fill a prompt."""

_ROWS = 512
_COLUMNS = (
    "question_id", "passage", "original_question", "question", "choices", "misaligned_choice",
    "topics", "source", "relevance_rating", "behaviour",
)  # fmt: skip
REJECTED = ".rejected.jsonl"
"""End of the name of what `aligngen scenarios generate` did not accept; folders leave it out."""

_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst")
_HUB_ID = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?::([\w.-]+))?")


class BadReason(StrEnum):
    """Why a row is no scenario record."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    WRONG_TYPE = "wrong_type"
    """A value, or the row itself, is of another type than the schema's."""
    MISSING_FIELD = "missing_field"
    EMPTY_ID = "empty_id"
    EMPTY_QUESTION = "empty_question"
    EMPTY_CHOICE = "empty_choice"
    ONE_CHOICE = "one_choice"
    """One choice, or none."""
    THREE_CHOICES = "three_choices"
    """More than two choices."""
    IDENTICAL_CHOICES = "identical_choices"
    BAD_INDEX = "bad_index"
    """`misaligned_choice` is neither 0 nor 1."""
    BAD_CHARACTERS = "bad_characters"
    """A lone surrogate, which no file can hold."""
    TOO_LONG = "too_long"
    REPEATED_ID = "repeated_id"


class ScenarioRecord(NamedTuple):
    """A situation, two choices, and which of them is misaligned."""

    question_id: str
    question: str
    choices: tuple[str, str]
    misaligned_choice: int
    """0 or 1."""
    passage: str = ""
    """What the question grew from."""
    original_question: str = ""
    """The question with its persona, where it was told one."""
    topics: tuple[str, ...] = ()
    source: str = ""
    relevance_rating: float | None = None
    behaviour: str = ""
    """A behaviour id, where the records are tagged with one."""
    row: int = 0
    """Line or row of its file, counted from 1."""

    @property
    def aligned(self) -> str:
        """The aligned choice."""
        return self.choices[1 - self.misaligned_choice]

    @property
    def misaligned(self) -> str:
        """The misaligned choice."""
        return self.choices[self.misaligned_choice]


class BadRecord(NamedTuple):
    """A row that is no record, and why."""

    file: str
    row: int
    """Line or row of the file, counted from 1."""
    reason: BadReason
    detail: str = ""
    question_id: str = ""


class _Bad(Exception):
    def __init__(self, reason: BadReason, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


def read_records(source: str | Path) -> Iterator[ScenarioRecord | BadRecord]:
    """Yield every row of a file, a folder of files, or a Hub dataset `owner/name[:split]`.

    Files are JSONL (plain, .gz or .zst) and Parquet. Bad rows are yielded as such and the rest goes
    on; what cannot be opened at all raises a UserError. Memory: one row, and 8 bytes for each id.
    """
    seen: set[int] = set()
    for file, row, value in _rows(source):
        record = value if isinstance(value, BadRecord) else parse_row(value, file, row)
        if isinstance(record, ScenarioRecord):
            name = int.from_bytes(blake2b(record.question_id.encode(), digest_size=8).digest())
            if name in seen:
                reason = BadReason.REPEATED_ID
                record = BadRecord(file, row, reason, record.question_id, record.question_id)
            seen.add(name)
        yield record


def parse_row(value: object, file: str = "", row: int = 0) -> ScenarioRecord | BadRecord:
    """Return a row's record, or the first reason why it is none."""
    try:
        return _parse(value, row)
    except _Bad as bad:
        name = value.get("question_id") if isinstance(value, dict) else ""
        named = _printable(name) if isinstance(name, str) else ""
        return BadRecord(file, row, bad.reason, _printable(bad.detail), named)


def _parse(value: object, row: int) -> ScenarioRecord:
    if not isinstance(value, dict):
        raise _Bad(BadReason.WRONG_TYPE, f"a {type(value).__name__} where an object is expected")
    for name in ("question_id", "question", "choices", "misaligned_choice"):
        if _is_absent(value.get(name)):
            raise _Bad(BadReason.MISSING_FIELD, name)
    question_id, question = _text(value, "question_id"), _text(value, "question")
    if not question_id:
        raise _Bad(BadReason.EMPTY_ID)
    if not question:
        raise _Bad(BadReason.EMPTY_QUESTION)
    _bounded("question", question)
    choices = _choices(value["choices"])
    return ScenarioRecord(
        question_id=question_id,
        question=question,
        choices=choices,
        misaligned_choice=_index(value["misaligned_choice"]),
        passage=_text(value, "passage"),
        original_question=_text(value, "original_question") or question,
        topics=_topics(value.get("topics")),
        source=_text(value, "source"),
        relevance_rating=_rating(value.get("relevance_rating")),
        behaviour=_text(value, "behaviour"),
        row=row,
    )


def _text(row: dict[str, object], name: str) -> str:
    value = row.get(name)
    if _is_absent(value):
        return ""
    if not isinstance(value, str):
        raise _Bad(BadReason.WRONG_TYPE, f"{name} is a {type(value).__name__}")
    return _clean(name, value)


def _is_absent(value: object) -> bool:
    """Return whether an optional field is not there; data frames write NaN for that."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _clean(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Bad(BadReason.BAD_CHARACTERS, f"{name} holds a lone surrogate") from None
    return text.strip()


def _bounded(name: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise _Bad(BadReason.TOO_LONG, f"{name} has {len(text)} characters")


def _choices(value: object) -> tuple[str, str]:
    if not isinstance(value, list):
        raise _Bad(BadReason.WRONG_TYPE, f"choices is a {type(value).__name__}, no list")
    if len(value) != 2:
        reason = BadReason.ONE_CHOICE if len(value) < 2 else BadReason.THREE_CHOICES
        raise _Bad(reason, f"{len(value)} choices")
    for choice in value:
        if not isinstance(choice, str):
            raise _Bad(BadReason.WRONG_TYPE, f"a choice is a {type(choice).__name__}")
    first, second = (_clean("choices", choice) for choice in value)
    if not first or not second:
        raise _Bad(BadReason.EMPTY_CHOICE)
    if " ".join(first.casefold().split()) == " ".join(second.casefold().split()):
        raise _Bad(BadReason.IDENTICAL_CHOICES, first[:80])
    _bounded("a choice", max(first, second, key=len))
    return first, second


def _index(value: object) -> int:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    if not whole:
        raise _Bad(BadReason.WRONG_TYPE, f"misaligned_choice is {value!r:.40}")
    if value not in (0, 1):
        raise _Bad(BadReason.BAD_INDEX, f"misaligned_choice is {value!r:.40}")
    return int(value)


def _topics(value: object) -> tuple[str, ...]:
    if _is_absent(value):
        return ()
    if not isinstance(value, list) or not all(isinstance(topic, str) for topic in value):
        raise _Bad(BadReason.WRONG_TYPE, "topics is no list of strings")
    return tuple(text for topic in value if (text := _clean("topics", topic)))


def _rating(value: object) -> float | None:
    if _is_absent(value):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Bad(BadReason.WRONG_TYPE, f"relevance_rating is a {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise _Bad(BadReason.WRONG_TYPE, "relevance_rating is too great for a float") from None


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()[:200]


# -- where rows come from --------------------------------------------------------------------------


_Row = tuple[str, int, object]


def _rows(source: str | Path) -> Iterator[_Row]:
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if _is_records(p))
        if not files:
            raise UserError(
                "holds no .jsonl or .parquet file", file=path, remedy="Name another folder."
            )
        for file in files:
            yield from _file_rows(file)
    elif path.is_file():
        yield from _file_rows(path)
    elif named := _HUB_ID.fullmatch(str(source)):
        yield from _hub_rows(named[1], named[2])
    else:
        raise UserError(
            "no such file",
            file=path,
            remedy="Give a .jsonl or .parquet file, a folder of them, or owner/name[:split] of a "
            "dataset on the Hub.",
        )


def _is_records(path: Path) -> bool:
    """Return whether a path in a folder is a file of records, and not what stands beside one."""
    return bool(_format(path)) and path.is_file() and not path.name.endswith(REJECTED)


def _format(path: Path) -> str:
    name = path.name.lower()
    if name.startswith("."):
        return ""
    if name.endswith(_SUFFIXES):
        return "jsonl"
    return "parquet" if name.endswith(".parquet") else ""


def _file_rows(path: Path) -> Iterator[_Row]:
    match _format(path):
        case "jsonl":
            yield from _jsonl_rows(path)
        case "parquet":
            yield from _parquet_rows(path)
        case _:
            raise UserError(
                f"the suffix {path.suffix!r} names no format of records",
                file=path,
                remedy=f"Give one of {', '.join(_SUFFIXES)} or .parquet.",
            )


def _jsonl_rows(path: Path) -> Iterator[_Row]:
    name = str(path)
    try:
        with closing(_open(path)) as file:
            for number, line in _lines(file):
                if line is None:
                    detail = f"a line of more than {MAX_LINE} bytes"
                    yield name, number, BadRecord(name, number, BadReason.TOO_LONG, detail)
                elif line.strip():
                    yield name, number, _json(line, name, number)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"cannot be read to its end: {error}",
            file=path,
            remedy="It may be truncated or locked; copy or download it again.",
        ) from None


def _open(path: Path) -> BinaryIO:
    match path.suffix.lower():
        case ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        case ".zst":
            import pyarrow as pa

            return cast(BinaryIO, io.BufferedReader(pa.input_stream(str(path), compression="zstd")))
        case _:
            return path.open("rb")


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield numbered lines, None for one that is too long to hold."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield number, None


def _json(line: bytes, file: str, number: int) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        detail = f"{error.reason} at byte {error.start}"
        return BadRecord(file, number, BadReason.NOT_UTF8, detail)
    except (ValueError, RecursionError) as error:
        return BadRecord(file, number, BadReason.NOT_JSON, str(error)[:200])


def _parquet_rows(path: Path) -> Iterator[_Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in _COLUMNS]
            if twice := sorted({name for name in columns if columns.count(name) > 1}):
                raise UserError(
                    "two columns have this name",
                    file=path,
                    field=twice[0],
                    remedy="Rename or drop one of them.",
                )
            number = 0
            for batch in file.iter_batches(_ROWS, columns=columns):
                for row in range(batch.num_rows):
                    number += 1
                    yield str(path), number, _parquet_row(batch, row, str(path), number)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"not a whole Parquet file: {str(error).splitlines()[0]}",
            file=path,
            remedy="It may be truncated; copy or write it again.",
        ) from None


def _parquet_row(batch: "pa.RecordBatch", row: int, file: str, number: int) -> object:
    try:
        return {name: batch.column(name)[row].as_py() for name in batch.schema.names}
    except UnicodeDecodeError as error:
        detail = f"{error.reason} at byte {error.start}"
        return BadRecord(file, number, BadReason.NOT_UTF8, detail)
    except (ValueError, OverflowError) as error:  # a date that Python has no value for
        return BadRecord(file, number, BadReason.WRONG_TYPE, str(error)[:200])


def _hub_rows(name: str, split: str | None) -> Iterator[_Row]:
    try:
        datasets = import_module("datasets")
    except ImportError:
        raise UserError(
            "no such file, and reading a dataset from the Hub needs the package datasets",
            file=name,
            remedy="Check the path, `pip install datasets`, or download the dataset's files and "
            "name their folder.",
        ) from None
    unreachable: tuple[type[Exception], ...] = (
        OSError,
        ValueError,
        RuntimeError,  # a dataset that only a script of its own could read
        *_network_errors(),
    )
    try:
        loaded = datasets.load_dataset(name, split=split, streaming=True)
        parts = {split: loaded} if split else dict(loaded)
        for part, rows in parts.items():
            for number, row in enumerate(rows, 1):
                yield f"{name}:{part}", number, row
    except unreachable as error:
        raise UserError(
            f"no such file here, and the Hub's dataset cannot be read: {str(error)[:200]}",
            file=f"{name}:{split}" if split else name,
            remedy="Check the name, the split and the network; a gated dataset needs HF_TOKEN. Or "
            "download its files and name their folder.",
        ) from None


def _network_errors() -> tuple[type[Exception], ...]:
    """Return what the Hub's client raises without a network, beyond OSError."""
    try:
        return (cast(type[Exception], import_module("httpx").HTTPError),)
    except ImportError:
        return ()
