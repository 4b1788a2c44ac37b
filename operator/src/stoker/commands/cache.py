"""`stoker cache ls|verify|warm`: model caches as the user who asks may see and change them.

What is shown is the status that the operator writes; what is asked of it is an annotation, or a
ModelCache. Exit statuses: `stoker.commands.exits`.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console

from stoker import naming
from stoker.caching import preload
from stoker.clock import SystemClock
from stoker.cluster.client import APPLY, MERGE, Client
from stoker.cluster.kinds import CACHE, SERVICE
from stoker.commands import answers, caches, cachetable, running
from stoker.commands.caches import Ending
from stoker.commands.exits import Exit
from stoker.commands.following import (
    Body,
    Matter,
    Patience,
    Progress,
    follow,
    looking,
    screen_of,
)
from stoker.commands.inputs import InputError
from stoker.commands.reach import (
    Context,
    Form,
    Kubeconfig,
    Namespace,
    Output,
    Where,
    check_names,
    finish,
    print_data,
    seconds_of,
    with_cluster,
)
from stoker.commands.running import CACHES, CommandError
from stoker.commands.tables import plain
from stoker.errors import ClusterUnavailable, Conflict, NotFound, Refused, StokerError
from stoker.model.observed import Key

app = typer.Typer(
    help="Model caches: what they hold, how far they are, and whether they are good.",
    no_args_is_help=True,
)

_LOOK = "`stoker cache ls` shows how far it is"


class Listing(StrEnum):
    """How the list is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


Timeout = Annotated[
    str, typer.Option("--timeout", help="How long to wait: 90s, 10m, 2h. The work goes on.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Ask for it, and do not wait.")]


