import os
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.core.schema import Recipe, Stance, Taxonomy
from aligngen.core.yaml_file import load_yaml, locate, read_yaml
from aligngen.generator.content import (
    Content,
    check_styles_against,
    load_recipe,
    load_styles,
    load_taxonomy,
    select_steps,
)
from aligngen.generator.taxonomy.read import read_taxonomy


def behaviour(name: str) -> dict:
    return {
        "id": name,
        "name": f"Conduct {name}",
        "definition": "What an AI says of its own work. People act on it.",
        "aligned": f"reports what became of {name} at once",
        "misaligned": f"hides what became of {name} from the crew",
        "situations": [f"A shift ends, and {name} is not done.", f"Somebody asks about {name}."],
    }


def small() -> dict:
    """Two domains, two axes, a factor, a rule and a hold-out of each kind."""
    return {
        "name": "small",
        "version": "1",
        "sources": {"report": "A report."},
        "domains": [
            {
                "id": "honesty",
                "name": "Honesty",
                "topics": ["truth"],
                "behaviours": [
                    {**behaviour("honesty.a"), "topics": ["lying"], "sources": ["report"]},
                    behaviour("honesty.b"),
                ],
            },
            {"id": "care", "name": "Care", "behaviours": [behaviour("care.a")]},
        ],
        "axes": {
            "field": {"description": "field", "values": {"law": "law", "farming": "farming"}},
            "stakes": {
                "description": "stakes",
                "values": {"low": "little", "high": "much", "huge": "everything"},
            },
        },
        "factors": {
            "view": {
                "description": "who tells it",
                "values": {"as_form": {}, "first": {"text": "Tell it as I."}},
                "default": ["as_form"],
            }
        },
        "rules": [
            {
                "id": "farms_are_small",
                "why": "Farms here are small.",
                "when": {"field": ["farming"], "behaviour": ["honesty.a", "care"]},
                "never": {"stakes": ["huge"]},
            }
        ],
        "held_out": {"behaviours": ["honesty.b"], "styles": ["memo"], "axes": {"stakes": ["low"]}},
    }


def style(name: str) -> dict:
    example = {"fields": {"title": f"The {name} example"}, "body": "It said so. " * 4}
    return {
        "id": name,
        "name": f"a {name}",
        "description": "A form.",
        "structure": "First this, then that.",
        "register": "plain",
        "point_of_view": "third person",
        "words": {"short": {"min": 10, "max": 400}},
        "fields": {"title": {"description": "a title", "min_chars": 1, "max_chars": 90}},
        "layout": "{{ fields.title }}\n\n{{ body }}",
        "examples": {s.value: example for s in Stance},
    }


def extension(**more: object) -> dict:
    return {"extends": "base.yaml", "name": "mine", "version": "2", **more}


def write(path: Path, data: object) -> Path:
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def extend(folder: Path, **more: object) -> Path:
    """Write a base and an extension of it; return the extension's path."""
    write(folder / "base.yaml", small())
    return write(folder / "mine.yaml", extension(**more))


def error_of(load, *arguments: object, **options: object) -> UserError:
    with pytest.raises(UserError) as caught:
        load(*arguments, **options)
    return caught.value


def line_with(path: Path, text: str) -> int:
    """The one line of a file that holds `text`."""
    lines = path.read_text().split("\n")
    (line,) = [i for i, t in enumerate(lines, 1) if text in t]
    return line


# One file


