"""Taxonomies, styles and recipes: found, read and checked as a whole."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, content_hash
from aligngen.core.schema import Recipe, Stance, Style, Taxonomy
from aligngen.core.yaml_file import load_yaml

__all__ = ["Content", "load_recipe", "load_styles", "load_taxonomy", "packaged"]


def packaged(folder: str) -> Path:
    """Return the path of a data folder that ships with the package."""
    return Path(str(resources.files("aligngen") / folder))


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """Read a taxonomy file, the packaged core taxonomy by default."""
    path = path or packaged("taxonomies") / "core.yaml"
    taxonomy = load_yaml(path, Taxonomy)
    ids = [b.id for d in taxonomy.domains for b in d.behaviours]
    _refuse_repeats(ids, "behaviour", path)
    _refuse_repeats([d.id for d in taxonomy.domains], "domain", path)
    for axis, values in taxonomy.axes.items():
        if not values:
            raise UserError(
                "the axis has no values", file=path, field=f"axes.{axis}", remedy="Add one."
            )
        _refuse_repeats(list(values), f"value of axes.{axis}", path)
    _check_held_out(taxonomy, path)
    return taxonomy


def load_styles(folder: Path | None = None) -> dict[str, Style]:
    """Read every style file of a folder, the packaged ones by default, in order of id."""
    folder = folder or packaged("prompts/styles")
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError("holds no style files", file=folder, remedy="Add NAME.yaml files.")
    styles = [(file, load_yaml(file, Style)) for file in files]
    _refuse_repeats([s.id for _, s in styles], "style", folder)
    for file, style in styles:
        _check_style(style, file)
    return {style.id: style for _, style in styles}


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
    return load_yaml(path, Recipe)


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


def _refuse_repeats(ids: Sequence[str], what: str, path: Path) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise UserError(f"{what} {name!r} stands twice", file=path, remedy="Rename one.")
        seen.add(name)


def _check_held_out(taxonomy: Taxonomy, path: Path) -> None:
    held = taxonomy.held_out
    for name in held.behaviours:
        if name not in taxonomy.behaviours:
            _unknown_held_out("behaviours", name, path)
    for axis, values in held.axes.items():
        known = taxonomy.axes.get(axis, ())
        for value in values:
            if value not in known:
                _unknown_held_out(f"axes.{axis}", value, path)
        if known and set(values) >= set(known):
            raise UserError(
                "every value is held out", file=path, field=f"axes.{axis}", remedy="Keep one."
            )
    if set(held.behaviours) >= set(taxonomy.behaviours):
        raise UserError("every behaviour is held out", file=path, remedy="Keep one to plan.")


def _unknown_held_out(field: str, name: str, path: Path) -> None:
    raise UserError(
        f"{name!r} is held out, but is not in the taxonomy",
        file=path,
        field=f"held_out.{field}",
        remedy="Correct the name: a misspelt hold-out would leak into training.",
    )


def _check_style(style: Style, path: Path) -> None:
    for stance, example in style.examples.items():
        if list(example.fields) != list(style.fields):
            raise UserError(
                f"has the fields {', '.join(example.fields)}",
                file=path,
                field=f"examples.{stance.value}.fields",
                remedy=f"Give it exactly {', '.join(style.fields)}, in this order.",
            )
    if "document" in style.fields:
        raise UserError("'document' names the body", file=path, field="fields", remedy="Rename it.")
