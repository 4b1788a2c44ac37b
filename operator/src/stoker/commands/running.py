"""One service of a cluster, for people: what runs and why, and the word that takes an offer.

Accepting is one annotation, written only onto the object that was looked at: the patch carries its
resourceVersion, and where the API server says that the object has changed since, it is looked at
again. The same offer for the same spec is then accepted all the same (the operator may have written
a status between the two), and another one never is: nobody has seen it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker import naming
from stoker.cluster.client import MERGE, Client
from stoker.cluster.kinds import CACHE, SERVICE, Kind
from stoker.commands.exits import Exit
from stoker.errors import ClusterUnavailable, Conflict, NotFound, Refused, StokerError
from stoker.model.observed import Key

_TRIES: Final = 5
_EVERY: Final = "true"
_PAGE: Final = "500"


class CommandError(StokerError):
    """A command that cannot do what it was asked; carries its exit status."""

    def __init__(self, message: str, status: Exit) -> None:
        super().__init__(message)
        self.exit = status


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind that commands are about, and what working on it takes."""

    kind: Kind
    short: str  # as kubectl calls it
    rights: str


SERVICES: Final = Subject(
    SERVICE,
    "infer",
    "Reading a service takes the right `get` on inferenceservices.stoker.dev, accepting an offer "
    "`patch` too",
)
CACHES: Final = Subject(
    CACHE,
    "mc",
    "Listing caches takes the right `list` on modelcaches.stoker.dev, following one `get`, having "
    "one verified `patch` too, and making one `create` and `patch`",
)


@dataclass(frozen=True, slots=True)
class Offered:
    """A service's offer, beside what runs now."""

    key: Key
    id: str
    summary: str
    saves: str
    runs: str  # what it would replace, in one line
    recreates: bool  # old replicas go before new ones come
    annotation: str  # what the service's owner has accepted so far

    @property
    def accepted(self) -> bool:
        """Whether the operator has been told already."""
        return self.annotation in {self.id, _EVERY}


async def read_service(client: Client, key: Key) -> dict[str, Any]:
    """The object; `CommandError` says why not."""
    return await read(client, key, SERVICES)


async def read(client: Client, key: Key, subject: Subject) -> dict[str, Any]:
    """An object of that kind; `CommandError` says why not."""
    try:
        return await client.get(subject.kind.path(key.namespace, key.name))
    except StokerError as error:
        raise told(error, key, subject) from error


async def read_all(
    client: Client, path: str, query: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """A collection, page by page; errors as the client raises them."""
    found: list[dict[str, Any]] = []
    asked = {**(query or {}), "limit": _PAGE}
    while True:
        page = await client.get(path, asked)
        found.extend(page.get("items") or ())
        more = (page.get("metadata") or {}).get("continue")
        if not more:
            return found
        asked["continue"] = more


def offer_of(body: Mapping[str, Any], key: Key) -> Offered:
    """The offer in a service's status; `CommandError` where there is none."""
    plan = _mapping(_mapping(body.get("status")).get("plan"))
    offer = _mapping(plan.get("offer"))
    metadata = _mapping(body.get("metadata"))
    if not offer.get("id") or "deletionTimestamp" in metadata:
        raise CommandError(
            f"{key} has no offer to accept (planned: {plan.get('summary') or 'nothing yet'}). One "
            "would stand in its condition BetterPlanAvailable; "
            f"`stoker plan --of {key.name} -n {key.namespace}` shows the plan",
            Exit.NO_OFFER,
        )
    rollout = _mapping(_mapping(body.get("spec")).get("rollout"))
    annotations = _mapping(metadata.get("annotations"))
    return Offered(
        key=key,
        id=str(offer["id"]),
        summary=str(offer.get("summary", "")),
        saves=str(offer.get("saves", "")),
        runs=str(plan.get("summary", "")),
        recreates=rollout.get("strategy") == "recreate",
        annotation=str(annotations.get(naming.ANNOTATION_ACCEPT, "")),
    )


async def accept(client: Client, offered: Offered, seen: Mapping[str, Any]) -> None:
    """Have the operator take this offer of the object that was seen, and no other."""
    body, key = seen, offered.key
    for _ in range(_TRIES):
        try:
            await _annotate(client, offered, body)
        except Conflict:
            body = await read_service(client, key)
            _require_same(offered, seen, body)
        except StokerError as error:
            raise told(error, key, SERVICES) from error
        else:
            return
    raise CommandError(
        f"{key} was changed by somebody else each of {_TRIES} times; look at it, and run the "
        "command again",
        Exit.CHANGED,
    )


async def _annotate(client: Client, offered: Offered, body: Mapping[str, Any]) -> None:
    patch = {
        "metadata": {
            "resourceVersion": body["metadata"]["resourceVersion"],
            "annotations": {naming.ANNOTATION_ACCEPT: offered.id},
        }
    }
    key = offered.key
    await client.write(
        "PATCH",
        SERVICE.path(key.namespace, key.name),
        patch,
        query={"fieldManager": naming.COMMAND_USER_AGENT},
        content_type=MERGE,
    )


def _require_same(offered: Offered, seen: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """`CommandError` unless the object still offers what was seen, for the spec that was seen."""
    again = f"run `stoker plan --accept {offered.key.name}` again to see what is offered now"
    try:
        other = offer_of(now, offered.key)
    except CommandError as error:
        raise CommandError(
            f"the offer {offered.id} went while it was being accepted, and nothing was changed; "
            f"{again}",
            Exit.CHANGED,
        ) from error
    same = ("uid", "generation")
    if other.id != offered.id or any(seen["metadata"][n] != now["metadata"][n] for n in same):
        raise CommandError(
            f"{offered.key} changed while the offer {offered.id} was being accepted, and nothing "
            f"was changed; {again}",
            Exit.CHANGED,
        )


def told(error: StokerError, key: Key, subject: Subject) -> CommandError:
    """What the API server said, and what to do about it; a list is told of with an empty name."""
    kind = subject.kind.name
    match error:
        case NotFound() if key.name and f'"{key.name}" not found' in str(error):
            return CommandError(
                f"there is no {kind} {key.name} in namespace {key.namespace}: check the "
                f"name, or name its namespace with -n; `kubectl get {subject.short} -A` lists all",
                Exit.NOT_FOUND,
            )
        case NotFound():
            return CommandError(
                f"the cluster knows no {kind}s: Stoker is not installed there "
                f"(docs/install.md), or the kubeconfig names another cluster ({error})",
                Exit.NOT_FOUND,
            )
        case Refused():
            return CommandError(
                f"the API server refuses: {error}. {subject.rights}", Exit.FORBIDDEN
            )
        case ClusterUnavailable():
            return CommandError(
                f"the API server does not answer, or does not take the credentials: {error}",
                Exit.UNREACHABLE,
            )
        case _:
            return CommandError(str(error), Exit.CHANGED)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
