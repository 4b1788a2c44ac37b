"""One look at a ModelCache: from raw bodies to the frozen `ObservedCache` of one pass."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from stoker import naming
from stoker.api.modelcache import ModelCacheSpec
from stoker.cluster.claims import Claims, claim_of
from stoker.cluster.client import Client
from stoker.cluster.corrupt import corrupt_nodes
from stoker.cluster.imagevolumes import ImageVolumes
from stoker.cluster.kinds import CACHE, CLAIM, POD
from stoker.cluster.nodes import Nodes
from stoker.cluster.observe import (
    controller_uid,
    is_component,
    mounts,
    observed_object,
    observed_pod,
    parse_spec,
)
from stoker.cluster.store import Store
from stoker.errors import NotFound
from stoker.model.cache import CacheClaim, CacheObject, ObservedCache, User
from stoker.model.location import location_of
from stoker.model.observed import Key, ObservedPod
from stoker.naming import Component
from stoker.quantity import parse_quantity
from stoker_worker import contract
from stoker_worker.cachecontract import MODELS

Body = Mapping[str, Any]
# The claim that a cache's spec asks for, and whether it is another folder on each node.
Place = Callable[[str, ModelCacheSpec], tuple[str, bool]]

_MESSAGE_LIMIT: Final = 1024
_ENGINES: Final = frozenset({Component.ENGINE, Component.FOLLOWER})


class CacheObserver:
    """Builds an `ObservedCache`; remembers nothing but parsed specs."""

    def __init__(
        self,
        *,
        client: Client,
        store: Store,
        claims: Claims,
        nodes: Nodes | None,
        place: Place,
        node_labels: Iterable[str],
        label_nodes: bool,
        image_volumes: ImageVolumes,
    ) -> None:
        self._client = client
        self._store = store
        self._claims = claims
        self._nodes = nodes
        self._place = place
        self._label_nodes = label_nodes
        self._image_volumes = image_volumes
        self._node_labels = frozenset(node_labels)  # of the accelerator catalogue
        self._specs: dict[Key, tuple[str, ModelCacheSpec | None, str | None]] = {}

    async def observe(self, key: Key) -> ObservedCache | None:
        """Look once; None when there is no such cache."""
        body = self._store.cache(key)
        if body is None:
            return None
        cache = self._cache(key, body)
        observed = ObservedCache(
            cache=cache,
            objects=tuple(
                observed_object(kind, child)
                for kind, child in self._store.children(key, CACHE.name)
                if kind != POD.name
            ),
            pods=self.pods(key),
            users=self._users(key),
        )
        if cache.spec is None:
            return observed
        name, per_node = self._place(key.name, cache.spec)
        if cache.spec.storage is not None and cache.spec.storage.image is not None:
            taken = await self._image_volumes.taken(key.namespace)
            observed = replace(observed, image_volumes=taken)
        if not name:
            return observed
        claim, raw = await self._claim(key.namespace, name, cache.uid)
        observed = replace(
            observed,
            claim=claim,
            others=tuple(sorted(self._others(key, name))),
            held_on=() if per_node else tuple(sorted(self._held_on(key, name))),
            corrupt=corrupt_nodes(self._pods_of(observed, name)),
        )
        return await self._with_nodes(observed, name, raw) if per_node else observed

    def pods(self, key: Key) -> tuple[ObservedPod, ...]:
        """The pods of a cache's jobs as the watches have them now."""
        found = (
            observed_pod(body)
            for kind, body in self._store.children(key, CACHE.name)
            if kind == POD.name and is_component(body)
        )
        return tuple(sorted(found, key=lambda pod: pod.name))

    def forget(self, key: Key) -> None:
        """Drop what was remembered of a cache that is gone."""
        self._specs.pop(key, None)

    def _cache(self, key: Key, body: Body) -> CacheObject:
        metadata = body["metadata"]
        spec, problem = self._spec(key, body)
        return CacheObject(
            key=key,
            uid=metadata["uid"],
            generation=int(metadata.get("generation") or 0),
            resource_version=metadata["resourceVersion"],
            spec=spec,
            spec_error=problem,
            annotations=metadata.get("annotations") or {},
            status=body.get("status") or {},
            deleting="deletionTimestamp" in metadata,
        )

    def _spec(self, key: Key, body: Body) -> tuple[ModelCacheSpec | None, str | None]:
        metadata = body["metadata"]
        fingerprint = f"{metadata['uid']}/{metadata.get('generation')}"
        known = self._specs.get(key)
        if known is None or known[0] != fingerprint:
            known = (fingerprint, *parse_cache(body.get("spec") or {}))
            self._specs[key] = known
        return known[1], known[2]

    def _users(self, key: Key) -> tuple[User, ...]:
        found = []
        for service in self._store.users(key):
            spec, _ = parse_spec((self._store.service(service) or {}).get("spec") or {})
            if spec is not None:
                found.append(User(service, spec))
        return tuple(found)

    async def _claim(
        self, namespace: str, name: str, owner: str
    ) -> tuple[CacheClaim | None, Body | None]:
        try:
            body = await self._client.get(CLAIM.path(namespace, name))
        except NotFound:
            return None, None
        claim = cache_claim(body)
        if claim.owner_uid == owner and claim.storage_class is not None:
            claim = replace(claim, expandable=await self._claims.expandable(claim.storage_class))
        return claim, body

    def _neighbours(self, key: Key) -> Iterator[tuple[Key, Body]]:
        """The other caches of the namespace."""
        for other in self._store.caches():
            body = self._store.cache(other)
            if other.namespace == key.namespace and other != key and body is not None:
                yield other, body

    def _others(self, key: Key, claim: str) -> set[str]:
        """Folders of that claim that other caches, services and engines want."""
        found: set[str] = set()
        for other, body in self._neighbours(key):
            status = body.get("status") or {}
            if status.get("claim") == claim and status.get("folder"):
                found.add(str(status["folder"]))
            spec, _ = self._spec(other, body)
            wanted = (status.get("resolved") or {}).get("folder")
            if spec is not None and wanted and self._place(other.name, spec)[0] == claim:
                found.add(str(wanted))
        for service in self._store.services():
            if service.namespace == key.namespace:
                found |= self._folders_of(service, claim)
        return found

    def _folders_of(self, service: Key, claim: str) -> set[str]:
        """Models of the claim that a service names, or that its pods have."""
        paths = []
        spec = (self._store.service(service) or {}).get("spec") or {}
        uri = (spec.get("model") or {}).get("uri")
        if isinstance(uri, str) and uri.startswith("pvc://") and location_of(uri)[0] == claim:
            paths.append(location_of(uri)[1])
        for kind, pod in self._store.children(service):
            if kind == POD.name and mounts(pod, claim):
                paths.append(_model_path(pod))
        return {
            path.removeprefix(f"{MODELS}/").partition("/")[0]
            for path in paths
            if path.startswith(f"{MODELS}/")
        }

    def _pods_of(self, observed: ObservedCache, claim: str) -> Iterator[Body]:
        """Pods of services that have this very content of the claim."""
        folder = observed.cache.status.get("folder")
        for user in observed.users:
            for kind, pod in self._store.children(user.key):
                if (
                    kind == POD.name
                    and mounts(pod, claim)
                    and _model_path(pod) == f"{MODELS}/{folder}"
                ):
                    yield pod

    def _held_on(self, key: Key, claim: str) -> set[str]:
        """Nodes where pods of services, or of other caches, have the volume now."""
        bodies = [
            body
            for service in self._store.services()
            if service.namespace == key.namespace
            for kind, body in self._store.children(service)
            if kind == POD.name
        ]
        for other, _ in self._neighbours(key):
            children = self._store.children(other, CACHE.name)
            bodies.extend(body for kind, body in children if kind == POD.name)
        return {str(body["spec"]["nodeName"]) for body in bodies if mounts(body, claim)}

    async def _with_nodes(
        self, observed: ObservedCache, claim: str, body: Body | None
    ) -> ObservedCache:
        """With the nodes that the volume is on, and those of them where a pod waits."""
        spec = observed.cache.spec
        if self._nodes is None or not self._nodes.listed or spec is None:
            return observed
        preload = spec.preload
        asked = set(self._node_labels) | set(spec.template.node_selector)
        if preload is not None and preload.nodes is not None:
            asked |= set(preload.nodes.match_labels)
        for user in observed.users:
            asked |= set(user.spec.template.node_selector)
        if self._label_nodes:
            status = observed.cache.status
            folders = (status.get("folder"), (status.get("resolved") or {}).get("folder"))
            asked |= {naming.model_label(str(folder)) for folder in folders if folder}
        place = None if body is None else await self._claims.place(claim, claim_of(body))
        waiting = {
            str(pod["spec"]["nodeName"])
            for user in observed.users
            for kind, pod in self._store.children(user.key)
            if kind == POD.name and _waits(pod)
        }
        nodes = await self._nodes.reaching(place, frozenset(asked))
        return replace(observed, nodes=nodes, waiting_on=frozenset(waiting))


