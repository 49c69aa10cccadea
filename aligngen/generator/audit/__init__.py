"""Documents → what is over-represented in them, what gives their stance away, how varied they are.

`audit` does all of it; `compare` holds the diversity of two corpora side by side; the measures
themselves are functions of texts and vectors in `diversity`.
"""

from aligngen.generator.audit.diversity import (
    NearestCosines,
    compression_ratio,
    coverage,
    distinct_n,
    entropy,
    nearest_cosines,
    normalised_entropy,
    self_repetition,
    vendi_score,
)
from aligngen.generator.audit.documents import AuditDocument, DocumentSource, open_source
from aligngen.generator.audit.heavy import HeavyHitters
from aligngen.generator.audit.repetition import CellPatterns, Finding, count_patterns
from aligngen.generator.audit.report import AuditReport, NotMeasured, audit
from aligngen.generator.audit.shortcut import Probe, probe_stances, shortcut_probe
from aligngen.generator.audit.siblings import Match, match_siblings
from aligngen.generator.audit.thresholds import Limit, Thresholds, load_thresholds
from aligngen.generator.audit.variety import Comparison, Diversity, Ratio, compare

__all__ = [
    "AuditDocument",
    "AuditReport",
    "CellPatterns",
    "Comparison",
    "Diversity",
    "DocumentSource",
    "Finding",
    "HeavyHitters",
    "Limit",
    "Match",
    "NearestCosines",
    "NotMeasured",
    "Probe",
    "Ratio",
    "Thresholds",
    "audit",
    "compare",
    "compression_ratio",
    "count_patterns",
    "coverage",
    "distinct_n",
    "entropy",
    "load_thresholds",
    "match_siblings",
    "nearest_cosines",
    "normalised_entropy",
    "open_source",
    "probe_stances",
    "self_repetition",
    "shortcut_probe",
    "vendi_score",
]
