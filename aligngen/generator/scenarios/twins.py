"""Records that repeat an earlier one."""

from aligngen.core.config import DedupConfig
from aligngen.core.schema import Outcome
from aligngen.generator.dedup import Deduplicator, MiniLMEmbedder
from aligngen.generator.scenarios.candidates import Candidate, Rejection
from aligngen.generator.scenarios.reading import ScenarioRecord

__all__ = ["Twins"]


class Twins:
    """Remembers the records that were told apart. Memory: about 1 KB each by words."""

    def __init__(self, config: DedupConfig) -> None:
        self._enabled = config.enabled
        self._dedup = Deduplicator(config, MiniLMEmbedder() if config.meaning else None)
        self._names: list[str] = []
        """Question ids of what is remembered, by key of the dedup index."""

    def find(self, name: str, record: ScenarioRecord | Candidate) -> Rejection | None:
        """Return the fault of a record that is a twin, with its twin's name, or remember it.

        What is compared is the question and both choices.
        """
        if not self._enabled:
            return None
        text = "\n".join((record.question, record.aligned, record.misaligned))
        made = self._dedup.decide(len(self._names), "", "", self._dedup.sketch(text, ""))
        if made.outcome is Outcome.KEPT:
            self._names.append(name)
            return None
        twin = "" if made.twin is None else self._names[made.twin]
        score = None if made.score is None else round(made.score, 4)
        return Rejection(made.outcome.value, score, f"of {twin}")
