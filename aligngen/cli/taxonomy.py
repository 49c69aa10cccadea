"""`aligngen taxonomy`: what the scenarios are made of, checked, shown and measured."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.cli.options import AsJson, Styles, TaxonomyFile
from aligngen.cli.tables import wide_console
from aligngen.core.errors import UserError

if TYPE_CHECKING:
    from aligngen.core.schema import Taxonomy
    from aligngen.core.yaml_file import Sourced
    from aligngen.generator.taxonomy.coverage import Coverage, RecordCoverage
    from aligngen.generator.taxonomy.lint import Finding

__all__ = [
    "StyleFiles",
    "coverage",
    "lint_command",
    "schema",
    "show",
    "taxonomy_app",
]

taxonomy_app = typer.Typer(
    name="taxonomy",
    help="Check, show and measure a taxonomy of AI behaviours.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

StyleFiles = Annotated[
    Path | None,
    typer.Option(
        "--styles", help="A style file or a folder of them, added to the packaged styles."
    ),
]
MOST_UNMAPPED = 20
"""Unmapped tags that are printed; `--json` has all of them."""


@taxonomy_app.command("lint")
def lint_command(
    file: Annotated[
        Path | None, typer.Argument(help="Taxonomy file; the packaged core by default.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Name what is wrong or weak in a taxonomy, each with its file and line.

    Ends with 1 where there are errors, or warnings under `--strict`.

    Examples:

    - `aligngen taxonomy lint my_taxonomy.yaml`
    - `aligngen taxonomy lint --strict`
    - `aligngen taxonomy lint my_taxonomy.yaml --json | jq '.findings[].code'`
    """
    from aligngen.generator.slop import load_bans
    from aligngen.generator.taxonomy.lint import lint
    from aligngen.generator.taxonomy.read import read_taxonomy

    try:
        read = read_taxonomy(file)
        rows = [_row(found, read.data) for found in lint(read.taxonomy, load_bans())]
    except UserError as error:
        if not as_json:
            raise
        rows = [_unreadable(error)]
    errors = sum(row["level"] == "error" for row in rows)
    if as_json:
        typer.echo(json.dumps({"errors": errors, "findings": rows}, ensure_ascii=False, indent=2))
    else:
        for row in rows:
            place = f"{row['file']}:{row['line']}: " if row["file"] else ""
            typer.echo(f"{place}{row['level']}: {row['code']}: {row['field']}: {row['message']}")
        typer.echo(f"{errors} errors, {len(rows) - errors} warnings", err=True)
    if errors or (strict and rows):
        raise typer.Exit(1)


def _row(found: "Finding", data: "Sourced") -> dict[str, str | int | None]:
    from aligngen.core.yaml_file import field_name, locate

    place = locate(data, found.loc)
    return {
        "level": found.level,
        "code": found.code,
        "file": str(place.file) if place.file else None,
        "line": place.line,
        "field": field_name(data, found.loc),
        "message": found.message,
    }


def _unreadable(error: UserError) -> dict[str, str | int | None]:
    return {
        "level": "error",
        "code": "unreadable",
        "file": str(error.file) if error.file else None,
        "line": error.line,
        "field": error.field,
        "message": str(error),
    }


