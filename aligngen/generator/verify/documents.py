"""RUN/documents/*.parquet → the documents to judge: all, or a stratified sample."""

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aligngen.core.errors import UserError
from aligngen.core.hashing import seed_from
from aligngen.core.schema import Stance

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = [
    "Written",
    "allocate",
    "choose_sample",
    "count_documents",
    "find_documents",
    "iter_written",
]

FOLDER = "documents"
BATCH = 256
"""Rows read at a time; the most documents that reading holds in memory."""

_REMEDY = "Verify the files that `aligngen generate` wrote, unchanged; it writes them again."

Stratum = tuple[str, str]
"""Stance and style."""


class Written(NamedTuple):
    """What of a kept document a judge and its report need."""

    slot: int
    stance: Stance
    behaviour: str
    style: str
    text: str


def find_documents(run: Path) -> list[Path]:
    """Return the document files of a run in order of name; a UserError where there are none."""
    files = sorted((run / FOLDER).glob("*.parquet"))
    if not files:
        raise UserError(
            "holds no documents",
            file=run / FOLDER,
            remedy="Name the folder of a finished run: `aligngen generate` writes it.",
        )
    return files


def count_documents(files: Sequence[Path]) -> int:
    """Return how many documents the files hold."""
    total = 0
    for file in files:
        with _open(file) as source:
            total += int(source.metadata.num_rows)
    return total


def iter_written(files: Sequence[Path], slots: Collection[int] | None = None) -> Iterator[Written]:
    """Yield the documents of `files` in their order, only those of `slots` where it is given."""
    columns = {"slot": int, "stance": str, "behaviour": str, "doc_type": str, "text": str}
    for file in files:
        for number, row in enumerate(_rows(file, columns), start=1):
            if slots is None or row["slot"] in slots:
                yield Written(
                    int(str(row["slot"])),
                    _stance(str(row["stance"]), file, number),
                    str(row["behaviour"]),
                    str(row["doc_type"]),
                    str(row["text"]),
                )


def choose_sample(files: Sequence[Path], size: int, seed: int) -> frozenset[int] | None:
    """Return the slots of a sample stratified by stance and style; None where it would be all.

    Each stratum has its share of the sample, so figures over the sample are those of the corpus.
    Which documents of a stratum are taken depends on seed and slot alone. Memory grows with `size`.
    """
    counts = Counter(stratum for stratum, _ in _strata(files))
    if counts.total() <= size:
        return None
    share = allocate(counts, size)
    # The highest rank is on top, as the lowest ranks are kept.
    kept: dict[Stratum, list[tuple[int, int]]] = {stratum: [] for stratum in share}
    for stratum, slot in _strata(files):
        heap, entry = kept[stratum], (-seed_from("verify", seed, slot), slot)
        if len(heap) < share[stratum]:
            heapq.heappush(heap, entry)
        elif heap and entry > heap[0]:
            heapq.heapreplace(heap, entry)
    return frozenset(slot for heap in kept.values() for _, slot in heap)


def allocate(counts: Mapping[Stratum, int], size: int) -> dict[Stratum, int]:
    """Divide `size` among strata by their counts, exactly, by largest remainder."""
    total = sum(counts.values())
    share = {stratum: size * n // total for stratum, n in counts.items()}
    left = size - sum(share.values())
    by_remainder = sorted(counts, key=lambda s: (-(size * counts[s] % total), s))
    for stratum in by_remainder[:left]:
        share[stratum] += 1
    return share


def _strata(files: Sequence[Path]) -> Iterator[tuple[Stratum, int]]:
    for file in files:
        for row in _rows(file, {"slot": int, "stance": str, "doc_type": str}):
            yield (str(row["stance"]), str(row["doc_type"])), int(str(row["slot"]))


def _rows(file: Path, columns: Mapping[str, type]) -> Iterator[dict[str, object]]:
    with _open(file) as source:
        if missing := set(columns) - set(source.schema_arrow.names):
            raise UserError(
                f"has no column {min(missing)!r}",
                file=file,
                remedy="Name the folder of a run that `aligngen generate` wrote.",
            )
        batches = source.iter_batches(batch_size=BATCH, columns=list(columns))
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            if bad := [name for name, kind in columns.items() if type(row[name]) is not kind]:
                raise UserError(
                    f"got {row[bad[0]]!r}", file=file, line=number, field=bad[0], remedy=_REMEDY
                )
            yield row


def _open(file: Path) -> "pq.ParquetFile":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"is no Parquet file: {error}", file=file, remedy="Write the run's documents again."
        ) from None


def _stance(name: str, file: Path, number: int) -> Stance:
    try:
        return Stance(name)
    except ValueError:
        raise UserError(
            f"none of {', '.join(Stance)}, got {name!r}",
            file=file,
            line=number,
            field="stance",
            remedy=_REMEDY,
        ) from None
