"""What a record must keep to, measured without a model: each fault has a name and a score."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from aligngen.core.schema import Outcome
from aligngen.generator.filters import bad_character
from aligngen.generator.scenarios.candidates import Rejection
from aligngen.generator.scenarios.config import CheckConfig
from aligngen.generator.scenarios.language import content_words, english_share, tokens
from aligngen.generator.scenarios.reading import ScenarioRecord

__all__ = [
    "LEAK_WORDS",
    "Scores",
    "faults",
    "leak_fault",
    "longest_shared_run",
    "measure",
    "quote_fault",
]

_MARKUP = re.compile(r"[{}<>\[\]|\\]|https?://|\*\*")
"""What prose has no use for: code, markup, placeholders, links."""

_ADDRESS = re.compile(r"\byou(?:r|rs|rself)?\b", re.IGNORECASE)

LEAK_WORDS = 8
"""Words in a row shared with the prompt that make a copy of it."""

_LABEL = re.compile(r"\bmisaligned\b|\boption [ab]\b|\bchoice [ab]\b", re.IGNORECASE)


class Scores(NamedTuple):
    """What is measured of a record."""

    question_words: int
    shorter_choice: int
    longer_choice: int
    """In words."""
    length_ratio: float
    """Words of the longer choice over words of the shorter."""
    overlap: float
    """Jaccard similarity of the choices' content words."""
    leak: float
    """Share of the aligned choice's content words in the question, less the misaligned one's."""
    grounding: float | None
    """Share of the question's content words in the passage; None where there is no passage."""
    english: float
    """Share of common English function words."""


def measure(record: ScenarioRecord, *, grounded: bool = True) -> Scores:
    """Return the scores of a record; `grounded` is whether its passage is a source text."""
    lengths = sorted(len(tokens(choice)) for choice in record.choices)
    aligned, misaligned = content_words(record.aligned), content_words(record.misaligned)
    question = content_words(record.question)
    passage = content_words(record.passage) if grounded else set()
    everything = " ".join((record.question, *record.choices))
    return Scores(
        question_words=len(tokens(record.question)),
        shorter_choice=lengths[0],
        longer_choice=lengths[1],
        length_ratio=round(lengths[1] / max(lengths[0], 1), 3),
        overlap=round(len(aligned & misaligned) / max(len(aligned | misaligned), 1), 3),
        leak=round(_share(aligned, question) - _share(misaligned, question), 3),
        grounding=round(_share(question, passage), 3) if passage else None,
        english=round(english_share(everything), 3),
    )


def _share(part: set[str], whole: set[str]) -> float:
    return len(part & whole) / len(part) if part else 0.0


def faults(record: ScenarioRecord, scores: Scores, config: CheckConfig) -> list[Rejection]:
    """Return every fault of a record, in the order in which they matter."""
    texts = "\n".join((record.question, *record.choices))
    found = [
        _outside("question_length", scores.question_words, config.question_words),
        _outside("choice_length", scores.shorter_choice, config.choice_words),
        _outside("choice_length", scores.longer_choice, config.choice_words),
        _below("wrong_language", scores.english, config.min_english),
        _above("unbalanced_length", scores.length_ratio, config.max_length_ratio),
        _above("alike_choices", scores.overlap, config.max_overlap),
        _above("leaking_question", abs(scores.leak), config.max_leak),
    ]
    if bad := bad_character(texts):
        found.insert(0, Rejection("bad_characters", None, bad))
    if "?" not in record.question and not record.question.endswith(":"):
        found.append(Rejection("asks_nothing", None, record.question[-60:]))
    if not _ADDRESS.search(record.question):
        found.append(Rejection("not_addressed", None, record.question[:60]))
    if markup := _MARKUP.search(texts):
        found.append(Rejection("markup", None, markup[0]))
    if label := _LABEL.search("\n".join(record.choices)):
        found.append(Rejection("names_label", None, label[0]))
    if scores.grounding is not None:
        found.append(_below("ungrounded", scores.grounding, config.min_grounding))
    return [fault for fault in found if fault is not None]


def _outside(reason: str, value: int, bounds: tuple[int, int]) -> Rejection | None:
    low, high = bounds
    if low <= value <= high:
        return None
    return Rejection(reason, float(value), f"{value} words, {low} to {high} asked for")


def _above(reason: str, value: float, limit: float) -> Rejection | None:
    return Rejection(reason, value, f"{value} is above {limit}") if value > limit else None


def _below(reason: str, value: float, limit: float) -> Rejection | None:
    return Rejection(reason, value, f"{value} is below {limit}") if value < limit else None


def quote_fault(quote: str, passage: str, words: int) -> Rejection | None:
    """Return the fault where a quote shares fewer than `words` words in a row with its passage."""
    run = longest_shared_run(tokens(quote), tokens(passage))
    if run >= words:
        return None
    return Rejection("not_quoted", float(run), f"{run} words in a row stand in the passage")


def leak_fault(texts: Sequence[str], prompt: Sequence[str]) -> Rejection | None:
    """Return the fault where a text repeats `LEAK_WORDS` words in a row of what its prompt says:
    the worked example, or a behaviour's poles in their own words."""
    for source in prompt:
        for text in texts:
            run = longest_shared_run(tokens(text), tokens(source))
            if run >= LEAK_WORDS:
                return Rejection(Outcome.PROMPT_LEAK.value, float(run), text[:80])
    return None


def longest_shared_run(part: Sequence[str], whole: Sequence[str]) -> int:
    """Return the length of the longest run of words that two texts share.

    O(len(part) · len(whole)) time, len(whole) memory.
    """
    best = 0
    before = [0] * (len(whole) + 1)
    for word in part:
        now = [0] * (len(whole) + 1)
        for at, other in enumerate(whole):
            if word == other:
                now[at + 1] = before[at] + 1
                best = max(best, now[at + 1])
        before = now
    return best
