"""`aligngen generate` and `aligngen preview`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.cli.options import (
    AsJson,
    Behaviours,
    ConfigFile,
    Count,
    Factor,
    LengthBand,
    Model,
    Passages,
    Recipe,
    Records,
    Seed,
    Set,
    Shard,
    StanceOption,
    Steps,
    Styles,
    StylesPath,
    TaxonomyFile,
    configure,
    parse_shard,
)
from aligngen.cli.stopping import StopOnSignal
from aligngen.core.errors import QuotaNotMet

if TYPE_CHECKING:
    from aligngen.cli.progress import Display
    from aligngen.generator.run import Observer

__all__ = ["generate", "preview"]

Engine = Annotated[
    str | None, typer.Option("--engine", help="`auto`, `vllm`, `openai` or `replay`.")
]
BaseUrl = Annotated[str | None, typer.Option(help="Root of an OpenAI-compatible endpoint.")]
Verify = Annotated[
    str | None,
    typer.Option(
        help="`on`: a judge must read the stance asked for in every document; `off`; `auto` asks "
        "every model but the embedded one."
    ),
]
Temperature = Annotated[float | None, typer.Option(help="Overrides the recipe's.")]


def generate(
    config_file: ConfigFile = None,
    stance: StanceOption = None,
    n: Count = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run folder; runs/STANCE-seedSEED by default."),
    ] = None,
    seed: Seed = None,
    taxonomy: TaxonomyFile = None,
    behaviours: Behaviours = None,
    styles: Styles = None,
    styles_dir: StylesPath = None,
    records: Records = None,
    passages: Passages = None,
    recipe: Recipe = None,
    steps: Steps = None,
    length: LengthBand = None,
    factor: Factor = None,
    verify: Verify = None,
    temperature: Temperature = None,
    engine: Engine = None,
    model: Model = None,
    base_url: BaseUrl = None,
    shard: Shard = None,
    max_attempts: Annotated[
        int | None, typer.Option(help="Tries per document before it counts as a shortfall.")
    ] = None,
    max_duplicate_rate: Annotated[
        float | None, typer.Option(help="Stop where a cell has a greater share of duplicates.")
    ] = None,
    dedup: Annotated[
        bool | None, typer.Option("--dedup/--no-dedup", help="Drop and refill duplicates.")
    ] = None,
    allow_change: Annotated[
        list[str] | None,
        typer.Option(help="Go on in an existing run though this part of it changed. Repeatable."),
    ] = None,
    assignments: Set = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a corpus of exactly N accepted documents, or resume one with the same command.

    Examples:

    - `aligngen generate --stance aligned`
    - `aligngen generate --stance paired -n 20000 -m Qwen/Qwen3-8B -o runs/pairs`
    - `aligngen generate --stance misaligned -n 15m --shard 3/64 -o runs/shard-3`
    - `aligngen generate --taxonomy mine.yaml --styles my_style.yaml --style my_style -n 200`
    - `aligngen generate --records questions.jsonl --stance paired --steps full -n 5k`
    - `aligngen generate --factor reasoning_depiction=none --length short,standard -n 500`
    - `aligngen generate --engine openai --base-url http://localhost:8000/v1 -m NAME -n 500`

    Every setting has an environment variable: `engine.model` is `ALIGNGEN_ENGINE_MODEL`.
    """
    from aligngen.cli.progress import Display, print_summary
    from aligngen.generator.run import generate as run

    config = configure(
        config_file,
        assignments,
        stance=stance,
        n=n,
        seed=seed,
        taxonomy=taxonomy,
        behaviours=behaviours,
        styles=styles,
        styles_dir=styles_dir,
        records=records,
        passages=passages,
        recipe=recipe,
        steps=steps,
        length=length,
        factor=factor,
        verify=verify,
        temperature=temperature,
        engine=engine,
        model=model,
        base_url=base_url,
        shard=parse_shard(shard),
        max_attempts=max_attempts,
        max_duplicate_rate=max_duplicate_rate,
        dedup=dedup,
    )
    folder = out or default_folder(config.stance, config.seed)
    with Display(config, folder, quiet=quiet or as_json) as display:
        summary = run(
            config,
            folder,
            allow_change=allow_change or (),
            observer=_observer(display),
        )
    if as_json:
        typer.echo(json.dumps(summary.as_json(), ensure_ascii=False))
    else:
        print_summary(config, summary)
    if summary.snapshot.short:
        raise QuotaNotMet(
            f"{summary.snapshot.short} of {summary.snapshot.target} documents are missing after "
            f"{config.max_attempts} tries each; `aligngen status {folder}` says why"
        )


def default_folder(stances: tuple[str, ...], seed: int) -> Path:
    """Return the folder of a run that was given none: the same command finds it again."""
    return Path("runs") / f"{'-'.join(stances)}-seed{seed}"


def preview(
    config_file: ConfigFile = None,
    stance: StanceOption = None,
    n: Annotated[int, typer.Option("-n", "--count", help="How many documents.")] = 6,
    seed: Seed = None,
    taxonomy: TaxonomyFile = None,
    behaviours: Behaviours = None,
    styles: Styles = None,
    styles_dir: StylesPath = None,
    records: Records = None,
    passages: Passages = None,
    recipe: Recipe = None,
    steps: Steps = None,
    length: LengthBand = None,
    factor: Factor = None,
    verify: Verify = None,
    temperature: Temperature = None,
    engine: Engine = None,
    model: Model = None,
    base_url: BaseUrl = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Print the prompts too.")] = False,
    assignments: Set = None,
    as_json: AsJson = False,
) -> None:
    """Make a stratified handful of documents, print them, and write nothing.

    Examples:

    - `aligngen preview --stance misaligned`
    - `aligngen preview --stance paired -n 4 --style news_article --prompts`
    """
    from aligngen.cli.progress import Display, drops
    from aligngen.cli.show import print_document
    from aligngen.generator.preview import preview_documents

    config = configure(
        config_file,
        assignments,
        stance=stance,
        n=n,
        seed=seed,
        taxonomy=taxonomy,
        behaviours=behaviours,
        styles=styles,
        styles_dir=styles_dir,
        records=records,
        passages=passages,
        recipe=recipe,
        steps=steps,
        length=length,
        factor=factor,
        verify=verify,
        temperature=temperature,
        engine=engine,
        model=model,
        base_url=base_url,
    )
    with Display(config, None, quiet=as_json) as display:
        documents, snapshot = preview_documents(config, _observer(display))
    for document in documents:
        if as_json:
            typer.echo(json.dumps(document._asdict(), ensure_ascii=False))
        else:
            print_document(document, prompts=prompts)
    if snapshot.short:
        raise QuotaNotMet(
            f"{snapshot.short} of {snapshot.target} documents are missing; {drops(snapshot)}"
        )


def _observer(display: "Display") -> "Observer":
    """Return an observer that shows a run and stops it on a signal."""
    from aligngen.generator.run import Observer

    stop = StopOnSignal()
    engine = stop.when_started(display.engine)
    return Observer(display.stage, engine, display.progress, stop)
