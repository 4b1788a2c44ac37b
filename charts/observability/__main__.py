"""Writes the chart's rules, or says which of them are out of date (`--check`)."""

import sys
from pathlib import Path

from charts.observability.generated import files

CHART = Path(__file__).parents[1] / "stoker"


def main(arguments: list[str]) -> int:
    """Exit status: 0, or 1 where `--check` finds a difference, 2 for bad arguments."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m charts.observability [--check]", file=sys.stderr)
        return 2
    stale = {path: text for path, text in files().items() if _read(CHART / path) != text}
    if arguments:
        for path in stale:
            print(f"{CHART / path} is out of date: run `make generate`", file=sys.stderr)
        return 1 if stale else 0
    for path, text in stale.items():
        (CHART / path).parent.mkdir(parents=True, exist_ok=True)
        (CHART / path).write_text(text, encoding="utf-8")
    return 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
