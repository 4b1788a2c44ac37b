from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker import naming
from stoker.api.v1alpha1 import Frontend
from stoker.model.platform import Platform
from stoker.naming import Track
from stoker.render.frontend import render_frontend, render_frontend_config
from stoker.render.frontend_input import FrontendInput, TrackWeight
from stoker.render.timeouts import compute_timeouts

GOLDEN = Path(__file__).parents[2] / "golden" / "frontend"

PLATFORM = Platform(
    operator_namespace="stoker-system",
    worker_image="registry.example/stoker-worker:1",
    envoy_image="registry.example/envoy:1.39.3",
    picker_image="registry.example/epp:v1.5.0",
    engines={},
    accelerators={},
    default_accelerator="cpu",
)
ONE = FrontendInput(
    service="tiny",
    namespace="team",
    frontend=Frontend(),
    served_names=("tiny",),
    platform=PLATFORM,
    timeouts=compute_timeouts(hold_s=600, drain_s=120),
)
TWO = dataclasses.replace(
    ONE,
    frontend=Frontend(replicas=2, max_held=50),
    served_names=("tiny", "tiny-chat"),
    platform=dataclasses.replace(PLATFORM, image_pull_secrets=("registry",)),
    tracks=(TrackWeight(Track.STABLE, 90, "r1"), TrackWeight(Track.CANDIDATE, 10, "r2")),
    notify="stoker.stoker-system.svc:8081",
    access_log=True,
)


@pytest.mark.parametrize(("name", "given"), [("one-track", ONE), ("two-tracks", TWO)])
def test_manifests_are_as_recorded(name: str, given: FrontendInput) -> None:
    text = yaml.safe_dump_all(_readable(given), sort_keys=False, width=100)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("STOKER_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), "set STOKER_UPDATE_GOLDEN=1 to record what is rendered now"


@pytest.mark.parametrize(("name", "given"), [("one-track", ONE), ("two-tracks", TWO)])
def test_files_are_as_recorded(name: str, given: FrontendInput) -> None:
    for file, text in render_frontend_config(given).items():
        path = GOLDEN / f"{name}.{file}"
        if os.environ.get("STOKER_UPDATE_GOLDEN"):
            path.write_text(text)
        assert text == path.read_text(), "set STOKER_UPDATE_GOLDEN=1 to record what is rendered now"


def test_equal_inputs_give_equal_bytes_and_inputs_are_not_changed() -> None:
    first, second = render_frontend(TWO), render_frontend(dataclasses.replace(TWO))
    assert yaml.safe_dump_all(first) == yaml.safe_dump_all(second)


def test_a_change_of_the_files_is_a_new_config_map_and_rolls_the_pods() -> None:
    changed = dataclasses.replace(ONE, served_names=("tiny", "other"))
    names = {_by_kind(given)["ConfigMap"]["metadata"]["name"] for given in (ONE, changed)}
    assert len(names) == 2
    for given in (ONE, changed):
        objects = _by_kind(given)
        volumes = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
        mounted = [v["configMap"]["name"] for v in volumes if "configMap" in v]
        assert mounted == [objects["ConfigMap"]["metadata"]["name"]]


def test_replicas_alone_roll_nothing() -> None:
    more = dataclasses.replace(ONE, frontend=Frontend(replicas=3))
    templates = [_by_kind(given)["Deployment"]["spec"]["template"] for given in (ONE, more)]
    assert templates[0] == templates[1]


def test_only_pickers_hold_a_token() -> None:
    spec = _by_kind(TWO)["Deployment"]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    holders = [
        container["name"]
        for container in spec["initContainers"] + spec["containers"]
        if any(mount["name"] == "token" for mount in container["volumeMounts"])
    ]
    assert holders == ["picker-stable", "picker-candidate"]
    assert all(container["restartPolicy"] == "Always" for container in spec["initContainers"])


def test_every_name_fits_its_service() -> None:
    long = dataclasses.replace(ONE, service="s" * 40)
    for manifest in render_frontend(long):
        assert len(manifest["metadata"]["name"]) <= 63
        assert manifest["metadata"]["labels"][naming.LABEL_SERVICE] == long.service


@pytest.mark.parametrize(
    "changes",
    [{"served_names": ()}, {"tracks": ()}, {"tracks": (TrackWeight(Track.STABLE, 0),)}],
)
def test_impossible_inputs_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        dataclasses.replace(ONE, **changes)


def _readable(given: FrontendInput) -> list[dict[str, Any]]:
    """The manifests, with the files by name only: they are recorded beside."""
    manifests = []
    for manifest in render_frontend(given):
        if manifest["kind"] == "ConfigMap":
            manifests.append(
                {**manifest, "data": dict.fromkeys(manifest["data"], "recorded beside")}
            )
        else:
            manifests.append(manifest)
    return manifests


def _by_kind(given: FrontendInput) -> dict[str, dict[str, Any]]:
    return {manifest["kind"]: manifest for manifest in render_frontend(given)}
