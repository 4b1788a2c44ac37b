"""Reaching one service of a cluster as the user who asks, and the forms that an answer may have."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
import yaml

from stoker.cluster.client import Client, connect_as_user
from stoker.commands import running
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.model.observed import Key

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class Output(StrEnum):
    """How the answer is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class Where:
    """Where a service of a cluster is."""

    namespace: str | None
    kubeconfig: Path | None
    context: str | None


def with_service(
    name: str, where: Where, act: Callable[[Client, Key, dict[str, Any]], Awaitable[Exit]]
) -> Exit:
    """Look at a service of the cluster once, and go on from there."""

    async def run() -> Exit:
        client, default = await connect_as_user(where.kubeconfig, where.context)
        try:
            key = Key(where.namespace or default, name)
            return await act(client, key, await running.read_service(client, key))
        finally:
            await client.close()

    return asyncio.run(run())


def check_names(*names: str | None) -> None:
    """`InputError` where a name, or a namespace that was given, can be none."""
    for text in names:
        if text is not None and not _NAME.fullmatch(text):
            raise InputError(f"{text!r} is no name: write lower-case letters, digits and dashes")


def print_data(data: dict[str, Any], output: Output) -> None:
    """The answer for programs."""
    if output is Output.JSON:
        typer.echo(json.dumps(data, indent=2))
    else:
        typer.echo(yaml.safe_dump(data, sort_keys=False), nl=False)
