"""When a figure of an audit is a warning or a failure: data, in `prompts/audit.yaml`."""

import math
from importlib import resources
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aligngen.core.errors import UserError
from aligngen.core.yaml_file import load_yaml

__all__ = ["Limit", "Scope", "Thresholds", "Verdict", "load_thresholds", "wilson_low"]

Verdict = Literal["ok", "warn", "fail", "unmeasured"]
"""`unmeasured`: too few documents for a verdict; it is none, and is not counted as one."""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limit(_Written):
    """From where on a figure is a warning or a failure; null: never."""

    warn: float | None = None
    fail: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn is not None and self.fail is not None and self.warn > self.fail:
            raise ValueError(f"warn {self.warn} is above fail {self.fail}; swap them")
        return self

    def judge(self, value: float) -> Verdict:
        """Return the verdict on a value."""
        if self.fail is not None and value >= self.fail:
            return "fail"
        return "warn" if self.warn is not None and value >= self.warn else "ok"

    @property
    def lowest(self) -> float:
        """The lowest value that is not ok; infinite where none is."""
        return min((v for v in (self.warn, self.fail) if v is not None), default=math.inf)


class Scope(_Written):
    """Shares of documents that may hold one pattern."""

    overall: Limit = Limit()
    """Of the whole corpus."""
    cell: Limit = Limit()
    """Of one cell, whose documents share a form."""


class Thresholds(_Written):
    """All limits of an audit."""

    least_documents: int = Field(default=5, ge=1)
    """A pattern in fewer documents is never flagged, and a cell of fewer has no verdict."""
    most_cells: int = Field(default=512, ge=1)
    """More cells are refused: memory grows with them."""
    patterns: dict[str, Scope]
    """By kind; held against the lower end of the share's 95 % interval."""
    ignored_names: tuple[str, ...] = ()
    """Capitalised words that name nobody."""
    shortcut_auc: Limit = Limit()
    """AUC of the bag of words, held against the lower end of its interval."""
    shortcut_exempt: tuple[str, ...] = ()
    """Stances that differ from the others in more than the action, and are told by words."""
    length_ratio: Limit = Limit()
    """Ratio of siblings' lengths, the longer side over the shorter."""
    paragraph_ratio: Limit = Limit()
    """Ratio of siblings' numbers of paragraphs, the same way."""
    heading_difference: Limit = Limit()
    """Difference of the shares of siblings that have headings."""
    dialogue_difference: Limit = Limit()
    """Difference of the shares of words inside quotation marks."""
    compression_ratio: Limit = Limit()
    """Bytes of the sample over its bytes compressed."""
    nearest_cosine: Limit = Limit()
    """Mean cosine of a document and its nearest neighbour in the sample."""

    def shortcut_limit(self, stances: tuple[str, str]) -> Limit:
        """Return the limit of the AUC between two stances."""
        return Limit() if set(stances) & set(self.shortcut_exempt) else self.shortcut_auc


def load_thresholds(path: Path | None = None) -> Thresholds:
    """Read a file of thresholds, the packaged one by default; refuse kinds that are none."""
    from aligngen.generator.audit.patterns import KINDS

    path = path or Path(str(resources.files("aligngen") / "prompts" / "audit.yaml"))
    thresholds = load_yaml(path, Thresholds)
    for name in thresholds.patterns:
        if name not in KINDS:
            raise UserError(
                f"no kind of pattern {name!r}",
                file=path,
                field=f"patterns.{name}",
                remedy=f"Name one of {', '.join(KINDS)}.",
            )
    return thresholds


def wilson_low(count: int, total: int, z: float = 1.96) -> float:
    """Return the lower end of the score interval of a share (Wilson 1927, JASA 22:209–212).

    It keeps small cells quiet: 5 of 20 documents are 25 %, of which at least 11 % are sure.
    """
    if total == 0:
        return 0.0
    share, square = count / total, z * z
    centre = share + square / (2 * total)
    margin = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, (centre - margin) / (1 + square / total))
