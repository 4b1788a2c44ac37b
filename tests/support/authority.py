"""Keys of a control plane: one authority, and a key pair for whoever serves or calls."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.cluster.host import run

if TYPE_CHECKING:
    from pathlib import Path

NAMES = "subjectAltName=IP:127.0.0.1,IP:127.0.0.2,DNS:localhost,DNS:kubernetes.default.svc"
USAGE = "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth"


@dataclass(frozen=True)
class Authority:
    """OpenSSL with P-256 keys, good for two days, all in one folder."""

    folder: Path
    names: str = NAMES  # of whoever serves

    @property
    def certificate(self) -> str:
        """The authority's certificate, as a kubeconfig wants it."""
        return _base64(self._file("ca.crt"))

    def make(self) -> None:
        """Make the authority and the pairs that every control plane needs."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._make_key("ca")
        run(
            *("openssl", "req", "-x509", "-new", "-key", self._file("ca.key"), "-days", "2"),
            *("-subj", "/CN=stoker-tests", "-out", self._file("ca.crt")),
        )
        self._make_key("service-accounts")
        public = self._file("service-accounts.pub")
        run("openssl", "pkey", "-in", self._file("service-accounts.key"), "-pubout", "-out", public)
        self.sign("apiserver", "/CN=kube-apiserver")
        self.sign("admin", "/O=system:masters/CN=admin")

    def sign(self, name: str, subject: str) -> None:
        """Make a key pair."""
        self._make_key(name)
        request, extensions = self._file(f"{name}.csr"), self._file(f"{name}.ext")
        extensions.write_text(f"{USAGE}\n{self.names}\n")
        key = self._file(f"{name}.key")
        run("openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request)
        run(
            *("openssl", "x509", "-req", "-in", request, "-days", "2", "-extfile", extensions),
            *("-CA", self._file("ca.crt"), "-CAkey", self._file("ca.key"), "-CAcreateserial"),
            *("-out", self._file(f"{name}.crt")),
        )

    def key_pair(self, name: str) -> dict[str, str]:
        """A key pair, as a kubeconfig wants it."""
        return {
            "client-certificate-data": _base64(self._file(f"{name}.crt")),
            "client-key-data": _base64(self._file(f"{name}.key")),
        }

    def _make_key(self, name: str) -> None:
        curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        run("openssl", "genpkey", *curve, "-out", self._file(f"{name}.key"))

    def _file(self, name: str) -> Path:
        return self.folder / name


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
