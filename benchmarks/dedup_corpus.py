"""Real English passages out of Debian packages, with planted twins of five kinds.

The packages are fetched with `apt-get download` into $ALIGNGEN_BENCH_CACHE and never committed.
"""

import gzip
import html
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import dedup_paraphrase

PACKAGES = (
    "anarchism", "debian-handbook", "dict-foldoc", "erlang-doc", "gimp-help-en", "git-doc",
    "libreoffice-help-en-us", "linux-doc-6.1", "perl-doc", "postgresql-doc-15", "python3.11-doc",
    "qtbase5-doc-html", "racket-doc", "sqlite3-doc", "wordnet-base",
)  # fmt: skip
KINDS = ("exact", "edit5", "edit20", "light", "heavy")
TWIN_SHARE = 0.2
SEED = 20261123


class Planted(NamedTuple):
    """A corpus: clean passages first, then their twins in random order."""

    texts: list[str]
    kinds: list[str]
    """`clean` or a kind of twin, by document."""
    sources: list[int]
    """Index of the passage a twin was made from; -1 for clean ones."""


def cache() -> Path:
    """Return the folder of what was fetched."""
    folder = Path(os.environ.get("ALIGNGEN_BENCH_CACHE", "/tmp/aligngen-bench"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetch() -> Path:
    """Download and unpack the packages, once."""
    debs, tree = cache() / "debs", cache() / "x"
    debs.mkdir(exist_ok=True)
    for package in PACKAGES:
        if not list(debs.glob(f"{package}_*.deb")):
            subprocess.run(["apt-get", "download", package], cwd=debs, check=True)
        (deb,) = debs.glob(f"{package}_*.deb")
        target = tree / deb.stem
        if not target.is_dir():
            target.mkdir(parents=True)
            subprocess.run(["dpkg-deb", "-x", str(deb), str(target)], check=True)
    return tree


_TAG = re.compile(r"<[^>]+>")
_PARAGRAPH = re.compile(r"<(p|dd|li|td)\b[^>]*>(.*?)</(?:\1)>", re.S | re.I)
_SPACE = re.compile(r"\s+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_GOOD = re.compile(r"^[A-Za-z0-9 ,.;:'\"()?!/_\-]+$")


def paragraphs(tree: Path) -> Iterator[list[str]]:
    """Yield the paragraphs of each file, in a fixed order of files."""
    for path in sorted(p for p in tree.rglob("*") if p.is_file() and "translations" not in p.parts):
        name = path.name
        if name.endswith((".html", ".html.gz")):
            yield [_TAG.sub(" ", m[2]) for m in _PARAGRAPH.finditer(_read(path))]
        elif name.endswith((".pod", ".rst.gz", ".txt.gz", ".rst", ".dict.dz", ".chunk")):
            yield re.split(r"\n\s*\n", _read(path))


def _read(path: Path) -> str:
    data = (
        gzip.decompress(path.read_bytes()) if path.suffix in (".gz", ".dz") else path.read_bytes()
    )
    return html.unescape(data.decode("utf-8", "replace"))


def _sentences(text: str) -> list[str]:
    text = re.sub(r"[{}`*]|[A-Z]<|>", "", text)
    text = _SPACE.sub(" ", text).strip().replace("\u2019", "'").replace("\u201c", '"')
    text = text.replace("\u201d", '"')
    if not text.endswith((".", "!", "?")) or len(text) < 60:
        return []
    return [s for s in _SENTENCE.split(text) if _prose(s)]


def _prose(sentence: str) -> bool:
    words = sentence.split()
    letters = sum(w.strip(".,;:()\"'?!").isalpha() for w in words)
    return 5 <= len(words) <= 60 and letters >= 0.85 * len(words) and bool(_GOOD.match(sentence))


def passages(tree: Path) -> Iterator[str]:
    """Yield passages of 60 to 120 words made of whole sentences that follow each other."""
    for file in paragraphs(tree):
        current: list[str] = []
        count = 0
        for sentence in (s for paragraph in file for s in _sentences(paragraph)):
            current.append(sentence)
            count += len(sentence.split())
            if count >= 60:
                if count <= 120 and len(current) >= 3:
                    yield " ".join(current)
                current, count = [], 0


def clean_passages(target: int) -> list[str]:
    """Return distinct passages, cached; copies (10 % of 8-word sequences shared) are left out."""
    stored = cache() / "passages.txt"
    if not stored.is_file():
        found = list(passages(fetch()))
        random.Random(SEED).shuffle(found)
        stored.write_text("\n".join(_without_copies(found)))
    lines = stored.read_text().split("\n")
    if len(lines) < target:
        raise SystemExit(f"only {len(lines)} clean passages, {target} asked for")
    return lines[:target]


def _without_copies(texts: list[str]) -> Iterator[str]:
    # Neutral between the tools: natural copies would count as false positives of all of them.
    seen: set[int] = set()
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        grams = {hash(tuple(words[i : i + 8])) for i in range(len(words) - 7)}
        if sum(g in seen for g in grams) < 0.1 * len(grams):
            yield text
        seen |= grams


def plant(size: int) -> Planted:
    """Return a corpus of `size` documents, of which TWIN_SHARE are twins, equally many per kind."""
    random_ = random.Random(SEED + size)
    per_kind = int(size * TWIN_SHARE / len(KINDS))
    texts = clean_passages(size - per_kind * len(KINDS))
    kinds, sources = ["clean"] * len(texts), [-1] * len(texts)
    chosen = random_.sample(range(len(texts)), per_kind * len(KINDS))
    jobs = [(KINDS[i % len(KINDS)], source) for i, source in enumerate(chosen)]
    makers = twin_makers()
    for kind, source in jobs:
        texts.append(makers[kind](texts[source], random_))
        kinds.append(kind)
        sources.append(source)
    return Planted(texts, kinds, sources)


def twin_makers() -> dict[str, Callable[[str, random.Random], str]]:
    """Return how each kind of twin is made."""
    net = dedup_paraphrase.Thesaurus(next((fetch()).glob("wordnet-base*")))
    return {
        "exact": lambda text, _: text,
        "edit5": lambda text, r: dedup_paraphrase.edit(text, 0.05, r),
        "edit20": lambda text, r: dedup_paraphrase.edit(text, 0.20, r),
        "light": lambda text, r: net.light(text, r),
        "heavy": lambda text, r: net.heavy(text, r),
    }
