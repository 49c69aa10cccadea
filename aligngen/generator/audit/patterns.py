"""A document → the patterns in it, by kind; each once, since an audit counts documents."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aligngen.generator.audit.documents import AuditDocument

__all__ = [
    "KINDS",
    "NGRAM",
    "Batch",
    "Found",
    "Kind",
    "Patterns",
    "batches",
    "gram_keys",
    "headings",
    "paragraphs",
    "patterns_of",
    "sentences",
    "template",
    "word_codes",
    "words",
]

NGRAM = 8
"""Words of the n-grams that stand for copied passages."""
_BATCH_WORDS = 200_000
_BATCH_DOCUMENTS = 4096
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_LENGTH_STEP = 1.1
_TEMPLATE_WORDS = 8
_TEMPLATE_FIXED = 3

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+|\n+")
_PARAGRAPH = re.compile(r"\n\s*\n")
_NAME = re.compile(r"(?<=[a-z0-9,;] )[A-Z][a-z]+(?: [A-Z][a-z]+)*")
_FUNCTION_WORDS = frozenset(
    _WORD.findall(
        "a about above after again against all although am among an and another any are around as "
        "at be because been before being below between both but by can cannot could did do does "
        "doing down during each either else ever every few for from further had has have having he "
        "her here hers herself him himself his how however i if in into is it its itself just less "
        "like many may me might more most much must my myself neither never no none nor not "
        "nothing now of off often on once one only or other others ought our ours out over own per "
        "rather same shall she should since so some such than that the their theirs them "
        "themselves then there these they this those though through thus to too toward towards "
        "under until up upon us very was we were what when where whether which while who whom "
        "whose why will with within without would yet you your yours"
    )
)


class Kind(NamedTuple):
    """What is counted."""

    name: str
    what: str
    """How a report says it."""
    counters: int
    """Keys of the summary of the whole corpus; a cell's has a sixteenth of them."""


KINDS = {
    kind.name: kind
    for kind in (
        Kind("opening_4", "first 4 words", 16_384),
        Kind("opening_5", "first 5 words", 16_384),
        Kind("closing_4", "last 4 words", 16_384),
        Kind("closing_5", "last 5 words", 16_384),
        Kind("name", "name", 65_536),
        Kind("ngram_8", "8 words in a row", 262_144),
        Kind("heading", "heading", 32_768),
        Kind("field", "header field", 32_768),
        Kind("template", "sentence template", 131_072),
        Kind("structure", "structure", 16_384),
        Kind("length", "length", 4_096),
    )
}


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; an apostrophe does not end a word."""
    return _WORD.findall(text.lower())


def paragraphs(text: str) -> list[str]:
    """Return the parts of a text that empty lines separate."""
    return [part for part in _PARAGRAPH.split(text) if part.strip()]


def sentences(text: str) -> list[str]:
    """Return the sentences of a text: what ends in a full stop, a question or exclamation mark,
    or at the end of a line."""
    return [part for part in _SENTENCE_END.split(text) if part.strip()]


def headings(text: str) -> list[str]:
    """Return the lines that read as headings: marked with #, set bold, or ending in a colon."""
    return [line.strip("#*: ").lower() for line in map(str.strip, text.split("\n")) if _heads(line)]


def _heads(line: str) -> bool:
    if not line or len(line) > 80:
        return False
    if line.startswith("#") or (line.startswith("**") and line.rstrip(":").endswith("**")):
        return True
    return line.endswith(":") and len(line.split()) <= 6


def template(sentence: Sequence[str]) -> str:
    """Return the words of a sentence, those with content masked; empty where too few remain.

    Function words and the number of words stay, so that "The crew did not hide the fault because
    it was small" becomes "the _ did not _ the _ because it was _".
    """
    if len(sentence) < _TEMPLATE_WORDS:
        return ""
    masked = [token if token in _FUNCTION_WORDS else "_" for token in sentence]
    return " ".join(masked) if len(masked) - masked.count("_") >= _TEMPLATE_FIXED else ""


class Patterns(NamedTuple):
    """What stands in one document."""

    tokens: list[str]
    """The words of its body."""
    by_kind: dict[str, set[str]]
    """The patterns of every kind but `ngram_8`."""


def patterns_of(document: AuditDocument, ignored: frozenset[str] = frozenset()) -> Patterns:
    """Return the words and patterns of a document; capitalised words in `ignored` are no names."""
    body = document.body
    spoken = [[words(s) for s in sentences(part)] for part in paragraphs(body)]
    tokens = [token for part in spoken for sentence in part for token in sentence]
    found = {
        **_ends(tokens),
        "name": _names(body, ignored),
        "heading": {h for h in headings(body) if h},
        "field": {f"{name}: {value.strip().lower()}" for name, value in document.fields if value},
        "template": {t for part in spoken for s in part if (t := template(s))},
        "structure": {_structure([len(part) for part in spoken])} if spoken else set(),
        "length": {_length(len(tokens))} if tokens else set(),
    }
    return Patterns(tokens, found)


