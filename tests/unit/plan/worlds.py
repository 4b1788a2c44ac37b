"""A service and its cluster as plain values, for tests of the core.

`World` carries plans out the way a cluster would: Deployments make and remove pods, applied objects
come back with defaults that the API server adds. It never decides anything.
"""

import copy
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoker import autoscale, naming
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.catalog.load import builtin_gpus
from stoker.model.inventory import Inventory
from stoker.model.load import Load
from stoker.model.location import Location, UsedCache, confirmed, locate
from stoker.model.moment import Moment
from stoker.model.observed import (
    ContainerFailure,
    Key,
    Observed,
    ObservedObject,
    ObservedPod,
    ObservedService,
    ScaledBy,
)
from stoker.model.past import Past
from stoker.model.plan import Apply, Plan, Verdict
from stoker.model.platform import AcceleratorPlatform, EnginePlatform, Mount, Platform
from stoker.model.scale import History, Limit, Reckoning, ScaleDecision, Term
from stoker.model.strain import Strain
from stoker.model.timing import Seen
from stoker.naming import Component
from stoker.plan import decisions
from stoker.plan.service import plan_service
from stoker_worker import modelfacts
from stoker_worker.contract import Termination
from stoker_worker.modelfacts import ModelFacts
from tests.support.families import FAMILIES

