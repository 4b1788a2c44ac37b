"""The one look: everything that may be read, with the rights of whoever asks, as a `World`.

Each part is read by itself, so that one right that is missing costs one part. Nodes are read only
where a pod waits for one: a large cluster's list is long. Of Secrets the metadata alone is asked.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import yaml

from stoker import naming
from stoker.cluster.client import Client
from stoker.cluster.kinds import CACHE, CLAIM, LEADER_WORKER_SET, LEASE, NODE, POD, SERVICE, Kind
from stoker.commands import loglines, statuses
from stoker.commands.doctor import platform
from stoker.commands.doctor.hardware import wish_of
from stoker.commands.doctor.platform import SELECTOR, in_words, lease_name, needed
from stoker.commands.doctor.podwords import failure, pods_of
from stoker.commands.doctor.seen import (
    Absent,
    Api,
    Around,
    Body,
    Denied,
    Kinds,
    Many,
    One,
    Operator,
    World,
    known,
    of_component,
    several,
)
from stoker.commands.doctor.service import caches_of, claim_names, secret_names
from stoker.errors import ClusterUnavailable, NotFound, Refused, StokerError
from stoker.model.observed import Key
from stoker.naming import Component

_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_PAGE: Final = {"limit": "500"}
_DEPLOYMENT: Final = Kind("Deployment", "apps", "v1", "deployments")
_CONFIG_MAP: Final = Kind("ConfigMap", "", "v1", "configmaps")
_NAMESPACE: Final = Kind("Namespace", "", "v1", "namespaces")
_SECRET: Final = Kind("Secret", "", "v1", "secrets")
_EVENT: Final = Kind("Event", "", "v1", "events")
_QUOTA: Final = Kind("ResourceQuota", "", "v1", "resourcequotas")
_POLICY: Final = Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies")
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_RIGHT_OF_REVIEWS: Final = "create subjectaccessreviews.authorization.k8s.io"
# A Lease that looks old is watched for as long as it lasts, and no longer than this.
_LONGEST_WAIT_S: Final = 30.0
_LOG_BYTES: Final = 2000


async def look(client: Client, namespace: str, name: str | None) -> World:
    """Everything about this service, or about the platform alone."""
    world = World(time.time(), Key(namespace, name) if name else None)
    try:
        told = await client.get("/version")
    except StokerError as error:
        return replace(world, api=Api(problem=str(error)))
    world = replace(world, api=Api(version=str(told.get("gitVersion") or "")))
    operator = await _operator(client)
    world = replace(world, operator=operator)
    world = replace(world, kinds=await _kinds(client, operator))
    lease, moves = await _lease(client, world)
    rights = await _rights(client, world)
    world = replace(world, operator=replace(operator, lease=lease, moves=moves, lacks=rights))
    key = world.key
    if key is None:
        return world
    world = replace(world, service=await _one(client, SERVICE, namespace, key.name))
    around = await _around(client, world, key)
    world = replace(world, around=around)
    around = replace(around, lines=await _last_words(client, key.namespace, world))
    world = replace(world, around=around)
    if wish_of(world) is not None:
        nodes = await _many(client, NODE, None, {"resourceVersion": "0"})
        world = replace(world, around=replace(around, nodes=nodes))
    return world


async def services(client: Client, namespace: str | None) -> Many:
    """Those of a namespace, or of all."""
    return await _many(client, SERVICE, namespace)


async def _operator(client: Client) -> Operator:
    query = {"labelSelector": SELECTOR}
    found = await _many(client, _DEPLOYMENT, None, query)
    if isinstance(found, Denied):
        found = await _many(client, _DEPLOYMENT, platform.NAMESPACE, query)
    world = World(0.0, operator=Operator(deployments=found))
    namespace = platform.operator_namespace(world)
    deployments = several(found)
    config: One = Absent()
    if deployments:
        name = str(statuses.mapping(deployments[0].get("metadata")).get("name"))
        config = _parsed(await _one(client, _CONFIG_MAP, namespace, f"{name}-config"))
    pods = await _many(client, POD, namespace, query)
    return Operator(deployments=found, pods=pods, config=config)


def _parsed(found: One) -> One:
    """The administrator's file in its ConfigMap."""
    if isinstance(found, (Absent, Denied)):
        return found
    try:
        data = yaml.safe_load(str(statuses.mapping(found.get("data")).get("config.yaml") or ""))
    except yaml.YAMLError:
        return Absent()
    return data if isinstance(data, dict) else Absent()


