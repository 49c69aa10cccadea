"""Options that several commands share, and how they become a configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligngen.core.errors import UserError

if TYPE_CHECKING:
    from aligngen.core.config import GenerateConfig

__all__ = [
    "AsJson",
    "Behaviours",
    "ConfigFile",
    "Count",
    "Factor",
    "LengthBand",
    "Model",
    "Passages",
    "Recipe",
    "Records",
    "Seed",
    "Set",
    "Shard",
    "StanceOption",
    "Steps",
    "Styles",
    "StylesPath",
    "TaxonomyFile",
    "configure",
    "parse_shard",
]

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file of settings, as RUN/run.yaml.", dir_okay=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, as `engine.max_num_seqs=128`. Repeatable."),
]
StanceOption = Annotated[
    str | None,
    typer.Option(
        "--stance",
        help="`aligned`, `misaligned`, `neutral`, `control`, `paired` (aligned and misaligned "
        "siblings of each scenario), or several joined by commas.",
    ),
]


def parse_count(text: str) -> int:
    """Return a count written as `20000`, `20k` or `15m`."""
    number, unit = (
        (text[:-1], text[-1].lower()) if text[-1:] and text[-1].lower() in "km" else (text, "")
    )
    try:
        count = float(number) * {"": 1, "k": 1_000, "m": 1_000_000}[unit]
        if count != int(count):
            raise ValueError
        return int(count)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is not a count: write 20000, 20k or 15m") from None


Count = Annotated[
    int | None,
    typer.Option(
        "-n",
        "--count",
        help="Accepted documents, over all stances: 500, 20k, 15m.",
        parser=parse_count,
        metavar="N",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of the plan and of all sampling.")]
TaxonomyFile = Annotated[
    Path | None,
    typer.Option(
        "--taxonomy", help="Taxonomy file, which may extend `core`; the packaged core by default."
    ),
]
StylesPath = Annotated[
    Path | None,
    typer.Option("--styles", help="A style file or folder of your own, beside the packaged ones."),
]
Records = Annotated[
    str | None,
    typer.Option(
        help="Write about these scenario records in place of taxonomy cells: JSONL, Parquet or a "
        "hub dataset id."
    ),
]
LengthBand = Annotated[
    str | None, typer.Option("--length", help="`short`, `standard`, `long`, or several by commas.")
]
Factor = Annotated[
    list[str] | None,
    typer.Option(
        help="Levels of a factor, as `reasoning_depiction=none,values_explained`. Repeatable."
    ),
]
Behaviours = Annotated[
    list[str] | None,
    typer.Option("--behaviour", help="Only this behaviour or domain id. Repeatable."),
]
Styles = Annotated[
    list[str] | None, typer.Option("--style", help="Only this style id. Repeatable.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="`embedded`, a Hugging Face folder, a hub id, an endpoint's "
                 "model name, or the recording to replay."),
]  # fmt: skip
Recipe = Annotated[str | None, typer.Option(help="Recipe id or file; chosen by model by default.")]
Steps = Annotated[
    str | None,
    typer.Option(
        "--steps",
        help="The recipe's steps: a variant (`one_shot`, `ideas`, `planned`, `full`), ids by "
        "commas, or `-critique` to leave one out.",
    ),
]
Passages = Annotated[
    Path | None,
    typer.Option(help="Real documents for styles written over one: text, JSONL or Parquet."),
]
Shard = Annotated[str | None, typer.Option(help="`k/n`: the k-th of n ranges of the plan, from 0.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Return (k, n) of `k/n`."""
    if text is None:
        return None
    k, _, n = text.partition("/")
    if not (k.isdigit() and n.isdigit() and int(k) < int(n)):
        raise UserError(
            f"{text!r} is not k/n with k from 0 to n-1", field="--shard", remedy="Write 0/4."
        )
    return int(k), int(n)


_KEYS = {
    "engine": "engine.kind",
    "model": "engine.model",
    "base_url": "engine.base_url",
    "length": "lengths",
    "factor": "factors",
    "max_duplicate_rate": "dedup.max_duplicate_rate",
    "dedup": "dedup.enabled",
}
"""Settings of options that are not named after them."""


def configure(
    file: Path | None, assignments: list[str] | None, **options: object
) -> "GenerateConfig":
    """Return the configuration that a command's options, the environment and a file make."""
    from aligngen.core.config import GenerateConfig
    from aligngen.core.settings import resolve

    given = {
        _KEYS.get(name, name): value for name, value in options.items() if value not in (None, [])
    }
    return resolve(GenerateConfig, file=file, options=given, assignments=assignments or ())
