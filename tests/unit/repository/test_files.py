"""What is promised about the repository's own files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
EXAMPLE = re.compile(r"<!-- example: (\S+) -->\n```yaml\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md") for path in ROOT.glob(pattern)
)


def test_the_readmes_examples_are_the_files() -> None:
    examples = EXAMPLE.findall(README)
    assert [name for name, _ in examples] == ["docs/examples/tiny.yaml"]
    for name, text in examples:
        assert text == (ROOT / name).read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text()) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_a_skip_fails_in_continuous_integration(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "test_one.py").write_text("import pytest\ndef test(): pytest.skip('no GPU')\n")
    module = "import pytest\npytest.skip('no', allow_module_level=True)\n"
    (tmp_path / "test_two.py").write_text(module)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    results = {
        ci: subprocess.run(  # noqa: S603
            command,
            env={"PATH": "", "CI": ci},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        for ci in ("", "true")
    }
    assert results[""].returncode in {0, 5}, results[""].stdout
    assert "nothing is: " in results["true"].stdout
    assert results["true"].returncode not in {0, 5}
