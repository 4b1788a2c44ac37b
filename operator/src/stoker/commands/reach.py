"""Reaching a cluster as the user who asks, the forms that an answer may have, and how it ends."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml

from stoker.cluster.client import Client, connect_as_user
from stoker.commands import completing, running
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.running import CommandError
from stoker.model.observed import Key
from stoker.quantity import parse_duration
from stoker.settings import ConfigError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class Output(StrEnum):
    """How the answer is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


# What the commands that ask a cluster have in common.
Service = Annotated[
    str, typer.Argument(help="Its name.", metavar="SERVICE", autocompletion=completing.services)
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "-n",
        "--namespace",
        help="Of the object. Default: the context's.",
        autocompletion=completing.namespaces,
    ),
]
Kubeconfig = Annotated[Path | None, typer.Option(help="Default: KUBECONFIG, or ~/.kube/config.")]
Context = Annotated[
    str | None,
    typer.Option(help="A context of the kubeconfig.", autocompletion=completing.contexts),
]
Form = Annotated[Output, typer.Option("-o", "--output", help="Form of the answer.")]


@dataclass(frozen=True, slots=True)
class Where:
    """Where an object of a cluster is."""

    namespace: str | None
    kubeconfig: Path | None
    context: str | None


def with_cluster(where: Where, act: Callable[[Client, str], Awaitable[Exit]]) -> Exit:
    """Go to the cluster with the namespace that is meant."""

    async def run() -> Exit:
        client, default = await connect_as_user(where.kubeconfig, where.context)
        try:
            return await act(client, where.namespace or default)
        finally:
            await client.close()

    return asyncio.run(run())


def with_service(
    name: str, where: Where, act: Callable[[Client, Key, dict[str, Any]], Awaitable[Exit]]
) -> Exit:
    """Look at a service of the cluster once, and go on from there."""

    async def run(client: Client, namespace: str) -> Exit:
        key = Key(namespace, name)
        return await act(client, key, await running.read_service(client, key))

    return with_cluster(where, run)


def finish(act: Callable[[], Exit]) -> NoReturn:
    """End a command with its exit status; what went wrong is told on the standard error."""
    try:
        status = act()
    except (InputError, ConfigError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(Exit.BAD_INPUT) from error
    except CommandError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit) from error
    raise typer.Exit(status)


def check_names(*names: str | None) -> None:
    """`InputError` where a name, or a namespace that was given, can be none."""
    for text in names:
        if text is not None and not _NAME.fullmatch(text):
            raise InputError(f"{text!r} is no name: write lower-case letters, digits and dashes")


def seconds_of(text: str, option: str = "--timeout") -> float:
    """Seconds of an option; `InputError` where it is no duration."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from error


def print_data(data: dict[str, Any], output: Output) -> None:
    """The answer for programs."""
    if output is Output.JSON:
        typer.echo(json.dumps(data, indent=2))
    else:
        typer.echo(yaml.safe_dump(data, sort_keys=False), nl=False)
