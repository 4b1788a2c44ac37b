"""Sources beside the cluster that are no hub: a bucket, a registry, and a web server with TLS.

Each holds the same tiny model; bucket and registry ask who wants it. Pods reach them at the
node's address, and prove what they get.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.caches import KIND, PULL, pull_secret, remove_caches_and_services
from e2e.cluster.settings import NODE, NODE_ADDRESS, state
from e2e.cluster.volumes import local_volume
from e2e.models import TINY
from e2e.stack import OPERATOR_NAMESPACE, Stack
from stoker import naming
from stoker.commands.exits import Exit
from tests.support.authority import Authority
from tests.support.stores import ACCESS_KEY, SECRET_KEY, Minio, PrivateRegistry
from tests.support.web import Answer, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED, NODES = "shared", "nodes"
KEYS, TRUST = "bucket-keys", "authorities"
LISTED = "listed"
SECONDS = 240


@dataclass
class Sources:
    """Where the model can be had, and the folders behind the two volumes."""

    stack: Stack
    namespace: str
    shared: Path
    nodes: Path
    addresses: dict[str, tuple[str, ...]]
    """What `stoker cache warm` is told of each source."""

    @property
    def model(self) -> Path:
        """What all of them hold."""
        return self.stack.models / TINY.name

    def status(self, name: str) -> dict[str, Any]:
        """A cache's status."""
        found = self.stack.get(KIND, name, self.namespace) or {}
        status: dict[str, Any] = found.get("status", {})
        return status

    def published(self, name: str, volume: Path) -> Path:
        """The model's folder, on the node."""
        return volume / "models" / str(self.status(name)["folder"]).rpartition("/")[2]

    def holds(self, name: str, volume: Path) -> bool:
        """Whether a cache has exactly the files that the sources have."""
        found = {
            path.name: path.read_bytes()
            for path in self.published(name, volume).iterdir()
            if not path.name.startswith(".")
        }
        return found == {path.name: path.read_bytes() for path in self.model.iterdir()}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin `stoker cache …`, as it is installed."""
        program = Path(sys.executable).parent / "stoker"
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.stack.cluster.kubeconfig),
            "COLUMNS": "250",
        }
        return subprocess.Popen(
            [str(program), "cache", *words, "-n", self.namespace, "--timeout", f"{SECONDS}s"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    @staticmethod
    def end(process: subprocess.Popen[str], good: Exit = Exit.DONE) -> str:
        """Wait for one; what it said in the end."""
        said, told = process.communicate(timeout=SECONDS + 60)
        assert process.returncode == good, f"{said}{told}"
        return said


@contextmanager
def prepared(stack: Stack, namespace: str) -> Iterator[Sources]:
    """The sources, the operator told of them, a namespace, and a list that nobody is to read."""
    with ExitStack() as after:
        folder = tempfile.TemporaryDirectory(prefix="sources-", dir=state())
        base = Path(after.enter_context(folder))
        base.chmod(0o755)
        minio = after.enter_context(Minio(base / "minio", NODE_ADDRESS))
        registry = after.enter_context(PrivateRegistry(base / "registry", NODE_ADDRESS))
        authority = Authority(base / "keys", f"subjectAltName=IP:{NODE_ADDRESS}")
        authority.make()
        archive = _packed(stack.models / TINY.name, base / "tiny.tar")
        web = after.enter_context(
            WebServer(lambda _: Answer(200, archive), NODE_ADDRESS, 0, authority)
        )
        minio.put("models", "team/tiny", stack.models / TINY.name)
        registry.push_artifact("team/tiny", "v1", stack.models / TINY.name)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        found = Sources(
            stack,
            namespace,
            base / SHARED,
            base / NODES,
            {
                "bucket": ("--uri", "s3://models/team/tiny", "--secret", KEYS),
                "registry": (
                    *("--uri", f"oci://{registry.netloc}/team/tiny", "--revision", "v1"),
                    *("--secret", PULL),
                ),
                "web": ("--uri", f"{web.url}/tiny.tar", "--revision", f"sha256:{digest}"),
            },
        )
        after.callback(stack.install)
        # First: with other defaults, caches would begin to move.
        after.callback(_removed, stack, namespace)
        stack.prepare_namespace(namespace)
        stack.apply([*_objects(found, authority), pull_secret(registry, namespace)])
        stack.install(
            caches={
                "objectEndpoint": minio.url,
                "plainHosts": [minio.netloc, registry.netloc],
                "caConfigMap": TRUST,
                "storage": {"existingClaim": SHARED},
            },
            models={"preload": False},
            nodes={"label": True},
        )
        # The operators from before would read it.
        stack.wait_for(lambda: not _ending(stack), "the operators from before to go", SECONDS)
        stack.apply(_list(namespace))
        yield found


def _packed(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.add(folder, folder.name)
    return path


def _objects(sources: Sources, authority: Authority) -> list[dict[str, Any]]:
    namespace = sources.namespace
    volumes = []
    for name, path in ((SHARED, sources.shared), (NODES, sources.nodes)):
        path.mkdir()
        volumes += local_volume(f"{namespace}-{name}", path, namespace, name, "ReadWriteMany")
    trusted = base64.b64decode(authority.certificate).decode()
    return [
        *volumes,
        _small("Secret", KEYS, namespace, stringData={
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }),
        _small("ConfigMap", TRUST, namespace, data={"ca.crt": trusted}),
    ]  # fmt: skip


def _list(namespace: str) -> dict[str, Any]:
    labels = {"stoker.dev/preload": "true"}
    text = f"- {{name: {LISTED}, uri: s3://models/team/tiny}}\n"
    return _small("ConfigMap", LISTED, namespace, labels, data={"preload-models": text})


def _ending(stack: Stack) -> list[str]:
    pods = [pod["metadata"] for pod in stack.list("pods", OPERATOR_NAMESPACE)]
    return [each["name"] for each in pods if "deletionTimestamp" in each]


def _small(
    kind: str, name: str, namespace: str, labels: dict[str, str] | None = None, **data: Any
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **data}


def _removed(stack: Stack, namespace: str) -> None:
    remove_caches_and_services(stack, namespace)
    stack.remove_namespace(namespace)
    volumes = [f"{namespace}-{name}" for name in (SHARED, NODES)]
    stack.kubectl("delete", "persistentvolume", *volumes, "--ignore-not-found")
    # The label of a cache that is gone stays, as nobody may say that the model went with it.
    for label in labels_of(stack):
        stack.kubectl("label", "node", NODE, f"{label}-")


def labels_of(stack: Stack) -> list[str]:
    """What the node is said to hold."""
    node = stack.get("node", NODE, "default") or {}
    start = naming.model_label("x-0").rpartition("/")[0]
    return [label for label in node["metadata"]["labels"] if label.startswith(start)]