async def _lease(client: Client, world: World) -> tuple[One, bool]:
    """The Lease, and whether it was renewed before our eyes where its time says otherwise."""
    namespace, name = platform.operator_namespace(world), lease_name(world)
    lease = await _one(client, LEASE, namespace, name)
    first = statuses.mapping(known(lease).get("spec"))
    if not first.get("holderIdentity"):
        return lease, False
    lasts = statuses.number(first.get("leaseDurationSeconds")) or 15.0
    renewed = statuses.unix(first.get("renewTime"))
    if renewed is not None and 0 <= time.time() - renewed <= lasts:
        return lease, True
    deadline = time.monotonic() + min(lasts, _LONGEST_WAIT_S)
    while time.monotonic() < deadline:
        await asyncio.sleep(1.0)
        now = await _one(client, LEASE, namespace, name)
        if statuses.mapping(known(now).get("spec")).get("renewTime") != first.get("renewTime"):
            return now, True
    return lease, False


async def _rights(client: Client, world: World) -> tuple[str, ...] | Denied:
    """What the operator's account may not do; who may not ask that is told so."""
    if not several(world.operator.deployments):
        return Denied(f"the right to {needed(_DEPLOYMENT, 'list')}")
    namespace, account = platform.operator_namespace(world), platform.account_of(world)
    watches = known(world.operator.config).get("watchNamespaces")
    within = str(watches[0]) if isinstance(watches, list) and watches else ""

    async def may(right: tuple[str, str, str]) -> bool | None:
        group, resource, verb = right
        plural, _, part = resource.partition("/")
        asked = {"group": group, "resource": plural, "subresource": part, "verb": verb}
        if within:
            asked["namespace"] = within
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{namespace}:{account}",
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{namespace}",
                    "system:authenticated",
                ],
                "resourceAttributes": {name: value for name, value in asked.items() if value},
            },
        }
        try:
            answer = await client.write("POST", _REVIEWS, body)
        except StokerError:
            return None
        return bool(statuses.mapping(answer.get("status")).get("allowed"))

    first, *rest = platform.RIGHTS
    allowed = await may(first)
    if allowed is None:
        return Denied(f"the right to {_RIGHT_OF_REVIEWS}")
    others = await asyncio.gather(*map(may, rest))
    pairs = zip(platform.RIGHTS, (allowed, *others), strict=True)
    return tuple(in_words(right) for right, found in pairs if found is False)


async def _kinds(client: Client, operator: Operator) -> Kinds:
    kinds = (*platform.KINDS, LEADER_WORKER_SET)
    versions = tuple(dict.fromkeys(kind.api_version for kind in kinds))
    served: dict[str, frozenset[str]] = {}
    for group in versions:
        found = await _read(client.get(f"/apis/{group}"), f"get /apis/{group}")
        if isinstance(found, Denied):
            return Kinds(served=found)
        items = statuses.mappings(known(found).get("resources"))
        served[group] = frozenset(str(each.get("name")) for each in items)
    theirs = _version_of(operator)
    if theirs not in {"", version("stoker")} or not served[SERVICE.api_version]:
        return Kinds(served)
    schema = await _read(client.get(f"/openapi/v3/apis/{SERVICE.api_version}"), "get /openapi")
    return Kinds(served, _lacking(known(schema)))


def _version_of(operator: Operator) -> str:
    for each in several(operator.deployments):
        labels = statuses.mapping(statuses.mapping(each.get("metadata")).get("labels"))
        return str(labels.get("app.kubernetes.io/version") or "")
    return ""


def _lacking(schema: Body) -> dict[str, tuple[str, ...]]:
    """Fields of this command's own definitions that the server's schema does not have."""
    schemas = statuses.mapping(statuses.mapping(schema.get("components")).get("schemas"))
    theirs = {
        str(group.get("kind")): each
        for each in schemas.values()
        if isinstance(each, Mapping)
        for group in statuses.mappings(each.get("x-kubernetes-group-version-kind"))
    }
    lacking: dict[str, tuple[str, ...]] = {}
    for kind, wanted in _ours().items():
        if kind in theirs:
            gone = wanted - _fields(theirs[kind])
            lacking[kind] = tuple(
                path for path in sorted(gone) if path.rpartition(".")[0] not in gone
            )
    return lacking


@cache
def _ours() -> dict[str, set[str]]:
    """Fields of this command's own definitions, by kind."""
    from stoker.api.crd import DEFINITIONS, schema_of  # noqa: PLC0415 - slow, and for one link

    return {each.kind: _fields(schema_of(each)) for each in DEFINITIONS}


