"""hf:// against a server that speaks the hub's interface, well and badly."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.source import Source, SourceError
from stoker_worker.fetch.sources import open_source
from tests.support.scripted import Reply, Route, Web, file, redirect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Serve = Callable[..., Web]
    Write = Callable[..., Path]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = b'{"model_type": "llama"}'
WEIGHTS = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
BLOB = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()  # noqa: S324 - git's
SIBLINGS = [
    {"rfilename": "config.json", "size": len(CONFIG), "blobId": BLOB},
    {
        "rfilename": "sub/model 1.safetensors",
        "size": len(WEIGHTS),
        "blobId": "f" * 40,
        "lfs": {"sha256": SHA256, "size": len(WEIGHTS), "pointerSize": 134},
    },
]
MODEL = "/api/models/org/name/revision/main"


def info(**changes: Any) -> Route:
    body = {"id": "org/name", "sha": COMMIT, "siblings": SIBLINGS} | changes
    return lambda _: Reply(body=json.dumps(body).encode())


def refusing(status: int, code: str = "", **headers: str) -> Route:
    told = {"X-Error-Code": code} if code else {}
    return lambda _: Reply(status, b"{}", told | headers)


def source(web: Web, secret_dir: Path, revision: str = "", uri: str = "hf://org/name") -> Source:
    config = FetchConfig(
        "fetch", uri, revision, hub=web.url, plain_hosts=["127.0.0.1", "127.0.0.2"]
    )
    return open_source(config, secret_dir=secret_dir)


def refused(web: Web, secret_dir: Path, revision: str = "") -> SourceError:
    with pytest.raises(SourceError) as error:
        source(web, secret_dir, revision).list()
    assert "s3cret" not in str(error.value)
    return error.value


def test_a_model_is_resolved_listed_and_read(serve: Serve, secret: Write) -> None:
    storage = serve({"/blob": file(WEIGHTS)}, host="127.0.0.2")
    root = f"/org/name/resolve/{COMMIT}"
    web = serve(
        {
            MODEL: info(),
            f"{root}/config.json": file(CONFIG),
            f"{root}/sub/model%201.safetensors": redirect(f"{storage.url}/blob?Signature=1"),
        }
    )
    opened = source(web, secret({"HF_TOKEN": "s3cret\n"}))
    listing = opened.list()
    assert listing.revision == COMMIT
    config, weights = listing.files
    assert (config.path, config.size, config.sha256, config.git_sha1) == (
        *("config.json", len(CONFIG)),
        *(None, BLOB),
    )
    assert (weights.path, weights.size, weights.sha256, weights.git_sha1) == (
        *("sub/model 1.safetensors", len(WEIGHTS)),
        *(SHA256, None),
    )
    with opened.read(config, 0, None) as pieces:
        assert b"".join(pieces) == CONFIG
    with opened.read(weights, 100, 200) as pieces:
        assert b"".join(pieces) == WEIGHTS[100:200]
    assert {asked.headers["Authorization"] for asked in web.asked} == {"Bearer s3cret"}
    assert "Authorization" not in storage.asked[0].headers
    assert web.asked[0].query == {"blobs": "true"}


def test_a_pinned_commit_is_read_without_asking_what_it_is(serve: Serve, tmp_path: Path) -> None:
    web = serve({f"/org/name/resolve/{COMMIT}/config.json": file(CONFIG)})
    web.routes[f"/api/models/org/name/revision/{COMMIT}"] = info()
    [config, _] = source(web, tmp_path, COMMIT).list().files
    later = source(web, tmp_path, COMMIT)
    with later.read(config, 0, None) as pieces:
        assert b"".join(pieces) == CONFIG
    assert len(web.asked) == 2
    assert all("Authorization" not in asked.headers for asked in web.asked)


def test_a_model_without_an_organization_has_a_name_too(serve: Serve, tmp_path: Path) -> None:
    web = serve({"/api/models/gpt2/revision/refs%2Fpr%2F1": info()})
    assert source(web, tmp_path, "refs/pr/1", "hf://gpt2").list().revision == COMMIT


@pytest.mark.parametrize(
    ("route", "keys", "reason", "said"),
    [
        (refusing(401, "RepoNotFound"), {}, FetchReason.UNAUTHORIZED, "or is private"),
        (
            refusing(401, "RepoNotFound"),
            {"token": "s3cret"},
            FetchReason.UNAUTHORIZED,
            "is not valid or may not read",
        ),
        (refusing(403, "GatedRepo"), {}, FetchReason.UNAUTHORIZED, "accept its terms"),
        (refusing(403), {"HF_TOKEN": "s3cret"}, FetchReason.UNAUTHORIZED, "may not read"),
        (
            refusing(404, "RevisionNotFound"),
            {},
            FetchReason.REVISION_NOT_FOUND,
            "has no revision main",
        ),
        (refusing(404, "RepoNotFound"), {}, FetchReason.SOURCE_NOT_FOUND, "does not exist"),
        (refusing(404), {"HF_TOKEN": "s3cret"}, FetchReason.SOURCE_NOT_FOUND, "may not see"),
        (lambda _: Reply(body=b"<html>"), {}, FetchReason.SOURCE_UNREACHABLE, "is a hub"),
        (lambda _: Reply(body=b"[]"), {}, FetchReason.SOURCE_UNREACHABLE, "is a hub"),
        (info(sha="main"), {}, FetchReason.SOURCE_UNREACHABLE, "no commit"),
        (
            info(siblings=[{"rfilename": "a"}]),
            {},
            FetchReason.SOURCE_UNREACHABLE,
            "without a size",
        ),
        (
            info(siblings=[{"rfilename": "../../etc/x", "size": 1, "blobId": BLOB}]),
            {},
            FetchReason.SOURCE_INVALID,
            "leaves its folder",
        ),
        (info(siblings=[]), {}, FetchReason.NO_MODEL, "no files"),
        (
            redirect("http://169.254.169.254/latest"),
            {"HF_TOKEN": "s3cret"},
            FetchReason.SOURCE_FORBIDDEN,
            "without TLS",
        ),
    ],
)
def test_what_is_wrong_is_said(
    serve: Serve, secret: Write, route: Route, keys: dict[str, str], reason: str, said: str
) -> None:
    error = refused(serve({MODEL: route}), secret(keys))
    assert error.reason == reason
    assert said in error.message
    assert not error.passes


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        (refusing(429, **{"Retry-After": "9"}), FetchReason.RATE_LIMITED),
        (refusing(429, RateLimit='"api";r=0;t=9'), FetchReason.RATE_LIMITED),
        (refusing(503, **{"Retry-After": "9"}), FetchReason.RATE_LIMITED),
        (refusing(500, **{"Retry-After": "9"}), FetchReason.SOURCE_UNREACHABLE),
    ],
)
def test_a_hub_that_is_busy_says_until_when(
    serve: Serve, tmp_path: Path, route: Route, reason: str
) -> None:
    error = refused(serve({MODEL: route}), tmp_path)
    assert (error.reason, error.passes) == (reason, True)
    assert error.retry_at is not None


def test_a_hub_that_leads_elsewhere_gets_no_token_there(serve: Serve, secret: Write) -> None:
    other = serve({MODEL: info()}, host="127.0.0.2")
    web = serve({MODEL: redirect(f"{other.url}{MODEL}")})
    assert source(web, secret({"HF_TOKEN": "s3cret"})).list().revision == COMMIT
    assert "Authorization" in web.asked[0].headers
    assert "Authorization" not in other.asked[0].headers


def test_a_token_with_a_line_break_in_it_is_named(serve: Serve, secret: Write) -> None:
    error = refused(serve({MODEL: info()}), secret({"HF_TOKEN": "s3cret\r\nX-Evil: 1"}))
    assert error.reason == FetchReason.UNAUTHORIZED
    assert "HF_TOKEN" in error.message


def test_nothing_is_written_beside_the_model(serve: Serve, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    web = serve({MODEL: info()})
    script = (
        "from stoker_worker.cachecontract import FetchConfig as C\n"
        "from stoker_worker.fetch.sources import open_source\n"
        f"c = C('fetch', 'hf://org/name', hub={web.url!r}, plain_hosts=['127.0.0.1'])\n"
        "print(open_source(c).list().revision)"
    )
    environ = {"HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin"}
    found = subprocess.run(  # noqa: S603 - a program of the test
        [sys.executable, "-B", "-c", script],
        cwd=home,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (found.stdout.strip(), found.stderr) == (COMMIT, "")
    assert list(home.rglob("*")) == []
    # No telemetry either: one question, and no word about what machine asks it.
    [asked] = web.asked
    assert asked.headers["User-Agent"] == "stoker"


@pytest.mark.parametrize(
    ("uri", "revision"),
    [
        ("hf://", ""),
        ("hf://a/b/c", ""),
        ("hf://../b", ""),
        ("hf://a/b@main", ""),
        ("hf://a/..", ""),
        ("hf://a/b?x=1", ""),
        ("hf://a/b", "../../other"),
        ("hf://a/b", "a b"),
        ("ftp://a/b", ""),
        ("a/b", ""),
        ("file:///etc", ""),
    ],
)
def test_an_address_that_cannot_be_is_refused_at_once(
    tmp_path: Path, uri: str, revision: str
) -> None:
    with pytest.raises(SourceError) as error:
        open_source(FetchConfig("fetch", uri, revision), secret_dir=tmp_path)
    assert error.value.reason == FetchReason.SOURCE_INVALID
