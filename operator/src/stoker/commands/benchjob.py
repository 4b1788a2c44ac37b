"""The job that puts load on a service, made from the service's own replica; and what it says.

The tool is the engine's: `vllm bench serve` is in every image of vLLM, of the version that serves,
so nothing is installed and no image is added. The job gets the replica's image, environment and
volumes (the model's tokenizer is needed), and none of its accelerators. It talks to the address as
any client does.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stoker import naming
from stoker.commands.statuses import mapping, mappings, number, text, whole
from stoker.naming import Component
from stoker.quantity import parse_duration
from stoker.render.pods import container_security, pod_security
from stoker.telemetry.dialects import not_known
from stoker_worker import contract
from stoker_worker.contract import ContractError, WorkerConfig

LABEL: Final = "stoker.dev/bench"
CONTAINER: Final = "bench"
# Whose images bring the tool.
ENGINE: Final = "vllm"
MARK: Final = "STOKER-BENCH "
# How long the cluster keeps a job that nobody removes.
KEEP_S: Final = 3600
_FOLDER: Final = "/tmp"  # noqa: S108 - an emptyDir of the pod
# The whole result, without the lists of single requests, behind a mark in the log.
_SCRIPT: Final = f"""\
import json, subprocess, sys
tool = [sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "serve", *sys.argv[1:]]
code = subprocess.call(tool)
if code == 0:
    with open("{_FOLDER}/bench.json") as file:
        found = json.load(file)
    short = {{k: v for k, v in found.items() if not isinstance(v, (list, dict))}}
    print("\\n{MARK}" + json.dumps(short), flush=True)
sys.exit(code)
"""
# A bar of tqdm: how many of how many.
_BAR: Final = re.compile(r"\|\s*(\d+)/(\d+)\s*\[")
PERCENTILES: Final = ("p50", "p90", "p95", "p99")
_TIMES: Final = {"ttft": "ttft", "itl": "itl", "tpot": "tpot", "e2e": "e2el"}


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the service."""

    requests: int
    concurrency: int
    rate: float | None  # requests per second; None: as fast as `concurrency` lets them
    input_tokens: int
    output_tokens: int
    wake_s: int  # how long the service may take to answer at all


@dataclass(frozen=True, slots=True)
class Target:
    """So many of a hundred may take so long."""

    name: str  # ttft or itl
    percentile: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Replica:
    """What of a replica the job takes over."""

    pod: Mapping[str, Any]  # spec of the pod
    engine: Mapping[str, Any]  # its container
    config: WorkerConfig


def replica_of(spec: Mapping[str, Any]) -> Replica | None:
    """Read a pod's spec; None where it is no engine's."""
    for container in mappings(spec.get("containers")):
        for variable in mappings(container.get("env")):
            if variable.get("name") == contract.ENV_CONFIG:
                try:
                    config = WorkerConfig.from_json(str(variable.get("value")))
                except ContractError:
                    return None
                return Replica(spec, container, config)
    return None


def why_not(replica: Replica) -> str:
    """Why this replica cannot be measured so; empty where it can."""
    engine = replica.config.engine
    if engine == ENGINE:
        return ""
    return (
        f"how to put load on it is {not_known(engine)}: the tool is {ENGINE}'s, which other images "
        "do not bring. Put load on its address with a tool of yours"
    )


def arguments(service: str, replica: Replica, load: Load) -> list[str]:
    """The tool's arguments."""
    rate = "inf" if load.rate is None else f"{load.rate:g}"
    flags = {
        "backend": "openai",
        "base-url": f"http://{naming.address(service)}",
        "endpoint": "/v1/completions",
        "model": replica.config.served_names[0],
        "tokenizer": replica.config.model_path,
        "dataset-name": "random",
        "random-input-len": load.input_tokens,
        "random-output-len": load.output_tokens,
        "num-prompts": load.requests,
        "max-concurrency": load.concurrency,
        "request-rate": rate,
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "metric-percentiles": "50,90,95,99",
        "ready-check-timeout-sec": load.wake_s,
        "result-dir": _FOLDER,
        "result-filename": "bench.json",
    }
    return [
        *(f"--{name}={value}" for name, value in flags.items()),
        "--ignore-eos",
        "--save-result",
    ]


