"""`aligngen status`."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.cli.options import AsJson

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aligngen.generator.status import RunStatus

__all__ = ["status"]


def status(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    cells: Annotated[bool, typer.Option("--cells", help="One line per cell.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until the run ends.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between refreshes.", min=0.2)] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Show accepted against target, every drop by reason, and rates; also while a run works.

    Examples:

    - `aligngen status runs/aligned-seed0`
    - `aligngen status runs/aligned-seed0 --watch`
    - `aligngen status runs/aligned-seed0 --json | jq .outcomes`
    """
    from rich.console import Console
    from rich.live import Live

    from aligngen.generator.status import read_status

    current = read_status(run)
    if as_json:
        typer.echo(json.dumps(current.as_json(), ensure_ascii=False))
        while watch and current.state == "running":
            time.sleep(interval)
            current = read_status(run)
            typer.echo(json.dumps(current.as_json(), ensure_ascii=False))
    elif watch:
        with Live(_view(current, cells=cells), auto_refresh=False) as live:
            while current.state == "running":
                time.sleep(interval)
                current = read_status(run)
                live.update(_view(current, cells=cells), refresh=True)
    else:
        Console(highlight=False).print(_view(current, cells=cells))


def _view(s: "RunStatus", *, cells: bool) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from aligngen.cli.progress import duration

    head = f"{s.folder}: {s.state}; {s.kept}/{s.target} documents"
    if s.short:
        head += f", {s.short} given up"
    rates = (
        f"{s.attempts} attempts in {s.sessions} sessions, {duration(s.seconds)}; "
        f"{s.tokens_per_second:,.0f} tokens/s, {s.accepted_tokens_per_second:,.0f} accepted/s"
    )
    if s.eta_seconds is not None:
        rates += f"; about {duration(s.eta_seconds)} left"
    rows = _rows(s, by_cell=cells)
    reasons = [r for r in s.outcomes if r not in ("kept", "candidate", "step")]
    table = Table(title_justify="left")
    table.add_column("cell")
    for name in ("kept", "target", *reasons):
        table.add_column(name, justify="right")
    for name, (target, outcomes) in rows.items():
        table.add_row(
            name, str(outcomes["kept"]), str(target), *(str(outcomes[r] or "") for r in reasons)
        )
    return Group(Text(head, style="bold"), Text(rates), table)


def _rows(s: "RunStatus", *, by_cell: bool) -> dict[str, tuple[int, Counter[str]]]:
    """Return target and outcomes by stance and style, or by full cell."""
    rows: dict[str, tuple[int, Counter[str]]] = {}
    for cell in s.cells:
        name = f"{cell.stance} / {cell.style}" + (f" / {cell.behaviour}" if by_cell else "")
        target, outcomes = rows.get(name, (0, Counter[str]()))
        rows[name] = (target + cell.target, outcomes + cell.outcomes)
    if by_cell:
        rows = {n: r for n, r in rows.items() if r[0] or r[1]}
    return rows
