"""A taxonomy file, and the files that it extends → one taxonomy that knows its places."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from aligngen.core.schema import Identifier, Taxonomy
from aligngen.core.yaml_file import Sourced, read_yaml, validate
from aligngen.generator.taxonomy.check import check_taxonomy, fault
from aligngen.generator.taxonomy.extend import Removal, items_at, merge, take_out

__all__ = ["CORE", "ReadTaxonomy", "read_taxonomy"]

CORE = Path(str(resources.files("aligngen") / "taxonomies" / "core.yaml"))
"""The taxonomy that ships with the package."""


class ReadTaxonomy(NamedTuple):
    """A taxonomy and the places of all its parts."""

    taxonomy: Taxonomy
    data: Sourced
    """What was written, merged; `locate` finds the file and line of any part."""


class _Extension(BaseModel):
    """What an extension must say of itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    extends: str
    name: Identifier
    version: str
    remove: Removal = Removal()


def read_taxonomy(path: Path | None = None) -> ReadTaxonomy:
    """Read a taxonomy file, the packaged core taxonomy by default, with everything it extends.

    Raises UserError for the first fault, naming the file and line that hold it.
    """
    path = path or CORE
    data = _read(path, ())
    taxonomy = validate(data, Taxonomy, path)
    assert isinstance(data, Sourced)
    check_taxonomy(taxonomy, data)
    return ReadTaxonomy(taxonomy, data)


def _read(path: Path, chain: Sequence[Path]) -> object:
    data = read_yaml(path)
    if not isinstance(data, Sourced):
        return data
    _refuse_repeats(data)
    if "extends" not in data:
        return data
    head = validate(data, _Extension, path)
    base_path = _find_base(data, head.extends, path)
    here = [*chain, path.resolve()]
    if base_path.resolve() in here:
        way = " → ".join(p.name for p in [*here, base_path])
        raise fault(data, ("extends",), f"extends itself: {way}", "Break the circle.")
    base = _read(base_path, here)
    if not isinstance(base, Sourced):
        validate(base, Taxonomy, base_path)
        return base
    return merge(take_out(base, head.remove, data), data)


def _find_base(data: Sourced, name: str, path: Path) -> Path:
    if name.endswith((".yaml", ".yml")):
        found = path.parent / Path(name).expanduser()
        if found.is_file():
            return found
        raise fault(
            data,
            ("extends",),
            f"no file {name!r} beside {path.name}",
            "Write a path relative to it.",
        )
    packaged = {p.stem: p for p in sorted(CORE.parent.glob("*.yaml"))}
    if name not in packaged:
        raise fault(
            data,
            ("extends",),
            f"no packaged taxonomy {name!r}",
            f"Name {' or '.join(packaged)}, or a .yaml file.",
        )
    return packaged[name]


def _refuse_repeats(data: Sourced) -> None:
    """Refuse an id that stands twice in one file, where merging would hide it."""
    for what, path in (
        ("domain", ("domains",)),
        ("behaviour", ("domains", "behaviours")),
        ("rule", ("rules",)),
    ):
        seen: set[object] = set()
        for loc, item in items_at(data, *path):
            name = str(item.get("id"))
            if name in seen:
                raise fault(data, (*loc, "id"), f"{what} {name!r} stands twice", "Rename one.")
            if "id" in item:
                seen.add(name)
