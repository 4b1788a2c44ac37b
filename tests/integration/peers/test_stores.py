"""The stores of the tests are the real programs, and hold what was put there."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import obstore
import pytest

from tests.support.stores import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    TITLE,
    Minio,
    PrivateRegistry,
    Registry,
)

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
WEIGHTS = "model-00002-of-00002.safetensors"


def get(url: str, **headers: str) -> bytes:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


def test_a_bucket(model: Path, tmp_path: Path) -> None:
    with Minio(tmp_path / "minio") as minio:
        minio.put("models", "team/small", model)

        def store(secret: str) -> obstore.store.S3Store:
            return obstore.store.S3Store(
                "models",
                endpoint=minio.url,
                access_key_id=ACCESS_KEY,
                secret_access_key=secret,
                region=REGION,
                virtual_hosted_style_request=False,
                client_options={"allow_http": True},
                retry_config={"max_retries": 0},
            )

        listed = obstore.list(store(SECRET_KEY), prefix="team").collect()
        files = {path for path in model.rglob("*") if path.is_file()}
        assert {each["path"] for each in listed} == {
            f"team/small/{path.relative_to(model).as_posix()}" for path in files
        }
        found = obstore.get(store(SECRET_KEY), f"team/small/{WEIGHTS}").bytes().to_bytes()
        assert found == (model / WEIGHTS).read_bytes()
        with pytest.raises(obstore.exceptions.PermissionDeniedError):
            obstore.get(store("wrong"), f"team/small/{WEIGHTS}")


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


def test_a_private_registry_asks_who_it_is(model: Path, tmp_path: Path) -> None:
    with PrivateRegistry(tmp_path / "registry") as registry:
        digest = registry.push_artifact("team/small", "v1", model)
        address = f"{registry.url}/v2/team/small/manifests/{digest}"
        assert json.loads(get(address, Accept=MANIFEST, **registry.greeting))["layers"]
        known = json.loads(registry.pull_secret)["auths"][registry.netloc]["auth"]
        for stranger in ({}, {"Authorization": f"Basic {known[::-1]}"}):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                get(address, Accept=MANIFEST, **stranger)
