"""`aligngen styles`: the forms that documents take."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.cli.options import AsJson, TaxonomyFile
from aligngen.cli.tables import wide_console
from aligngen.cli.taxonomy import StyleFiles
from aligngen.core.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from aligngen.core.schema import Style, Taxonomy

__all__ = ["list_styles", "schema", "show", "styles_app"]

styles_app = typer.Typer(
    name="styles",
    help="List and show the styles that documents are written in.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@styles_app.command("list")
def list_styles(
    style_files: StyleFiles = None,
    taxonomy: TaxonomyFile = None,
    as_json: AsJson = False,
) -> None:
    """List the styles, and check your own against the taxonomy.

    Examples:

    - `aligngen styles list`
    - `aligngen styles list --styles my_style.yaml --taxonomy my_taxonomy.yaml`
    """
    styles, loaded = _load(style_files, taxonomy)
    held = loaded.held_out.styles
    if as_json:
        rows = [
            {
                "id": style.id,
                "name": style.name,
                "held_out": style.id in held,
                "fields": list(style.fields),
                "words": {k.value: [b.min, b.max] for k, b in style.words.items()},
                "factors": {k: list(v) for k, v in style.factors.items()},
                "over": style.over,
                "stances": [stance.value for stance in style.examples],
            }
            for style in styles.values()
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    from rich.table import Table

    table = Table("style", "form", "header fields", "words", "held out")
    table.columns[0].no_wrap = True
    for style in styles.values():
        words = ", ".join(f"{k.value} {b.min}–{b.max}" for k, b in style.words.items())
        out = "held out" if style.id in held else ""
        table.add_row(style.id, style.name, ", ".join(style.fields), words, out)
    wide_console().print(table)


@styles_app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="A style.", metavar="ID")] = None,
    style_files: StyleFiles = None,
    taxonomy: TaxonomyFile = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown: of every style, or of ID.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one style, or all of them as Markdown.

    Examples:

    - `aligngen styles show news_article`
    - `aligngen styles show news_article --json`
    - `aligngen styles show --markdown > styles.md`
    """
    from aligngen.generator.taxonomy.markdown import style_markdown, styles_markdown

    styles, loaded = _load(style_files, taxonomy)
    if name is not None and name not in styles:
        from aligngen.generator.taxonomy.check import suggest

        raise UserError(f"no style named {name!r}", field="ID", remedy=suggest(name, styles))
    if as_json:
        dumped = {k: s.model_dump(mode="json", by_alias=True) for k, s in styles.items()}
        typer.echo(json.dumps(dumped[name] if name else dumped, ensure_ascii=False, indent=2))
        return
    text = style_markdown(styles[name], loaded) if name else styles_markdown(styles, loaded)
    if markdown or name is None:
        sys.stdout.write(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(highlight=False).print(Markdown(text))


@styles_app.command()
def schema() -> None:
    """Print the JSON Schema of style files, for editors.

    Put it beside your file and begin the file with
    `# yaml-language-server: $schema=style.schema.json`.

    Examples:

    - `aligngen styles schema > style.schema.json`
    """
    from aligngen.generator.taxonomy.json_schema import style_schema

    typer.echo(json.dumps(style_schema(), ensure_ascii=False, indent=2))


def _load(
    style_files: "Path | None", taxonomy: "Path | None"
) -> "tuple[dict[str, Style], Taxonomy]":
    from aligngen.generator.content import check_styles_against, load_styles, load_taxonomy

    loaded, styles = load_taxonomy(taxonomy), load_styles(style_files)
    check_styles_against(loaded, styles, taxonomy_path=taxonomy, styles_path=style_files)
    return styles, loaded
