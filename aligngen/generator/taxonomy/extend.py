"""What an extension file does to the taxonomy that it extends.

A file that says `extends: core`, or names a file beside it, holds only what it adds or changes:

- domains, their behaviours and rules are joined by id, axes and factors by name, their values and
  the sources by key; of what exists, the keys given replace those of the base;
- the lists of `held_out` are added to;
- `remove` takes behaviours, domains, rules, axis values and factor levels out of the base, and out
  of what the base's own rules and hold-outs say of them; what it names under `held_out` stays, and
  is held out no more.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from aligngen.core.schema import Behaviour, Domain, HeldOut, Rule
from aligngen.core.yaml_file import Loc, Sourced, SourcedList, field_name
from aligngen.generator.taxonomy.check import fault, suggest

__all__ = ["Removal", "items_at", "merge", "take_out"]


class Removal(BaseModel):
    """What an extension takes out of its base."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    behaviours: tuple[str, ...] = ()
    """Ids; a domain left without any goes too."""
    domains: tuple[str, ...] = ()
    """Ids; their behaviours go too."""
    rules: tuple[str, ...] = ()
    """Ids."""
    axes: dict[str, tuple[str, ...]] = {}
    """Axis → the values that go; one must be left."""
    factors: dict[str, tuple[str, ...]] = {}
    """Factor → the levels that go; one must be left."""
    held_out: HeldOut = HeldOut()
    """What the base holds out and this file does not: it stays, and is planned."""


def items_at(data: object, *path: str) -> Iterator[tuple[Loc, Sourced]]:
    """Yield each mapping of the lists that stand at `path`, lists within lists included."""
    if isinstance(data, Sourced) and path:
        items = data.get(path[0])
        for i, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, Sourced):
                if len(path) == 1:
                    yield (path[0], i), item
                for loc, inner in items_at(item, *path[1:]):
                    yield (path[0], i, *loc), inner


# Taking out


def take_out(base: Sourced, what: Removal, part: Sourced) -> Sourced:
    """Return `base` without what an extension takes out of it."""
    behaviours = {str(b.get("id")): loc for loc, b in items_at(base, "domains", "behaviours")}
    known = {
        "behaviours": set(behaviours),
        "domains": {str(d.get("id")) for _, d in items_at(base, "domains")},
        "rules": {str(r.get("id")) for _, r in items_at(base, "rules")},
    }
    for kind, names in known.items():
        for i, name in enumerate(getattr(what, kind)):
            if name not in names:
                loc = ("remove", kind, i)
                raise fault(part, loc, f"the base has no {name!r}", suggest(name, names))
    gone = set(what.behaviours) | {
        name
        for name, (_, i, *_) in behaviours.items()
        if _id_at(base, "domains", i) in what.domains
    }
    base = _without_hold_outs(base, what.held_out, part)
    left = {_id_at(base, "domains", loc[1]) for name, loc in behaviours.items() if name not in gone}
    out = gone | (known["domains"] - left)
    base = _without_behaviours(base, out)
    base = _with(base, "rules", _drop(base.get("rules"), lambda r: r.get("id") in what.rules))
    base = _without_mentions(base, "behaviour", out)
    for group, asked in (("axes", what.axes), ("factors", what.factors)):
        for name, values in asked.items():
            base = _without_values(base, group, name, values, part)
    return base


def _without_hold_outs(base: Sourced, what: HeldOut, part: Sourced) -> Sourced:
    held = base.get("held_out")
    held = held if isinstance(held, Sourced) else Sourced()
    at: Loc = ("remove", "held_out")
    for kind in ("behaviours", "styles", "sources"):
        names = getattr(what, kind)
        if names:
            _refuse_not_held(part, (*at, kind), names, held.get(kind))
            held = _with(held, kind, _without(held.get(kind), names))
    axes = held.get("axes")
    axes = axes if isinstance(axes, Sourced) else Sourced()
    for axis, values in what.axes.items():
        _refuse_not_held(part, (*at, "axes", axis), values, axes.get(axis))
        axes = _with(axes, axis, _without(axes.get(axis), values))
        held = _with(held, "axes", axes)
    return _with(base, "held_out", held) if "held_out" in base else base


def _refuse_not_held(part: Sourced, loc: Loc, names: Sequence[str], held: object) -> None:
    known = [str(name) for name in held] if isinstance(held, SourcedList) else []
    for i, name in enumerate(names):
        if name not in known:
            problem = f"the base does not hold out {name!r}"
            raise fault(part, (*loc, i), problem, suggest(name, known))


def _id_at(data: Sourced, key: str, index: object) -> object:
    items = data[key]
    assert isinstance(items, SourcedList)
    assert isinstance(index, int)
    item = items[index]
    return item.get("id") if isinstance(item, Sourced) else None


