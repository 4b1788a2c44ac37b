"""What a shell may offer at the cursor: commands, options, and names that the cluster knows.

A shell waits before every answer, so a cluster has two seconds; what it does not say by then, or
what goes wrong, is offered as nothing. Nothing here writes a file.
"""

import asyncio
import contextlib
import io
import os
import shlex
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.completion import (  # type: ignore[attr-defined]  # documented, not re-exported
    completion_init,
    get_completion_script,
)

# How long somebody who presses TAB may wait.
LIMIT_S: Final = 2.0
_MOST: Final = "500"
VARIABLE: Final = "_STOKER_COMPLETE"
# A description is one line.
_WIDE: Final = "10000"
# Of the protocol between kubectl and its plugins: these are no names of files.
_NO_FILES: Final = ":4"


class Shell(StrEnum):
    """Shells that can be told."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="Whose script.", metavar="bash|zsh|fish")],
) -> None:
    """Print what the shell has to read for completion; no file is written."""
    script = get_completion_script(prog_name="stoker", complete_var=VARIABLE, shell=shell.value)
    typer.echo(script)


def services(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the InferenceServices of the namespace that is meant."""
    from stoker.cluster.kinds import SERVICE  # noqa: PLC0415 - only where it is asked for

    return _offer(ctx, incomplete, SERVICE.path)


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the namespaces that there are."""
    return _offer(ctx, incomplete, lambda _: "/api/v1/namespaces")


def contexts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the kubeconfig's contexts."""
    from kubernetes.aio.config import list_kube_config_contexts  # noqa: PLC0415 - as above

    given = ctx.params.get("kubeconfig")
    try:
        found, _ = list_kube_config_contexts(str(given) if given else None)  # type: ignore[no-untyped-call]
        names = [str(each["name"]) for each in found]
    except Exception:  # noqa: BLE001 - whatever is wrong is told by the command itself
        return []
    return [name for name in names if name.startswith(incomplete)]


def _offer(ctx: typer.Context, incomplete: str, path: Callable[[str], str]) -> list[str]:
    given = ctx.params
    kubeconfig = given.get("kubeconfig")

    async def ask() -> list[str]:
        from stoker.cluster.client import METADATA_LIST, connect_as_user  # noqa: PLC0415 - as above

        client, default = await connect_as_user(
            Path(kubeconfig) if kubeconfig else None, given.get("context")
        )
        try:
            where = path(given.get("namespace") or default)
            page = await client.get(where, {"limit": _MOST}, METADATA_LIST)
        finally:
            await client.close()
        names = [str((each.get("metadata") or {}).get("name")) for each in page.get("items") or ()]
        return sorted(name for name in names if name.startswith(incomplete))

    return within(LIMIT_S, ask)


def within(limit_s: float, ask: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """What is answered in time; nothing where it is not, or where anything is wrong."""

    async def bounded() -> list[str]:
        return await asyncio.wait_for(ask(), limit_s)

    try:
        return asyncio.run(bounded())
    except Exception:  # noqa: BLE001 - whatever is wrong is told by the command itself
        return []


def answer_shell(app: typer.Typer) -> None:
    """Answer where it is a shell that asks, and end; else do nothing."""
    if os.environ.get(VARIABLE):
        os.environ["COLUMNS"] = _WIDE
        completion_init()
        app(prog_name="stoker", complete_var=VARIABLE)


def answer_kubectl(app: typer.Typer, words: list[str]) -> str:
    """What `kubectl stoker WORDS…` may go on with, as kubectl wants it from `kubectl_complete-…`.

    One line for each, a description behind a tab, and a last line that says: no files.
    """
    completion_init()
    *before, last = words or [""]
    line = f"{shlex.join(['stoker', *before])} {shlex.quote(last) if last else ''}"
    # The form that fish is told is the one that kubectl wants.
    os.environ[VARIABLE] = "complete_fish"
    os.environ["COLUMNS"] = _WIDE
    os.environ["_TYPER_COMPLETE_ARGS"] = line
    os.environ["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        app(prog_name="stoker", complete_var=VARIABLE)
    found = [line for line in text.getvalue().splitlines() if line.strip()]
    return "\n".join([*found, _NO_FILES])
