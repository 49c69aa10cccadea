"""What a model of each part cannot see: the names by which the parts of a taxonomy refer to one
another, and to the styles."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from aligngen.core.errors import UserError
from aligngen.core.schema import Style, Taxonomy, fold_topic
from aligngen.core.yaml_file import Loc, Sourced, field_name, locate

__all__ = ["StyleFault", "check_taxonomy", "fault", "style_fault", "suggest"]

BEHAVIOUR = "behaviour"
"""The key by which a rule names behaviours or domains rather than an axis."""


def fault(data: object, loc: Loc, problem: str, remedy: str = "") -> UserError:
    """Return the error about what stands at `loc`, naming its file and line."""
    place = locate(data, loc)
    return UserError(
        problem, file=place.file, line=place.line, field=field_name(data, loc), remedy=remedy
    )


def suggest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return the remedy for an unknown name: the one that was meant, or those there are."""
    names = list(known)
    if close := difflib.get_close_matches(name, names, n=1, cutoff=0.75):
        return f"Did you mean '{close[0]}'?"
    if otherwise or not names:
        return otherwise or "Leave it out."
    shown = ", ".join(names[:12])
    return f"Name one of {shown}." if len(names) <= 12 else f"There are {shown} and others."


def check_taxonomy(taxonomy: Taxonomy, data: Sourced) -> None:
    """Refuse a taxonomy whose parts don't fit together; the first fault is raised.

    `data` is what was written, for its places.
    """
    _check_names(taxonomy, data)
    _check_sources(taxonomy, data)
    _check_topics(taxonomy, data)
    _check_factors(taxonomy, data)
    _check_held_out(taxonomy, data)
    _check_rules(taxonomy, data)


def _check_names(taxonomy: Taxonomy, data: Sourced) -> None:
    domains = {d.id for d in taxonomy.domains}
    for loc, behaviour in _behaviours(taxonomy):
        if behaviour in domains:
            raise fault(
                data, (*loc, "id"), f"{behaviour!r} is a domain too", "Rename one of the two."
            )
    for axis in taxonomy.axes:
        if axis == BEHAVIOUR or axis in taxonomy.factors:
            what = "a word of the rules" if axis == BEHAVIOUR else "a factor too"
            raise fault(data, ("axes", axis), f"{axis!r} is {what}", "Rename the axis.")


def _behaviours(taxonomy: Taxonomy) -> Iterator[tuple[Loc, str]]:
    for i, domain in enumerate(taxonomy.domains):
        for j, behaviour in enumerate(domain.behaviours):
            yield ("domains", i, "behaviours", j), behaviour.id


def _check_sources(taxonomy: Taxonomy, data: Sourced) -> None:
    for loc, name in _behaviours(taxonomy):
        for k, source in enumerate(taxonomy.behaviours[name].sources):
            if source not in taxonomy.sources:
                raise fault(
                    data,
                    (*loc, "sources", k),
                    f"no source {source!r}",
                    suggest(source, taxonomy.sources, otherwise="Add it to the file's sources."),
                )


def _check_topics(taxonomy: Taxonomy, data: Sourced) -> None:
    """Refuse a tag that means two things: a record would count for both."""
    owners: dict[str, tuple[str, Loc]] = {}
    lists: list[tuple[Loc, str, tuple[str, ...]]] = [
        (("domains", i), d.id, d.topics) for i, d in enumerate(taxonomy.domains)
    ]
    lists += [(loc, name, taxonomy.behaviours[name].topics) for loc, name in _behaviours(taxonomy)]
    for loc, name, topics in lists:
        for k, tag in enumerate(topics):
            here: Loc = (*loc, "topics", k)
            folded = fold_topic(tag)
            if not folded:
                raise fault(data, here, "the tag is empty", "Remove it.")
            owner, there = owners.setdefault(folded, (name, here))
            if owner != name:
                later = max(here, there, key=lambda at: _written_last(data, at))
                other = owner if later == here else name
                problem = f"the tag {folded!r} means {other} already"
                raise fault(data, later, problem, "Keep it at one place.")


