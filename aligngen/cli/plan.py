"""`aligngen plan`."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.cli.options import (
    AsJson,
    Behaviours,
    ConfigFile,
    Count,
    Factor,
    LengthBand,
    Model,
    Passages,
    Recipe,
    Records,
    Seed,
    Set,
    Shard,
    StanceOption,
    Styles,
    StylesPath,
    TaxonomyFile,
    configure,
    parse_shard,
)

if TYPE_CHECKING:
    from aligngen.core.schema import Slot
    from aligngen.generator.plan import Plan

__all__ = ["plan"]


def plan(
    config_file: ConfigFile = None,
    stance: StanceOption = None,
    n: Count = None,
    seed: Seed = None,
    taxonomy: TaxonomyFile = None,
    behaviours: Behaviours = None,
    styles: Styles = None,
    styles_dir: StylesPath = None,
    records: Records = None,
    length: LengthBand = None,
    factor: Factor = None,
    passages: Passages = None,
    recipe: Recipe = None,
    model: Model = None,
    shard: Shard = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the slots here as JSON lines; - is stdout."),
    ] = None,
    assignments: Set = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would cover, or write its slots; no model is needed.

    Examples:

    - `aligngen plan -n 15m`
    - `aligngen plan --stance paired -n 1000 -o - | head -2`
    - `aligngen plan -n 10m --shard 0/64 --json`
    """
    from aligngen.generator.engines.identity import identify
    from aligngen.generator.epoch import choose_recipe, load_content, plan_of

    config = configure(
        config_file,
        assignments,
        stance=stance,
        n=n,
        seed=seed,
        taxonomy=taxonomy,
        behaviours=behaviours,
        styles=styles,
        styles_dir=styles_dir,
        records=records,
        length=length,
        factor=factor,
        passages=passages,
        recipe=recipe,
        model=model,
        shard=parse_shard(shard),
    )
    content, report = load_content(config, choose_recipe(config, identify(config.engine)))
    made = plan_of(config, content)
    if report is not None:
        typer.echo(f"records: {report}", err=True)
    slots = made.shard(config.n, *config.shard)
    if out is not None:
        _write_slots(made, slots, out)
    else:
        _print_coverage(made, slots, as_json=as_json)


def _write_slots(made: "Plan", slots: range, out: Path) -> None:
    from aligngen.core.storage import replace_file

    if str(out) == "-":
        for slot in made.slots(slots):
            sys.stdout.write(_line(slot, made))
        return
    with replace_file(out) as aside, aside.open("w", encoding="utf-8") as file:
        for slot in made.slots(slots):
            file.write(_line(slot, made))
    typer.echo(f"{len(slots):,} slots in {out}", err=True)


def _line(slot: "Slot", made: "Plan") -> str:
    row = slot._asdict() | {
        "axes": dict(zip(made.axes, slot.axes, strict=True)),
        "factors": dict(zip(made.factors, slot.factors, strict=True)),
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def _print_coverage(made: "Plan", slots: range, *, as_json: bool) -> None:
    quotas = made.quotas(slots)
    if as_json:
        rows = [
            {"stance": stance, "behaviour": behaviour, "style": style, "documents": count}
            for (stance, behaviour, style), count in quotas.items()
        ]
        typer.echo(
            json.dumps({"documents": len(slots), "scenarios": made.scenarios, "cells": rows})
        )
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for what, position in (("behaviour", 1), ("style", 2)):
        totals: Counter[str] = Counter()
        cells: dict[str, list[int]] = {}
        for key, count in quotas.items():
            totals[str(key[position])] += count
            cells.setdefault(str(key[position]), []).append(count)
        table = Table(title=f"documents by {what}, all stances", title_justify="left")
        table.add_column(what)
        for name in ("documents", "cells", "least", "most"):
            table.add_column(name, justify="right")
        for name, total in totals.items():
            of = cells[name]
            table.add_row(name, *(f"{x:,}" for x in (total, len(of), min(of), max(of))))
        console.print(table)
    _print_levels(made)
    counts = quotas.values()
    console.print(
        f"{len(slots):,} documents over {len(quotas):,} cells "
        f"({min(counts):,} to {max(counts):,} each), {made.scenarios:,} distinct scenarios"
    )


def _print_levels(made: "Plan") -> None:
    """Print which levels of each factor are planned, and in how many styles."""
    from rich.console import Console
    from rich.table import Table

    styles: dict[str, Counter[str]] = {}
    for levels in made.levels.values():
        for factor, names in levels.items():
            styles.setdefault(factor, Counter()).update(names)
    table = Table(title="levels of each factor, and how many styles carry them")
    table.title_justify = "left"
    table.add_column("factor")
    table.add_column("levels")
    for factor, counts in styles.items():
        table.add_row(factor, ", ".join(f"{name} {count}" for name, count in counts.items()))
    Console(highlight=False).print(table)
