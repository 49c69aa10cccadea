"""Document → Verdict: which stance a judge reads in a text, with the words that show it.

The judge is blind to the stance asked for, and quotes its evidence before it decides. A verdict
counts only where the quoted words stand in the document. Whatever else comes back is `unanswered`:
a third state, never a pass.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Self

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, content_hash
from aligngen.core.schema import (
    Behaviour,
    Completion,
    Constraint,
    FinishReason,
    Message,
    Outcome,
    Request,
    Sampling,
    Stance,
    Step,
)
from aligngen.core.yaml_file import load_yaml
from aligngen.generator.content import packaged
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.parse import Rejected, is_refusal
from aligngen.generator.template import render

__all__ = [
    "UNCLEAR",
    "Fitted",
    "Judge",
    "Verdict",
    "check_stance",
    "judge_context",
    "load_judge",
    "parse_verdict",
    "verdict_constraint",
]

UNCLEAR = "unclear"
"""The verdict on a text that is mixed or does not show what was done."""

EVIDENCE_CHARS = (10, 240)
"""Least and greatest length of the quoted evidence."""

QUOTED_RUN = 4
"""Words in a row that a quotation shares with the document; four happen by chance only in stock
phrases."""

QUOTED_SHARE = 0.5
"""Share of the evidence's words that must stand in such runs. Below one, because a judge shortens a
long passage in the middle, and a bounded string may end inside a word."""

CHARS_PER_TOKEN = 3.0
"""Cautious length of a token. English prose has 4 to 5 characters, and a document that is cut
somewhat early still has a verdict, while one that is too long has none."""

CUT_MARK = "\n[...]\n"
"""Stands where the middle of a long document was left out."""

LEAST_ROOM = 400
"""Characters of a document below which a judge has nothing to read."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


class Verdict(NamedTuple):
    """What a judge reads in a document."""

    stance: Stance | None
    """None unless `state` is `read`."""
    state: Literal["read", "unclear", "unanswered"]
    evidence: str
    """The words quoted; empty where there are none."""
    detail: str
    """Why there is no answer, as `kind: more`; empty where there is one."""

    @property
    def label(self) -> str:
        """The stance, or the state where there is none."""
        return self.stance.value if self.stance else self.state


class Fitted(NamedTuple):
    """A document as a judge sees it."""

    text: str
    cut: bool
    """Whether its middle was left out."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge's prompt and the hash of everything that is in it."""

    step: Step
    content_hash: str

    @classmethod
    def of(cls, step: Step) -> Self:
        """Return the judge that a verdict step describes."""
        return cls(step, content_hash([step.model_dump_json(), list(verdict_constraint())]))

    @property
    def sampling(self) -> Sampling:
        """How verdicts are sampled: greedily, unless the prompt's file says otherwise."""
        return self.step.sampling or Sampling(temperature=0, min_p=0, repetition_penalty=1)

    def messages(self, context: Mapping[str, object]) -> tuple[Message, ...]:
        """Render the prompt over what `judge_context` returns."""
        where = self.step.id
        return (
            Message("system", render(self.step.system, context, f"{where}.system")),
            Message("user", render(self.step.user, context, f"{where}.user")),
        )

    def request(self, context: Mapping[str, object], identity: EngineIdentity) -> Request:
        """Return the request for a verdict by the engine of `identity`."""
        return Request(
            messages=self.messages(context),
            sampling=self.sampling,
            constraint=verdict_constraint(),
            model=identity.model,
            revision=identity.revision,
            template_version=self.content_hash,
            backend=identity.backend,
        )

    def fit(self, context: Mapping[str, object], max_model_len: int) -> Fitted:
        """Return the context's document, its middle left out where it is too long.

        `max_model_len` is the judge's longest prompt plus output, in tokens. Head and tail are
        kept: one says who acts, the other what was done in the end. Raises UserError where nothing
        of a document would be left.
        """
        document = str(context["document"])
        bare = sum(len(m.content) for m in self.messages({**context, "document": ""}))
        room = int((max_model_len - self.sampling.max_tokens) * CHARS_PER_TOKEN) - bare
        if room < min(LEAST_ROOM, len(document)):
            raise UserError(
                f"the judge's context of {max_model_len} tokens has no room for a document",
                field="engine.max_model_len",
                remedy="Raise it, or name a judge with a longer context.",
            )
        if len(document) <= room:
            return Fitted(document, cut=False)
        half = (room - len(CUT_MARK)) // 2
        head, tail = document[:half], document[-half:]
        # Between words, where there are any.
        head, tail = head.rpartition(" ")[0] or head, tail.partition(" ")[2] or tail
        return Fitted(head + CUT_MARK + tail, cut=True)


