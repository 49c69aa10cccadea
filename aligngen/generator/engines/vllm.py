"""vLLM inside this process, driven step by step.

In: requests. Out: completions, each as soon as it is finished: `LLM.generate` would return at the
end of a batch, and a kill would lose it. Lives in the engine's child process (`worker.py`).
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.core.schema import Completion, Constraint, FinishReason, Request, Sampling
from aligngen.generator.engines.hardware import look, vllm_build
from aligngen.generator.engines.identity import identify, local_model, requires_vllm
from aligngen.generator.engines.model_folder import read_model_folder
from aligngen.generator.engines.protocol import EngineInfo
from aligngen.generator.engines.vllm_params import sampling_params
from aligngen.generator.engines.vllm_plan import VllmPlan, plan_vllm

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.llm_engine import LLMEngine

__all__ = ["VllmEngine", "ahead"]

_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "repetition": FinishReason.LOOP,
}
_TRIAL = "preflight"


def ahead(max_num_seqs: int) -> int:
    """Return how many requests wait behind those decoded, so that none has to be waited for.

    A quarter of the batch lasts while the parent embeds a block of documents.
    """
    return max(8, max_num_seqs // 4)


class VllmEngine:
    """An `Engine` over vLLM's own `LLMEngine`."""

    def __init__(self, config: EngineConfig, progress: Callable[[str], None]) -> None:
        started = time.monotonic()
        self._plan = _plan(config, progress)
        os.environ.update(self._plan.env)
        progress("loading vLLM")
        self._engine = _start(self._plan, progress)
        self._tokenizer = self._engine.get_tokenizer()
        _require_chat_template(self._tokenizer, config.model)
        self._limit = self._plan.max_num_seqs + ahead(self._plan.max_num_seqs)
        self._in_flight: dict[str, float] = {}
        self._ready: list[Completion] = []
        self.info = EngineInfo(
            identity=identify(config),
            device=_device(self._plan),
            dtype=str(self._engine.model_config.dtype).removeprefix("torch."),
            max_model_len=self._plan.max_model_len,
            max_num_seqs=self._plan.max_num_seqs,
            startup_seconds=time.monotonic() - started,
        )

    @property
    def room(self) -> int:
        """How many more requests can be submitted now."""
        return max(0, self._limit - len(self._in_flight) - len(self._ready))

    def submit(self, request: Request) -> None:
        """Queue one request; one that vLLM refuses becomes an error at the next poll."""
        tokens = self._tokens(request)
        room = self._plan.max_model_len - request.sampling.max_tokens
        if len(tokens) > room:
            self._fail(
                request,
                f"the prompt has {len(tokens)} tokens and max_tokens is "
                f"{request.sampling.max_tokens}, together above max_model_len "
                f"{self._plan.max_model_len}",
                len(tokens),
            )
            return
        try:
            params = sampling_params(request.sampling, request.constraint)
            self._engine.add_request(request.request_id, {"prompt_token_ids": tokens}, params)
        except _refusals() as error:
            self._fail(request, str(error), len(tokens))
            return
        self._in_flight[request.request_id] = time.monotonic()

    def poll(self, timeout: float) -> list[Completion]:
        """Return what has finished; takes at least one step while something is in flight."""
        done, self._ready = self._ready, []
        deadline = time.monotonic() + timeout
        while self._in_flight and not done:
            done = [self._completion(out) for out in self._step()]
            if time.monotonic() >= deadline:
                break
        return done

    def preflight(self, constraints: Iterable[Constraint]) -> None:
        """Compile each constraint by asking vLLM for one token under it.

        vLLM compiles lazily and reports a grammar that fails as an empty completion, so only a
        request tells. The compiled grammar stays in the backend's cache: nothing is wasted.
        """
        for constraint in dict.fromkeys(constraints):
            if problem := self._try_constraint(constraint):
                raise UserError(
                    f"the backend can't enforce this {constraint.kind} constraint: {problem}; "
                    f"{constraint.value[:200]}",
                    remedy="Simplify the schema or choose another structured backend.",
                    field="engine.structured_backend",
                )

    def close(self) -> None:
        """Drop what is unfinished and stop."""
        if self._in_flight:
            self._engine.abort_request(list(self._in_flight))
            self._in_flight.clear()
        self._engine.engine_core.shutdown()

    def _step(self) -> Iterator["RequestOutput"]:
        for out in self._engine.step():
            if out.finished:
                yield out

    def _tokens(self, request: Request) -> list[int]:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        tokens = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return list(tokens)

    def _fail(self, request: Request, detail: str, prompt_tokens: int) -> None:
        self._ready.append(
            Completion(request.request_id, "", FinishReason.ERROR, prompt_tokens, 0, detail=detail)
        )

    def _completion(self, out: "RequestOutput") -> Completion:
        answer = out.outputs[0]
        reason = _REASONS.get(answer.finish_reason or "", FinishReason.ERROR)
        detail = ""
        if reason is FinishReason.ERROR:
            detail = f"vLLM finished with {answer.finish_reason!r} ({answer.stop_reason!r})"
        return Completion(
            request_id=out.request_id,
            text=answer.text,
            finish_reason=reason,
            prompt_tokens=len(out.prompt_token_ids or ()),
            completion_tokens=len(answer.token_ids),
            cached_tokens=out.num_cached_tokens or 0,
            seconds=time.monotonic() - self._in_flight.pop(out.request_id, time.monotonic()),
            detail=detail,
        )

    def _try_constraint(self, constraint: Constraint) -> str:
        """Return why `constraint` fails, or nothing."""
        params = sampling_params(Sampling(max_tokens=1, loop_pattern=0), constraint)
        tokens = self._tokenizer.encode("a")
        with _captured_grammar_errors() as errors:
            try:
                self._engine.add_request(_TRIAL, {"prompt_token_ids": tokens}, params)
            except _refusals() as error:
                return str(error).strip()
            reason = self._await_preflight()
        if reason in ("stop", "length"):
            return ""
        return errors[-1] if errors else "its grammar does not compile"

    def _await_preflight(self) -> str | None:
        """Step until the trial request ends; what else ends meanwhile waits for the next poll."""
        reason, ended = None, False
        while not ended:
            for out in self._step():
                if out.request_id == _TRIAL:
                    reason, ended = out.outputs[0].finish_reason, True
                else:
                    self._ready.append(self._completion(out))
        return reason


