"""`stoker bench`: the job that is made of a replica, and what is read out of its log."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from stoker.commands import bench, benchjob
from stoker.commands.benchjob import Load, Target
from stoker.render import engine as rendered
from stoker_worker import contract
from stoker_worker.contract import WorkerConfig

CONFIG = WorkerConfig("vllm", "/models/tiny", ["main", "other"])
LOAD = Load(requests=10, concurrency=2, rate=None, input_tokens=32, output_tokens=8, wake_s=60)
SPEC: dict[str, Any] = {
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "pull"}],
    "nodeSelector": {"gpu": "l4"},
    "runtimeClassName": "nvidia",
    "containers": [
        {
            "name": "engine",
            "image": "reg/vllm@sha256:1",
            "command": ["/usr/bin/python3", "-I", "-S", "worker"],
            "env": [
                {"name": contract.ENV_CONFIG, "value": CONFIG.to_json()},
                {"name": contract.ENV_POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                {"name": "PYTHONPATH", "value": "/opt/vllm"},
            ],
            "resources": {"limits": {"nvidia.com/gpu": "4"}},
            "volumeMounts": [
                {"name": "stoker-worker", "mountPath": contract.INSTALL_DIR},
                {"name": "model", "mountPath": "/models", "readOnly": True},
                {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - as in the pod
            ],
        }
    ],
    "volumes": [
        {"name": "stoker-worker", "emptyDir": {}},
        {"name": "model", "persistentVolumeClaim": {"claimName": "m", "readOnly": True}},
        {"name": "tmp", "emptyDir": {}},
    ],
}


def made(load: Load = LOAD) -> dict[str, Any]:
    replica = benchjob.replica_of(SPEC)
    assert replica is not None
    return benchjob.job("chat", "llama", replica, load, 600)


def test_an_engine_that_brings_no_tool_is_not_measured() -> None:
    replica = benchjob.replica_of(SPEC)
    assert replica is not None
    assert benchjob.why_not(replica) == ""
    other = replace(replica, config=replace(CONFIG, engine="sglang"))
    assert "not known for this engine (sglang)" in benchjob.why_not(other)


def test_the_job_has_the_replicas_image_and_model_and_no_accelerator() -> None:
    job = made()
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "reg/vllm@sha256:1"
    assert container["command"][0] == "/usr/bin/python3"
    assert container["env"] == [{"name": "PYTHONPATH", "value": "/opt/vllm"}]
    assert [each["name"] for each in container["volumeMounts"]] == ["model", "tmp"]
    assert [each["name"] for each in pod["volumes"]] == ["model", "tmp"]
    assert "nvidia.com/gpu" not in json.dumps(container["resources"])
    assert "runtimeClassName" not in pod
    assert pod["tolerations"] == SPEC["tolerations"]
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 600)
    # It must never be taken for a replica of the service.
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert not {"stoker.dev/service", "app.kubernetes.io/managed-by"} & set(labels)
    assert not pod["automountServiceAccountToken"]


def test_what_the_tool_is_told() -> None:
    arguments = made()["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--base-url=http://llama" in arguments
    assert "--model=main" in arguments
    assert "--tokenizer=/models/tiny" in arguments
    assert "--request-rate=inf" in arguments
    slow = Load(10, 2, 0.5, 32, 8, 60)
    assert "--request-rate=0.5" in made(slow)["spec"]["template"]["spec"]["containers"][0]["args"]


def test_the_folder_for_results_is_one_that_pods_may_write() -> None:
    assert rendered._TMP_DIR == benchjob._FOLDER


def test_a_pod_of_another_kind_is_no_replica() -> None:
    assert benchjob.replica_of({}) is None
    assert benchjob.replica_of({"containers": [{"name": "envoy", "env": []}]}) is None
    broken = {"containers": [{"env": [{"name": contract.ENV_CONFIG, "value": "{"}]}]}
    assert benchjob.replica_of(broken) is None


def test_the_policy_lets_it_to_its_service_alone_and_goes_with_it() -> None:
    job = {"metadata": {"name": "llama-bench-x", "namespace": "chat", "uid": "u"}}
    policy = benchjob.network_policy(job, "llama", 8080)
    assert policy["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert "ingress" not in policy["spec"]
    first = policy["spec"]["egress"][0]
    assert first["to"][0]["podSelector"]["matchLabels"]["stoker.dev/service"] == "llama"
    assert first["ports"] == [{"port": 8080, "protocol": "TCP"}]


RAW = {
    "completed": 9,
    "failed": 1,
    "duration": 2.0,
    "request_throughput": 4.5,
    "output_throughput": 36.0,
    "mean_ttft_ms": 120.0,
    "p50_ttft_ms": 100.0,
    "p90_ttft_ms": 150.0,
    "p95_itl_ms": float("nan"),
}
LOG = (
    "loading\n\r  0%|          | 0/10 [00:00<?, ?it/s]\r 40%|####      | 4/10 [00:01<00:02]\n"
    f"text\n{benchjob.MARK}{json.dumps(RAW)}\n"
)


def test_the_log_tells_how_far_it_is_and_how_it_went() -> None:
    assert benchjob.progress_in(LOG) == (4, 10)
    assert benchjob.progress_in("nothing") is None
    found = benchjob.result_in(LOG)
    assert found is not None
    assert found["completed"] == 9
    assert benchjob.result_in("no mark") is None
    assert benchjob.result_in(f"{benchjob.MARK}{{broken") is None
    assert benchjob.last_words("a\rb\n\nc\n", 2) == "b / c"
    assert benchjob.last_words("") == "it said nothing"


def test_the_report_is_in_seconds_and_judged_by_the_targets() -> None:
    targets = (Target("ttft", "p90", 0.2), Target("ttft", "p50", 0.05), Target("itl", "p95", 1.0))
    found = benchjob.report(RAW, LOAD, targets)
    assert (found["completed"], found["failed"]) == (9, 1)
    assert found["seconds"]["ttft"]["mean"] == pytest.approx(0.12)
    assert found["seconds"]["itl"]["p95"] is None, "not a number is no time"
    assert [each["kept"] for each in found["targets"]] == [True, False, None]
    out = io.StringIO()
    bench.show(Console(file=out, width=100), "chat/llama", found)
    text = out.getvalue()
    assert "9 of 10 requests answered" in text
    assert "P90 150.0ms of at most 200.0ms, kept" in text
    assert "missed" in text
    assert "not measured" in text


def test_targets_are_the_specs() -> None:
    spec = {
        "scaling": {"target": {"ttft": {"p90": "800ms"}, "itl": {"p50": "x"}}},
        "optimization": {"targets": {"itl": "50ms"}},
    }
    assert benchjob.targets_of({"spec": spec}) == (
        Target("ttft", "p90", 0.8),
        Target("itl", "p50", 0.05),
    )
    assert benchjob.targets_of({}) == ()


def test_what_a_job_waits_for_is_told() -> None:
    assert "being made" in benchjob.waiting_of([])
    pulling = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod = {"status": {"containerStatuses": [{"state": {"waiting": pulling}}]}}
    assert benchjob.waiting_of([pod]) == "ImagePullBackOff no such image"
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    assert "Unschedulable" in benchjob.waiting_of([{"status": {"conditions": [condition]}}])
    ended = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}
    assert benchjob.failed_of({"status": {"conditions": [ended]}}) == "BackoffLimitExceeded: m"
    assert benchjob.failed_of({}) is None
