"""What is made for a ModelCache: its claim, its jobs, who they are and whom they may talk to.

Jobs are named by their content, because a Job cannot be changed; what its neighbours want and do
is no part of that, as a job must not begin anew because of them. A job runs where the engines
run that will use the model, as nobody, without a token, on a root file system that nobody writes.
What the source asks for is mounted as files and is in no variable and no argument. It may connect
to anywhere but link-local addresses, where clouds keep their metadata, and the API server.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, Final

from stoker import naming
from stoker.model.cache import CachePlatform
from stoker.model.replica import Placement
from stoker.render.objects import Owner, finish
from stoker.render.pods import (
    claim_volume,
    compact,
    container_security,
    image_volume,
    pinned,
    placement,
    pod_security,
)
from stoker_worker import cachecontract, contract
from stoker_worker.cachecontract import FetchConfig

Manifest = dict[str, Any]

CONTAINER: Final = "cache"
# What may pass is tried again at once; then the pass decides when.
RETRIES: Final = 2
# Only a net for a time without an operator: it removes a finished Job as soon as it is read.
KEPT_S: Final = 600
_LINK_LOCAL: Final = ("169.254.0.0/16", "fe80::/10")
_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_DNS: Final = 53
_VOLUME: Final = "volume"
_SOURCE: Final = "source"
_SECRET: Final = "secret"  # noqa: S105 - a volume's name
_CA: Final = "ca"
_TMP: Final = "tmp"


@dataclass(frozen=True, slots=True)
class CacheJob:
    """Everything that decides how a job looks."""

    config: FetchConfig
    placement: Placement
    claim: str | None = None  # None: nothing is written (`resolve`)
    source_claim: str | None = None  # of a pvc:// source
    image: str | None = None  # that is mounted in the source's place
    secret: str | None = None
    nodes: tuple[str, ...] = ()  # on one of these alone
    per_node: bool = False
    word: str = ""  # what its owner asked for; another one is another job


def render_support(owner: Owner, platform: CachePlatform) -> tuple[Manifest, ...]:
    """Identity and network policy of a cache's jobs."""
    return tuple(
        finish(manifest, owner)
        for manifest in (_service_account(owner.key.name), _network_policy(owner, platform))
    )


def render_job(owner: Owner, job: CacheJob, platform: CachePlatform) -> Manifest:
    """The Job; equal content has an equal name."""
    cache = owner.key.name
    digest = job_digest(owner, job, platform)
    labels = naming.cache_labels(cache)
    told = {naming.ANNOTATION_TASK: job.config.task}
    if job.per_node:
        told[naming.ANNOTATION_NODE] = job.nodes[0]
    return finish(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": naming.cache_job(cache, digest),
                "labels": labels,
                "annotations": told,
            },
            "spec": {
                "backoffLimit": RETRIES,
                "ttlSecondsAfterFinished": KEPT_S,
                "podFailurePolicy": {
                    "rules": [
                        # The job's own verdict stands; a node that drains says nothing.
                        {
                            "action": "FailJob",
                            "onExitCodes": {
                                "containerName": CONTAINER,
                                "operator": "In",
                                "values": [cachecontract.EXIT_STANDS],
                            },
                        },
                        {
                            "action": "Ignore",
                            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                        },
                    ]
                },
                "template": {
                    "metadata": {"labels": labels},
                    "spec": _pod(cache, job, platform),
                },
            },
        },
        owner,
    )


def job_digest(owner: Owner, job: CacheJob, platform: CachePlatform) -> str:
    """Names a job's content, whatever others want on the volume."""
    bare = replace(
        job,
        config=replace(job.config, live=[], live_at=0.0),
        # Where the volume is just now mounted is no other content either.
        nodes=job.nodes if job.per_node else (),
    )
    text = json.dumps(
        [_pod(owner.key.name, bare, platform), owner.uid, job.word],
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _pod(cache: str, job: CacheJob, platform: CachePlatform) -> Manifest:
    return compact(
        {
            "restartPolicy": "Never",
            "serviceAccountName": naming.cache(cache),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # Enough to write down how far it came.
            "terminationGracePeriodSeconds": 10,
            "securityContext": pod_security(),
            **pinned(placement(job.placement), job.nodes),
            "containers": [_container(job, platform)],
            "volumes": _volumes(job, platform),
        }
    )


def _container(job: CacheJob, platform: CachePlatform) -> Manifest:
    return compact(
        {
            "name": CONTAINER,
            "image": platform.worker_image,
            "command": list(cachecontract.FETCH_COMMAND),
            "env": [
                {"name": cachecontract.ENV_FETCH, "value": job.config.to_json()},
                {
                    "name": contract.ENV_POD_UID,
                    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}},
                },
                {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a volume of this pod alone
                *({"name": name, "value": value} for name, value in platform.proxies),
            ],
            "ports": [
                {
                    "name": "progress",
                    "containerPort": cachecontract.FETCH_PORT,
                    "protocol": "TCP",
                }
            ],
            "resources": {
                "requests": {"cpu": "250m", "memory": "512Mi"},
                "limits": {"memory": "2Gi"},
            },
            "securityContext": container_security(),
            "terminationMessagePath": contract.TERMINATION_LOG,
            "terminationMessagePolicy": "File",
            "volumeMounts": _mounts(job, platform),
        }
    )


