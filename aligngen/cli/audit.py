"""`aligngen audit`."""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.cli.options import AsJson
from aligngen.cli.tables import wide_console
from aligngen.core.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from aligngen.core.schema import Taxonomy
    from aligngen.generator.audit import AuditReport, Comparison
    from aligngen.generator.audit.repetition import CellPatterns

__all__ = ["audit_command"]

_BY = {"cell": ("stance", "doc_type"), "style": ("doc_type",), "stance": ("stance",)}
_COLOUR = {"fail": "red", "warn": "yellow", "ok": "green", "unmeasured": "dim"}
_MOST_ROWS = 24


def audit_command(
    paths: Annotated[list[Path], typer.Argument(help="Run folders, .parquet or .jsonl files.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the whole report here, as JSON.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="What makes a cell: `cell` (stance and style), `style`, `stance`, or names of "
            "columns joined by commas, or `none`. `cell` by default, where there are such columns."
        ),
    ] = "",
    text_column: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    against: Annotated[
        Path | None,
        typer.Option(help="Compare diversity with this run or file instead, at equal count."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", help="Documents of each to compare, with --against.", min=4),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="Limits, as in prompts/audit.yaml.", dir_okay=False)
    ] = None,
    taxonomy: Annotated[
        Path | None,
        typer.Option(
            help="Taxonomy whose poles belong to the scenario; the run's own by default, the "
            "packaged core where no run is named."
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            help="Documents drawn for the probe, siblings and diversity; 4,000 by default.", min=2
        ),
    ] = None,
    embed: Annotated[
        int,
        typer.Option(
            help="Most documents to embed where the run stored no vectors; 0: none.", min=0
        ),
    ] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the sample.", min=0)] = 0,
    fail: Annotated[bool, typer.Option("--fail", help="End with 3 where a verdict fails.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find what is over-represented, what gives the stance away, and how varied the texts are.

    Openings, closings, names, 8-grams, headings, header values, sentence templates, structure and
    length, overall and per cell; a bag-of-words probe and the match of siblings; diversity.

    Examples:

    - `aligngen audit runs/aligned-seed0`
    - `aligngen audit corpus.jsonl --text-column content --by source -o audit.json`
    - `aligngen audit runs/plan --against runs/single-prompt -n 500`
    - `aligngen audit runs/aligned-seed0 --fail --json | jq .verdict`
    """
    from aligngen.generator.audit import audit, compare, open_source
    from aligngen.generator.audit.report import SAMPLE
    from aligngen.generator.audit.thresholds import load_thresholds

    of_audits = {
        "--by": by or None,
        "--thresholds": thresholds,
        "--taxonomy": taxonomy,
        "--sample": sample,
        "--fail": fail or None,
    }
    _refuse_mixtures(against, of_audits, {"--count": count})
    source = open_source(paths, text_column=text_column, by=_columns(by))
    if against is not None:
        other = open_source([against], text_column=text_column, by=())
        _write(compare(source, other, count, embedded=embed, seed=seed), out, as_json=as_json)
        return
    report = audit(
        source,
        thresholds=load_thresholds(thresholds),
        taxonomy=_taxonomy(taxonomy, source.runs),
        sample=SAMPLE if sample is None else sample,
        embedded=embed,
        seed=seed,
    )
    _write(report, out, as_json=as_json)
    if fail and report.verdict == "fail":
        raise typer.Exit(3)


def _columns(by: str) -> tuple[str, ...] | None:
    if not by:
        return None
    if by == "none":
        return ()
    names = tuple(name.strip() for name in by.split(","))
    if not all(names):
        raise UserError(
            "names no column between commas, got " + repr(by),
            field="--by",
            remedy="Write names of columns, as in --by stance,doc_type, or none.",
        )
    return _BY.get(by, names)


def _refuse_mixtures(
    against: Path | None, of_audits: Mapping[str, object], of_comparisons: Mapping[str, object]
) -> None:
    wrong = of_comparisons if against is None else of_audits
    for name, value in wrong.items():
        if value is not None:
            word = "without" if against is None else "with"
            raise UserError(f"{name} means nothing {word} --against", remedy="Leave it out.")


def _taxonomy(named: Path | None, runs: Sequence[Path]) -> "Taxonomy":
    """Return the taxonomy named, else that of the runs, else the packaged core."""
    from aligngen.generator.content import load_taxonomy
    from aligngen.generator.verify.job import read_subject

    if named is not None or not runs:
        return load_taxonomy(named)
    try:
        found = [read_subject(run).taxonomy for run in runs]
    except UserError as error:
        raise UserError(str(error), remedy="Or name the run's taxonomy with --taxonomy.") from None
    for run, other in zip(runs, found, strict=True):
        if other != found[0]:
            raise UserError(
                f"is of another taxonomy than {runs[0]}",
                file=run,
                remedy="Audit the runs one by one, or name one taxonomy with --taxonomy.",
            )
    return found[0]


def _write(result: "AuditReport | Comparison", out: Path | None, *, as_json: bool) -> None:
    from aligngen.core.storage import write_text
    from aligngen.generator.audit import Comparison

    text = json.dumps(result.as_json(), indent=2, ensure_ascii=False) + "\n"
    if out is not None:
        write_text(out, text)
    if as_json:
        sys.stdout.write(text)
        return
    console = wide_console(markup=True)
    if isinstance(result, Comparison):
        console.print(_ratios(result))
    else:
        _show(result, console, out)


def _show(report: "AuditReport", console: "Console", out: Path | None) -> None:
    for part in _parts(report):
        console.print(part)
    counts = report.verdicts()
    colour = _COLOUR[report.verdict]
    console.print(
        f"[{colour} bold]{report.verdict}[/]: {counts['fail']} fail, {counts['warn']} warn, "
        f"{counts['ok']} ok over {report.documents:,} documents, {len(report.cells)} cells; "
        f"sample of {report.sample:,}, seed {report.seed}" + _of_taxonomy(report)
    )
    console.print(_next(report, out), soft_wrap=True, markup=False)


def _of_taxonomy(report: "AuditReport") -> str:
    used = report.taxonomy
    return ", taxonomy " + " ".join(_plain(used.name, used.version)) if used else ""


def _parts(report: "AuditReport") -> "Iterator[RenderableType]":
    yield _patterns(report)
    if report.probes:
        yield _probes(report)
    if report.matches:
        yield _matches(report)
    if report.diversity:
        yield _diversity(report)
    if report.spread:
        yield _spread(report)
    if report.not_measured:
        table = _table("Not measured", "what", "why")
        for one in report.not_measured:
            table.add_row(*_plain(one.what, one.why))
        yield table


def _table(title: str, *columns: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name.endswith(("%", "#")) else "left")
    return table


def _plain(*texts: str) -> list[str]:
    from rich.markup import escape

    return [escape(text) for text in texts]


def _mark(verdict: str) -> str:
    return f"[{_COLOUR[verdict]}]{verdict}[/]"


def _patterns(report: "AuditReport") -> "Table":
    flagged = [p for p in report.patterns if p.verdict in ("fail", "warn")]
    fine = [p for p in report.patterns if p.verdict in ("ok", "unmeasured") and not p.cell]
    shown = flagged[:_MOST_ROWS] + fine
    title = "Patterns, worst first"
    if len(flagged) > _MOST_ROWS:
        title += f" ({len(flagged) - _MOST_ROWS} more flagged: see --json or -o)"
    columns = ("", "what", "cell", "pattern", "documents #", "share %", "others #", "for example")
    table = _table(title, *columns)
    for one in shown:
        table.add_row(_mark(one.verdict), *_pattern_row(one))
    return table


def _pattern_row(one: "CellPatterns") -> list[str]:
    from aligngen.generator.audit.patterns import KINDS

    place = _plain(KINDS[one.kind].what, one.cell or "(all)")
    if not one.findings:
        return [*place, "none twice", "", "", "", ""]
    top = one.findings[0]
    flagged = sum(f.verdict != "ok" for f in one.findings)
    text = top.pattern if len(top.pattern) <= 90 else top.pattern[:87] + "..."
    others = f"{flagged - 1} flagged" if flagged > 1 else ""
    share = f"{100 * top.share:.1f}"
    return [*place, *_plain(text), f"{top.documents:,}", share, others, *_plain(top.examples[0])]


def _probes(report: "AuditReport") -> "Table":
    columns = ("", "stances", "AUC #", "permuted #", "documents #", "gives it away")
    table = _table("Stance by words outside the scenario (0.5: not at all)", *columns)
    for one in sorted(report.probes, key=lambda p: -p.auc.value):
        words = [
            f"{stance}: " + ", ".join(f.feature for f in features[:6])
            for stance, features in one.features.items()
        ]
        table.add_row(
            _mark(one.verdict),
            " / ".join(_plain(*one.stances)),
            f"{one.auc.value:.3f} ({one.auc.low:.3f}–{one.auc.high:.3f})",
            f"{one.permuted.value:.3f}",
            f"{one.documents:,}" + ("" if one.siblings else ", no siblings"),
            "\n".join(_plain(*words)),
        )
    return table


def _matches(report: "AuditReport") -> "Table":
    columns = ("", "stances", "measure", "mean #", "95 % interval", "equal %", "pairs #")
    table = _table("Match of siblings (ratio 1, difference 0: alike)", *columns)
    for one in sorted(report.matches, key=lambda m: list(_COLOUR).index(m.verdict)):
        table.add_row(
            _mark(one.verdict),
            " / ".join(_plain(*one.stances)),
            one.measure.replace("_", " "),
            f"{one.value:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
            f"{100 * one.equal:.0f}",
            f"{one.pairs:,}",
        )
    return table


def _diversity(report: "AuditReport") -> "Table":
    table = _table("Diversity of the sample", "measure")
    for one in report.diversity:
        table.add_column(_plain(one.of or "all")[0], justify="right")
    rows: dict[str, list[str]] = {}
    for one in report.diversity:
        nearest = one.nearest.mean if one.nearest else None
        values: dict[str, float | None] = {
            "documents": one.documents,
            **{f"distinct-{n}": v for n, v in one.distinct.items()},
            "compression ratio": one.compression_ratio,
            "self-repetition (4-grams)": one.self_repetition,
            "vectors": one.vectors,
            "effective count (Vendi, centred)": one.vendi,
            "nearest neighbour's cosine, mean": nearest,
        }
        for name, value in values.items():
            rows.setdefault(name, []).append(_number(value, one.verdicts, name))
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _number(value: float | None, verdicts: Mapping[str, str], name: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    keys = {"compression ratio": "compression_ratio"}
    verdict = verdicts.get(keys.get(name, "nearest_cosine" if "nearest" in name else ""), "ok")
    text = f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    return text if verdict == "ok" else f"{text} {_mark(verdict)}"


def _spread(report: "AuditReport") -> "Table":
    filled, possible, share = report.coverage
    title = "Spread over axes"
    if possible > 1:
        title += f"; {filled:,} of {possible:,} stance × style × behaviour filled ({share:.0%})"
    table = _table(title, "axis", "values #", "entropy, bits #", "evenness #", "largest", "%")
    for one in sorted(report.spread, key=lambda s: s.evenness):
        table.add_row(
            *_plain(one.axis),
            f"{one.values:,}",
            f"{one.entropy_bits:.2f}",
            f"{one.evenness:.3f}",
            *_plain(one.largest[:60]),
            f"{100 * one.largest_share:.1f}",
        )
    return table


_REMEDIES = {
    "opening": "forbid the openings in the recipe or switch the memory of openings on",
    "closing": "say in the style how documents end",
    "name": "seed names from files and ban the frequent ones",
    "ngram_8": "look at the passage in the prompt or the worked example: it is being copied",
    "field": "ask for more specific header values",
    "heading": "leave headings to the style's structure",
    "template": "add worked examples of other sentence forms, or a critique step",
    "structure": "vary the length band and the structure of the style",
    "length": "vary the length band",
}


def _next(report: "AuditReport", out: Path | None) -> str:
    """Say what to do about the worst findings."""
    flagged = [p for p in report.patterns if p.verdict in ("fail", "warn")]
    advice = dict.fromkeys(
        remedy for p in flagged for kind, remedy in _REMEDIES.items() if p.kind.startswith(kind)
    )
    if any(p.verdict != "ok" for p in report.probes):
        advice["take the words that give the stance away out of the examples and poles"] = None
    if any(m.verdict != "ok" for m in report.matches):
        advice["give both stances the same length band and form"] = None
    if any(v != "ok" for d in report.diversity for v in d.verdicts.values()):
        advice["plan over more cells before raising the temperature"] = None
    lines = [f"- {line[0].upper()}{line[1:]}." for line in list(advice)[:5]]
    where = f"Every finding: {out}" if out else "Every finding: -o report.json"
    return "\n".join(["Next:", *lines, where] if lines else ["Nothing to mend.", where])


def _ratios(comparison: "Comparison") -> "Table":
    title = f"Diversity at {comparison.documents:,} documents each, {comparison.vectors:,} vectors"
    columns = ("measure", "first #", "second #", "first over second #", "95 % interval")
    table = _table(title, *columns)
    for one in comparison.ratios:
        table.add_row(
            one.measure.replace("_", "-" if "distinct" in one.measure else " "),
            f"{one.first:.4g}",
            f"{one.second:.4g}",
            f"{one.ratio:.3f}",
            "–" if math.isnan(one.low) else f"{one.low:.3f} to {one.high:.3f}",
        )
    return table
