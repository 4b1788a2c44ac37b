"""Real stores on this machine: MinIO for S3, and the distribution registry for OCI.

Each is a process that ends with its `with`, and with the one who started it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from e2e.cluster import programs
from tests.support.controlplane import LOOPBACK, free_port

START_SECONDS = 60
ACCESS_KEY, SECRET_KEY = "reader", "only-for-this-test"
REGION = "us-east-1"

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
TITLE = "org.opencontainers.image.title"


class StoreError(Exception):
    """A store that does not start; with the end of what it said."""


class _Store:
    """A program that serves a folder on a port of its own."""

    program: str
    health: str

    def __init__(self, folder: Path, host: str = LOOPBACK) -> None:
        self.folder = folder
        self.host = host
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def netloc(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its address without a slash at the end."""
        return f"http://{self.netloc}"

    @property
    def greeting(self) -> Mapping[str, str]:
        """Headers by which it knows who asks."""
        return {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it (again) on its port, and wait until it serves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        binary = programs.ensure([self.program])[self.program]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                ["setpriv", "--pdeathsig", "KILL", str(binary), *self._arguments()],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self._environment(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StoreError(f"{self.program}: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; what it holds stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.program}.log"

    def _answers(self) -> bool:
        try:
            _send("GET", f"{self.url}{self.health}", headers=self.greeting)
        except OSError:
            return False
        return True

    def _arguments(self) -> Sequence[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        # Nothing of this machine: no proxies, no credentials.
        return {"HOME": str(self.folder), "PATH": "/usr/bin:/bin"}


class Minio(_Store):
    """S3, with one pair of keys that may do everything."""

    program = "minio"
    health = "/minio/health/ready"

    def bucket(self, name: str) -> None:
        """Make a bucket: with a single drive that is a folder."""
        (self._data / name).mkdir(parents=True, exist_ok=True)

    def put(self, bucket: str, prefix: str, folder: Path) -> None:
        """Put all files of a folder below a prefix."""
        import obstore  # noqa: PLC0415 - a client of its own kind, for this alone

        self.bucket(bucket)
        store = obstore.store.S3Store(
            bucket,
            endpoint=self.url,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region=REGION,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                obstore.put(store, f"{prefix}/{path.relative_to(folder).as_posix()}", path)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _arguments(self) -> Sequence[str]:
        self._data.mkdir(exist_ok=True)
        console = f"{LOOPBACK}:{free_port()}"
        return (
            *("server", "--quiet", "--address", self.netloc, "--console-address", console),
            *("--certs-dir", str(self.folder / "certs"), str(self._data)),
        )

    def _environment(self) -> dict[str, str]:
        return {
            **super()._environment(),
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_REGION": REGION,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }


@dataclass(frozen=True)
class Layer:
    """A blob with its place in a manifest."""

    content: bytes
    media_type: str = "application/octet-stream"
    annotations: Mapping[str, str] | None = None

    @property
    def digest(self) -> str:
        """Its name in the registry."""
        return _digest(self.content)

    def described(self) -> dict[str, Any]:
        """Its entry in a manifest."""
        told: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.content),
        }
        return told | ({"annotations": dict(self.annotations)} if self.annotations else {})


class Registry(_Store):
    """The distribution registry, open to all."""

    program = "registry"
    health = "/v2/"

    def push_artifact(self, name: str, tag: str, folder: Path) -> str:
        """Push each file of a folder as a layer that has the file's path as its title."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        layers = [
            Layer(path.read_bytes(), annotations={TITLE: path.relative_to(folder).as_posix()})
            for path in files
        ]
        return self.push(name, tag, layers, Layer(b"{}", _EMPTY), "application/vnd.stoker.tests")

    def push_image(self, name: str, tag: str, folder: Path, below: str = "models") -> str:
        """Push an image of two layers: what is not weights, and weights."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        heavy = [path for path in files if path.suffix == ".safetensors"]
        light = [path for path in files if path not in heavy]
        tars = [_tar(group, folder, below) for group in (light, heavy)]
        return self.push_layers(name, tag, tars)

    def push_layers(self, name: str, tag: str, tars: Sequence[bytes]) -> str:
        """Push an image whose layers are these archives, whatever is in them."""
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar) for tar in tars]},
        }
        layers = [Layer(gzip.compress(tar, 1, mtime=0), LAYER) for tar in tars]
        return self.push(name, tag, layers, Layer(json.dumps(config).encode(), _CONFIG))

    def push(
        self, name: str, tag: str, layers: Sequence[Layer], config: Layer, kind: str = ""
    ) -> str:
        """Push a manifest with its blobs; return its digest."""
        for layer in (*layers, config):
            self._upload(name, layer)
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": config.described(),
            "layers": [layer.described() for layer in layers],
        }
        if kind:
            manifest["artifactType"] = kind
        raw = json.dumps(manifest).encode()
        headers = {"Content-Type": _MANIFEST}
        _send("PUT", f"{self.url}/v2/{name}/manifests/{tag}", raw, {**headers, **self.greeting})
        return _digest(raw)

    def blob(self, digest: str) -> Path:
        """The file in which the registry keeps a blob."""
        hexadecimal = digest.removeprefix("sha256:")
        place = self.folder / "data/docker/registry/v2/blobs/sha256"
        return place / hexadecimal[:2] / hexadecimal / "data"

    def _upload(self, name: str, layer: Layer) -> None:
        place = _send("POST", f"{self.url}/v2/{name}/blobs/uploads/", headers=self.greeting)
        mark = "&" if "?" in place["Location"] else "?"
        headers = {"Content-Type": "application/octet-stream", **self.greeting}
        there = f"{place['Location']}{mark}digest={layer.digest}"
        _send("PUT", there, layer.content, headers)

    def _arguments(self) -> Sequence[str]:
        path = self.folder / "registry.json"
        path.write_text(json.dumps(self._config()))
        return ("serve", str(path))

    def _config(self) -> dict[str, Any]:
        return {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": self.netloc},
        }


class PrivateRegistry(Registry):
    """The same for one user, who has to say with each request who it is."""

    user, password = "puller", "s3cret"
    # bcrypt of that password, as `htpasswd -B` writes it.
    _known = "puller:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"

    @property
    def greeting(self) -> Mapping[str, str]:
        """Basic authentication."""
        return {"Authorization": f"Basic {self._told}"}

    @property
    def pull_secret(self) -> str:
        """What a Secret of type kubernetes.io/dockerconfigjson holds for it."""
        return json.dumps({"auths": {self.netloc: {"auth": self._told}}})

    @property
    def _told(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _config(self) -> dict[str, Any]:
        path = self.folder / "htpasswd"
        path.write_text(self._known)
        return super()._config() | {"auth": {"htpasswd": {"realm": "tests", "path": str(path)}}}


def _tar(files: Sequence[Path], folder: Path, below: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            archive.add(path, f"{below}/{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _send(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"{method} {url}: {error.code} {error.read()[:300]!r}") from None
