"""No pod of a service keeps its node from being removed.

Cluster Autoscaler leaves a node alone that carries a pod with local storage, unless each such
volume is named in an annotation of the pod, and a pod that nothing would make anew. Which
volumes are local is its own rule: emptyDir, in memory or not, and hostPath.
"""

from typing import Any

import pytest

from stoker.render import engine, facts, group
from stoker.render.frontend import render_frontend
from tests.unit.render.test_engine import OWNER, SPECS, replica
from tests.unit.render.test_frontend import ONE, TWO
from tests.unit.render.test_group import REVISION, SHAPES, shaped

LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
# Kinds whose controllers, ours or upstream's, make a pod again; a LeaderWorkerSet has StatefulSets.
CONTROLLED = {"Deployment", "Job", "LeaderWorkerSet"}


def manifests() -> dict[str, dict[str, Any]]:
    """Every object with pods, by a name for the test."""
    found = {}
    for name in SPECS:
        found[f"engine {name}"] = engine.render_engine(OWNER, REVISION, replica(name), 1)
        found[f"facts {name}"] = facts.render_facts(OWNER, replica(name), "uid-models/tiny")
    for name, (spec, nodes, sizes) in SHAPES.items():
        found[f"group {name}"] = group.render_group(
            OWNER, REVISION, shaped(spec, nodes, **sizes), 1
        )
    for name, given in (("one", ONE), ("two", TWO)):
        (deployment,) = (o for o in render_frontend(given) if o["kind"] == "Deployment")
        found[f"frontend {name}"] = deployment
    return found


def templates(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    spec = manifest["spec"]
    shapes = spec.get("leaderWorkerTemplate") or {"template": spec.get("template")}
    return [value for key, value in shapes.items() if key.lower().endswith("template")]


@pytest.mark.parametrize("name", manifests())
def test_every_local_volume_is_named_and_nothing_else(name: str) -> None:
    manifest = manifests()[name]
    assert manifest["kind"] in CONTROLLED
    pods = templates(manifest)
    assert len(pods) == (2 if manifest["kind"] == "LeaderWorkerSet" else 1)
    for pod in pods:
        volumes = pod["spec"]["volumes"]
        local = {v["name"] for v in volumes if "emptyDir" in v or "hostPath" in v}
        named = pod["metadata"].get("annotations", {}).get(LOCAL_VOLUMES, "")
        assert set(filter(None, named.split(","))) == local