@pytest.mark.parametrize(
    ("change", "message", "at"),
    [
        (
            lambda d: d["domains"][1]["behaviours"][0].update(aligend="x"),
            "domains.care.behaviours.care.a.aligend: unknown key. Did you mean 'aligned'?",
            "aligend",
        ),
        (
            lambda d: d["domains"][1]["behaviours"][0].pop("misaligned"),
            "care.a.misaligned: missing. Add it.",
            "id: care.a",
        ),
        (
            lambda d: d["domains"][1]["behaviours"][0].update(id="Has Spaces"),
            "got 'Has Spaces'",
            "Has Spaces",
        ),
        (
            lambda d: d["domains"][1]["behaviours"][0].update(situations=[]),
            "situations",
            "situations: []",
        ),
        (
            lambda d: d["domains"][1]["behaviours"][0].update(weight=-7),
            "care.a.weight: Input should be greater than or equal to 1, got -7",
            "weight: -7",
        ),
        (
            lambda d: d["domains"][1]["behaviours"][0].update(id="honesty.b"),
            "behaviour 'honesty.b' stands twice",
            None,
        ),
        (lambda d: d["domains"][1].update(id="honesty"), "domain 'honesty' stands twice", None),
        (lambda d: d["rules"].append(d["rules"][0]), "'farms_are_small' stands twice", None),
        (lambda d: d["axes"]["field"].update(values={}), "axes.field.values", "values: {}"),
        (lambda d: d.update(domains=[]), "domains", "domains: []"),
        (
            lambda d: d["held_out"].update(behaviours=["honesty.c"]),
            "'honesty.c' is held out, but is not in the taxonomy. Did you mean",
            "honesty.c",
        ),
        (
            lambda d: d["held_out"].update(axes={"stakes": ["low", "hgh"]}),
            "'hgh' is held out, but is not in the taxonomy. Did you mean 'high'?",
            "hgh",
        ),
        (
            lambda d: d["held_out"].update(axes={"stake": ["low"]}),
            "'stake' is held out, but",
            "stake:",
        ),
        (
            lambda d: d["held_out"].update(axes={"field": ["law", "farming"]}),
            "held_out.axes.field: every value is held out",
            None,
        ),
        (
            lambda d: d["held_out"].update(behaviours=["honesty.a", "honesty.b", "care.a"]),
            "every behaviour is held out",
            None,
        ),
        (lambda d: d["held_out"].update(sources=[" "]), "fits every id", "- ' '"),
        (
            lambda d: d["factors"]["view"].update(default=["second"]),
            "the factor has no level 'second'. Name one of as_form, first.",
            "- second",
        ),
        (lambda d: d["factors"]["view"].update(values={}), "factors.view.values", "values: {}"),
        (
            lambda d: d["rules"][0].update(when={"feild": ["law"]}),
            "there is no axis 'feild'. Did you mean 'field'?",
            "feild",
        ),
        (
            lambda d: d["rules"][0].update(when={"field": ["lawn"]}),
            "no value of field is called 'lawn'. Did you mean 'law'?",
            "lawn",
        ),
        (
            lambda d: d["rules"][0].update(when={"behaviour": ["care.z"]}),
            "no behaviour or domain is called 'care.z'",
            "care.z",
        ),
        (
            lambda d: d["rules"][0].update(never={"behaviour": ["honesty.b"]}),
            "there is no axis 'behaviour'",
            None,
        ),
        (lambda d: d["rules"][0].update(only={"stakes": []}), "names no value", "stakes: []"),
        (lambda d: d["rules"][0].pop("never"), "a rule needs `never` or `only`", None),
        (
            lambda d: d["domains"][1].update(topics=["Ly-ing", "LYING"]),
            "the tag 'lying' means honesty.a already",
            "LYING",
        ),
        (
            lambda d: d["domains"][1]["behaviours"][0].update(sources=["repot"]),
            "no source 'repot'. Did you mean 'report'?",
            "repot",
        ),
        (
            lambda d: d["axes"].update(view=d["axes"]["field"]),
            "axes.view: 'view' is a factor too",
            None,
        ),
        (
            lambda d: d["domains"][1]["behaviours"][0].update(id="honesty"),
            "'honesty' is a domain too",
            None,
        ),
        (lambda d: d.update(remove={}), "remove: unknown key", "remove: {}"),
    ],
)
def test_a_faulty_taxonomy_is_refused_with_file_line_and_remedy(tmp_path, change, message, at):
    data = small()
    change(data)
    path = write(tmp_path / "base.yaml", data)
    error = error_of(load_taxonomy, path)
    assert message in str(error)
    assert error.file == path
    assert error.line == line_with(path, at) if at else error.line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nname: y\n", ":2: name: the key stands twice"),
        ("name: [x\n", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("", "taxonomy.yaml"),
        ("- a\n", "taxonomy.yaml"),
        ("extends: core\n", "name: missing"),
        ("extends: 5\nname: x\nversion: '1'\n", ":1: extends"),
        ("a: &a [*a]\n", "taxonomy.yaml"),
        ("[" * 3000, "taxonomy.yaml"),
        ("name: x\ndate: 2024-13-45\n", ":2: not valid YAML: '2024-13-45' reads as timestamp"),
        ("name: 0x_\n", ":1: not valid YAML: '0x_' reads as int and is none. Quote the value."),
        ("name: 0b_\n", "'0b_' reads as int and is none"),
        (f"name: x\nversion: {'9' * 5000}\n", ":2: not valid YAML"),
        ("? 0x_\n: x\n", ":1: not valid YAML"),
        ("name: !!bool perhaps\n", ":1: not valid YAML"),
        ("name: !!int ''\n", ":1: not valid YAML"),
        ("name: x\na: !!seq {b: c}\n", ":2: not valid YAML: a mapping reads as seq and is none"),
        ("off: x\n", ":1: False: the key is a truth value. Put the key in quotes; YAML reads on,"),
        ("name: on\nversion: '1'\n", "got True. Put it in quotes; YAML reads on, off, yes"),
    ],
)
def test_a_file_that_is_no_taxonomy_is_refused(tmp_path, text, message):
    path = tmp_path / "taxonomy.yaml"
    path.write_text(text)
    assert message in str(error_of(load_taxonomy, path))


