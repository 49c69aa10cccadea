"""What a model folder holds, read from its small files and the headers of its weights.

In: a Hugging Face folder. Out: its sizes, its limits and a content hash; or a UserError that says
what is missing. No weights are read: a header lists every tensor's type and shape, so a folder of
100 GB is looked at in milliseconds.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, content_hash

__all__ = ["ModelFolder", "read_model_folder"]

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_INDEX = "model.safetensors.index.json"
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
_MAX_HEADER = 100 * 2**20
_ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model folder that can be loaded."""

    path: Path
    weight_bytes: int
    """Size of the weights as stored."""
    floats: int
    """How many weights are floating-point numbers of 16 bits or more: those take the new dtype."""
    other_bytes: int
    """Size of the rest, as quantised weights, which keeps its form."""
    kv_items_per_token: int
    """Numbers that the KV cache holds for each token; 0 where the config does not say."""
    max_len: int
    """The longest context the model was made for; 0 where the config does not say."""
    content_hash: str
    """Over config, tokenizer and template, and over the weights' names, sizes and headers; not
    over the weights, which would take minutes for a large model."""


def read_model_folder(path: Path) -> ModelFolder:
    """Return what `path` holds, or raise a UserError that names what is wrong with it."""
    if not path.is_dir():
        raise _refuse(path, "no such model folder", "Give a Hugging Face folder or a hub id.")
    config = _read_json(path / "config.json", "Save the model with save_pretrained().")
    if not any((path / name).is_file() for name in _TOKENIZERS):
        raise _refuse(path, "a model folder without a tokenizer", "Save the tokenizer into it too.")
    _require_chat_template(path)
    weights = _weights(path)
    headers = {file.name: _header(file) for file in weights}
    sizes = [_tensor_size(t) for h in headers.values() for k, t in h.items() if k != "__metadata__"]
    floats = sum(s.items for s in sizes if s.is_float)
    return ModelFolder(
        path=path,
        weight_bytes=sum(f.stat().st_size for f in weights),
        floats=floats,
        other_bytes=sum(s.bytes for s in sizes if not s.is_float),
        kv_items_per_token=_kv_items(config),
        max_len=_int(config, "max_position_embeddings"),
        content_hash=_hash(path, headers),
    )


def _require_chat_template(path: Path) -> None:
    if any((path / name).is_file() for name in _TEMPLATES[:2]):
        return
    config = path / "tokenizer_config.json"
    if config.is_file() and _read_json(config, "Save the tokenizer again.").get("chat_template"):
        return
    raise _refuse(
        path,
        "a model without a chat template, so it can't be asked for a document",
        "Take an instruct model, or put a chat_template.jinja into the folder.",
    )


@dataclass(frozen=True, slots=True)
class _Tensor:
    items: int
    bytes: int
    is_float: bool


def _tensor_size(entry: object) -> _Tensor:
    assert isinstance(entry, dict)
    items = math.prod(entry["shape"])
    kind = entry["dtype"]
    return _Tensor(items, items * _ITEM_BYTES.get(kind, 1), kind in ("F32", "F16", "BF16", "F64"))


def _refuse(path: Path, problem: str, remedy: str) -> UserError:
    return UserError(problem, remedy=remedy, file=path, field="engine.model")


def _read_json(path: Path, remedy: str) -> dict[str, object]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise _refuse(path.parent, f"a model folder without {path.name}", remedy) from None
    except (OSError, ValueError) as error:
        raise _refuse(path, f"can't be read as JSON ({error})", remedy) from error
    if not isinstance(value, dict):
        raise _refuse(path, "not a JSON object", remedy)
    return value


def _weights(path: Path) -> list[Path]:
    if (path / _INDEX).is_file():
        table = _read_json(path / _INDEX, "Download the model again.").get("weight_map")
        names = sorted(set(table.values())) if isinstance(table, dict) else []
        missing = [n for n in names if not (path / n).is_file()]
        if missing:
            raise _refuse(
                path,
                f"{len(missing)} of {len(names)} weight files are missing, as {missing[0]}",
                "Download the model again.",
            )
        found = [path / n for n in names]
    else:
        found = sorted(path.glob("*.safetensors"))
    if found:
        return found
    if pickled := sorted(f.name for pattern in _PICKLED for f in path.glob(pattern)):
        raise _refuse(
            path,
            f"only pickled weights ({pickled[0]}), which can run code when they are loaded",
            "Convert them to safetensors with save_pretrained().",
        )
    raise _refuse(path, "a model folder without weights", "Put its *.safetensors files into it.")


def _header(file: Path) -> dict[str, object]:
    """Return the JSON header of a safetensors file; https://github.com/safetensors/safetensors."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length) if 0 < length <= min(size, _MAX_HEADER) else b""
    try:
        header = json.loads(text)
        ends = [e["data_offsets"][1] for k, e in header.items() if k != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise _refuse(file, "not a safetensors file", "Download it again.") from None
    if not ends or 8 + length + max(ends) != size:
        raise _refuse(
            file,
            f"a truncated safetensors file: {size} bytes, {8 + length + max(ends, default=0)} "
            "announced",
            "Download it again.",
        )
    assert isinstance(header, dict)
    return header


def _text_config(config: dict[str, object]) -> dict[str, object]:
    inner = config.get("text_config")  # Models that also see images keep it one level down.
    return inner if isinstance(inner, dict) else config


def _int(config: dict[str, object], key: str) -> int:
    value = _text_config(config).get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _kv_items(config: dict[str, object]) -> int:
    heads = _int(config, "num_attention_heads")
    if not heads:
        return 0
    kv_heads = _int(config, "num_key_value_heads") or heads
    width = _int(config, "head_dim") or _int(config, "hidden_size") // heads
    return 2 * _int(config, "num_hidden_layers") * kv_heads * width


def _hash(path: Path, headers: dict[str, dict[str, object]]) -> str:
    small = sorted({"config.json", "generation_config.json", *_TOKENIZERS, *_TEMPLATES})
    parts: dict[str, Json] = {
        name: hashlib.sha256((path / name).read_bytes()).hexdigest()
        for name in small
        if (path / name).is_file()
    }
    for name, header in headers.items():
        text = json.dumps(header, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        parts[name] = [(path / name).stat().st_size, digest]
    return content_hash(parts)
