"""The site is built as it is for readers, and a link that leads nowhere is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from docs.tools import site


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    built = site.build(site.ROOT, tmp_path)
    for page in site.pages(site.ROOT):
        html = Path(page).with_suffix("") / "index.html"
        html = html if html.parent.name != "README" else html.parent.parent / "index.html"
        assert (built / html).exists(), page
    home = (built / "index.html").read_text()
    assert "Quick start" in home
    assert "https://fonts." not in home


def test_links_that_lead_nowhere_are_faults(tmp_path: Path) -> None:
    """In a checkout of a few short pages, which is built ten times as fast."""
    checkout = tmp_path / "checkout"
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "benchmarks/README.md", "docs/install.md"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(f"# {name}\n")
    (checkout / "benchmarks/autoscale/plots").mkdir(parents=True)
    shutil.copy(site.ROOT / site.CONFIGURATION, checkout)
    (checkout / "docs/concepts.md").write_text(
        "[page](../docs/nowhere.md) [anchor](../docs/install.md#nowhere) [good](install.md)\n"
    )
    (tmp_path / "built").mkdir()
    with pytest.raises(site.SiteError) as refused:
        site.build(checkout, tmp_path / "built")
    said = str(refused.value)
    assert said.count("docs/concepts.md:") == 2, said
    assert "2 issues found" in said
