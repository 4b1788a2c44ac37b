"""On a real API server: what we applied needs no second write, whatever defaults came back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.model.plan import Apply
from stoker.render import drift, engine
from tests.unit.plan import worlds

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

CRDS = Path(__file__).parents[3] / "charts" / "stoker" / "crds"
POOLS = CRDS / "inference.networking.k8s.io_inferencepools.yaml"
SERVER_SIDE = ("--server-side", "--force-conflicts", "--field-manager", "stoker")
SPEC: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-a100", "nvidia-l4"]},
    "template": {
        "labels": {"team": "a"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "resources": {
            "requests": {"cpu": "1000m", "memory": "1024Mi"},
            "limits": {"memory": "0.5Ti"},
        },
    },
    "frontend": {"replicas": 2},
}


def test_an_applied_object_needs_no_second_write(bare_plane: ControlPlane) -> None:
    plane, namespace = bare_plane, worlds.KEY.namespace
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(POOLS))
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(POOLS))
    plane.namespace(namespace, enforce="restricted")
    for action in worlds.World(worlds.spec(**SPEC)).look().actions:
        assert isinstance(action, Apply)
        manifest = json.loads(json.dumps(action.manifest))
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        plane.apply(manifest, *SERVER_SIDE)
        first = plane.get(kind, name, "-n", namespace)
        assert not drift.needs_apply(manifest, first), (kind, name)
        if kind != "Deployment" or "engine" not in name:
            continue
        # A template that is kept, and one that is rendered again, restart nothing.
        kept = engine.mark_served(engine.rescale(first, 3))
        plane.apply(kept, *SERVER_SIDE)
        second = plane.get(kind, name, "-n", namespace)
        assert second["spec"] == {**first["spec"], "replicas": 3}
        assert not drift.needs_apply(kept, second)
        plane.apply(engine.mark_served(manifest), *SERVER_SIDE)
        third = plane.get(kind, name, "-n", namespace)
        assert third["spec"] == first["spec"]