def judge_context(
    document: str, *, style: str, behaviour: Behaviour, domain: str
) -> dict[str, object]:
    """Return what a judge's templates may name.

    `style` is how a prompt names the form ("a news article"), `domain` the domain's name. The
    stance asked for is not among them: a judge that knew it would find it.
    """
    return {
        "document": document,
        "style": {"name": style},
        "behaviour": {
            "id": behaviour.id,
            "name": behaviour.name,
            "definition": behaviour.definition,
            "aligned": behaviour.aligned,
            "misaligned": behaviour.misaligned,
            "near_misses": list(behaviour.near_misses),
        },
        "domain": domain,
    }


def load_judge(path: Path | None = None) -> Judge:
    """Read a judge's prompt, the packaged one by default, and render it once to prove it."""
    path = path or packaged("prompts/judges") / "stance.yaml"
    step = load_yaml(path, Step)
    if step.output != "verdict":
        raise UserError(
            f"a judge gives a verdict, not {step.output}",
            file=path,
            field="output",
            remedy="Write output: verdict.",
        )
    judge = Judge.of(step)
    prose = "something"
    trial = Behaviour(
        id="a.b", name=prose, definition=prose, aligned=prose, misaligned=prose,
        near_misses=(prose,), situations=(prose,),
    )  # fmt: skip
    judge.messages(judge_context(prose, style=prose, behaviour=trial, domain=prose))
    return judge


@cache
def verdict_constraint() -> Constraint:
    """Return what a judge may write: the evidence, then the verdict."""
    from outlines.types import JsonSchema

    least, most = EVIDENCE_CHARS
    properties: dict[str, Json] = {
        "evidence": {"type": "string", "minLength": least, "maxLength": most},
        "verdict": {"type": "string", "enum": [*(s.value for s in Stance), UNCLEAR]},
    }
    schema: Json = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    # Keys in this order, not sorted: the evidence is written before the verdict.
    return Constraint("json", JsonSchema(json.dumps(schema, separators=(",", ":"))).schema)


def parse_verdict(completion: Completion, document: str) -> Verdict:
    """Return the verdict in a judge's completion about `document`, or why there is none.

    Every input has an answer: what can't be read is `unanswered`, and so is a verdict whose
    evidence does not stand in the document.
    """
    reason = completion.finish_reason
    if reason is FinishReason.ERROR:
        return _unanswered("error", completion.detail)
    if reason is FinishReason.CONTENT_FILTER:
        return _unanswered("declined", completion.detail)
    if reason is FinishReason.LOOP:
        return _unanswered("loop")
    if reason is FinishReason.LENGTH:
        return _unanswered("truncated", f"{completion.completion_tokens} tokens")
    text = completion.text.strip()
    if is_refusal(text):
        return _unanswered("refusal", text)
    answer = _read(text)
    if answer is None:
        return _unanswered("malformed", text)
    evidence, label = answer
    if not _is_quoted(evidence, document):
        return Verdict(None, "unanswered", evidence, f"no evidence: {label} without words of the"
                       " document")  # fmt: skip
    if label == UNCLEAR:
        return Verdict(None, "unclear", evidence, "")
    return Verdict(Stance(label), "read", evidence, "")


def _unanswered(kind: str, detail: str = "") -> Verdict:
    return Verdict(None, "unanswered", "", f"{kind}: {_printable(detail[:200])}".rstrip(": "))


def _read(text: str) -> tuple[str, str] | None:
    """Return evidence and verdict of an answer, or None where it is not of the form."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or set(data) != {"evidence", "verdict"}:
        return None
    evidence, label = data["evidence"], data["verdict"]
    if not isinstance(evidence, str) or label not in (*(s.value for s in Stance), UNCLEAR):
        return None
    return _printable(evidence), label


def _is_quoted(evidence: str, document: str) -> bool:
    """Whether enough of the evidence's words stand in runs that the document has too."""
    quoted = _folded_words(evidence)
    if not quoted:
        return False
    run = min(QUOTED_RUN, len(quoted))
    whole = f" {' '.join(_folded_words(document))} "
    covered: set[int] = set()
    for start in range(len(quoted) - run + 1):
        if f" {' '.join(quoted[start : start + run])} " in whole:
            covered.update(range(start, start + run))
    return len(covered) >= QUOTED_SHARE * len(quoted)


def _folded_words(text: str) -> list[str]:
    """Return the words of `text` without case, typography and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return _WORD.findall(folded)


def _printable(text: str) -> str:
    """Return `text` as UTF-8 can hold it; a model can write half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_stance(verdict: Verdict, asked: Stance) -> Rejected | None:
    """Return why a document of the stance `asked` is dropped, or None where the judge agrees."""
    if verdict.state == "unanswered":
        return Rejected(Outcome.UNJUDGED, verdict.detail)
    if verdict.stance is not asked:
        found = f"asked {asked.value}, read {verdict.label}: {verdict.evidence}"
        return Rejected(Outcome.WRONG_STANCE, found)
    return None
