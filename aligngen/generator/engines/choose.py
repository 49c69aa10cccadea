"""Which engine answers a run, and why."""

from collections.abc import Callable
from pathlib import Path

from aligngen.core.config import EngineConfig
from aligngen.generator.engines.hardware import find_gpus, vllm_build
from aligngen.generator.engines.identity import identify, is_hub_id, requires_vllm
from aligngen.generator.engines.model_folder import read_model_folder
from aligngen.generator.engines.protocol import ManagedEngine

__all__ = ["check", "identify", "open_engine", "why"]


def check(config: EngineConfig) -> None:
    """Raise the UserErrors that can be told in milliseconds, before anything starts."""
    if config.kind in ("auto", "vllm"):
        requires_vllm(vllm_build())
        if config.model != "embedded" and not is_hub_id(config.model):
            read_model_folder(Path(config.model).expanduser())
    elif config.kind == "openai":
        from aligngen.generator.engines.openai import check_endpoint

        check_endpoint(config)
    identify(config)


def open_engine(config: EngineConfig, log: Path, on_event: Callable[[str], None]) -> ManagedEngine:
    """Start the engine and return it ready; its output goes to the file `log`."""
    check(config)
    if config.kind == "openai":
        from aligngen.generator.engines.openai import OpenAIEngine

        return OpenAIEngine(config)
    from aligngen.generator.engines.process import ProcessEngine

    engine = ProcessEngine(config, log, on_event)
    try:
        engine.wait_ready()
    except BaseException:  # A Ctrl-C while it starts included: nothing is left running.
        engine.close()
        raise
    return engine


def why(config: EngineConfig) -> str:
    """Say in one sentence which engine would answer, and why."""
    if config.kind == "openai":
        return f"the endpoint {config.base_url or 'api.openai.com'}, since engine.kind names it"
    if config.kind == "replay":
        return f"recorded completions from {config.model}, since engine.kind names them"
    asked = "engine.kind names it" if config.kind == "vllm" else "no other engine is named"
    build = vllm_build()
    if build is None:
        return "none: vLLM is not installed and no endpoint is named"
    gpus = find_gpus()
    if build.device == "gpu":
        found = f"on {gpus[0].name}" if gpus else "but no GPU is visible, so it will not start"
        return f"vLLM {build.version}, GPU build, {found}; {asked}"
    reason = "although a GPU is here (install the extra `gpu` to use it)" if gpus else "no GPU here"
    return f"vLLM {build.version}, CPU build, {reason}; {asked}"
