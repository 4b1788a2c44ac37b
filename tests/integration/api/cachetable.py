"""Every constraint of a ModelCache: a value that passes, one that does not, what the refusal says.

As in `table`: the bounds are written out here on purpose, not read from the schema.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from tests.integration.api.table import (
    ABOVE,
    BELOW,
    KEYS,
    LONG,
    MANY,
    MATCH,
    ONE_FILE,
    TIME,
    TOO_MANY,
    Case,
)

HF = {"uri": "hf://org/model"}
OCI = {"uri": "oci://registry.test/model"}
SHA = "a" * 64
CONDITION = {
    "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1,
    "lastTransitionTime": TIME,
}  # fmt: skip
NODE = {"name": "n", "ready": False}
NODES = {"ready": 0, "wanted": 1, "shown": "0/1", "of": "a", "list": [NODE]}
ATTEMPT = {
    "job": "j", "uid": "u", "attempts": 1, "reason": "R", "message": "m", "retryAt": TIME,
}  # fmt: skip
# What an object needs beside the field that is tried.
SEEDS: dict[str, dict[str, Any]] = {
    "spec.model": HF,
    "spec.model.secretRef": {"name": "a"},
    "spec.storage.existingClaim": {"name": "a"},
    "spec.template.tolerations[]": {"key": "a"},
    "status.nodes": {**NODES, "list": []},
    "status.nodes.list[]": NODE,
    "status.attempt": ATTEMPT,
    "status.conditions[]": CONDITION,
}


def put(path: str, value: Any) -> dict[str, Any]:
    """The smallest object that has the value at the path."""
    model = OCI if path.startswith("spec.storage.image") else HF
    root: dict[str, Any] = {"spec": {"model": dict(model)}}
    here: Any = root
    steps = re.findall(r"[^.\[\]{}]+|\[\]|\{[^}]*\}", path)
    walked = ""
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        walked += step if step[0] in "[{" else f".{step}" if walked else step
        upcoming = "" if last else steps[index + 1]
        filling: Any = [] if upcoming == "[]" else copy.deepcopy(SEEDS.get(walked, {}))
        if step == "[]":
            here.append(copy.deepcopy(value) if last else filling)
            here = here[-1]
            continue
        name = step.strip("{}")
        if last:
            here[name] = copy.deepcopy(value)
        elif name not in here or here[name] == []:
            here[name] = filling
        here = here[name]
    return root


def _name(path: str) -> list[Case]:
    return [
        Case(path, "pattern", "a.b-c", "A", MATCH),
        Case(path, "maxLength", "a" * 253, "a" * 254, LONG),
    ]


def _quantity(path: str) -> list[Case]:
    return [
        Case(path, "pattern", "1.5Gi", "-1", MATCH),
        Case(path, "maxLength", "1" * 32, "1" * 33, LONG),
    ]


def _labels(path: str) -> list[Case]:
    many = {f"k{number}": "x" for number in range(17)}
    return [
        Case(path, "maxProperties", dict(list(many.items())[:16]), many, MANY),
        Case(path, "cel[0]", {"a.b/c_D.e": "x"}, {"/a": "x"}, KEYS),
        Case(f"{path}{{a}}", "pattern", "a_B.c", "-a", MATCH),
        Case(f"{path}{{a}}", "maxLength", "a" * 63, "a" * 64, LONG),
    ]


def _time(path: str) -> Case:
    return Case(path, "format", TIME, "yesterday", "date-time")


PVC = "spec.storage.pvc"
TOLERATION = "spec.template.tolerations[]"
DIGESTS = {f"f{number}": SHA for number in range(65)}
BETWEEN = "must be between 10m and 8760h: write for example 90s, 10m or 1h30m"
CASES = [
    Case("metadata.name", "cel[0]", "1-a", "a.b", "metadata.name must be a DNS label"),
    Case("metadata.name", "cel[0]", "a" * 40, "a" * 41, "of at most 40 characters"),
    Case(
        "spec", "cel[0]", {"model": HF, "preload": {}, "storage": {"perNode": {"claimName": "a"}}},
        {"model": HF, "preload": {}, "storage": {"pvc": {}}}, "preload is for storage.perNode",
    ),
    Case(
        "spec", "cel[1]", {"model": OCI, "storage": {"image": {}}},
        {"model": HF, "storage": {"image": {}}}, "storage.image is for oci:// sources",
    ),
    Case(
        "spec.model", "cel[0]", {"uri": "https://h/x.tar", "revision": f"sha256:{SHA}"},
        {"uri": "https://h/x.tar", "revision": "v1"}, "needs model.revision sha256:",
    ),
    Case("spec.model.uri", "pattern", "oci://h:5000/a/b", "ftp://h/a", MATCH),
    Case("spec.model.uri", "maxLength", f"hf://{'a' * 507}", f"hf://{'a' * 508}", LONG),
    Case("spec.model.uri", "cel[0]", "s3://b/a~b", "s3://u@b/a", "write hf://ORG/NAME"),
    Case("spec.model.uri", "cel[1]", "pvc://c/..a", "pvc://c/../a", "no part of the address"),
    *ONE_FILE,
    Case("spec.model.revision", "pattern", "refs/pr/1", "-a", MATCH),
    Case("spec.model.revision", "maxLength", "a" * 256, "a" * 257, LONG),
    *_name("spec.model.secretRef.name"),
    Case(
        "spec.storage", "cel[0]", {"pvc": {}}, {"pvc": {}, "existingClaim": {"name": "a"}},
        "storage takes exactly one of",
    ),
    *_name(f"{PVC}.storageClassName"),
    *_quantity(f"{PVC}.size"),
    Case(
        f"{PVC}.accessModes", "maxItems", ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
        ["ReadWriteOnce"] * 4, TOO_MANY,
    ),
    Case(
        f"{PVC}.accessModes", "duplicate", ["ReadWriteOnce"], ["ReadWriteOnce"] * 2, "Duplicate",
    ),
    Case(
        f"{PVC}.accessModes", "cel[0]", ["ReadWriteMany"], ["ReadOnlyMany"],
        "add ReadWriteOnce or ReadWriteMany",
    ),
    Case(f"{PVC}.accessModes[]", "enum", "ReadWriteOnce", "ReadWriteOncePod", '"ReadWriteOnce"'),
    *_name("spec.storage.existingClaim.name"),
    Case(
        "spec.storage.perNode", "cel[0]", {"claimName": "a"},
        {"claimName": "a", "storageClassName": "b"}, "exactly one of storageClassName and",
    ),
    *_name("spec.storage.perNode.storageClassName"),
    *_name("spec.storage.perNode.claimName"),
    *_labels("spec.preload.nodes.matchLabels"),
    Case("spec.storage.image.fallback", "enum", "copy", "fetch", '"none", "copy"'),
    Case("spec.preload.parallel", "minimum", 1, 0, f"{BELOW} 1"),
    Case("spec.preload.parallel", "maximum", 64, 65, f"{ABOVE} 64"),
    Case("spec.verify.every", "pattern", "1h30m", "90", MATCH),
    Case("spec.verify.every", "maxLength", "000000m000000h1h", "000000m0000000h1h", LONG),
    Case("spec.verify.every", "cel[0]", "10m", "9m59s", BETWEEN),
    Case("spec.verify.every", "cel[0]", "8760h", "8760h1s", BETWEEN),
    Case("spec.verify.digests", "maxProperties", dict(list(DIGESTS.items())[:64]), DIGESTS, MANY),
    Case("spec.verify.digests", "cel[0]", {"a/b.json": SHA}, {"../b": SHA}, "keys must be paths"),
    Case("spec.verify.digests{a}", "pattern", SHA, "A" * 64, MATCH),
    Case("spec.verify.digests{a}", "maxLength", SHA, SHA + "a", LONG),
    *_quantity("spec.budget.bandwidth"),
    *_quantity("spec.budget.maxSize"),
    *_labels("spec.template.nodeSelector"),
    Case("spec.template.tolerations", "maxItems", [{"key": "a"}] * 16, [{"key": "a"}] * 17,
         TOO_MANY),
    Case(TOLERATION, "cel[0]", {"operator": "Exists"}, {"operator": "Equal"}, "operator Exists"),
    Case(f"{TOLERATION}.key", "maxLength", "a" * 316, "a" * 317, LONG),
    Case(f"{TOLERATION}.operator", "enum", "Equal", "In", '"Exists", "Equal"'),
    Case(f"{TOLERATION}.value", "pattern", "a", "-", MATCH),
    Case(f"{TOLERATION}.value", "maxLength", "a" * 63, "a" * 64, LONG),
    Case(f"{TOLERATION}.effect", "enum", "NoSchedule", "No", '"NoSchedule", "PreferNoSchedule"'),
    *_name("spec.template.priorityClassName"),
    Case("status.phase", "enum", "Ready", "Done", '"Resolving", "Pending"'),
    Case("status.nodes.list", "duplicate", [NODE], [NODE, NODE], "Duplicate"),
    _time("status.nodes.list[].retryAt"),
    _time("status.lastVerified"),
    _time("status.attempt.retryAt"),
    Case("status.conditions", "duplicate", [CONDITION], [CONDITION, CONDITION], "Duplicate"),
    Case("status.conditions[].type", "maxLength", "a" * 316, "a" * 317, LONG),
    Case("status.conditions[].status", "enum", "Unknown", "Maybe", '"True", "False", "Unknown"'),
    Case("status.conditions[].reason", "maxLength", "a" * 1024, "a" * 1025, LONG),
    Case("status.conditions[].message", "maxLength", "a" * 32_768, "a" * 32_769, LONG),
    _time("status.conditions[].lastTransitionTime"),
]  # fmt: skip
