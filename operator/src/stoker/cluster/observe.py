"""One look at the cluster: from raw bodies to the frozen `Observed` that a pass decides on.

Raw dictionaries end here. Whatever is read of a pod is read by this module alone. Everything comes
from the store but claims and their volumes (`claims`) and nodes (`nodes`), which are not ours.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from stoker import naming
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.cluster.asks import asks_of, ranks_of
from stoker.cluster.claims import Claim, Claims
from stoker.cluster.kinds import POD
from stoker.cluster.nodes import Nodes
from stoker.cluster.store import Store
from stoker.cluster.used import used_cache
from stoker.model import topology
from stoker.model.inventory import Inventory, Node
from stoker.model.location import Location, UsedCache, confirmed, locate, source_of
from stoker.model.observed import (
    ContainerFailure,
    Key,
    Observed,
    ObservedObject,
    ObservedPod,
    ObservedService,
    ScaledBy,
)
from stoker.naming import Component

Body = Mapping[str, Any]

# Pods that have a volume, or will in a moment.
_PRESENT: Final = frozenset({"Pending", "Running"})
_MOUNTING: Final = frozenset(
    {Component.ENGINE, Component.FOLLOWER, Component.FACTS, Component.CACHE}
)
_COMPUTING: Final = frozenset({Component.ENGINE, Component.FOLLOWER})
_TERMINATION_LIMIT: Final = 4096
_MESSAGE_LIMIT: Final = 1024


class Observer:
    """Builds an `Observed`; remembers parsed specs."""

    def __init__(
        self, store: Store, claims: Claims, nodes: Nodes | None, engine_claims: Iterable[str]
    ) -> None:
        self._store = store
        self._claims = claims
        self._nodes = nodes
        self._engine_claims = tuple(engine_claims)  # mounted beside the model's
        self._specs: dict[Key, tuple[str, InferenceServiceSpec | None, str | None]] = {}

    async def observe(self, key: Key) -> Observed | None:
        """Look once; None when there is no such service."""
        body = self._store.service(key)
        if body is None:
            return None
        service = self._service(key, body)
        children = self._store.children(key)
        cache = self._cache(service)
        meant = None if service.spec is None else locate(service.spec, cache, service.status)
        claims = await self._named_claims(service, meant)
        uids = {name: claim.uid for name, claim in claims.items() if claim.uid is not None}
        location = confirmed(meant, uids)
        if location is None and meant is not None and meant.claim not in self._engine_claims:
            del claims[meant.claim]  # nothing is to be mounted from it
        if location is not None and location.cache is not None and location.claim:
            location = replace(location, writable=claims[location.claim].writable)
        pods = self.pods(key)
        return Observed(
            service=service,
            location=location,
            cache=cache,
            objects=tuple(
                observed_object(kind, child) for kind, child in children if kind != POD.name
            ),
            pods=pods,
            claims={name: claim.phase for name, claim in claims.items()},
            claim_uids=uids,
            shared_facts=self._shared_facts(service, location, uids),
            inventory=await self._inventory(service, location, claims),
            nodes=await self._nodes_of(pods),
        )

    def pods(self, key: Key) -> tuple[ObservedPod, ...]:
        """The pods of a service as the watches have them now."""
        found = (
            observed_pod(body)
            for kind, body in self._store.children(key)
            if kind == POD.name and is_component(body)
        )
        return tuple(sorted(found, key=lambda pod: pod.name))

    def forget(self, key: Key) -> None:
        """Drop what was remembered of a service that is gone."""
        self._specs.pop(key, None)

    def _service(self, key: Key, body: Body) -> ObservedService:
        metadata = body["metadata"]
        fingerprint = f"{metadata['uid']}/{metadata.get('generation')}"
        known = self._specs.get(key)
        if known is None or known[0] != fingerprint:
            known = (fingerprint, *parse_spec(body.get("spec") or {}))
            self._specs[key] = known
        return ObservedService(
            key=key,
            uid=metadata["uid"],
            generation=int(metadata.get("generation") or 0),
            resource_version=metadata["resourceVersion"],
            spec=known[1],
            spec_error=known[2],
            annotations=metadata.get("annotations") or {},
            status=body.get("status") or {},
            deleting="deletionTimestamp" in metadata,
        )

    def _cache(self, service: ObservedService) -> UsedCache | None:
        """The ModelCache that the service's model comes from."""
        if service.spec is None or service.spec.model.claim_uri is not None:
            return None
        keys = (key for key in self._store.caches() if key.namespace == service.key.namespace)
        return used_cache(service, [body for body in map(self._store.cache, keys) if body])

    def _shared_facts(
        self, service: ObservedService, location: Location | None, uids: Mapping[str, str]
    ) -> str | None:
        """What other services of the namespace know of the same folder of the same claim."""
        if location is None or location.cache is not None or location.claim not in uids:
            return None  # a cache tells them itself
        source = source_of(uids[location.claim], location.folder)
        if facts_in(service.status, source) is not None:
            return None  # its own are enough
        others = (
            (self._store.service(key) or {}).get("status") or {}
            for key in self._store.services()
            if key.namespace == service.key.namespace and key != service.key
        )
        return agreed_facts(others, source)

    async def _named_claims(
        self, service: ObservedService, meant: Location | None
    ) -> dict[str, Claim]:
        """Every claim that the service names, or that its engine's pods mount."""
        uids: dict[str, str | None] = dict.fromkeys(self._engine_claims)
        if meant is not None and meant.claim:
            uids[meant.claim] = meant.claim_uid
        namespace = service.key.namespace
        return {
            name: await self._claims.claim(namespace, name, uid)
            for name, uid in sorted(uids.items())
        }

    async def _inventory(
        self, service: ObservedService, location: Location | None, claims: Mapping[str, Claim]
    ) -> Inventory | None:
        """What nodes have, where the model's volume can be reached."""
        if self._nodes is None or not self._nodes.listed or service.spec is None:
            return None
        if location is None or not location.claim:
            return await self._nodes.inventory(None)
        name = location.claim
        place = await self._claims.place(name, claims[name])
        if claims[name].one_node:
            nodes = self._mounted_on(service.key.namespace, name)
            if nodes:
                place = (place or topology.anywhere(name)).held_on(nodes)
        return await self._nodes.inventory(place)

    async def _nodes_of(self, pods: Iterable[ObservedPod]) -> dict[str, Node]:
        """The nodes that engines are on, as far as nodes are read."""
        if self._nodes is None:
            return {}
        names = {pod.node for pod in pods if pod.node and pod.component in _COMPUTING}
        found = {name: await self._nodes.named(name) for name in sorted(names)}
        return {name: node for name, node in found.items() if node is not None}

    def _mounted_on(self, namespace: str, claim: str) -> set[str]:
        """Nodes where pods of any service mount this claim, as far as they are ours."""
        return {
            str(body["spec"]["nodeName"])
            for key in self._store.services()
            if key.namespace == namespace
            for kind, body in self._store.children(key)
            if kind == POD.name and mounts(body, claim)
        }


