"""What is said to an OpenAI-compatible endpoint, and what its answers mean.

In: `Request`; out: the body of a chat completion. In: its answer; out: `Completion`.
"""

import json
import os
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.schema import Completion, Constraint, FinishReason, Request, Sampling
from aligngen.generator.engines.vllm_params import SHORTEST_LOOP

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

__all__ = ["KEY", "NOT_SENT", "body", "check_endpoint", "read_answer", "refuse_constraint"]

KEY = "OPENAI_API_KEY"
NOT_SENT = {"openai": ("min_p", "repetition_penalty", "loop_pattern"), "vllm": ()}
"""Sampling parameters that a dialect has no word for."""

_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "repetition": FinishReason.LOOP,
}


def check_endpoint(config: EngineConfig) -> None:
    """Raise a UserError for what can be told without asking the endpoint."""
    if config.model == "embedded":
        raise UserError(
            "an endpoint needs a model name, got 'embedded'",
            remedy="Name the endpoint's model with --model.",
            field="engine.model",
        )
    if config.base_url and urlsplit(config.base_url).scheme not in ("http", "https"):
        raise UserError(
            f"not an http(s) address: {config.base_url!r}",
            remedy="Give the API's root, as http://localhost:8000/v1.",
            field="engine.base_url",
        )
    if not config.base_url and not os.environ.get(KEY):
        raise UserError(
            f"no key: {KEY} is not set",
            remedy=f"Export {KEY}, or name another endpoint with --base-url.",
            field="engine.base_url",
        )


def refuse_constraint(constraint: Constraint, dialect: Literal["openai", "vllm"]) -> None:
    """Raise a UserError for a constraint that the dialect has no word for."""
    if constraint.kind == "regex" and dialect == "openai":
        raise UserError(
            "an OpenAI endpoint can't enforce a regular expression: " + constraint.value[:120],
            remedy="Take a recipe with a JSON or no constraint; "
            "where the endpoint is vLLM, --set engine.dialect=vllm.",
            field="engine.dialect",
        )


def body(request: Request, config: EngineConfig) -> dict[str, Json]:
    """Return the arguments of the chat completion, fields of the dialect under `extra_body`."""
    sampling = request.sampling
    # OpenAI's own newer models refuse `max_tokens`; other servers know nothing else.
    limit = "max_tokens" if config.base_url else "max_completion_tokens"
    fields: dict[str, Json] = {
        "model": config.model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        limit: sampling.max_tokens,
    }
    if sampling.top_p < 1:
        fields["top_p"] = sampling.top_p
    if request.constraint and request.constraint.kind == "json":
        schema = {"name": "document", "schema": json.loads(request.constraint.value)}
        fields["response_format"] = {
            "type": "json_schema",
            "json_schema": {**schema, "strict": True},
        }
    if config.dialect == "vllm":
        fields["extra_body"] = _vllm_fields(sampling, request.constraint)
    return fields


def _vllm_fields(sampling: Sampling, constraint: Constraint | None) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
    }
    if sampling.loop_pattern:
        fields["repetition_detection"] = {
            "max_pattern_size": sampling.loop_pattern,
            "min_pattern_size": min(SHORTEST_LOOP, sampling.loop_pattern),
            "min_count": sampling.loop_count,
        }
    if constraint and constraint.kind == "regex":
        fields["structured_outputs"] = {"regex": constraint.value}
    return fields


def read_answer(request_id: str, answer: "ChatCompletion", seconds: float) -> Completion:
    """Return the completion that an answer holds."""
    usage, details = answer.usage, answer.usage and answer.usage.prompt_tokens_details
    reason, text, detail = _outcome(answer)
    return Completion(
        request_id=request_id,
        text=text,
        finish_reason=reason,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        seconds=seconds,
        detail=detail,
    )


def _outcome(answer: "ChatCompletion") -> tuple[FinishReason, str, str]:
    if not answer.choices:
        return FinishReason.ERROR, "", "the endpoint's answer holds no choice"
    choice = answer.choices[0]
    text = choice.message.content or ""
    if choice.message.refusal:
        return FinishReason.CONTENT_FILTER, text, f"refusal: {choice.message.refusal}"
    reason = _REASONS.get(choice.finish_reason, FinishReason.ERROR)
    said = f"the endpoint finished with {choice.finish_reason!r}"
    return reason, text, said if reason is FinishReason.ERROR else ""
