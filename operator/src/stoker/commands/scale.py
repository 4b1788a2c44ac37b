"""`stoker scale SERVICE N`, or its bounds: a write of the spec, under a name that others can see.

It is one merge patch of the object that was looked at, so a change of somebody else is never
overwritten unseen. The scale subresource is left to autoscalers: a write through it names nobody.
"""

from typing import Annotated, Any

import typer

from stoker import naming
from stoker.cluster.client import MERGE, Client
from stoker.cluster.kinds import SERVICE
from stoker.commands import scaling
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.reach import (
    Context,
    Form,
    Kubeconfig,
    Namespace,
    Output,
    Service,
    Where,
    check_names,
    finish,
    print_data,
    with_service,
)
from stoker.commands.running import SERVICES, CommandError, told
from stoker.commands.tables import plain
from stoker.errors import Conflict, Refused, StokerError
from stoker.model.observed import Key


def scale(  # noqa: PLR0917 - the options, as typer reads them
    service: Service,
    replicas: Annotated[
        int | None,
        typer.Argument(
            metavar="N",
            help="Just so many. A service that scales keeps its bounds for --auto.",
            show_default=False,
        ),
    ] = None,
    least: Annotated[
        int | None, typer.Option("--min", help="Never fewer; 0 lets an idle service go to zero.")
    ] = None,
    most: Annotated[int | None, typer.Option("--max", help="Never more.")] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Follow the load again, within the bounds before N.")
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Set how many replicas SERVICE has, or may have. Whoever owns its manifest may set it back."""

    def answer() -> Exit:
        check_names(service, namespace)
        wish = scaling.Wish(replicas, least, most, auto)
        scaling.check(wish)

        async def act(client: Client, key: Key, body: dict[str, Any]) -> Exit:
            return await _scale(client, key, body, wish, output)

        return with_service(service, Where(namespace, kubeconfig, context), act)

    finish(answer)


async def _scale(
    client: Client, key: Key, body: dict[str, Any], wish: scaling.Wish, output: Output
) -> Exit:
    try:
        change = scaling.rescaled(body, wish)
    except InputError as error:
        raise CommandError(f"{key}: {error}", Exit.REFUSED) from error
    if change.patch:
        version = {"resourceVersion": body["metadata"]["resourceVersion"]}
        metadata = {**(change.patch.get("metadata") or {}), **version}
        try:
            await client.write(
                "PATCH",
                SERVICE.path(key.namespace, key.name),
                {**change.patch, "metadata": metadata},
                query={"fieldManager": naming.COMMAND_USER_AGENT},
                content_type=MERGE,
            )
        except Conflict as error:
            raise CommandError(
                f"{key} was changed by somebody else meanwhile, and nothing was written; run the "
                "command again",
                Exit.CHANGED,
            ) from error
        except Refused as error:
            if "is invalid" not in str(error):
                raise told(error, key, SERVICES) from error
            # Rules between fields, as of a schedule that needs other bounds.
            raise CommandError(f"{key}: {error}", Exit.REFUSED) from error
        except StokerError as error:
            raise told(error, key, SERVICES) from error
    if output is not Output.TABLE:
        print_data(
            {
                "service": str(key),
                "changed": bool(change.patch),
                "before": change.before,
                "after": change.after,
                "note": change.note,
            },
            output,
        )
        return Exit.DONE
    said = f"now {change.after}, {change.before} before"
    if not change.patch:
        said = f"{change.after}, as before"
    typer.echo(plain(f"{key}: {said}{f'; {change.note}' if change.note else ''}."))
    return Exit.DONE
