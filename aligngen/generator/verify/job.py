"""Verify a run: ask a judge about its documents and count where it agrees.

RUN/verify/answers.sqlite   the judge's answers by request, from which the same command resumes
RUN/verify/verdicts.parquet one row a document judged
RUN/verify/report.json      agreement and confusion, written last
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from aligngen import __version__
from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.schema import Taxonomy
from aligngen.core.storage import exclusive, replace_file, write_text
from aligngen.generator.ask import Answers
from aligngen.generator.engines.choose import check, open_engine
from aligngen.generator.engines.protocol import EngineIdentity, ManagedEngine
from aligngen.generator.judge import Judge, judge_context
from aligngen.generator.verify.config import VerifyConfig
from aligngen.generator.verify.documents import (
    Written,
    choose_sample,
    count_documents,
    find_documents,
    iter_written,
)
from aligngen.generator.verify.judging import Judged, Observer, describe_judge, judge_all
from aligngen.generator.verify.tally import Tally

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["ANSWERS", "FOLDER", "REPORT", "VERDICTS", "Subject", "read_subject", "verify_run"]

FOLDER, ANSWERS, VERDICTS, REPORT = "verify", "answers.sqlite", "verdicts.parquet", "report.json"
ROW_GROUP = 1000


class Subject(NamedTuple):
    """What a run's documents are about."""

    taxonomy: Taxonomy
    style_names: dict[str, str]
    """Style id → how a prompt names the form."""


def read_subject(run: Path) -> Subject:
    """Return the taxonomy and styles that a run's ledger holds."""
    from aligngen.generator.epoch import read_epochs
    from aligngen.generator.ledger import Ledger

    with Ledger.read(run / "ledger.sqlite") as ledger:
        epochs = read_epochs(ledger)
    if not epochs:
        raise UserError("holds no epoch", file=run, remedy="Name the folder of a finished run.")
    # Neither can change within a run, so any epoch's will do.
    content = epochs[max(epochs)].content
    return Subject(content.taxonomy, {s.id: s.name for s in content.styles.values()})


def verify_run(
    run: Path, config: VerifyConfig, judge: Judge, observer: Observer | None = None
) -> dict[str, Json]:
    """Judge the documents of a run, write verdicts and report, and return the report.

    Resumes by the answers it keeps. Raises UserError (nothing was asked), Interrupted, EngineDied.
    """
    observer = observer or Observer()
    files = find_documents(run)
    subject = read_subject(run)
    check(config.engine)
    with exclusive(run / FOLDER):
        observer.stage("starting the judge")
        log = run / FOLDER / "logs" / "engine.log"
        with closing(open_engine(config.engine, log, observer.stage)) as engine:
            observer.engine(engine.info)
            return verify_documents(run, files, subject, config, judge, engine, observer)


def verify_documents(
    run: Path,
    files: Sequence[Path],
    subject: Subject,
    config: VerifyConfig,
    judge: Judge,
    engine: ManagedEngine,
    observer: Observer,
) -> dict[str, Json]:
    """Judge documents by a running engine; `verify_run` says what comes of it."""
    documents = count_documents(files)
    size = documents if config.sample is None else min(config.sample, documents)
    slots = choose_sample(files, size, config.seed)
    tally, cut, folder = Tally(), 0, run / FOLDER
    who = engine.info.identity
    with (
        Answers.open(folder / ANSWERS) as answers,
        _VerdictWriter.open(folder / VERDICTS, who, judge) as writer,
    ):
        cases = (
            (written, _context(written, subject, run)) for written in iter_written(files, slots)
        )
        judging = judge_all(engine, judge, cases, answers, stop=observer.stop)
        for done, judged in enumerate(judging, start=1):
            written, cut = judged.key, cut + judged.cut
            tally.add(
                written.stance,
                judged.verdict,
                stance=written.stance.value,
                behaviour=written.behaviour,
                style=written.style,
            )
            writer.add(judged)
            observer.progress(done, size)
    report: dict[str, Json] = {
        "aligngen": __version__,
        "judge": describe_judge(judge, who),
        "documents": documents,
        "judged": size,
        "sample_seed": None if slots is None else config.seed,
        "cut": cut,
        **tally.as_json(),
        "by_stance": tally.by("stance"),
        "by_behaviour": tally.by("behaviour"),
        "by_style": tally.by("style"),
    }
    write_text(folder / REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def _context(written: Written, subject: Subject, run: Path) -> dict[str, object]:
    taxonomy = subject.taxonomy
    behaviour = taxonomy.behaviours.get(written.behaviour)
    style = subject.style_names.get(written.style)
    if behaviour is None or style is None:
        name = written.style if behaviour else written.behaviour
        raise UserError(
            f"the document of slot {written.slot} names {name!r}, which the ledger doesn't hold",
            file=run,
            remedy="Name a folder whose documents and ledger are of one run.",
        )
    domains = {d.id: d.name for d in taxonomy.domains}
    domain = domains[taxonomy.domain_of[behaviour.id]]
    return judge_context(written.text, style=style, behaviour=behaviour, domain=domain)


class _VerdictWriter:
    """Writes a row for each verdict, a row group at a time."""

    def __init__(self, writer: "pq.ParquetWriter", who: EngineIdentity, judge: Judge) -> None:
        self._writer = writer
        self._constant: dict[str, Json] = {
            "judge_model": who.model,
            "judge_revision": who.revision,
            "judge_prompt": judge.content_hash,
        }
        self._rows: list[dict[str, Json]] = []

    @classmethod
    @contextmanager
    def open(cls, path: Path, who: EngineIdentity, judge: Judge) -> Iterator[Self]:
        """Write aside, and into place when all went well."""
        import pyarrow.parquet as pq

        with (
            replace_file(path) as aside,
            pq.ParquetWriter(aside, _schema(), compression="zstd") as inner,
        ):
            writer = cls(inner, who, judge)
            yield writer
            writer.flush()

    def add(self, judged: Judged[Written]) -> None:
        """Write one verdict."""
        written, verdict = judged.key, judged.verdict
        self._rows.append(
            {
                "slot": written.slot,
                "stance": written.stance.value,
                "behaviour": written.behaviour,
                "doc_type": written.style,
                "verdict": verdict.stance.value if verdict.stance else None,
                "state": verdict.state,
                "agrees": verdict.stance is written.stance,
                "evidence": verdict.evidence,
                "detail": verdict.detail,
                "cut": judged.cut,
                **self._constant,
                "request_id": judged.request_id,
            }
        )
        if len(self._rows) == ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is held as one row group."""
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=_schema()))
            self._rows = []


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text, flag = pa.string(), pa.bool_()
    columns = {
        "slot": pa.int64(), "stance": text, "behaviour": text, "doc_type": text, "verdict": text,
        "state": text, "agrees": flag, "evidence": text, "detail": text, "cut": flag,
        "judge_model": text, "judge_revision": text, "judge_prompt": text, "request_id": text,
    }  # fmt: skip
    return pa.schema(list(columns.items()))
