"""YAML files that people write, validated, with errors that name file, line, field and value.

What is read remembers where it stood (`Sourced`, `SourcedList`), so that an error found after
several files were merged still names the file and the line that somebody has to mend.
"""

import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from aligngen.core.errors import UserError

try:
    # libyaml reads a taxonomy ten times faster; wheels of PyYAML have it, some source builds don't.
    from yaml import CSafeLoader as _Parser
except ImportError:  # pragma: no cover
    from yaml import SafeLoader as _Parser  # type: ignore[assignment]  # the same interface

__all__ = [
    "Loc",
    "Place",
    "Sourced",
    "SourcedList",
    "field_name",
    "load_yaml",
    "locate",
    "read_yaml",
    "validate",
]

Model = TypeVar("Model", bound=BaseModel)
_TRUTH_VALUES = ("True", "False")
"""What keys that YAML reads as truth values become."""
_READ_AS_TRUTH = "YAML reads on, off, yes and no as truth values."
_UNREADABLE = (ValueError, ArithmeticError, IndexError, KeyError, AttributeError, TypeError)
"""What the YAML library lets through from a number, date or tag that it cannot build."""

Loc = tuple[str | int, ...]
"""Keys and indices from the top of a file down to a value."""


class Place(NamedTuple):
    """Where something stands."""

    file: Path | None = None
    line: int | None = None
    """From 1."""


