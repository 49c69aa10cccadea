"""A handful of documents by the road of a real run, in a folder that is thrown away."""

from pathlib import Path
from tempfile import TemporaryDirectory

from aligngen.core.config import GenerateConfig
from aligngen.generator.epoch import read_epochs
from aligngen.generator.ledger import Ledger
from aligngen.generator.output import Document, iter_documents
from aligngen.generator.run import LEDGER, Observer, generate
from aligngen.generator.schedule import Snapshot

__all__ = ["preview_documents"]


def preview_documents(
    config: GenerateConfig, observer: Observer
) -> tuple[list[Document], Snapshot]:
    """Return `config.n` documents, rounded up to whole sibling groups, and how the run went.

    Any prefix of a plan is spread over it, so these are too.
    """
    group = len(config.stance)
    count = -(-config.n // group) * group
    config = config.model_copy(update={"n": count, "shard": (0, 1)})
    with TemporaryDirectory(prefix="aligngen-preview-") as name:
        summary = generate(config, Path(name), observer=observer)
        with Ledger.read(Path(name) / LEDGER) as ledger:
            return list(iter_documents(ledger, read_epochs(ledger))), summary.snapshot
