"""Certificates and kubeconfigs: one authority, one short-lived key pair for each part.

Every part has an identity of its own, because RBAC and the node authoriser judge by it: a kubelet
is `system:node:<name>` in the group `system:nodes`, and so on. OpenSSL does the work; keys are
P-256, which it makes in milliseconds. The keys lie below `state` and go with it.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from e2e.cluster import settings
from e2e.cluster.host import run

if TYPE_CHECKING:
    from pathlib import Path

DAYS = "365"
_ADDRESSES = f"IP:{settings.NODE_ADDRESS},IP:{settings.API_SERVICE},IP:127.0.0.1"
_API_NAMES = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost"
# Name of the key pair: its subject. The same pair may serve and call.
SUBJECTS = {
    "apiserver": "/CN=kube-apiserver",
    "etcd": "/CN=etcd",
    "apiserver-client": "/O=system:masters/CN=kube-apiserver-client",
    "kubelet": f"/O=system:nodes/CN=system:node:{settings.NODE}",
    "admin": "/O=system:masters/CN=admin",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "kube-router": "/CN=kube-router",
}
CALLERS = tuple(name for name in SUBJECTS if name not in {"apiserver", "etcd", "apiserver-client"})


def folder() -> Path:
    """Folder of the keys."""
    return settings.state() / "pki"


def certificate(name: str) -> Path:
    """Return the certificate of a part."""
    return folder() / f"{name}.crt"


def key(name: str) -> Path:
    """Return the private key of a part."""
    return folder() / f"{name}.key"


def make() -> None:
    """Make whatever is missing; keys that exist stay, so a second `up` changes nothing."""
    folder().mkdir(parents=True, exist_ok=True)
    folder().chmod(0o700)
    if not certificate("ca").exists():
        _make_key("ca")
        run(
            *("openssl", "req", "-x509", "-new", "-key", key("ca"), "-days", DAYS),
            *("-subj", "/CN=stoker-local-ca", "-out", certificate("ca")),
        )
    if not key("service-accounts").exists():
        _make_key("service-accounts")
        public = folder() / "service-accounts.pub"
        run("openssl", "pkey", "-in", key("service-accounts"), "-pubout", "-out", public)
    for name, subject in SUBJECTS.items():
        if not certificate(name).exists():
            _sign(name, subject)
    for name in CALLERS:
        _kubeconfig(name)


def kubeconfig(name: str) -> Path:
    """Return the kubeconfig of a part."""
    return settings.kubeconfig() if name == "admin" else folder() / f"{name}.kubeconfig"


def _make_key(name: str) -> None:
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    run("openssl", "genpkey", *curve, "-out", key(name))
    key(name).chmod(0o600)


def _sign(name: str, subject: str) -> None:
    _make_key(name)
    request, extensions = folder() / f"{name}.csr", folder() / f"{name}.ext"
    extensions.write_text(
        "keyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth,clientAuth\n"
        f"subjectAltName={_ADDRESSES},{_API_NAMES},DNS:{settings.NODE}\n"
    )
    run("openssl", "req", "-new", "-key", key(name), "-subj", subject, "-out", request)
    run(
        *("openssl", "x509", "-req", "-in", request, "-days", DAYS, "-extfile", extensions),
        *("-CA", certificate("ca"), "-CAkey", key("ca"), "-CAcreateserial"),
        *("-out", certificate(name)),
    )
    request.unlink()
    extensions.unlink()


def _kubeconfig(name: str) -> None:
    def text(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    server = f"https://{settings.NODE_ADDRESS}:{settings.API_PORT}"
    cluster = {"server": server, "certificate-authority-data": text(certificate("ca"))}
    user = {
        "client-certificate-data": text(certificate(name)),
        "client-key-data": text(key(name)),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stoker-local", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [
            {"name": "stoker-local", "context": {"cluster": "stoker-local", "user": name}}
        ],
        "current-context": "stoker-local",
    }
    path = kubeconfig(name)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2))
