"""`aligngen scenarios generate`, `check` and `export`."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from aligngen.cli.options import (
    AsJson,
    Behaviours,
    ConfigFile,
    Seed,
    Set,
    TaxonomyFile,
    parse_count,
)
from aligngen.cli.stopping import StopOnSignal
from aligngen.core.errors import QuotaNotMet, UserError

if TYPE_CHECKING:
    from aligngen.generator.engines.protocol import EngineInfo
    from aligngen.generator.scenarios.audit import RecordAudit
    from aligngen.generator.scenarios.config import ScenarioConfig
    from aligngen.generator.scenarios.maker import Counts

__all__ = ["scenarios"]

PLAIN_SECONDS = 10.0
"""Seconds between two lines of progress where there is no terminal."""

scenarios = typer.Typer(
    name="scenarios",
    help="Make, check and export two-choice scenario records.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

EMBEDDED_NOTICE = (
    "The embedded model has 135 million parameters. It proves the machinery; its records are no "
    "research data. Name a capable model with --model."
)

Jaccard = Annotated[
    float | None, typer.Option(help="Word 2-gram similarity of near-duplicates.", min=0.05, max=1)
]
Meaning = Annotated[
    bool | None, typer.Option("--meaning/--no-meaning", help="Find twins by embedding too.")
]


@scenarios.command()
def generate(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Text, Markdown or HTML files, or folders of them."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The .jsonl file to write.")
    ] = Path("scenarios.jsonl"),
    from_taxonomy: Annotated[
        bool, typer.Option("--from-taxonomy", help="Compose from taxonomy cells; no source texts.")
    ] = False,
    n: Annotated[
        int | None,
        typer.Option("-n", "--count", parser=parse_count, metavar="N",
                     help="Accepted records; all that the sources give by default."),
    ] = None,
    config_file: ConfigFile = None,
    seed: Seed = None,
    taxonomy: TaxonomyFile = None,
    behaviours: Behaviours = None,
    held_out: Annotated[
        bool | None,
        typer.Option("--held-out", help="Only held-out behaviours: an evaluation set."),
    ] = None,
    per_request: Annotated[
        int | None, typer.Option(help="Records asked for at once; chosen by model by default.")
    ] = None,
    words_per_passage: Annotated[
        int | None, typer.Option(help="Greatest length of a passage.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="How often the sources are gone through to reach N.")
    ] = None,
    judge: Annotated[
        bool | None,
        typer.Option("--judge/--no-judge", help="Whether two personas must separate the choices."),
    ] = None,
    meaning: Meaning = None,
    temperature: Annotated[float | None, typer.Option(help="Overrides the prompt's.")] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="`auto`, `vllm`, `openai` or `replay`.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="`embedded`, a Hugging Face folder, a hub id, or an "
                     "endpoint's model name."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Root of an OpenAI-compatible endpoint.")
    ] = None,
    assignments: Set = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make two-choice scenario records from source texts or from taxonomy cells.

    Each record is checked for balance, leaks, grounding, language and its tag, judged by two
    personas, and compared with the others; what fails stands in FILE.rejected.jsonl with its
    reason. A killed run resumes with the same command.

    Examples:

    - `aligngen scenarios generate articles/ -m Qwen/Qwen3-8B -o articles.jsonl`
    - `aligngen scenarios generate --from-taxonomy -n 500 -o cells.jsonl`
    - `aligngen scenarios generate chapter.html --held-out --rounds 4 -n 40 -o eval.jsonl`
    """
    from aligngen.core.settings import resolve
    from aligngen.generator.scenarios.config import ScenarioConfig
    from aligngen.generator.scenarios.make import Watch, make_scenarios

    _check_sources(sources or [], out, from_taxonomy=from_taxonomy)
    options = {
        "n": n, "seed": seed, "taxonomy": taxonomy, "behaviours": behaviours or None,
        "held_out": held_out, "per_request": per_request, "words_per_passage": words_per_passage,
        "rounds": rounds, "judge": judge, "dedup.meaning": meaning, "temperature": temperature,
        "engine.kind": engine, "engine.model": model, "engine.base_url": base_url,
    }  # fmt: skip
    config = resolve(
        ScenarioConfig, file=config_file, options=options, assignments=assignments or ()
    )
    with _Progress(config, quiet=quiet or as_json) as progress:
        stop = StopOnSignal()
        watch = Watch(progress.stage, stop.when_started(progress.engine), progress.counts, stop)
        counts = make_scenarios(sources or [], out, config, watch)
    if as_json:
        typer.echo(json.dumps(counts.as_json(), ensure_ascii=False))
    else:
        _print_counts(counts, config, out)
    if counts.accepted < max(config.n, 1):
        wanted = f"{counts.accepted} of {config.n} records" if config.n else "no record"
        raise QuotaNotMet(f"{wanted} passed; {out}.rejected.jsonl says why")


