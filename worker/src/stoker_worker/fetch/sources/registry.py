"""oci://HOST/REPOSITORY:TAG or @DIGEST: artifacts and images of the OCI distribution protocol.

The protocol is three GETs, so our reader speaks it: a manifest, blobs, and a token when the
registry asks for one. Each is checked against the digest that names it.

Three ways to put a model into a registry are understood:

    a layer for each file     ORAS, ModelPack `.raw`: the file's digest is the layer's
    layers that are tars      KitOps, ModelPack `.tar`, ORAS folders
    images                    tars over one another, with whiteouts; the folder `models`, if any
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from stoker_worker.cachecontract import RESOLVE, FetchConfig, FetchReason
from stoker_worker.fetch.listing import Image, Listing, RemoteFile
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.addresses import Origin, origin_of
from stoker_worker.fetch.sources.blobs import GZIP, PLAIN, ZSTD, Blob
from stoker_worker.fetch.sources.http import Ask, Reader
from stoker_worker.fetch.sources.packed import Packed
from stoker_worker.fetch.sources.paths import checked
from stoker_worker.fetch.sources.registryauth import Login
from stoker_worker.fetch.sources.secrets import Secret

_INDICES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_TITLE = "org.opencontainers.image.title"
_MODELPACK_PATH = "org.cncf.model.filepath"
_ORAS_UNPACK = "io.deis.oras.content.unpack"
# What runtimes unpack; artifacts have a configuration of another type, or an empty one.
_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_IMAGE_LAYER = re.compile(r"application/vnd\.(oci\.image\.layer|docker\.image\.rootfs)\.")
_TAR = re.compile(r"[./]tar(?:[.+](gzip|zstd))?\Z")

_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(/{_PART})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_MAX_MANIFEST_BYTES = 4 * 2**20  # what registries accept
_MAX_LAYERS = 4096
_ALIASES = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Layer:
    """An entry of a manifest: a file by itself (`path`), or a tar (`packing`)."""

    digest: str
    size: int
    path: str | None = None
    packing: str = PLAIN
    image: bool = False


class RegistrySource:
    """One manifest of a registry."""

    def __init__(self, config: FetchConfig, reader: Reader, secret: Secret) -> None:
        host, self._repository, named = parse(config.uri)
        self._reference = config.revision or named
        if not (_TAG.match(self._reference) or _DIGEST.match(self._reference)):
            raise SourceError(
                FetchReason.SOURCE_INVALID,
                "the revision of an oci:// source is a tag or a digest (sha256:HEX)",
            )
        self._name = f"{host}/{self._repository}"
        host = _ALIASES.get(host, host)
        plain = reader.policy.trusts(_plain(host))
        self._root = f"{'http' if plain else 'https'}://{host}/v2/{self._repository}"
        self._look = config.task == RESOLVE
        self._reader = reader
        self._secret = secret
        self._login = Login(reader, secret, self._root, self._repository, self._name)
        self._files: Mapping[str, Layer] = {}
        self._packed: Packed | None = None

    def list(self) -> Listing:
        """Fetch the manifest that the tag names now, and look into its layers."""
        revision, manifest = self._manifest(self._reference)
        if manifest.get("mediaType") in _INDICES or "manifests" in manifest:
            digest = choose(manifest.get("manifests"), self._name, machine())
            _, manifest = self._manifest(digest)
        layers = layers_of(manifest, self._name)
        self._files = {layer.path: layer for layer in layers if layer.path is not None}
        tars = [layer for layer in layers if layer.path is None]
        self._packed = Packed(
            [self._blob(layer) for layer in tars],
            self._reader,
            f"oci://{self._name}",
            image=bool(tars) and all(layer.image for layer in tars),
            look=self._look,
        )
        files = [
            RemoteFile(layer.path, layer.size, layer.digest.removeprefix("sha256:"))
            for layer in layers
            if layer.path is not None
        ]
        found = checked(revision, [*files, *self._packed.list()], f"oci://{self._name}")
        return replace(found, image=self._image(revision, manifest, layers))

    def _image(self, revision: str, manifest: Mapping[str, Any], layers: Sequence[Layer]) -> Image:
        """How a runtime would mount what was listed: by what the address led to, index or not."""
        kind = (manifest.get("config") or {}).get("mediaType")
        if kind not in _IMAGE_CONFIGS or not all(layer.image for layer in layers):
            return Image(
                unmountable=f"{self._name} is an artifact, and runtimes mount images: build an "
                "image with the model in /models"
            )
        if not self._secret.get(".dockerconfigjson") and self._secret.get("username"):
            return Image(
                unmountable="its Secret has username and password, and the kubelet reads pull "
                "secrets alone: make one of type kubernetes.io/dockerconfigjson"
            )
        assert self._packed is not None, "nothing was listed"  # noqa: S101
        return Image(f"{self._name}@{revision}", self._packed.top)

    def read(
        self, file: RemoteFile, start: int, end: int | None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a part of a file."""
        layer = self._files.get(file.path)
        if layer is not None:
            what = f"{file.path} of {self._name}"
            return self._reader.bytes(self._ask(layer.digest, what), start, end, layer.size)
        assert self._packed is not None, "nothing was listed"  # noqa: S101
        return self._packed.read(file, start, end)

    def _blob(self, layer: Layer) -> Blob:
        what = f"layer {layer.digest[:19]} of {self._name}"
        digest = layer.digest.removeprefix("sha256:")
        return Blob(self._ask(layer.digest, what), layer.size, digest, layer.packing)

    def _ask(self, digest: str, what: str) -> Ask:
        return Ask(f"{self._root}/blobs/{digest}", what, secrets=self._login.headers)

    def _manifest(self, reference: str) -> tuple[str, Mapping[str, Any]]:
        """Return a manifest and the digest that it has."""
        ask = Ask(
            f"{self._root}/manifests/{quote(reference, safe=':')}",
            f"{self._name} {reference}",
            headers={"Accept": ", ".join(_MANIFESTS + _INDICES)},
            secrets=self._login.headers,
        )
        body = self._login.page(ask, _MAX_MANIFEST_BYTES)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if _DIGEST.match(reference) and reference != digest:
            raise SourceError(
                FetchReason.DIGEST_MISMATCH, f"{self._name}: the manifest sent has {digest}"
            )
        try:
            manifest = json.loads(body)
        except ValueError:
            manifest = None
        if not isinstance(manifest, dict) or manifest.get("schemaVersion") != 2:
            raise SourceError(
                FetchReason.SOURCE_INVALID,
                f"{self._name} has no manifest of OCI or of Docker's second schema",
            )
        return digest, manifest