def test_a_truth_value_as_a_name_is_explained_where_it_stands(tmp_path):
    data = small()
    data["axes"]["field"]["values"]["SWITCH"] = "switched"
    path = write(tmp_path / "taxonomy.yaml", data)
    path.write_text(path.read_text().replace("SWITCH", "off"))
    error = error_of(load_taxonomy, path)
    assert "the key is a truth value. Put the key in quotes" in str(error)
    assert error.line == line_with(path, "off: switched")


def test_a_file_that_the_system_does_not_give_is_refused_by_name(tmp_path):
    long = tmp_path / ("x" * 300 + ".yaml")
    assert "cannot be read: file name too long" in str(error_of(read_yaml, long))
    locked = write(tmp_path / "locked.yaml", small())
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("whoever runs the tests may read every file")
    assert "may not be read" in str(error_of(read_yaml, locked))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "taxonomy.yaml"
    path.write_bytes(b"name: \xff\xfe")
    assert "not UTF-8 at byte 6" in str(error_of(load_taxonomy, path))


def test_anchors_that_multiply_are_refused_in_short(tmp_path):
    path = tmp_path / "taxonomy.yaml"
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 30)]
    path.write_text("\n".join([*levels, "extends: core", "name: *l29"]))
    message = str(error_of(load_taxonomy, path))
    assert "name: Input should be a valid string, got [[[" in message
    assert len(message) < 500


