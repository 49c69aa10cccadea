"""Taxonomies, styles and recipes: found, read and checked as a whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, content_hash
from aligngen.core.schema import Recipe, Stance, Step, Style, Taxonomy
from aligngen.core.yaml_file import locate, read_yaml, validate
from aligngen.generator.taxonomy.check import fault, style_fault, suggest
from aligngen.generator.taxonomy.read import read_taxonomy

__all__ = [
    "Content",
    "check_styles_against",
    "load_recipe",
    "load_styles",
    "load_taxonomy",
    "packaged",
    "select_steps",
]


def packaged(folder: str) -> Path:
    """Return the path of a data folder that ships with the package."""
    return Path(str(resources.files("aligngen") / folder))


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """Read a taxonomy file with everything it extends, the packaged core taxonomy by default."""
    return read_taxonomy(path).taxonomy


def load_styles(path: Path | None = None, *, with_packaged: bool = True) -> dict[str, Style]:
    """Read the packaged styles, and those of a user's folder or file, in order of id.

    A user's style takes the place of a packaged one with its id.
    """
    return {r.style.id: r.style for r in _read_styles(path, with_packaged=with_packaged)}


class _ReadStyle(NamedTuple):
    style: Style
    data: object
    """What was written, for its places."""


def _read_styles(path: Path | None, *, with_packaged: bool = True) -> list[_ReadStyle]:
    found: dict[str, _ReadStyle] = {}
    if with_packaged or path is None:
        found |= _read_folder(packaged("prompts/styles"))
    if path is not None:
        found |= _read_folder(path)
    return [found[name] for name in sorted(found)]


def _read_folder(path: Path) -> dict[str, _ReadStyle]:
    """Return the styles of a folder, or of one file, by id."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise UserError("holds no style files", file=path, remedy="Add NAME.yaml files.")
    found: dict[str, _ReadStyle] = {}
    for file in files:
        data = read_yaml(file)
        style = validate(data, Style, file)
        _check_style(style, data)
        if style.id in found:
            first = locate(found[style.id].data, ("id",)).file
            problem = f"style {style.id!r} stands twice, first in {first}"
            raise fault(data, ("id",), problem, "Rename one.")
        found[style.id] = _ReadStyle(style, data)
    return found


def _check_style(style: Style, data: object) -> None:
    if "document" in style.fields:
        raise fault(data, ("fields", "document"), "'document' names the body", "Rename it.")
    for stance, example in style.examples.items():
        if list(example.fields) != list(style.fields):
            raise fault(
                data,
                ("examples", stance.value, "fields"),
                f"has the fields {', '.join(example.fields)}",
                f"Give it exactly {', '.join(style.fields)}, in this order.",
            )


def check_styles_against(
    taxonomy: Taxonomy,
    styles: Mapping[str, Style],
    *,
    taxonomy_path: Path | None = None,
    styles_path: Path | None = None,
) -> None:
    """Refuse a style that names no factor of the taxonomy, and a hold-out that names no style.

    The paths are those that both were loaded from; they are read again only to name the line of a
    fault. A taxonomy of one's own may lack factors that packaged styles speak of: what the core
    taxonomy knows is never a misspelling.
    """
    for k, name in enumerate(taxonomy.held_out.styles):
        if name not in styles:
            raise fault(
                read_taxonomy(taxonomy_path).data,
                ("held_out", "styles", k),
                f"{name!r} is held out, but there is no such style",
                suggest(name, styles),
            )
    factors: dict[str, set[str]] = {n: set(f.values) for n, f in taxonomy.factors.items()}
    if not any(style_fault(style, factors) for style in styles.values()):
        return
    for name, factor in load_taxonomy().factors.items():
        factors.setdefault(name, set()).update(factor.values)
    for style in styles.values():
        if found := style_fault(style, factors):
            data = {r.style.id: r.data for r in _read_styles(styles_path)}.get(style.id)
            raise fault(data, found.loc, found.problem, found.remedy)


def load_recipe(name: str) -> Recipe:
    """Read a recipe by file path or packaged id."""
    known = {p.stem: p for p in sorted(packaged("prompts/recipes").glob("*.yaml"))}
    path = known.get(name) or Path(name)
    if path.suffix != ".yaml":
        raise UserError(
            f"no recipe named {name!r}",
            field="recipe",
            remedy=f"Name one of {', '.join(known)}, or a .yaml file.",
        )
    data = read_yaml(path)
    recipe = validate(data, Recipe, path)
    writing = {step.id for step in recipe.steps if step.output == "document"}
    for variant, chosen in recipe.variants.items():
        if not writing & set(chosen):
            raise fault(
                data, ("variants", variant), "no step writes a document", "Add one that does."
            )
    return recipe


def select_steps(recipe: Recipe, choice: str = "") -> Recipe:
    """Return a recipe with the steps that are chosen, in its own order, and no variants.

    `choice` is empty (the first variant, or every step where there is none), a variant's name,
    step ids joined by commas, or `-critique,-rewrite` for every step but those.
    """
    ids = [step.id for step in recipe.steps]
    names = [name.strip() for name in choice.split(",")] if choice.strip() else []
    minus = [name.startswith("-") for name in names]
    if not names:
        kept = set(next(iter(recipe.variants.values()), ids))
    elif len(names) == 1 and names[0] in recipe.variants:
        kept = set(recipe.variants[names[0]])
    elif any(minus) and not all(minus):
        raise UserError(
            f"{choice!r} both names steps and removes steps",
            field="steps",
            remedy="Write draft,rewrite or -critique.",
        )
    else:
        plain = [name.removeprefix("-") for name in names]
        for name in plain:
            if name not in ids:
                raise UserError(
                    f"recipe {recipe.id} has no step or variant {name!r}",
                    field="steps",
                    remedy=suggest(name, [*ids, *recipe.variants]),
                )
        kept = set(ids) - set(plain) if all(minus) else set(plain)
    steps = tuple(step for step in recipe.steps if step.id in kept)
    _refuse_no_document(recipe, steps, choice)
    return recipe.model_copy(update={"steps": steps, "variants": {}})


def _refuse_no_document(recipe: Recipe, steps: Sequence[Step], choice: str) -> None:
    if not any(step.output == "document" for step in steps):
        writing = " or ".join(step.id for step in recipe.steps if step.output == "document")
        raise UserError(
            f"{choice!r} leaves no step that writes a document",
            field="steps",
            remedy=f"Keep {writing}.",
        )


@dataclass(frozen=True)
class Content:
    """A taxonomy with the styles, recipe and stances that a run draws on."""

    taxonomy: Taxonomy
    styles: dict[str, Style]
    recipe: Recipe

    def hashes(self) -> dict[str, Json]:
        """Return the content hash of each part, for fingerprints and provenance.

        Of JSON text in written order, since the order of axes and header fields means something.
        """
        return {
            "taxonomy": content_hash(self.taxonomy.model_dump_json()),
            "styles": {n: content_hash(s.model_dump_json()) for n, s in self.styles.items()},
            "recipe": content_hash(self.recipe.model_dump_json()),
        }

    def check_stances(self, styles: Iterable[str], stances: Sequence[Stance]) -> None:
        """Refuse a style that has no worked example in a stance asked for."""
        for style in (self.styles[name] for name in styles):
            for stance in stances:
                if stance not in style.examples:
                    raise UserError(
                        f"has no worked example for stance {stance.value}",
                        field=f"styles.{style.id}.examples",
                        remedy="Add one, or leave the style out with --style.",
                    )