def _fields(schema: Mapping[str, Any], path: str = "") -> set[str]:
    """Paths of the fields below `spec` and `status`."""
    found: set[str] = set()
    properties = statuses.mapping(schema.get("properties"))
    for name, each in properties.items():
        if not path and name not in {"spec", "status"}:
            continue
        here = f"{path}.{name}".removeprefix(".")
        found.add(here)
        if isinstance(each, Mapping):
            found |= _fields(each, here)
            found |= _fields(statuses.mapping(each.get("items")), here)
    return found


async def _around(client: Client, world: World, key: Key) -> Around:
    of_service = {"labelSelector": f"{naming.LABEL_SERVICE}={key.name}", **_PAGE}
    space = key.namespace
    namespace, kinds = await asyncio.gather(
        _one(client, _NAMESPACE, None, space),
        asyncio.gather(
            _many(client, POD, space, of_service),
            _many(client, _DEPLOYMENT, space, of_service),
            _many(client, _EVENT, space, _PAGE),
            _many(client, CACHE, space, _PAGE),
            _many(client, _QUOTA, space, _PAGE),
            _many(client, _POLICY, space, _PAGE),
        ),
    )
    pods, deployments, events, caches, quotas, policies = kinds
    around = Around(
        namespace,
        pods,
        deployments,
        events,
        caches=caches,
        quotas=quotas,
        policies=policies,
    )
    used = caches_of(replace(world, around=around))
    names = ",".join(str(statuses.mapping(each.get("metadata")).get("name")) for each in used)
    if names and not isinstance(pods, Denied):
        query = {"labelSelector": f"{naming.LABEL_CACHE} in ({names})", **_PAGE}
        around = replace(around, pods=(*pods, *several(await _many(client, POD, space, query))))
    claims = claim_names(world.body)
    secrets = (*secret_names(world.body, used), *_pull_secrets(around.pods))
    found_claims = await asyncio.gather(*(_one(client, CLAIM, space, name) for name in claims))
    found_secrets = await asyncio.gather(
        *(_one(client, _SECRET, space, name, _METADATA) for name in secrets)
    )
    return replace(
        around,
        claims=dict(zip(claims, found_claims, strict=True)),
        secrets=dict(zip(secrets, found_secrets, strict=True)),
    )


def _pull_secrets(pods: Many) -> Iterable[str]:
    specs = (statuses.mapping(pod.get("spec")) for pod in several(pods))
    named = (each for spec in specs for each in statuses.mappings(spec.get("imagePullSecrets")))
    return dict.fromkeys(str(each.get("name")) for each in named)


async def _last_words(client: Client, namespace: str, world: World) -> dict[str, str]:
    """The last log lines of the container that failed first, where they may be read."""
    found = failure(of_component(pods_of(world), Component.ENGINE, Component.FOLLOWER))
    if found is None:
        return {}
    pod = found[0]
    container = next((each.container for each in pod.failures), "engine")
    query = {"container": container, "previous": "true", "tailLines": "3", "limitBytes": "2000"}
    try:
        async with client.stream(POD.path(namespace, pod.name, "log"), query) as content:
            data = await content.read(_LOG_BYTES)
    except StokerError:
        return {}
    lines = data.splitlines()
    return {pod.name: " | ".join(loglines.clean(line) for line in lines if line.strip())}


async def _one(
    client: Client, kind: Kind, namespace: str | None, name: str, accept: str = "application/json"
) -> One:
    found = client.get(kind.path(namespace, name), accept=accept)
    return await _read(found, f"{needed(kind, 'get')}{_in(namespace)}")


async def _many(
    client: Client, kind: Kind, namespace: str | None, query: Mapping[str, str] | None = None
) -> Many:
    found = await _read(
        client.get(kind.path(namespace), query), f"{needed(kind, 'list')}{_in(namespace)}"
    )
    if isinstance(found, Denied):
        return found
    return tuple(statuses.mappings(known(found).get("items")))


def _in(namespace: str | None) -> str:
    return f" in {namespace}" if namespace else ""


async def _read(asked: Awaitable[dict[str, Any]], right: str) -> One:
    try:
        return await asked
    except NotFound:
        return Absent()
    except Refused:
        return Denied(f"the right to {right}")
    except ClusterUnavailable as error:
        return Denied(f"another look, as the API server did not answer ({error})")