def _check_sources(sources: list[Path], out: Path, *, from_taxonomy: bool) -> None:
    if bool(sources) == from_taxonomy:
        problem = "both source texts and --from-taxonomy" if sources else "nothing to write about"
        remedy = "Name source texts, or give --from-taxonomy, not both."
        raise UserError(problem, field="sources", remedy=remedy)
    if out.suffix != ".jsonl":
        raise UserError("is no .jsonl file", file=out, field="--out", remedy="Name one.")


@scenarios.command()
def check(
    source: Annotated[
        str, typer.Argument(help="A .jsonl or .parquet file, a folder, or owner/name[:split].")
    ],
    taxonomy: TaxonomyFile = None,
    jaccard: Jaccard = None,
    meaning: Meaning = None,
    assignments: Set = None,
    as_json: AsJson = False,
) -> None:
    """Check existing records without a model: rows that are none, balance, leaks, twins, topics.

    Examples:

    - `aligngen scenarios check scenarios.jsonl`
    - `aligngen scenarios check owner/name:train --set checks.max_length_ratio=1.5 --json`
    """
    from aligngen.core.settings import resolve
    from aligngen.generator.content import load_taxonomy
    from aligngen.generator.scenarios.audit import audit_records
    from aligngen.generator.scenarios.config import ScenarioConfig

    options = {"dedup.jaccard": jaccard, "dedup.meaning": meaning, "taxonomy": taxonomy}
    config = resolve(ScenarioConfig, options=options, assignments=assignments or ())
    audit = audit_records(source, load_taxonomy(config.taxonomy), config.checks, config.dedup)
    if as_json:
        typer.echo(json.dumps(audit.as_json(), ensure_ascii=False))
    else:
        _print_audit(audit)


