"""Lists of models in ConfigMaps, with a real operator beside a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.support import wait_for

if TYPE_CHECKING:
    from tests.integration.operator.support import OperatorProcess
    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

PRELOADED_BY = "stoker.dev/preloaded-by"


@pytest.fixture
def namespace(bare_namespace: str) -> str:
    """Without a claim, which nobody looks at here."""
    return bare_namespace


def write(plane: ControlPlane, namespace: str, text: str, **labels: str) -> None:
    """The list, with the label that has it read."""
    metadata = {
        "name": "models",
        "namespace": namespace,
        "labels": labels or {"stoker.dev/preload": "true"},
    }
    data = {"preload-models": text}
    plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def caches(plane: ControlPlane, namespace: str) -> dict[str, dict[str, Any]]:
    items = plane.get("mc", "-n", namespace)["items"]
    return {item["metadata"]["name"]: item for item in items}


def events(plane: ControlPlane, namespace: str) -> list[tuple[str, str, str]]:
    items = plane.get("events.v1.events.k8s.io", "-n", namespace)["items"]
    return [
        (item["type"], item["reason"], item["note"])
        for item in items
        if item["regarding"]["kind"] == "ConfigMap" and item["regarding"]["apiVersion"] == "v1"
    ]


def faults(plane: ControlPlane, namespace: str) -> list[str]:
    return [note for kind, _, note in events(plane, namespace) if kind == "Warning"]


def models(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    return {name: item["spec"]["model"] for name, item in caches(plane, namespace).items()}


def cache(namespace: str, name: str, uri: str) -> dict[str, Any]:
    return {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "ModelCache",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"uri": uri}},
    }


def test_a_list_becomes_caches_and_follows_its_entries(
    plane: ControlPlane, namespace: str, operator: OperatorProcess
) -> None:
    write(
        plane,
        namespace,
        "- {name: qwen, uri: hf://Qwen/Qwen, revision: v1, secretRef: token}\n"
        "- {name: local, path: models/llama}\n",
    )
    qwen = {"uri": "hf://Qwen/Qwen", "revision": "v1", "secretRef": {"name": "token"}}
    local = {"uri": "pvc://models/llama"}
    wait_for("both caches", lambda: models(plane, namespace) == {"qwen": qwen, "local": local})
    for item in caches(plane, namespace).values():
        assert item["metadata"]["annotations"] == {PRELOADED_BY: "models"}
        assert "ownerReferences" not in item["metadata"]
    wait_for(
        "both are told",
        lambda: {reason for _, reason, _ in events(plane, namespace)} == {"Preloaded"},
    )
    # An entry that changed changes its cache; one that went leaves it.
    write(plane, namespace, "- {name: qwen, uri: hf://Qwen/Qwen2}\n")
    wait_for(
        "the other model",
        lambda: models(plane, namespace) == {"qwen": {"uri": "hf://Qwen/Qwen2"}, "local": local},
    )
    # What an entry asks for is there again when somebody deletes it.
    before = caches(plane, namespace)["qwen"]["metadata"]["uid"]
    plane.kubectl("delete", "mc", "qwen", "-n", namespace)
    wait_for(
        "another one",
        lambda: (
            caches(plane, namespace).get("qwen", {}).get("metadata", {}).get("uid", before)
            != before
        ),
    )
    plane.kubectl("delete", "configmap", "models", "-n", namespace)
    assert set(caches(plane, namespace)) == {"qwen", "local"}
    assert "Traceback" not in operator.log()


def test_faults_are_told_once_each_and_good_entries_go_on(
    plane: ControlPlane, namespace: str
) -> None:
    write(
        plane,
        namespace,
        "- {name: bad, uri: ftp://a/b}\n- {name: good, uri: hf://a/b}\n- {name: x}\n",
    )
    wait_for("the good one", lambda: set(caches(plane, namespace)) == {"good"})
    (told,) = wait_for("the faults", lambda: faults(plane, namespace))
    assert "entry 1 (bad): uri cannot be used: write hf://ORG/NAME" in told
    assert "entry 3 (x): takes exactly one of uri and path" in told
    # One that is put right and another that is new: only the new one is told of.
    write(
        plane,
        namespace,
        "- {name: mended, uri: hf://a/c}\n- {name: good, uri: hf://a/b}\n- {name: x}\n- 4\n",
    )
    wait_for("the mended one", lambda: set(caches(plane, namespace)) == {"good", "mended"})
    wait_for("the new fault", lambda: len(faults(plane, namespace)) == 2)
    (new,) = set(faults(plane, namespace)) - {told}
    assert new == "entry 4: is no mapping: write `- name: NAME` and `  uri: URI`"


def test_nothing_of_somebody_elses_is_overwritten(plane: ControlPlane, namespace: str) -> None:
    plane.apply(cache(namespace, "taken", "hf://org/other"))
    plane.apply(cache(namespace, "same", "hf://org/same"))
    entries = "- {name: %s, uri: hf://org/%s}\n"
    write(plane, namespace, "".join(entries % (name, name) for name in ("taken", "same", "new")))
    wait_for("the new one", lambda: "new" in caches(plane, namespace))
    (told,) = wait_for("the fault", lambda: faults(plane, namespace))
    assert told.startswith("entry 1 (taken): the ModelCache of this name was made by somebody else")
    found = caches(plane, namespace)
    assert found["taken"]["spec"]["model"] == {"uri": "hf://org/other"}
    for name in ("taken", "same"):
        assert PRELOADED_BY not in (found[name]["metadata"].get("annotations") or {})


def test_what_somebody_else_changed_is_left_to_him(plane: ControlPlane, namespace: str) -> None:
    write(plane, namespace, "- {name: mine, uri: hf://org/one}\n")
    wait_for("the cache", lambda: "mine" in caches(plane, namespace))
    patch = '{"spec": {"model": {"uri": "hf://org/edited"}}}'
    plane.kubectl("patch", "mc", "mine", "-n", namespace, "--type=merge", "-p", patch)
    (told,) = wait_for("the conflict is told", lambda: faults(plane, namespace))
    assert told.startswith("entry 1 (mine): the API server refuses")
    assert models(plane, namespace) == {"mine": {"uri": "hf://org/edited"}}


def test_without_the_label_nothing_is_read(plane: ControlPlane, namespace: str) -> None:
    write(plane, namespace, "- {name: silent, uri: hf://org/one}\n", other="label")
    other = plane.namespace(f"{namespace}-heard")
    write(plane, other, "- {name: heard, uri: hf://org/one}\n")
    # The look that finds the later one would have found the earlier one.
    wait_for("the other list", lambda: "heard" in caches(plane, other))
    assert not caches(plane, namespace)
