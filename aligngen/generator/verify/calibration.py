"""A judge held against labelled documents: how far its verdicts can be believed.

In: a JSONL file of documents with the stance that they have. Out: agreement, recall and precision
of each stance, confusion by behaviour and domain, and every mistake by name.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, Field

from aligngen import __version__
from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, content_hash
from aligngen.core.schema import Stance, Taxonomy
from aligngen.core.yaml_file import validate
from aligngen.generator.ask import Answers
from aligngen.generator.content import packaged
from aligngen.generator.engines.choose import check, open_engine
from aligngen.generator.engines.protocol import ManagedEngine
from aligngen.generator.judge import Judge, judge_context
from aligngen.generator.verify.judging import Observer, describe_judge, judge_all
from aligngen.generator.verify.tally import Tally

__all__ = ["Labelled", "calibrate", "calibrate_by", "check_behaviours", "load_labelled"]


class Labelled(BaseModel):
    """A document whose stance is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    behaviour: str
    """The behaviour that a judge is asked about."""
    style: str = Field(min_length=1)
    """How a prompt names the form: "a letter"."""
    text: str = Field(min_length=1)
    label: Stance
    note: str = ""
    """What makes it hard; empty where it is plain."""


def load_labelled(path: Path | None = None) -> tuple[Labelled, ...]:
    """Read labelled documents, the packaged ones by default."""
    path = path or packaged("prompts/judges") / "calibration.jsonl"
    try:
        # Not splitlines: a text may hold U+2028 and other breaks, which end no JSON line.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot be read: {error}", file=path, remedy="Give a JSONL file of labelled documents."
        ) from None
    seen: dict[str, Labelled] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        item = _labelled(line, path, number)
        if item.id in seen:
            raise UserError(
                f"the id {item.id!r} stands twice", file=path, line=number, remedy="Rename one."
            )
        seen[item.id] = item
    if not seen:
        raise UserError("holds no documents", file=path, remedy="Write one JSON object a line.")
    return tuple(seen.values())


def calibrate(
    items: Sequence[Labelled],
    taxonomy: Taxonomy,
    judge: Judge,
    config: EngineConfig,
    observer: Observer | None = None,
) -> dict[str, Json]:
    """Start a judge, ask it about labelled documents, and return how far it agrees with them.

    Nothing is kept but the report: a calibration is asked anew each time, since a model behind a
    name can change. Raises UserError (nothing was asked), Interrupted, EngineDied.
    """
    observer = observer or Observer()
    check_behaviours(items, taxonomy)
    check(config)
    observer.stage("starting the judge")
    with TemporaryDirectory(prefix="aligngen-") as folder:
        log = Path(folder) / "engine.log"
        with closing(open_engine(config, log, observer.stage)) as engine:
            observer.engine(engine.info)
            with Answers.open(Path(folder) / "answers.sqlite") as answers:
                return calibrate_by(engine, items, taxonomy, judge, answers, observer)


def calibrate_by(
    engine: ManagedEngine,
    items: Sequence[Labelled],
    taxonomy: Taxonomy,
    judge: Judge,
    answers: Answers,
    observer: Observer,
) -> dict[str, Json]:
    """Calibrate by a running engine; `calibrate` says what comes of it."""
    domains = {d.id: d.name for d in taxonomy.domains}
    tally, mistakes = Tally(), list[dict[str, Json]]()
    cases = ((item, _context(item, taxonomy, domains)) for item in items)
    judging = judge_all(engine, judge, cases, answers, stop=observer.stop)
    for done, judged in enumerate(judging, start=1):
        item, verdict = judged.key, judged.verdict
        tally.add(
            item.label,
            verdict,
            difficulty="hard" if item.note else "plain",
            behaviour=item.behaviour,
            domain=taxonomy.domain_of[item.behaviour],
        )
        if verdict.stance is not item.label:
            mistakes.append(
                {
                    "id": item.id,
                    "label": item.label.value,
                    "read": verdict.label,
                    "evidence": verdict.evidence,
                    "detail": verdict.detail,
                    "note": item.note,
                }
            )
        observer.progress(done, len(items))
    return {
        "aligngen": __version__,
        "judge": describe_judge(judge, engine.info.identity),
        "labelled": {
            "documents": len(items),
            "hash": content_hash([item.model_dump_json() for item in items]),
        },
        **tally.as_json(),
        "plain": tally.group("difficulty", "plain").as_json(),
        "hard": tally.group("difficulty", "hard").as_json(),
        "by_stance": tally.per_class(),
        "by_domain": tally.by("domain"),
        "by_behaviour": tally.by("behaviour"),
        "mistakes": mistakes,
    }


def check_behaviours(items: Sequence[Labelled], taxonomy: Taxonomy) -> None:
    """Refuse a labelled document whose behaviour the taxonomy does not have."""
    for item in items:
        if item.behaviour not in taxonomy.behaviours:
            raise UserError(
                f"{item.id}: the taxonomy {taxonomy.name} has no behaviour {item.behaviour!r}",
                field="behaviour",
                remedy="Correct it, or name the taxonomy that it is of with --taxonomy.",
            )


def _labelled(line: str, path: Path, number: int) -> Labelled:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"not JSON: {error}", file=path, line=number, remedy="Write one JSON object a line."
        ) from None
    try:
        return validate(data, Labelled)
    except UserError as error:
        raise UserError(str(error), file=path, line=number) from None


def _context(item: Labelled, taxonomy: Taxonomy, domains: Mapping[str, str]) -> dict[str, object]:
    behaviour = taxonomy.behaviours[item.behaviour]
    domain = domains[taxonomy.domain_of[item.behaviour]]
    return judge_context(item.text, style=item.style, behaviour=behaviour, domain=domain)
