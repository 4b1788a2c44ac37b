"""Whom an aggregated API trusts: the front proxy of the cluster's API server, and nobody else.

The API server publishes in the ConfigMap `kube-system/extension-apiserver-authentication` which
authority signs its front proxy's certificate, and under which names. A connection without such a
certificate ends in the handshake.
"""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.errors import StokerError
from stoker.external.certificates import KeyPair

CONFIG_MAP: Final = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """The authority's certificates (PEM), and the common names; no names: any that it signed."""

    authority: str
    names: tuple[str, ...]

    def allows(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a verified client certificate (as `ssl` shows it) is the front proxy's."""
        if certificate is None:
            return False
        subject = [pair for part in certificate.get("subject", ()) for pair in part]
        return not self.names or any(
            key == "commonName" and value in self.names for key, value in subject
        )


def front_proxy_of(config_map: Mapping[str, Any]) -> FrontProxy:
    """Read the ConfigMap; `StokerError` where the API server has no front proxy."""
    data = config_map.get("data") or {}
    authority = str(data.get("requestheader-client-ca-file") or "")
    if not authority.strip():
        raise StokerError(
            "the API server names no authority for its front proxy: start it with "
            "--requestheader-client-ca-file, as aggregated APIs need"
        )
    try:
        names = json.loads(data.get("requestheader-allowed-names") or "[]")
    except ValueError as error:
        raise StokerError(
            f"{CONFIG_MAP}: requestheader-allowed-names is not a JSON list"
        ) from error
    if not isinstance(names, list):
        raise StokerError(f"{CONFIG_MAP}: requestheader-allowed-names is not a JSON list")
    return FrontProxy(authority, tuple(map(str, names)))


def make_context(trust: FrontProxy, keys: KeyPair) -> ssl.SSLContext:
    """TLS with our key pair that only clients of that authority get through.

    Raises `ssl.SSLError` where a file is not what its name says.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=trust.authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # Strict checks refuse authorities that Go, which made them, accepts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(*keys.files)
    return context
