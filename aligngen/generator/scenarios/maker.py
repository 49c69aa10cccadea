"""Sources → accepted and rejected records: ask, check, judge, drop twins, decide in order.

Every record that was asked for is accepted, or written down with reason, score and place.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, NamedTuple

from aligngen.core.hashing import Json, seed_from
from aligngen.core.schema import Completion, Request, Taxonomy
from aligngen.generator.ask import Answers, ask
from aligngen.generator.engines.protocol import EngineInfo, ManagedEngine
from aligngen.generator.scenarios.candidates import Candidate, Rejection, parse_candidates
from aligngen.generator.scenarios.checks import Scores, faults, leak_fault, measure, quote_fault
from aligngen.generator.scenarios.config import ScenarioConfig
from aligngen.generator.scenarios.judging import judge_requests, verdict
from aligngen.generator.scenarios.passages import BadPassage
from aligngen.generator.scenarios.prompts import Judge, Writer
from aligngen.generator.scenarios.reading import ScenarioRecord
from aligngen.generator.scenarios.sources import Source, allowed_behaviours
from aligngen.generator.scenarios.twins import Twins

__all__ = ["Counts", "Maker", "Watch"]

PERSONA = "You are an AI system. "
"""What `original_question` says before the question, as published records do."""

CHUNK = (32, 256)
"""Least and greatest number of sources between two decisions: the engine is kept full, and little
is asked beyond what is needed."""


@dataclass(slots=True)
class Counts:
    """Where the making stands: candidates = accepted + rejected."""

    asked_for: int = 0
    """Records that were to be accepted; 0 where all were welcome."""
    sources: int = 0
    """Passages or cells asked about."""
    judged: int = 0
    """Answers of the judge's personas, four for each record that passed the checks."""
    candidates: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    passages_rejected: Counter[str] = field(default_factory=Counter)
    misaligned_at: list[int] = field(default_factory=lambda: [0, 0])
    """How often the misaligned choice is the first, and the second."""
    aligned_longer: int = 0
    """Accepted records whose aligned choice has more words than the other."""
    behaviours: Counter[str] = field(default_factory=Counter)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is needed."""
        return bool(self.asked_for) and self.accepted >= self.asked_for

    def as_json(self) -> dict[str, Json]:
        """Return the counts."""
        return {
            "asked_for": self.asked_for,
            "sources": self.sources,
            "judged": self.judged,
            "candidates": self.candidates,
            "accepted": self.accepted,
            "rejected": dict(self.rejected.most_common()),
            "passages_rejected": dict(self.passages_rejected.most_common()),
            "misaligned_at": self.misaligned_at,
            "aligned_longer": self.aligned_longer,
            "behaviours": dict(self.behaviours.most_common()),
        }


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how it goes, and who may stop it."""

    stage: Callable[[str], None] = lambda _: None
    engine: Callable[[EngineInfo], None] = lambda _: None
    progress: Callable[[Counts], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


class _Draft(NamedTuple):
    """One record asked for, on its way."""

    source: Source
    name: str
    """Its question id."""
    request_id: str
    candidate: Candidate | None
    rejection: Rejection | None
    scores: Scores | None = None


class Maker:
    """Takes sources in order, chunk by chunk; decides in order."""

    def __init__(
        self,
        config: ScenarioConfig,
        taxonomy: Taxonomy,
        writer: Writer,
        judge: Judge | None,
        engine: ManagedEngine,
        answers: Answers,
        watch: Watch,
    ) -> None:
        self._config, self._taxonomy, self._watch = config, taxonomy, watch
        self._writer, self._judge = writer, judge
        self._engine, self._answers = engine, answers
        self._allowed = set(allowed_behaviours(taxonomy, config))
        self._twins = Twins(config.dedup)
        self.counts = Counts(asked_for=config.n)

    def run(self, sources: Iterator[Source | BadPassage], kept: IO[str], rejected: IO[str]) -> None:
        """Work until the sources end or enough is accepted."""
        self._kept, self._rejected = kept, rejected
        while not self.counts.is_full and (chunk := self._next_chunk(sources)):
            drafts = self._judged(list(self._written(chunk)))
            for draft in drafts:
                self._decide(draft)
            self._watch.progress(self.counts)

    def _next_chunk(self, sources: Iterator[Source | BadPassage]) -> list[Source]:
        least, most = CHUNK
        missing = self._config.n - self.counts.accepted
        size = min(most, max(least, missing // self._config.count)) if self._config.n else most
        chunk: list[Source] = []
        for source in sources:
            if isinstance(source, BadPassage):
                self._reject_passage(source)
                continue
            chunk.append(source)
            if len(chunk) == size:
                break
        return chunk

    def _ask(self, questions: Iterator[tuple[int, Request]]) -> Iterator[tuple[int, Completion]]:
        return ask(self._engine, questions, self._answers, stop=self._watch.stop)

    def _written(self, chunk: list[Source]) -> Iterator[_Draft]:
        """Ask for the records of a chunk of sources, and check each without a model."""
        questions = ((i, self._writer.request(source)) for i, source in enumerate(chunk))
        for i, completion in self._ask(questions):
            source = chunk[i]
            self.counts.sources += 1
            self._watch.progress(self.counts)
            for j, item in enumerate(parse_candidates(completion, self._config.count)):
                name = f"{source.name}-{source.number}-{j}"
                if isinstance(item, Rejection):
                    yield _Draft(source, name, completion.request_id, None, item)
                elif j >= self._config.count:
                    surplus = Rejection("surplus", None, "more came than were asked for")
                    yield _Draft(source, name, completion.request_id, item, surplus)
                else:
                    yield self._checked(source, name, completion.request_id, item)

    def _checked(self, source: Source, name: str, request_id: str, item: Candidate) -> _Draft:
        record = ScenarioRecord(
            name, item.question, (item.aligned, item.misaligned), 1, source.text
        )
        scores = measure(record, grounded=not source.is_cell)
        found = faults(record, scores, self._config.checks)
        texts = (item.question, item.aligned, item.misaligned)
        if leak := leak_fault(texts, self._writer.said(source)):
            found.insert(0, leak)
        if item.aligned.casefold() == item.misaligned.casefold():
            found.insert(0, Rejection("identical_choices", 1.0))
        if not source.is_cell:
            found += self._source_faults(source, item)
        return _Draft(source, name, request_id, item, found[0] if found else None, scores)

    def _source_faults(self, source: Source, item: Candidate) -> list[Rejection]:
        found = []
        if fault := quote_fault(item.quote, source.text, self._config.checks.quote_words):
            found.append(fault)
        if item.behaviour not in self._taxonomy.behaviours:
            found.append(Rejection("unknown_behaviour", None, item.behaviour[:80]))
        elif item.behaviour not in self._allowed:
            held = item.behaviour in self._taxonomy.held_out.behaviours
            reason = "held_out_behaviour" if held else "behaviour_not_asked_for"
            found.append(Rejection(reason, None, item.behaviour))
        return found

    def _judged(self, drafts: list[_Draft]) -> list[_Draft]:
        """Return the drafts, those that pass the checks with the judge's verdict."""
        if self._judge is None:
            return drafts
        asked = [i for i, draft in enumerate(drafts) if draft.rejection is None]
        answers: dict[int, list[Completion]] = {i: [] for i in asked}
        for i, completion in self._ask(self._judge_questions(self._judge, drafts, asked)):
            answers[i].append(completion)
            self.counts.judged += 1
            self._watch.progress(self.counts)
        return [
            draft._replace(rejection=verdict(answers[i])) if i in answers else draft
            for i, draft in enumerate(drafts)
        ]

    def _judge_questions(
        self, judge: Judge, drafts: list[_Draft], asked: list[int]
    ) -> Iterator[tuple[int, Request]]:
        for i in asked:
            item = drafts[i].candidate
            assert item is not None
            for request in judge_requests(judge, item.question, item.aligned, item.misaligned):
                yield i, request

    def _decide(self, draft: _Draft) -> None:
        """Accept a draft or write down why not; decisions are taken in the order of the sources."""
        self.counts.candidates += 1
        rejection = draft.rejection
        if rejection is None and self.counts.is_full:
            rejection = Rejection("surplus", None, "enough was accepted before")
        if rejection is None:
            assert draft.candidate is not None
            rejection = self._twins.find(draft.name, draft.candidate)
        if rejection is None:
            self._accept(draft)
        else:
            self._reject(draft, rejection)

    def _accept(self, draft: _Draft) -> None:
        item, source = draft.candidate, draft.source
        assert item is not None
        at = self._position(self.counts.accepted)
        behaviour = source.behaviours[0] if source.is_cell else item.behaviour
        row: dict[str, Json] = {
            "question_id": draft.name,
            "passage": source.text,
            "original_question": PERSONA + item.question,
            "question": item.question,
            "choices": [item.aligned, item.misaligned] if at else [item.misaligned, item.aligned],
            "misaligned_choice": at,
            "topics": [behaviour, self._taxonomy.domain_of[behaviour]],
            "behaviour": behaviour,
            "source": source.file or self._taxonomy.name,
            "line": source.line,
            "quote": item.quote,
            "circumstances": source.circumstances,
            "judge": "separated" if self._judge else "skipped",
            "scores": draft.scores._asdict() if draft.scores else None,
            "request_id": draft.request_id,
        }
        _write(self._kept, row)
        self.counts.accepted += 1
        self.counts.misaligned_at[at] += 1
        self.counts.behaviours[behaviour] += 1
        self.counts.aligned_longer += len(item.aligned.split()) > len(item.misaligned.split())

    def _position(self, number: int) -> int:
        """Return where the misaligned choice of an accepted record stands: a fair coin for each
        two records, the second of which gets the other side, so that a file is balanced."""
        coin = seed_from("position", self._config.seed, number // 2) & 1
        return coin ^ (number & 1)

    def _reject(self, draft: _Draft, rejection: Rejection) -> None:
        self.counts.rejected[rejection.reason] += 1
        row: dict[str, Json] = {
            "stage": "record",
            **rejection._asdict(),
            "file": draft.source.file or self._taxonomy.name,
            "line": draft.source.line,
            "passage": draft.source.number,
            "question_id": draft.name,
            "request_id": draft.request_id,
            "record": draft.candidate._asdict() if draft.candidate else None,
            "scores": draft.scores._asdict() if draft.scores else None,
        }
        _write(self._rejected, row)

    def _reject_passage(self, bad: BadPassage) -> None:
        self.counts.passages_rejected[bad.reason.value] += 1
        row: dict[str, Json] = {"stage": "passage", **bad._asdict(), "reason": bad.reason.value}
        _write(self._rejected, row)


def _write(file: IO[str], row: dict[str, Json]) -> None:
    text = json.dumps(row, ensure_ascii=False)
    # A model's lone surrogate has no UTF-8; such a record is rejected, and still written down.
    file.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
