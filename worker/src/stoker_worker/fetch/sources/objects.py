"""s3://BUCKET/PREFIX and gs://BUCKET/PREFIX: `obstore` lists and signs, our reader fetches.

A listing goes through our relay, and bytes come from signed addresses through our reader, so both
are judged like everything else. Without keys, a bucket is read as anybody may read it: the library
is never left to look for a node's credentials by itself.

A bucket has no commit. The revision is a digest over each object's path, size and ETag, and an
object that has another ETag when it is read is not the one that was listed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import GCSStore, S3Store

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.listing import Listing, RemoteFile
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.http import Ask, Reader
from stoker_worker.fetch.sources.paths import checked, wrong_with
from stoker_worker.fetch.sources.relay import relay
from stoker_worker.fetch.sources.secrets import Secret

_SIGNED_FOR = timedelta(hours=1)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]\Z")
_REGION = re.compile(r"[a-z0-9-]{1,64}\Z")
# The library tells a status only in its words.
_LIMITED = re.compile(r"\b(429 Too Many Requests|503 Service Unavailable|SlowDown)\b")
_NOT_THERE = re.compile(r"\b(404 Not Found|NoSuchBucket)\b")
_NO_RIGHT = re.compile(r"\b(401 Unauthorized|403 Forbidden|invalid_grant)\b")

Store = S3Store | GCSStore
Entry = tuple[str, int, str]  # path below the prefix, size in bytes, ETag or version


@dataclass(frozen=True)
class _S3:
    bucket: str
    endpoint: str
    region: str
    key: str
    secret_key: str
    session: str

    keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

    @property
    def where(self) -> str:
        return self.endpoint.partition("://")[2]

    @property
    def anonymous(self) -> bool:
        return not self.key

    def store(self, options: Mapping[str, Any]) -> Store:
        config: dict[str, Any] = {"endpoint": self.endpoint, "region": self.region}
        if self.anonymous:
            config["skip_signature"] = True
        else:
            config |= {"access_key_id": self.key, "secret_access_key": self.secret_key}
        if self.session:
            config["session_token"] = self.session
        return S3Store(self.bucket, config=config, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Gcs:
    bucket: str
    endpoint: str
    account: str  # a service account's key file, as JSON
    open: bool  # the file says that its server wants no keys

    keys = "credentials.json, the key of a service account"

    @property
    def where(self) -> str:
        return self.endpoint.partition("://")[2]

    @property
    def anonymous(self) -> bool:
        return not self.account or self.open

    def store(self, options: Mapping[str, Any]) -> Store:
        if not self.account:
            return GCSStore(self.bucket, config={"skip_signature": True}, **options)
        return GCSStore(self.bucket, config={"service_account_key": self.account}, **options)


_Door = _S3 | _Gcs


class ObjectSource:
    """The objects below a prefix of a bucket."""

    def __init__(self, config: FetchConfig, reader: Reader, secret: Secret, ca_file: Path) -> None:
        self._uri = config.uri
        self._bucket, self._prefix = _place(config.uri)
        self._revision = config.revision
        self._endpoint = config.object_endpoint
        self._reader = reader
        self._secret = secret
        self._authorities = ca_file.read_text() if ca_file.is_file() else ""
        self._etags: dict[str, str] = {}

    def list(self) -> Listing:
        """List what is below the prefix now; its revision must be the pinned one, if any is."""
        door = self._door()
        self._reader.judged(door.endpoint)
        entries = self._entries(door)
        folders = {path.rpartition("/")[0] for path, _, _ in entries}
        # Consoles make empty objects where people see folders.
        kept = sorted(e for e in entries if e[0] and (e[1] or e[0] not in folders))
        if not kept:
            raise SourceError(FetchReason.SOURCE_NOT_FOUND, f"{self._uri}: nothing is there")
        told = "\n".join(f"{path}\0{size}\0{etag}" for path, size, etag in kept)
        revision = f"listing:{hashlib.sha256(told.encode()).hexdigest()}"
        if self._revision not in {"", revision}:
            raise SourceError(
                FetchReason.REVISION_NOT_FOUND,
                f"{self._uri} has changed since it was pinned: leave the revision out to take what "
                "is there now",
            )
        self._etags = {path: etag for path, _, etag in kept}
        return checked(revision, (RemoteFile(path, size) for path, size, _ in kept), self._uri)

    def read(
        self, file: RemoteFile, start: int, end: int | None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a part of an object."""
        key = f"{self._prefix}/{file.path}" if self._prefix else file.path
        etag = self._etags[file.path]
        ask = Ask(
            url=self._address(key),
            what=f"{file.path} of {self._uri}",
            headers={"If-Match": etag} if etag and self._uri.startswith("s3://") else {},
            expected={"ETag": etag} if etag else {},
        )
        return self._reader.bytes(ask, start, end, file.size)

    def _address(self, key: str) -> str:
        door = self._door()
        if door.anonymous:
            return f"{door.endpoint}/{self._bucket}/{quote(key)}"
        try:
            # Of Google's, the library takes a name as it stands in an address: '#' would end it.
            name = key if isinstance(door, _S3) else quote(key)
            return obstore.sign(door.store({}), "GET", name, _SIGNED_FOR)
        except BaseError:
            raise SourceError(
                FetchReason.UNAUTHORIZED,
                f"{self._uri}: no address can be signed with the Secret's keys: it needs "
                f"{door.keys}",
            ) from None

    def _entries(self, door: _Door) -> Sequence[Entry]:
        with relay(self._reader) as way:
            options: dict[str, Any] = {"proxy_url": way.url, "timeout": timedelta(seconds=60)}
            if self._authorities:
                options["root_certificate"] = self._authorities
            if door.endpoint.startswith("http://"):
                options["allow_http"] = True
            try:
                store = door.store({"client_options": options, "retry_config": {"max_retries": 2}})
                found = obstore.list(store, self._prefix or None, chunk_size=1000)
                metas = [meta for chunk in found for meta in chunk]
            except (BaseError, ValueError) as error:
                raise way.refused or self._refused(error, door) from None
        cut = len(self._prefix) + 1 if self._prefix else 0
        return [
            (meta["path"][cut:], meta["size"], meta["e_tag"] or meta["version"] or "")
            for meta in metas
        ]

    def _refused(self, error: Exception, door: _Door) -> SourceError:
        said = str(error)
        place = f"{self._uri} on {door.where}"
        if isinstance(error, NotFoundError) or _NOT_THERE.search(said):
            return SourceError(FetchReason.SOURCE_NOT_FOUND, f"{place}: there is no such bucket")
        denied = isinstance(error, PermissionDeniedError | UnauthenticatedError)
        if denied or _NO_RIGHT.search(said):
            todo = f"give it {door.keys}" if door.anonymous else "check that its keys may list it"
            return SourceError(
                FetchReason.UNAUTHORIZED, f"{place} may not be listed with this Secret: {todo}"
            )
        if _LIMITED.search(said):
            return SourceError(
                FetchReason.RATE_LIMITED, f"{place} limits how much it answers", passes=True
            )
        return SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"{place} gives no list of objects that can be read",
            passes=True,
        )

    def _door(self) -> _Door:
        return self._s3() if self._uri.startswith("s3://") else self._gcs()

    def _s3(self) -> _S3:
        get = self._secret.get
        region = get("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
        if not _REGION.match(region):
            raise SourceError(FetchReason.UNAUTHORIZED, "the Secret's AWS_REGION is no region")
        own = get("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or self._endpoint
        key, secret_key = get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")
        if bool(key) != bool(secret_key):
            raise SourceError(
                FetchReason.UNAUTHORIZED, f"the Secret has one of {_S3.keys} without the other"
            )
        endpoint = (own or f"https://s3.{region}.amazonaws.com").rstrip("/")
        return _S3(self._bucket, endpoint, region, key, secret_key, get("AWS_SESSION_TOKEN"))

    def _gcs(self) -> _Gcs:
        account = self._secret.get("credentials.json")
        if not account:
            return _Gcs(self._bucket, "https://storage.googleapis.com", "", open=True)
        try:
            told = json.loads(account)
            good = (
                told["type"] == "service_account" and told["private_key"] and told["client_email"]
            )
        except (ValueError, TypeError, KeyError):
            good = False
        if not good:
            raise SourceError(
                FetchReason.UNAUTHORIZED,
                "the Secret's credentials.json is not the key file of a service account (type, "
                "private_key, client_email)",
            )
        endpoint = str(told.get("gcs_base_url") or "https://storage.googleapis.com").rstrip("/")
        return _Gcs(self._bucket, endpoint, account, open=told.get("disable_oauth") is True)


def _place(uri: str) -> tuple[str, str]:
    bucket, _, prefix = uri.partition("://")[2].partition("/")
    prefix = prefix.rstrip("/")
    if not _BUCKET.match(bucket) or ".." in bucket or (prefix and wrong_with(prefix)):
        raise SourceError(
            FetchReason.SOURCE_INVALID,
            f"{uri[:100]!r}: write {uri[:2]}://BUCKET/FOLDER, without '..' and empty parts",
        )
    return bucket, prefix