def mounts(pod: Body, claim: str) -> bool:
    """Whether a pod of ours that is on a node has the volume of this claim."""
    spec = pod.get("spec") or {}
    labels = pod["metadata"].get("labels") or {}
    return (
        bool(spec.get("nodeName"))
        and (pod.get("status") or {}).get("phase", "Pending") in _PRESENT
        and labels.get(naming.LABEL_COMPONENT) in _MOUNTING
        and any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
            for volume in spec.get("volumes") or ()
        )
    )


def facts_in(status: Body, source: str) -> str | None:
    """The facts that a status holds of that folder of that claim."""
    model = status.get("model")
    if not isinstance(model, Mapping) or model.get("source") != source:
        return None
    text = model.get("facts")
    return text if isinstance(text, str) else None


def agreed_facts(statuses: Iterable[Body], source: str) -> str | None:
    """The facts that these statuses hold of that folder; None where they are of several models.

    Then one of them was read again after a change and the others were not, and none says which.
    """
    known: dict[str, str] = {}
    for status in statuses:
        text = facts_in(status, source)
        if text is not None:
            known.setdefault(str(status["model"].get("digest")), text)
    return next(iter(known.values())) if len(known) == 1 else None


def parse_spec(raw: Body) -> tuple[InferenceServiceSpec | None, str | None]:
    """The typed spec, or what is wrong with it: an object may be older than its schema."""
    try:
        return InferenceServiceSpec.model_validate(raw), None
    except ValidationError as error:
        problems = (
            f"spec.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        return None, "; ".join(problems)[:_MESSAGE_LIMIT]


def observed_object(kind: str, body: Body) -> ObservedObject:
    """A child with its controlling owner."""
    metadata = body["metadata"]
    return ObservedObject(
        kind=kind,
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owner_uid=controller_uid(metadata),
        body=body,
        scaled_by=_scaled_by(metadata),
    )


def _scaled_by(metadata: Body) -> ScaledBy | None:
    """The last of those whose mark on `spec.replicas` the store has kept."""
    marks = metadata.get("managedFields") or ()
    last = max(marks, key=lambda entry: str(entry.get("time") or ""), default=None)
    if last is None:
        return None
    return ScaledBy(str(last.get("manager") or "somebody"), str(last.get("time") or ""))


def controller_uid(metadata: Body) -> str | None:
    """Uid of the owner that controls an object."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def is_component(pod: Body) -> bool:
    """Whether a pod says which part of a service it is; anybody can put our other labels on one."""
    labels = pod["metadata"].get("labels") or {}
    return labels.get(naming.LABEL_COMPONENT) in set(Component)


def observed_pod(body: Body) -> ObservedPod:
    """What matters of a pod."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {entry["type"]: entry for entry in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    return ObservedPod(
        name=metadata["name"],
        uid=metadata["uid"],
        component=Component(labels[naming.LABEL_COMPONENT]),
        revision=labels.get(naming.LABEL_REVISION),
        phase=str(status.get("phase") or "Unknown"),
        ready=(conditions.get("Ready") or {}).get("status") == "True",
        deleting="deletionTimestamp" in metadata,
        ip=status.get("podIP") or None,
        node=spec.get("nodeName") or None,
        created=unix_time(metadata.get("creationTimestamp")) or 0.0,
        restarts=sum(int(entry.get("restartCount") or 0) for entry in statuses),
        scheduled=bool(spec.get("nodeName")) or scheduled.get("status") == "True",
        unschedulable=(
            str(scheduled.get("message") or scheduled.get("reason"))
            if scheduled.get("status") == "False"
            else None
        ),
        failures=tuple(failure for entry in statuses for failure in _failures(entry)),
        result=next((text for entry in statuses for text in _results(entry)), None),
        scheduled_at=_since(scheduled),
        started_at=next((time for time in map(_running_since, statuses) if time is not None), None),
        ready_at=_since(conditions.get("Ready") or {}),
        replica_set=_replica_set(metadata),
        deletion_cost=_deletion_cost(metadata),
        gated=scheduled.get("reason") == "SchedulingGated",
        awaits_model=any(map(_awaits, statuses)),
        asks=asks_of(spec),
        ranks=ranks_of(spec),
        selector=tuple(sorted((spec.get("nodeSelector") or {}).items())),
    )


