"""Folders that are no models, each refused by name before anything starts."""

import json

import pytest

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.generator.engines.choose import check, identify, open_engine
from aligngen.generator.engines.model_folder import read_model_folder

CONFIG = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 32,
    "max_position_embeddings": 1024,
}


def safetensors(items=100):
    header = {"w": {"dtype": "BF16", "shape": [items], "data_offsets": [0, items * 2]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(items * 2)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


def test_sizes_come_from_the_headers(folder):
    model = read_model_folder(folder)
    assert (model.floats, model.other_bytes, model.max_len) == (100, 0, 1024)
    assert model.kv_items_per_token == 2 * 2 * 2 * 8


def remove(name):
    return lambda folder: (folder / name).unlink()


def replace(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def index(folder):
    table = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove("config.json"), "without config.json"),
        (replace("config.json", b"{"), "config.json: .*JSON"),
        (replace("config.json", b"[]"), "not a JSON object"),
        (remove("tokenizer.json"), "without a tokenizer"),
        (remove("chat_template.jinja"), "chat template"),
        (remove("model.safetensors"), "without weights"),
        (pickle, "pickled weights"),
        (index, "1 of 2 weight files are missing, as model-2"),
        (replace("model.safetensors", b""), "not a safetensors file"),
        (replace("model.safetensors", b"\xff" * 64), "not a safetensors file"),
        (replace("model.safetensors", safetensors()[:-1]), "truncated"),
    ],
)
def test_a_spoiled_folder_is_refused_by_name(folder, spoil, words):
    spoil(folder)
    with pytest.raises(UserError, match=words) as caught:
        check(EngineConfig(kind="vllm", model=str(folder)))
    assert str(folder) in str(caught.value) and caught.value.remedy


def test_nothing_is_started_for_a_missing_folder(tmp_path):
    config = EngineConfig(kind="vllm", model=str(tmp_path / "none"))
    with pytest.raises(UserError, match="no such model folder"):
        open_engine(config, tmp_path / "logs" / "engine.log", lambda text: None)
    assert not (tmp_path / "logs").exists()


def test_identity_follows_content_and_not_place(folder):
    config = EngineConfig(kind="vllm", model=str(folder))
    before = identify(config)
    moved = folder.parent / "elsewhere" / "model"
    moved.parent.mkdir()
    folder.rename(moved)
    config = EngineConfig(kind="vllm", model=str(moved))
    assert identify(config) == before
    (moved / "tokenizer.json").write_text("{ }")
    assert identify(config).revision != before.revision


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "owner/name"}, ("vllm", "owner/name", "main (unpinned)", "vllm/guidance")),
        ({"model": "owner/name", "revision": "abc"}, ("vllm", "owner/name", "abc", None)),
        ({"structured_backend": "guidance"}, ("vllm", None, None, "vllm/guidance")),
        (
            {"kind": "openai", "model": "m", "dialect": "vllm"},
            ("openai", "m", "unknown (endpoint)", "openai/vllm"),
        ),
    ],
)
def test_identity_is_known_without_starting(fields, expected):
    found = identify(EngineConfig(**fields))
    assert all(e is None or e == f for e, f in zip(expected, found, strict=True))
