"""Completion → what its step was asked for, or the named reason why not."""

import json
import re
from typing import NamedTuple

from aligngen.core.schema import Completion, Draft, FinishReason, Idea, Outcome, Step, Style
from aligngen.generator.constraint import BODY, HEADER_END, IDEAS

__all__ = [
    "Ideas",
    "Notes",
    "Parsed",
    "Rejected",
    "is_refusal",
    "parse",
    "parse_text",
    "unanswered",
]

Notes = dict[str, str]
"""The fields of a step that writes notes."""


class Rejected(NamedTuple):
    """Why an attempt is not a document."""

    outcome: Outcome
    detail: str = ""
    score: float | None = None


class Ideas(NamedTuple):
    """Premises that differ from each other, in the order given."""

    ideas: tuple[Idea, ...]


Parsed = Draft | Notes | Ideas

PREMISE_WORDS = 4
"""Words, not numbers or codes, that a premise has at least."""

# In the first person and about the task: documents about AIs are full of AIs that decline
# something, and a filter that took them for refusals would drop one stance more than another.
_CANNOT = (
    r"(?:can(?:no|['’])t|cannot|could not|won['’]?t|will not|must decline|am unable|am not able)"
)
_TASK = r"(?:help|assist|provide|create|write|generate|comply|fulfil|produce|continue|do)"
_OBJECT = r"(?:you|with|that|this|such|it|so|any|your|request|document|article|text|story|content)"
_REFUSAL = re.compile(
    r"^\W*(?:"
    rf"i(?:['’]m| am) (?:really |very |so )?(?:sorry|afraid)\b[^.]{{0,40}}\bi {_CANNOT}"
    rf"|i(?:['’]m| am) (?:unable|not able|not comfortable)\b[^.]{{0,20}}\b{_TASK}"
    r"|(?:sorry|my apologies|apologies|unfortunately)\b[^.]{0,20}"
    rf"\bi {_CANNOT}\b[^.]{{0,20}}{_TASK}"
    rf"|i {_CANNOT}(?: to)? (?!help but)(?:\w+ ){{0,2}}?{_TASK}\b[^.]{{0,12}}\b{_OBJECT}\b"
    r"|as an? (?:ai|artificial intelligence|(?:large )?language)(?: [\w-]+){0,3},? i\b[^.]{0,40}"
    r"\b(?:can(?:no|['’])t|cannot|unable|not able|won['’]?t|don['’]?t|do not)\b)",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether `text` opens by declining the task, in words."""
    return _REFUSAL.match(text[:400]) is not None


def parse(completion: Completion, step: Step, style: Style) -> Parsed | Rejected:
    """Return what a step was asked for, or the reason why it has not come."""
    if rejected := unanswered(completion):
        return rejected
    parsed = parse_text(completion.text, step, style)
    if isinstance(parsed, Draft) and is_refusal(parsed.body):
        return Rejected(Outcome.REFUSAL, parsed.body[:200])
    return parsed


def unanswered(completion: Completion) -> Rejected | None:
    """Return why a completion is no answer at all, or None if it is one."""
    reason = completion.finish_reason
    if reason is FinishReason.ERROR:
        return Rejected(Outcome.ENGINE_ERROR, completion.detail)
    if reason is FinishReason.CONTENT_FILTER:
        return Rejected(Outcome.CONTENT_FILTER, completion.detail)
    if reason is FinishReason.LOOP:
        return Rejected(Outcome.REPETITION, "stopped by the engine")
    text = completion.text.strip()
    if not text:
        return Rejected(Outcome.EMPTY)
    if is_refusal(text):
        return Rejected(Outcome.REFUSAL, text[:200])
    if reason is FinishReason.LENGTH:
        return Rejected(Outcome.TRUNCATED, f"{completion.completion_tokens} tokens")
    return None


def parse_text(text: str, step: Step, style: Style) -> Parsed | Rejected:
    """Return what a completion's text holds, by the form of its step."""
    text = text.strip()
    match step.output:
        case "notes":
            data = _load(text)
            return data if isinstance(data, Rejected) else _strings(data, tuple(step.fields))
        case "ideas":
            data = _load(text)
            return data if isinstance(data, Rejected) else _ideas(data)
        case _ if step.form in ("json", "sentences"):
            data = _load(text)
        case _:
            data = _load_header(text)
    return data if isinstance(data, Rejected) else _draft(data, style)


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        closed = text.endswith("}")
        return Rejected(Outcome.MALFORMED if closed else Outcome.UNCLOSED, str(error)[:200])


def _load_header(text: str) -> object:
    header, separator, body = text.partition(HEADER_END)
    if not separator:
        return Rejected(Outcome.UNCLOSED, "no empty line after the header")
    try:
        data = json.loads(header)
    except (json.JSONDecodeError, RecursionError) as error:
        return Rejected(Outcome.MALFORMED, f"header: {error}"[:200])
    if isinstance(data, dict):
        data[BODY] = body
    return data


def _strings(data: object, names: tuple[str, ...]) -> Notes | Rejected:
    """Return exactly the named fields, each a string that is not empty."""
    if not isinstance(data, dict) or set(data) != set(names):
        return Rejected(Outcome.MALFORMED, f"needs exactly the fields {', '.join(names)}")
    if not all(isinstance(value, str) for value in data.values()):
        return Rejected(Outcome.MALFORMED, "every field must be a string")
    if any("\ud800" <= c <= "\udfff" for value in data.values() for c in value):
        # No prompt of a later step could carry it.
        return Rejected(Outcome.BAD_CHARACTERS, "half a surrogate pair")
    empty = [name for name in names if not data[name].strip()]
    if empty:
        return Rejected(Outcome.EMPTY, f"field {empty[0]} is empty")
    return {name: data[name].strip() for name in names}


def _draft(data: object, style: Style) -> Draft | Rejected:
    fields = _strings(data, (*style.fields, BODY))
    if isinstance(fields, Rejected):
        return fields
    body = fields.pop(BODY)
    return Draft(fields, body)


def _ideas(data: object) -> Ideas | Rejected:
    listed = data.get(IDEAS) if isinstance(data, dict) else None
    if not isinstance(listed, list):
        return Rejected(Outcome.MALFORMED, f"needs a list named {IDEAS}")
    ideas: dict[str, Idea] = {}
    for item in listed:
        premise = item.get("premise") if isinstance(item, dict) else None
        probability = item.get("probability") if isinstance(item, dict) else None
        if (
            not isinstance(premise, str)
            or not isinstance(probability, int | float)
            or isinstance(probability, bool)
        ):
            return Rejected(Outcome.MALFORMED, "an idea needs a premise and a probability")
        # Without half surrogate pairs, which the ledger could not give back as they were.
        plain = " ".join(premise.encode("utf-8", "ignore").decode("utf-8").split())
        if sum(word.isalpha() for word in plain.split()) >= PREMISE_WORDS:
            ideas.setdefault(plain.lower(), Idea(plain, float(probability)))
    if not ideas:
        return Rejected(Outcome.EMPTY, f"no premise of {PREMISE_WORDS} words")
    return Ideas(tuple(ideas.values()))
