"""The blocks of code on the pages: what each is, and whether a test runs it.

A block of commands (`sh`, `bash`, `console`) is run as it stands by
tests/integration/docs/test_blocks.py, which says what world it finds. One that cannot be run there
carries the reason, in a comment right above it, or anywhere on the page for all of its blocks:

    <!-- not run: copying into a pod needs a kubelet -->
    <!-- not run on this page: every query needs a Prometheus -->

Blocks of a page are run one after the other. One that needs a cluster on which the chart is not
installed, whatever the blocks before it did, has `<!-- run without a release -->` above it, and one
whose commands are right to end with another status than 0 `<!-- exit status: 9 -->`. In a `console`
block the lines that begin with `$ ` are commands, with what continues them; the rest is what they
print, and is not compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COMMANDS: Final = frozenset({"sh", "bash", "console"})
OTHERS: Final = frozenset({"yaml", "json", "text", "promql", "toml", "python", "csv", "lua"})
_FENCE: Final = re.compile(r"^\s*(```+|~~~+)\s*(\S*)")
_COMMENT: Final = re.compile(r"^\s*<!--\s*(.*?)\s*-->\s*$")
_WHOLE_PAGE: Final = "not run on this page:"
_LEAST_REASON: Final = 12  # characters; "GPU" alone tells nobody anything


class BlockError(Exception):
    """A block that is not marked as it has to be; the message says where, and what to write."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    where: str  # page:line of its opening fence, as an editor opens it
    language: str
    text: str
    reason: str | None = None  # why no test runs it
    status: int = 0  # the exit status that is right
    fresh: bool = False  # whether a release of the chart is removed before it

    @property
    def page(self) -> str:
        """The page that it is on."""
        return self.where.rpartition(":")[0]

    @property
    def script(self) -> str:
        """The commands alone, for a shell."""
        if self.language != "console":
            return self.text
        lines: list[str] = []
        continued = False
        for line in self.text.splitlines():
            if continued or line.startswith("$ "):
                lines.append(line if continued else line.removeprefix("$ "))
                continued = line.endswith("\\")
        return "\n".join(lines) + "\n"


def blocks_of(page: str, text: str) -> list[Block]:
    """Every block of a page, in order. `BlockError` where one is not marked as it has to be."""
    lines = text.splitlines()
    comments = [match.group(1) for line in lines if (match := _COMMENT.match(line))]
    for_all = next((_reason(page, each) for each in comments if each.startswith(_WHOLE_PAGE)), None)
    found: list[Block] = []
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        start, indent = number, lines[number - 1].index(fence.group(1))
        while number < len(lines) and not lines[number].strip().startswith(fence.group(1)):
            number += 1
        body = [line[indent:] for line in lines[start:number]]
        number += 1
        above = _above(lines, start - 2)
        found.append(_block(f"{page}:{start}", fence.group(2), body, above, for_all))
    return found


def commands(root: Path, pages: list[str]) -> list[Block]:
    """The blocks of commands on these pages."""
    return [
        block
        for page in pages
        for block in blocks_of(page, (root / page).read_text(encoding="utf-8"))
        if block.language in COMMANDS
    ]


def _block(
    where: str, language: str, body: list[str], above: list[str], for_all: str | None
) -> Block:
    if language not in COMMANDS | OTHERS:
        known = ", ".join(sorted(COMMANDS | OTHERS))
        raise BlockError(
            f"{where}: a block says what it is after its fence ({language or 'nothing'} is not "
            f"known): write one of {known}; text for what is neither code nor commands"
        )
    reason, status = for_all, 0
    for comment in above:
        if comment.startswith("not run:"):
            reason = _reason(where, comment)
        elif comment.startswith("exit status:"):
            status = int(comment.partition(":")[2])
    fresh = "run without a release" in above
    return Block(where, language, "\n".join(body) + "\n", reason, status, fresh)


def _above(lines: list[str], at: int) -> list[str]:
    """The comments right above a fence."""
    found: list[str] = []
    while at >= 0 and (comment := _COMMENT.match(lines[at])):
        found.append(comment.group(1))
        at -= 1
    return found


def _reason(where: str, comment: str) -> str:
    reason = comment.partition(":")[2].strip()
    if len(reason) < _LEAST_REASON:
        raise BlockError(f"{where}: say in a few words why it is not run: <!-- not run: … -->")
    return reason