class Sourced(dict[str, object]):
    """A mapping of a YAML file that knows where each of its keys stands."""

    __slots__ = ("place", "places")

    def __init__(
        self,
        data: Mapping[str, object] | None = None,
        places: Mapping[str, Place] | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__(data or {})
        self.places: dict[str, Place] = dict(places or {})
        self.place = place or Place()


class SourcedList(list[object]):
    """A list of a YAML file that knows where each of its items stands."""

    __slots__ = ("place", "places")

    def __init__(
        self,
        data: Sequence[object] = (),
        places: Sequence[Place] = (),
        place: Place | None = None,
    ) -> None:
        super().__init__(data)
        self.places: list[Place] = list(places)
        self.place = place or Place()


def load_yaml(path: Path, model: type[Model]) -> Model:
    """Read `path` safely and validate it as `model`."""
    return validate(read_yaml(path), model, path)


def read_yaml(path: Path) -> object:
    """Return the plain data of a YAML file, its mappings and lists `Sourced`.

    Refuses duplicate keys, which YAML lets pass, and every tag that would build an object.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        loader.path = path
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_duplicate_keys(node, path, set())
        data: object = loader.construct_document(node)
        return data
    except FileNotFoundError:
        raise UserError("no such file", file=path, remedy="Check the path.") from None
    except IsADirectoryError:
        raise UserError("is a folder, not a file", file=path, remedy="Name a YAML file.") from None
    except PermissionError:
        raise UserError("may not be read", file=path, remedy="Change its permissions.") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot be read: {reason}", file=path, remedy="Check the path.") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8 at byte {error.start}", file=path, remedy="Save the file as UTF-8."
        ) from None
    except ValueError as error:
        raise UserError(f"not valid YAML: {error}", file=path, remedy="Quote the value.") from None
    except RecursionError:
        raise UserError("is nested too deeply", file=path, remedy="Mend the YAML.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(
            f"not valid YAML: {problem}",
            file=path,
            line=mark.line + 1 if mark else None,
            remedy="Mend the YAML.",
        ) from None


def locate(data: object, loc: Loc) -> Place:
    """Return where the deepest part of `loc` that exists in `data` stands."""
    place = getattr(data, "place", Place())
    for part in loc:
        if isinstance(data, Sourced) and part in data:
            place, data = data.places.get(str(part), place), data[str(part)]
        elif isinstance(data, SourcedList) and isinstance(part, int) and part < len(data):
            place, data = data.places[part], data[part]
        else:
            break
    return place


def field_name(data: object, loc: Loc) -> str:
    """Return `loc` as a dotted name in which an item that has an id goes by it."""
    names = []
    for part in loc:
        names.append(str(part))
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            if isinstance(data, dict) and isinstance(data.get("id"), str):
                names[-1] = data["id"]
        else:
            data = None
    return ".".join(names)


def validate(data: object, model: type[Model], path: Path | None = None) -> Model:
    """Return `data` as `model`, or raise the first problem as a UserError.

    The file named is the one that the faulty part was read from, else `path`.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # An unknown key explains the missing one beside it: name it first.
        first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
        loc: Loc = tuple(p for p in first["loc"] if p != "[key]")
        problem, remedy = _explain(first["type"], first["msg"], loc, first.get("input"), model)
        place = locate(data, loc)
        raise UserError(
            problem,
            file=place.file or path,
            line=place.line,
            field=field_name(data, loc),
            remedy=remedy,
        ) from None


def _explain(
    kind: str, message: str, loc: Loc, value: object, model: type[BaseModel]
) -> tuple[str, str]:
    if loc and loc[-1] in _TRUTH_VALUES:
        return "the key is a truth value", f"Put the key in quotes; {_READ_AS_TRUTH}"
    if kind == "extra_forbidden":
        known = _known_keys(model)
        close = difflib.get_close_matches(str(loc[-1]), known, n=1)
        remedy = f"Did you mean '{close[0]}'?" if close else "Remove it."
        return "unknown key", remedy
    if kind == "missing":
        return "missing", "Add it."
    if loc and loc[-1] == "base_url":
        return message.removeprefix("Value error, "), ""  # it may hold a secret
    shown = _SHORT.repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    if kind == "value_error" and isinstance(value, dict):
        return message.removeprefix("Value error, "), ""
    remedy = f"Put it in quotes; {_READ_AS_TRUTH}" if _is_truth_for_text(kind, value) else ""
    return f"{message.removeprefix('Value error, ')}, got {shown}", remedy


def _is_truth_for_text(kind: str, value: object) -> bool:
    return kind == "string_type" and isinstance(value, bool)


class _Short(reprlib.Repr):
    """`repr` that stays small where anchors make a small file stand for an endless value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 90

    def repr_Sourced(self, x: Sourced, level: int) -> str:  # noqa: N802  # named by reprlib
        return self.repr_dict(x, level)

    def repr_SourcedList(self, x: SourcedList, level: int) -> str:  # noqa: N802
        return self.repr_list(x, level)


_SHORT = _Short()


def _known_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys of `model` and of every model inside it, for suggestions."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return sorted({key for part in parts for key in part.get("properties", {})})


class _Loader(_Parser):
    """The safe loader, building `Sourced` values."""

    path: Path

    def place(self, node: yaml.Node) -> Place:
        return Place(self.path, node.start_mark.line + 1)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        """Build a value; one that looks like a number or a date and is none names its line."""
        try:
            return super().construct_object(node, deep)
        except _UNREADABLE:
            what = node.tag.rsplit(":", 1)[-1]
            shown = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
            if isinstance(node, yaml.ScalarNode):
                shown = _SHORT.repr(node.value)
            raise UserError(
                f"not valid YAML: {shown} reads as {what} and is none",
                file=self.path,
                line=node.start_mark.line + 1,
                remedy="Quote the value.",
            ) from None


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[Sourced]:
    data = Sourced(place=loader.place(node))
    yield data  # first itself, then what is in it: an anchor may point back
    data.update({str(k): v for k, v in loader.construct_mapping(node).items()})
    for key, _ in node.value:
        data.places[str(loader.construct_object(key))] = loader.place(key)


def _list(loader: _Loader, node: yaml.SequenceNode) -> Iterator[SourcedList]:
    data = SourcedList(places=[loader.place(item) for item in node.value], place=loader.place(node))
    yield data
    data.extend(loader.construct_sequence(node))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _list)


def _refuse_duplicate_keys(
    node: yaml.Node, path: Path, done: set[int], where: Sequence[str] = ()
) -> None:
    """Walk every node once, however often anchors name it."""
    if id(node) in done:
        return
    done.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise UserError(
                    "the key stands twice",
                    file=path,
                    line=key.start_mark.line + 1,
                    field=".".join([*where, str(key.value)]),
                    remedy="Remove one of them.",
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
            _refuse_duplicate_keys(value, path, done, [*where, str(key.value)])
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _refuse_duplicate_keys(value, path, done, [*where, str(i)])
