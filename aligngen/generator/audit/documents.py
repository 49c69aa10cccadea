"""Run folders, Parquet and JSONL files → documents as an audit sees them, readable again.

Streams: one chunk of rows is in memory. Only the text column is needed; every other column adds a
measure, and the report names what could not be measured without it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.generator.corpus_io import Record, open_corpus

__all__ = [
    "CELL",
    "SAMPLED_CHARS",
    "AuditDocument",
    "DocumentSource",
    "body_of",
    "open_source",
    "shortened",
]

CELL = ("stance", "doc_type")
"""Columns whose values make a cell where none are named."""

SCENARIO = ("situation", "behaviour", "domain", "axes", "factors")
"""Columns whose words belong to the scenario. The title does not: the model wrote it."""

SAMPLED_CHARS = 50_000
"""Characters of a document that a sample holds, some 8,000 words: it is bounded in number and in
length."""

_TRAITS = ("stance", "doc_type", "domain", "behaviour", "situation")
_MAPS = ("axes", "factors")
_OTHERS = ("title", "custom_id", "id", "pair_id", "scenario_id", "fields", "slot", "body_at")
_COLUMNS = tuple(dict.fromkeys((*_TRAITS, *_MAPS, *SCENARIO, *_OTHERS)))


class AuditDocument(NamedTuple):
    """One document; what the corpus has no column for is empty."""

    id: str
    """`custom_id` or `id`, else `FILE#ROW` with rows counted from 0."""
    text: str
    body: str
    """The text without the header lines, or the page, that it begins with."""
    cell: str
    """Values of the cell's columns, joined by " / "."""
    stance: str
    pair: str
    """Joins siblings; where the corpus has no `pair_id` the document's own file and row."""
    scenario: str
    """Joins what tells one scenario; the pair where the corpus has no `scenario_id`."""
    scenario_text: str
    """Everything the columns say of the scenario."""
    fields: tuple[tuple[str, str], ...]
    """Header fields."""
    traits: tuple[tuple[str, str], ...]
    """Stance, style, domain, behaviour, situation and axes, each with its value."""
    slot: int | None


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """Files that make one corpus; `documents()` may be called any number of times."""

    files: tuple[Path, ...]
    text_column: str = "text"
    by: tuple[str, ...] = ()
    """Columns whose values make a document's cell; none: the corpus is one."""
    runs: tuple[Path, ...] = ()
    """The paths that are run folders with a ledger."""
    ledger: Path | None = None
    """The run's ledger, where the corpus is one run and nothing else: slots are a run's own."""

    def documents(self) -> Iterator[AuditDocument]:
        """Yield the documents of every file in order.

        Raises UserError where a row lacks the text or a column of the cell.
        """
        for file in self.files:
            yield from self._of_file(file)

    def _of_file(self, file: Path) -> Iterator[AuditDocument]:
        corpus = open_corpus(file)
        names = _schema_names(file)
        columns = () if names is None else [c for c in (*_COLUMNS, *self.by) if c in names]
        row = 0
        try:
            for chunk in corpus.chunks(self.text_column, columns):
                for record in chunk.records:
                    yield self._document(record, file, row)
                    row += 1
        except UserError as error:
            raise _in_words_of_audits(error) from None

    def _document(self, record: Record, file: Path, row: int) -> AuditDocument:
        for name in self.by:
            if name not in record:
                raise UserError(
                    f"no column {name!r}",
                    file=file,
                    line=row + 1,
                    remedy=f"Name columns that are there with --by: {', '.join(sorted(record))}.",
                )
        text = str(record[self.text_column])
        fields = _pairs(record.get("fields"))
        values = [value for _, value in fields] or [_text(record.get("title"))]
        identity = _text(record.get("custom_id")) or _text(record.get("id")) or f"{file.name}#{row}"
        # Never the id: two files may count their rows, or their ids, from 0.
        pair = _text(record.get("pair_id")) or f"{file}#{row}"
        slot, at = record.get("slot"), record.get("body_at")
        return AuditDocument(
            id=identity,
            text=text,
            body=text[at:] if isinstance(at, int) else body_of(text, values),
            cell=" / ".join(_text(record[name]) or "(none)" for name in self.by),
            stance=_text(record.get("stance")),
            pair=pair,
            scenario=_text(record.get("scenario_id")) or pair,
            scenario_text=" ".join(_all_text(record.get(name)) for name in SCENARIO),
            fields=fields,
            traits=_traits(record),
            slot=slot if isinstance(slot, int) else None,
        )


