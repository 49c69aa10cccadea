"""`aligngen show`: documents for reading."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.cli.options import AsJson

if TYPE_CHECKING:
    from aligngen.generator.output import Document

__all__ = ["print_document", "show"]


def show(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    n: Annotated[int, typer.Option("-n", "--count", help="How many.", min=1)] = 5,
    skip: Annotated[int, typer.Option(help="Documents to pass over first.", min=0)] = 0,
    stance: Annotated[str | None, typer.Option(help="Only this stance.")] = None,
    style: Annotated[str | None, typer.Option(help="Only this style.")] = None,
    behaviour: Annotated[str | None, typer.Option(help="Only this behaviour.")] = None,
    dropped: Annotated[
        str | None, typer.Option(help="Show attempts dropped for this reason instead, or `any`.")
    ] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Print the prompts too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print documents of a run readably, or what was dropped and why.

    Examples:

    - `aligngen show runs/aligned-seed0 -n 3`
    - `aligngen show runs/aligned-seed0 --style news_article --prompts`
    - `aligngen show runs/aligned-seed0 --dropped prompt_leak`
    """
    from aligngen.generator.epoch import read_epochs
    from aligngen.generator.ledger import Ledger
    from aligngen.generator.output import iter_documents

    with Ledger.read(run / "ledger.sqlite") as ledger:
        if dropped is not None:
            _show_dropped(ledger, dropped, n, skip, as_json=as_json)
            return
        chosen: Iterator[Document] = (
            d
            for d in iter_documents(ledger, read_epochs(ledger))
            if stance in (None, d.stance)
            and style in (None, d.doc_type)
            and behaviour in (None, d.behaviour)
        )
        for document in islice(chosen, skip, skip + n):
            if as_json:
                typer.echo(json.dumps(document._asdict(), ensure_ascii=False))
            else:
                print_document(document, prompts=prompts)


def _show_dropped(ledger, reason: str, n: int, skip: int, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    from aligngen.core.errors import UserError
    from aligngen.core.schema import Outcome

    names = [o.value for o in Outcome if o not in (Outcome.KEPT, Outcome.CANDIDATE, Outcome.STEP)]
    if reason not in (*names, "any"):
        raise UserError(
            f"no reason {reason!r}", field="--dropped", remedy=f"Name any, {', '.join(names)}."
        )
    wanted = (a for a in ledger.attempts() if a.outcome.value in names)
    chosen = (a for a in wanted if reason in ("any", a.outcome.value))
    for a in islice(chosen, skip, skip + n):
        text = ledger.text(a.slot, a.number, a.step)
        twin = f", twin: slot {a.twin}" if a.twin is not None else ""
        if as_json:
            typer.echo(json.dumps({**a._asdict(), "text": text}, ensure_ascii=False))
        else:
            _rule(f"slot {a.slot} try {a.number}: {a.outcome.value} ({a.detail}{twin})")
            typer.echo(text + "\n")


def print_document(document: "Document", *, prompts: bool = False) -> None:
    """Print one document with where it comes from."""
    d = document
    _rule(f"{d.custom_id} · {d.stance} · {d.behaviour} · {d.doc_type}")
    if prompts:
        for name, text in d.steps:
            typer.echo(f"[{name}]\n{text}\n")
        typer.echo(f"[system]\n{d.system_prompt}\n\n[user]\n{d.user_prompt}\n\n[document]")
    typer.echo(d.text + "\n")


def _rule(title: str) -> None:
    from rich.console import Console

    Console(highlight=False).rule(title, align="left")
