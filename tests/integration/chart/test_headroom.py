"""Placeholder pods: they ask for what an engine of their type asks for, and give way to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stoker.model.replica import Run
from stoker.plan.replica import replica_of
from stoker.reconcile.platform import platform_of
from stoker.render.engine import render_engine
from stoker.render.objects import Owner
from stoker.settings import load_settings
from tests.integration.chart.conftest import CHART, Manifest
from tests.unit.plan import worlds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.chart.conftest import Helm

# What an administrator of GKE writes: another label stands for the type.
GKE = {
    "nvidia-l4": {
        "nodeSelector": {
            "nvidia.com/gpu.product": None,
            "cloud.google.com/gke-accelerator": "nvidia-l4",
        }
    }
}
OWN: dict[str, Any] = {
    "mine": {"like": "nvidia-h100-80gb", "share": 0.5, "resource": "nvidia.com/gpu.shared"},
    "mine-too": {"like": "mine", "nodeSelector": {"pool": "gold"}, "tolerations": []},
}


def values(pools: list[dict[str, Any]], accelerators: dict[str, Any] | None = None) -> list[str]:
    return [
        "--set-json", f"headroom.pools={json.dumps(pools)}",
        "--set-json", f"accelerators={json.dumps(accelerators or {})}",
    ]  # fmt: skip


def pods_of(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Specs of the placeholder pods by the name of their pool."""
    found = [
        item["spec"]["template"]
        for item in manifests
        if item["kind"] == "Deployment" and "-headroom-" in item["metadata"]["name"]
    ]
    return {item["metadata"]["labels"]["stoker.dev/headroom"]: item["spec"] for item in found}


def engine_of(manifests: list[Manifest], accelerator: str, folder: Path) -> Manifest:
    """The engine pod that the operator makes of the same values, with one accelerator."""
    config = next(item for item in manifests if item["kind"] == "ConfigMap")
    file = folder / "config.yaml"
    file.write_text(config["data"]["config.yaml"])
    platform = platform_of(load_settings(file), "stoker-system")
    spec = worlds.spec(accelerator={"types": [accelerator]})
    replica = replica_of(worlds.KEY, spec, platform, worlds.MODELS, Run())
    deployment = render_engine(Owner(worlds.KEY, "uid"), "0123abcd", replica, 1)
    pod: Manifest = deployment["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    ("accelerator", "accelerators"),
    [
        ("nvidia-l4", {}),
        ("nvidia-l4", GKE),
        ("nvidia-h100-80gb-mig-1g-10gb", {}),
        ("amd-mi300x", {}),
        ("mine", OWN),
        ("mine-too", OWN),
    ],
)
def test_a_placeholder_asks_for_what_an_engine_asks_for(
    helm: Helm, tmp_path: Path, accelerator: str, accelerators: dict[str, Any]
) -> None:
    manifests = helm.render(*values([{"accelerator": accelerator, "replicas": 1}], accelerators))
    placeholder = pods_of(manifests)[accelerator]
    engine = engine_of(manifests, accelerator, tmp_path)
    for field in ("nodeSelector", "tolerations"):
        assert placeholder.get(field) == engine.get(field), field
    asked = placeholder["containers"][0]["resources"]
    assert asked["limits"] == engine["containers"][0]["resources"]["limits"]
    assert asked["requests"] == asked["limits"]


def test_what_engines_ask_for_beside_the_type_is_said_again(helm: Helm) -> None:
    pool = {
        "accelerator": "nvidia-l4", "replicas": 2, "count": 4, "name": "spot",
        "requests": {"cpu": "8", "memory": "64Gi"}, "nodeSelector": {"pool": "spot"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
    }  # fmt: skip
    pod = pods_of(helm.render(*values([pool, {"accelerator": "nvidia-l4", "replicas": 1}])))["spot"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4", "pool": "spot"}
    assert [t["key"] for t in pod["tolerations"]] == ["nvidia.com/gpu", "spot"]
    requests = pod["containers"][0]["resources"]["requests"]
    assert requests == {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "4"}


def test_it_gives_way_at_once_and_to_everybody(helm: Helm) -> None:
    manifests = helm.render(*values([{"accelerator": "nvidia-l4", "replicas": 1}]))
    (made,) = [item for item in manifests if item["kind"] == "PriorityClass"]
    assert -10 <= made["value"] < 0
    assert made["preemptionPolicy"] == "Never"
    assert made["globalDefault"] is False
    pod = pods_of(manifests)["nvidia-l4"]
    assert pod["priorityClassName"] == made["metadata"]["name"]
    assert pod["terminationGracePeriodSeconds"] == 0
    # Nothing of the operator's takes a placeholder for one of its pods.
    selectors = [item["spec"]["selector"] for item in manifests if item["kind"] == "Service"]
    (headroom,) = [
        item for item in manifests if item["metadata"]["name"].startswith("stoker-headroom-")
    ]
    labels = headroom["spec"]["template"]["metadata"]["labels"].items()
    assert selectors
    assert not any(selector.items() <= labels for selector in selectors)


def test_a_class_of_ones_own_and_another_priority(helm: Helm) -> None:
    pools = values([{"accelerator": "nvidia-l4", "replicas": 1}])
    own = helm.render(*pools, "--set", "headroom.priorityClassName=overprovisioning")
    assert not [item for item in own if item["kind"] == "PriorityClass"]
    assert pods_of(own)["nvidia-l4"]["priorityClassName"] == "overprovisioning"

    def name(priority: int) -> str:
        made = helm.render(*pools, "--set", f"headroom.priority={priority}")
        (found,) = [item for item in made if item["kind"] == "PriorityClass"]
        assert found["value"] == priority
        return str(found["metadata"]["name"])

    assert name(-1) != name(-10), "the value of a class cannot be changed"


@pytest.mark.parametrize(
    ("pools", "accelerators", "says"),
    [
        (["nvida-l4"], {}, 'there is no accelerator "nvida-l4" in `accelerators`; it has amd-mi'),
        (["cpu"], {}, 'accelerator "cpu" has no resource to keep free; name a type'),
        (["nvidia-l4", "nvidia-l4"], {}, 'two pools are called "nvidia-l4"; give one of them'),
        (["a"], {"a": {"like": "b"}, "b": {"like": "a"}}, "accelerators.a.like leads back to it"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(
    helm: Helm, pools: list[str], accelerators: dict[str, Any], says: str
) -> None:
    given = values([{"accelerator": name, "replicas": 1} for name in pools], accelerators)
    done = helm.attempt("template", "stoker", str(CHART), *given)
    assert done.returncode != 0
    assert says in done.stderr
