"""Seeded names of people, organisations, places and AIs, from files in place of the model's own.

Left to itself a model calls half of its people by the same few names. A cast is drawn by seed from
five lists and said in the prompt, so that siblings of a scenario share it and a run repeats it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, content_hash, seed_from
from aligngen.generator.content import packaged

__all__ = ["LISTS", "PEOPLE", "Cast", "CastLists", "load_cast"]

PEOPLE = 3
"""People in a cast. Few scenarios have more, and every name costs prompt tokens."""

LISTS = ("given_names", "family_names", "organisations", "places", "ai_names")
"""The lists, each in NAME.txt."""

# Words that the plain-words constraint lets a model write: letters, fourteen at most.
_CAPITAL = r"[A-Z][a-z]{0,13}"
_NAME = re.compile(_CAPITAL)
_PHRASE = re.compile(rf"(?=.*[A-Z])(?:{_CAPITAL}|[a-z]{{1,14}})(?: (?:{_CAPITAL}|[a-z]{{1,14}}))*|"
                     rf"the(?: [a-z]{{1,14}})+")  # fmt: skip


class Cast(NamedTuple):
    """Who and what a document names."""

    people: tuple[str, ...]
    """Full names; no two share a given or a family name."""
    organisation: str
    """As it stands in a sentence: "the Harrow Lane cooperative"."""
    place: str
    """As it stands after a preposition: "Oldmere", "the hill town of Castrel"."""
    ai: str

    def said(self) -> str:
        """Return every name in one text, for what compares a document with its cast."""
        return ", ".join((*self.people, self.organisation, self.place, self.ai))


@dataclass(frozen=True)
class CastLists:
    """The names that casts are drawn from, in the order of the files."""

    given_names: tuple[str, ...]
    family_names: tuple[str, ...]
    organisations: tuple[str, ...]
    places: tuple[str, ...]
    ai_names: tuple[str, ...]

    @cached_property
    def content_hash(self) -> str:
        """Hash of the lists in order: another order draws other casts."""
        lists: dict[str, Json] = {name: list(getattr(self, name)) for name in LISTS}
        return content_hash(lists)

    def draw(self, seed: int) -> Cast:
        """Return the cast of a seed: the same on every machine, every name equally likely."""
        given = _draw(self.given_names, PEOPLE, "given_names", seed)
        family = _draw(self.family_names, PEOPLE, "family_names", seed)
        return Cast(
            tuple(f"{first} {last}" for first, last in zip(given, family, strict=True)),
            *_draw(self.organisations, 1, "organisations", seed),
            *_draw(self.places, 1, "places", seed),
            *_draw(self.ai_names, 1, "ai_names", seed),
        )


def _draw(names: Sequence[str], count: int, what: str, seed: int) -> list[str]:
    """Return `count` different names.

    By hash, since what `random` draws from a seed may change with the version of Python; of 2³¹
    values the remainder favours no name by more than one in a million.
    """
    drawn: list[int] = []
    for turn in range(count):
        index = seed_from("cast", seed, what, turn) % (len(names) - turn)
        for earlier in sorted(drawn):  # Skip those drawn before.
            index += earlier <= index
        drawn.append(index)
    return [names[i] for i in drawn]


def load_cast(folder: Path | None = None) -> CastLists:
    """Read the lists of a folder, the packaged ones by default.

    One name a line in UTF-8; empty lines and lines that begin with `#` are passed over. Raises
    UserError for a list that is missing or too short, a name that stands twice, an AI's name that
    is a person's too or a word of an organisation or place, and a name not made of plain words.
    """
    folder = folder or packaged("prompts/cast")
    if not folder.is_dir():
        raise UserError("no such folder", file=folder, remedy="Check the path.")
    lists = {name: _read(folder / f"{name}.txt") for name in LISTS}
    for name, least in (("given_names", PEOPLE), ("family_names", PEOPLE)):
        if len(lists[name]) < least:
            raise UserError(
                f"holds {len(lists[name])} names, a cast has {least} people",
                file=folder / f"{name}.txt",
                remedy="Add more.",
            )
    _refuse_shared(lists, folder)
    return CastLists(**{name: tuple(lines) for name, lines in lists.items()})


def _read(path: Path) -> dict[str, int]:
    """Return the names of a file and the line of each."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        remedy = f"A cast needs {', '.join(f'{n}.txt' for n in LISTS)}."
        raise UserError("no such file", file=path, remedy=remedy) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8 at byte {error.start}", file=path, remedy="Save the file as UTF-8."
        ) from None
    names: dict[str, int] = {}
    form = _PHRASE if path.stem in ("organisations", "places") else _NAME
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if name in names:
            raise UserError(
                f"{name!r} stands twice, first on line {names[name]}",
                file=path, line=number, remedy="Remove one.",
            )  # fmt: skip
        if not form.fullmatch(name):
            raise UserError(
                f"{name!r} is not made of plain words",
                file=path, line=number,
                remedy="Use letters A to Z, a capital first, at most 14 a word.",
            )  # fmt: skip
        names[name] = number
    if not names:
        raise UserError("holds no names", file=path, remedy="Add some, one a line.")
    return names


def _refuse_shared(lists: Mapping[str, Mapping[str, int]], folder: Path) -> None:
    """Refuse an AI that is named as something else may be: who of the two acts, none could read."""
    words: dict[str, str] = {}
    for other in LISTS:
        if other != "ai_names":
            words |= {word.casefold(): other for name in lists[other] for word in name.split()}
    for name, line in lists["ai_names"].items():
        if other := words.get(name.casefold(), ""):
            raise UserError(
                f"{name!r} stands in {other}.txt too",
                file=folder / "ai_names.txt", line=line, remedy="Remove one of them.",
            )  # fmt: skip
