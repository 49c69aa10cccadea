"""Where a configuration comes from: defaults ← YAML ← environment ← command line."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel

from aligngen.core.errors import UserError
from aligngen.core.yaml_file import read_yaml, validate

__all__ = ["ENV_PREFIX", "environment_names", "resolve"]

ENV_PREFIX = "ALIGNGEN_"
Model = TypeVar("Model", bound=BaseModel)
Tree = dict[str, object]


def resolve(
    model: type[Model],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
    assignments: Sequence[str] = (),
) -> Model:
    """Return `model` from its layers, the later ones winning.

    `options` maps dotted keys to values, None meaning not given; `assignments` are `key=value`
    texts, the value read as YAML. Relative paths are relative to the working folder.
    """
    data: Tree = {}
    if file is not None:
        loaded = read_yaml(file)
        validate(loaded if loaded is not None else {}, model, file)
        data = _as_tree(loaded or {}, file)
    environment = os.environ if environment is None else environment
    for name, key in environment_names(model).items():
        if name in environment:
            _set(data, key, _yaml_value(environment[name], name))
    for key, value in (options or {}).items():
        if value is not None:
            _set(data, key, value)
    for text in assignments:
        key, equals, value_text = text.partition("=")
        if not equals:
            raise UserError(f"{text!r} is not key=value", field="set", remedy="Write key=value.")
        _set(data, key.strip(), _yaml_value(value_text, key))
    return validate(data, model)


def environment_names(model: type[BaseModel]) -> dict[str, str]:
    """Return the environment variable of every key: `engine.model` is `ALIGNGEN_ENGINE_MODEL`."""
    return {ENV_PREFIX + key.replace(".", "_").upper(): key for key in _keys(model)}


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _as_tree(value: object, file: Path) -> Tree:
    if not isinstance(value, dict):
        raise UserError("is not a mapping of keys", file=file, remedy="Write key: value lines.")
    return {
        str(key): _as_tree(item, file) if isinstance(item, dict) else item
        for key, item in value.items()
    }


def _set(data: Tree, dotted: str, value: object) -> None:
    *path, last = dotted.split(".")
    for part in path:
        branch = data.setdefault(part, {})
        if not isinstance(branch, dict):
            raise UserError(f"{part!r} has no keys below it", field=dotted, remedy="Check the key.")
        data = branch
    data[last] = value


def _yaml_value(text: str, where: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"{text!r} is not a YAML value", field=where, remedy="Quote it.") from None
