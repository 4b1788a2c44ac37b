"""Addresses, indices, layers and accounts of registries, as values."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.registry import Layer, choose, layers_of, parse
from stoker_worker.fetch.sources.registryauth import account_of

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
TITLE = "org.opencontainers.image.title"
OCI = "application/vnd.oci.image.layer.v1.tar"


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("oci://ghcr.io/org/model:v1", ("ghcr.io", "org/model", "v1")),
        ("oci://ghcr.io/model", ("ghcr.io", "model", "latest")),
        ("oci://host:5000/a/b/c:x", ("host:5000", "a/b/c", "x")),
        (f"oci://host/a@{DIGEST}", ("host", "a", DIGEST)),
        (f"oci://host/a:v1@{DIGEST}", ("host", "a", DIGEST)),
    ],
)
def test_an_address_is_read(uri: str, parts: tuple[str, str, str]) -> None:
    assert parse(uri) == parts


@pytest.mark.parametrize(
    "uri",
    [
        "oci://",
        "oci://host",
        "oci://host/",
        "oci://host/A",
        "oci://host/a/../b",
        "oci://host/a:v 1",
        "oci://host/a@sha256:12",
        "oci://host/a@md5:12",
        "oci://user@host/a",
        "oci://host/a?x=1",
        "oci://host/a//b",
    ],
)
def test_an_address_that_cannot_be(uri: str) -> None:
    with pytest.raises(SourceError) as error:
        parse(uri)
    assert error.value.reason == FetchReason.SOURCE_INVALID


def entry(digest: object, os: str = "linux", architecture: str = "amd64") -> dict[str, Any]:
    return {"digest": digest, "platform": {"os": os, "architecture": architecture}}


@pytest.mark.parametrize(
    "entries",
    [
        [entry(OTHER, architecture="arm64"), entry(DIGEST)],
        [entry(DIGEST, architecture="arm64")],  # a model for any machine, packed on one
        [entry(OTHER, "unknown", "unknown"), {"digest": DIGEST}],
        [entry(5), 7, entry("sha256:x"), entry(DIGEST)],
    ],
)
def test_of_an_index_one_is_chosen(entries: list[Any]) -> None:
    assert choose(entries, "it", "amd64") == DIGEST


@pytest.mark.parametrize(
    "entries",
    [None, [], {}, [entry(DIGEST, architecture="arm64"), entry(OTHER, architecture="s390x")]],
)
def test_of_an_index_none_fits(entries: Any) -> None:
    with pytest.raises(SourceError, match="linux/amd64"):
        choose(entries, "it", "amd64")


def layer(kind: str, **notes: str) -> dict[str, Any]:
    annotations = {name.replace("__", "."): value for name, value in notes.items()}
    return {"mediaType": kind, "digest": DIGEST, "size": 5, "annotations": annotations}


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (layer(OCI), Layer(DIGEST, 5, image=True)),
        (layer(f"{OCI}+gzip"), Layer(DIGEST, 5, packing="gzip", image=True)),
        (layer(f"{OCI}+zstd"), Layer(DIGEST, 5, packing="zstd", image=True)),
        (
            layer("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            Layer(DIGEST, 5, packing="gzip", image=True),
        ),
        (layer("application/vnd.kitops.modelkit.model.v1.tar"), Layer(DIGEST, 5)),
        (layer(OCI, org__opencontainers__image__title="a.bin"), Layer(DIGEST, 5, "a.bin")),
        (
            layer("application/x", org__opencontainers__image__title="a/b"),
            Layer(DIGEST, 5, "a/b"),
        ),
        (
            layer("application/vnd.cncf.model.weight.v1.raw", org__cncf__model__filepath="w"),
            Layer(DIGEST, 5, "w"),
        ),
        (
            layer("application/vnd.cncf.model.weight.v1.tar", org__cncf__model__filepath="w"),
            Layer(DIGEST, 5),
        ),
    ],
)
def test_a_layer_is_read(told: dict[str, Any], read: Layer) -> None:
    assert list(layers_of({"layers": [told]}, "it")) == [read]


@pytest.mark.parametrize(
    "told",
    [
        {},
        7,
        layer("application/x"),
        layer(OCI) | {"digest": "sha512:abc"},
        layer(OCI) | {"digest": "../../x"},
        layer(OCI) | {"size": -1},
        layer(OCI) | {"size": "5"},
        layer(OCI) | {"size": True},
        layer(OCI) | {"annotations": []} | {"mediaType": 5},
    ],
)
def test_a_layer_that_is_none(told: Any) -> None:
    with pytest.raises(SourceError) as error:
        layers_of({"layers": [told]}, "it")
    assert error.value.reason == FetchReason.SOURCE_INVALID


@pytest.mark.parametrize("layers", [None, [], {}, "x"])
def test_a_manifest_without_layers(layers: Any) -> None:
    with pytest.raises(SourceError) as error:
        layers_of({"layers": layers}, "it")
    assert error.value.reason == FetchReason.NO_MODEL


AUTH = {"auth": b64encode(b"me:pass:word").decode()}


@pytest.mark.parametrize(
    ("auths", "host", "account"),
    [
        ({"ghcr.io": AUTH}, "ghcr.io", ("me", "pass:word")),
        ({"https://ghcr.io": AUTH}, "ghcr.io", ("me", "pass:word")),
        ({"https://index.docker.io/v1/": AUTH}, "docker.io", ("me", "pass:word")),
        ({"host:5000": {"username": "a", "password": "b"}}, "host:5000", ("a", "b")),
        ({"ghcr.io": AUTH}, "evil.example", ("", "")),
        ({"ghcr.io": AUTH}, "ghcr.io.evil.example", ("", "")),
        ({"host": AUTH}, "host:5000", ("", "")),
        ({}, "ghcr.io", ("", "")),
    ],
)
def test_an_account_is_that_of_the_host(
    auths: dict[str, Any], host: str, account: tuple[str, str]
) -> None:
    assert account_of(json.dumps({"auths": auths}), host) == account


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"auths": 5}', '{"auths": {"h": {"auth": "%"}}}']
)
def test_a_pull_secret_that_is_none(text: str) -> None:
    with pytest.raises(SourceError, match="docker-registry"):
        account_of(text, "h")
