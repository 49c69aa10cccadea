"""The configuration of a verification: defaults ← environment ← command line."""

from pydantic import BaseModel, ConfigDict, Field

from aligngen.core.config import EngineConfig

__all__ = ["VerifyConfig"]


class VerifyConfig(BaseModel):
    """Who judges, and how much of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: EngineConfig = EngineConfig()
    """The judge. It need not be the model that wrote the documents, and had better not be."""
    sample: int | None = Field(default=None, ge=1)
    """Documents to judge, stratified by stance and style; all of them where none is given."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sample."""
