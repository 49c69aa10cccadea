"""JSON Schemas of what people write, for editors: our own docstrings are the descriptions."""

import ast
import copy
import inspect
from collections.abc import Iterator, Mapping
from functools import lru_cache

from pydantic import BaseModel

from aligngen.core import schema
from aligngen.core.hashing import Json
from aligngen.core.schema import Style, Taxonomy
from aligngen.generator.taxonomy.extend import Removal

__all__ = ["style_schema", "taxonomy_schema"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
EXTENDS = (
    "The taxonomy that this file adds to: core, or a file beside this one. The file then holds only"
    " what it adds or changes."
)
PART = "Part"
"""Ends the names of definitions in which only the id is required."""

Tree = dict[str, Json]


def style_schema() -> Tree:
    """Return the JSON Schema of a style file."""
    return {"$schema": DRAFT, **_described(Style)}


def taxonomy_schema() -> Tree:
    """Return the JSON Schema of a taxonomy file, whole or an extension.

    A file that says `extends` needs only a name and a version; what it changes needs only its id.
    """
    whole = _described(Taxonomy)
    removal = _described(Removal)
    removal.pop("$defs")  # HeldOut, which `whole` has
    definitions = _tree(whole.pop("$defs"))
    parts: Tree = {
        name + PART: _as_part(_tree(definition), keep=("id",))
        for name, definition in definitions.items()
        if name in ("Axis", "Behaviour", "Domain", "Factor", "Rule")
    }
    extension = _as_part(whole, keep=("name", "version"))
    properties = _tree(extension["properties"])
    properties["extends"] = {"description": EXTENDS, "type": "string"}
    properties["remove"] = {"$ref": "#/$defs/Removal"}
    extension["required"] = ["extends", "name", "version"]
    extension["description"] = "A taxonomy file that adds to another one."
    return {
        "$schema": DRAFT,
        "title": "Taxonomy file",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/Extension"},
        "else": {"$ref": "#/$defs/Taxonomy"},
        "$defs": {
            **definitions,
            **parts,
            "Removal": removal,
            "Taxonomy": whole,
            "Extension": extension,
        },
    }


def _as_part(definition: Tree, keep: tuple[str, ...]) -> Tree:
    """Return a definition in which `keep` alone is required, of parts of its own."""
    part = _tree(_refer_to_parts(copy.deepcopy(definition)))
    part["required"] = [name for name in keep if name in _tree(part["properties"])]
    return part


def _refer_to_parts(value: Json) -> Json:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.rsplit("/", 1)[1] in (
            "Axis", "Behaviour", "Domain", "Factor", "Rule",
        ):  # fmt: skip
            return {**value, "$ref": reference + PART}
        return {key: _refer_to_parts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_refer_to_parts(item) for item in value]
    return value


def _described(model: type[BaseModel]) -> Tree:
    """Return a model's JSON Schema with field docstrings as descriptions."""
    tree: Tree = model.model_json_schema(by_alias=True)
    docs = _field_docs()
    for name, definition in [(model.__name__, tree), *_tree(tree.get("$defs", {})).items()]:
        definition = _tree(definition)
        for key, spec in _tree(definition.get("properties", {})).items():
            spec = _tree(spec)
            spec.pop("title", None)
            if text := docs.get((name, key)) or docs.get((name, key + "_")):
                spec["description"] = text
    return tree


def _tree(value: Json) -> Tree:
    assert isinstance(value, dict)
    return value


@lru_cache(maxsize=1)
def _field_docs() -> Mapping[tuple[str, str], str]:
    """Return the docstring under each field of the records that people write."""
    docs: dict[tuple[str, str], str] = {}
    for source in (inspect.getsource(schema), inspect.getsource(Removal)):
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                docs |= {(node.name, field): text for field, text in _docs_of(node)}
    return docs


def _docs_of(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, after in zip(node.body, node.body[1:], strict=False):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text).replace("\n", " ")
