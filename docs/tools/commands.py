"""The page of every command and option, made from the program itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from typer.cli import get_docs_for_click
from typer.core import TyperGroup
from typer.main import get_command

from stoker.cli import app

if TYPE_CHECKING:
    from pathlib import Path

PAGE: Final = "docs/cli-reference.md"
_INTRODUCTION: Final = """\
# Commands and options

This page is made from the program by `make generate`; `stoker COMMAND --help` shows the same.
What the commands do, their rights and their exit statuses are told in [cli.md](cli.md).

"""


def page(_: Path) -> str:
    """The whole page."""
    command = get_command(app)
    assert isinstance(command, TyperGroup)  # noqa: S101 - an application with commands is one
    with command.make_context("stoker", ["version"]) as context:
        text = get_docs_for_click(
            obj=command,
            ctx=context,  # type: ignore[arg-type]  # as Typer's own command passes it
            name="stoker",
        )
    # Its own title and its options say nothing here; a console's block would be one to run.
    commands = text.partition("\n## ")[2]
    body = f"## {commands}".replace("```console\n$ ", "```text\n")
    return f"{_INTRODUCTION}{body.rstrip()}\n"
