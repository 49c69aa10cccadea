"""YAML files that people write, validated, with errors that name file, line, field and value."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from aligngen.core.errors import UserError

__all__ = ["load_yaml", "read_yaml", "validate"]

Model = TypeVar("Model", bound=BaseModel)
Loc = tuple[str | int, ...]


def load_yaml(path: Path, model: type[Model]) -> Model:
    """Read `path` with `yaml.safe_load` and validate it as `model`."""
    return validate(read_yaml(path), model, path)


def read_yaml(path: Path) -> object:
    """Return the plain data of a YAML file; refuse duplicate keys, which YAML lets pass."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _refuse_duplicate_keys(node, path)
        return yaml.safe_load(text)
    except FileNotFoundError:
        raise UserError("no such file", file=path, remedy="Check the path.") from None
    except IsADirectoryError:
        raise UserError("is a folder, not a file", file=path, remedy="Name a YAML file.") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8 at byte {error.start}", file=path, remedy="Save the file as UTF-8."
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(
            f"not valid YAML: {problem}",
            file=path,
            line=mark.line + 1 if mark else None,
            remedy="Mend the YAML.",
        ) from None


def validate(data: object, model: type[Model], path: Path | None = None) -> Model:
    """Return `data` as `model`, or raise the first problem as a UserError."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # An unknown key explains the missing one beside it: name it first.
        first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
        loc: Loc = tuple(p for p in first["loc"] if p != "[key]")
        problem, remedy = _explain(first["type"], first["msg"], loc, first.get("input"), model)
        raise UserError(
            problem,
            file=path,
            line=_line_of(path, loc) if path else None,
            field=".".join(map(str, loc)),
            remedy=remedy,
        ) from None


def _explain(
    kind: str, message: str, loc: Loc, value: object, model: type[BaseModel]
) -> tuple[str, str]:
    if kind == "extra_forbidden":
        known = _known_keys(model)
        close = difflib.get_close_matches(str(loc[-1]), known, n=1)
        remedy = f"Did you mean '{close[0]}'?" if close else "Remove it."
        return "unknown key", remedy
    if kind == "missing":
        return "missing", "Add it."
    if loc and loc[-1] == "base_url":
        return message.removeprefix("Value error, "), ""  # it may hold a secret
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    if kind == "value_error" and isinstance(value, dict):
        return message.removeprefix("Value error, "), ""
    return f"{message.removeprefix('Value error, ')}, got {shown}", ""


def _known_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys of `model` and of every model inside it, for suggestions."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return sorted({key for part in parts for key in part.get("properties", {})})


def _refuse_duplicate_keys(node: yaml.Node, path: Path, where: Sequence[str] = ()) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise UserError(
                    "the key stands twice",
                    file=path,
                    line=key.start_mark.line + 1,
                    field=".".join([*where, str(key.value)]),
                    remedy="Remove one of them.",
                )
            seen.add(key.value)
            _refuse_duplicate_keys(value, path, [*where, str(key.value)])
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _refuse_duplicate_keys(value, path, [*where, str(i)])


def _line_of(path: Path, loc: Loc) -> int | None:
    """Return the line of the deepest node on the way to `loc`."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError):
        return None
    line = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line or node.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
