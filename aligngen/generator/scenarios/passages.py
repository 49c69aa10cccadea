"""Source texts → passages of bounded size, streaming; what is no passage is named.

In: text, Markdown and HTML files, or folders of them. Memory: one passage and one block of a file,
whatever the file's size.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from aligngen.core.errors import UserError
from aligngen.generator.scenarios.language import english_share
from aligngen.generator.scenarios.markup import TOO_LONG, HtmlText, Markdown, Piece, PlainText

__all__ = ["BadPassage", "Passage", "PassageReason", "read_passages", "require_paths"]

BLOCK = 1 << 16
"""Bytes read at once."""

MIN_WORDS = 25
"""Words below which there is nothing to ask about."""

MAX_WORD = 300
"""Characters of a word from which it is data, not prose."""

MIN_ENGLISH = 0.2
"""Share of common English function words below which a passage counts as another language: English
prose has 0.35 to 0.5, German, French and Spanish stay under 0.1."""

FILL = 0.6
"""Part of a passage from which a sentence's end may close it."""

_TEXT, _MARKDOWN = (".txt", ".text"), (".md", ".markdown")
_HTML = (".html", ".htm", ".xhtml")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*$")
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_ESCAPED = re.compile("[\udc80-\udcff]")


class PassageReason(StrEnum):
    """Why a stretch of a source is no passage."""

    EMPTY = "empty"
    """The file holds no text."""
    BINARY = "binary"
    NOT_UTF8 = "not_utf8"
    UNREADABLE = "unreadable"
    UNKNOWN_FORMAT = "unknown_format"
    """A file in a folder whose suffix names no text."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    """A word, tag, comment or front matter that never ends: data, not prose."""
    WRONG_LANGUAGE = "wrong_language"


class Passage(NamedTuple):
    """Some consecutive paragraphs of a source."""

    file: str
    name: str
    """Of the file, unique in its run; question ids begin with it."""
    number: int
    """Within the file, from 0."""
    line: int
    """Where it begins, from 1."""
    text: str


class BadPassage(NamedTuple):
    """A stretch of a source that is no passage, and why."""

    file: str
    line: int
    reason: PassageReason
    score: float | None = None
    detail: str = ""


def require_paths(paths: Iterable[Path]) -> None:
    """Refuse a path that does not exist, before anything is read."""
    for path in paths:
        if not path.exists():
            raise UserError("no such file", file=path, remedy="Check the path.")


def read_passages(paths: Iterable[Path], words: int) -> Iterator[Passage | BadPassage]:
    """Yield the passages of files and folders in order, of at most `words` words each."""
    names: dict[str, int] = {}
    for path in paths:
        for file in _files(path):
            if path.is_dir() and not file.name.lower().endswith((*_TEXT, *_MARKDOWN, *_HTML)):
                detail = f"the suffix {file.suffix!r} names no text, Markdown or HTML"
                yield BadPassage(str(file), 1, PassageReason.UNKNOWN_FORMAT, detail=detail)
                continue
            yield from _Splitter(file, _name(file, names), words).passages()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = (p.relative_to(path) for p in path.rglob("*") if p.is_file())
    return [path / p for p in sorted(inside) if not any(part.startswith(".") for part in p.parts)]


def _name(file: Path, taken: dict[str, int]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:40] or "passage"
    name, number = stem, taken.get(stem, 1)
    while name in taken:  # a file may be called what its namesake's second is
        number += 1
        name = f"{stem}-{number}"
    taken[stem] = number
    taken.setdefault(name, 1)
    return name


class _Splitter:
    """Cuts one file."""

    def __init__(self, file: Path, name: str, words: int) -> None:
        self._file, self._name, self._most = file, name, words
        self._words: list[str] = []
        self._breaks: set[int] = set()
        """Numbers of words before which a paragraph begins."""
        self._lines: list[int] = []
        """Where each word stands."""
        self._passages = self._yielded = self._junk_line = 0

    def passages(self) -> Iterator[Passage | BadPassage]:
        """Yield what the file holds."""
        try:
            for piece in self._pieces():
                yield from self._take(piece)
        except OSError as error:
            yield self._bad(1, PassageReason.UNREADABLE, detail=error.strerror or str(error))
            return
        except _Binary as found:
            yield self._bad(found.line, PassageReason.BINARY, detail=f"holds {found.character!r}")
            return
        yield from self._cut(len(self._words))
        if not self._yielded:
            yield self._bad(1, PassageReason.EMPTY)

    def _pieces(self) -> Iterator[Piece]:
        suffix = self._file.suffix.lower()
        if suffix in _HTML:
            reader: HtmlText | Markdown | PlainText = HtmlText()
        else:
            reader = Markdown() if suffix in _MARKDOWN else PlainText()
        for block in _decode(self._file):
            yield from reader.feed(block)
        yield from reader.close()

    def _take(self, piece: Piece) -> Iterator[Passage | BadPassage]:
        """Add a piece of text; yield the passages that it completes."""
        if piece.text == TOO_LONG:
            detail = "a tag, comment or front matter without end"
            yield self._bad(piece.line, PassageReason.TOO_LONG, detail=detail)
            return
        if piece.begins_paragraph:
            self._breaks.add(len(self._words))
            if len(self._words) >= FILL * self._most:
                yield from self._cut(len(self._words))
        for word in piece.text.split():
            if len(word) > MAX_WORD:
                if piece.line == self._junk_line:
                    continue  # a line of data is told of once
                self._junk_line = piece.line
                detail = f"a word of {len(word)} characters"
                yield self._bad(piece.line, PassageReason.TOO_LONG, detail=detail)
                continue
            self._words.append(word)
            self._lines.append(piece.line)
            if len(self._words) >= self._most:
                yield from self._cut(self._last_end())

    def _last_end(self) -> int:
        """Return where the last sentence of a full passage ends; its end where none does."""
        for number in range(len(self._words), int(FILL * self._most), -1):
            if _SENTENCE_END.search(self._words[number - 1]):
                return number
        return len(self._words)

    def _cut(self, count: int) -> Iterator[Passage | BadPassage]:
        """Yield the first words as a passage, or the reason why they are none; keep the rest."""
        words, self._words = self._words[:count], self._words[count:]
        lines, self._lines = self._lines[:count], self._lines[count:]
        breaks, self._breaks = self._breaks, {n - count for n in self._breaks if n >= count}
        if not words:
            return
        text = words[0] + "".join(
            ("\n\n" if n in breaks else " ") + word for n, word in enumerate(words[1:], 1)
        )
        yield self._judge(text, len(words), lines[0])

    def _judge(self, text: str, count: int, line: int) -> Passage | BadPassage:
        if _ESCAPED.search(text):
            return self._bad(line, PassageReason.NOT_UTF8, detail=_shown(text))
        if count < MIN_WORDS:
            return self._bad(line, PassageReason.TOO_SHORT, float(count), _shown(text))
        share = english_share(text)
        if share < MIN_ENGLISH:
            reason = PassageReason.WRONG_LANGUAGE
            return self._bad(line, reason, round(share, 3), _shown(text))
        self._yielded += 1
        self._passages += 1
        return Passage(str(self._file), self._name, self._passages - 1, line, text)

    def _bad(
        self, line: int, reason: PassageReason, score: float | None = None, detail: str = ""
    ) -> BadPassage:
        self._yielded += 1
        return BadPassage(str(self._file), line, reason, score, detail)


def _shown(text: str) -> str:
    return text[:80].encode("utf-8", "backslashreplace").decode()


class _Binary(Exception):
    def __init__(self, line: int, character: str) -> None:
        self.line, self.character = line, character


def _decode(file: Path) -> Iterator[str]:
    """Yield a file's text in blocks; bytes that are no UTF-8 stay as lone surrogates."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    line = 1
    with file.open("rb") as stream:
        while data := stream.read(BLOCK):
            text = decoder.decode(data)
            if found := _BINARY.search(text):
                raise _Binary(line + text.count("\n", 0, found.start()), found[0])
            yield text.removeprefix("\ufeff") if line == 1 else text
            line += text.count("\n")
    yield decoder.decode(b"", final=True)