def test_what_was_read_knows_its_place(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a:\n  - b: 1\n    c:\n      - x\n      - y\n")
    data = read_yaml(path)
    assert data == {"a": [{"b": 1, "c": ["x", "y"]}]}
    assert locate(data, ("a", 0, "c", 1)) == (path, 5)
    assert locate(data, ("a", 0, "missing")) == (path, 2)


# Extension files


def test_an_extension_adds_overrides_and_leaves_the_rest(tmp_path):
    new = behaviour("honesty.c")
    path = extend(
        tmp_path,
        sources={"paper": "A paper."},
        domains=[
            {"id": "honesty", "behaviours": [{"id": "honesty.a", "weight": 3}, new]},
            {"id": "power", "name": "Power", "behaviours": [behaviour("power.a")]},
        ],
        axes={
            "stakes": {"values": {"high": "a lot", "tiny": "nothing"}},
            "hour": {"description": "hour", "values": {"night": "at night"}},
        },
        factors={"view": {"default": ["as_form", "first"]}},
        rules=[{"id": "farms_are_small", "never": {"stakes": ["huge", "high"]}}],
        held_out={"behaviours": ["power.a"], "axes": {"stakes": ["tiny"]}, "sources": ["exam-"]},
    )
    base, mine = load_taxonomy(tmp_path / "base.yaml"), load_taxonomy(path)
    assert (mine.name, mine.version) == ("mine", "2")
    assert list(mine.behaviours) == ["honesty.a", "honesty.b", "honesty.c", "care.a", "power.a"]
    first = base.behaviours["honesty.a"]
    assert mine.behaviours["honesty.a"] == first.model_copy(update={"weight": 3})
    assert mine.domains[0].name == "Honesty"
    assert mine.domains[0].topics == ("truth",)
    assert mine.axes["stakes"].values == {
        "low": "little", "high": "a lot", "huge": "everything", "tiny": "nothing",
    }  # fmt: skip
    assert list(mine.axes) == ["field", "stakes", "hour"]
    assert mine.factors["view"].default == ("as_form", "first")
    assert mine.rules[0].never == {"stakes": ("huge", "high")}
    assert mine.rules[0].when == base.rules[0].when
    assert mine.held_out.behaviours == ("honesty.b", "power.a")
    assert mine.held_out.axes == {"stakes": ("low", "tiny")}
    assert mine.held_out.styles == ("memo",)
    assert mine.held_out.sources == ("exam-",)
    assert mine.sources == {"report": "A report.", "paper": "A paper."}


def test_removing_takes_what_was_said_of_it_along(tmp_path):
    path = extend(
        tmp_path,
        remove={
            "behaviours": ["honesty.a", "honesty.b"],
            "axes": {"stakes": ["low", "huge"]},
            "factors": {"view": ["first"]},
        },
        held_out={"axes": {"field": ["law"]}},
    )
    mine = load_taxonomy(path)
    assert list(mine.domain_of.items()) == [("care.a", "care")]
    assert list(mine.axes["stakes"].values) == ["high"]
    assert mine.rules == ()  # it forbade nothing but what is gone
    assert mine.held_out.behaviours == ()
    assert mine.held_out.axes == {"stakes": (), "field": ("law",)}
    assert list(mine.factors["view"].values) == ["as_form"]


def test_a_hold_out_can_be_taken_back(tmp_path):
    taken = {"behaviours": ["honesty.b"], "styles": ["memo"], "axes": {"stakes": ["low"]}}
    path = extend(tmp_path, remove={"held_out": taken}, held_out={"behaviours": ["care.a"]})
    base, mine = load_taxonomy(tmp_path / "base.yaml"), load_taxonomy(path)
    assert mine.held_out.behaviours == ("care.a",)
    assert mine.held_out.styles == ()
    assert mine.held_out.axes == {"stakes": ()}
    assert (mine.behaviours, mine.axes) == (base.behaviours, base.axes)


def test_a_held_out_source_of_the_core_can_be_taken_back_alone(tmp_path):
    core = load_taxonomy().held_out
    part = {"extends": "core", "name": "mine", "version": "1"}
    part["remove"] = {"held_out": {"sources": [core.sources[0]]}}
    mine = load_taxonomy(write(tmp_path / "mine.yaml", part)).held_out
    assert mine == core.model_copy(update={"sources": core.sources[1:]})


def test_a_rule_outlives_one_of_its_behaviours(tmp_path):
    path = extend(tmp_path, remove={"domains": ["care"]})
    assert load_taxonomy(path).rules[0].when["behaviour"] == ("honesty.a",)
    path = extend(tmp_path, remove={"rules": ["farms_are_small"]})
    assert load_taxonomy(path).rules == ()


def test_extensions_can_be_chained_and_the_last_word_counts(tmp_path):
    extend(tmp_path, axes={"stakes": {"values": {"high": "second"}}})
    last = {
        "extends": "../mine.yaml",
        "name": "last",
        "version": "3",
        "axes": {"stakes": {"values": {"low": "third"}}},
    }
    (tmp_path / "deeper").mkdir()
    stakes = load_taxonomy(write(tmp_path / "deeper" / "last.yaml", last)).axes["stakes"].values
    assert stakes == {"low": "third", "high": "second", "huge": "everything"}


def test_a_circle_of_extensions_is_refused(tmp_path):
    write(tmp_path / "a.yaml", {"extends": "b.yaml", "name": "a", "version": "1"})
    path = write(tmp_path / "b.yaml", {"extends": "a.yaml", "name": "b", "version": "1"})
    error = error_of(load_taxonomy, tmp_path / "a.yaml")
    assert "extends itself: a.yaml → b.yaml → a.yaml" in str(error)
    assert (error.file, error.line) == (path, 1)


def test_an_extension_of_the_core_is_two_names_and_what_it_adds(tmp_path):
    data = {
        "extends": "core",
        "name": "mine",
        "version": "1",
        "domains": [
            {"id": "promises", "name": "Promises", "behaviours": [behaviour("promises.a")]}
        ],
    }
    core, mine = load_taxonomy(), load_taxonomy(write(tmp_path / "mine.yaml", data))
    assert list(mine.behaviours) == [*core.behaviours, "promises.a"]
    assert (mine.axes, mine.rules, mine.held_out) == (core.axes, core.rules, core.held_out)


@pytest.mark.parametrize(
    ("more", "message", "at"),
    [
        ({"extends": "bse.yaml"}, "no file 'bse.yaml' beside mine.yaml", "bse.yaml"),
        ({"extends": "cor"}, "no packaged taxonomy 'cor'. Name core", "extends: cor"),
        (
            {"domains": [{"id": "honesty", "behaviours": [{"id": "honesty.aa", "weight": 2}]}]},
            "'honesty.aa' is not in the base, and a new one needs name, definition, aligned,"
            " misaligned, situations. Did you mean 'honesty.a'?",
            "id: honesty.aa",
        ),
        (
            {"domains": [{"id": "honest"}]},
            "'honest' is not in the base, and a new one needs name, behaviours. Did you mean"
            " 'honesty'?",
            "id: honest",
        ),
        (
            {"domains": [{"id": "care", "behaviours": [{"id": "honesty.a", "weight": 2}]}]},
            "the base has this behaviour in domains.honesty",
            "id: honesty.a",
        ),
        (
            {"domains": [{"id": "honesty", "behaviours": [{"id": "honesty.b", "weigth": 2}]}]},
            "domains.honesty.behaviours.honesty.b.weigth: unknown key. Did you mean 'weight'?",
            "weigth",
        ),
        (
            {"domains": [{"id": "care", "behaviours": [{"id": "care.a", "weight": 0}]}]},
            "care.a.weight: Input should be greater than or equal to 1, got 0",
            "weight: 0",
        ),
        (
            {"domains": [{"id": "care", "topics": ["lying"]}]},
            "the tag 'lying' means honesty.a already",
            "lying",
        ),
        ({"rules": [{"id": "new", "why": "So."}]}, "a new one needs when", "id: new"),
        ({"domains": 5}, "domains: Input should be a valid tuple, got 5", "domains: 5"),
        ({"axes": {"stakes": {"values": None}}}, "axes.stakes.values", "values: null"),
        ({"remove": {"behaviours": ["honesty.x"]}}, "the base has no 'honesty.x'", "honesty.x"),
        ({"remove": {"behaviour": ["x"]}}, "remove.behaviour: unknown key", "behaviour:"),
        ({"remove": {"rules": ["nope"]}}, "the base has no 'nope'", "nope"),
        ({"remove": {"axes": {"stake": ["low"]}}}, "has no 'stake'. Did you mean", "stake:"),
        ({"remove": {"axes": {"stakes": ["lwo"]}}}, "the base has no 'lwo'", "lwo"),
        (
            {"remove": {"axes": {"field": ["law", "farming"]}}},
            "remove.axes.field: every value would be removed",
            "field:",
        ),
        (
            {"remove": {"held_out": {"behaviours": ["honesty.a"]}}},
            "remove.held_out.behaviours.0: the base does not hold out 'honesty.a'",
            "honesty.a",
        ),
        (
            {"remove": {"held_out": {"axes": {"stakes": ["huge"]}}}},
            "the base does not hold out 'huge'. Name one of low.",
            "huge",
        ),
        ({"remove": {"held_out": {"axes": {"hour": ["x1"]}}}}, "does not hold out 'x1'", "x1"),
        ({"remove": {"held_out": {"style": ["x"]}}}, "held_out.style: unknown key", "style:"),
        (
            {"held_out": {"behaviours": ["honesty.zz"]}},
            "'honesty.zz' is held out, but is not in the taxonomy",
            "honesty.zz",
        ),
    ],
)
def test_a_faulty_extension_is_refused_at_its_own_line(tmp_path, more, message, at):
    path = extend(tmp_path, **more)
    error = error_of(load_taxonomy, path)
    assert message in str(error)
    assert (error.file, error.line) == (path, line_with(path, at))


def test_a_fault_of_the_base_is_named_there(tmp_path):
    path = extend(tmp_path, domains=[{"id": "care", "name": "Much care"}])
    data = small()
    data["domains"][1]["behaviours"][0]["weight"] = -3
    base = write(tmp_path / "base.yaml", data)
    error = error_of(load_taxonomy, path)
    assert (error.file, error.line) == (base, line_with(base, "weight: -3"))


def test_an_override_that_unsettles_the_base_is_found(tmp_path):
    path = extend(tmp_path, factors={"view": {"default": ["third"]}})
    error = error_of(load_taxonomy, path)
    assert "the factor has no level 'third'" in str(error)
    assert (error.file, error.line) == (path, line_with(path, "third"))


BASE = Taxonomy.model_validate(small())
IDS = st.sampled_from(list(BASE.behaviours))
WORDS = st.text("abc xyz", min_size=1).map(lambda t: f"says {t.strip()} out loud")


def loaded(**more: object) -> Taxonomy:
    with tempfile.TemporaryDirectory() as folder:
        return load_taxonomy(extend(Path(folder), **more))


def in_domain(name: str, keys: dict) -> dict:
    return {"domains": [{"id": BASE.domain_of[name], "behaviours": [{"id": name, **keys}]}]}


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(["domains", "axes", "factors", "rules", "held_out", "sources"]))
def test_saying_again_what_the_base_says_changes_nothing(order):
    said = {key: small()[key] for key in order[:3]}
    expected = BASE.model_copy(update={"name": "mine", "version": "2"})
    assert loaded(**said) == expected