def parse_cache(raw: Body) -> tuple[ModelCacheSpec | None, str | None]:
    """The typed spec, or what is wrong with it: an object may be older than its schema."""
    try:
        return ModelCacheSpec.model_validate(raw), None
    except ValidationError as error:
        problems = (
            f"spec.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        return None, "; ".join(problems)[:_MESSAGE_LIMIT]


def cache_claim(body: Body) -> CacheClaim:
    """What matters of a claim to the cache that is kept on it."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    known = claim_of(body)
    return CacheClaim(
        name=metadata["name"],
        phase=known.phase or "Pending",
        uid=metadata["uid"],
        owner_uid=controller_uid(metadata),
        resource_version=metadata["resourceVersion"],
        labels=metadata.get("labels") or {},
        storage_class=known.storage_class,
        access_modes=tuple(spec.get("accessModes") or ()),
        volume_mode=spec.get("volumeMode"),
        requested=_storage((spec.get("resources") or {}).get("requests")),
        capacity=_storage(status.get("capacity")),
        deleting="deletionTimestamp" in metadata,
        one_node=known.one_node,
    )


def _storage(amounts: Body | None) -> int:
    try:
        return int(parse_quantity(str((amounts or {}).get("storage", "0"))))
    except ValueError:
        return 0


def _waits(pod: Body) -> bool:
    """Whether an engine's pod is on a node and not ready yet."""
    labels = pod["metadata"].get("labels") or {}
    ready = any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in (pod.get("status") or {}).get("conditions") or ()
    )
    placed = (pod.get("spec") or {}).get("nodeName")
    return bool(placed) and not ready and labels.get(naming.LABEL_COMPONENT) in _ENGINES


def _model_path(pod: Body) -> str:
    """Where the worker of a pod finds its model, below the volume's root."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        for variable in container.get("env") or ():
            if variable.get("name") != contract.ENV_CONFIG:
                continue
            try:
                path = str(json.loads(variable.get("value") or "")["model_path"])
            except (ValueError, KeyError, TypeError):
                return ""
            return path.removeprefix(contract.MODEL_DIR).strip("/")
    return ""
