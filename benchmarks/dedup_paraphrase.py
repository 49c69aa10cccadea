"""Rule-based twins of a passage: random word edits, light and heavy WordNet paraphrases."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_FILLER = (
    "the", "a", "of", "to", "and", "in", "that", "it", "is", "was", "for", "on", "with", "as", "by",
    "at", "from", "this", "which", "one",
)  # fmt: skip
_CONNECTIVES = {
    "however": "nevertheless", "but": "yet", "because": "since", "although": "even though",
    "also": "as well", "therefore": "hence", "for example": "for instance", "must": "has to",
    "can": "is able to", "may": "might", "usually": "as a rule", "if": "provided that",
    "when": "whenever", "many": "a large number of", "some": "a number of", "all": "every one of",
    "this": "the present", "such as": "like", "in order to": "so as to", "only": "solely",
    "use": "make use of", "uses": "makes use of", "used": "made use of", "while": "whereas",
    "about": "concerning", "before": "prior to", "after": "following", "very": "highly",
    "most": "the majority of", "these": "those", "thus": "consequently", "often": "frequently",
}  # fmt: skip


def edit(text: str, share: float, rng: random.Random) -> str:
    """Delete, replace or insert words at random, `share` of them in all."""
    out: list[str] = []
    for word in text.split():
        if rng.random() >= share:
            out.append(word)
            continue
        action = rng.randrange(3)
        if action:
            out.append(rng.choice(_FILLER))
        if action == 2:
            out.append(word)
    return " ".join(out)


class Thesaurus:
    """Single-word synonyms of the first WordNet sense, with simple inflection carried over."""

    def __init__(self, folder: Path) -> None:
        root = folder / "usr" / "share" / "wordnet"
        self._best: dict[str, tuple[int, list[str]]] = {}
        for part in ("noun", "verb", "adj", "adv"):
            self._read(root / f"index.{part}", root / f"data.{part}")

    def _read(self, index: Path, data: Path) -> None:
        members = {
            line[:8]: _lemmas(line) for line in data.read_text().splitlines() if line[0] != " "
        }
        for line in index.read_text().splitlines():
            if line[0] == " ":
                continue
            parts = line.split()
            lemma, senses, tagged = parts[0], int(parts[2]), int(parts[4 + int(parts[3]) + 1])
            offsets = parts[-senses:]
            pool = [w for o in offsets[:2] for w in members[o] if w != lemma and _plain(w)]
            if lemma.isalpha() and pool and tagged >= self._best.get(lemma, (-1, []))[0]:
                self._best[lemma] = (tagged, pool)

    def synonym(self, word: str, rng: random.Random) -> str | None:
        """Return another word of the same sense and inflection."""
        for base, suffix in _bases(word.lower()):
            if len(base) > 2 and base in self._best:
                return _inflect(rng.choice(self._best[base][1]), suffix)
        return None

    def light(self, text: str, rng: random.Random) -> str:
        """Swap one content word in ten and move one clause in a sentence of three."""
        sentences = [self._swap(s, 0.1, rng) for s in _SENTENCE.split(text)]
        return " ".join(_reorder(s) if rng.random() < 0.34 else s for s in sentences)

    def heavy(self, text: str, rng: random.Random) -> str:
        """Swap six content words in ten, change connectives, move clauses, shuffle sentences."""
        sentences = [_reorder(_connect(self._swap(s, 0.6, rng))) for s in _SENTENCE.split(text)]
        rng.shuffle(sentences)
        return " ".join(sentences)

    def _swap(self, sentence: str, share: float, rng: random.Random) -> str:
        return re.sub(r"[A-Za-z]{4,}", lambda m: self._swap_word(m[0], share, rng), sentence)

    def _swap_word(self, word: str, share: float, rng: random.Random) -> str:
        if rng.random() >= share:
            return word
        other = self.synonym(word, rng)
        if other is None:
            return word
        return other.capitalize() if word[0].isupper() else other


def _lemmas(line: str) -> list[str]:
    parts = line.split()
    return [re.sub(r"\(.*", "", parts[4 + 2 * i]) for i in range(int(parts[3], 16))]


def _plain(lemma: str) -> bool:
    return lemma.isalpha() and lemma.islower()


def _bases(word: str) -> Iterator[tuple[str, str]]:
    yield word, ""
    for suffix in ("ies", "es", "s", "ied", "ed", "ing"):
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            if suffix in ("ies", "ied"):
                yield stem + "y", suffix[-1:]
            else:
                kind = "s" if suffix in ("s", "es") else suffix
                yield stem, kind
                yield stem + "e", kind
                if len(stem) > 3 and stem[-1] == stem[-2]:
                    yield stem[:-1], kind


def _inflect(word: str, suffix: str) -> str:
    if suffix in ("ed", "d"):
        return word + "d" if word.endswith("e") else word + "ed"
    if suffix == "ing":
        return word.removesuffix("e") + "ing"
    if suffix == "s":
        return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")
    return word


def _reorder(sentence: str) -> str:
    end = sentence[-1]
    head, comma, tail = sentence[:-1].partition(", ")
    if not comma or not tail:
        return sentence
    return f"{tail[0].upper()}{tail[1:]}, {head[0].lower()}{head[1:]}{end}"


def _connect(sentence: str) -> str:
    pattern = r"\b(" + "|".join(sorted(_CONNECTIVES, key=len, reverse=True)) + r")\b"
    return re.sub(pattern, lambda m: _CONNECTIVES[m[0]], sentence)
