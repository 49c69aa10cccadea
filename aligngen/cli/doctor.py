"""`aligngen doctor`."""

import json
from dataclasses import asdict

import typer

from aligngen.cli.options import AsJson

__all__ = ["doctor"]

MARKS = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, which engine would be chosen and why, and what is missing.

    Ends with 1 where something that generation needs is missing.
    """
    from rich.console import Console

    from aligngen.generator.doctor import diagnose

    checks = diagnose()
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], ensure_ascii=False))
    else:
        console = Console(highlight=False)
        for check in checks:
            console.print(f"{MARKS[check.verdict]} [bold]{check.name}[/]: {check.detail}")
            if check.remedy and check.verdict != "ok":
                console.print(f"       [dim]{check.remedy}[/]")
    if any(check.verdict == "fail" for check in checks):
        raise typer.Exit(1)