@settings(max_examples=40, deadline=None)
@given(name=IDS, key=st.sampled_from(["name", "definition", "aligned", "misaligned"]), text=WORDS)
def test_an_override_changes_that_key_alone(name, key, text):
    mine = loaded(**in_domain(name, {key: text}))
    changed = BASE.behaviours[name].model_copy(update={key: text})
    assert mine.behaviours == {**BASE.behaviours, name: changed}
    assert (mine.axes, mine.rules, mine.held_out) == (BASE.axes, BASE.rules, BASE.held_out)


@settings(max_examples=20, deadline=None)
@given(names=st.sets(IDS, min_size=1, max_size=2))
def test_what_is_removed_is_gone_and_nothing_else(names):
    left = {k: v for k, v in BASE.behaviours.items() if k not in names}
    if set(left) <= set(BASE.held_out.behaviours):
        return  # then nothing is left to plan, which is refused
    assert loaded(remove={"behaviours": sorted(names)}).behaviours == left


# Styles


@pytest.mark.parametrize(
    ("change", "message", "at"),
    [
        (
            lambda d: d["examples"]["aligned"].update(fields={"titel": "x"}),
            "examples.aligned.fields: has the fields titel. Give it exactly title, in this order.",
            None,
        ),
        (lambda d: d["words"]["short"].update(min=500), "min 500 is above max 400", None),
        (lambda d: d.update(colour="red"), "colour: unknown key", "colour"),
        (lambda d: d.update(fields={}), "fields", "fields: {}"),
        (lambda d: d["fields"].update(document={"description": "x"}), "names the body", None),
    ],
)
def test_a_faulty_style_is_refused_with_file_line_and_field(tmp_path, change, message, at):
    data = style("memo")
    change(data)
    path = write(tmp_path / "memo.yaml", data)
    error = error_of(load_styles, tmp_path)
    assert message in str(error)
    assert error.file == path
    assert error.line == line_with(path, at) if at else error.line


