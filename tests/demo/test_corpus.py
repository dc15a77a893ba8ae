from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("demo_corpus", ROOT / "demo" / "corpus.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("demo") / "python"
    module.write_corpus(folder)
    return folder


def test_python_and_c_modules_are_there(written: Path) -> None:
    csv = (written / "csv.md").read_text()
    assert csv.startswith("# The csv module\n")
    assert "### csv.DictReader" in csv or "class csv.Dialect" in csv
    assert "## math.gcd" in (written / "math.md").read_text()
    assert len(list(written.glob("*.md"))) > 200


def test_private_and_test_modules_are_not(written: Path) -> None:
    names = [path.stem for path in written.glob("*.md")]
    assert not [name for name in names if name.startswith(("_", "test.", "idlelib"))]
    assert "antigravity" not in names
