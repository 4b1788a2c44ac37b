"""Two kinds behind one interface: whoever shares replicas out sees no difference."""

from typing import Any

import pytest

from stoker import naming
from stoker.naming import Component
from stoker.render import group, workload
from tests.unit.render.test_engine import OWNER
from tests.unit.render.test_group import REVISION, shaped

REPLICAS = {"Deployment": shaped("gpu", 1, tensor=2), group.KIND: shaped("gpu", 2, tensor=2)}


def pods(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    spec = manifest["spec"]
    if manifest["kind"] == group.KIND:
        template = spec["leaderWorkerTemplate"]
        return [template["leaderTemplate"], *[template["workerTemplate"]] * (template["size"] - 1)]
    return [spec["template"]]


@pytest.mark.parametrize("kind", workload.KINDS)
def test_each_kind_has_replicas_and_one_engine_pod_a_replica(kind: str) -> None:
    made = REPLICAS[kind]
    manifest = workload.render_workload(OWNER, REVISION, made, replicas=3)
    assert manifest["kind"] == workload.kind_of(made) == kind
    assert manifest["spec"]["replicas"] == 3
    assert manifest["metadata"]["labels"][naming.LABEL_REVISION] == REVISION
    engines = [
        pod
        for pod in pods(manifest)
        if pod["metadata"]["labels"][naming.LABEL_COMPONENT] == Component.ENGINE.value
    ]
    assert len(engines) == 1
    asked = [
        int(pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
        for pod in pods(manifest)
    ]
    assert sum(asked) == made.accelerators.count


@pytest.mark.parametrize("kind", workload.KINDS)
def test_each_kind_is_rescaled_as_itself(kind: str) -> None:
    manifest = workload.render_workload(OWNER, REVISION, REPLICAS[kind], replicas=3)
    rescaled = workload.rescale(kind, manifest, 0)
    assert rescaled == {**manifest, "spec": {**manifest["spec"], "replicas": 0}}


def test_only_a_group_needs_a_policy_of_its_own() -> None:
    assert workload.render_companions(OWNER, REVISION, REPLICAS["Deployment"]) == ()
    (policy,) = workload.render_companions(OWNER, REVISION, REPLICAS[group.KIND])
    assert policy["kind"] == "NetworkPolicy"