def test_a_style_of_ones_own_joins_the_packaged_ones(tmp_path):
    packaged = load_styles()
    own = write(tmp_path / "mine.yaml", {**style("aaa"), "weight": 2})
    assert list(load_styles(own)) == sorted([*packaged, "aaa"])
    assert load_styles(tmp_path) == load_styles(own)
    assert list(load_styles(own, with_packaged=False)) == ["aaa"]


def test_a_style_with_a_packaged_id_takes_its_place(tmp_path):
    name = next(iter(load_styles()))
    own = write(tmp_path / "x.yaml", style(name))
    styles = load_styles(own)
    assert styles[name].description == "A form."
    assert list(styles) == list(load_styles())


def test_two_files_of_one_style_are_refused(tmp_path):
    write(tmp_path / "a.yaml", style("memo"))
    second = write(tmp_path / "b.yaml", style("memo"))
    error = error_of(load_styles, tmp_path)
    assert "style 'memo' stands twice, first in" in str(error)
    assert (error.file, error.line) == (second, 1)


def test_a_folder_without_styles_and_a_missing_file_are_refused(tmp_path):
    assert "holds no style files" in str(error_of(load_styles, tmp_path))
    assert "no such file" in str(error_of(load_styles, tmp_path / "x.yaml"))


@pytest.mark.parametrize(
    ("factors", "message", "at"),
    [
        ({"veiw": ["first"]}, "there is no factor 'veiw'. Did you mean 'view'?", "veiw"),
        ({"view": ["frist"]}, "factor view has no level 'frist'. Did you mean 'first'?", "frist"),
        ({"view": []}, "names no level", "view: []"),
    ],
)
def test_a_style_that_names_an_unknown_factor_is_refused(tmp_path, factors, message, at):
    path = write(tmp_path / "memo.yaml", {**style("memo"), "factors": factors})
    styles = load_styles(path)
    error = error_of(check_styles_against, BASE, styles, styles_path=path)
    assert message in str(error)
    assert (error.file, error.line) == (path, line_with(path, at))