def _without_behaviours(base: Sourced, gone: Collection[object]) -> Sourced:
    domains = _drop(base.get("domains"), lambda d: d.get("id") in gone)
    if isinstance(domains, SourcedList):
        kept = [
            _with(d, "behaviours", _drop(d.get("behaviours"), lambda b: b.get("id") in gone))
            if isinstance(d, Sourced)
            else d
            for d in domains
        ]
        domains = SourcedList(kept, domains.places, domains.place)
    base = _with(base, "domains", domains)
    held = base.get("held_out")
    if isinstance(held, Sourced):
        held = _with(held, "behaviours", _without(held.get("behaviours"), gone))
        base = _with(base, "held_out", held)
    return base


def _without_values(
    base: Sourced, group: str, name: str, gone: Sequence[str], part: Sourced
) -> Sourced:
    axes = base.get(group)
    axis = axes.get(name) if isinstance(axes, Sourced) else None
    values = axis.get("values") if isinstance(axis, Sourced) else None
    loc: Loc = ("remove", group, name)
    if not isinstance(axes, Sourced):
        raise fault(part, loc, f"the base has no {group}", "Leave it out.")
    if not isinstance(axis, Sourced) or not isinstance(values, Sourced):
        raise fault(part, loc, f"the base has no {name!r}", suggest(name, axes))
    for i, value in enumerate(gone):
        if value not in values:
            raise fault(part, (*loc, i), f"the base has no {value!r}", suggest(value, values))
    if set(gone) >= set(values):
        raise fault(part, loc, "every value would be removed", "Keep one.")
    left = Sourced({k: v for k, v in values.items() if k not in gone}, values.places, values.place)
    axis = _with(axis, "values", left)
    if "default" in axis:
        axis = _with(axis, "default", _without(axis["default"], gone))
    base = _with(base, group, _with(axes, name, axis))
    return base if group == "factors" else _without_mentions(base, name, gone)


def _without_mentions(base: Sourced, axis: str, gone: Collection[object]) -> Sourced:
    """Return `base` with `gone` values of an axis left out of its rules and hold-outs.

    A rule that then applies nowhere, or forbids nothing, goes too.
    """
    rules = base.get("rules")
    if isinstance(rules, SourcedList):
        kept = [_rule_without(r, axis, gone) if isinstance(r, Sourced) else r for r in rules]
        pairs = [(r, p) for r, p in zip(kept, rules.places, strict=True) if r is not None]
        base = _with(
            base, "rules", SourcedList([r for r, _ in pairs], [p for _, p in pairs], rules.place)
        )
    held = base.get("held_out")
    axes = held.get("axes") if isinstance(held, Sourced) else None
    if isinstance(held, Sourced) and isinstance(axes, Sourced) and axis in axes:
        axes = _with(axes, axis, _without(axes[axis], gone))
        base = _with(base, "held_out", _with(held, "axes", axes))
    return base


def _rule_without(rule: Sourced, axis: str, gone: Collection[object]) -> Sourced | None:
    for key in ("when", "never"):
        named = rule.get(key)
        if not isinstance(named, Sourced) or axis not in named:
            continue
        left = _without(named[axis], gone)
        if left or key == "when":
            if not left:
                return None
            rule = _with(rule, key, _with(named, axis, left))
        else:
            rest = {k: v for k, v in named.items() if k != axis}
            rule = _with(rule, key, Sourced(rest, named.places, named.place))
    only = rule.get("only")
    if isinstance(only, Sourced) and axis in only:
        # A rule left with an empty list would forbid everything; the check names it.
        rule = _with(rule, "only", _with(only, axis, _without(only[axis], gone)))
    return rule if rule.get("never") or rule.get("only") else None


def _with(data: Sourced, key: str, value: object) -> Sourced:
    """Return `data` with one key's value replaced; None adds no key."""
    if key not in data and value is None:
        return data
    return Sourced({**data, key: value}, data.places, data.place)


def _drop(items: object, unwanted: Callable[[Sourced], bool]) -> object:
    if not isinstance(items, SourcedList):
        return items
    kept = [
        (item, place)
        for item, place in zip(items, items.places, strict=True)
        if not (isinstance(item, Sourced) and unwanted(item))
    ]
    return SourcedList([i for i, _ in kept], [p for _, p in kept], items.place)


def _without(items: object, gone: Collection[object]) -> object:
    if not isinstance(items, SourcedList):
        return items
    kept = [(i, p) for i, p in zip(items, items.places, strict=True) if i not in gone]
    return SourcedList([i for i, _ in kept], [p for _, p in kept], items.place)


# Adding


