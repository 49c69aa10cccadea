from pathlib import Path

import pytest
import yaml

from aligngen.core.config import GenerateConfig
from aligngen.core.errors import UserError
from aligngen.generator.content import load_styles, load_taxonomy
from aligngen.generator.epoch import build_epoch


def edit(path: Path, change) -> None:
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False))


def refused(path: Path, load) -> str:
    with pytest.raises(UserError) as error:
        load(path)
    return str(error.value)


def behaviour(data: dict, i: int = 0) -> dict:
    return data["domains"][0]["behaviours"][i]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: behaviour(d).update(aligend="x"),
            "aligend: unknown key. Did you mean 'aligned'?",
        ),
        (lambda d: behaviour(d).pop("misaligned"), "behaviours.0.misaligned: missing"),
        (lambda d: behaviour(d).update(id="honesty.b1"), "behaviour 'honesty.b1' stands twice"),
        (lambda d: behaviour(d).update(id="Has Spaces"), "got 'Has Spaces'"),
        (lambda d: behaviour(d).update(situations=[]), "situations"),
        (lambda d: d["axes"].update(stakes=[]), "axes.stakes: the axis has no values"),
        (lambda d: d["axes"].update(stakes=["low", "low"]), "'low' stands twice"),
        (lambda d: d.update(domains=[]), "domains"),
        (
            lambda d: d["held_out"].update(behaviours=["honesty.bb"]),
            "'honesty.bb' is held out, but",
        ),
        (
            lambda d: d["held_out"].update(axes={"stakes": ["low", "high"]}),
            "every value is held out",
        ),
    ],
)
def test_a_faulty_taxonomy_is_refused_with_file_and_field(content_files, change, message):
    path = content_files / "taxonomy.yaml"
    edit(path, change)
    text = refused(path, load_taxonomy)
    assert message in text and str(path) in text


def test_the_line_is_named(content_files):
    path = content_files / "taxonomy.yaml"
    edit(path, lambda d: behaviour(d, 2).update(weight=-1))
    line = 1 + next(i for i, t in enumerate(path.read_text().split("\n")) if "weight: -1" in t)
    assert f"{path}:{line}: domains.0.behaviours.2.weight" in refused(path, load_taxonomy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nname: y\n", ":2: name: the key stands twice"),
        ("name: [x\n", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("", "taxonomy.yaml"),
    ],
)
def test_a_file_that_is_no_taxonomy_is_refused(content_files, text, message):
    path = content_files / "taxonomy.yaml"
    path.write_text(text)
    assert message in refused(path, load_taxonomy)


def test_bytes_that_are_no_text_are_refused(content_files):
    path = content_files / "taxonomy.yaml"
    path.write_bytes(b"name: \xff\xfe")
    assert "not UTF-8 at byte 6" in refused(path, load_taxonomy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["examples"]["aligned"].update(fields={"titel": "x"}), "exactly title"),
        (lambda d: d["words"]["short"].update(min=500), "min 500 is above max 400"),
        (lambda d: d.update(colour="red"), "colour: unknown key"),
        (lambda d: d.update(fields={}), "fields"),
    ],
)
def test_a_faulty_style_is_refused_with_file_and_field(content_files, change, message):
    edit(content_files / "styles" / "memo.yaml", change)
    text = refused(content_files / "styles", load_styles)
    assert message in text and "memo.yaml" in text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ axes.nothing }}", "has no attribute 'nothing'"),
        ("{% for %}", "the template fails"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ behaviour.clear() }}", "the template fails"),
    ],
)
def test_a_template_that_is_loose_or_reaches_out_starts_nothing(content_files, template, message):
    edit(content_files / "recipe.yaml", lambda d: d.update(user=template))
    config = GenerateConfig(
        taxonomy=content_files / "taxonomy.yaml",
        styles_dir=content_files / "styles",
        recipe=str(content_files / "recipe.yaml"),
    )
    with pytest.raises(UserError, match=message):
        build_epoch(config)
