"""A bucket that lets in who holds the key of one service account, as Google's storage does.

What a client proves is proven for real, by OpenSSL: lists need a token that the key signed (a JWT,
RS256), objects an address that it signed (V4). No token service is asked on the way.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from e2e.cluster.host import run
from tests.support.scripted import Asked, Reply, Route, Web, file

if TYPE_CHECKING:
    from collections.abc import Mapping

# Either lets a token read buckets.
_SCOPES = ("auth/devstorage.read_only", "auth/cloud-platform")
# The library signs for this host, wherever gcs_base_url leads.
_HOST = "storage.googleapis.com"
_ALGORITHM = "GOOG4-RSA-SHA256"


class Account:
    """A service account and its key."""

    def __init__(self, folder: Path, email: str = "reader@project.example") -> None:
        self.email = email
        self._key, self._public = folder / "account.key", folder / "account.pub"
        size = ("-pkeyopt", "rsa_keygen_bits:2048")
        run("openssl", "genpkey", "-algorithm", "RSA", *size, "-out", self._key)
        run("openssl", "pkey", "-in", self._key, "-pubout", "-out", self._public)

    def key_file(self, url: str, **more: Any) -> str:
        """What Google's console gives out as credentials.json, for another address."""
        told = {
            "type": "service_account",
            "private_key": self._key.read_text(),
            "private_key_id": "1",
            "client_email": self.email,
            "client_id": "1",
            "gcs_base_url": url,
        }
        return json.dumps(told | more)

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Whether the key signed this."""
        with tempfile.NamedTemporaryFile() as said, tempfile.NamedTemporaryFile() as proof:
            Path(said.name).write_bytes(text)
            Path(proof.name).write_bytes(signature)
            check = ("-sha256", "-verify", self._public, "-signature", proof.name, said.name)
            return run("openssl", "dgst", *check, check=False).returncode == 0


def listed(objects: Mapping[str, bytes]) -> Route:
    """Answer with a list of all objects, whoever asks."""
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f'<ETag>"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"</ETag>'
        f"<Size>{len(content)}</Size></Contents>"
        for key, content in objects.items()
    )
    body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    return lambda _: Reply(body=body.encode(), headers={"Content-Type": "application/xml"})


def bucket(web: Web, name: str, objects: Mapping[str, bytes], account: Account) -> None:
    """Serve objects to whoever holds the account's key."""
    listing = listed(objects)

    def answer(asked: Asked) -> Reply:
        if not _has_token(asked, account):
            return Reply(401, b"<Error><Code>AuthenticationRequired</Code></Error>")
        return listing(asked)

    web.routes[f"/{name}"] = answer
    for key, content in objects.items():
        web.routes[f"/{name}/{quote(key)}"] = _guarded(content, account)


def _guarded(content: bytes, account: Account) -> Route:
    give = file(content)

    def answer(asked: Asked) -> Reply:
        if not _is_signed(asked, account):
            return Reply(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        return give(asked)

    return answer


def _has_token(asked: Asked, account: Account) -> bool:
    kind, _, token = asked.headers.get("Authorization", "").partition(" ")
    said, _, signature = token.rpartition(".")
    if kind != "Bearer" or said.count(".") != 1:
        return False
    claims = json.loads(_decoded(said.partition(".")[2]))
    return (
        account.signed(said.encode(), _decoded(signature))
        and claims["iss"] == account.email
        and claims["scope"].endswith(_SCOPES)
        and claims["iat"] - 60 <= time.time() < claims["exp"]
    )


def _is_signed(asked: Asked, account: Account) -> bool:
    query = dict(asked.query)
    signature = bytes.fromhex(query.pop("X-Goog-Signature", ""))
    if not signature or query["X-Goog-Algorithm"] != _ALGORITHM:
        return False
    canonical = "\n".join(
        [
            asked.method,
            asked.path,
            "&".join(
                f"{quote(key, safe='')}={quote(query[key], safe='')}" for key in sorted(query)
            ),
            f"host:{_HOST}",
            "",
            "host",
            "UNSIGNED-PAYLOAD",
        ]
    )
    email, _, scope = query["X-Goog-Credential"].partition("/")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join([_ALGORITHM, query["X-Goog-Date"], scope, digest])
    began = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    until = began.timestamp() + int(query["X-Goog-Expires"])
    return (
        account.signed(text.encode(), signature) and email == account.email and time.time() < until
    )


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