def _awaits(entry: Body) -> bool:
    """Whether a container runs that only waits for the model."""
    return entry.get("name") == naming.AWAIT_CONTAINER and "running" in (entry.get("state") or {})


def _since(condition: Body) -> float | None:
    """When a condition became true; None while it is not."""
    if condition.get("status") != "True":
        return None
    return unix_time(condition.get("lastTransitionTime"))


def _running_since(entry: Body) -> float | None:
    """When the engine's container began to run; other containers tell nothing of it."""
    if entry.get("name") != Component.ENGINE.value:
        return None
    return unix_time(((entry.get("state") or {}).get("running") or {}).get("startedAt"))


def _replica_set(metadata: Body) -> str | None:
    """The ReplicaSet that controls a pod."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == "ReplicaSet":
            return str(owner["name"])
    return None


def _deletion_cost(metadata: Body) -> int:
    """As a ReplicaSet reads it: 0 where there is none that is a number."""
    try:
        return int((metadata.get("annotations") or {})[naming.ANNOTATION_DELETION_COST])
    except (KeyError, ValueError):
        return 0


def _failures(entry: Body) -> Iterator[ContainerFailure]:
    """Why a container waits or ended badly, the present state before the last one."""
    state, last = entry.get("state") or {}, entry.get("lastState") or {}
    ended = state.get("terminated") or last.get("terminated")
    if ended is not None and ended.get("exitCode") == 0 and not state.get("waiting"):
        ended = None
    waiting = state.get("waiting")
    if waiting is not None and waiting.get("reason") not in {
        None,
        "ContainerCreating",
        "PodInitializing",
    }:
        # "Back off" says nothing of a kill for memory, which has no words of its own.
        killed = ended is not None and ended.get("reason") == "OOMKilled"
        yield _failure(entry, ended if killed and ended else waiting, ended)
    elif ended is not None:
        yield _failure(entry, ended, ended)


def _results(entry: Body) -> Iterator[str]:
    """What a container that ended well has left."""
    ended = (entry.get("state") or {}).get("terminated") or {}
    if ended.get("exitCode") == 0 and ended.get("message"):
        yield str(ended["message"])[:_TERMINATION_LIMIT]


def _failure(entry: Body, cause: Body, ended: Body | None) -> ContainerFailure:
    ended = ended or {}
    termination = ended.get("message")
    return ContainerFailure(
        container=str(entry.get("name")),
        reason=str(cause.get("reason") or "Error"),
        message=str(cause.get("message") or "")[:_MESSAGE_LIMIT],
        exit_code=ended.get("exitCode"),
        termination=str(termination)[:_TERMINATION_LIMIT] if termination else None,
        finished=unix_time(ended.get("finishedAt")),
    )


def unix_time(text: str | None) -> float | None:
    """Seconds since 1970 of a time as the API server writes it."""
    return datetime.fromisoformat(text).timestamp() if text else None