def _refusals() -> tuple[type[Exception], ...]:
    """Return how vLLM refuses a request that it can't take."""
    from vllm.exceptions import VLLMClientError

    return (ValueError, VLLMClientError)


def _start(plan: VllmPlan, progress: Callable[[str], None]) -> "LLMEngine":
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    progress("starting the engine")
    try:
        return LLMEngine.from_engine_args(EngineArgs(**plan.args))
    except (ValueError, OSError) as error:  # An unknown architecture, a hub id that is not there.
        raise UserError(
            f"vLLM can't start this model: {error}",
            remedy="Check engine.model and the other engine settings; the log tells more.",
            file=str(plan.args["model"]),
            field="engine.model",
        ) from error


def _plan(config: EngineConfig, progress: Callable[[str], None]) -> VllmPlan:
    build = requires_vllm(vllm_build())
    folder = local_model(config, progress)
    return plan_vllm(config, build.device, look(), read_model_folder(folder) if folder else None)


def _device(plan: VllmPlan) -> str:
    machine = look()
    if plan.device == "cpu":
        return f"cpu ({len(machine.cores)} cores)"
    return machine.gpus[0].name if machine.gpus else "gpu"


def _require_chat_template(tokenizer: object, model: str) -> None:
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "the model has no chat template, so it can't be asked for a document",
            remedy="Take an instruct model, or put a chat_template.jinja into its folder.",
            file=model,
            field="engine.model",
        )


@contextmanager
def _captured_grammar_errors() -> Iterator[list[str]]:
    """Collect what vLLM only logs: why a grammar did not compile."""
    errors: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                errors.append(str(record.exc_info[1]).strip())

    logger = logging.getLogger("vllm.v1.structured_output")
    collector = Collector(logging.ERROR)
    logger.addHandler(collector)
    try:
        yield errors
    finally:
        logger.removeHandler(collector)
