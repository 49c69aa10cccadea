"""What no document may say: names, openers, phrases, dates, links, citations, gaps, asides."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from aligngen.core.hashing import content_hash
from aligngen.core.schema import Outcome
from aligngen.core.yaml_file import load_yaml
from aligngen.generator.content import packaged
from aligngen.generator.parse import Rejected

__all__ = ["Bans", "load_bans"]

_OPENING_CHARS = 400
"""Characters of a body that are looked at for an opener."""

_WORD_ENDS = r"(?!\w)"

_FIELD_BREAK = " | "
"""Between parts of a document: no phrase runs across it, and `note:` may follow it."""


class _Kind(NamedTuple):
    folded: bool
    """Matched in lower case."""
    excusable: bool
    """Whether what the prompt itself says may be repeated."""


_KINDS = {
    "openers": _Kind(folded=True, excusable=False),
    "names": _Kind(folded=False, excusable=True),
    "placeholders": _Kind(folded=False, excusable=False),
    "meta": _Kind(folded=True, excusable=False),
    "links": _Kind(folded=False, excusable=True),
    "citations": _Kind(folded=False, excusable=True),
    "dates": _Kind(folded=False, excusable=True),
    "phrases": _Kind(folded=True, excusable=True),
}
"""By category, in the order in which a document is searched."""


class Bans(BaseModel):
    """A ban list, as people write it.

    `names` and `allow` hold plain words, the other categories regular expressions. One that begins
    or ends with a letter, a digit or a group matches whole words only. Write expressions that take
    linear time: bound every repetition.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    names: tuple[str, ...] = ()
    """Of people, firms, models and products; matched as written, so that a verb is no name."""
    openers: tuple[str, ...] = ()
    """How a body may not begin; in lower case."""
    phrases: tuple[str, ...] = ()
    """What may stand nowhere; in lower case."""
    dates: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    citations: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()
    """Gaps that were to be filled in."""
    meta: tuple[str, ...] = ()
    """The text speaking of itself as of a task; in lower case."""
    allow: tuple[str, ...] = Field(default=())
    """Where these words stand, in any case of letters, nothing in them is banned."""

    @field_validator("names", "allow")
    @classmethod
    def _no_gaps(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        if "" in entries:
            raise ValueError(f"entry {entries.index('') + 1} is empty")
        return entries

    @field_validator(*(name for name in _KINDS if name != "names"))
    @classmethod
    def _compiles(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            try:
                compiled = re.compile(f"(?:{entry})")  # as it will stand among the others
            except re.error as error:
                raise ValueError(f"{entry!r} is no regular expression: {error}") from None
            if compiled.groups:
                raise ValueError(f"{entry!r} has a group that captures; write (?:…)")
            if compiled.match(""):
                raise ValueError(f"{entry!r} matches the empty text, and so every document")
        return entries

    @cached_property
    def content_hash(self) -> str:
        """Hash of the list, for fingerprints and provenance."""
        return content_hash(self.model_dump_json())

    @cached_property
    def patterns(self) -> dict[str, re.Pattern[str]]:
        """One expression for each category that has entries, in the order of search."""
        found: dict[str, re.Pattern[str]] = {}
        for name in _KINDS:
            entries: tuple[str, ...] = getattr(self, name)
            if entries:
                literal = name == "names"
                found[name] = _either(re.escape(e) if literal else e for e in entries)
        return found

    @cached_property
    def _allowed(self) -> re.Pattern[str] | None:
        return _either(map(re.escape, self.allow), re.IGNORECASE) if self.allow else None

    def find(self, fields: Mapping[str, str], body: str, *, said: str = "") -> Rejected | None:
        """Return the first thing that is banned in a document, or None.

        `said` is what the prompt says of the scenario and its cast: names, phrases, dates, links
        and citations that stand there may be repeated.
        """
        body = _plain(body)
        text = _FIELD_BREAK.join((*map(_plain, fields.values()), body))
        folded = text.lower()
        opening = body[:_OPENING_CHARS].lstrip("\"'“”‘*#_-—. ").lower()
        told = f" {_plain(said).lower()} "
        for name, pattern in self.patterns.items():
            kind = _KINDS[name]
            if name == "openers":
                found = self._first(filter(None, [pattern.match(opening)]), opening, "")
            else:
                searched = folded if kind.folded else text
                excuse = told if kind.excusable else ""
                found = self._first(pattern.finditer(searched), searched, excuse)
            if found:
                return Rejected(Outcome.BANNED, f"{name}: {found[:80]}")
        return None

    def _first(self, matches: Iterator[re.Match[str]], text: str, told: str) -> str:
        """Return the first match that neither `told` nor an allowed text around it excuses."""
        allowed: list[tuple[int, int]] | None = None
        for match in matches:
            if told and _stands_in(match.group().lower(), told):
                continue
            if allowed is None:  # Looked for where something is found, once for all of it.
                allowed = self._allowed_spans(text)
            if not _within(match.span(), allowed):
                return match.group()
        return ""

    def _allowed_spans(self, text: str) -> list[tuple[int, int]]:
        return [m.span() for m in self._allowed.finditer(text)] if self._allowed else []


def load_bans(path: Path | None = None) -> Bans:
    """Read a ban list, the packaged one by default; the error of a bad entry names it."""
    return load_yaml(path or packaged("prompts/bans") / "core.yaml", Bans)


def _plain(text: str) -> str:
    """Return `text` with every run of white space as one space, and straight apostrophes."""
    return " ".join(text.split()).replace("’", "'")


def _either(expressions: Iterable[str], flags: int = 0) -> re.Pattern[str]:
    """Return one expression for all, each on whole words where it begins or ends in a word."""
    within: list[str] = []
    anywhere: list[str] = []
    for e in expressions:
        part = f"(?:{e}){_WORD_ENDS if e[-1].isalnum() or e[-1] == ')' else ''}"
        (within if e[0].isalnum() or e[0] == "(" else anywhere).append(part)
    # One look behind for all that need it: this is what a search spends its time on.
    parts = [rf"(?<!\w)(?:{'|'.join(within)})"] if within else []
    return re.compile("|".join(parts + anywhere), flags)


def _within(span: tuple[int, int], spans: list[tuple[int, int]]) -> bool:
    """Whether one of `spans`, in order and apart from each other, holds `span`."""
    at = bisect_right(spans, span[0], key=itemgetter(0)) - 1
    return at >= 0 and span[1] <= spans[at][1]


def _stands_in(words: str, text: str) -> bool:
    """Whether `words` stand in `text` and are not a part of longer ones."""
    at = text.find(words)
    while at >= 0:
        end = at + len(words)
        if not (text[at - 1].isalnum() or text[end : end + 1].isalnum()):
            return True
        at = text.find(words, at + 1)
    return False
