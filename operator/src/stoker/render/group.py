"""The LeaderWorkerSet of one revision: a replica that spans pods.

A group of pods is one replica: a leader that serves, and followers that compute with it. Both are
the pod of the Deployment (`render.engine`), with as many accelerators as a pod of the group has,
and with what the workers need to find each other. Three choices carry the rest:

* Only the leader has the engine's labels. A follower has a component of its own, so pools, pickers,
  budgets, status and the autoscaler see one pod for each replica without knowing of groups.
* A group lives and dies as one (`RecreateGroupOnPodRestart`): an engine that lacks a rank is of no
  use, and a rank cannot join an engine that runs.
* All pods start at once (`LeaderCreated`): the workers wait for each other, so that no engine
  starts before the last pod is there, and the leader is ready only after an answer of them all.

The template of a LeaderWorkerSet that exists is never rendered again, as with a Deployment.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from stoker import naming
from stoker.model.replica import Replica
from stoker.naming import Component
from stoker.render import engine, readers
from stoker.render.objects import Owner, finish
from stoker_worker import contract

Manifest = dict[str, Any]

API_VERSION: Final = "leaderworkerset.x-k8s.io/v1"
KIND: Final = "LeaderWorkerSet"

# Flags that say how many ranks the engine has.
_SIZES: Final = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")


def render_group(owner: Owner, revision: str, replica: Replica, replicas: int) -> Manifest:
    """The LeaderWorkerSet of a revision that does not exist yet.

    Raises
    ------
    ValueError
        If the accelerators are not tensor x pipeline x data, or not the same number for each pod.
        `unfit` says so in time; here it is a mistake of the caller.
    """
    problem = unfit(replica)
    if problem is not None:
        raise ValueError(problem)
    service = owner.key.name
    nodes = replica.nodes
    share = replica.accelerators.count // nodes
    one_pod = replace(replica, accelerators=replace(replica.accelerators, count=share))
    pod = engine.render_engine(owner, revision, one_pod, replicas)["spec"]["template"]
    config = replace(engine.worker_config(replica), nodes=nodes)
    return finish(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": naming.group(service, revision),
                "labels": naming.labels(service, Component.ENGINE, revision),
            },
            "spec": {
                "replicas": replicas,
                "startupPolicy": "LeaderCreated",
                "networkConfig": {"subdomainPolicy": "Shared"},
                # Only for a change by hand, as with a Deployment: a new group before an old one.
                "rolloutStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdateConfiguration": {
                        "maxSurge": 1,
                        "maxUnavailable": 0,
                        "partition": 0,
                    },
                },
                "leaderWorkerTemplate": {
                    "size": nodes,
                    "restartPolicy": "RecreateGroupOnPodRestart",
                    "leaderTemplate": _leader(pod, config),
                    "workerTemplate": _follower(pod, config, service, revision),
                },
            },
        },
        owner,
    )


def render_group_network(owner: Owner, revision: str) -> Manifest:
    """Who the pods of a revision's groups may talk to: each other, and a name server.

    It adds to the engine's policy, which lets requests come to the leaders. The engines' own
    traffic is neither encrypted nor authenticated and uses ports that the system chooses, so every
    port is open, but among pods of this revision alone. Followers have no other way in or out.
    """
    service = owner.key.name
    members = {
        "matchLabels": {naming.LABEL_SERVICE: service, naming.LABEL_REVISION: revision},
        "matchExpressions": [
            {
                "key": naming.LABEL_COMPONENT,
                "operator": "In",
                "values": [Component.ENGINE.value, Component.FOLLOWER.value],
            }
        ],
    }
    among = [{"podSelector": members}]
    every_port = [{"protocol": "TCP"}]
    return finish(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": naming.group(service, revision),
                "labels": naming.labels(service, Component.ENGINE, revision),
            },
            "spec": {
                "podSelector": members,
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": among, "ports": every_port}],
                "egress": [
                    {"to": among, "ports": every_port},
                    # The leader is known by name until it is reached.
                    {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
                ],
            },
        },
        owner,
    )


def rescale(observed: Mapping[str, Any], replicas: int) -> Manifest:
    """The LeaderWorkerSet as the API server has it, with another number of groups."""
    return {**engine.rescale(observed, replicas), "apiVersion": API_VERSION, "kind": KIND}


def size_of(observed: Mapping[str, Any]) -> int:
    """Pods of one group of a LeaderWorkerSet as the API server has it."""
    size = ((observed.get("spec") or {}).get("leaderWorkerTemplate") or {}).get("size")
    return size if isinstance(size, int) else 1


def ranks_of(replica: Replica) -> int:
    """Ranks of the engine by its flags: tensor x pipeline x data."""
    args = dict(replica.args)
    ranks = 1
    for name in _SIZES:
        ranks *= int(args.get(name, "1"))
    return ranks


def unfit(replica: Replica) -> str | None:
    """Why a replica cannot be shared out among its pods; None when it can."""
    nodes, count, ranks = replica.nodes, replica.accelerators.count, ranks_of(replica)
    if nodes < 2:
        return f"a group has at least 2 pods, not {nodes}"
    if count != ranks:
        return f"{count} accelerators are not tensor x pipeline x data = {ranks}"
    if count % nodes:
        return f"{count} accelerators cannot be shared out evenly among {nodes} pods"
    return None


def _leader(pod: Manifest, config: contract.WorkerConfig) -> Manifest:
    leader = copy.deepcopy(pod)
    container = _configured(leader, config)
    container["ports"].append(
        {"name": "group", "containerPort": config.group_port, "protocol": "TCP"}
    )
    return leader


def _follower(
    pod: Manifest, config: contract.WorkerConfig, service: str, revision: str
) -> Manifest:
    follower = copy.deepcopy(pod)
    follower["metadata"]["labels"] |= naming.labels(service, Component.FOLLOWER, revision)
    follower["spec"]["terminationGracePeriodSeconds"] = config.follower_grace_period_s()
    # Only the leader's engine answers requests, and scrapes are requests.
    noted = follower["metadata"]["annotations"]
    follower["metadata"]["annotations"] = {
        name: value for name, value in noted.items() if not name.startswith(readers.ANNOTATIONS)
    }
    container = _configured(follower, config)
    container["ports"] = [port for port in container["ports"] if port["name"] == "worker"]
    return follower


def _configured(pod: Manifest, config: contract.WorkerConfig) -> Manifest:
    """Tell the worker of its group; the pod's container."""
    container: Manifest = pod["spec"]["containers"][0]
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    own: list[Manifest] = [
        {"name": contract.ENV_CONFIG, "value": config.to_json()},
        {"name": contract.ENV_POD_IP, "valueFrom": address},
    ]
    env = {variable["name"]: variable for variable in [*container["env"], *own]}
    container["env"] = [env[name] for name in sorted(env)]
    return container
