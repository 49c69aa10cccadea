"""`aligngen dedup`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["dedup_command"]


def dedup_command(
    path: Annotated[Path, typer.Argument(help="A .jsonl or .parquet corpus.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for what comes out.")],
    text_column: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    group_by: Annotated[
        str, typer.Option(help="Compare only documents that agree in this column, as `stance`.")
    ] = "",
    cell_by: Annotated[
        str, typer.Option(help="Calibrate one meaning threshold per value of this column.")
    ] = "",
    id_column: Annotated[
        str, typer.Option(help="Column that names documents; the row number, from 0, by default.")
    ] = "",
    jaccard: Annotated[
        float, typer.Option(help="Word 2-gram similarity of near-duplicates.", min=0.05, max=1)
    ] = 0.4,
    cosine: Annotated[
        float | None, typer.Option(help="A fixed meaning threshold, in place of calibrated ones.")
    ] = None,
    false_positive_rate: Annotated[
        float, typer.Option(help="Share of distinct documents that calibration may flag.")
    ] = 0.01,
    meaning: Annotated[
        bool, typer.Option(help="Compare by embedding too; without it, a hundred times faster.")
    ] = True,
    workers: Annotated[
        int, typer.Option(help="Processes that embed; the result is the same.", min=1)
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report on stdout.")] = False,
) -> None:
    """Drop documents that repeat an earlier one: exactly, in words, or in meaning.

    Writes `kept` (the input's format and columns), `dropped.jsonl` (twin, score and reason of each)
    and `report.json` into a new folder. The earliest document of twins is kept.

    Examples:

    - `aligngen dedup corpus.jsonl -o clean`
    - `aligngen dedup corpus.parquet -o clean --text-column content --group-by stance`
    - `aligngen dedup web.jsonl -o clean --no-meaning --jaccard 0.3 --json`
    """
    from pydantic import ValidationError

    from aligngen.core.config import DedupConfig
    from aligngen.core.errors import UserError
    from aligngen.generator.dedup.file import Columns, dedup_file

    try:
        config = DedupConfig(
            jaccard=jaccard,
            cosine=cosine,
            false_positive_rate=false_positive_rate,
            meaning=meaning,
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise UserError(f"{first['msg']}, got {first['input']}", field=option) from None
    columns = Columns(text_column, group_by, cell_by, id_column)
    report = dedup_file(path, out, config, columns, workers=workers)
    if as_json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        _show(report, out)


def _show(report: Mapping[str, object], out: Path) -> None:
    from rich.console import Console

    dropped = report["dropped"]
    assert isinstance(dropped, Mapping)
    reasons = ", ".join(f"{n:,} {name}" for name, n in dropped.items()) or "none"
    Console(stderr=True).print(
        f"{report['documents']:,} documents: {report['kept']:,} kept; dropped: {reasons}\n"
        f"Written: {out}/ (kept, dropped.jsonl, report.json)",
        highlight=False,
        soft_wrap=True,
    )
