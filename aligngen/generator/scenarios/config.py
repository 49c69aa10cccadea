"""Settings of `aligngen scenarios`: defaults ← YAML ← environment ← command line."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from aligngen.core.config import DedupConfig, EngineConfig

__all__ = ["CheckConfig", "RecordDedupConfig", "ScenarioConfig"]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckConfig(_Config):
    """What a record must keep to. Of 200 published records the defaults flag one by length, one by
    leak and none by overlap, and 59 whose questions share too few words with their passages."""

    question_words: tuple[int, int] = (8, 120)
    choice_words: tuple[int, int] = (3, 60)
    max_length_ratio: float = Field(default=1.75, ge=1)
    """Words of the longer choice over words of the shorter."""
    max_overlap: float = Field(default=0.5, ge=0, le=1)
    """Share of content words that the choices have in common: above it they are one choice."""
    max_leak: float = Field(default=0.45, ge=0, le=1)
    """Difference between the shares of each choice's content words that stand in the question:
    above it the question gives its answer away."""
    min_grounding: float = Field(default=0.05, ge=0, le=1)
    """Share of the question's content words that stand in its passage."""
    quote_words: int = Field(default=5, ge=2, le=30)
    """Words in a row that a quote must share with the passage."""
    min_english: float = Field(default=0.2, ge=0, le=1)
    """Share of common English function words."""


class RecordDedupConfig(DedupConfig):
    """What counts as a repeated record: by words, unless comparison by embedding is asked for."""

    meaning: bool = False


class ScenarioConfig(_Config):
    """Everything that decides a file of scenario records."""

    n: int = Field(default=0, ge=0)
    """Accepted records asked for; 0 takes all that the passages give."""
    seed: int = Field(default=0, ge=0)
    taxonomy: Path | None = None
    """A taxonomy file; the packaged core taxonomy where none is named."""
    behaviours: tuple[str, ...] = ()
    """Behaviour or domain ids to write about; all that are not held out where empty."""
    held_out: bool = False
    """Write about the held-out behaviours, and about no other: an evaluation set."""
    per_request: int = Field(default=0, ge=0, le=12)
    """Records asked for at once; 0 takes 1 for the embedded model and 3 else."""
    words_per_passage: int = Field(default=250, ge=40, le=4000)
    """Greatest number of words of a passage."""
    rounds: int = Field(default=1, ge=1, le=1000)
    """How often the passages are gone through, each time with new seeds, until `n` is reached."""
    offered: int = Field(default=12, ge=1)
    """Behaviours listed in a prompt for a passage: two thirds by common words, the rest by seed."""
    circumstances: int = Field(default=3, ge=0)
    """Axes of a taxonomy cell that a prompt names, drawn by seed."""
    max_requests_per_record: int = Field(default=8, ge=1)
    """Requests for taxonomy cells, per record asked for, before the rest counts as missing."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Overrides the prompt's."""
    repetition_penalty: float | None = Field(default=None, ge=1, le=2)
    """Overrides the prompt's; 1.15 for the embedded model. It counts the prompt's words too, and so
    keeps a small model from giving the example back."""
    judge: bool = True
    """Whether two personas must separate the choices in both orders."""
    checks: CheckConfig = CheckConfig()
    engine: EngineConfig = EngineConfig()
    dedup: RecordDedupConfig = RecordDedupConfig()

    @field_validator("behaviours", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """Read `a,b` as two names, as an environment variable gives them."""
        return [v.strip() for v in value.split(",")] if isinstance(value, str) else value

    @field_validator("taxonomy")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("question_words", "choice_words"):
            low, high = getattr(self.checks, name)
            if not 0 < low <= high:
                raise ValueError(f"checks.{name} must be two numbers in order, got {low}, {high}")
        return self

    @property
    def count(self) -> int:
        """Records asked for in one request."""
        return self.per_request or (1 if self.is_embedded else 3)

    @property
    def overrides(self) -> dict[str, float]:
        """Sampling parameters in place of the prompt's."""
        penalty = self.repetition_penalty or (1.15 if self.is_embedded else None)
        given = {"temperature": self.temperature, "repetition_penalty": penalty}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def is_embedded(self) -> bool:
        """Whether the packaged model writes."""
        return self.engine.kind in ("auto", "vllm") and self.engine.model == "embedded"
