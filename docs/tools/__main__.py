"""Write the generated pages (`python -m docs.tools`), or build the site (`… site FOLDER`)."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from docs.tools import commands, site, situations, values


def generated(root: Path) -> dict[str, str]:
    """Pages that are made from other files: path in the repository, and the whole text."""
    return {
        commands.PAGE: commands.page(root),
        values.PAGE: values.page(root),
        situations.PAGE: situations.rewritten(root),
    }


def main(arguments: list[str]) -> int:
    """Do what is asked for; 1 where the site has a warning."""
    if arguments[:1] == ["site"]:
        return _site(Path(arguments[1] if len(arguments) > 1 else "site"))
    for name, text in generated(site.ROOT).items():
        path = site.ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name}\n")
    return 0


def _site(folder: Path) -> int:
    if folder.exists():
        sys.stderr.write(f"{folder} is there already: remove it, or name another folder\n")
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        try:
            built = site.build(site.ROOT, Path(temporary))
        except site.SiteError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        shutil.copytree(built, folder)
    sys.stdout.write(f"{folder}/index.html\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
