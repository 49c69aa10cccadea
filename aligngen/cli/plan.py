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
    Seed,
    Set,
    Shard,
    StanceOption,
    Styles,
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
    from aligngen.generator.content import load_styles, load_taxonomy
    from aligngen.generator.plan import make_plan

    config = configure(
        config_file,
        assignments,
        stance=stance,
        n=n,
        seed=seed,
        taxonomy=taxonomy,
        behaviours=behaviours,
        styles=styles,
        shard=parse_shard(shard),
    )
    made = make_plan(
        load_taxonomy(config.taxonomy),
        load_styles(config.styles_dir),
        config.stance,
        config.seed,
        behaviours=config.behaviours,
        only_styles=config.styles,
    )
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
    row = slot._asdict() | {"axes": dict(zip(made.axes, slot.axes, strict=True))}
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

    styles = list(dict.fromkeys(style for _, _, style in quotas))
    totals: Counter[tuple[str, str]] = Counter()
    for (_, behaviour, style), count in quotas.items():
        totals[behaviour, style] += count
    table = Table(title="documents by behaviour and style, all stances", title_justify="left")
    table.add_column("behaviour")
    for style in styles:
        table.add_column(style, justify="right")
    for behaviour in dict.fromkeys(b for b, _ in totals):
        table.add_row(behaviour, *(f"{totals[behaviour, style]:,}" for style in styles))
    console = Console(highlight=False)
    console.print(table)
    counts = quotas.values()
    console.print(
        f"{len(slots):,} documents over {len(quotas):,} cells "
        f"({min(counts):,} to {max(counts):,} each), {made.scenarios:,} distinct scenarios"
    )
