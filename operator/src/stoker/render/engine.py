"""The Deployment of one revision: any stock engine image, supervised by our worker.

An init container copies the worker into an emptyDir; the engine's container runs it on the image's
own Python, and the worker starts the engine. The template of a Deployment that exists is never
rendered again (`rescale`): a template that differs in one byte makes Kubernetes restart every
replica, so a new operator or a new worker image waits for the next revision. Kubernetes' own
rolling update therefore only runs when a person asks for it (kubectl rollout restart); it is set so
that this loses nothing.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

from stoker import naming
from stoker.model.replica import Replica
from stoker.naming import Component
from stoker.render import readers
from stoker.render.objects import Owner, finish
from stoker.render.pods import (
    claim_volume,
    compact,
    container_security,
    model_volume,
    placement,
    pod_security,
)
from stoker_worker import contract

Manifest = dict[str, Any]

CONTAINER: Final = "engine"
INIT_CONTAINER: Final = "install-worker"

_TMP_DIR: Final = "/tmp"  # noqa: S108 - a mount of the pod's own
_WORKER: Final = "stoker-worker"
_CACHE: Final = "cache"
_TMP: Final = "tmp"
_SHARED_MEMORY: Final = "shared-memory"
_MODEL: Final = "model"
_STAGED: Final = "staged"
_STAGER_BYTES: Final = 256 * 2**20  # of the process that copies
# What an engine needs of the host's memory beside the weights, at least.
ENGINE_BYTES: Final = 2 * 2**30
_EAGER: Final = "enforce-eager"  # compiles nothing
_PROFILE: Final = "profile"
# Of traces, which the steps of one bound to a few per cent of it.
_PROFILE_BYTES: Final = "1Gi"
_LOCAL_VOLUMES: Final = f"{_WORKER},{_CACHE},{_TMP},{_SHARED_MEMORY}"


def render_engine(owner: Owner, revision: str, replica: Replica, replicas: int) -> Manifest:
    """The Deployment of a revision that does not exist yet."""
    service = owner.key.name
    return finish(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": naming.engine_deployment(service, revision),
                "labels": naming.labels(service, Component.ENGINE, revision),
            },
            "spec": {
                "replicas": replicas,
                "revisionHistoryLimit": 1,
                "selector": {"matchLabels": naming.selector(service, Component.ENGINE, revision)},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                },
                "template": _template(service, revision, replica),
            },
        },
        owner,
    )


def rescale(observed: Mapping[str, Any], replicas: int) -> Manifest:
    """The Deployment as the API server has it, with another number of replicas."""
    metadata = observed["metadata"]
    kept = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key in naming.ANNOTATIONS
    }
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata.get("labels") or {},
            "annotations": kept,
            "ownerReferences": metadata.get("ownerReferences") or [],
        },
        "spec": {**observed["spec"], "replicas": replicas},
    }
    return copy.deepcopy(manifest)


def mark_served(deployment: Manifest) -> Manifest:
    """A copy that notes for later passes: a replica of this revision has answered once."""
    marked = copy.deepcopy(deployment)
    marked["metadata"].setdefault("annotations", {})[naming.ANNOTATION_SERVED] = "true"
    return marked


def was_served(observed: Mapping[str, Any]) -> bool:
    """Whether that note is there."""
    annotations = observed.get("metadata", {}).get("annotations") or {}
    return annotations.get(naming.ANNOTATION_SERVED) == "true"


def model_path(replica: Replica) -> str:
    """The model's folder in the pod, as it is mounted."""
    return f"{contract.MODEL_DIR}/{replica.folder}".rstrip("/")


def _loaded_path(replica: Replica) -> str:
    """Where the engine finds it."""
    if not replica.staged_bytes:
        return model_path(replica)
    return f"{contract.STAGED_DIR}/{replica.folder or _MODEL}"


def worker_config(replica: Replica) -> contract.WorkerConfig:
    """What the worker is told."""
    return contract.WorkerConfig(
        engine=replica.engine,
        model_path=_loaded_path(replica),
        prefetch=not replica.staged_bytes,
        served_names=list(replica.served_names),
        args=dict(replica.args),
        settle_s=replica.settle_s,
        drain_s=replica.drain_s,
        allow_pickle=replica.allow_pickle,
        compiled_key=_compiled_key(replica),
        compiled_bytes=replica.compiled_bytes,
        profile_dir=contract.PROFILE_DIR if profiled(replica) else "",
    )


def profiled(replica: Replica) -> bool:
    """Whether its engine may be profiled: each pod of a group would write a part of the trace."""
    return replica.profiling and replica.nodes == 1


