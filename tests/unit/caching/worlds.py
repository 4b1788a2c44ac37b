"""A cache and its cluster as plain values, for tests of the core.

`World` carries plans out the way a cluster would; a test says what becomes of the jobs. It never
decides anything.
"""

import json
from dataclasses import asdict, replace
from typing import Any

from stoker import naming
from stoker.api.modelcache import CacheStorage, ClaimTemplate, ModelCacheSpec
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.caching.cache import plan_cache
from stoker.cluster.status import with_times
from stoker.model.cache import (
    CacheClaim,
    CacheObject,
    CachePlan,
    CachePlatform,
    ObservedCache,
    User,
)
from stoker.model.inventory import Node
from stoker.model.moment import Moment
from stoker.model.observed import ContainerFailure, Key, ObservedObject, ObservedPod
from stoker.model.plan import Apply, Event
from stoker.naming import Component
from stoker.quantity import parse_quantity
from stoker_worker import modelfacts
from stoker_worker.cachecontract import ENV_FETCH, FetchConfig, FetchResult, Progress
from stoker_worker.contract import Termination
from tests.unit.plan.worlds import FACTS, PLATFORM

KEY = Key("chat", "llama")
UID = "cache-uid"
GIB = 2**30
URI = "hf://org/llama"
REVISION = "0123456789abcdef0123456789abcdef01234567"
FOLDER = naming.model_folder(URI, REVISION)
CACHES = CachePlatform(
    worker_image="registry.test/stoker-worker:1.0",
    operator_namespace="stoker-system",
    storage=CacheStorage(pvc=ClaimTemplate()),
    proxies=(("HTTPS_PROXY", "http://proxy.test:3128"),),
    ca_config_map="authorities",
    forbidden_networks=("10.96.0.1/32",),
)


