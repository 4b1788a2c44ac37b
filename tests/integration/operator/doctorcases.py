"""Set-ups that are broken on purpose: each plants one cause, and says what the doctor must name.

There is no kubelet and no scheduler, so `keep` says in their place what they would say of such
pods, each time before the doctor looks: nodes that nobody renews go bad by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stoker_worker.contract import Termination
from tests.integration.operator.planting import apply, pods, say, tried
from tests.integration.operator.support import CLAIM, CONFIG, service, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.controlplane import ControlPlane

NAME = "tiny"
POOL = "doctor.test/pool"
# One type for each fault of nodes, told apart by a label.
POOLS = {
    "nowhere": "nvidia-a10",
    "blind": "nvidia-l4",
    "tainted": "nvidia-t4",
    "full": "nvidia-l40s",
}
OPERATOR: dict[str, Any] = {
    "accelerators": {
        **CONFIG["accelerators"],
        **{
            name: {"resource": "nvidia.com/gpu", "nodeSelector": {POOL: pool}}
            for pool, name in POOLS.items()
        },
    }
}
_MERGE = "application/merge-patch+json"


def nothing(_plane: ControlPlane, _namespace: str) -> None:
    """No more than is there."""


@dataclass(frozen=True)
class Case:
    """One broken set-up."""

    name: str
    check: str  # that has to be named
    fix: str  # what its fix has to hold
    why: str  # what its words have to hold
    plant: Callable[[ControlPlane, str], None]
    keep: Callable[[ControlPlane, str], None] = nothing
    exit: int = 9
    spec: dict[str, Any] = field(default_factory=dict)


def made(**spec: Any) -> Callable[[ControlPlane, str], None]:
    """A service with this in its spec."""

    def plant(plane: ControlPlane, namespace: str) -> None:
        apply(plane, service(NAME, namespace, **spec))

    return plant


def container(
    name: str, state: dict[str, Any], last: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A container's state."""
    status = {"name": name, "image": "", "imageID": "", "ready": False, "restartCount": 3}
    return {**status, "state": state, **({} if last is None else {"lastState": last})}


def broken(
    component: str, name: str, state: dict[str, Any], last: dict[str, Any] | None = None
) -> Callable[[ControlPlane, str], None]:
    """A container of every pod of that part is in this state."""
    where = "initContainerStatuses" if name.startswith("picker") else "containerStatuses"

    def keep(plane: ControlPlane, namespace: str) -> None:
        for pod in pods(plane, namespace, component):
            say(plane, pod, {where: [container(name, state, last)]})

    return keep


def ended(code: int, message: str, reason: str = "Error") -> dict[str, Any]:
    """A container's end."""
    told = {"exitCode": code, "reason": reason, "finishedAt": "2026-01-01T00:00:00Z"}
    return {"terminated": told | ({"message": message} if message else {})}


CRASHING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}


def unschedulable(message: str) -> Callable[[ControlPlane, str], None]:
    """The scheduler's word about engine pods."""

    def keep(plane: ControlPlane, namespace: str) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        for pod in pods(plane, namespace, "engine"):
            say(plane, pod, {"conditions": [condition]})

    return keep


def node(
    pool: str, *, gpus: int, taints: tuple[dict[str, str], ...] = ()
) -> Callable[[ControlPlane, str], None]:
    """A node of this pool that is ready now; again and again, as a kubelet says it."""
    name = f"doctor-{pool}"
    resources = {"cpu": "64", "memory": "256Gi"}
    if gpus:
        resources["nvidia.com/gpu"] = str(gpus)

    def keep(plane: ControlPlane, _: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {POOL: pool}},
        }
        plane.request("POST", "/api/v1/nodes", body)
        plane.request(
            "PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": list(taints)}}, kind=_MERGE
        )
        status = {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        }
        plane.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, kind=_MERGE)

    return keep


