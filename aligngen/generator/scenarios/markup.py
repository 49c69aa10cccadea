"""Text, Markdown and HTML → pieces of running text, fed block by block.

A reader holds one unfinished line or tag and no more. A script, a tag or a comment of any length is
passed over to its end; one that has no end comes out as a piece `TOO_LONG`.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import NamedTuple

__all__ = ["MAX_HELD", "TOO_LONG", "HtmlText", "Markdown", "Piece", "PlainText"]

MAX_HELD = 1 << 16
"""Characters of a line, tag or script that are held while its end is awaited."""

TOO_LONG = "\x00too long"
"""Text of a piece that stands for one whose end never came; no readable file holds it."""


class Piece(NamedTuple):
    """Some words of one paragraph."""

    line: int
    text: str
    begins_paragraph: bool = False


class PlainText:
    """Paragraphs divided by empty lines."""

    def __init__(self) -> None:
        self._held = ""
        self._line = 1
        self._fresh = True
        """Whether the next words begin a paragraph."""

    def feed(self, block: str) -> Iterator[Piece]:
        """Yield what a block of the file completes."""
        *lines, self._held = (self._held + block).split("\n")
        for line in lines:
            yield from self._end(line)
            self._line += 1
        if len(self._held) > MAX_HELD:
            # A line without end: what stands before its last space is whole words.
            whole, _, rest = self._held.rpartition(" ")
            self._held = rest
            yield from self._say(whole)
            if len(rest) > MAX_HELD:
                self._held = ""
                yield from self._say(rest)

    def close(self) -> Iterator[Piece]:
        """Yield the rest."""
        yield from self._end(self._held)

    def _end(self, line: str) -> Iterator[Piece]:
        """Take a finished line."""
        if line.strip():
            yield from self._say(line)
        else:
            self._fresh = True

    def _say(self, text: str) -> Iterator[Piece]:
        yield Piece(self._line, text, self._fresh)
        self._fresh = False


_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+|^\s{0,3}(?:[-*_]\s*){3,}$|^\s{0,3}(?:=+|-+)\s*$")
_FENCE = re.compile(r"^\s{0,3}(`{3,}(?![^\n]*`)|~{3,})\s*(.*)")
_KEY = re.compile(r"^\s*(?:[\w\"'-]+\s*:(?:\s|$)|\.\.\.|---)")
"""What the first line of front matter looks like; anything else follows a rule between lines."""
_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)])\s+|^\s*>+\s?")
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)|\[([^\]]*)\]\[[^\]]*\]")
_DEFINITION = re.compile(r"^\s{0,3}\[[^\]]+\]:\s")
_TAG = re.compile(r"</?[A-Za-z][^>]{0,200}>")
_MARKS = re.compile(r"(\*\*|__|~~|`+)|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")


class Markdown(PlainText):
    """Prose of a Markdown file: front matter, headings that begin with `#`, code, comments, images,
    tables and the marks are left out."""

    def __init__(self) -> None:
        super().__init__()
        self._front_matter = self._commented = False
        self._fence = ""
        """What opened the code that is passed over."""

    def _end(self, line: str) -> Iterator[Piece]:
        if self._line == 1 and line.strip() == "---":
            self._front_matter = True
        elif self._front_matter:
            begins = self._line > 2 or _KEY.match(line) is not None
            self._front_matter = begins and line.strip() not in ("---", "...")
            if not begins:
                yield from self._end(line)
        elif self._fence or (not self._commented and _FENCE.match(line)):
            self._take_fence(line)
        else:
            yield from super()._end(self._prose(self._uncommented(line)))

    def _take_fence(self, line: str) -> None:
        """Open code, or close it by a fence of the same kind that is as long and stands alone."""
        found = _FENCE.match(line)
        if not self._fence:
            self._fence = found[1] if found else ""
        elif found and found[1].startswith(self._fence) and not found[2]:
            self._fence = ""
        self._fresh = True

    def _uncommented(self, line: str) -> str:
        """Return what of a line stands in no comment, which may go over many lines."""
        kept = ""
        while line:
            mark = "-->" if self._commented else "<!--"
            before, found, line = line.partition(mark)
            kept += "" if self._commented else before
            self._commented ^= bool(found)
        return kept

    def close(self) -> Iterator[Piece]:
        """Yield the rest; what has no end took the file with it, and is named."""
        yield from super().close()
        if self._commented or self._front_matter:
            yield Piece(self._line, TOO_LONG)

    def _prose(self, line: str) -> str:
        if _HEADING.match(line) or _DEFINITION.match(line) or line.lstrip().startswith("|"):
            return ""
        if _ITEM.match(line):
            self._fresh = True
            line = _ITEM.sub("", line)
        line = _IMAGE.sub("", line)
        line = _LINK.sub(lambda m: m[1] or m[2] or "", line)
        return _MARKS.sub("", _TAG.sub("", line))


_SKIPPED_TAGS = (
    "script style noscript template svg math head nav header footer aside button select textarea "
    "iframe object figure table pre h1 h2 h3 h4 h5 h6 title"
)
_BLOCK_TAGS = (
    "p div section article main body ul ol li dl dt dd h1 h2 h3 h4 h5 h6 blockquote hr br "
    "address details summary form table"
)
_SKIPPED, _BLOCK = frozenset(_SKIPPED_TAGS.split()), frozenset(_BLOCK_TAGS.split())
_BRIEF = frozenset(("title", "button", "select", "textarea", "h1", "h2", "h3", "h4", "h5", "h6"))
"""What holds a line and no paragraph: where one begins inside, the closing tag was forgotten."""

_PARAGRAPH = frozenset(("p", "ul", "ol", "dl", "blockquote", "section", "article", "main"))


class HtmlText(HTMLParser):
    """Prose of an HTML page: scripts, styles, navigation, tables and headings left out, entities
    decoded."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[Piece] = []
        self._text, self._text_line = "", 1
        """Running text whose last word may go on: in the next tag, or in the next block."""
        self._skipping: list[str] = []
        """Open elements whose text is left out, outermost first."""
        self._fresh = True
        self._runaway = ""
        """The end of a tag or comment that is passed over, not held."""
        self._runaway_line = 0

    def feed(self, block: str) -> Iterator[Piece]:  # type: ignore[override]  # yields as it goes
        """Yield what a block of the file completes."""
        try:
            super().feed(self._after_runaway(block))
        except AssertionError:
            # html.parser's way to say that a declaration makes no sense; it ends with its bracket.
            self._run_away()
        if len(self.rawdata) > MAX_HELD:
            if self.cdata_elem:
                # A script is left out whatever it holds: its closing tag is all that is awaited.
                self._forget(self.rawdata[:-32])
                self.rawdata = self.rawdata[-32:]
            else:
                self._run_away()
        whole, space, rest = self._text.rpartition(" ")
        if space or len(rest) > MAX_HELD:
            self._say(whole or rest)
            self._text = rest if space else ""
        pieces, self._pieces = self._pieces, []
        yield from pieces

    def close(self) -> Iterator[Piece]:  # type: ignore[override]
        """Yield the rest."""
        if self._runaway or self.rawdata.startswith("<!--"):
            self._break()
            yield from self._pieces
            yield Piece(self._runaway_line if self._runaway else self.lineno, TOO_LONG)
            return
        try:
            super().close()
        except AssertionError:
            self._pieces.append(Piece(self.lineno, TOO_LONG))
        self._break()
        yield from self._pieces

    def _run_away(self) -> None:
        """Stop holding a tag, comment or declaration: from now on only its end is looked for."""
        self._runaway = "-->" if self.rawdata.startswith("<!--") else ">"
        self._runaway_line = self.lineno
        self._forget(self.rawdata)
        self.rawdata = ""

    def _after_runaway(self, block: str) -> str:
        """Return what of a block stands after the end that is looked for."""
        if not self._runaway:
            return block
        found = block.find(self._runaway)
        end = len(block) if found < 0 else found + len(self._runaway)
        self._forget(block[:end])
        if found >= 0:
            self._runaway = ""
        return block[end:]

    def _forget(self, text: str) -> None:
        """Count the lines of text that the parser never sees to its end."""
        self.lineno += text.count("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where paragraphs begin and where text is left out."""
        if tag in _BLOCK:
            self._break()
        if tag == "body":
            self._skipping.clear()  # a head that was never closed
        while tag in _PARAGRAPH and self._skipping and self._skipping[-1] in _BRIEF:
            self._skipping.pop()
        if tag in _SKIPPED:
            self._skipping.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take `<br/>` as a line's end; an element that closes itself skips nothing."""
        if tag in _BLOCK:
            self._break()

    def handle_endtag(self, tag: str) -> None:
        """Close what the tag closes, and what stayed open inside it."""
        if tag in _BLOCK:
            self._break()
        if tag in self._skipping:
            del self._skipping[self._skipping.index(tag) :]
        elif tag in ("body", "html", "main", "article"):
            self._skipping.clear()

    def handle_data(self, data: str) -> None:
        """Take running text."""
        if self._skipping:
            return
        if not self._text:
            self._text_line = self.lineno
        # One kind of space, so that the end of the last whole word is easily found.
        self._text += re.sub(r"\s", " ", data)

    def _break(self) -> None:
        """End a paragraph."""
        self._say(self._text)
        self._text, self._fresh = "", True

    def _say(self, text: str) -> None:
        if text.strip():
            self._pieces.append(Piece(self._text_line, text, self._fresh))
            self._fresh = False
        self._text_line = self.lineno
