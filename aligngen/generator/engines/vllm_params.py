"""Our sampling parameters and constraints in vLLM's words."""

from typing import TYPE_CHECKING

from aligngen.core.schema import Constraint, Sampling

if TYPE_CHECKING:
    from vllm import SamplingParams

__all__ = ["SHORTEST_LOOP", "sampling_params"]

SHORTEST_LOOP = 3
"""Shorter patterns are found all the same, as multiples, only later: so `10000` and `....` pass."""


def sampling_params(sampling: Sampling, constraint: Constraint | None) -> "SamplingParams":
    """Return vLLM's parameters for ours."""
    from vllm import SamplingParams
    from vllm.sampling_params import (
        RepetitionDetectionParams,
        RequestOutputKind,
        StructuredOutputsParams,
    )

    loops = None
    if sampling.loop_pattern:
        loops = RepetitionDetectionParams(
            max_pattern_size=sampling.loop_pattern,
            min_pattern_size=min(SHORTEST_LOOP, sampling.loop_pattern),
            min_count=sampling.loop_count,
        )
    structure = None
    if constraint is not None:
        match constraint.kind:
            case "json":
                structure = StructuredOutputsParams(json=constraint.value)
            case "regex":
                structure = StructuredOutputsParams(regex=constraint.value)
    return SamplingParams(
        temperature=sampling.temperature,
        min_p=sampling.min_p,
        top_p=sampling.top_p,  # 1 is off; a sort of the vocabulary else, 1.6x the time on CPU.
        repetition_penalty=sampling.repetition_penalty,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
        structured_outputs=structure,
        repetition_detection=loops,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