def both(
    *steps: Callable[[ControlPlane, str], None],
) -> Callable[[ControlPlane, str], None]:
    """One after the other."""

    def step(plane: ControlPlane, namespace: str) -> None:
        for each in steps:
            each(plane, namespace)

    return step


def refuse(kind: str, words: str) -> Callable[[ControlPlane, str], None]:
    """A policy of the cluster that refuses such objects in the namespace, with these words."""

    def plant(plane: ControlPlane, namespace: str) -> None:
        group = {"pods": "", "deployments": "apps"}[kind]
        name = f"{namespace}-{kind}"
        condition = "!has(object.metadata.labels) || "
        condition += "!('stoker.dev/component' in object.metadata.labels) || "
        condition += "object.metadata.labels['stoker.dev/component'] == 'facts'"
        api = {"apiVersion": "admissionregistration.k8s.io/v1"}
        rule = {
            "apiGroups": [group],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": [kind],
        }
        apply(
            plane,
            {
                **api,
                "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": name},
                "spec": {
                    "failurePolicy": "Fail",
                    "matchConstraints": {"resourceRules": [rule]},
                    "validations": [{"expression": condition, "message": words}],
                },
            },
        )
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        apply(
            plane,
            {
                **api,
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": name},
                "spec": {
                    "policyName": name,
                    "validationActions": ["Deny"],
                    "matchResources": {"namespaceSelector": selector},
                },
            },
        )
        # The API server reads policies a moment after they are written.
        wait_for(f"the policy against {kind}", lambda: words in tried(plane, namespace, kind))

    return plant


def stranger(plane: ControlPlane, namespace: str) -> None:
    """Somebody else's Service has the name."""
    apply(
        plane,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {"ports": [{"port": 80}]},
        },
    )


def quota(plane: ControlPlane, namespace: str) -> None:
    """Not one pod is allowed."""
    apply(
        plane,
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": namespace},
            "spec": {"hard": {"pods": "0"}},
        },
    )


def unbound(plane: ControlPlane, namespace: str) -> None:
    """A claim of a class that nobody serves."""
    apply(
        plane,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "slow", "namespace": namespace},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "nobody-serves-it",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    )


def cache(**model: Any) -> Callable[[ControlPlane, str], None]:
    """A ModelCache of this source."""

    def plant(plane: ControlPlane, namespace: str) -> None:
        apply(
            plane,
            {
                "apiVersion": "stoker.dev/v1alpha1",
                "kind": "ModelCache",
                "metadata": {"name": "gated", "namespace": namespace},
                "spec": {"model": model},
            },
        )

    return plant


def terminating(plane: ControlPlane, namespace: str) -> None:
    """The namespace is deleted, and the service's finalizer holds it."""
    body = service(NAME, namespace)
    body["metadata"]["finalizers"] = ["doctor.test/hold"]
    apply(plane, body)
    plane.request("DELETE", f"/api/v1/namespaces/{namespace}")


def let_go(plane: ControlPlane, namespace: str) -> None:
    """Take that finalizer away again."""
    path = f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/inferenceservices/{NAME}"
    plane.request("PATCH", path, {"metadata": {"finalizers": []}}, kind=_MERGE)