@taxonomy_app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="A behaviour, domain, axis, factor or rule.", metavar="ID")
    ] = None,
    taxonomy: TaxonomyFile = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown: all of it, or of ID.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in a taxonomy, or one part of it in full.

    Examples:

    - `aligngen taxonomy show`
    - `aligngen taxonomy show honesty.direct_lie`
    - `aligngen taxonomy show --markdown > taxonomy.md`
    """
    from aligngen.generator.content import load_taxonomy
    from aligngen.generator.taxonomy.markdown import find_markdown, taxonomy_markdown

    loaded = load_taxonomy(taxonomy)
    text = find_markdown(loaded, name) if name else taxonomy_markdown(loaded)
    if name and not text:
        _refuse_unknown(loaded, name)
    if as_json:
        typer.echo(json.dumps(_as_json(loaded, name), ensure_ascii=False, indent=2))
    elif markdown:
        sys.stdout.write(text)
    elif name:
        from rich.console import Console
        from rich.markdown import Markdown

        Console(highlight=False).print(Markdown(text))
    else:
        _print_tree(loaded)


def _refuse_unknown(loaded: "Taxonomy", name: str) -> None:
    from aligngen.generator.taxonomy.check import suggest

    known = [d.id for d in loaded.domains]
    known += [*loaded.behaviours, *loaded.axes, *loaded.factors, *(r.id for r in loaded.rules)]
    raise UserError(f"the taxonomy has no {name!r}", field="ID", remedy=suggest(name, known))


def _as_json(loaded: "Taxonomy", name: str | None) -> object:
    whole = loaded.model_dump(mode="json")
    if name is None:
        return whole
    found = {d["id"]: d for d in whole["domains"]} | {r["id"]: r for r in whole["rules"]}
    found |= {b["id"]: b for d in whole["domains"] for b in d["behaviours"]}
    return (found | whole["axes"] | whole["factors"])[name]


def _print_tree(loaded: "Taxonomy") -> None:
    from rich.tree import Tree

    held = loaded.held_out
    tree = Tree(
        f"{loaded.name} {loaded.version}: {len(loaded.domains)} domains,"
        f" {len(loaded.behaviours)} behaviours, {len(held.behaviours)} of them held out"
    )
    for domain in loaded.domains:
        branch = tree.add(f"{domain.id}: {domain.name} ({len(domain.behaviours)})")
        for behaviour in domain.behaviours:
            mark = " · held out" if behaviour.id in held.behaviours else ""
            count = len(behaviour.situations)
            branch.add(f"{behaviour.id}: {behaviour.name} ({count} situations){mark}")
    branch = tree.add(f"axes ({len(loaded.axes)})")
    for name, axis in loaded.axes.items():
        mark = f" · {len(out)} held out" if (out := held.axes.get(name)) else ""
        branch.add(f"{name}: {axis.description} ({len(axis.values)} values){mark}")
    branch = tree.add(f"factors ({len(loaded.factors)})")
    for name, factor in loaded.factors.items():
        branch.add(f"{name}: {factor.description} ({len(factor.values)} levels)")
    tree.add(f"rules ({len(loaded.rules)})")
    wide_console().print(tree)


@taxonomy_app.command()
def coverage(
    taxonomy: TaxonomyFile = None,
    styles: Styles = None,
    style_files: StyleFiles = None,
    records: Annotated[
        str | None,
        typer.Option(
            help="Scenario records: how their topic tags map. JSONL, Parquet or a hub dataset id."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count what a plan can make of a taxonomy, or how the tags of scenario records map onto it.

    Examples:

    - `aligngen taxonomy coverage`
    - `aligngen taxonomy coverage --taxonomy my_taxonomy.yaml --style news_article`
    - `aligngen taxonomy coverage --records scenarios.jsonl --json`
    """
    from aligngen.generator.content import check_styles_against, load_styles, load_taxonomy
    from aligngen.generator.taxonomy.coverage import measure_coverage, measure_records

    loaded = load_taxonomy(taxonomy)
    if records is not None:
        found = measure_records(loaded, records)
        if as_json:
            typer.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=2))
        else:
            _print_records(loaded, found)
        return
    forms = load_styles(style_files)
    check_styles_against(loaded, forms, taxonomy_path=taxonomy, styles_path=style_files)
    cover = measure_coverage(loaded, forms, styles or ())
    if as_json:
        typer.echo(json.dumps(cover.as_json(), ensure_ascii=False, indent=2))
    else:
        _print_coverage(cover)


def _print_coverage(cover: "Coverage") -> None:
    from rich.table import Table

    console = wide_console()
    table = Table("behaviour", "situations", "combinations", "scenarios", "held out")
    table.columns[0].no_wrap = True
    for column in table.columns[1:4]:
        column.justify = "right"
    for b in cover.behaviours:
        out = "held out" if b.held_out else ""
        table.add_row(b.id, str(b.situations), f"{b.combinations:,}", f"{b.scenarios:,}", out)
    console.print(table)
    table = Table("axis", "usable", "held out", "values")
    table.columns[0].no_wrap = True
    for name, values in cover.axes.items():
        held = ", ".join(cover.held_out_values.get(name, ()))
        table.add_row(name, str(len(values)), held, ", ".join(values))
    console.print(table)
    table = Table("style", "ways of telling")
    for name, count in cover.tellings.items():
        table.add_row(name, f"{count:,}")
    for name in cover.held_out_styles:
        table.add_row(name, "held out")
    console.print(table)
    most = cover.all_combinations
    left = [b.combinations for b in cover.planned]
    console.print(
        f"{len(cover.planned)} behaviours x {len(cover.styles)} styles = {cover.cells:,} cells;"
        f" rules leave {min(left, default=0) / most:.0%} to {max(left, default=0) / most:.0%} of"
        f" {most:,} combinations; {cover.scenarios:,} distinct scenarios"
    )


def _print_records(loaded: "Taxonomy", found: "RecordCoverage") -> None:
    from rich.table import Table

    console = wide_console()
    table = Table("domain", "behaviour", "records")
    table.columns[2].justify = "right"
    for domain in loaded.domains:
        for name in ("", *(b.id for b in domain.behaviours)):
            if count := found.places[domain.id, name]:
                table.add_row(domain.id, name or "(the domain)", f"{count:,}")
    table.add_row("", "(nothing)", f"{found.unplaced:,}")
    console.print(table)
    for tag, count in found.unmapped.most_common(MOST_UNMAPPED):
        console.print(f"unmapped: {count:,} x {tag}")
    if len(found.unmapped) > MOST_UNMAPPED:
        console.print(f"unmapped: {len(found.unmapped) - MOST_UNMAPPED:,} more tags, see --json")
    for reason, count in found.bad.items():
        console.print(f"no record: {count:,} rows, {reason}")
    if found.share is None:
        console.print(f"{found.records:,} records, no tags")
        return
    console.print(
        f"{found.records:,} records, {found.occurrences:,} tags: {found.share:.1%} map"
        f" ({found.to_behaviour:,} to a behaviour, {found.to_domain:,} to a domain)"
    )


@taxonomy_app.command()
def schema() -> None:
    """Print the JSON Schema of taxonomy files, for editors.

    Put it beside your file and begin the file with
    `# yaml-language-server: $schema=taxonomy.schema.json`.

    Examples:

    - `aligngen taxonomy schema > taxonomy.schema.json`
    """
    from aligngen.generator.taxonomy.json_schema import taxonomy_schema

    typer.echo(json.dumps(taxonomy_schema(), ensure_ascii=False, indent=2))