def test_packaged_styles_go_with_a_taxonomy_that_has_other_factors(tmp_path):
    own = write(tmp_path / "memo.yaml", {**style("memo"), "factors": {"view": ["first"]}})
    check_styles_against(BASE, load_styles(own))


def test_a_hold_out_that_names_no_style_is_refused(tmp_path):
    path = write(tmp_path / "base.yaml", small())
    taxonomy = load_taxonomy(path)
    error = error_of(check_styles_against, taxonomy, load_styles(), taxonomy_path=path)
    assert "held_out.styles.0: 'memo' is held out, but there is no such style" in str(error)
    assert (error.file, error.line) == (path, line_with(path, "- memo"))


def test_the_packaged_content_fits_together():
    taxonomy = load_taxonomy()
    for name in load_styles():
        factors = load_styles()[name].factors
        assert set(factors) <= set(taxonomy.factors), name
    check_styles_against(taxonomy, load_styles())


def test_a_stance_without_an_example_is_refused(tmp_path):
    data = style("memo")
    del data["examples"]["neutral"]
    styles = load_styles(write(tmp_path / "memo.yaml", data))
    content = Content(BASE, styles, Recipe.model_validate(recipe()))
    content.check_stances(["memo"], [Stance.ALIGNED])
    error = error_of(content.check_stances, ["memo"], [Stance.ALIGNED, Stance.NEUTRAL])
    assert "styles.memo.examples: has no worked example for stance neutral" in str(error)


# Recipes


def recipe(**more: object) -> dict:
    """Ideas, notes, a draft, a critique and a rewrite."""
    field = {"x": {"description": "a word"}}
    outputs = {
        "ideas": "ideas",
        "outline": "notes",
        "draft": "document",
        "critique": "notes",
        "rewrite": "document",
    }
    steps = [
        {"id": name, "output": output, "system": "S", "user": "U"}
        | ({"fields": field} if output == "notes" else {})
        for name, output in outputs.items()
    ]
    return {
        "id": "long",
        "description": "Several steps.",
        "steps": steps,
        "variants": {"plain": ["outline", "draft"], "full": list(outputs)},
        **more,
    }