KEY = Key("chat", "llama")
PLATFORM = Platform(
    operator_namespace="stoker-system",
    worker_image="registry.test/stoker-worker:1.0",
    envoy_image="registry.test/envoy:1.39",
    picker_image="registry.test/epp:1.5",
    engines={
        "vllm": EnginePlatform(
            name="vllm",
            image="registry.test/vllm:0.33",
            mounts=(Mount("engine-packages", "/opt/packages"),),
            env={"VLLM_LOGGING_LEVEL": "INFO"},
            allowed_args=frozenset({"max-num-seqs", "enforce-eager"}),
            allowed_env=frozenset({"OMP_NUM_THREADS"}),
            image_prefixes=("registry.test/vllm", "registry.test/team/"),
        )
    },
    accelerators={
        "cpu": AcceleratorPlatform("cpu", None),
        "nvidia-l4": AcceleratorPlatform(
            "nvidia-l4",
            "nvidia.com/gpu",
            {"nvidia.com/gpu.product": "NVIDIA-L4"},
            ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
        ),
        "nvidia-a100": AcceleratorPlatform(
            "nvidia-a100",
            "nvidia.com/gpu",
            {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"},
            ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
        ),
        "amd-mi300": AcceleratorPlatform("amd-mi300", "amd.com/gpu"),
    },
    default_accelerator="cpu",
    image_pull_secrets=("registry",),
    allowed_labels=("team", "cost.example.com/"),
    allowed_annotations=("note.example.com/",),
    allowed_tolerations=("dedicated",),
    allowed_priority_classes=("serving",),
    allowed_runtime_classes=("nvidia",),
)
VLLM = PLATFORM.engines["vllm"]


_TYPES = builtin_gpus()
# The same, with what the types can do: there plans are made.
PLANNING = replace(
    PLATFORM,
    gpus={
        "cpu": _TYPES["cpu"],
        "nvidia-l4": _TYPES["nvidia-l4"],
        "nvidia-a100": replace(_TYPES["nvidia-a100-80gb"], name="nvidia-a100"),
    },
)
# Llama 3.1 8B.
FACTS = replace(FAMILIES["llama-3.1-8b"].facts, digest="sha256:llama")


def spec(**fields: Any) -> InferenceServiceSpec:
    """A spec that is valid and short; fields as in YAML."""
    return InferenceServiceSpec.model_validate({"model": {"uri": "pvc://models/tiny"}, **fields})


MODELS = Location("models", "tiny")  # of the usual spec


def longest_decisions() -> dict[str, Any]:
    """What a status says of scaling, as long as it may get."""
    status: dict[str, Any] = {"desiredReplicas": 1000}
    now = Moment(0.0, 1_800_000_000.0)
    numbers = Reckoning(1000, dict.fromkeys(Term, 1000.12), 4096, 12.34, Limit.STABILIZATION, 1.0)
    verdict = Verdict("WaitingToScaleDown", "x" * 500)
    for turn in range(6):
        scale = ScaleDecision(999 + turn % 2, verdict, reckoning=numbers)
        told = decisions.changes(status, scale, now)
        status = {"desiredReplicas": scale.replicas, **told}
    return {
        **status,
        **decisions.standing(scale, now),
        "load": dict.fromkeys(("held", "waiting", "running"), 10**6) | {"time": now.rfc3339()},
        "queueDepth": 10**6,
    }


def pod(
    name: str = "llama-engine-0",
    *,
    component: Component = Component.ENGINE,
    revision: str | None = "aaaa",
    ready: bool = False,
    deleting: bool = False,
    unschedulable: str | None = None,
    failures: tuple[ContainerFailure, ...] = (),
    created: float = 0,
    phase: str = "Running",
) -> ObservedPod:
    """One pod; not ready unless told."""
    return ObservedPod(
        name=name,
        uid=f"uid-{name}",
        component=component,
        revision=revision,
        phase=phase,
        ready=ready,
        deleting=deleting,
        ip="10.0.0.1" if ready else None,
        node=None if unschedulable else "node-1",
        created=created,
        restarts=0,
        scheduled=unschedulable is None,
        unschedulable=unschedulable,
        failures=failures,
    )


class World:
    """One service in a small cluster."""

    def __init__(self, wanted: InferenceServiceSpec, platform: Platform = PLATFORM) -> None:
        self.spec: InferenceServiceSpec = wanted
        self.platform = platform
        self.generation = 1
        self.spec_error: str | None = None
        self.status: Mapping[str, Any] = {}
        self.objects: dict[tuple[str, str], ObservedObject] = {}
        self.pods: dict[str, ObservedPod] = {}
        self.claims: dict[str, str | None] = {"models": "Bound", "engine-packages": "Bound"}
        self.annotations: dict[str, str] = {}
        self.cache: UsedCache | None = None  # the model lies in the user's own folder
        self.shared_facts: str | None = None
        self.job_refused: str | None = None
        self.inventory: Inventory | None = None  # nobody looks at nodes
        self.kv_tokens: int | None = None  # what every ready engine reports
        self.seen: tuple[Seen, ...] = ()  # the last windows of its engines' times
        self.strains: tuple[Strain, ...] = ()  # and of how full they were
        # What a facts pod leaves: facts, or what the worker found wrong with the model.
        self.model: ModelFacts | Termination = FACTS
        self.taken: frozenset[tuple[str, str]] = frozenset()
        self.deleting = False
        self.time = 1000.0
        self.history = History()
        self.past = Past()
        self.broken: dict[str, tuple[ContainerFailure, ...]] = {}  # by revision
        self._numbers = itertools.count(1)

    def observe(self, load: Load | None = None) -> Observed:
        service = ObservedService(
            key=KEY,
            uid="uid-service",
            generation=self.generation,
            resource_version="1",
            spec=None if self.spec_error else self.spec,
            spec_error=self.spec_error,
            annotations=self.annotations,
            status=self.status,
            deleting=self.deleting,
        )
        uids = {name: f"uid-{name}" for name, phase in self.claims.items() if phase}
        meant = None if self.spec_error else locate(self.spec, self.cache, self.status)
        return Observed(
            service=service,
            location=confirmed(meant, uids),
            cache=self.cache,
            objects=tuple(self.objects.values()),
            pods=tuple(self.pods.values()),
            claims=self.claims,
            claim_uids=uids,
            shared_facts=self.shared_facts,
            job_refused=self.job_refused,
            inventory=self.inventory,
            kv_tokens={
                name: self.kv_tokens
                for name, each in self.pods.items()
                if self.kv_tokens and each.ready and each.component is Component.ENGINE
            },
            seen=self.seen,
            strains=self.strains,
            load=load,
            past=self.past,
            taken=self.taken,
        )

    def decide(self, load: Load | None = None) -> Plan:
        observed, now = self.observe(load), Moment(self.time, self.time)
        scale = autoscale.decide_service(observed, load, self.history, self.platform, now)
        self.history = scale.history
        return plan_service(observed, scale, self.platform, now)

    def change(self, wanted: InferenceServiceSpec) -> None:
        self.spec = wanted
        self.generation += 1

    def look(self, load: Load | None = None) -> Plan:
        """One pass: decide and carry it out. Pods do not move."""
        plan = self.decide(load)
        for cost in plan.costs:
            assert self.pods[cost.pod].uid == cost.uid
            self.pods[cost.pod] = replace(self.pods[cost.pod], deletion_cost=cost.cost)
        for action in plan.actions:
            if isinstance(action, Apply):
                self._apply(action)
            else:
                present = self.objects.pop((action.kind, action.name))
                assert present.uid == action.uid
                if action.kind == "Deployment":
                    self._orphan(present)
                if action.kind == "Job":
                    self.pods = {
                        name: each
                        for name, each in self.pods.items()
                        if not name.startswith(f"{action.name}-")
                    }
        self.status = plan.status
        self.past = plan.past
        self.time += 1
        return plan

    def run_pods(self, *, start: bool = True, finish: bool = True) -> None:
        """Let the cluster act once: make and remove pods, finish deletions, get pods ready."""
        if finish:
            self.pods = {name: pod for name, pod in self.pods.items() if not pod.deleting}
        if start:
            for name, each in self.pods.items():
                if each.component is Component.FACTS:
                    self.pods[name] = self._read(each)
                    continue
                bad = self.broken.get(each.revision or "")
                self.pods[name] = replace(
                    each, ready=not bad and not each.deleting, failures=bad or (), ip="10.0.0.9"
                )
        for present in list(self.objects.values()):
            if present.kind == "Deployment":
                self._run_deployment(present)
            if present.kind == "Job":
                self._run_job(present)

    def settle(self, load: Load | None = None, limit: int = 60) -> Plan:
        """Look and let the cluster act until nothing moves."""
        for _ in range(limit):
            before = (dict(self.objects), dict(self.pods), self.status)
            plan = self.look(load)
            self.run_pods()
            if (dict(self.objects), dict(self.pods), self.status) == before:
                return plan
        raise AssertionError(f"still moving after {limit} passes: {plan.actions}")

    def scale(self, name: str, replicas: int, manager: str = "kubectl") -> None:
        """Somebody changes the replicas of a Deployment."""
        present = self.deployment(name)
        body = copy.deepcopy(dict(present.body))
        body["spec"]["replicas"] = replicas
        self.objects["Deployment", name] = replace(
            present,
            body=body,
            resource_version=str(next(self._numbers)),
            scaled_by=ScaledBy(manager, "2026-01-01T00:00:00Z"),
        )

    def replicas(self) -> dict[str, int]:
        """Told replicas of each engine revision."""
        return {
            present.body["metadata"]["labels"][naming.LABEL_REVISION]: present.body["spec"][
                "replicas"
            ]
            for present in self.objects.values()
            if present.kind == "Deployment" and naming.LABEL_REVISION in _labels(present)
        }

    def ready(self) -> int:
        return sum(
            each.ready and not each.deleting and each.component is Component.ENGINE
            for each in self.pods.values()
        )

    def condition(self, kind: str) -> dict[str, Any]:
        found = [c for c in self.status["conditions"] if c["type"] == kind]
        assert len(found) == 1, f"{kind}: {found}"
        return dict(found[0])

    def deployment(self, name: str) -> ObservedObject:
        return self.objects["Deployment", name]

    def _apply(self, action: Apply) -> None:
        body = copy.deepcopy(dict(action.manifest))
        key = (body["kind"], body["metadata"]["name"])
        assert key not in self.taken
        present = self.objects.get(key)
        if action.resource_version is not None:
            assert present is not None
            assert present.resource_version == action.resource_version
        number = next(self._numbers)
        body["metadata"]["generation"] = number
        body["metadata"]["uid"] = f"uid-{number}"
        if present is not None:
            body["status"] = present.body.get("status", {})
        self.objects[key] = ObservedObject(
            kind=key[0],
            name=key[1],
            uid=present.uid if present else f"uid-{number}",
            resource_version=str(number),
            owner_uid="uid-service",
            body=_defaulted(body),
        )

    def _run_deployment(self, present: ObservedObject) -> None:
        labels = _labels(present)
        component = Component(labels[naming.LABEL_COMPONENT])
        revision = labels.get(naming.LABEL_REVISION)
        own = [
            each
            for each in self.pods.values()
            if each.component is component and each.revision == revision and not each.deleting
        ]
        told = present.body["spec"]["replicas"]
        # As a ReplicaSet does: those without a node go first, then those that are not ready, then
        # those that cost less.
        own.sort(key=lambda each: (each.scheduled, each.ready, each.deletion_cost))
        for each in own[: max(0, len(own) - told)]:
            self.pods[each.name] = replace(each, deleting=True)
        for _ in range(told - len(own)):
            name = f"{present.name}-{next(self._numbers)}"
            self.pods[name] = replace(
                pod(name, component=component, revision=revision, created=self.born()),
                replica_set=f"{present.name}-5d8c",
            )
        body = copy.deepcopy(dict(present.body))
        ready = sum(each.ready for each in own)
        body["status"] = {
            "observedGeneration": body["metadata"]["generation"],
            "replicas": told,
            "updatedReplicas": told,
            "readyReplicas": min(ready, told),
        }
        self.objects["Deployment", present.name] = replace(present, body=body)

    def _run_job(self, present: ObservedObject) -> None:
        name = f"{present.name}-x"
        known = self.pods.get(name)
        if known is None:
            self.pods[name] = pod(
                name, component=Component.FACTS, revision=None, created=self.born()
            )
        elif known.phase in {"Succeeded", "Failed"}:
            word = "Complete" if known.phase == "Succeeded" else "Failed"
            status = {"conditions": [{"type": word, "status": "True", "message": "it ended"}]}
            body = {**present.body, "status": status}
            self.objects["Job", present.name] = replace(present, body=body)

    def _read(self, reader: ObservedPod) -> ObservedPod:
        if isinstance(self.model, Termination):
            last = ContainerFailure(
                "facts", "Error", "", exit_code=1, termination=self.model.to_json()
            )
            return replace(reader, phase="Failed", failures=(last,))
        found = json.dumps({"facts": modelfacts.to_dict(self.model)})
        return replace(reader, phase="Succeeded", result=found)

    def born(self) -> float:
        """When a pod is made that is made now; each a little later than the one before."""
        return self.time + 0.001 * next(self._numbers)

    def jobs(self) -> list[str]:
        """Names of the Jobs that there are."""
        return [name for kind, name in self.objects if kind == "Job"]

    def _orphan(self, deployment: ObservedObject) -> None:
        revision = _labels(deployment).get(naming.LABEL_REVISION)
        for name, each in self.pods.items():
            if each.component is Component.ENGINE and each.revision == revision:
                self.pods[name] = replace(each, deleting=True)


def _labels(present: ObservedObject) -> Mapping[str, str]:
    labels: Mapping[str, str] = present.body["metadata"]["labels"]
    return labels


def _defaulted(body: dict[str, Any]) -> dict[str, Any]:
    """Some of what the API server adds or spells differently."""
    if body["kind"] == "Deployment":
        body["spec"].setdefault("progressDeadlineSeconds", 600)
        pod_spec = body["spec"]["template"]["spec"]
        pod_spec.setdefault("dnsPolicy", "ClusterFirst")
        for container in [*pod_spec["containers"], *pod_spec.get("initContainers", [])]:
            container.setdefault("imagePullPolicy", "IfNotPresent")
            limits = container.get("resources", {}).get("limits", {})
            if limits.get("memory") == "1024Mi":
                limits["memory"] = "1Gi"
    if body["kind"] == "NetworkPolicy":
        for field in ("ingress", "egress"):
            if body["spec"].get(field) == []:
                del body["spec"][field]
    return body
