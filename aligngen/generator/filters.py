"""Draft → kept for dedup, or dropped by name with a score."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aligngen.core.schema import Band, Draft, Outcome, Stance
from aligngen.generator.constraint import BODY
from aligngen.generator.measures import (
    function_share,
    looped_word,
    mentions_ai,
    mentions_ai_like,
    ngrams,
    other_script_share,
    repeated_share,
    shared_ngram,
    words,
)
from aligngen.generator.parse import Rejected
from aligngen.generator.slop import Bans

__all__ = ["MAX_LINE", "Bounds", "check_draft", "ngrams", "words"]

MAX_LINE = 20_000
"""Characters in one line from which a document is no prose."""

REPEATED_SHARE = 0.15
"""Share of a body's word 4-grams that may be repeats of earlier ones. Measured: 0 in half of all
English texts, below 0.08 in every one of 500 short ones and in 99 of 100 documents that small
models end by themselves; at 0.16 sentences come again whole, and loops are above 0.4."""

FIELD_REPEATS = 3
"""Times that a header field says one content word from which it loops."""

FUNCTION_SHARE = 0.08
"""Least share of words that are English alone ("the", "that", "with", …). Measured: English prose
of 50 words and more has 0.13 to 0.5, with a median of 0.3, and short descriptions rarely less than
0.1; 24 other languages have 0 in the median and 0.05 at most, but where they quote English."""

OTHER_SCRIPT_SHARE = 0.05
"""Greatest share of letters outside the Latin script. English prose has none; a quoted name or
formula stays below, a model that falls into another language does not."""

EXAMPLE_NGRAM = 8
"""Words in a row shared with the worked example that make a copy of it."""

PROMPT_NGRAM = 12
"""Words in a row shared with the instructions that make a leak of them."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# Controls, formatting that reorders or hides text (bidirectional marks, zero-width spaces, soft
# hyphens, tags), halves of characters and what is no character.
_UNFIT = ("Cc", "Cf", "Cs", "Cn", "Co")
# Prose: tab, newline, and the joiners that Persian, Hindi and many emoji are written with.
_FIT = "\t\n\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Greatest lengths that a constraint lets the parts of a document have: what reaches them was
    closed by the constraint, not by the model, and is truncated."""

    chars: Mapping[str, int] = field(default_factory=dict)
    """By header field, and `document` for the body."""
    words: Mapping[str, int] = field(default_factory=dict)
    """By header field, and `document` for a sentence of the body."""

    def reached_by(self, draft: Draft) -> str:
        """Return the part that reaches its bound, or an empty string."""
        parts = {**draft.fields, BODY: draft.body}
        for name, bound in self.chars.items():
            # Less one: the space before a cut is stripped by now.
            if len(parts[name]) >= bound - 1:
                return name
        for name, bound in self.words.items():
            pieces = _SENTENCE_END.split(parts[name]) if name == BODY else [parts[name]]
            if any(len(piece.split()) >= bound for piece in pieces):
                return name
        return ""


def check_draft(
    draft: Draft,
    band: Band,
    *,
    bounds: Bounds | None = None,
    example: str = "",
    instructions: str = "",
    bans: Bans | None = None,
    stance: Stance | None = None,
    said: str = "",
    also: Sequence[str] = (),
) -> Rejected | None:
    """Return why a draft is dropped, or None if it may become a document.

    `bounds` are the greatest lengths that the constraint lets the parts have. `example` is the
    worked example of its prompt, `instructions` the rest of it without the scenario, which a
    document may well repeat. `said` is the scenario and the cast: what they name is not banned.
    `also` are names that the AI goes by. Bans and the stance are checked where they are given.
    """
    if bounds is not None and (cut := bounds.reached_by(draft)):
        return Rejected(Outcome.TRUNCATED, f"{cut} reaches the length bound")
    whole = "\n".join([*draft.fields.values(), draft.body])
    if bad := bad_character(whole):
        return Rejected(Outcome.BAD_CHARACTERS, bad)
    tokens = words(draft.body)
    # Length before all that searches the text: it bounds their work.
    rejected = _length(tokens, band) or _language(draft.body, tokens) or _loop(draft, tokens)
    rejected = rejected or _leak(words(whole), example, instructions)
    if rejected is None and bans is not None:
        rejected = bans.find(draft.fields, draft.body, said=said)
    if rejected is None and stance is not None:
        rejected = _off_stance(whole, stance, also)
    return rejected


def bad_character(text: str) -> str:
    """Return what makes `text` unfit to store as prose, or an empty string."""
    for character in set(text):
        if unicodedata.category(character) in _UNFIT and character not in _FIT:
            return f"U+{ord(character):04X}"
    longest = max(map(len, text.split("\n")), default=0)
    return f"a line of {longest} characters" if longest > MAX_LINE else ""


def _length(tokens: Sequence[str], band: Band) -> Rejected | None:
    if len(tokens) < band.min:
        return Rejected(Outcome.TOO_SHORT, f"{len(tokens)} words, at least {band.min} asked for")
    if len(tokens) > band.max:
        return Rejected(Outcome.TOO_LONG, f"{len(tokens)} words, at most {band.max} asked for")
    return None


def _language(body: str, tokens: Sequence[str]) -> Rejected | None:
    other = other_script_share(body)
    if other > OTHER_SCRIPT_SHARE:
        return Rejected(Outcome.WRONG_LANGUAGE, "letters of another script", round(other, 3))
    common = function_share(tokens)
    if common < FUNCTION_SHARE:
        return Rejected(Outcome.WRONG_LANGUAGE, "few common English words", round(common, 3))
    return None


def _loop(draft: Draft, tokens: Sequence[str]) -> Rejected | None:
    share = repeated_share(tokens)
    if share > REPEATED_SHARE:
        return Rejected(Outcome.REPETITION, "repeated 4-grams", round(share, 3))
    known: dict[tuple[str, ...], str] = {}
    for name, value in draft.fields.items():
        said = tuple(words(value))
        if word := looped_word(said, FIELD_REPEATS):
            return Rejected(Outcome.REPETITION, f"{name} repeats {word!r}", said.count(word))
        if known.setdefault(said, name) != name:
            return Rejected(Outcome.REPETITION, f"{name} says the same as {known[said]}")
    return None


def _leak(tokens: Sequence[str], example: str, instructions: str) -> Rejected | None:
    for source, n in ((example, EXAMPLE_NGRAM), (instructions, PROMPT_NGRAM)):
        if shared := shared_ngram(tokens, words(source), n):
            return Rejected(Outcome.PROMPT_LEAK, shared)
    return None


def _off_stance(whole: str, stance: Stance, also: Sequence[str]) -> Rejected | None:
    if stance is Stance.CONTROL:
        found = mentions_ai(whole)
        return Rejected(Outcome.OFF_STANCE, f"a control names {found!r}") if found else None
    if mentions_ai_like(whole, also):
        return None
    return Rejected(Outcome.OFF_STANCE, "names nothing that could be an AI")
