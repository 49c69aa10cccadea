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
from aligngen.core.schema import Outcome, Request, Slot, Stance
from aligngen.core.storage import replace_file
from aligngen.generator.epoch import Epoch
from aligngen.generator.ledger import Attempt, Ledger
from aligngen.generator.steps import Output

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
    body_at: int
    """Where in `text` the body begins, in characters."""
    title: str
    fields: list[tuple[str, str]]
    """Every header field."""
    stance: str
    domain: str
    behaviour: str
    situation: str
    axes: list[tuple[str, str]]
    """Value id by axis."""
    factors: list[tuple[str, str]]
    """Level id by factor."""
    length: str
    """The length band asked for."""
    question_id: str
    """The scenario record that it was written about; empty for a taxonomy cell."""
    source_id: str
    """The real page that it was written over; empty where there is none."""
    cast: list[str]
    """Names that the prompt brought: people, organisation, place, AI."""
    steps: list[tuple[str, str]]
    """What every other step of the recipe wrote, by step id, the judge's verdict included."""
    pair_id: str
    """Joins the siblings that differ in stance alone."""
    slot: int
    attempt: int
    seed: int
    temperature: float
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


class _Story(NamedTuple):
    """A kept attempt with the steps that it builds on."""

    kept: Attempt
    text: str
    steps: dict[int, tuple[Attempt, str]]
    """The latest attempt of each earlier step, by number."""


def iter_documents(ledger: Ledger, epochs: Mapping[int, Epoch]) -> Iterator[Document]:
    """Yield every kept document in slot order, its prompts rendered again and proved by hash."""
    slots: dict[int, Iterator[Slot]] = {n: e.plan.slots(e.slots) for n, e in epochs.items()}
    ahead: dict[int, Slot] = {}
    for story in _stories(ledger, epochs):
        number = story.kept.epoch
        slot = ahead.get(number)
        while slot is None or slot.index < story.kept.slot:
            slot = next(slots[number])
        ahead[number] = slot
        yield _document(epochs[number], slot, story)


def _stories(ledger: Ledger, epochs: Mapping[int, Epoch]) -> Iterator[_Story]:
    """Join kept attempts with their steps; the ideas of a unit stand at its first sibling."""
    steps: dict[int, tuple[Attempt, str]] = {}
    ideas: dict[int, tuple[Attempt, str]] = {}
    slot = unit = -1
    for attempt, text in ledger.built():
        epoch = epochs[attempt.epoch]
        if attempt.slot // len(epoch.plan.stances) != unit:
            unit, ideas = attempt.slot // len(epoch.plan.stances), {}
        if attempt.slot != slot:
            slot, steps = attempt.slot, {}
        if attempt.outcome is Outcome.KEPT:
            own = {
                n: s for n, s in steps.items() if n < attempt.step and s[0].epoch == attempt.epoch
            }
            shared = {n: s for n, s in ideas.items() if s[0].epoch == attempt.epoch}
            yield _Story(attempt, text, shared | own)
        elif attempt.step < epoch.prompter.rewind:
            ideas[attempt.step] = (attempt, text)
        else:
            steps[attempt.step] = (attempt, text)


def _document(epoch: Epoch, slot: Slot, story: _Story) -> Document:
    prompter, plan = epoch.prompter, epoch.plan
    outputs: dict[str, Output] = {}
    everything = story.steps | {story.kept.step: (story.kept, story.text)}
    for number, (earlier, text) in sorted(everything.items()):
        if number >= prompter.rewind:
            _prove(prompter.request(slot, earlier.number, number, outputs), earlier)
        if prompter.steps[number].output != "verdict":
            outputs[prompter.steps[number].id] = epoch.steps.read_again(slot, earlier, text)
    attempt, content = everything[prompter.last_document]
    before = {s.id: outputs[s.id] for s in prompter.steps[: prompter.last_document]}
    request = prompter.request(slot, attempt.number, prompter.last_document, before)
    system, user = (message.content for message in request.messages)
    behaviour = epoch.content.taxonomy.behaviours[slot.behaviour]
    draft, cast = prompter.draft(outputs), prompter.cast(slot)
    whole = prompter.document(slot, outputs)
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
        text=whole,
        body_at=whole.rfind(draft.body),
        title=next(iter(draft.fields.values())),
        fields=list(draft.fields.items()),
        stance=slot.stance.value,
        domain=epoch.content.taxonomy.domain_of[slot.behaviour],
        behaviour=slot.behaviour,
        situation=behaviour.situations[slot.situation],
        axes=list(zip(plan.axes, slot.axes, strict=True)),
        factors=list(zip(plan.factors, slot.factors, strict=True)),
        length=slot.length.value,
        question_id=behaviour.question_id,
        source_id=prompter.page(slot).id,
        cast=[*cast.people, cast.organisation, cast.place, cast.ai],
        steps=[
            (prompter.steps[n].id, a.detail if n < prompter.rewind else text)
            for n, (a, text) in sorted(everything.items())
            if n != prompter.last_document
        ],
        pair_id=slot.pair_id,
        slot=slot.index,
        attempt=attempt.number,
        seed=request.sampling.seed,
        temperature=request.sampling.temperature,
        request_id=attempt.request_id,
        revision=request.revision,
        backend=request.backend,
        recipe=epoch.content.recipe.id,
        template_version=request.template_version,
        nearest_similarity=story.kept.score,
    )


def _prove(request: Request, attempt: Attempt) -> None:
    if request.request_id != attempt.request_id:
        raise AligngenError(
            f"slot {attempt.slot}: the request of step {attempt.step} rendered again has another "
            "hash than the ledger's"
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

    types = {int: pa.int64(), str: pa.string(), float: pa.float64()}
    special = {
        "fields": pa.map_(pa.string(), pa.string()),
        "axes": pa.map_(pa.string(), pa.string()),
        "factors": pa.map_(pa.string(), pa.string()),
        "steps": pa.map_(pa.string(), pa.string()),
        "cast": pa.list_(pa.string()),
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
        "material": {
            "cast": last.material.cast.content_hash,
            "bans": last.material.bans.content_hash,
            "judge": last.material.judge.content_hash if last.material.judge else None,
            "passages": last.material.passages.report if last.material.passages else None,
        },
        "records": last.material.records,
        "steps": [step.id for step in last.prompter.steps],
        "epochs": len(epochs),
        "asked": len(last.slots),
        "attempts": counts.total(),
        "outcomes": {o.value: counts[o] for o in Outcome if counts[o]},
        "dedup": dedup,
        "files": files,
    }