def _mounts(job: CacheJob, platform: CachePlatform) -> list[Manifest]:
    mounts: list[Manifest] = [{"name": _TMP, "mountPath": "/tmp"}]  # noqa: S108 - as above
    if job.claim is not None:
        mounts.append({"name": _VOLUME, "mountPath": cachecontract.VOLUME_DIR})
    if job.source_claim is not None:
        source = _VOLUME if job.source_claim == job.claim else _SOURCE
        mounts.append({"name": source, "mountPath": cachecontract.SOURCE_DIR, "readOnly": True})
    if job.image is not None:
        mounts.append({"name": _SOURCE, "mountPath": cachecontract.SOURCE_DIR, "readOnly": True})
    if job.secret is not None:
        mounts.append({"name": _SECRET, "mountPath": cachecontract.SECRET_DIR, "readOnly": True})
    if platform.ca_config_map is not None:
        folder = cachecontract.CA_FILE.rpartition("/")[0]
        mounts.append({"name": _CA, "mountPath": folder, "readOnly": True})
    return mounts


def _volumes(job: CacheJob, platform: CachePlatform) -> list[Manifest]:
    volumes: list[Manifest] = [{"name": _TMP, "emptyDir": {"sizeLimit": "1Gi"}}]
    if job.claim is not None:
        volumes.append({"name": _VOLUME, "persistentVolumeClaim": {"claimName": job.claim}})
    if job.source_claim is not None and job.source_claim != job.claim:
        volumes.append(claim_volume(_SOURCE, job.source_claim))
    if job.image is not None:
        volumes.append(image_volume(_SOURCE, job.image))
    if job.secret is not None:
        # Without it the job begins all the same, and says what the source does not let it have.
        secret = {"secretName": job.secret, "defaultMode": 288, "optional": True}
        volumes.append({"name": _SECRET, "secret": secret})
    if platform.ca_config_map is not None:
        key = cachecontract.CA_FILE.rpartition("/")[2]
        volumes.append(
            {
                "name": _CA,
                "configMap": {
                    "name": platform.ca_config_map,
                    "items": [{"key": key, "path": key}],
                    # Without it the usual authorities hold; the job says whom it does not trust.
                    "optional": True,
                },
            }
        )
    return volumes


def render_claim(owner: Owner, wanted: Mapping[str, Any], *, retain: bool) -> Manifest:
    """The claim with this spec; without an owner where it is to outlive the cache."""
    cache = owner.key.name
    finished = finish(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": naming.cache(cache), "labels": naming.cache_labels(cache)},
            "spec": compact(dict(wanted)),
        },
        owner,
    )
    if retain:
        # What our field manager no longer sends, the API server takes away.
        del finished["metadata"]["ownerReferences"]
    return finished


def _service_account(cache: str) -> Manifest:
    """An identity without rights and without a token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": naming.cache(cache), "labels": naming.cache_labels(cache)},
        "automountServiceAccountToken": False,
    }


def _network_policy(owner: Owner, platform: CachePlatform) -> Manifest:
    """Progress is read by the operator alone; out to names, and to all but what is forbidden."""
    cache = owner.key.name
    operator = {
        "namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": platform.operator_namespace}
        }
    }
    dns = [{"protocol": protocol, "port": _DNS} for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": naming.cache(cache), "labels": naming.cache_labels(cache)},
        "spec": {
            "podSelector": {"matchLabels": naming.cache_selector(cache)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [operator],
                    "ports": [{"protocol": "TCP", "port": cachecontract.FETCH_PORT}],
                }
            ],
            "egress": [
                # A node's own name server may have a link-local address.
                {"ports": dns},
                {"to": [{"ipBlock": block} for block in _blocks(platform)]},
            ],
        },
    }


def _blocks(platform: CachePlatform) -> list[Manifest]:
    forbidden = [ip_network(text) for text in (*_LINK_LOCAL, *platform.forbidden_networks)]
    blocks = []
    for text in _EVERYWHERE:
        version = ip_network(text).version
        inside = [str(network) for network in forbidden if network.version == version]
        blocks.append({"cidr": text, "except": sorted(inside)})
    return blocks