def _written_last(data: Sourced, loc: Loc) -> tuple[bool, int]:
    """Return a key by which what an extension adds comes after its base, in the file's order."""
    place = locate(data, loc)
    return place.file == data.place.file, place.line or 0


def _check_factors(taxonomy: Taxonomy, data: Sourced) -> None:
    for name, factor in taxonomy.factors.items():
        for k, level in enumerate(factor.default):
            if level not in factor.values:
                raise fault(
                    data,
                    ("factors", name, "default", k),
                    f"the factor has no level {level!r}",
                    suggest(level, factor.values),
                )


def _check_held_out(taxonomy: Taxonomy, data: Sourced) -> None:
    held = taxonomy.held_out
    for k, name in enumerate(held.behaviours):
        _known_hold_out(data, ("held_out", "behaviours", k), name, taxonomy.behaviours)
    if set(held.behaviours) >= set(taxonomy.behaviours):
        raise fault(data, ("held_out", "behaviours"), "every behaviour is held out", "Keep one.")
    for axis, values in held.axes.items():
        _known_hold_out(data, ("held_out", "axes", axis), axis, taxonomy.axes)
        known = taxonomy.axes[axis].values
        for k, value in enumerate(values):
            _known_hold_out(data, ("held_out", "axes", axis, k), value, known)
        if set(values) >= set(known):
            raise fault(data, ("held_out", "axes", axis), "every value is held out", "Keep one.")
    for k, beginning in enumerate(held.sources):
        if not beginning.strip():
            raise fault(
                data, ("held_out", "sources", k), "an empty beginning fits every id", "Remove it."
            )


def _known_hold_out(data: Sourced, loc: Loc, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise fault(
            data,
            loc,
            f"{name!r} is held out, but is not in the taxonomy",
            suggest(name, known, otherwise="A misspelt hold-out would leak into training."),
        )


def _check_rules(taxonomy: Taxonomy, data: Sourced) -> None:
    axes = {name: axis.values.keys() for name, axis in taxonomy.axes.items()}
    who = taxonomy.behaviours.keys() | {d.id for d in taxonomy.domains}
    for i, rule in enumerate(taxonomy.rules):
        for key, named, known in (
            ("when", rule.when, {BEHAVIOUR: who, **axes}),
            ("never", rule.never, axes),
            ("only", rule.only, axes),
        ):
            for axis, values in named.items():
                _check_named(data, ("rules", i, key, axis), axis, values, known)


def _check_named(
    data: Sourced,
    loc: Loc,
    axis: str,
    values: Collection[str],
    known: Mapping[str, Collection[str]],
) -> None:
    if axis not in known:
        raise fault(data, loc, f"there is no axis {axis!r}", suggest(axis, known))
    if not values:
        raise fault(data, loc, "names no value", "Name one, or remove the rule.")
    for k, value in enumerate(values):
        if value not in known[axis]:
            what = "behaviour or domain" if axis == BEHAVIOUR else f"value of {axis}"
            raise fault(
                data, (*loc, k), f"no {what} is called {value!r}", suggest(value, known[axis])
            )


class StyleFault(NamedTuple):
    """What is wrong with the factors that a style names."""

    loc: Loc
    problem: str
    remedy: str


def style_fault(style: Style, factors: Mapping[str, Collection[str]]) -> StyleFault | None:
    """Return the first factor, or level of one, that a style names and `factors` don't have."""
    for name, levels in style.factors.items():
        loc: Loc = ("factors", name)
        if name not in factors:
            return StyleFault(loc, f"there is no factor {name!r}", suggest(name, factors))
        if not levels:
            return StyleFault(loc, "names no level", "Name one, or leave the factor out.")
        for k, level in enumerate(levels):
            if level not in factors[name]:
                problem = f"factor {name} has no level {level!r}"
                return StyleFault((*loc, k), problem, suggest(level, factors[name]))
    return None