class World:
    """A cache, its jobs and its claim."""

    def __init__(self, spec: dict[str, Any] | None = None, caches: CachePlatform = CACHES) -> None:
        self.spec: dict[str, Any] = {"model": {"uri": URI}, **(spec or {})}
        self.caches = caches
        self.generation = 1
        self.status: dict[str, Any] = {}
        self.annotations: dict[str, str] = {}
        self.objects: dict[tuple[str, str], ObservedObject] = {}
        self.pods: dict[str, ObservedPod] = {}
        self.progress: dict[str, Progress] = {}
        self.claim: CacheClaim | None = None
        self.users: dict[str, dict[str, Any]] = {}
        self.held_on: tuple[str, ...] = ()
        self.others: tuple[str, ...] = ()
        self.nodes: tuple[str, ...] | None = None
        self.resting: frozenset[str] = frozenset()
        self.labels: dict[str, dict[str, str]] = {}
        self.waiting_on: frozenset[str] = frozenset()
        self.corrupt: dict[str, float] = {}
        self.expandable: bool | None = True
        self.image_volumes: bool | None = None
        self.at = 1_000_000.0
        self.made = 0
        self.events: list[Event] = []

    # What a pass does.

    @property
    def now(self) -> Moment:
        return Moment(self.at, self.at + 1_700_000_000.0)

    def observed(self) -> ObservedCache:
        return ObservedCache(
            cache=CacheObject(
                key=KEY,
                uid=UID,
                generation=self.generation,
                resource_version="1",
                spec=ModelCacheSpec.model_validate(self.spec),
                spec_error=None,
                annotations=dict(self.annotations),
                status=self.status,
                deleting=False,
            ),
            objects=tuple(self.objects.values()),
            pods=tuple(self.pods.values()),
            claim=self.claim,
            users=tuple(
                User(Key(KEY.namespace, name), InferenceServiceSpec.model_validate(body))
                for name, body in sorted(self.users.items())
            ),
            held_on=self.held_on,
            others=self.others,
            nodes=None if self.nodes is None else tuple(map(self._node, self.nodes)),
            waiting_on=self.waiting_on,
            corrupt=dict(self.corrupt),
            progress=dict(self.progress),
            image_volumes=self.image_volumes,
        )

    def _node(self, name: str) -> Node:
        return Node(name, name not in self.resting, (), self.labels.get(name, {}))

    def turn(self) -> CachePlan:
        """One pass, carried out."""
        observed = self.observed()
        plan = plan_cache(observed, self.caches, PLATFORM, self.now)
        for action in plan.actions:
            if isinstance(action, Apply):
                self._apply(dict(action.manifest))
            else:
                assert self.objects[action.kind, action.name].uid == action.uid
                del self.objects[action.kind, action.name]
                if action.kind == "Job":
                    gone = [pod for pod in self.pods if pod.startswith(f"{action.name}-")]
                    for pod in gone:
                        del self.pods[pod]
        before = self.status
        self.status = with_times(plan.status, before, self.generation, self.now)
        # As the shell does: Events go with a status that was written.
        if self.status != before:
            self.events.extend(plan.events)
        return plan

    def settle(self) -> CachePlan:
        """Passes until one changes nothing."""
        for _ in range(20):
            before = self.status
            plan = self.turn()
            if not plan.actions and self.status == before:
                return plan
        raise AssertionError("the passes never end")

    def _apply(self, manifest: dict[str, Any]) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        known = self.objects.get((kind, name))
        self.made += 1
        if kind == "PersistentVolumeClaim":
            self._apply_claim(manifest)
            return
        uid = f"{kind}-{self.made}" if known is None else known.uid
        self.objects[kind, name] = ObservedObject(
            kind, name, uid, str(self.made), UID, json.loads(json.dumps(manifest))
        )

    def _apply_claim(self, manifest: dict[str, Any]) -> None:
        spec = manifest["spec"]
        owners = manifest["metadata"].get("ownerReferences") or ()
        known = self.claim
        self.claim = CacheClaim(
            name=manifest["metadata"]["name"],
            phase="Pending" if known is None else known.phase,
            uid=f"claim-{self.made}" if known is None else known.uid,
            owner_uid=owners[0]["uid"] if owners else None,
            labels=manifest["metadata"]["labels"],
            storage_class=spec.get("storageClassName", "standard"),
            access_modes=tuple(spec["accessModes"]),
            volume_mode="Filesystem",
            requested=int(parse_quantity(spec["resources"]["requests"]["storage"])),
            capacity=0 if known is None else known.capacity,
            expandable=self.expandable,
            one_node=set(spec["accessModes"]) == {"ReadWriteOnce"},
        )

    # What the cluster does.

    def bind(self) -> None:
        """The claim gets its volume."""
        assert self.claim is not None
        self.claim = replace(self.claim, phase="Bound", capacity=self.claim.requested)

    def existing(self, name: str, **fields: Any) -> None:
        """A claim that somebody made."""
        self.claim = CacheClaim(name, "Bound", f"uid-{name}", None, capacity=100 * GIB, **fields)

    def jobs(self) -> list[str]:
        """Names of the Jobs that there are."""
        return sorted(name for kind, name in self.objects if kind == "Job")

    def job(self, task: str, node: str | None = None) -> ObservedObject:
        """The one Job of that task."""
        (found,) = [each for each in self._jobs(task) if node in {None, _node(each)}]
        return found

    def has_job(self, task: str) -> bool:
        return bool(self._jobs(task))

    def _jobs(self, task: str) -> list[ObservedObject]:
        return [
            each
            for (kind, _), each in self.objects.items()
            if kind == "Job"
            and each.body["metadata"]["annotations"][naming.ANNOTATION_TASK] == task
        ]

    def config(self, task: str, node: str | None = None) -> FetchConfig:
        """What the job of that task is told."""
        env = pod_spec(self.job(task, node))["containers"][0]["env"]
        return FetchConfig.from_json(next(e["value"] for e in env if e["name"] == ENV_FETCH))

    def start(self, task: str, node: str | None = None, **fields: Any) -> ObservedPod:
        """A pod of the job, running unless `fields` say otherwise."""
        job = self.job(task, node)
        self.made += 1
        made: dict[str, Any] = {
            "name": f"{job.name}-{self.made}",
            "uid": f"pod-{self.made}",
            "component": Component.CACHE,
            "revision": None,
            "phase": "Running",
            "ready": True,
            "deleting": False,
            "ip": "10.0.0.9",
            "node": node or "n1",
            "created": self.at,
            "restarts": 0,
            "scheduled": True,
            "unschedulable": None,
        }
        pod = ObservedPod(**{**made, **fields})
        self.pods[pod.name] = pod
        return pod

    def page(self, pod: ObservedPod, **fields: Any) -> None:
        """What the job's progress page says."""
        told = {"task": "fetch", "state": "downloading", "uid": pod.uid, **fields}
        self.progress[pod.uid] = Progress(**told)

    def end(self, task: str, result: FetchResult, node: str | None = None) -> None:
        """The job ends well."""
        job = self.job(task, node)
        self._drop_pods(job)
        self.start(task, node, phase="Succeeded", ready=False, result=result.to_json())
        self._condition(job, "Complete")

    def fail(
        self, task: str, reason: str, message: str, code: int = 1, node: str | None = None
    ) -> None:
        """The job fails with these last words."""
        job = self.job(task, node)
        self._drop_pods(job)
        words = Termination(reason, message).to_json()
        failure = ContainerFailure("cache", "Error", "", code, words)
        self.start(task, node, phase="Failed", ready=False, failures=(failure,))
        self._condition(job, "Failed")

    def _drop_pods(self, job: ObservedObject) -> None:
        for name in [name for name in self.pods if name.startswith(f"{job.name}-")]:
            del self.pods[name]

    def _condition(self, job: ObservedObject, kind: str) -> None:
        body = {**job.body, "status": {"conditions": [{"type": kind, "status": "True"}]}}
        self.objects["Job", job.name] = replace(job, body=body)

    # Usual stories.

    def resolve(self, size: int = 15 * GIB, revision: str = REVISION) -> None:
        """The source answers."""
        self.turn()
        self.end("resolve", FetchResult("resolve", revision, size, 4))
        self.turn()

    def fetch(self, node: str | None = None, **fields: Any) -> None:
        """The model is fetched."""
        self.end("fetch", fetched(**fields), node)
        self.turn()

    def ready(self, **fields: Any) -> None:
        """All of it, until nothing is left to do."""
        self.resolve()
        if self.claim is not None and self.claim.phase == "Pending":
            self.bind()
        self.turn()
        self.fetch(**fields)
        self.settle()
        assert self.status["phase"] == "Ready", self.status

    def condition(self, name: str) -> tuple[str, str, str]:
        """Status, reason and message of a condition."""
        (found,) = [c for c in self.status["conditions"] if c["type"] == name]
        return found["status"], found["reason"], found["message"]


def fetched(task: str = "fetch", **fields: Any) -> FetchResult:
    """What a job that filled the volume says."""
    told: dict[str, Any] = {
        "revision": REVISION,
        "bytes": 15 * GIB,
        "files": 4,
        "digest": "d" * 64,
        "facts": json.loads(modelfacts.to_json(FACTS)),
        **fields,
    }
    return FetchResult(task, **told)


def pod_spec(job: ObservedObject) -> dict[str, Any]:
    """The spec of the job's pods."""
    spec: dict[str, Any] = job.body["spec"]["template"]["spec"]
    return spec


def _node(job: ObservedObject) -> str | None:
    node: str | None = job.body["metadata"]["annotations"].get(naming.ANNOTATION_NODE)
    return node


def as_dict(value: object) -> dict[str, Any]:
    """A dataclass as a mapping."""
    return asdict(value)  # type: ignore[call-overload,no-any-return]