def open_source(
    paths: Sequence[Path], *, text_column: str = "text", by: Sequence[str] | None = None
) -> DocumentSource:
    """Find the files of run folders and corpora; refuse what is neither.

    `by=None` takes stance and style where every file has them, and one cell where not.
    """
    files = [file for path in paths for file in _files_of(path)]
    runs = tuple(path for path in paths if (path / "ledger.sqlite").is_file())
    ledger = runs[0] / "ledger.sqlite" if runs and len(paths) == 1 else None
    if by is None:
        by = CELL if all(_has(file, CELL) for file in files) else ()
    return DocumentSource(tuple(files), text_column, tuple(by), runs, ledger)


def shortened(document: AuditDocument) -> AuditDocument:
    """Return a document as a sample holds it: the first 50,000 characters."""
    if len(document.text) <= SAMPLED_CHARS:
        return document
    text, body = document.text[:SAMPLED_CHARS], document.body[:SAMPLED_CHARS]
    return document._replace(text=text, body=body)


def body_of(text: str, header: Sequence[str]) -> str:
    """Return a document without the lines at its head that are headings or end in a header value.

    Each value takes one line at most, so that a body which names a value again is kept.
    """
    # The longest first: "Lift" also ends the line of "The Lift".
    left = sorted((v.strip() for v in header if v.strip()), key=len, reverse=True)
    lines = text.split("\n")
    for number, line in enumerate(lines):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        value = next((v for v in left if bare.endswith(v)), None)
        if value is None:
            return "\n".join(lines[number:])
        left.remove(value)
    return ""


def _in_words_of_audits(error: UserError) -> UserError:
    """Return an error of reading a corpus without options that other commands have."""
    if "--group-by" not in error.remedy:
        return error
    problem = str(error).removesuffix(error.remedy).strip()
    return UserError(problem, remedy="Name the column that holds the text with --text-column.")


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        open_corpus(path)
        return [path]
    found = sorted((path / "documents").glob("*.parquet"))
    for file in found:
        open_corpus(file)  # refuses one that is damaged
    if not found:
        raise UserError(
            "holds no finished documents",
            file=path,
            remedy="Finish the run with `aligngen generate`, or name .parquet or .jsonl files.",
        )
    return found


def _schema_names(file: Path) -> list[str] | None:
    if file.suffix.lower() != ".parquet":
        return None
    import pyarrow.parquet as pq

    names: list[str] = pq.read_schema(file).names
    return names


def _has(file: Path, columns: Sequence[str]) -> bool:
    names = _schema_names(file)
    if names is None:
        # What is wrong with the first lines is told when the documents are read.
        import json

        with file.open("rb") as lines:
            first = next((line for line in lines if line.strip()), b"{}")
        try:
            record = json.loads(first)
        except ValueError:
            return False
        names = list(record) if isinstance(record, dict) else []
    return set(columns) <= set(names)


def _text(value: Json) -> str:
    # NaN, which is not itself, is how many tools write what is missing.
    return "" if value is None or value != value else str(value)


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    """Return a map column's pairs: Parquet maps come as lists of pairs, JSON's as objects."""
    items = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(items, list | tuple):
        return ()
    return tuple((str(item[0]), str(item[1])) for item in items if _is_pair(item))


def _is_pair(item: object) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2


def _all_text(value: Json) -> str:
    if isinstance(value, dict | list | tuple):
        return " ".join(f"{_words(k)} {_words(v)}" for k, v in _pairs(value))
    return _words(_text(value))


def _words(identifier: str) -> str:
    """Return an identifier as words: `deception.hides_error` speaks of hiding an error."""
    return re.sub(r"[._]", " ", identifier)


def _traits(record: Record) -> tuple[tuple[str, str], ...]:
    plain = [(name, _text(record[name])) for name in _TRAITS if record.get(name)]
    return (*plain, *(pair for name in _MAPS for pair in _pairs(record.get(name))))