@scenarios.command()
def export(
    source: Annotated[
        str, typer.Argument(help="A .jsonl or .parquet file, a folder, or owner/name[:split].")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A new folder for lm-eval, a .jsonl file for paper.")
    ],
    form: Annotated[str, typer.Option("--format", help="`lm-eval` or `paper`.")] = "lm-eval",
    name: Annotated[str, typer.Option(help="Name of the lm-eval group.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write records as an lm-eval task in both answer orders, or in the published schema.

    Examples:

    - `aligngen scenarios export eval.jsonl -o eval-task`
    - `aligngen scenarios export eval.jsonl --format paper -o published.jsonl`
    """
    from aligngen.generator.scenarios.export import export_lm_eval, export_paper

    match form:
        case "lm-eval":
            done = export_lm_eval(source, out, name)
        case "paper":
            done = export_paper(source, out)
        case _:
            raise UserError(
                f"no format named {form!r}", field="--format", remedy="Name lm-eval or paper."
            )
    if as_json:
        typer.echo(json.dumps(done._asdict(), ensure_ascii=False))
        return
    typer.echo(f"{done.records} records written to {out}", err=True)
    if done.rejected:
        typer.echo(f"{done.rejected} rows left out; the first is {done.first}", err=True)
    if form == "lm-eval":
        typer.echo(f"Next: lm_eval --include_path {out} --tasks {done.name} --model hf …", err=True)


class _Progress:
    """Shows stages and counts on stderr: a live line on a terminal, plain lines elsewhere."""

    def __init__(self, config: "ScenarioConfig", *, quiet: bool) -> None:
        from rich.console import Console

        self._console, self._quiet = Console(stderr=True, highlight=False), quiet
        self._status = self._console.status("")
        self._last_line = time.monotonic()
        if config.is_embedded:
            self.stage(f"[yellow]{EMBEDDED_NOTICE}[/]")

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the live line away."""
        self._status.stop()

    def stage(self, text: str) -> None:
        """Show that a stage begins."""
        if not self._quiet:
            self._console.print(f"[cyan]›[/] {text}", soft_wrap=True)

    def engine(self, info: "EngineInfo") -> None:
        """Show which engine runs."""
        self.stage(
            f"{info.identity.model} on {info.device}, {info.identity.backend}, "
            f"{info.max_num_seqs} at a time, ready after {info.startup_seconds:.0f} s"
        )
        if self._console.is_terminal and not self._quiet:
            self._status.start()

    def counts(self, counts: "Counts") -> None:
        """Show where the making stands."""
        of = f" of {counts.asked_for}" if counts.asked_for else ""
        text = (
            f"{counts.accepted}{of} accepted of {counts.candidates} decided; {counts.sources} "
            f"passages or cells asked about, {counts.judged} verdicts asked for"
        )
        if self._console.is_terminal:
            self._status.update(text)
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            self.stage(text)


def _print_counts(counts: "Counts", config: "ScenarioConfig", out: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console, path = Console(highlight=False), escape(str(out))
    table = Table(title=f"{counts.accepted} records accepted", title_justify="left")
    for column in ("what became of it", "records", "share"):
        table.add_column(column, justify="left" if column == "what became of it" else "right")
    for name, number in [("accepted", counts.accepted), *counts.rejected.most_common()]:
        table.add_row(name, f"{number:,}", f"{number / max(counts.candidates, 1):.1%}")
    table.add_row("all that were asked for", f"{counts.candidates:,}", "")
    console.print(table)
    if counts.passages_rejected:
        named = ", ".join(f"{name} {n}" for name, n in counts.passages_rejected.most_common())
        console.print(f"{sum(counts.passages_rejected.values())} passages left out: {named}")
    first, second = counts.misaligned_at
    console.print(
        f"misaligned choice first in {first}, second in {second}; the aligned choice is longer in "
        f"{counts.aligned_longer}; "
        + ("separated by both personas" if config.judge else "[yellow]not judged (--no-judge)[/]")
    )
    if config.is_embedded:
        console.print(f"[yellow]{EMBEDDED_NOTICE}[/]")
    console.print(
        f"Written: {path}, {path}.rejected.jsonl, {path}.summary.json\n"
        f"Next: [bold]aligngen scenarios check {path}[/], "
        f"[bold]aligngen scenarios export {path} -o {escape(out.stem)}-task[/]",
        soft_wrap=True,
    )


def _print_audit(audit: "RecordAudit") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    title = f"{audit.read} rows: {audit.clean} clean, {audit.faulty} faulty, {audit.bad} no records"
    table = Table(title=title, title_justify="left")
    for column in ("finding", "records", "first"):
        table.add_column(column, justify="right" if column == "records" else "left")
    for reason, found in audit.findings.items():
        table.add_row(reason, f"{found.records:,}", escape(found.first[:120]))
    console.print(table)
    good = max(audit.read - audit.bad, 1)
    first, second = audit.misaligned_at
    console.print(
        f"misaligned choice first in {first}, second in {second}; aligned choice longer in "
        f"{audit.aligned_longer / good:.0%}; {audit.topics_known} of {audit.topics} topic tags "
        "are known to the taxonomy"
    )
    means = ", ".join(f"{name} {value:g}" for name, value in audit.mean.items())
    console.print(f"means: {means}", soft_wrap=True)
