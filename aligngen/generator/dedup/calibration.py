"""The cosine from which a cell's documents count as the same: calibrated on its first documents.

Nobody labels a cell's documents, so the threshold comes from how close *distinct* documents of the
cell lie: the distribution of each document's nearest neighbour among the first ones. Its upper end
may hold real twins, so a Gumbel law (nearest neighbours are maxima) is fitted to its 20 % and 50 %
points and the quantile that leaves `false_positive_rate` above it is extrapolated.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aligngen.core.config import DedupConfig
from aligngen.core.hashing import Json
from aligngen.generator.dedup.sketch import UNIT

__all__ = ["CAP", "FLOOR", "PRIOR", "SAMPLE", "CellThreshold", "calibrate"]

SAMPLE = 128
"""Documents of a cell that are looked at before its threshold is frozen."""
PRIOR = 0.84
"""Threshold before that; docs/design/dedup.md says on which pairs it was measured."""
FLOOR = 0.70
CAP = 0.95

_LOW, _MIDDLE = 0.2, 0.5


class Threshold(NamedTuple):
    """A frozen threshold and where it comes from."""

    cosine: float
    source: str
    """`given`, `prior`, `calibrated`, `floor` or `cap`."""
    documents: int
    """How many documents of the cell it rests on."""
    location: float = 0.0
    """Of the Gumbel law of nearest-neighbour cosines."""
    scale: float = 0.0

    @property
    def product(self) -> int:
        """The least integer product that reaches the threshold."""
        return int(np.ceil(self.cosine * UNIT))


class CellThreshold:
    """A cell's threshold: the prior, until enough documents were seen."""

    def __init__(self, config: DedupConfig) -> None:
        self._rate = config.false_positive_rate
        self._sample: list[NDArray[np.int16]] = []
        fixed = config.cosine
        self.value = Threshold(PRIOR, "prior", 0) if fixed is None else Threshold(fixed, "given", 0)

    @property
    def wants(self) -> int:
        """How many more documents calibration looks at."""
        return SAMPLE - len(self._sample) if self.value.source == "prior" else 0

    def see(self, vector: NDArray[np.int16]) -> None:
        """Take notice of the cell's next document; freeze the threshold at the last one wanted."""
        if not self.wants:
            return
        self._sample.append(vector)
        if len(self._sample) == SAMPLE:
            self.value = calibrate(np.stack(self._sample), self._rate)
            self._sample = []

    def as_json(self) -> Json:
        """Return the threshold and how it was come by."""
        seen = self.value.documents or len(self._sample)
        return {**self.value._asdict(), "documents": seen}


def calibrate(vectors: NDArray[np.int16], rate: float) -> Threshold:
    """Return the threshold above which a share `rate` of distinct documents is expected."""
    points = vectors.astype(np.float32)
    products = points @ points.T
    np.fill_diagonal(products, -UNIT)
    nearest = np.sort(products.max(axis=1).astype(np.int64)) / UNIT
    low, middle = (float(nearest[int(q * len(nearest))]) for q in (_LOW, _MIDDLE))
    reduced_low, reduced_middle = (-float(np.log(-np.log(q))) for q in (_LOW, _MIDDLE))
    scale = (middle - low) / (reduced_middle - reduced_low)
    location = middle - scale * reduced_middle
    raw = location - scale * float(np.log(-np.log1p(-rate)))
    cosine = min(max(raw, FLOOR), CAP)
    source = "calibrated" if cosine == raw else "floor" if cosine == FLOOR else "cap"
    return Threshold(round(cosine, 6), source, len(vectors), round(location, 6), round(scale, 6))
