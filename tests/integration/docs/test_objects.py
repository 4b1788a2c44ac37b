"""YAML on the pages: a real API server judges whole objects, and parts of a spec; Helm values."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from docs.tools import blocks, site, situations
from e2e.cluster import programs
from stoker.api.crd import DEFINITIONS, crd_yaml, schema_of

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

ROOT = site.ROOT
# Kinds of others, whose definitions no test has: what is said of them is from their documentation.
FOREIGN = {
    "argoproj.io", "autoscaling.x-k8s.io", "cert-manager.io", "karpenter.sh", "keda.sh",
    "monitoring.coreos.com",
}  # fmt: skip
SPEC = set(schema_of(DEFINITIONS[0])["properties"]["spec"]["properties"])
VALUES = set(json.loads((ROOT / "charts/stoker/values.schema.json").read_text())["properties"])
EXAMPLES = sorted((ROOT / "docs/examples").rglob("*.yaml"))


def documents(page: str) -> list[Any]:
    return [
        each
        for block in blocks.blocks_of(page, (ROOT / page).read_text())
        if block.language == "yaml"
        for each in yaml.safe_load_all(block.text)
    ]


def is_object(each: Any) -> bool:
    return isinstance(each, dict) and {"apiVersion", "kind", "metadata"} <= set(each)


def is_ours_to_judge(each: Any) -> bool:
    return is_object(each) and each["apiVersion"].rpartition("/")[0] not in FOREIGN


def parts(page: str, fields: set[str]) -> list[dict[str, Any]]:
    """Mappings on a page that hold nothing but these fields."""
    found = [each for each in documents(page) if isinstance(each, dict) and not is_object(each)]
    return [each for each in found if set(each) <= fields]


PAGES = site.pages(ROOT)
WITH_OBJECTS = [page for page in PAGES if any(map(is_ours_to_judge, documents(page)))]
WITH_SPECS = [page for page in PAGES if parts(page, SPEC)]
WITH_VALUES = [page for page in PAGES if parts(page, VALUES)]


NAMESPACE = "judged"


@pytest.fixture(scope="module")
def server(plane: ControlPlane) -> ControlPlane:
    """An API server that knows our kinds, and a namespace for what is judged."""
    for definition in DEFINITIONS:
        plane.apply(crd_yaml(definition), "--force-conflicts")
    for definition in DEFINITIONS:
        plane.kubectl("wait", "--for=condition=Established", f"crd/{definition.name}")
    plane.namespace(NAMESPACE)
    account = {"metadata": {"name": "default"}}  # which the controllers would make
    plane.request("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account)
    return plane


def judge(server: ControlPlane, objects: list[Any], *arguments: str) -> list[Any]:
    """Apply objects, all in one namespace, and return what the server makes of them."""
    for each in objects:
        if "namespace" in each["metadata"] or each["apiVersion"].startswith("stoker.dev/"):
            each["metadata"]["namespace"] = NAMESPACE
    text = yaml.safe_dump_all(objects)
    told = server.kubectl("apply", "--server-side", *arguments, "-o", "json", "-f", "-", stdin=text)
    answer = json.loads(told)
    return list(answer["items"] if answer["kind"] == "List" else [answer])


@pytest.mark.parametrize("page", WITH_OBJECTS)
def test_whole_objects_are_taken(page: str, server: ControlPlane) -> None:
    objects = [each for each in documents(page) if is_ours_to_judge(each)]
    judge(server, objects, "--dry-run=server")


@pytest.mark.parametrize("page", WITH_SPECS)
def test_parts_of_a_spec_are_taken(page: str, server: ControlPlane) -> None:
    objects = [
        {
            "apiVersion": "stoker.dev/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": f"part-{number}"},
            "spec": {"model": {"uri": "pvc://models/llama"}, **part},
        }
        for number, part in enumerate(parts(page, SPEC))
    ]
    judge(server, objects, "--dry-run=server")


@pytest.mark.parametrize("page", WITH_VALUES)
def test_values_are_taken(page: str, tmp_path: Path) -> None:
    arguments = []
    for number, part in enumerate(parts(page, VALUES)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(part))
        arguments += ["--values", str(path)]
    helm = programs.ensure(["helm"])["helm"]
    chart = str(ROOT / "charts/stoker")
    done = subprocess.run(  # noqa: S603
        [helm, "template", "stoker", chart, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_examples_are_applied(server: ControlPlane) -> None:
    """Stored, and what comes back is what was written, with nothing dropped."""
    assert {path.stem for path in EXAMPLES} >= set(situations.ORDER)
    objects = [
        each
        for path in EXAMPLES
        for each in yaml.safe_load_all(path.read_text())
        if is_object(each)
    ]
    stored = judge(server, objects)
    assert [each["metadata"]["name"] for each in stored] == [
        each["metadata"]["name"] for each in objects
    ]
    for there, written in zip(stored, objects, strict=True):
        assert holds(there["spec"], written["spec"]), written["metadata"]["name"]


def holds(stored: Any, written: Any) -> bool:
    """Whether all that was written is there; the server adds defaults."""
    if isinstance(written, dict):
        return all(key in stored and holds(stored[key], value) for key, value in written.items())
    return bool(stored == written)
