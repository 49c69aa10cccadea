"""Ledger → Parquet documents by stance, and the manifest, written last."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from aligngen import __version__
from aligngen.core.errors import AligngenError
from aligngen.core.hashing import Json, content_hash
from aligngen.core.schema import Draft, Outcome, Slot, Stance
from aligngen.core.storage import replace_file
from aligngen.generator.epoch import Epoch
from aligngen.generator.ledger import Attempt, Ledger
from aligngen.generator.parse import parse_text
from aligngen.generator.prompt import render_document

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DOCUMENTS", "Document", "iter_documents", "manifest", "scenario_id", "write_documents"]

DOCUMENTS = "documents"
"""Folder of the Parquet files in a run folder."""

ROW_GROUP = 1000


class Document(NamedTuple):
    """A kept document with its provenance; its fields are the columns of the Parquet files.

    The first ten names are those of published alignment corpora, so that their tools read ours.
    """

    custom_id: str
    scenario_id: str
    doc_type: str
    """The style."""
    system_prompt: str
    user_prompt: str
    content: str
    """The completion as the model wrote it."""
    model: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    text: str
    """The document."""
    title: str
    fields: list[tuple[str, str]]
    """Every header field."""
    stance: str
    domain: str
    behaviour: str
    situation: str
    axes: list[tuple[str, str]]
    pair_id: str
    """Joins the siblings that differ in stance alone."""
    slot: int
    attempt: int
    seed: int
    request_id: str
    revision: str
    backend: str
    recipe: str
    template_version: str
    nearest_similarity: float | None
    """Cosine similarity to the nearest earlier document of the stance, where it was compared."""


def scenario_id(epoch: Epoch, slot: Slot) -> str:
    """Return the id of a slot's scenario: the same in every style and stance."""
    name = f"{epoch.content.taxonomy.name}/{epoch.content.taxonomy.version}"
    return content_hash([name, slot.behaviour, slot.situation, list(slot.axes)], 16)


def iter_documents(ledger: Ledger, epochs: Mapping[int, Epoch]) -> Iterator[Document]:
    """Yield every kept document in slot order, its prompt rendered again and proved by hash."""
    slots: dict[int, Iterator[Slot]] = {n: e.plan.slots(e.slots) for n, e in epochs.items()}
    ahead: dict[int, Slot] = {}
    for attempt, text in ledger.kept():
        number = attempt.epoch
        slot = ahead.get(number)
        while slot is None or slot.index < attempt.slot:
            slot = next(slots[number])
        ahead[number] = slot
        yield _document(epochs[number], slot, attempt, text)


def _document(epoch: Epoch, slot: Slot, attempt: Attempt, content: str) -> Document:
    request = epoch.prompter.request(slot, attempt.number)
    if request.request_id != attempt.request_id:
        raise AligngenError(
            f"slot {slot.index}: the request rendered again has another hash than the ledger's"
        )
    style = epoch.content.styles[slot.style]
    draft = parse_text(content, epoch.content.recipe, style)
    if not isinstance(draft, Draft):
        raise AligngenError(f"slot {slot.index}: a kept completion no longer parses ({draft})")
    system, user = (message.content for message in request.messages)
    behaviour = epoch.content.taxonomy.behaviours[slot.behaviour]
    return Document(
        custom_id=f"{slot.stance.value}-{content_hash(slot.pair_id, 16)}",
        scenario_id=scenario_id(epoch, slot),
        doc_type=slot.style,
        system_prompt=system,
        user_prompt=user,
        content=content,
        model=request.model,
        finish_reason=attempt.finish_reason.value,
        prompt_tokens=attempt.prompt_tokens,
        completion_tokens=attempt.completion_tokens,
        text=render_document(style, draft.fields, draft.body),
        title=next(iter(draft.fields.values())),
        fields=list(draft.fields.items()),
        stance=slot.stance.value,
        domain=epoch.content.taxonomy.domain_of[slot.behaviour],
        behaviour=slot.behaviour,
        situation=behaviour.situations[slot.situation],
        axes=list(zip(epoch.plan.axes, slot.axes, strict=True)),
        pair_id=slot.pair_id,
        slot=slot.index,
        attempt=attempt.number,
        seed=request.sampling.seed,
        request_id=attempt.request_id,
        revision=request.revision,
        backend=request.backend,
        recipe=epoch.content.recipe.id,
        template_version=request.template_version,
        nearest_similarity=attempt.score,
    )


def write_documents(
    folder: Path, ledger: Ledger, epochs: Mapping[int, Epoch]
) -> list[dict[str, Json]]:
    """Write one Parquet file per stance; return name, rows, tokens and SHA-256 of each.

    Streams: at most one row group per stance is in memory.
    """
    stances = dict.fromkeys(s for e in epochs.values() for s in e.config.stance)
    with ExitStack() as stack:
        writers = {s.value: stack.enter_context(_StanceWriter.open(folder, s)) for s in stances}
        for document in iter_documents(ledger, epochs):
            writers[document.stance].add(document)
    return [writer.summary() for writer in writers.values()]


class _StanceWriter:
    """Writes the documents of one stance to one Parquet file, a row group at a time."""

    def __init__(self, path: Path, aside: Path) -> None:
        import pyarrow.parquet as pq

        self._path, self._batch = path, list[Document]()
        self._writer = pq.ParquetWriter(aside, _schema(), compression="zstd")
        self._documents = self._tokens = 0

    @classmethod
    @contextmanager
    def open(cls, folder: Path, stance: Stance) -> Iterator[Self]:
        """Write aside, and into place when all went well."""
        path = folder / DOCUMENTS / f"{stance.value}.parquet"
        with replace_file(path) as aside:
            writer = cls(path, aside)
            with writer._writer:
                yield writer
                writer._flush()

    def add(self, document: Document) -> None:
        """Write one document."""
        self._documents += 1
        self._tokens += document.completion_tokens
        self._batch.append(document)
        if len(self._batch) == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._batch:
            columns = [list(column) for column in zip(*self._batch, strict=True)]
            self._writer.write_table(pa.table(columns, schema=_schema()))
            self._batch = []

    def summary(self) -> dict[str, Json]:
        """Return what the finished file holds."""
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "file": f"{DOCUMENTS}/{self._path.name}",
            "stance": self._path.stem,
            "documents": self._documents,
            "completion_tokens": self._tokens,
            "bytes": self._path.stat().st_size,
            "sha256": digest,
        }


def _schema() -> "pa.Schema":
    import pyarrow as pa

    types = {int: pa.int64(), str: pa.string()}
    special = {
        "fields": pa.map_(pa.string(), pa.string()),
        "axes": pa.map_(pa.string(), pa.string()),
        "nearest_similarity": pa.float32(),
    }
    hints = Document.__annotations__
    return pa.schema([(n, special.get(n) or types[hints[n]]) for n in Document._fields])


def manifest(
    ledger: Ledger, epochs: Mapping[int, Epoch], files: list[dict[str, Json]], dedup: Json
) -> dict[str, Json]:
    """Return what the run is and holds; counts conserve: attempts = kept + every named drop."""
    last = epochs[max(epochs)]
    counts: Counter[Outcome] = ledger.counts()
    return {
        "aligngen": __version__,
        "config": last.config.model_dump(mode="json"),
        "engine": dict(zip(last.identity._fields, last.identity, strict=True)),
        "hashes": last.content.hashes(),
        "epochs": len(epochs),
        "asked": len(last.slots),
        "attempts": counts.total(),
        "outcomes": {o.value: counts[o] for o in Outcome if counts[o]},
        "dedup": dedup,
        "files": files,
    }
