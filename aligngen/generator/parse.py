"""Completion → Draft, or the named reason why not."""

import json
import re
from typing import NamedTuple

from aligngen.core.schema import Completion, Draft, FinishReason, Outcome, Recipe, Style
from aligngen.generator.constraint import BODY, HEADER_END

__all__ = ["Rejected", "is_refusal", "parse", "parse_text"]


class Rejected(NamedTuple):
    """Why an attempt is not a document."""

    outcome: Outcome
    detail: str = ""
    score: float | None = None


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


def parse(completion: Completion, recipe: Recipe, style: Style) -> Draft | Rejected:
    """Return the header fields and body of a completion, or the reason why it has none."""
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
    draft = parse_text(text, recipe, style)
    if isinstance(draft, Draft) and is_refusal(draft.body):
        return Rejected(Outcome.REFUSAL, draft.body[:200])
    return draft


def parse_text(text: str, recipe: Recipe, style: Style) -> Draft | Rejected:
    """Return the draft in a completion's text, by the recipe's form."""
    text = text.strip()
    as_object = recipe.constraint in ("json", "sentences")
    return _from_json(text, style) if as_object else _from_header(text, style)


def _from_json(text: str, style: Style) -> Draft | Rejected:
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        closed = text.endswith("}")
        return Rejected(Outcome.MALFORMED if closed else Outcome.UNCLOSED, str(error)[:200])
    return _draft(data, (*style.fields, BODY), style)


def _from_header(text: str, style: Style) -> Draft | Rejected:
    header, separator, body = text.partition(HEADER_END)
    if not separator:
        return Rejected(Outcome.UNCLOSED, "no empty line after the header")
    try:
        data = json.loads(header)
    except (json.JSONDecodeError, RecursionError) as error:
        return Rejected(Outcome.MALFORMED, f"header: {error}"[:200])
    if isinstance(data, dict):
        data[BODY] = body
    return _draft(data, (*style.fields, BODY), style)


def _draft(data: object, names: tuple[str, ...], style: Style) -> Draft | Rejected:
    if not isinstance(data, dict) or set(data) != set(names):
        return Rejected(Outcome.MALFORMED, f"needs exactly the fields {', '.join(names)}")
    if not all(isinstance(value, str) for value in data.values()):
        return Rejected(Outcome.MALFORMED, "every field must be a string")
    empty = [name for name in names if not data[name].strip()]
    if empty:
        return Rejected(Outcome.EMPTY, f"field {empty[0]} is empty")
    return Draft({name: data[name].strip() for name in style.fields}, data[BODY].strip())