def _compiled_key(replica: Replica) -> str:
    """Names engine and accelerators; the worker adds what only the node knows. Empty: none kept.

    An engine that compiles nothing keeps what it found out about the model's class, which takes
    another process at each start. It has a snapshot of its own, that replaces no kernels.
    """
    if not replica.compiled:
        return ""
    accelerators = replica.accelerators
    words = (replica.image, *accelerators.names, str(accelerators.count))
    eager = dict(replica.args).get(_EAGER, "false") != "false"
    return " ".join((*words, "eager") if eager else words)


def _template(service: str, revision: str, replica: Replica) -> Manifest:
    additions = replica.additions
    return {
        "metadata": {
            "labels": {
                **dict(additions.labels),
                **naming.labels(service, Component.ENGINE, revision),
            },
            "annotations": {
                **dict(additions.annotations),
                # Its emptyDirs hold nothing worth keeping, so a node autoscaler may move the pod.
                "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": _local_volumes(
                    replica
                ),
                "kubectl.kubernetes.io/default-container": CONTAINER,
                **_scraped(replica),
            },
        },
        "spec": compact(
            {
                "serviceAccountName": naming.engine(service),
                "automountServiceAccountToken": False,
                # A Service named vllm would set VLLM_PORT, which the engine reads as its own.
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": worker_config(replica).grace_period_s(),
                "securityContext": pod_security(),
                "runtimeClassName": additions.runtime_class,
                **placement(replica),
                "initContainers": [
                    _init_container(replica),
                    *_awaiting(replica),
                    *_staging(replica),
                ],
                "containers": [_container(replica)],
                "volumes": _volumes(replica),
            }
        ),
    }


def _local_volumes(replica: Replica) -> str:
    return f"{_LOCAL_VOLUMES},{_PROFILE}" if profiled(replica) else _LOCAL_VOLUMES


def _if(wanted: bool, manifest: Manifest) -> list[Manifest]:  # noqa: FBT001 - what it is about
    return [manifest] if wanted else []


def _scraped(replica: Replica) -> dict[str, str]:
    if not replica.scrape_annotations:
        return {}
    return readers.annotations(contract.ENGINE_PORT, contract.PATH_METRICS)


def _init_container(replica: Replica) -> Manifest:
    return {
        "name": INIT_CONTAINER,
        "image": replica.worker_image,
        "command": list(contract.INSTALL_COMMAND),
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": container_security(),
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": _WORKER, "mountPath": contract.INSTALL_DIR}],
    }


def _awaiting(replica: Replica) -> list[Manifest]:
    """Where a cache fills one node after the other, the pod waits for its own."""
    if replica.node_label is None:
        return []
    return [
        {
            **_init_container(replica),
            "name": naming.AWAIT_CONTAINER,
            "command": [*contract.AWAIT_COMMAND, model_path(replica)],
            "terminationMessagePath": contract.TERMINATION_LOG,
            "volumeMounts": [{"name": _MODEL, "mountPath": contract.MODEL_DIR, "readOnly": True}],
        }
    ]


def _staging(replica: Replica) -> list[Manifest]:
    """Copies the weights into memory; what it wrote counts as the pod's."""
    if not replica.staged_bytes:
        return []
    memory = str(replica.staged_bytes + _STAGER_BYTES)
    return [
        {
            **_init_container(replica),
            "name": "stage-model",
            "command": [*contract.STAGE_COMMAND, model_path(replica), _loaded_path(replica)],
            "resources": {
                "requests": {"cpu": "500m", "memory": memory},
                "limits": {"memory": memory},
            },
            "terminationMessagePath": contract.TERMINATION_LOG,
            "volumeMounts": [
                {"name": _MODEL, "mountPath": contract.MODEL_DIR, "readOnly": True},
                {"name": _STAGED, "mountPath": contract.STAGED_DIR},
            ],
        }
    ]


