"""A ModelCache as its users meet it: what is refused, with which words, and what kubectl shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import ValidationError

from stoker.api.crd import CACHE, render_crd, schema_of
from stoker.api.modelcache import ModelCache
from tests.integration.api.cachetable import CASES, put
from tests.integration.api.conftest import collection
from tests.integration.api.schema_walk import constraints

if TYPE_CHECKING:
    from tests.integration.api.conftest import Judge
    from tests.integration.api.table import Case

HF = {"uri": "hf://org/model"}
PATCH = "application/merge-patch+json"
SHA = "a" * 64

TAKEN: list[dict[str, Any]] = [
    {"model": HF},
    {"model": {"uri": "s3://bucket/models/tiny/", "secretRef": {"name": "keys"}}},
    {"model": {"uri": "gs://bucket/tiny"}},
    {"model": {"uri": "oci://registry.example.com:5000/models/tiny", "revision": "v1"}},
    {"model": {"uri": "https://example.com/a/tiny.tar.gz", "revision": f"sha256:{SHA}"}},
    *(
        {"model": {"uri": f"https://h/x{ending}", "revision": f"sha256:{SHA}"}}
        for ending in (".tar", ".tgz", ".tar.zst", ".tzst", ".zip", ".gguf.tar")
    ),
    {"model": {"uri": "pvc://claim/a/.hidden/..b"}},
    {"model": HF, "storage": {"pvc": {}}},
    {"model": {"uri": "oci://registry.test/a"}, "storage": {"image": {}}},
    {"model": {"uri": "oci://registry.test/a"}, "storage": {"image": {"fallback": "copy"}}},
    {"model": HF, "storage": {"pvc": {"size": "40Gi", "accessModes": ["ReadWriteMany"]}}},
    {"model": HF, "storage": {"existingClaim": {"name": "shared"}}, "retain": True},
    {
        "model": HF,
        "storage": {"perNode": {"storageClassName": "local"}},
        "preload": {"nodes": {"matchLabels": {"pool": "gpu"}}, "parallel": 4},
    },
    {"model": HF, "verify": {"every": "168h", "digests": {"a/model.safetensors": SHA}}},
    {"model": HF, "budget": {"bandwidth": "100Mi", "maxSize": 1000}},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": {"uri": "ftp://host/x"}}, "write hf://ORG/NAME, s3://BUCKET/FOLDER"),
    ({"model": {"uri": "hf://token@org/x"}}, "the Secret of model.secretRef"),
    ({"model": {"uri": "https://h/x?sig=1"}}, "write hf://ORG/NAME"),
    ({"model": {"uri": "pvc://claim/../other"}}, "no part of the address may be"),
    ({"model": {"uri": "s3://bucket/a/./b"}}, "no part of the address may be"),
    ({"model": {"uri": "s3://bucket/.."}}, "no part of the address may be"),
    ({"model": {"uri": "https://h/x.tar"}}, "needs model.revision sha256:"),
    ({"model": {"uri": "https://h/x.tar", "revision": "v1"}}, "needs model.revision sha256:"),
    (
        {"model": {"uri": "https://h/x.gguf", "revision": f"sha256:{SHA}"}},
        "GGUF is a format that no engine here loads",
    ),
    (
        {"model": {"uri": "https://h/x.safetensors", "revision": f"sha256:{SHA}"}},
        "write the https:// address of an archive (.tar, .tar.gz, .tar.zst, .zip) of the folder",
    ),
    (
        {"model": {"uri": "https://h/xtar", "revision": f"sha256:{SHA}"}},
        "one file of a web server is no model",
    ),
    ({"model": HF, "storage": {}}, "storage takes exactly one of"),
    (
        {"model": HF, "storage": {"pvc": {}, "existingClaim": {"name": "a"}}},
        "storage takes exactly one of",
    ),
    ({"model": HF, "storage": {"image": {}}}, "storage.image is for oci:// sources"),
    ({"model": HF, "storage": {"pvc": {}, "image": {}}}, "storage takes exactly one of"),
    ({"model": HF, "storage": {"perNode": {}}}, "exactly one of storageClassName and claimName"),
    (
        {"model": HF, "storage": {"pvc": {"accessModes": ["ReadOnlyMany"]}}},
        "add ReadWriteOnce or ReadWriteMany",
    ),
    ({"model": HF, "storage": {"pvc": {}}, "preload": {}}, "preload is for storage.perNode"),
    ({"model": HF, "verify": {"every": "1m"}}, "must be between 10m and 8760h"),
    ({"model": HF, "verify": {"digests": {"../x": SHA}}}, "keys must be paths of files"),
]


def python_takes(spec: dict[str, Any]) -> bool:
    head = {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelCache", "metadata": {"name": "a"}}
    try:
        ModelCache.model_validate({**head, "spec": spec})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("spec", TAKEN, ids=str)
def test_what_is_taken(judge: Judge, spec: dict[str, Any]) -> None:
    assert judge.refusal({"spec": spec}, CACHE) == ""
    assert python_takes(spec)


@pytest.mark.parametrize(("spec", "says"), REFUSED, ids=str)
def test_what_is_refused_says_what_to_write(judge: Judge, spec: dict[str, Any], says: str) -> None:
    assert says in judge.refusal({"spec": spec}, CACHE)
    assert not python_takes(spec)


def test_the_name_is_bounded(judge: Judge) -> None:
    for name, fits in (("a" * 40, True), ("a" * 41, False), ("a.b", False)):
        body = {"metadata": {"name": name}, "spec": {"model": HF}}
        refusal = judge.refusal(body, CACHE)
        assert (refusal == "") == fits
        assert fits or "metadata.name must be a DNS label" in refusal


def test_the_server_keeps_the_definition_as_we_wrote_it(judge: Judge) -> None:
    stored = judge.plane.get("crd", "modelcaches.stoker.dev")["spec"]
    ours = render_crd(CACHE)["spec"]
    assert stored["versions"] == ours["versions"]
    assert stored["names"] == {**ours["names"], "listKind": "ModelCacheList"}


def test_columns(judge: Judge) -> None:
    judge.plane.apply(
        {
            "apiVersion": "stoker.dev/v1alpha1",
            "kind": "ModelCache",
            "metadata": {"name": "columns", "namespace": "default"},
            "spec": {"model": HF},
        }
    )
    status = {
        "phase": "Fetching",
        "size": "14.9 GiB",
        "progress": {
            "percent": 42, "shown": "42%", "downloaded": 1, "speed": "112 MiB/s",
            "remaining": "2m10s",
        },
        "nodes": {"ready": 1, "wanted": 3, "shown": "1/3", "of": "a"},
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "Fetching", "message": "m",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }  # fmt: skip
    path = f"{collection(CACHE)}/columns/status"
    code, answer = judge.plane.request("PATCH", path, {"status": status}, kind=PATCH)
    assert code == 200, answer
    head, row = judge.plane.kubectl("get", "mc", "columns").strip().splitlines()
    assert head.split() == [
        "NAME", "PHASE", "PROGRESS", "SIZE", "SPEED", "REMAINING", "NODES", "REASON", "AGE",
    ]  # fmt: skip
    assert row.split()[:10] == [
        "columns", "Fetching", "42%", "14.9", "GiB", "112", "MiB/s", "2m10s", "1/3", "Fetching",
    ]  # fmt: skip
    assert "columns" in judge.plane.kubectl("get", "ai")


@pytest.mark.parametrize("name", ["modelcache", "modelcache-per-node"])
def test_the_examples_are_taken(judge: Judge, name: str) -> None:
    with open(f"docs/examples/{name}.yaml") as file:  # noqa: PTH123
        *others, example = yaml.safe_load_all(file)
    assert judge.refusal({"spec": example["spec"]}, CACHE) == ""
    assert python_takes(example["spec"])
    for other in others:
        judge.plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=other)


def body_of(case: Case, value: Any) -> dict[str, Any]:
    if case.path == "metadata.name":
        return {"metadata": {"name": value}, "spec": {"model": HF}}
    return put(case.path, value)


def takes(body: dict[str, Any]) -> bool:
    head = {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelCache", "metadata": {"name": "a"}}
    try:
        ModelCache.model_validate({**head, **body})
    except ValidationError:
        return False
    return True


@pytest.fixture(scope="package")
def caches(judge: Judge) -> Judge:
    """The same judge, with a cache whose status can be tried."""
    judge.plane.apply(
        {
            "apiVersion": "stoker.dev/v1alpha1",
            "kind": "ModelCache",
            "metadata": {"name": "everything", "namespace": "default"},
            "spec": {"model": HF},
        }
    )
    return judge


def test_every_constraint_has_a_case() -> None:
    tried = {("", "cel[0]") if c.path == "metadata.name" else c.constraint for c in CASES}
    assert set(constraints(schema_of(CACHE))) == tried


@pytest.mark.parametrize("case", CASES, ids=str)
def test_at_the_bound_it_passes_and_beyond_it_is_refused(caches: Judge, case: Case) -> None:
    good, bad = body_of(case, case.accept), body_of(case, case.reject)
    assert caches.refusal(good, CACHE) == ""
    assert takes(good)
    assert case.says in caches.refusal(bad, CACHE)
    if case.keyword != "format":  # times of the status are plain text in Python
        assert not takes(bad)