def parse(uri: str) -> tuple[str, str, str]:
    """Return host, repository and tag or digest of an oci:// address."""
    host, _, rest = uri.removeprefix("oci://").partition("/")
    rest, _, digest = rest.partition("@")
    repository, _, tag = rest.partition(":")
    named = digest or tag or "latest"
    origin_of(f"https://{host}/")
    good = _REPOSITORY.match(repository) and len(repository) < 256
    if not good or not (_DIGEST.match(named) if digest else _TAG.match(named)):
        raise SourceError(
            FetchReason.SOURCE_INVALID,
            f"{uri[:120]!r}: write oci://HOST/REPOSITORY:TAG or oci://HOST/REPOSITORY@sha256:HEX",
        )
    return host, repository, named


def machine() -> str:
    """Return this machine's architecture, as images name it."""
    return _MACHINES.get(platform.machine(), platform.machine())


def choose(entries: object, where: str, architecture: str) -> str:
    """Return the digest of an index's manifest for linux on an architecture, or of its only one."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for entry in entries if isinstance(entries, list) else []:
        told = entry if isinstance(entry, dict) else {}
        place = told.get("platform") or {}
        digest = told.get("digest")
        # Builders put attestations beside the images, of an architecture "unknown".
        good = isinstance(digest, str) and _DIGEST.match(digest) and isinstance(place, dict)
        if good and place.get("architecture") != "unknown":
            found.append((str(digest), place))
    fitting = [
        digest
        for digest, place in found
        if place.get("os") == "linux" and place.get("architecture") == architecture
    ]
    if fitting:
        return fitting[0]
    if len(found) == 1:
        return found[0][0]
    raise SourceError(
        FetchReason.SOURCE_NOT_FOUND,
        f"{where} is an index without a manifest for linux/{architecture}",
    )


def layers_of(manifest: Mapping[str, Any], where: str) -> Sequence[Layer]:
    """Read a manifest's layers; SourceError for what is no model."""
    entries = manifest.get("layers")
    if not isinstance(entries, list) or not entries:
        raise SourceError(FetchReason.NO_MODEL, f"{where} has no layers")
    if len(entries) > _MAX_LAYERS:
        raise SourceError(
            FetchReason.SOURCE_TOO_LARGE, f"{where} has more than {_MAX_LAYERS} layers"
        )
    return [_layer(entry, where) for entry in entries]


def _layer(entry: object, where: str) -> Layer:
    told = entry if isinstance(entry, dict) else {}
    digest, size, kind = told.get("digest"), told.get("size"), told.get("mediaType")
    notes = told.get("annotations") or {}
    good = isinstance(digest, str) and _DIGEST.match(digest) and isinstance(kind, str)
    if not good or type(size) is not int or size < 0 or not isinstance(notes, dict):
        raise SourceError(
            FetchReason.SOURCE_INVALID, f"{where} has a layer without sha256 digest, size and type"
        )
    assert isinstance(digest, str)  # noqa: S101 - as was just seen
    assert isinstance(kind, str)  # noqa: S101
    tar = _TAR.search(kind)
    image = bool(_IMAGE_LAYER.match(kind))
    title = notes.get(_TITLE)
    unpack = str(notes.get(_ORAS_UNPACK)).lower() == "true"
    # ORAS gives files the type of an image's layer, and says by a title that they are files.
    if isinstance(title, str) and (image or not tar) and not unpack:
        return Layer(digest, size, title)
    if unpack:
        return Layer(digest, size, packing=GZIP)
    if tar:
        packing = {"gzip": GZIP, "zstd": ZSTD}.get(tar.group(1) or "", PLAIN)
        return Layer(digest, size, packing=packing, image=image)
    path = notes.get(_MODELPACK_PATH)
    if isinstance(path, str):
        return Layer(digest, size, path)
    raise SourceError(
        FetchReason.SOURCE_INVALID,
        f"{where} has a layer of type {kind[:80]!r} that is no tar and has no title: push files "
        "with `oras push`, or an image with the model in /models",
    )


def _plain(host: str) -> Origin:
    return origin_of(f"http://{host}/")
