"""The resource as its users meet it: kubectl, server-side apply, the scale subresource, GitOps."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from stoker.api.crd import render_crd
from tests.integration.api.conftest import COLLECTION
from tests.integration.api.schema_walk import nodes
from tests.support.asking import RefusedError

if TYPE_CHECKING:
    from tests.integration.api.conftest import Judge

SCHEMA = render_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
PATCH = "application/merge-patch+json"


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": {"uri": "pvc://models/llama"}, **spec},
    }


def test_explain_tells_what_each_field_means(judge: Judge) -> None:
    # The answer comes from the published OpenAPI, which follows the CRD by a second or two.
    deadline = time.monotonic() + 20
    while True:
        done = judge.plane.try_kubectl("explain", "inferenceservices.spec", "--recursive")
        if done.returncode == 0 and "queueDepth" in done.stdout:
            break
        assert time.monotonic() < deadline, done
        time.sleep(0.5)
    for path, node in nodes(SCHEMA):
        if "properties" not in node or "[]" in path:
            continue
        text = judge.plane.kubectl("explain", f"inferenceservices.{path}".rstrip("."))
        flat = " ".join(text.split())
        for name, child in node["properties"].items():
            assert name in flat
            assert " ".join(child["description"].split()) in flat, f"{path}.{name}"


def test_what_was_left_out_stays_out(judge: Judge) -> None:
    spec = {"model": {"uri": "pvc://models"}}
    assert judge.stored(spec) == spec


def test_defaults_appear_where_a_user_opened_the_object(judge: Judge) -> None:
    stored = judge.stored(
        {
            "model": {"uri": "pvc://models"},
            "scaling": {"maxReplicas": 2},
            "frontend": {},
            "rollout": {},
            "engine": {},
            "template": {"resources": {}},
        }
    )
    assert stored["scaling"] == {"minReplicas": 1, "maxReplicas": 2}  # the windows are learned
    assert stored["frontend"] == {"replicas": 1, "holdTimeout": "10m", "maxHeld": 500}
    assert stored["rollout"] == {"strategy": "rolling"}  # the surge is planned
    assert stored["engine"] == {"name": "vllm", "profiling": False}
    assert stored["template"] == {"resources": {}}


def test_null_is_absent(judge: Judge) -> None:
    spec = {
        "model": {"uri": "pvc://models", "servedName": None},
        "replicas": None,
        "scaling": {"maxReplicas": 1, "minReplicas": None},
    }
    stored = judge.stored(spec)
    assert "replicas" not in stored
    assert stored["scaling"]["minReplicas"] == 1
    assert stored["model"] == {"uri": "pvc://models"}


def test_the_server_keeps_the_definition_as_we_wrote_it(judge: Judge) -> None:
    # Else a second tool that applies the same file conflicts, and GitOps shows drift for ever.
    stored = judge.plane.get("crd", "inferenceservices.stoker.dev")["spec"]
    ours = render_crd()["spec"]
    assert stored["versions"] == ours["versions"]
    assert stored["names"] == {**ours["names"], "listKind": "InferenceServiceList"}


def test_columns(judge: Judge) -> None:
    judge.plane.apply(service("columns"))
    status = {
        "readyReplicas": 1, "desiredReplicas": 2, "queueDepth": 3,
        "model": {"name": "llama"}, "plan": {"summary": "vllm on 2 x nvidia-l4"},
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "EngineStarting", "message": "m",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }  # fmt: skip
    judge.plane.request("PATCH", f"{COLLECTION}/columns/status", {"status": status}, kind=PATCH)
    for kind in ("infer", "inferenceservices.stoker.dev"):
        head, row = judge.plane.kubectl("get", kind, "columns").strip().splitlines()
        assert head.split() == [
            "NAME", "READY", "REPLICAS", "DESIRED", "QUEUE", "MODEL", "REASON", "AGE",
        ]  # fmt: skip
        assert row.split()[:7] == ["columns", "False", "1", "2", "3", "llama", "EngineStarting"]
    assert "columns" in judge.plane.kubectl("get", "ai")
    head, *rows = judge.plane.kubectl("get", "infer", "-o", "wide").strip().splitlines()
    assert "PLAN" in head
    assert any("vllm on 2 x nvidia-l4" in row for row in rows)


def test_two_managers_apply_without_conflict(judge: Judge) -> None:
    plane = judge.plane
    plane.apply(
        service("two", scaling={"maxReplicas": 4}, template={"labels": {"a": "b"}}),
        "--field-manager=user",
    )
    theirs = service("two", scaling={"maxReplicas": 4}, frontend={"replicas": 2})
    theirs["spec"]["engine"] = {"env": [{"name": "A", "value": "1"}]}
    theirs["spec"]["scaling"]["scaleToZeroAfter"] = "1h"
    plane.apply(theirs, "--field-manager=platform")
    # The first one again, with another list item and without what the other one owns.
    mine = service("two", scaling={"maxReplicas": 4}, template={"labels": {"a": "c"}})
    mine["spec"]["engine"] = {"env": [{"name": "B", "value": "2"}]}
    plane.apply(mine, "--field-manager=user")
    spec = plane.get("infer", "two")["spec"]
    assert spec["frontend"]["replicas"] == 2
    assert spec["scaling"]["scaleToZeroAfter"] == "1h"
    assert spec["template"]["labels"] == {"a": "c"}
    assert {item["name"] for item in spec["engine"]["env"]} == {"A", "B"}
    # A true contradiction is one, and names the other.
    with pytest.raises(RefusedError, match=r"conflict with \"user\".*template\.labels\.a"):
        plane.apply(service("two", template={"labels": {"a": "d"}}), "--field-manager=platform")


def test_the_status_writer_and_the_user_do_not_meet(judge: Judge) -> None:
    plane = judge.plane
    plane.apply(service("status", replicas=1), "--field-manager=user")
    status = {**service("status"), "status": {"replicas": 1, "selector": "a=b"}}
    del status["spec"]
    plane.apply(status, "--subresource=status", "--field-manager=stoker-status")
    plane.apply(service("status", replicas=2), "--field-manager=user")
    stored = plane.get("infer", "status")
    assert stored["spec"]["replicas"] == 2
    assert stored["status"]["replicas"] == 1
    assert stored["metadata"]["generation"] == 2  # status changes none


def test_scale_without_scaling(judge: Judge) -> None:
    judge.plane.apply(service("fixed"))
    judge.plane.kubectl("scale", "infer/fixed", "--replicas=3")
    judge.plane.request(
        "PATCH",
        f"{COLLECTION}/fixed/status",
        {"status": {"replicas": 2, "selector": "stoker.dev/service=fixed"}},
        kind=PATCH,
    )
    _, scale = judge.plane.request("GET", f"{COLLECTION}/fixed/scale")
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": "stoker.dev/service=fixed"}


def test_scale_beside_scaling_is_refused_with_advice(judge: Judge) -> None:
    judge.plane.apply(service("auto", scaling={"maxReplicas": 2}))
    with pytest.raises(RefusedError, match="replicas and scaling exclude each other: remove repl"):
        judge.plane.kubectl("scale", "infer/auto", "--replicas=3")


def test_apply_of_an_example_twice_changes_nothing(judge: Judge) -> None:
    with open("docs/examples/tiny.yaml") as file:  # noqa: PTH123
        example = yaml.safe_load(file)
    example["metadata"]["namespace"] = "default"
    judge.plane.apply(example)
    first = judge.plane.get("infer", "tiny")["metadata"]
    judge.plane.apply(example)
    second = judge.plane.get("infer", "tiny")["metadata"]
    assert first["resourceVersion"] == second["resourceVersion"]
    assert (
        judge.plane.try_kubectl(
            "diff", "--server-side", "-f", "-", stdin=json.dumps(example)
        ).stdout
        == ""
    )


def test_a_generated_name_may_be_too_long(judge: Judge) -> None:
    body = service("x")
    body["metadata"] = {"generateName": "a" * 36}  # five more come
    assert (
        "metadata.name must be a DNS-1035 label"
        in judge.plane.try_kubectl("create", "--dry-run=server", "-f", "-", stdin=body).stderr
    )
