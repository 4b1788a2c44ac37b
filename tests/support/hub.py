"""A Hugging Face hub on this machine: the API as huggingface_hub 2.x uses it, before real files.

Two servers, as in the real one: the hub lists and resolves, and what is large (LFS) is answered by
a redirect to another host, where a signature in the address stands for the token. That host refuses
a request that brings a token as well, as S3 does.

`python -m tests.support.hub FOLDER` serves each folder below FOLDER as `models/NAME`, in a process
of its own, and prints its address.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from tests.support.authority import Authority
from tests.support.repositories import Blob, Repository, entries_of
from tests.support.web import Answer, Request, WebServer

SIGNATURE_SECONDS = 3600
MAIN = "main"
# A range of loopback addresses makes two hosts of one machine.
HUB_HOST, CDN_HOST = "127.0.0.1", "127.0.0.2"

_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>[a-z-]+)(?:/(?P<rest>.*))?)?$")
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")
_CACHED = re.compile(
    r"/api/resolve-cache/models/(?P<repo>[^/]+/[^/]+)/(?P<revision>[^/]+)/(?P<path>.+)$"
)


class Hub:
    """Hub and CDN; `with Hub() as hub`, then `hub.add(…)` and `hub.url`.

    Parameters
    ----------
    host, cdn_host
        Addresses of the two; the same host works too, on two ports.
    port, cdn_port
        0 takes a free one.
    authority
        Keys for both; None: no TLS.
    """

    def __init__(
        self,
        host: str = HUB_HOST,
        cdn_host: str = CDN_HOST,
        authority: Authority | None = None,
        port: int = 0,
        cdn_port: int = 0,
    ) -> None:
        self.repositories: dict[str, Repository] = {}
        self.tokens: set[str] = set()
        """Tokens of somebody; every other one is refused."""
        self.page_size = 1000
        self._secret = b"only this process knows"
        self._valid_from = 0
        self._issued = 0
        self.hub = WebServer(self._answer, host, port, authority)
        self.cdn = WebServer(self._deliver, cdn_host, cdn_port, authority)

    # -- what is there -----------------------------------------------------------------------------

    def add(
        self, repo: str, folder: Path, branch: str = MAIN, digests: dict[str, str] | None = None
    ) -> str:
        """Commit all files of a folder to a branch; return the commit."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = {path.relative_to(folder).as_posix(): path for path in files}
        known = digests or {}
        return self.commit(
            repo, {name: Blob.of(path, known.get(name, "")) for name, path in names.items()}, branch
        )

    def commit(self, repo: str, tree: dict[str, Blob], branch: str = MAIN) -> str:
        """Commit a tree that may also hold paths that no folder could."""
        told = json.dumps([repo, [(name, blob.oid) for name, blob in sorted(tree.items())]])
        commit = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        repository = self.repositories.setdefault(repo, Repository())
        repository.commits[commit] = tree
        repository.branches[branch] = commit
        return commit

    @property
    def url(self) -> str:
        """What a client takes as its endpoint."""
        return self.hub.url

    @property
    def hosts(self) -> list[str]:
        """HOST:PORT of both, for who has to allow them."""
        return [self.hub.netloc, self.cdn.netloc]

    def sent(self) -> int:
        """Bytes of bodies that went out, from both."""
        return self.hub.sent() + self.cdn.sent()

    def forget(self) -> None:
        """Begin new records."""
        self.hub.forget()
        self.cdn.forget()

    def expire_signatures(self) -> None:
        """Let every address that was given out until now be refused."""
        self._valid_from = self._issued + 1

    def stop(self) -> None:
        """Both go; files stay."""
        self.hub.stop()
        self.cdn.stop()

    def start(self) -> None:
        """Both come back at their addresses, after `stop`."""
        self.hub.start()
        self.cdn.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- the hub -----------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        token = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            return _refusal(401, "", "Invalid credentials in Authorization header")
        if found := _RESOLVE.match(request.bare):
            return self._resolve(found, token)
        if found := _CACHED.match(request.bare):
            return self._small(found, token)
        if found := _API.match(request.bare):
            return self._api(request, found, token)
        return _refusal(404, "", "Not Found")

    def _repository(self, name: str, token: str) -> Repository | Answer:
        repository = self.repositories.get(name)
        hidden = repository and repository.private and token not in repository.readers
        if repository is None or hidden:
            # Who is nobody is not told whether it exists.
            return _refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        return repository

    def _api(self, request: Request, found: re.Match[str], token: str) -> Answer:
        name, what, rest = found["repo"], found["what"], found["rest"] or ""
        repository = self._repository(name, token)
        if isinstance(repository, Answer):
            return repository
        if what == "refs":
            return _refs(repository)
        query = parse_qs(urlsplit(request.path).query)
        revision, _, below = rest.partition("/")
        commit = repository.find(unquote(revision) or MAIN)
        if commit is None:
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {unquote(revision)}")
        tree = repository.commits[commit]
        if what in {None, "revision"}:
            blobs = "blobs" in query
            return Answer.json(
                {
                    "_id": commit[:24],
                    "id": name,
                    "modelId": name,
                    "sha": commit,
                    "private": repository.private,
                    "gated": "manual" if repository.gated else False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                    "lastModified": "2026-01-01T00:00:00.000Z",
                    "createdAt": "2026-01-01T00:00:00.000Z",
                    "siblings": [blob.sibling(path, blobs=blobs) for path, blob in tree.items()],
                }
            )
        if what == "tree":
            return self._tree(request, tree, unquote(below).strip("/"), query)
        if what == "paths-info":
            wanted = parse_qs(request.body.decode()).get("paths", [])
            return Answer.json([tree[path].listed(path) for path in wanted if path in tree])
        return _refusal(404, "", "Not Found")

    def _tree(
        self, request: Request, tree: dict[str, Blob], below: str, query: dict[str, list[str]]
    ) -> Answer:
        recursive = query.get("recursive", ["false"])[0].lower() in {"true", "1"}
        entries = list(entries_of(tree, below, recursive=recursive))
        if below and not entries:
            return _refusal(404, "EntryNotFound", "Entry not found")
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + self.page_size < len(entries):
            following = {"cursor": str(start + self.page_size), "recursive": str(recursive)}
            headers["Link"] = f'<{self.url}{request.bare}?{urlencode(following)}>; rel="next"'
        return Answer.json(entries[start : start + self.page_size], headers)

    def _blob(self, found: re.Match[str], token: str) -> tuple[Blob, str] | Answer:
        repository = self._repository(found["repo"], token)
        if isinstance(repository, Answer):
            return repository
        if repository.gated and token not in repository.readers:
            words = f"Access to model {found['repo']} is restricted."
            return _refusal(403 if token else 401, "GatedRepo", words)
        revision, path = unquote(found["revision"]), unquote(found["path"])
        commit = repository.find(revision)
        if commit is None:
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        blob = repository.commits[commit].get(path)
        if blob is None:
            return _refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        return blob, commit

    def _resolve(self, found: re.Match[str], token: str) -> Answer:
        answer = self._blob(found, token)
        if isinstance(answer, Answer):
            return answer
        blob, commit = answer
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(blob.size),
            "X-Linked-ETag": blob.etag,
            "Vary": "Origin",
        }
        if blob.pointer_size:
            return Answer(302, b"", {**headers, "Location": self._signed(found["repo"], blob)})
        path = quote(unquote(found["path"]))
        there = f"/api/resolve-cache/models/{found['repo']}/{commit}/{path}"
        return Answer(307, b"", {**headers, "Location": f"{there}?etag={quote(blob.etag)}"})

    def _small(self, found: re.Match[str], token: str) -> Answer:
        answer = self._blob(found, token)
        if isinstance(answer, Answer):
            return answer
        blob, commit = answer
        return Answer(200, blob.file, {"X-Repo-Commit": commit, "ETag": blob.etag})

    # -- the CDN -----------------------------------------------------------------------------------

    def _signed(self, repo: str, blob: Blob) -> str:
        place = hashlib.sha256(repo.encode()).hexdigest()[:16]
        path = f"/repos/{place}/{blob.sha256}"
        self._issued += 1
        values = {"Expires": str(int(time.time()) + SIGNATURE_SECONDS), "Nonce": str(self._issued)}
        values["Signature"] = self._sign(path, values)
        return f"{self.cdn.url}{path}?{urlencode(values)}"

    def _sign(self, path: str, values: dict[str, str]) -> str:
        told = f"{path} {values.get('Expires')} {values.get('Nonce')}".encode()
        return hmac.new(self._secret, told, "sha256").hexdigest()

    def _deliver(self, request: Request) -> Answer:
        values = {k: v[0] for k, v in parse_qs(urlsplit(request.path).query).items()}
        if request.headers.get("Authorization"):
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        if not hmac.compare_digest(values.get("Signature", ""), self._sign(request.bare, values)):
            return _xml(403, "SignatureDoesNotMatch", "The signature does not match.")
        if int(values["Expires"]) < time.time() or int(values["Nonce"]) < self._valid_from:
            return _xml(403, "AccessDenied", "Request has expired")
        blob = self._by_digest(request.bare.rpartition("/")[2])
        if blob is None:
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        return Answer(200, blob.file, {"ETag": blob.etag, "Content-Type": "binary/octet-stream"})

    def _by_digest(self, sha256: str) -> Blob | None:
        trees = (t for r in self.repositories.values() for t in r.commits.values())
        return next((b for tree in trees for b in tree.values() if b.sha256 == sha256), None)


def _refs(repository: Repository) -> Answer:
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
        for name, commit in repository.branches.items()
    ]
    return Answer.json({"branches": branches, "converts": [], "tags": []})


def _refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    found = {**(headers or {}), "X-Error-Message": message}
    if code:
        found["X-Error-Code"] = code
    return Answer(status, json.dumps({"error": message}).encode(), found)


def _xml(status: int, code: str, message: str) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, text.encode(), {"Content-Type": "application/xml"})


@contextmanager
def serving(folder: Path, repo: str, **hub: Any) -> Iterator[Hub]:
    """A hub that has one repository."""
    with Hub(**hub) as made:
        made.add(repo, folder)
        yield made


def main() -> None:
    """Serve until somebody ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default=HUB_HOST)
    parser.add_argument("--cdn-host", default=CDN_HOST)
    options = parser.parse_args()
    with Hub(options.host, options.cdn_host) as hub:
        for folder in sorted(options.folder.iterdir()):
            hub.add(f"models/{folder.name}", folder)
        print(json.dumps({"url": hub.url, "hosts": hub.hosts}), flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