def _ends(tokens: list[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for n in (4, 5):
        whole = len(tokens) >= n
        found[f"opening_{n}"] = {" ".join(tokens[:n])} if whole else set()
        found[f"closing_{n}"] = {" ".join(tokens[-n:])} if whole else set()
    return found


def _names(body: str, ignored: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for line in body.split("\n"):
        if _heads(line.strip()) or line.istitle():
            continue
        for run in _NAME.findall(line):
            parts = [part for part in run.split() if part not in ignored]
            found.update(parts)
            if len(parts) > 1:
                found.add(" ".join(parts))
    return found


def _structure(counts: list[int]) -> str:
    plural = "" if len(counts) == 1 else "s"
    return f"{len(counts)} paragraph{plural}: {'-'.join(map(str, counts))} sentences"


def _length(count: int) -> str:
    step = int(np.floor(np.log(count) / np.log(_LENGTH_STEP) + 1e-9))
    low, high = np.ceil(_LENGTH_STEP**step), np.ceil(_LENGTH_STEP ** (step + 1)) - 1
    return f"{int(low)} to {int(max(low, high))} words"


# -- hashed -------------------------------------------------------------------------------------


class Found(NamedTuple):
    """Patterns of one kind in a batch; a key stands once for each document that has it."""

    keys: NDArray[np.uint64]
    documents: NDArray[np.int64]
    """Index of the document in the batch."""
    text: Callable[[int], str]
    """Says the pattern at an index of `keys`."""


class Batch(NamedTuple):
    """Consecutive documents of about 200,000 words together, and what was found in them."""

    documents: list[AuditDocument]
    found: dict[str, Found]


def batches(
    documents: Iterable[AuditDocument], ignored: frozenset[str] = frozenset()
) -> Iterator[Batch]:
    """Yield documents in batches with the patterns of each hashed to 64 bits.

    Two of m distinct patterns share a key with probability m² / 2⁶⁵: 2·10⁻⁵ for 25 million.
    """
    held: list[AuditDocument] = []
    patterns: list[Patterns] = []
    size = 0
    for document in documents:
        held.append(document)
        patterns.append(patterns_of(document, ignored))
        size += len(patterns[-1].tokens)
        if size >= _BATCH_WORDS or len(held) == _BATCH_DOCUMENTS:
            yield _batch(held, patterns)
            held, patterns, size = [], [], 0
    if held:
        yield _batch(held, patterns)


def _batch(held: list[AuditDocument], patterns: list[Patterns]) -> Batch:
    strings: dict[str, list[str]] = {name: [] for name in KINDS if name != "ngram_8"}
    places: dict[str, list[int]] = {name: [] for name in strings}
    for index, of_document in enumerate(patterns):
        for name, some in of_document.by_kind.items():
            strings[name].extend(sorted(some))
            places[name].extend([index] * len(some))
    found = {name: _hashed(strings[name], places[name]) for name in strings}
    return Batch(held, found | {"ngram_8": _ngrams([p.tokens for p in patterns])})


def _hashed(strings: list[str], places: list[int]) -> Found:
    keys = np.fromiter(map(_digest, strings), dtype=np.uint64, count=len(strings))
    return Found(keys, np.array(places, dtype=np.int64), strings.__getitem__)


def _digest(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


_word_digest = lru_cache(maxsize=1 << 17)(_digest)


def word_codes(tokens: Sequence[str]) -> NDArray[np.uint64]:
    """Return the 64-bit hashes of words."""
    return np.fromiter(map(_word_digest, tokens), dtype=np.uint64, count=len(tokens))


def gram_keys(codes: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """Return a 64-bit hash of every `n` consecutive codes."""
    count = max(0, len(codes) - n + 1)
    keys = np.zeros(count, dtype=np.uint64)
    for offset in range(n):
        keys = keys * _MULTIPLIER + codes[offset : offset + count]
    return keys


def _ngrams(tokens: list[list[str]]) -> Found:
    flat = [word for document in tokens for word in document]
    keys = gram_keys(word_codes(flat), NGRAM)
    owners = np.repeat(np.arange(len(tokens)), [len(document) for document in tokens])
    inside = owners[: len(keys)] == owners[NGRAM - 1 : NGRAM - 1 + len(keys)]
    starts = np.flatnonzero(inside)
    # A stable sort leaves the documents of one key in order, so repeats within one stand together.
    order = starts[np.argsort(keys[starts], kind="stable")]
    first = np.ones(len(order), dtype=bool)
    same_key = keys[order[1:]] == keys[order[:-1]]
    first[1:] = ~(same_key & (owners[order[1:]] == owners[order[:-1]]))
    at = order[first]
    return Found(keys[at], owners[at], lambda i: " ".join(flat[at[i] : at[i] + NGRAM]))
