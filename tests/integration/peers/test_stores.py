"""The stores of the tests are the real programs, and hold what was put there."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import urllib.request
from pathlib import Path

from tests.support.stores import TITLE, Registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
WEIGHTS = "model-00002-of-00002.safetensors"


def get(url: str, **headers: str) -> bytes:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


def test_a_registry(model: Path, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        digest = registry.push_artifact("team/small", "v1", model)
        root = f"{registry.url}/v2/team/small"
        manifest = json.loads(get(f"{root}/manifests/{digest}", Accept=MANIFEST))
        titles = {layer["annotations"][TITLE]: layer["digest"] for layer in manifest["layers"]}
        assert get(f"{root}/blobs/{titles[WEIGHTS]}") == (model / WEIGHTS).read_bytes()
        assert registry.blob(titles[WEIGHTS]).read_bytes() == (model / WEIGHTS).read_bytes()

        registry.push_image("team/image", "v1", model)
        root = f"{registry.url}/v2/team/image"
        manifest = json.loads(get(f"{root}/manifests/v1", Accept=MANIFEST))
        raw = gzip.decompress(get(f"{root}/blobs/{manifest['layers'][1]['digest']}"))
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            assert f"models/{WEIGHTS}" in archive.getnames()