def _container(replica: Replica) -> Manifest:
    return {
        "name": CONTAINER,
        "image": replica.image,
        "command": [replica.python, *contract.SERVE_COMMAND[1:]],
        "env": _env(replica),
        "ports": [
            {"name": "http", "containerPort": contract.ENGINE_PORT, "protocol": "TCP"},
            {"name": "worker", "containerPort": contract.WORKER_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(replica),
        "securityContext": container_security(),
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        **_probes(),
        "volumeMounts": [
            {"name": _WORKER, "mountPath": contract.INSTALL_DIR, "readOnly": True},
            {"name": _MODEL, "mountPath": contract.MODEL_DIR, "readOnly": True},
            *(
                [{"name": _STAGED, "mountPath": contract.STAGED_DIR, "readOnly": True}]
                if replica.staged_bytes
                else []
            ),
            *_compiled_mount(replica),
            {"name": _CACHE, "mountPath": contract.CACHE_DIR},
            *_if(profiled(replica), {"name": _PROFILE, "mountPath": contract.PROFILE_DIR}),
            {"name": _TMP, "mountPath": _TMP_DIR},
            {"name": _SHARED_MEMORY, "mountPath": "/dev/shm"},  # noqa: S108 - as above
            *(
                {"name": f"mount-{number}", "mountPath": mount.path, "readOnly": True}
                for number, mount in enumerate(replica.mounts)
            ),
        ],
    }


def _compiled_mount(replica: Replica) -> list[Manifest]:
    """The one folder of the model's volume that an engine's pod may write."""
    if not _compiled_key(replica):
        return []
    return [{"name": _MODEL, "mountPath": contract.COMPILED_DIR, "subPath": replica.compiled}]


def _probes() -> Manifest:
    """The worker judges the engine; the kubelet only asks the worker.

    Loading may take an hour and is the worker's business, so no start-up deadline is set on it:
    the start-up probe waits for the worker alone. Readiness is asked each second, because a pod
    that leaves the pool late loses requests. Liveness is generous: it fails only when the worker
    itself is gone, and a busy machine must not look like that.
    """

    def probe(path: str, **timing: int) -> Manifest:
        return {"httpGet": {"path": path, "port": "worker", "scheme": "HTTP"}, **timing}

    return {
        "startupProbe": probe(
            contract.PATH_LIVE, periodSeconds=1, timeoutSeconds=5, failureThreshold=300
        ),
        "readinessProbe": probe(
            contract.PATH_READY, periodSeconds=1, timeoutSeconds=3, failureThreshold=2
        ),
        "livenessProbe": probe(
            contract.PATH_LIVE, periodSeconds=10, timeoutSeconds=10, failureThreshold=6
        ),
    }


def _env(replica: Replica) -> list[Manifest]:
    """The engine's environment; what the pod's own shape decides wins."""
    cache = contract.CACHE_DIR
    own = {
        contract.ENV_CONFIG: worker_config(replica).to_json(),
        # The root is read-only and the user has no entry in the image's passwd.
        "HOME": cache,
        "USER": "stoker",
        "LOGNAME": "stoker",
        "TMPDIR": _TMP_DIR,
        "XDG_CACHE_HOME": f"{cache}/xdg",
        "VLLM_CACHE_ROOT": f"{cache}/vllm",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torchinductor",
        "TRITON_CACHE_DIR": f"{cache}/triton",
        # Nothing may leave the pod, so do not wait for it to fail.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    fields = {contract.ENV_POD_NAME: "metadata.name", contract.ENV_POD_UID: "metadata.uid"}
    given: dict[str, Manifest] = {name: {"value": value} for name, value in replica.env} | {
        **{name: {"value": value} for name, value in own.items()},
        **{name: {"valueFrom": {"fieldRef": {"fieldPath": at}}} for name, at in fields.items()},
    }
    return [{"name": name, **given[name]} for name in sorted(given)]


def _resources(replica: Replica) -> Manifest:
    requests: dict[str, str] = dict(replica.additions.requests)
    if replica.staged_bytes:
        # The weights stay while the pod runs, and the scheduler has to know.
        requests.setdefault("memory", str(replica.staged_bytes + ENGINE_BYTES))
    limits: dict[str, str] = dict(replica.additions.limits)
    accelerators = replica.accelerators
    if accelerators.resource is not None:
        requests[accelerators.resource] = str(accelerators.count)
        limits[accelerators.resource] = str(accelerators.count)
    return compact({"requests": requests, "limits": limits})


def _volumes(replica: Replica) -> list[Manifest]:
    return [
        {"name": _WORKER, "emptyDir": {}},
        model_volume(_MODEL, replica, writable=bool(_compiled_key(replica))),
        {"name": _CACHE, "emptyDir": {}},
        *_if(profiled(replica), {"name": _PROFILE, "emptyDir": {"sizeLimit": _PROFILE_BYTES}}),
        {"name": _TMP, "emptyDir": {}},
        *(
            [
                {
                    "name": _STAGED,
                    "emptyDir": {"medium": "Memory", "sizeLimit": str(replica.staged_bytes)},
                }
            ]
            if replica.staged_bytes
            else []
        ),
        {
            "name": _SHARED_MEMORY,
            "emptyDir": {"medium": "Memory", "sizeLimit": replica.shared_memory},
        },
        *(
            claim_volume(f"mount-{number}", mount.claim)
            for number, mount in enumerate(replica.mounts)
        ),
    ]
