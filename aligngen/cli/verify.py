"""`aligngen verify`."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.cli.options import AsJson, Set
from aligngen.cli.stopping import StopOnSignal
from aligngen.cli.tables import wide_console
from aligngen.core.errors import GuardTripped, UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from aligngen.core.hashing import Json
    from aligngen.generator.engines.protocol import EngineInfo
    from aligngen.generator.judge import Judge
    from aligngen.generator.verify.config import VerifyConfig
    from aligngen.generator.verify.judging import Observer

__all__ = ["verify"]

PROGRESS_SECONDS = 10.0
WORST = 12
"""Rows shown of a table that can be long; the report holds all of them."""

EMBEDDED_NOTICE = (
    "The embedded model has 135 million parameters and judges near chance. It proves the "
    "machinery; name a capable judge with --model."
)


def verify(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder; none with --calibrate.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="The judge: `embedded`, a Hugging Face folder, a hub "
            "id, an endpoint's model name, or a recording.",
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="`auto`, `vllm`, `openai` or `replay`.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Root of an OpenAI-compatible endpoint.")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="Judge prompt; the packaged one by default.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Judge this many, stratified by stance and style.", min=1)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sample.", min=0)] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Judge labelled documents instead of a run.")
    ] = False,
    labelled: Annotated[
        Path | None,
        typer.Option(help="With --calibrate: labelled JSONL; the packaged one by default."),
    ] = None,
    taxonomy: Annotated[
        Path | None,
        typer.Option(help="With --calibrate: the taxonomy of the labels; core by default."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="With --calibrate: write the report there.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="End with 3 where agreement is below this.", min=0, max=1)
    ] = None,
    assignments: Set = None,
    as_json: AsJson = False,
) -> None:
    """Ask a judge which stance each document of a run shows, and count where it agrees.

    The judge is not told which stance was asked for, and must quote its evidence. Writes
    RUN/verify/verdicts.parquet and report.json; the same command resumes. With --calibrate the
    judge reads documents whose stance is known: do this before you believe it.

    Examples:

    - `aligngen verify --calibrate -m Qwen/Qwen3-8B -o judge.json`
    - `aligngen verify runs/pairs -m Qwen/Qwen3-8B`
    - `aligngen verify runs/pairs --sample 500 --engine openai --base-url URL -m NAME`
    """
    from aligngen.core.settings import resolve
    from aligngen.generator.judge import load_judge
    from aligngen.generator.verify.config import VerifyConfig

    _refuse_mixtures(run, calibrate, [labelled, taxonomy, out], [sample, seed])
    options = {
        "engine.kind": engine, "engine.model": model, "engine.base_url": base_url,
        "sample": sample, "seed": seed,
    }  # fmt: skip
    config = resolve(VerifyConfig, options=options, assignments=assignments or ())
    prompt = load_judge(judge)
    observer = _observer(quiet=as_json)
    if run is None:
        report = _calibrate(config, prompt, labelled, taxonomy, observer)
        if out is not None:
            from aligngen.core.storage import write_text

            write_text(out, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        from aligngen.generator.verify.job import verify_run

        report = verify_run(run, config, prompt, observer)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
    else:
        _show(report)
        written = out if run is None else run / "verify"
        if written is not None:
            typer.echo(f"Written: {written}")
    _check_agreement(report, min_agreement)


def _refuse_mixtures(
    run: Path | None, calibrate: bool, of_calibration: Sequence[object], of_run: Sequence[object]
) -> None:
    if calibrate == (run is not None):
        raise UserError(
            "needs a run folder or --calibrate, and not both",
            field="RUN",
            remedy="Write `aligngen verify RUN`, or `aligngen verify --calibrate`.",
        )
    wrong = of_run if calibrate else of_calibration
    if any(value is not None for value in wrong):
        names = "--sample and --seed" if calibrate else "--labelled, --taxonomy and --out"
        raise UserError(
            f"{names} mean nothing {'with' if calibrate else 'without'} --calibrate",
            remedy="Leave them out.",
        )


def _calibrate(
    config: "VerifyConfig",
    judge: "Judge",
    labelled: Path | None,
    taxonomy: Path | None,
    observer: "Observer",
) -> dict[str, "Json"]:
    from aligngen.generator.content import load_taxonomy
    from aligngen.generator.verify.calibration import calibrate, load_labelled

    items = load_labelled(labelled)
    return calibrate(items, load_taxonomy(taxonomy), judge, config.engine, observer)


def _check_agreement(report: Mapping[str, "Json"], least: float | None) -> None:
    agreement = report["agreement"]
    assert isinstance(agreement, Mapping)
    rate = agreement["rate"]
    if least is not None and (not isinstance(rate, float) or rate < least):
        raise GuardTripped(f"the judge agrees in {_percent(rate)}, below {_percent(least)}")


def _observer(*, quiet: bool) -> "Observer":
    """Return what a person sees on stderr while the judge works: plain lines."""
    from aligngen.generator.verify.judging import Observer

    stop = StopOnSignal()
    if quiet:
        return Observer(engine=stop.when_started(lambda _: None), stop=stop)
    last = [time.monotonic()]

    def say(text: str) -> None:
        typer.echo(text, err=True)

    def engine(info: "EngineInfo") -> None:
        say(f"judge: {info.identity.model} on {info.device}, {info.identity.backend}")
        if info.identity.model.startswith("SmolLM2-135M"):
            say(EMBEDDED_NOTICE)

    def progress(done: int, of: int) -> None:
        if time.monotonic() - last[0] >= PROGRESS_SECONDS or done == of:
            last[0] = time.monotonic()
            say(f"{done}/{of} judged")

    return Observer(stage=say, engine=stop.when_started(engine), progress=progress, stop=stop)


def _show(report: Mapping[str, "Json"]) -> None:
    console = wide_console()
    for line in _summary(report):
        console.print(line, soft_wrap=True)
    console.print(_confusion_table(_mapping(report["confusion"])))
    if isinstance(report["by_stance"], Mapping):
        console.print(_class_table(report["by_stance"]))
    for name in ("stance", "style", "domain", "behaviour"):
        rows = report.get(f"by_{name}")
        if isinstance(rows, Sequence) and not isinstance(rows, str):
            _show_groups(console, name, rows)


def _summary(report: Mapping[str, "Json"]) -> Iterator[str]:
    """Yield what the whole report says, line by line."""
    judge, unanswered = _mapping(report["judge"]), _mapping(report["unanswered"])
    yield f"judge: {judge['model']}, {judge['revision']}, prompt {judge['prompt']}"
    kappa = "not defined" if report["kappa"] is None else report["kappa"]
    yield f"agreement: {_share(report['agreement'])}; kappa {kappa}"
    yield f"of those answered: {_share(report['agreement_of_answered'])}"
    for name in ("plain", "hard"):
        if name in report:
            yield f"{name} documents: {_share(report[name])}"
    reasons = ", ".join(f"{n} {name}" for name, n in _mapping(unanswered["reasons"]).items())
    yield f"unanswered: {unanswered['count']}" + (f" ({reasons})" if reasons else "")
    if report.get("cut"):
        yield f"seen without their middle, being too long: {report['cut']}"


def _show_groups(console: "Console", name: str, rows: Sequence["Json"]) -> None:
    from rich.table import Table

    table = Table(title=f"by {name}, the worst first", title_justify="left")
    table.add_column(name, overflow="fold")
    table.add_column("agreement", no_wrap=True)
    table.add_column("read as")
    for row in map(_mapping, rows[:WORST]):
        read: dict[str, int] = {}
        for counts in _mapping(row["confusion"]).values():
            for label, n in _mapping(counts).items():
                read[label] = read.get(label, 0) + int(str(n))
        table.add_row(
            str(row[name]), _share(row), ", ".join(f"{n} {label}" for label, n in read.items())
        )
    console.print(table)
    if len(rows) > WORST:
        console.print(f"and {len(rows) - WORST} more in the report")


def _confusion_table(confusion: Mapping[str, "Json"]) -> "Table":
    from rich.table import Table

    from aligngen.generator.verify.tally import READINGS

    table = Table(title="stance asked for (rows), and read (columns)", title_justify="left")
    table.add_column("stance")
    for read in READINGS:
        table.add_column(read, justify="right")
    for label, counts in confusion.items():
        table.add_row(label, *(str(_mapping(counts).get(read, 0)) for read in READINGS))
    return table


def _class_table(classes: Mapping[str, "Json"]) -> "Table":
    from rich.table import Table

    table = Table(title="by stance", title_justify="left")
    for column in ("stance", "recall", "precision"):
        table.add_column(column)
    for label, figures in classes.items():
        table.add_row(label, *(_share(_mapping(figures)[name]) for name in ("recall", "precision")))
    return table


def _share(share: "Json") -> str:
    """Return a share with its interval in words."""
    s = _mapping(share)
    if not s["n"]:
        return "none"
    return f"{_percent(s['rate'])} of {s['n']} ({_percent(s['low'])} to {_percent(s['high'])})"


def _percent(rate: "Json") -> str:
    return f"{rate:.1%}" if isinstance(rate, int | float) else "nothing"


def _mapping(value: "Json") -> Mapping[str, "Json"]:
    assert isinstance(value, Mapping)
    return value
