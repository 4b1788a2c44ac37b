"""https://HOST/ARCHIVE: an archive of a model's folder, known by its sha256.

A web server says nothing of what it has, so the address comes with a digest: the revision is
`sha256:HEX`, and nothing that has another digest is taken. One file is no model, and is refused by
its name before anybody is asked for it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from urllib.parse import unquote, urlsplit

from stoker_worker.cachecontract import RESOLVE, FetchConfig, FetchReason
from stoker_worker.fetch.listing import Listing, RemoteFile
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.addresses import origin_of
from stoker_worker.fetch.sources.blobs import GZIP, PLAIN, ZSTD, Blob
from stoker_worker.fetch.sources.http import Ask, Reader
from stoker_worker.fetch.sources.packed import Packed
from stoker_worker.fetch.sources.paths import checked, shown, wrong_with
from stoker_worker.fetch.sources.secrets import Secret
from stoker_worker.fetch.sources.zips import Zipped

_SHA256 = re.compile(r"sha256:([0-9a-f]{64})\Z")
_LENGTH = re.compile(r"\d{1,18}\Z")
_PACKINGS = {
    ".tar": PLAIN,
    ".tar.gz": GZIP,
    ".tgz": GZIP,
    ".tar.zst": ZSTD,
    ".tzst": ZSTD,
    ".zip": PLAIN,  # each member has its own
}
_INSTEAD = (
    "name an archive (.tar, .tar.gz, .tar.zst, .zip) of the folder with config.json, tokenizer and "
    "safetensors files; best is .tar, because weights hardly shrink"
)


class WebSource:
    """What is in an archive of a web server."""

    def __init__(self, config: FetchConfig, reader: Reader, secret: Secret) -> None:
        digest = _SHA256.match(config.revision)
        if not digest:
            raise SourceError(
                FetchReason.SOURCE_INVALID,
                "an https:// source needs its digest as the revision: write sha256: and the 64 "
                "digits that `sha256sum FILE` prints",
            )
        origin = origin_of(config.uri)
        self._name = unquote(urlsplit(config.uri).path).rpartition("/")[2]
        if wrong_with(self._name):
            raise SourceError(
                FetchReason.SOURCE_INVALID,
                f"the address on {origin} ends with {shown(self._name)!r}, which names no file",
            )
        self._packing = _packing_of(self._name)
        self._revision = config.revision
        self._sha256 = digest[1]
        self._where = f"https://{origin}/…/{self._name}"
        self._ask = Ask(config.uri.partition("#")[0], self._where, secrets=self._headers)
        self._look = config.task == RESOLVE
        self._reader = reader
        self._secret = secret
        self._packed: Packed | Zipped | None = None

    def list(self) -> Listing:
        """Ask how large the archive is, and read what is in it."""
        blob = Blob(self._ask, self._size(), self._sha256, self._packing)
        packed: Packed | Zipped
        if self._name.endswith(".zip"):
            packed = Zipped(blob, self._reader, self._where, look=self._look)
        else:
            packed = Packed([blob], self._reader, self._where, image=False, look=self._look)
        listing = checked(self._revision, packed.list(), self._where)
        self._packed = packed
        return listing

    def read(
        self, file: RemoteFile, start: int, end: int | None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a part of a file in the archive."""
        assert self._packed is not None, "nothing was listed"  # noqa: S101
        return self._packed.read(file, start, end)

    def _size(self) -> int:
        """Begin to read, and leave once the length is known: not all who sign a GET sign a HEAD."""
        with self._reader.open(self._ask) as answer:
            if answer.status != 200:
                raise self._reader.refused(self._ask, answer)
            length = answer.headers.get("Content-Length", "").strip()
        if not _LENGTH.match(length):
            raise SourceError(
                FetchReason.SOURCE_INVALID,
                f"{self._where}: the server does not say how large the file is",
            )
        return int(length)

    def _headers(self) -> Mapping[str, str]:
        token = self._secret.get("token")
        if token:
            return {"Authorization": f"Bearer {token}"}
        user, password = self._secret.get("username"), self._secret.get("password")
        if not user:
            return {}
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}


def _packing_of(name: str) -> str:
    """How an archive is packed; SourceError for what is none, with words for what it may be."""
    for ending, packing in _PACKINGS.items():
        if name.endswith(ending):
            return packing
    lower = name.lower()
    if lower.endswith(".gguf"):
        why = "GGUF is a format that no engine here loads"
    elif lower.endswith(".safetensors"):
        why = "weights alone cannot be served, as an engine needs config.json and a tokenizer too"
    elif lower.endswith((".tar.xz", ".tar.bz2", ".rar", ".7z")):
        why = "of archives, .tar, .tar.gz, .tar.zst and .zip are read"
    else:
        why = "one file of a web server is no model"
    raise SourceError(FetchReason.SOURCE_INVALID, f"{shown(name)}: {why}; {_INSTEAD}")
