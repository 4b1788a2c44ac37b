"""A LeaderWorkerSet on a real API server with the controller's own definition of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.groups import CRD, crd_file
from stoker.render import drift, engine, workload
from stoker.render.group import API_VERSION
from tests.support.asking import RefusedError
from tests.unit.plan import worlds
from tests.unit.render.test_engine import OWNER
from tests.unit.render.test_group import REVISION, SHAPES, shaped

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

SERVER_SIDE = ("--server-side", "--force-conflicts", "--field-manager", "stoker")


@pytest.fixture(scope="module")
def namespace(bare_plane: ControlPlane) -> str:
    bare_plane.kubectl("apply", "--server-side", "-f", str(crd_file()))
    # `kubectl wait` gives up on a definition whose conditions the API server has not begun yet.
    deadline = time.monotonic() + 60
    while bare_plane.try_kubectl("get", "--raw", f"/apis/{API_VERSION}").returncode:
        assert time.monotonic() < deadline, f"{CRD} is not served"
        time.sleep(0.2)
    return bare_plane.namespace(worlds.KEY.namespace, enforce="restricted")


@pytest.mark.parametrize("name", SHAPES)
def test_an_applied_group_needs_no_second_write(
    bare_plane: ControlPlane, namespace: str, name: str
) -> None:
    spec, nodes, sizes = SHAPES[name]
    made = shaped(spec, nodes, **sizes)
    manifests = [
        *workload.render_companions(OWNER, REVISION, made),
        workload.render_workload(OWNER, REVISION, made, replicas=2),
    ]
    for manifest in manifests:
        bare_plane.apply(json.loads(json.dumps(manifest)), *SERVER_SIDE)
        kind, called = manifest["kind"], manifest["metadata"]["name"]
        first = bare_plane.get(kind, called, "-n", namespace)
        assert not drift.needs_apply(manifest, first), kind
    # Another number of replicas changes nothing else, and noting that it served neither.
    kept = engine.mark_served(workload.rescale(kind, first, 3))
    bare_plane.apply(kept, *SERVER_SIDE)
    second = bare_plane.get(kind, called, "-n", namespace)
    assert second["spec"] == {**first["spec"], "replicas": 3}
    assert not drift.needs_apply(kept, second)
    bare_plane.kubectl("delete", kind, called, "-n", namespace)


def test_the_scale_of_a_group_is_its_replicas(bare_plane: ControlPlane, namespace: str) -> None:
    spec, nodes, sizes = SHAPES["tensor-cpu"]
    manifest = workload.render_workload(OWNER, REVISION, shaped(spec, nodes, **sizes), replicas=2)
    bare_plane.apply(json.loads(json.dumps(manifest)), *SERVER_SIDE)
    name = manifest["metadata"]["name"]
    bare_plane.kubectl("scale", "lws", name, "-n", namespace, "--replicas=5")
    assert bare_plane.get("lws", name, "-n", namespace)["spec"]["replicas"] == 5
    broken = {**manifest, "spec": {**manifest["spec"], "leaderWorkerTemplate": {"size": 2}}}
    with pytest.raises(RefusedError, match="workerTemplate"):
        bare_plane.apply(json.loads(json.dumps(broken)), *SERVER_SIDE)
