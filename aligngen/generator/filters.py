"""Draft → kept for dedup, or dropped by name with a score."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aligngen.core.schema import Band, Draft, Outcome
from aligngen.generator.constraint import BODY
from aligngen.generator.parse import Rejected

__all__ = ["MAX_LINE", "Bounds", "check_draft", "ngrams", "words"]

MAX_LINE = 20_000
"""Characters in one line from which a document is no prose."""

REPEATED_SHARE = 0.25
"""Share of a body's word 4-grams that may be repeats of earlier ones. Natural English prose of up
to 1,000 words stays under 0.05; loops are above 0.4."""

EXAMPLE_NGRAM = 8
"""Words in a row shared with the worked example that make a copy of it."""

PROMPT_NGRAM = 12
"""Words in a row shared with the instructions that make a leak of them."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# Formatting characters that reorder or hide text, and non-characters. Tab and newline are prose.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def words(text: str) -> list[str]:
    """Return the lower-cased words of `text`."""
    return _WORD.findall(text.lower())


def ngrams(tokens: list[str], n: int) -> Iterable[tuple[str, ...]]:
    """Yield the n-grams of `tokens` in order."""
    return zip(*(tokens[i:] for i in range(n)), strict=False)


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
) -> Rejected | None:
    """Return why a draft is dropped, or None if it may become a document.

    `bounds` are the greatest lengths that the constraint lets the parts have, `example` is the
    worked example of its prompt, `instructions` the rest of it without the scenario, which a
    document may well repeat.
    """
    if bounds is not None and (cut := bounds.reached_by(draft)):
        return Rejected(Outcome.TRUNCATED, f"{cut} reaches the length bound")
    whole = "\n".join([*draft.fields.values(), draft.body])
    if bad := bad_character(whole):
        return Rejected(Outcome.BAD_CHARACTERS, bad)
    tokens = words(draft.body)
    if len(tokens) < band.min:
        return Rejected(Outcome.TOO_SHORT, f"{len(tokens)} words, at least {band.min} asked for")
    if len(tokens) > band.max:
        return Rejected(Outcome.TOO_LONG, f"{len(tokens)} words, at most {band.max} asked for")
    share = repeated_share(tokens)
    if share > REPEATED_SHARE:
        return Rejected(Outcome.REPETITION, "repeated 4-grams", round(share, 3))
    whole_tokens = words(whole)
    for source, n in ((example, EXAMPLE_NGRAM), (instructions, PROMPT_NGRAM)):
        if shared := shared_ngram(whole_tokens, words(source), n):
            return Rejected(Outcome.PROMPT_LEAK, shared)
    return None


def bad_character(text: str) -> str:
    """Return what makes `text` unfit to store as prose, or an empty string."""
    for character in set(text):
        category = unicodedata.category(character)
        if category in ("Cc", "Cs", "Cn", "Co") and character not in "\n\t":
            return f"U+{ord(character):04X}"
        if character in _BIDI:
            return f"bidirectional control U+{ord(character):04X}"
    longest = max(map(len, text.split("\n")), default=0)
    return f"a line of {longest} characters" if longest > MAX_LINE else ""


def repeated_share(tokens: list[str]) -> float:
    """Return the share of word 4-grams that stood before in the same text."""
    grams = list(ngrams(tokens, 4))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def shared_ngram(tokens: list[str], source: list[str], n: int) -> str:
    """Return the first run of `n` words that `tokens` shares with `source`, or an empty string."""
    known = set(ngrams(source, n))
    return next((" ".join(g) for g in ngrams(tokens, n) if g in known), "") if known else ""
