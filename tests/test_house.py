import importlib
import pkgutil
from pathlib import Path

import pytest

import aligngen

ROOT = Path(__file__).parent.parent
MODULES = [
    m.name
    for m in pkgutil.walk_packages(aligngen.__path__, "aligngen.")
    if not m.ispkg and not m.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_listed_sorted_and_there(name):
    module = importlib.import_module(name)
    assert module.__doc__
    names = module.__all__
    assert list(names) == sorted(names, key=lambda n: (n != n.upper(), n[0].islower(), n))
    assert all(hasattr(module, n) for n in names)


@pytest.mark.parametrize("name", ["generator", "prompts", "taxonomies"])
def test_the_top_level_names_lead_into_the_package(name):
    assert (ROOT / name).is_symlink()
    assert (ROOT / name).resolve() == ROOT / "aligngen" / name


def test_no_remote_code_pickle_or_unsafe_yaml():
    for path in (ROOT / "aligngen").rglob("*.py"):
        text = path.read_text()
        assert "trust_remote_code=True" not in text, path
        assert "yaml.load(" not in text, path
        assert "import pickle" not in text, path


def test_the_changelog_speaks_of_this_version():
    assert f"## {aligngen.__version__}" in (ROOT / "CHANGELOG.md").read_text()