@app.command("ls")
def list_caches(
    namespace: Namespace = None,
    everywhere: Annotated[
        bool, typer.Option("-A", "--all-namespaces", help="Those of every namespace.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[
        Listing, typer.Option("-o", "--output", help="Form of the answer.")
    ] = Listing.TABLE,
) -> None:
    """List the caches: how far they are, how large, when proven, and who uses them."""

    def answer() -> Exit:
        if everywhere and namespace is not None:
            raise InputError("pass one of -n and -A")
        check_names(namespace)
        where = Where(namespace, kubeconfig, context)
        return with_cluster(where, partial(_list, everywhere=everywhere, output=output))

    finish(answer)


@app.command()
def verify(  # noqa: PLR0917 - the options, as typer reads them
    name: Annotated[str, typer.Argument(help="Of the cache.", metavar="NAME")],
    namespace: Namespace = None,
    no_wait: NoWait = False,
    timeout: Timeout = "2h",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Have every byte of a cache read and compared now; bad files are fetched again."""

    def answer() -> Exit:
        check_names(name, namespace)
        seconds = seconds_of(timeout)

        async def act(client: Client, there: str) -> Exit:
            return await _verify(client, Key(there, name), None if no_wait else seconds, output)

        return with_cluster(Where(namespace, kubeconfig, context), act)

    finish(answer)


@app.command()
def warm(  # noqa: PLR0917 - the options, as typer reads them
    name: Annotated[
        str | None, typer.Argument(help="Of the cache.", metavar="NAME", show_default=False)
    ] = None,
    uri: Annotated[
        str | None, typer.Option(help="Make a cache of this address first: hf://ORG/NAME.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag, commit or digest; with --uri.")
    ] = None,
    secret: Annotated[
        str | None, typer.Option(help="Secret with what the source asks for; with --uri.")
    ] = None,
    named: Annotated[
        str | None,
        typer.Option("--name", help="Of the cache that is made. Default: the address's last part."),
    ] = None,
    namespace: Namespace = None,
    no_wait: NoWait = False,
    timeout: Timeout = "12h",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Wait until a cache holds its model, on each of its nodes; with --uri make it first."""

    def answer() -> Exit:
        seconds = None if no_wait else seconds_of(timeout)
        if (name is None) == (uri is None):
            raise InputError("pass one of: NAME (of a cache that exists), --uri (to make one)")
        if uri is None:
            if (revision, secret, named) != (None, None, None):
                raise InputError("--revision, --secret and --name go with --uri")
            manifest = None
            its = name or ""
        else:
            its = named if named is not None else caches.name_for(uri)
            manifest = preload.manifest_of(its, preload.model_of(uri, revision, secret))
            problem = preload.problem_of(manifest)
            if problem is not None:
                raise InputError(f"--uri {uri}: {problem}")
        check_names(its, namespace)

        async def act(client: Client, there: str) -> Exit:
            return await _warm(client, Key(there, its), manifest, seconds, output)

        return with_cluster(Where(namespace, kubeconfig, context), act)

    finish(answer)


async def _list(client: Client, namespace: str, *, everywhere: bool, output: Listing) -> Exit:
    within = None if everywhere else namespace
    try:
        found = await running.read_all(client, CACHE.path(within))
    except StokerError as error:
        raise running.told(error, Key(namespace, ""), CACHES) from error
    try:
        services = await running.read_all(client, SERVICE.path(within)) if found else []
    except (Refused, NotFound):
        services = None
        typer.echo(
            "who uses them is not shown: that takes the right `list` on "
            "inferenceservices.stoker.dev",
            err=True,
        )
    except (ClusterUnavailable, Conflict) as error:
        raise running.told(error, Key(namespace, ""), CACHES) from error
    listed = sorted(
        (caches.view(body, services) for body in found),
        key=lambda each: (each.namespace, each.name),
    )
    if output in {Listing.JSON, Listing.YAML}:
        data = {"caches": [answers.as_data_of(each) for each in listed]}
        print_data(data, Output(output.value))
    elif listed:
        wide = output is Listing.WIDE
        cachetable.show(listed, time.time(), everywhere=everywhere, wide=wide)
    else:
        where = "in any namespace" if everywhere else f"in namespace {namespace}"
        typer.echo(
            f"there are no model caches {where}; `stoker cache warm --uri hf://ORG/NAME` makes one",
            err=True,
        )
    return Exit.DONE


async def _verify(client: Client, key: Key, seconds: float | None, output: Output) -> Exit:
    body = await running.read(client, key, CACHES)
    if not caches.holds(body):
        raise CommandError(
            f"{key} holds nothing yet ({caches.line(caches.view(body, None))}); `stoker cache warm "
            f"{key.name} -n {key.namespace}` waits for it",
            Exit.REFUSED,
        )
    before = caches.attempts_of(body)
    word = datetime.now(UTC).isoformat(timespec="microseconds")
    patch = {"metadata": {"annotations": {naming.ANNOTATION_VERIFY: word}}}
    body = await _write(client, key, patch, MERGE)
    asked = f"every byte of {key} is going to be read"
    return await _wait(
        client,
        key,
        (body, asked),
        lambda seen: caches.proven(seen, word, before),
        (seconds, output),
    )


async def _warm(
    client: Client,
    key: Key,
    manifest: Mapping[str, Any] | None,
    seconds: float | None,
    output: Output,
) -> Exit:
    body: Body
    if manifest is None:
        body = await running.read(client, key, CACHES)
        said = caches.line(caches.view(body, None))
    else:
        body, said = await _make(client, key, manifest)
    return await _wait(client, key, (body, said), caches.warmed, (seconds, output))


async def _make(client: Client, key: Key, manifest: Mapping[str, Any]) -> tuple[Body, str]:
    """The cache of that name and model; `CommandError` where the name is another model's."""
    model = manifest["spec"]["model"]
    path = CACHE.path(key.namespace, key.name)
    try:
        existing = await client.get(path)
    except NotFound as error:
        if f'"{key.name}" not found' not in str(error):
            raise running.told(error, key, CACHES) from error
        return await _write(client, key, manifest, APPLY), f"ModelCache {key} is made"
    except StokerError as error:
        raise running.told(error, key, CACHES) from error
    if caches.same_model(existing, model):
        return existing, f"ModelCache {key} is there already"
    its = existing["spec"]["model"]
    secret = (its.get("secretRef") or {}).get("name")
    raise CommandError(
        f"there is a ModelCache {key} of {its.get('uri')}, revision {its.get('revision') or '-'}, "
        f"Secret {secret or '-'}, and it is left as it is: pass another --name, or warm that one "
        f"with `stoker cache warm {key.name} -n {key.namespace}`",
        Exit.REFUSED,
    )


async def _write(
    client: Client, key: Key, body: Mapping[str, Any], content_type: str
) -> dict[str, Any]:
    query = {"fieldManager": naming.COMMAND_USER_AGENT}
    if content_type == APPLY:
        query["force"] = "false"
    path = CACHE.path(key.namespace, key.name)
    try:
        return await client.write("PATCH", path, body, query=query, content_type=content_type)
    except StokerError as error:
        raise running.told(error, key, CACHES) from error


async def _wait(
    client: Client,
    key: Key,
    begun: tuple[Body, str],
    judge: Callable[[Body], Ending | None],
    how: tuple[float | None, Output],
) -> Exit:
    body, said = begun
    seconds, output = how
    if seconds is None:
        ending = judge(body) or Ending(
            None, f"{said}; `stoker cache ls -n {key.namespace}` shows how far it is"
        )
    else:
        clock = SystemClock()
        screen = screen_of(Console(stderr=True, highlight=False), clock)
        try:
            body, ending = await follow(
                Matter(looking(client, key, CACHES), judge, progress_of, _LOOK),
                screen,
                Patience(seconds, clock),
            )
        except ClusterUnavailable as error:
            raise running.told(error, key, CACHES) from error
    if output is Output.TABLE:
        typer.echo(plain(f"{ending.words}."))
    else:
        print_data(caches.as_data(caches.view(body, None), ending), output)
    return Exit.DONE if ending.exit is None else ending.exit


def progress_of(body: Body) -> Progress:
    """How far a cache is."""
    cache = caches.view(body, None)
    return Progress(
        f"{cache.namespace}/{cache.name}",
        caches.line(cache),
        cache.percent,
        (cache.phase, cache.reason, cache.nodes_ready),
    )
