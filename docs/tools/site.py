"""The site: which pages it has, where each stands, and the folder that Zensical builds it from.

Pages link to each other as they lie in the repository, README.md and benchmarks/README.md included,
so that the links work on a code host too. Zensical wants all pages below one folder, and nothing
else in it, so they are copied there side by side, as they are: no link is rewritten.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CONFIGURATION = "mkdocs.yml"
_ALONE = ("README.md", "CHANGELOG.md", "LICENSE", "benchmarks/README.md")
_BESIDE = ("docs", "benchmarks/autoscale/plots")  # folders, with pictures and examples
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BUILD_SECONDS = 300


class SiteError(Exception):
    """The site cannot be built without a warning; the message is what Zensical said."""


def pages(root: Path) -> list[str]:
    """Every page of a checkout, as its path from the root, sorted."""
    found = [root / name for name in _ALONE if name.endswith(".md")]
    found += [path for path in (root / "docs").rglob("*.md") if "__" not in path.name]
    return sorted(path.relative_to(root).as_posix() for path in found)


def navigation(root: Path) -> list[Any]:
    """The configuration's navigation, with patterns expanded and pages that are not there left out.

    Sections that have no page are left out with them.
    """
    present = set(pages(root))
    configuration = yaml.safe_load((root / CONFIGURATION).read_text(encoding="utf-8"))
    return _expanded(configuration["nav"], present)


def placed(nav: list[Any]) -> list[str]:
    """The pages of a navigation, in its order."""
    found: list[str] = []
    for entry in nav:
        below = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += placed(below) if isinstance(below, list) else [str(below)]
    return found


def build(root: Path, folder: Path) -> Path:
    """Build the site of a checkout below an empty folder, and return where it lies.

    Raises `SiteError` on any warning: a link or an anchor that leads nowhere, above all.
    """
    copied = folder / "pages"
    for name in _BESIDE:
        ignored = shutil.ignore_patterns("tools", "__pycache__")
        shutil.copytree(root / name, copied / name, ignore=ignored)
    for name in _ALONE:
        shutil.copy(root / name, copied / name)
    configuration = yaml.safe_load((root / CONFIGURATION).read_text(encoding="utf-8"))
    configuration["nav"] = navigation(root)
    (folder / CONFIGURATION).write_text(yaml.safe_dump(configuration), encoding="utf-8")
    program = Path(sys.executable).parent / "zensical"
    done = subprocess.run(
        [program, "build", "--strict", "--config-file", CONFIGURATION],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_SECONDS,
    )
    said = _COLOUR.sub("", done.stdout + done.stderr)
    if done.returncode or "Warning" in said:
        raise SiteError(said)
    return folder / "site"


def _expanded(nav: list[Any], present: set[str]) -> list[Any]:
    answer: list[Any] = []
    for entry in nav:
        if isinstance(entry, str):
            fits = [page for page in sorted(present) if Path(page).match(entry)]
            answer += fits if "*" in entry else [entry] * (entry in present)
            continue
        [(title, below)] = entry.items()
        inside = _expanded(below if isinstance(below, list) else [below], present)
        if inside:
            answer.append({title: inside if isinstance(below, list) else inside[0]})
    return answer