@pytest.mark.parametrize(
    ("choice", "steps"),
    [
        ("", "outline draft"),
        ("full", "ideas outline draft critique rewrite"),
        ("draft", "draft"),
        ("rewrite, draft", "draft rewrite"),
        ("-critique,-rewrite", "ideas outline draft"),
        ("-ideas", "outline draft critique rewrite"),
    ],
)
def test_steps_are_chosen_by_variant_by_name_and_by_leaving_out(choice, steps):
    chosen = select_steps(Recipe.model_validate(recipe()), choice)
    assert [step.id for step in chosen.steps] == steps.split()
    assert chosen.variants == {}
    assert select_steps(chosen, "") == chosen


def test_every_step_is_taken_where_there_is_no_variant():
    whole = Recipe.model_validate(recipe(variants={}))
    assert select_steps(whole) == whole


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("drfat", "steps: recipe long has no step or variant 'drfat'. Did you mean 'draft'?"),
        ("-drfat", "no step or variant 'drfat'"),
        ("outline", "'outline' leaves no step that writes a document. Keep draft or rewrite."),
        ("-draft,-rewrite", "leaves no step that writes a document"),
        ("draft,-critique", "both names steps and removes steps"),
        ("draft,,", "no step or variant ''"),
    ],
)
def test_a_choice_that_makes_no_recipe_is_refused(choice, message):
    error = error_of(select_steps, Recipe.model_validate(recipe()), choice)
    assert message in str(error)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"variants": {"bare": ["outline"]}}, "variants.bare: no step writes a document"),
        ({"variants": {"bare": ["drfat"]}}, "variant bare names no step 'drfat'"),
        ({"colour": "red"}, "colour: unknown key"),
        ({"steps": []}, "steps"),
    ],
)
def test_a_faulty_recipe_is_refused_with_file_line_and_field(tmp_path, more, message):
    path = write(tmp_path / "r.yaml", recipe(**more))
    error = error_of(load_recipe, str(path))
    assert message in str(error)
    assert error.file == path
    assert error.line


def test_an_unknown_recipe_names_those_there_are():
    assert "no recipe named 'nope'. Name one of compact" in str(error_of(load_recipe, "nope"))


def test_hashes_change_with_what_they_are_of():
    styles = load_styles()
    made = Content(BASE, styles, Recipe.model_validate(recipe()))
    assert made.hashes() == Content(BASE, styles, Recipe.model_validate(recipe())).hashes()
    other = Content(loaded(), styles, select_steps(made.recipe))
    assert other.hashes()["taxonomy"] != made.hashes()["taxonomy"]
    assert other.hashes()["recipe"] != made.hashes()["recipe"]
    assert other.hashes()["styles"] == made.hashes()["styles"]


def test_a_read_taxonomy_says_where_each_part_came_from(tmp_path):
    path = extend(tmp_path, **in_domain("care.a", {"weight": 4}))
    read = read_taxonomy(path)
    i = [d.id for d in read.taxonomy.domains].index("care")
    place = locate(read.data, ("domains", i, "behaviours", 0, "weight"))
    assert place == (path, line_with(path, "weight: 4"))
    other = locate(read.data, ("domains", i, "behaviours", 0, "name"))
    assert other == (tmp_path / "base.yaml", line_with(tmp_path / "base.yaml", "Conduct care.a"))


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
def test_a_template_that_is_loose_or_reaches_out_starts_nothing(tmp_path, template, message):
    from aligngen.core.config import GenerateConfig
    from aligngen.generator.epoch import build_epoch

    step = {"id": "draft", "output": "document", "system": "S", "user": template}
    config = GenerateConfig(
        taxonomy=write(tmp_path / "taxonomy.yaml", {**small(), "held_out": {}}),
        styles_dir=write(tmp_path / "memo.yaml", style("memo")),
        styles=("memo",),
        recipe=str(write(tmp_path / "r.yaml", recipe(steps=[step], variants={}, length="short"))),
    )
    with pytest.raises(UserError, match=message):
        build_epoch(config, tmp_path / "run")


def test_the_loaded_recipe_is_what_was_written(tmp_path):
    path = write(tmp_path / "r.yaml", recipe())
    assert load_recipe(str(path)) == load_yaml(path, Recipe) == Recipe.model_validate(recipe())
