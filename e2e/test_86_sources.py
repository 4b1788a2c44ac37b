"""Caches from a bucket, a registry and a web server: real jobs on a real kubelet, real peers.

The caches are made, waited for and verified by `stoker cache`, as people do it. One of them is kept
per node. Lists of models are switched off meanwhile (`models.preload=false`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e.caches import KIND
from e2e.cluster.settings import NODE
from e2e.models import PROMPTS
from e2e.sources import KEYS, LISTED, NODES, SECONDS, Sources, labels_of, prepared
from e2e.stack import Stack, example
from e2e.test_10_answers import call
from stoker import naming

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "sources"
WEIGHTS = "model.safetensors"
SERVICE = "warmed"


@pytest.fixture(scope="module")
def sources(stack: Stack) -> Iterator[Sources]:
    """A bucket, a registry and a web server that hold the same model."""
    if stack.cluster.mode != "local":
        pytest.skip("the sources and the volumes are on this machine")
    with prepared(stack, NAMESPACE) as found:
        yield found


def test_every_source_gives_the_same_model(sources: Sources) -> None:
    warming = {
        name: sources.start("warm", "--name", name, *address)
        for name, address in sources.addresses.items()
    }
    said = {name: sources.end(process) for name, process in warming.items()}
    for name in warming:
        assert "claim shared, models/" in said[name], said[name]
        assert sources.holds(name, sources.shared), name
    statuses = [sources.status(name) for name in warming]
    assert len({status["folder"] for status in statuses}) == 3, "one volume, a folder for each"
    assert {status["digest"] for status in statuses} == {statuses[0]["digest"]}, "the same bytes"
    assert sources.status("registry")["revision"].startswith("sha256:")
    assert sources.status("web")["revision"] == sources.addresses["web"][-1]


def test_verify_reads_every_byte_and_mends_what_is_bad(sources: Sources) -> None:
    path = sources.published("bucket", sources.shared) / WEIGHTS
    truth = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(len(truth) // 2)
        file.write(bytes([truth[len(truth) // 2] ^ 1]))
    verifying = {name: sources.start("verify", name) for name in ("bucket", "web")}
    assert f"{WEIGHTS} had other bytes" in sources.end(verifying["bucket"])
    assert WEIGHTS not in sources.end(verifying["web"])
    assert sources.holds("bucket", sources.shared)
    assert sources.status("bucket")["repaired"] == [WEIGHTS]
    assert not sources.status("web").get("repaired")


def test_one_file_is_refused_before_anything_is_fetched(sources: Sources) -> None:
    uri, digest = sources.addresses["web"][1], sources.addresses["web"][3]
    service = example("alone", NAMESPACE, model={"uri": uri.replace(".tar", ".gguf")})
    service["spec"]["model"]["revision"] = digest
    refused = sources.stack.cluster.kubectl(
        "apply", "--server-side", "-f", "-", stdin=json.dumps(service), check=False
    )
    assert refused.returncode != 0
    assert "GGUF is a format that no engine here loads" in refused.stderr
    assert "write the https:// address of an archive" in refused.stderr


def test_a_service_starts_from_its_nodes_own_copy(sources: Sources) -> None:
    stack = sources.stack
    spec = {
        "model": {"uri": "s3://models/team/tiny", "secretRef": {"name": KEYS}},
        "storage": {"perNode": {"claimName": NODES}},
        "preload": {"nodes": {"matchLabels": {"kubernetes.io/hostname": NODE}}},
    }
    metadata = {"name": NODES, "namespace": NAMESPACE}
    kind = {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelCache"}
    stack.apply({**kind, "metadata": metadata, "spec": spec})
    model = {"cacheRef": {"name": NODES}}
    stack.apply(example(SERVICE, NAMESPACE, model=model, scaling=None, replicas=1))
    assert "on 1 node: revision" in sources.end(sources.start("warm", NODES))
    assert sources.status(NODES)["nodes"]["shown"] == "1/1"
    assert sources.holds(NODES, sources.nodes)
    stack.wait_for(
        lambda: labels_of(stack) == [naming.model_label(sources.status(NODES)["folder"])],
        "the node to say what it holds",
        60,
    )
    stack.wait_ready_engines(SERVICE, NAMESPACE, 1, SECONDS)
    (pod,) = stack.engine_pods(SERVICE, NAMESPACE)
    claims = [each.get("persistentVolumeClaim", {}) for each in pod["spec"]["volumes"]]
    assert NODES in [claim.get("claimName") for claim in claims]
    assert "await-model" in [each["name"] for each in pod["spec"]["initContainers"]]
    prompt, expected = PROMPTS[0]
    body = {"model": SERVICE, "prompt": prompt, "max_tokens": 12, "temperature": 0}
    url = stack.address(SERVICE, NAMESPACE)
    stack.wait_condition(SERVICE, NAMESPACE, "Ready", status="True")
    status, _, told = call(url, "/completions", body)
    assert status == 200
    assert expected.split()[0] in told["choices"][0]["text"]


def test_nobody_has_read_the_list(sources: Sources) -> None:
    """All the while it was there, and the operator looks every five seconds where it may."""
    assert sources.stack.get("configmap", LISTED, NAMESPACE)
    made = {each["metadata"]["name"] for each in sources.stack.list(KIND, NAMESPACE)}
    assert made == {*sources.addresses, NODES}
