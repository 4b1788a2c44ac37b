"""The images that run on the cluster: what each is made of, and pushing what is new.

An image's tag is a hash of everything that goes into it (recipe, sources, programs, its base's
hash). So a tag never changes its meaning, an image that the registry already has under its tag is
done, and a warm run costs one question per image. The operator and the worker come from the
project's own Dockerfile; base images are its arguments, here a Debian made by debootstrap, because
a public registry may be out of reach.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import buildah, host, programs
from e2e.cluster.debian import base_key, make_base
from e2e.cluster.progress import Progress
from e2e.cluster.settings import REGISTRY, REPOSITORY, ClusterError, architecture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMAGES = REPOSITORY / "e2e" / "images"
_PREFIX = "stoker"
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass(frozen=True)
class Recipe:
    """What an image is made of."""

    name: str
    file: Path
    """The Containerfile."""
    on_base: bool = False
    """Whether it stands on the Debian base rather than on nothing."""
    program: str = ""
    """A program to put beside the Containerfile as the build's context."""
    target: str = ""
    """A target of the project's own Dockerfile, whose context is the repository."""
    sources: tuple[Path, ...] = ()
    """Files and folders that the content hash covers beside the Containerfile."""
    on_demand: bool = False
    """Made only for who asks for it by name."""


_PROJECT = tuple(
    REPOSITORY / name for name in ("pyproject.toml", "uv.lock", "README.md", "LICENSE")
)
_OPERATOR, _WORKER = REPOSITORY / "operator" / "src", REPOSITORY / "worker" / "src"
_DOCKERFILE = REPOSITORY / "Dockerfile"


def _file(name: str) -> Path:
    return _IMAGES / name / "Containerfile"


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("pause", _file("pause"), sources=(_IMAGES / "pause" / "main.go",)),
        Recipe("coredns", _file("coredns"), program="coredns"),
        Recipe("epp", _file("epp"), program="epp"),
        Recipe("lws", _file("lws"), program="lws", on_demand=True),
        Recipe("prometheus", _file("prometheus"), program="prometheus", on_demand=True),
        Recipe("envoy", _file("envoy"), on_base=True, program="envoy"),
        Recipe("engine-base", _file("engine-base"), on_base=True),
        Recipe("worker", _DOCKERFILE, on_base=True, target="worker", sources=(*_PROJECT, _WORKER)),
        Recipe(
            "operator",
            _DOCKERFILE,
            on_base=True,
            target="operator",
            sources=(*_PROJECT, _OPERATOR, _WORKER),
        ),
    )
}
# What a cluster that is not ours can take from public registries.
PUBLIC = {
    "envoy": "docker.io/envoyproxy/envoy:v1.39.3",
    "epp": "registry.k8s.io/gateway-api-inference-extension/epp:v1.5.0",
    "lws": "registry.k8s.io/lws/lws:v0.8.0",
    "prometheus": "docker.io/prom/prometheus:v3.15.0",
}
OURS = ("operator", "worker", "engine-base")
USUAL = tuple(name for name, recipe in RECIPES.items() if not recipe.on_demand)
USUAL_ELSEWHERE = tuple(name for name in (*OURS, *PUBLIC) if not RECIPES[name].on_demand)


def content_hash(recipe: Recipe) -> str:
    """Return the hash of everything that goes into an image."""
    digest = hashlib.sha256(f"{recipe.name} {recipe.target} {architecture()}".encode())
    if recipe.on_base:
        digest.update(base_key().encode())
    files = [recipe.file]
    for source in recipe.sources:
        files += [source] if source.is_file() else sorted(source.rglob("*"))
    if recipe.program:
        files.append(_program(recipe.program))
    for path in files:
        if path.is_file() and "__pycache__" not in path.parts:
            inside = path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path.name
            digest.update(f"\0{inside}\0".encode())
            with path.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def reference(name: str, registry: str = REGISTRY) -> str:
    """Return an image's address in a registry."""
    return f"{registry}/{_PREFIX}/{name}:{content_hash(RECIPES[name])}"


