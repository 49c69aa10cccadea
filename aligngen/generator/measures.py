"""Text → numbers and finds: words, n-grams, repetition, language, AIs. No thresholds here."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = [
    "function_share",
    "looped_word",
    "mentions_ai",
    "mentions_ai_like",
    "ngrams",
    "other_script_share",
    "repeated_share",
    "shared_ngram",
    "words",
]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

# The commonest words that English has alone: none of them is common in another language that is
# written in Latin letters, as "a", "in", "is", "was", "for" and "at" are.
_FUNCTION_WORDS = frozenset(
    _WORD.findall("""the and of to that it its with this from has had been be are were you your
    they their them she his what when where which who why how not but because about after before
    would could should will can if than then there these those into only other out said our us my
    did does any while""")
)
# Small words that a field may well say thrice.
_LIGHT = _FUNCTION_WORDS | frozenset(
    _WORD.findall("a an as at by for i in is on was or no so do he her him we me all one")
)

_AI = (
    r"\bAIs?\b|\bA\.I\.|\b[Aa]i (?:systems?|assistants?|models?|agents?)\b|\bAGI\b|\bLLMs?\b"
    r"|(?i:\bartificial(?:ly)? intelligen|\bsuperintelligen|\bmachine intelligence\b"
    r"|\bchat ?-?bots?\b|\b(?:large|trained) language models?\b"
    # A child's model of language, and the nerves of a brain, are no AI.
    r"|\blanguage models?\b(?! (?:of|for) (?:[a-z]{1,12} ){0,2}"
    r"(?:child|infant|toddler|bab(?:y|ies)|learner|pupil|student|speaker))"
    r"|\b(?:artificial|deep|trained|recurrent|convolutional) neural network\b"
    r"|\bneural (?:nets?|networks)\b(?! (?:of|in) (?:[a-z]{1,12} ){0,2}(?:brain|cortex)))"
)
_MENTIONS_AI = re.compile(_AI)
_MENTIONS_AI_LIKE = re.compile(
    _AI + r"|(?i:\b(?:ro)?bots?\b|\bandroids?\b|\bautopilots?\b|\bmachines?\b|\bagents?\b"
    r"|\bneural network\b|\bassistants?\b|\balgorithms?\b|\bmodels?\b|\bcomputers?\b"
    r"|\bautomat(?:ed|ic|on)\b|\bautonomous\b|\bsystems?\b)"
)


def words(text: str) -> list[str]:
    """Return the lower-cased words of `text`."""
    return _WORD.findall(text.lower())


def ngrams(tokens: Sequence[str], n: int) -> Iterable[tuple[str, ...]]:
    """Yield the n-grams of `tokens` in order."""
    return zip(*(tokens[i:] for i in range(n)), strict=False)


def repeated_share(tokens: Sequence[str]) -> float:
    """Return the share of word 4-grams that stood before in the same text."""
    grams = list(ngrams(tokens, 4))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def shared_ngram(tokens: Sequence[str], source: Sequence[str], n: int) -> str:
    """Return the first run of `n` words that `tokens` shares with `source`, or an empty string."""
    known = set(ngrams(source, n))
    return next((" ".join(g) for g in ngrams(tokens, n) if g in known), "") if known else ""


def looped_word(tokens: Sequence[str], times: int) -> str:
    """Return a word that stands `times` or more, function words left out, or an empty string."""
    counts = Counter(token for token in tokens if token not in _LIGHT)
    word, most = max(counts.items(), key=lambda pair: pair[1], default=("", 0))
    return word if most >= times else ""


def function_share(tokens: Sequence[str]) -> float:
    """Return the share of words that are common ones of English and of no other language."""
    return sum(token in _FUNCTION_WORDS for token in tokens) / len(tokens) if tokens else 0.0


def other_script_share(text: str) -> float:
    """Return the share of letters that are of no Latin script."""
    letters = sum(map(str.isalpha, text))
    counts = Counter(c for c in text if c > "\x7f" and c.isalpha())
    other = sum(n for c, n in counts.items() if not unicodedata.name(c, "").startswith("LATIN"))
    return other / letters if letters else 0.0


def mentions_ai(text: str) -> str:
    """Return the first words of `text` that can mean nothing but an AI, or an empty string.

    A robot can be a machine without any, and "ai" in small letters is a word of other languages.
    """
    found = _MENTIONS_AI.search(text)
    return found.group() if found else ""


def mentions_ai_like(text: str, also: Iterable[str] = ()) -> bool:
    """Whether `text` speaks of an AI or of what may be one: a robot, an agent, a system.

    `also` are names under which the AI may go, as written or in capitals: in small letters they are
    ordinary words.
    """
    if _MENTIONS_AI_LIKE.search(text):
        return True
    forms = (re.escape(form) for name in also if name for form in (name, name.upper()))
    return any(re.search(rf"\b{form}\b", text) for form in forms)