def silent(plane: ControlPlane, namespace: str) -> None:
    """Pods are Ready, and nobody answers at their addresses."""
    for component, number in (("frontend", 1), ("engine", 2)):
        for pod in pods(plane, namespace, component):
            address = f"127.255.255.{number}"
            say(
                plane,
                pod,
                {
                    "phase": "Running",
                    "podIP": address,
                    "podIPs": [{"ip": address}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            )


def gpus(pool: str) -> dict[str, Any]:
    """A spec that asks for the type of this pool."""
    return {"accelerator": {"types": [POOLS[pool]], "perReplica": 1}}


_WORD = Termination("EngineCrashed", "unrecognized arguments: --no-such-flag").to_json()
CASES = (
    Case("an image that is not allowed", "spec", "engines.vllm.imagePrefixes", "evil/vllm:1",
         made(engine={"image": "evil/vllm:1"})),
    Case("a stranger's Service", "names", "kubectl get all", "Service tiny",
         both(stranger, made())),
    Case("a policy against Deployments", "writes", "policy or webhook", "no deployments here",
         both(refuse("deployments", "no deployments here"), made())),
    Case("no such claim", "claim", "Create it, or correct model.uri", "no such claim",
         made(model={"uri": "pvc://absent/tiny"})),
    Case("a claim that is not bound", "claim", "kubectl describe pvc slow", "Pending",
         both(unbound, made(model={"uri": "pvc://slow/tiny"}))),
    Case("no such cache", "cache", "Create the ModelCache", "there is none of this name",
         made(model={"cacheRef": {"name": "absent"}})),
    Case("a token that nobody made", "secret", "kubectl create secret generic hub-token",
         "it is not there",
         both(cache(uri="hf://org/gated", secretRef={"name": "hub-token"}),
              made(model={"cacheRef": {"name": "gated"}}))),
    Case("a pickled model", "facts", "safetensors", "PickleWeights",
         made(model={"uri": f"pvc://{CLAIM}/pickled"})),
    Case("a model that does not fit", "plan", "stoker plan --of tiny", "DoesNotFit",
         made(model={"uri": f"pvc://{CLAIM}/huge"}, **gpus("full"))),
    Case("a quota of no pods", "quota", "kubectl describe quota", "exceeded quota",
         both(quota, made())),
    Case("a policy against pods", "admission", "webhook or policy", "no pods here",
         both(refuse("pods", "no pods here"), made())),
    Case("an image that is not there", "image", "kubectl describe pod", "manifest unknown",
         made(),
         broken("engine", "engine",
                {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}})),
    Case("no node of the type", "nodes", "Add a node of the type", POOL,
         made(**gpus("nowhere")),
         unschedulable("0/1 nodes are available: 1 node(s) didn't match Pod's node "
                       "affinity/selector.")),
    Case("no device plugin", "device-plugin", "device plugin", "advertise no nvidia.com/gpu",
         made(**gpus("blind")),
         both(node("blind", gpus=0),
              unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))),
    Case("a taint", "taints", "tolerations", "dedicated=training:NoSchedule",
         made(**gpus("tainted")),
         both(node("tainted", gpus=8, taints=(
                   {"key": "dedicated", "value": "training", "effect": "NoSchedule"},)),
              unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint "
                            "{dedicated: training}."))),
    Case("every GPU is taken", "scheduling", "Free or add a node", "Insufficient nvidia.com/gpu",
         made(**gpus("full")),
         both(node("full", gpus=8),
              unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))),
    Case("a flag that the engine refuses", "engine", "kubectl logs", "--no-such-flag",
         made(), broken("engine", "engine", CRASHING, ended(1, _WORD))),
    Case("an engine without enough memory", "engine", "template.resources.limits.memory",
         "OutOfMemory", made(),
         broken("engine", "engine", CRASHING, ended(137, "", "OOMKilled"))),
    Case("an Envoy that ends", "frontend", "images.envoy", "bad config",
         made(), broken("frontend", "envoy", CRASHING, ended(1, "bad config"))),
    Case("a picker that ends", "picker", "images.picker", "no such pool",
         made(), broken("frontend", "picker-stable", CRASHING, ended(1, "no such pool"))),
    Case("pods that the operator cannot reach", "network", "ports 8000, 8001 and 9902",
         "cannot read their numbers",
         made(scaling={"minReplicas": 1, "maxReplicas": 2}), silent),
    Case("no replica, and nothing that wakes one", "scale", "--replicas=1", "spec.replicas is 0",
         made(replicas=0), silent),
    Case("a namespace that goes", "namespace", "another namespace", "being deleted", terminating),
)  # fmt: skip