def _program(name: str) -> Path:
    return programs.ensure_envoy() if name == "envoy" else programs.ensure([name])[name]


def ensure_images(names: Sequence[str] | None = None, mode: str = "local") -> dict[str, str]:
    """Build and push what the registry lacks; return the address of each image.

    In the mode `current` (a cluster that is not ours) the registry is `REGISTRY`, and an address
    given as `STOKER_IMAGE_<NAME>` is taken as it is.
    """
    if mode == "local":
        if not _registry_answers():
            raise ClusterError(f"The registry {REGISTRY} does not answer: run `make up` first.")
        host.check_system()
        return ensure(names or USUAL)
    return _ensure_elsewhere(names or USUAL_ELSEWHERE)


def _ensure_elsewhere(names: Sequence[str]) -> dict[str, str]:
    found = {name: os.environ.get(_variable(name)) or PUBLIC.get(name, "") for name in names}
    missing = [name for name, address in found.items() if not address]
    registry = os.environ.get("REGISTRY", "").rstrip("/")
    if missing and not registry:
        raise ClusterError(
            f"CLUSTER=current needs images that its nodes can pull, and {', '.join(missing)} "
            "are missing: set REGISTRY=registry.example/you to push them there (after `buildah "
            f"login`), or give addresses such as {_variable(missing[0])}=…"
        )
    if missing:
        host.check_system()
        host.ensure_packages()
        found |= ensure(missing, registry)
    return found


def _variable(name: str) -> str:
    return f"STOKER_IMAGE_{name.upper().replace('-', '_')}"


def ensure(names: Sequence[str], registry: str = REGISTRY) -> dict[str, str]:
    """Build and push what a registry lacks."""
    references = {name: reference(name, registry) for name in names}
    missing = _lacking(references, registry)
    if missing:
        with host.lock("images"):
            # Whoever had the lock before us may have done our work.
            _provide(_lacking(references, registry), references)
    return references


def _lacking(references: Mapping[str, str], registry: str) -> list[str]:
    return [name for name in references if registry != REGISTRY or not _has(references[name])]


def _provide(missing: Sequence[str], references: Mapping[str, str]) -> None:
    for index, name in enumerate(missing, 1):
        recipe = RECIPES[name]
        tag = f"localhost/{_PREFIX}/{name}:{content_hash(recipe)}"
        if not buildah.has(tag):
            base = make_base() if recipe.on_base else ""
            with Progress(f"build image {name}", index, len(missing)):
                _build(recipe, tag, base)
        with Progress(f"push image {name}", index, len(missing)):
            _push(tag, references[name])


def _push(tag: str, address: str) -> None:
    try:
        buildah.push(tag, address, insecure=address.startswith(REGISTRY))
    except ClusterError as error:
        raise ClusterError(
            f"The registry refused {address}: check that REGISTRY is right and that you are "
            f"logged in (`buildah login`), then try again ({error})"
        ) from error


def _build(recipe: Recipe, tag: str, base: str) -> None:
    arguments = {"BASE": base, "TARGETARCH": architecture()} if recipe.on_base else {}
    if recipe.target:
        buildah.build(tag, recipe.file, REPOSITORY, arguments, (f"--target={recipe.target}",))
        return
    with tempfile.TemporaryDirectory(prefix="stoker-image-") as folder:
        context = Path(folder)
        if recipe.program:
            shutil.copy2(_program(recipe.program), context / recipe.program)
        elif recipe.name == "pause":
            source = _IMAGES / "pause" / "main.go"
            command = ("build", "-trimpath", "-ldflags", "-s -w", "-o", context / "pause", source)
            host.run(programs.ensure_go(), *command, env=programs.go_environment())
        buildah.build(tag, recipe.file, context, arguments)


def _open(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": _MANIFEST_TYPES})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _registry_answers() -> bool:
    return _open(f"http://{REGISTRY}/v2/")


def _has(address: str) -> bool:
    path, _, tag = address.removeprefix(f"{REGISTRY}/").rpartition(":")
    return _open(f"http://{REGISTRY}/v2/{path}/manifests/{tag}")
