"""The configuration of a generation run: defaults ← YAML ← environment ← command line."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from aligngen.core.schema import Length, Stance

__all__ = ["DedupConfig", "EngineConfig", "GenerateConfig"]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineConfig(_Config):
    """Which engine answers the requests, and how it is run. Only `kind`, `model`, `revision` and
    `structured_backend` change what is written; the rest changes speed."""

    kind: Literal["auto", "vllm", "openai", "replay"] = "auto"
    """`vllm` in a child process (CPU or GPU build, whichever is installed), any OpenAI-compatible
    endpoint, or recorded completions. `auto` takes vLLM."""
    model: str = "embedded"
    """`embedded`, a Hugging Face folder, a hub id, the endpoint's model name, or for `replay` the
    recording: a run folder or a JSONL file."""
    revision: str = ""
    """Hub revision; for local folders the content hash is taken."""
    structured_backend: Literal["guidance", "xgrammar", "outlines"] = "guidance"
    """What enforces constraints in vLLM. guidance needs no compilation and costs the same per token
    as xgrammar, which compiles each schema for seconds; outlines cannot compile long strings."""
    base_url: str = ""
    """Root of an OpenAI-compatible endpoint; its key comes from OPENAI_API_KEY alone."""
    dialect: Literal["openai", "vllm"] = "openai"
    """What the endpoint understands: `vllm` adds min_p, penalties and regex constraints."""
    max_num_seqs: int = Field(default=0, ge=0)
    """Requests decoded together; 0 chooses by device (64 on CPU, 256 on GPU, 16 on endpoints)."""
    max_model_len: int = Field(default=8192, ge=256)
    """Longest prompt plus output, in tokens."""
    kv_cache_gb: float = Field(default=0, ge=0)
    """KV cache on CPU in GiB; 0 chooses by memory."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    tensor_parallel_size: int = Field(default=1, ge=1)
    prefix_caching: bool = True
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` on CPU takes bfloat16 where the processor has instructions for it, else float32."""
    replay_missing: Literal["error", "draw"] = "error"
    """For a request that the recording lacks: an engine error, or one of its completions drawn by
    the request's hash (for trying the machinery without a model)."""
    replay_delay_ms: float = Field(default=0, ge=0)
    """Mean time that a replayed completion takes."""

    @field_validator("model")
    @classmethod
    def _local_model(cls, value: str) -> str:
        """Make the path of a local model or recording absolute."""
        path = Path(value).expanduser()
        return str(path.absolute()) if value != "embedded" and path.exists() else value

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        """Refuse a secret in the address: the configuration is written beside every output."""
        parts = urlsplit(value)
        if parts.username or parts.password or parts.query:
            raise ValueError("an address with a user or a query; put the key in OPENAI_API_KEY")
        return value


class DedupConfig(_Config):
    """What counts as a duplicate. Documents are compared within one stance: siblings are alike on
    purpose."""

    enabled: bool = True
    jaccard: float = Field(default=0.4, gt=0, le=1)
    """Word 2-gram Jaccard similarity from which two documents are near-duplicates."""
    meaning: bool = True
    """Whether documents are compared by embedding too."""
    false_positive_rate: float = Field(default=0.01, gt=0, lt=0.5)
    """Share of distinct documents that the calibrated meaning threshold may flag."""
    cosine: float | None = Field(default=None, gt=0, le=1)
    """A meaning threshold for every cell, in place of calibrated ones."""
    max_same_opening: int = Field(default=2, ge=0)
    """Kept documents of a stance that may open with the same five words, or half a percent of them
    where that is more; 0 compares no openings."""
    max_duplicate_rate: float = Field(default=0.5, gt=0, le=1)
    """A cell in which more than this share of candidates is duplicate stops the run."""


class GenerateConfig(_Config):
    """Everything that decides a run."""

    stance: tuple[Stance, ...] = (Stance.ALIGNED,)
    """One stance, or the siblings to write of each scenario."""
    n: int = Field(default=96, ge=1)
    """Accepted documents asked for, over all stances."""
    seed: int = Field(default=0, ge=0)
    taxonomy: Path | None = None
    """A taxonomy file; the packaged core taxonomy where none is named."""
    behaviours: tuple[str, ...] = ()
    """Behaviour or domain ids to restrict the plan to; all that are not held out where empty."""
    styles: tuple[str, ...] = ()
    """Style ids; all that are not held out where empty."""
    styles_dir: Path | None = None
    """A style file or a folder of them, added to the packaged ones or in place of the same id."""
    records: str = ""
    """Scenario records to write about in place of taxonomy cells: a JSONL or Parquet file, or a hub
    dataset id."""
    passages: Path | None = None
    """Real documents, for the styles that are written over one: text, JSONL or Parquet."""
    recipe: str = "auto"
    """A recipe id or file; `auto` takes `compact` for the embedded model and `free_body` else."""
    steps: str = ""
    """Which steps of the recipe: a variant's name, step ids joined by commas, or `-id` to leave one
    out; the recipe's first variant where nothing is named."""
    verify: Literal["auto", "on", "off"] = "auto"
    """Whether a judge must read the stance asked for in every document; `auto` asks it of every
    model but the embedded one, which cannot judge."""
    lengths: tuple[Length, ...] = ()
    """Length bands to plan; the recipe's own where none is named."""
    factors: dict[str, tuple[str, ...]] = {}
    """Levels to plan of a factor, in place of its default ones."""
    cast: Path | None = None
    """A folder of name lists; the packaged ones where none is named."""
    bans: Path | None = None
    """A ban list; the packaged one where none is named."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Overrides the recipe's, not that of steps which have one of their own."""
    max_attempts: int = Field(default=32, ge=1, le=512)
    """Tries per slot before it counts as a shortfall."""
    shard: tuple[int, int] = (0, 1)
    """(k, n): the k-th of n ranges of the plan, counted from 0."""
    order: Literal["prefix", "arrival"] = "prefix"
    """Whether requests that share a prompt prefix run together."""
    engine: EngineConfig = EngineConfig()
    dedup: DedupConfig = DedupConfig()

    @field_validator("stance", mode="before")
    @classmethod
    def _stances(cls, value: object) -> object:
        """Read `aligned`, `paired` and `aligned,neutral` as what they stand for."""
        if isinstance(value, str):
            value = [name.strip() for name in value.split(",")]
        if isinstance(value, list | tuple):
            expanded: list[object] = []
            for name in value:
                expanded += [Stance.ALIGNED, Stance.MISALIGNED] if name == "paired" else [name]
            return tuple(expanded)
        return value

    @field_validator("behaviours", "styles", "lengths", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """Read `a,b` as two names, as an environment variable gives them."""
        if isinstance(value, str):
            return [v.strip() for v in value.split(",") if v.strip()]
        return value

    @field_validator("factors", mode="before")
    @classmethod
    def _levels(cls, value: object) -> object:
        """Read `reasoning_depiction=none` and `{factor: a,b}` as what they stand for."""
        if isinstance(value, str):
            value = value.split(";")
        if isinstance(value, list | tuple):
            pairs = [str(item).partition("=") for item in value]
            if wrong := [name for name, equals, levels in pairs if not (equals and levels)]:
                raise ValueError(f"{wrong[0]!r} is not FACTOR=LEVEL,LEVEL")
            if len({name.strip() for name, _, _ in pairs}) < len(pairs):
                raise ValueError("a factor is named twice; join its levels by commas")
            value = {name.strip(): levels for name, _, levels in pairs}
        if isinstance(value, dict):
            return {
                name: [v.strip() for v in levels.split(",")] if isinstance(levels, str) else levels
                for name, levels in value.items()
            }
        return value

    @field_validator("records")
    @classmethod
    def _records_file(cls, value: str) -> str:
        """Make the path of a local file absolute."""
        path = Path(value).expanduser()
        return str(path.absolute()) if value and path.exists() else value

    @field_validator("taxonomy", "styles_dir", "passages", "cast", "bans")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """Make paths absolute, so that a resolved configuration can be read from anywhere."""
        return None if value is None else value.expanduser().absolute()

    @field_validator("recipe")
    @classmethod
    def _recipe_file(cls, value: str) -> str:
        return str(Path(value).expanduser().absolute()) if value.endswith(".yaml") else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        k, of = self.shard
        if not 0 <= k < of:
            raise ValueError(f"shard {k}/{of} does not exist: k goes from 0 to n-1")
        if not self.stance:
            raise ValueError("no stance is named")
        if len(set(self.stance)) != len(self.stance):
            raise ValueError("a stance is named twice")
        for name, levels in (("lengths", self.lengths), *self.factors.items()):
            if len(set(levels)) != len(levels):
                raise ValueError(f"{name} names a level twice")
            if name != "lengths" and not levels:
                raise ValueError(f"factor {name} names no level")
        return self