def job(namespace: str, service: str, replica: Replica, load: Load, limit_s: int) -> dict[str, Any]:
    """The Job; the API server completes its name."""
    labels = {LABEL: service, "app.kubernetes.io/name": "stoker-bench"}
    mounts = [
        each
        for each in mappings(replica.engine.get("volumeMounts"))
        if each.get("mountPath") != contract.INSTALL_DIR
    ]
    used = {each.get("name") for each in mounts}
    command = [str(each) for each in replica.engine.get("command") or ["python3"]]
    container = {
        "name": CONTAINER,
        "image": replica.engine.get("image"),
        "command": [command[0], "-c", _SCRIPT],
        "args": arguments(service, replica, load),
        "env": [
            dict(each)
            for each in mappings(replica.engine.get("env"))
            if "value" in each and not str(each.get("name")).startswith("STOKER_")
        ],
        "resources": {
            "requests": {"cpu": "250m", "memory": "1Gi"},
            "limits": {"memory": "8Gi"},
        },
        "securityContext": container_security(),
        "volumeMounts": [dict(each) for each in mounts],
    }
    near = {
        "weight": 100,
        "podAffinityTerm": {
            "labelSelector": {"matchLabels": naming.selector(service, Component.ENGINE)},
            "topologyKey": "kubernetes.io/hostname",
        },
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        # Where the image and the volumes are already.
        "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [near]}},
        "tolerations": list(replica.pod.get("tolerations") or ()),
        "imagePullSecrets": list(replica.pod.get("imagePullSecrets") or ()),
        "containers": [container],
        "volumes": [
            dict(each) for each in mappings(replica.pod.get("volumes")) if each.get("name") in used
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{service}-bench-",
            "namespace": namespace,
            "labels": labels,
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": limit_s,
            "ttlSecondsAfterFinished": KEEP_S,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def network_policy(made: Mapping[str, Any], service: str, port: int) -> dict[str, Any]:
    """The job may ask names and its service, and nobody may ask it; it goes with the job."""
    metadata = made["metadata"]
    frontends = {"podSelector": {"matchLabels": naming.selector(service, Component.FRONTEND)}}
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {LABEL: service},
            "ownerReferences": [owner],
        },
        "spec": {
            "podSelector": {"matchLabels": {"batch.kubernetes.io/job-name": metadata["name"]}},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [
                {"to": [frontends], "ports": [{"port": port, "protocol": "TCP"}]},
                {"ports": [{"port": 53, "protocol": each} for each in ("UDP", "TCP")]},
            ],
        },
    }


def progress_in(log: str) -> tuple[int, int] | None:
    """How many of how many are answered, by the last bar in the log."""
    found = None
    for each in _BAR.finditer(log):
        found = int(each[1]), int(each[2])
    return found


def result_in(log: str) -> dict[str, Any] | None:
    """The tool's result; None where the log has none."""
    for line in reversed(log.splitlines()):
        if line.startswith(MARK):
            try:
                return dict(mapping(json.loads(line[len(MARK) :])))
            except ValueError:
                return None
    return None


def last_words(log: str, lines: int = 5) -> str:
    """What a tool that failed said last."""
    said = [line.strip() for line in log.replace("\r", "\n").splitlines() if line.strip()]
    return " / ".join(said[-lines:])[:800] or "it said nothing"


def report(raw: Mapping[str, Any], load: Load, targets: Sequence[Target]) -> dict[str, Any]:
    """The result in our words; times in seconds."""
    times: dict[str, dict[str, float | None]] = {}
    for name, theirs in _TIMES.items():
        values = {"mean": number(raw.get(f"mean_{theirs}_ms"))}
        values |= {each: number(raw.get(f"{each}_{theirs}_ms")) for each in PERCENTILES}
        times[name] = {
            each: None if value is None else value / 1000 for each, value in values.items()
        }
    completed = whole(raw.get("completed")) or 0
    failed = whole(raw.get("failed"))
    return {
        "requests": load.requests,
        "concurrency": load.concurrency,
        "inputTokens": load.input_tokens,
        "outputTokens": load.output_tokens,
        "completed": completed,
        "failed": load.requests - completed if failed is None else failed,
        "durationSeconds": number(raw.get("duration")),
        "requestsPerSecond": number(raw.get("request_throughput")),
        "outputTokensPerSecond": number(raw.get("output_throughput")),
        "totalTokensPerSecond": number(raw.get("total_token_throughput")),
        "seconds": times,
        "targets": [_judged(each, times[each.name][each.percentile]) for each in targets],
    }


def _judged(target: Target, measured: float | None) -> dict[str, Any]:
    return {
        "name": target.name,
        "percentile": target.percentile,
        "seconds": target.seconds,
        "measured": measured,
        "kept": None if measured is None else measured <= target.seconds,
    }


def targets_of(body: Mapping[str, Any]) -> tuple[Target, ...]:
    """Targets of the spec: for which percentile, and how long it may be."""
    spec = mapping(body.get("spec"))
    scaling = mapping(mapping(spec.get("scaling")).get("target"))
    planned = mapping(mapping(spec.get("optimization")).get("targets"))
    said: list[tuple[str, str, object]] = []
    for name in ("ttft", "itl"):
        said += [(name, each, mapping(scaling.get(name)).get(each)) for each in PERCENTILES]
        # What is planned for is the typical request.
        said.append((name, "p50", planned.get(name)))
    found = []
    for name, percentile, words in said:
        try:
            found.append(Target(name, percentile, parse_duration(text(words) or "")))
        except ValueError:
            continue
    return tuple(found)


def failed_of(job_body: Mapping[str, Any]) -> str | None:
    """Why the cluster ended the job; None while it has not."""
    for each in mappings(mapping(job_body.get("status")).get("conditions")):
        if each.get("type") == "Failed" and each.get("status") == "True":
            return f"{each.get('reason')}: {each.get('message')}"
    return None


def waiting_of(pods: Sequence[Mapping[str, Any]]) -> str:
    """What the job's pod waits for, in words."""
    if not pods:
        return "its pod is being made"
    status = mapping(pods[0].get("status"))
    for each in mappings(status.get("containerStatuses")):
        waiting = mapping(mapping(each.get("state")).get("waiting"))
        if text(waiting.get("reason")):
            return f"{waiting.get('reason')} {waiting.get('message') or ''}".strip()
    for each in mappings(status.get("conditions")):
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return f"{each.get('reason')}: {each.get('message')}"
    return f"its pod is {status.get('phase') or 'pending'}"
