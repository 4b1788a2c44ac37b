"""The generated definition: fresh, deterministic, structural, documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.api.crd import CACHE, DEFINITIONS, SERVICE, Definition, crd_files, crd_yaml, schema_of
from tests.integration.api.schema_walk import nodes

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS: dict[str, dict[str, Any]] = {each.kind: schema_of(each) for each in DEFINITIONS}
NODES = [(kind, *found) for kind, schema in SCHEMAS.items() for found in nodes(schema)]


@pytest.mark.parametrize("path", crd_files())
def test_the_committed_copy_is_fresh(path: str) -> None:
    assert (ROOT / path).read_text() == crd_files()[path], "generate it anew: stoker crd"


def test_another_process_renders_the_same_bytes() -> None:
    code = "from stoker.api.crd import crd_files; print(crd_files(), end='')"
    for seed in ("1", "2"):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.stdout == str(crd_files())


@pytest.mark.parametrize(
    ("definition", "name", "short"),
    [(SERVICE, "inferenceservices.stoker.dev", "infer"), (CACHE, "modelcaches.stoker.dev", "mc")],
)
def test_names(definition: Definition, name: str, short: str) -> None:
    rendered = yaml.safe_load(crd_yaml(definition))
    assert definition.name == rendered["metadata"]["name"] == name
    assert rendered["spec"]["names"]["shortNames"] == [short]
    assert rendered["spec"]["names"]["categories"] == ["ai"]


def test_nothing_that_a_structural_schema_forbids() -> None:
    text = "".join(map(crd_yaml, DEFINITIONS))
    for word in ("$ref", "$defs", "anyOf", "oneOf", "allOf", "nullable", "title:", "const:"):
        assert word not in text
    for _, path, node in NODES:
        assert not ("properties" in node and "additionalProperties" in node), path
        assert "type" in node or "x-kubernetes-int-or-string" in node, path


def test_every_field_is_documented() -> None:
    for _, path, node in NODES:
        for name, child in node.get("properties", {}).items():
            assert child.get("description", "").strip().endswith("."), f"{path}.{name}"


def test_defaults_stand_only_where_the_planner_never_chooses() -> None:
    found = {
        kind: {path: node["default"] for path, node in nodes(schema) if "default" in node}
        for kind, schema in SCHEMAS.items()
    }
    assert found["ModelCache"] == {
        "spec.preload.parallel": 2,
        "spec.retain": False,
        "spec.storage.image.fallback": "none",
    }
    assert found["InferenceService"] == {
        "spec.engine.name": "vllm",
        "spec.engine.profiling": False,
        "spec.frontend.holdTimeout": "10m",
        "spec.frontend.maxHeld": 500,
        "spec.frontend.replicas": 1,
        "spec.optimization.objective": "balanced",
        "spec.optimization.workload.inputTokens": 1024,
        "spec.optimization.workload.outputTokens": 256,
        "spec.rollout.strategy": "rolling",
        "spec.scaling.behavior.scaleDown.selectPolicy": "Max",
        "spec.scaling.behavior.scaleUp.selectPolicy": "Max",
        "spec.scaling.minReplicas": 1,
        "spec.scaling.schedule[].timeZone": "UTC",
        "spec.scaling.target.queueDepth": 4,
    }


def test_every_rule_says_what_to_write() -> None:
    for _, path, node in NODES:
        for rule in node.get("x-kubernetes-validations", []):
            assert len(rule["message"].split()) > 4, path


def test_every_part_of_the_spec_is_bounded() -> None:
    # CEL's cost, and the size of an object, follow from these.
    for _, path, node in NODES:
        if not path.startswith("spec") or "enum" in node:
            continue
        if node.get("type") == "string":
            assert "maxLength" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path
        if node.get("type") in {"integer", "number"}:
            assert {"minimum", "maximum"} <= set(node), path
