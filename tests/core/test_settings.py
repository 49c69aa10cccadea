from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aligngen.core.config import GenerateConfig
from aligngen.core.errors import UserError
from aligngen.core.settings import environment_names, resolve
from aligngen.generator.run import resolved_yaml


def test_later_layers_win(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text("n: 1\nseed: 1\nmax_attempts: 1\nengine: {max_num_seqs: 1}\n")
    config = resolve(
        GenerateConfig,
        file=file,
        environment={"ALIGNGEN_SEED": "2", "ALIGNGEN_MAX_ATTEMPTS": "2", "OTHER": "x"},
        options={"max_attempts": 3, "n": None},
    )
    assert (config.n, config.seed, config.max_attempts) == (1, 2, 3)
    assert config.engine.max_num_seqs == 1
    assert config.temperature is None


def test_every_setting_has_an_environment_variable():
    names = environment_names(GenerateConfig)
    assert names["ALIGNGEN_ENGINE_MODEL"] == "engine.model"
    assert names["ALIGNGEN_DEDUP_MAX_DUPLICATE_RATE"] == "dedup.max_duplicate_rate"
    assert len(set(names)) == len(names) > 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed: 1\n", r"c\.yaml:1: sed: unknown key\. Did you mean 'seed'\?"),
        ("n: 5\nengine:\n  modl: x\n", r"c\.yaml:3: engine\.modl: unknown key"),
        ("n: many\n", r"c\.yaml:1: n: .*got 'many'"),
        ("n: 0\n", r"greater than or equal to 1, got 0"),
        ("- a\n- b\n", r"c\.yaml"),
        ("stance: [good]\n", r"stance\.0: .*got 'good'"),
    ],
)
def test_a_faulty_file_is_refused_with_file_line_and_value(tmp_path: Path, text, message):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        resolve(GenerateConfig, file=file, environment={})


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "is not key=value"),
        ("sed=1", "unknown key"),
        ("seed.x=1", "seed"),
        ("n=[", "is not a YAML value"),
    ],
)
def test_a_faulty_assignment_is_refused(assignment, message):
    with pytest.raises(UserError, match=message):
        resolve(GenerateConfig, environment={}, assignments=[assignment])


@given(
    n=st.integers(1, 10**9),
    seed=st.integers(0, 2**40),
    rate=st.floats(0.01, 1),
    styles=st.lists(st.sampled_from(["a", "b", "yes", "1", "~"]), max_size=3),
)
def test_a_resolved_configuration_reads_back_as_itself(n, seed, rate, styles):
    config = GenerateConfig.model_validate(
        {"n": n, "seed": seed, "styles": styles, "dedup": {"max_duplicate_rate": rate}}
    )
    assert GenerateConfig.model_validate(yaml.safe_load(resolved_yaml(config))) == config
