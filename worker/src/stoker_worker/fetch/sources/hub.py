"""hf://ORG/NAME: `huggingface_hub` resolves and lists, our reader fetches.

The library's requests go through our reader too, so its redirects are judged like all others. It
writes no cache, tells nobody about us, and after the files are there nobody needs it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from urllib.parse import quote

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.listing import Listing, RemoteFile
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.http import Ask, Reader
from stoker_worker.fetch.sources.paths import checked
from stoker_worker.fetch.sources.secrets import Secret

# Read when the library is imported: no telemetry, no token of whoever built the image, and not
# offline because the engine is.
os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_IMPLICIT_TOKEN="1",  # noqa: S106 - a switch
    HF_HUB_OFFLINE="0",
)

import httpx2  # what huggingface_hub takes as its client, in its version
import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}\Z")
_ONE = threading.Lock()  # the library has one client for the whole process


class HubSource:
    """A repository of a hub that speaks Hugging Face's API."""

    def __init__(self, config: FetchConfig, reader: Reader, secret: Secret) -> None:
        self._repo = _repository(config.uri)
        self._endpoint = config.hub.rstrip("/")
        self._revision = config.revision or "main"
        self._reader = reader
        self._secret = secret
        self._commit = config.revision if _COMMIT.match(config.revision) else ""
        if not _REVISION.match(self._revision) or ".." in self._revision:
            raise SourceError(
                FetchReason.SOURCE_INVALID,
                "the revision of an hf:// source is a branch, a tag or a commit, without blanks",
            )

    def list(self) -> Listing:
        """Ask for the commit that the revision names now, and for its files."""
        token = self._secret.get("HF_TOKEN", "token")
        with _ONE:
            huggingface_hub.set_client_factory(
                lambda: httpx2.Client(transport=_Guarded(self._reader, self._repo), trust_env=False)
            )
            try:
                found = huggingface_hub.HfApi(
                    endpoint=self._endpoint, token=token or False
                ).model_info(self._repo, revision=self._revision, files_metadata=True)
            except HfHubHTTPError as error:
                raise self._refused(error, token) from None
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise self._unreadable(type(error).__name__) from None
        if not found.sha or not _COMMIT.match(found.sha):
            raise self._unreadable("no commit")
        self._commit = found.sha
        files = []
        for entry in found.siblings or ():
            size = entry.lfs.size if entry.lfs else entry.size
            if size is None:
                raise self._unreadable("a file without a size")
            # The blob of a file in LFS is its pointer.
            sha256, blob = (entry.lfs.sha256, None) if entry.lfs else (None, entry.blob_id)
            files.append(RemoteFile(entry.rfilename, size, sha256, blob))
        files.sort(key=lambda file: file.path)
        return checked(found.sha, files, f"hf://{self._repo}")

    def read(
        self, file: RemoteFile, start: int, end: int | None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a part of a file at the listed commit."""
        token = self._secret.get("HF_TOKEN", "token")
        ask = Ask(
            url=f"{self._endpoint}/{self._repo}/resolve/{self._commit}/{quote(file.path)}",
            what=f"{file.path} of {self._repo}",
            secrets={"Authorization": f"Bearer {token}"} if token else {},
        )
        return self._reader.bytes(ask, start, end, file.size)

    def _refused(self, error: HfHubHTTPError, token: str) -> SourceError:
        status = error.response.status_code if error.response is not None else 0
        model = f"{self._repo} on {self._endpoint.partition('://')[2]}"
        if isinstance(error, GatedRepoError):
            return SourceError(
                FetchReason.UNAUTHORIZED,
                f"{model} is gated: accept its terms there with the account that the token belongs "
                "to" + ("" if token else ", and put that token into the Secret as HF_TOKEN"),
            )
        if isinstance(error, RevisionNotFoundError):
            return SourceError(
                FetchReason.REVISION_NOT_FOUND,
                f"{model} has no revision {self._revision}: name a branch, a tag or a commit",
            )
        if status in {401, 403}:
            return SourceError(
                FetchReason.UNAUTHORIZED,
                f"{model}: the token in the Secret (HF_TOKEN) is not valid or may not read this "
                "model"
                if token
                else f"{model} does not exist, or is private: check the name, or put a token that "
                "may read it into the Secret as HF_TOKEN",
            )
        if isinstance(error, RepositoryNotFoundError) or status == 404:
            return SourceError(
                FetchReason.SOURCE_NOT_FOUND,
                f"{model} does not exist" + (", or the token may not see it" if token else ""),
            )
        return SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"{model}: the hub answers HTTP {status}",
            passes=status >= 500,
        )

    def _unreadable(self, what: str) -> SourceError:
        return SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"{self._endpoint.partition('://')[2]} answers about {self._repo} with something that "
            f"is no list of files ({what}): check that the endpoint is a hub",
        )


class _Guarded(httpx2.BaseTransport):
    """Carries the library's requests through our reader."""

    def __init__(self, reader: Reader, what: str) -> None:
        self._reader = reader
        self._what = what

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        token = request.headers.get("Authorization")
        ask = Ask(
            url=str(request.url),
            what=self._what,
            headers={"Accept": "application/json"},
            secrets={"Authorization": token} if token else {},
        )
        with self._reader.open(ask) as answer:
            if answer.status in {408, 429} or answer.status >= 500:
                raise self._reader.refused(ask, answer)
            return httpx2.Response(
                answer.status, headers=dict(answer.headers), content=answer.page()
            )


def _repository(uri: str) -> str:
    path = uri.removeprefix("hf://").rstrip("/")
    parts = path.split("/")
    if len(parts) > 2 or not all(_PART.match(part) and ".." not in part for part in parts):
        raise SourceError(
            FetchReason.SOURCE_INVALID,
            f"{uri[:100]!r}: write hf://ORGANIZATION/NAME, and a branch, tag or commit as the "
            "revision",
        )
    return path