def _check_additions(base: Sourced, part: Sourced) -> None:
    """Refuse what an extension leaves open: a new item that is incomplete, a behaviour that the
    base has elsewhere."""
    parts: list[tuple[tuple[str, ...], type[BaseModel]]] = [
        (("domains",), Domain),
        (("domains", "behaviours"), Behaviour),
        (("rules",), Rule),
    ]
    for path, model in parts:
        known = {str(item.get("id")): loc for loc, item in items_at(base, *path)}
        for loc, item in items_at(part, *path):
            name = str(item.get("id", ""))
            if name not in known:
                _refuse_incomplete(part, loc, item, model, known)
            elif len(path) == 2:
                _refuse_other_home(base, part, loc, known[name])


def _refuse_incomplete(
    part: Sourced, loc: Loc, item: Sourced, model: type[BaseModel], known: Collection[str]
) -> None:
    fields = model.model_fields
    missing = [k for k, f in fields.items() if f.is_required() and k not in item]
    # A key that the model does not know is the better explanation, and is named by `validate`.
    if missing and "id" in item and set(item) <= set(fields):
        raise fault(
            part,
            loc,
            f"{item['id']!r} is not in the base, and a new one needs {', '.join(missing)}",
            suggest(str(item["id"]), known, otherwise="Add what is missing."),
        )


def _refuse_other_home(base: Sourced, part: Sourced, loc: Loc, base_loc: Loc) -> None:
    here, there = field_name(part, loc[:2]), field_name(base, base_loc[:2])
    if here != there:
        raise fault(
            part,
            (*loc, "id"),
            f"the base has this behaviour in {there}",
            "Change it there, or remove it first.",
        )


Join = Callable[[Sourced, Sourced], Sourced]


def merge(base: Sourced, part: Sourced) -> Sourced:
    """Return `base` with an extension laid over it."""
    _check_additions(base, part)
    merged = _over(base, part)
    for key in merged.keys() & base.keys() & part.keys():
        old, new = base[key], part[key]
        match key:
            case "domains":
                merged[key] = _by_id(old, new, _join_domain)
            case "rules":
                merged[key] = _by_id(old, new, _over)
            case "axes" | "factors":
                merged[key] = _by_key(old, new, _join_axis)
            case "sources":
                merged[key] = _by_key(old, new, _over)
            case "held_out":
                merged[key] = _added(old, new)
    for key in ("extends", "remove"):
        merged.pop(key, None)
    return merged


def _over(old: Sourced, new: Sourced) -> Sourced:
    return Sourced({**old, **new}, {**old.places, **new.places}, new.place)


def _by_key(old: object, new: object, join: Join) -> object:
    """Return two mappings as one; what both have is joined if it is a mapping, else replaced."""
    if not (isinstance(old, Sourced) and isinstance(new, Sourced)):
        return new
    merged = _over(old, new)
    for key in old.keys() & new.keys():
        first, second = old[key], new[key]
        if isinstance(first, Sourced) and isinstance(second, Sourced):
            merged[key] = join(first, second)
    return merged


def _by_id(old: object, new: object, join: Join) -> object:
    """Return two lists of items with ids as one, the base's first and in its order."""
    if not (isinstance(old, SourcedList) and isinstance(new, SourcedList)):
        return new
    merged = SourcedList(old, old.places, new.place)
    at = {str(item.get("id")): i for i, item in enumerate(old) if isinstance(item, Sourced)}
    for item, place in zip(new, new.places, strict=True):
        i = at.get(str(item.get("id"))) if isinstance(item, Sourced) else None
        if i is None:
            merged.append(item)
            merged.places.append(place)
            continue
        first = merged[i]
        assert isinstance(first, Sourced)
        assert isinstance(item, Sourced)
        merged[i], merged.places[i] = join(first, item), place
    return merged


def _join_domain(old: Sourced, new: Sourced) -> Sourced:
    merged = _over(old, new)
    if "behaviours" in old and "behaviours" in new:
        merged["behaviours"] = _by_id(old["behaviours"], new["behaviours"], _over)
    return merged


def _join_axis(old: Sourced, new: Sourced) -> Sourced:
    merged = _over(old, new)
    if "values" in old and "values" in new:
        merged["values"] = _by_key(old["values"], new["values"], _over)
    return merged


def _added(old: object, new: object) -> object:
    """Return two hold-outs as one: lists are added up, mappings key by key."""
    if isinstance(old, SourcedList) and isinstance(new, SourcedList):
        fresh = [(n, p) for n, p in zip(new, new.places, strict=True) if n not in old]
        items, places = [n for n, _ in fresh], [p for _, p in fresh]
        return SourcedList([*old, *items], [*old.places, *places], new.place)
    if isinstance(old, Sourced) and isinstance(new, Sourced):
        merged = _over(old, new)
        for key in old.keys() & new.keys():
            merged[key] = _added(old[key], new[key])
        return merged
    return new
