"""s3:// against MinIO, and against servers that no honest storage would be."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources import open_source
from stoker_worker.fetch.sources.addresses import Address, Policy
from stoker_worker.fetch.sources.http import Reader
from stoker_worker.fetch.sources.relay import relay
from tests.support.authority import Authority
from tests.support.scripted import Reply, Route, Web, file, redirect
from tests.support.stores import ACCESS_KEY, REGION, SECRET_KEY, Minio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Serve = Callable[..., Web]
    Write = Callable[..., Path]

KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}
WEIGHTS = bytes(range(256)) * 10_000
FILES = {
    "config.json": b"{}",
    "sub/model 1+é&=#.safetensors": WEIGHTS,
    "empty.txt": b"",
}


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    with Minio(tmp_path_factory.mktemp("minio")) as running:
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def config(minio: Minio, uri: str, revision: str = "") -> FetchConfig:
    return FetchConfig(
        "fetch", uri, revision, object_endpoint=minio.url, plain_hosts=[minio.netloc]
    )


def refused(told: FetchConfig, secret_dir: Path, **places: Path) -> SourceError:
    with pytest.raises(SourceError) as error:
        open_source(told, secret_dir=secret_dir, **places).list()
    assert SECRET_KEY not in str(error.value)
    assert "Signature" not in str(error.value)
    return error.value


def test_a_bucket_is_listed_and_read(minio: Minio, model: Path, secret: Write) -> None:
    minio.put("models", "org/tiny", model)
    minio.put("models", "org/tiny-other", model)
    told = config(minio, "s3://models/org/tiny/")
    source = open_source(told, secret_dir=secret(KEYS))
    listing = source.list()
    assert {entry.path: entry.size for entry in listing.files} == {
        name: len(content) for name, content in FILES.items()
    }
    for entry in listing.files:
        with source.read(entry, 0, None) as pieces:
            assert b"".join(pieces) == FILES[entry.path]
    weights = next(entry for entry in listing.files if entry.size == len(WEIGHTS))
    with source.read(weights, 1000, 2_000_000) as pieces:
        assert b"".join(pieces) == WEIGHTS[1000:2_000_000]
    pinned = open_source(replace(told, revision=listing.revision), secret_dir=secret(KEYS))
    assert pinned.list() == listing


def test_a_whole_bucket_is_a_source_too(minio: Minio, model: Path, secret: Write) -> None:
    minio.put("whole", "a", model)
    paths = open_source(config(minio, "s3://whole"), secret_dir=secret(KEYS)).list().files
    assert {entry.path for entry in paths} == {f"a/{name}" for name in FILES}


def test_what_changed_is_not_what_was_pinned(minio: Minio, model: Path, secret: Write) -> None:
    minio.put("changing", "m", model)
    told = config(minio, "s3://changing/m")
    source = open_source(told, secret_dir=secret(KEYS))
    listing = source.list()
    weights = next(entry for entry in listing.files if entry.size == len(WEIGHTS))
    (model / weights.path).write_bytes(bytes(len(WEIGHTS)))
    minio.put("changing", "m", model)
    with pytest.raises(SourceError, match="has changed") as error, source.read(weights, 5, None):
        pytest.fail("opened")
    assert error.value.reason == FetchReason.DIGEST_MISMATCH
    error_now = refused(replace(told, revision=listing.revision), secret(KEYS))
    assert error_now.reason == FetchReason.REVISION_NOT_FOUND


@pytest.mark.parametrize(
    ("uri", "keys", "reason", "said"),
    [
        ("s3://private/m", {}, FetchReason.UNAUTHORIZED, "give it AWS_ACCESS_KEY_ID"),
        (
            "s3://private/m",
            KEYS | {"AWS_SECRET_ACCESS_KEY": "wrong"},
            FetchReason.UNAUTHORIZED,
            "check that its keys",
        ),
        (
            "s3://private/m",
            {"AWS_ACCESS_KEY_ID": "alone"},
            FetchReason.UNAUTHORIZED,
            "without the other",
        ),
        ("s3://private/none", KEYS, FetchReason.SOURCE_NOT_FOUND, "nothing is there"),
        ("s3://no-such-bucket/m", KEYS, FetchReason.SOURCE_NOT_FOUND, "no such bucket"),
    ],
)
def test_what_is_wrong_is_said(
    minio: Minio,
    model: Path,
    secret: Write,
    uri: str,
    keys: dict[str, str],
    reason: str,
    said: str,
) -> None:
    minio.put("private", "m", model)
    error = refused(config(minio, uri), secret(keys))
    assert (error.reason, error.passes) == (reason, False)
    assert said in error.message


def test_an_endpoint_of_the_secret_is_no_more_trusted_than_any(
    minio: Minio, secret: Write, serve: Serve
) -> None:
    web = serve({})
    told = replace(config(minio, "s3://private/m"), plain_hosts=[])
    error = refused(told, secret(KEYS | {"AWS_ENDPOINT_URL": web.url}))
    assert error.reason == FetchReason.SOURCE_FORBIDDEN
    assert not web.asked


def test_an_endpoint_that_is_gone_may_come_back(secret: Write) -> None:
    with Web({}) as gone:
        told = FetchConfig(
            "fetch", "s3://bucket/m", object_endpoint=gone.url, plain_hosts=[gone.address]
        )
    error = refused(told, secret(KEYS))
    assert (error.reason, error.passes) == (FetchReason.SOURCE_UNREACHABLE, True)


def listed(objects: Mapping[str, bytes], etag: str = '"e"') -> Route:
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>{etag}</ETag><Size>{len(content)}</Size></Contents>"
        for key, content in objects.items()
    )
    body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    return lambda _: Reply(body=body.encode(), headers={"Content-Type": "application/xml"})


def anonymous(web: Web, uri: str = "s3://bucket/m", **more: Any) -> FetchConfig:
    return FetchConfig("fetch", uri, object_endpoint=web.url, plain_hosts=["127.0.0.1"], **more)


def test_a_bucket_that_is_open_needs_no_secret(serve: Serve, tmp_path: Path) -> None:
    objects = {"m/config.json": b"{}", "m/sub/": b"", "m/": b"", "m/sub/x.safetensors": WEIGHTS}
    web = serve({"/bucket": listed(objects), "/bucket/m/sub/x.safetensors": file(WEIGHTS)})
    source = open_source(anonymous(web), secret_dir=tmp_path)
    [_, weights] = source.list().files
    assert weights.path == "sub/x.safetensors"
    with source.read(weights, 7, None) as pieces:
        assert b"".join(pieces) == WEIGHTS[7:]
    assert all("Authorization" not in asked.headers for asked in web.asked)


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/x", "https://169.254.169.254/x", "https://kubernetes/x"]
)
def test_a_storage_leads_nowhere_that_is_forbidden(
    serve: Serve, tmp_path: Path, target: str
) -> None:
    error = refused(anonymous(serve({"/bucket": redirect(target)})), tmp_path)
    assert error.reason == FetchReason.SOURCE_FORBIDDEN


def test_keys_do_not_follow_a_redirect(serve: Serve, secret: Write) -> None:
    other = serve({"/bucket": listed({"m/config.json": b"{}"})}, host="127.0.0.2")
    web = serve({"/bucket": redirect(f"{other.url}/bucket")})
    told = replace(anonymous(web), plain_hosts=["127.0.0.1", "127.0.0.2"])
    open_source(told, secret_dir=secret(KEYS | {"AWS_SESSION_TOKEN": "s3cret"})).list()
    for name in ("Authorization", "X-Amz-Security-Token"):
        assert name in web.asked[0].headers
        assert name not in other.asked[0].headers


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        (lambda _: Reply(503), FetchReason.RATE_LIMITED),
        (lambda _: Reply(500), FetchReason.SOURCE_UNREACHABLE),
        (lambda _: Reply(body=b"<html>"), FetchReason.SOURCE_UNREACHABLE),
    ],
)
def test_a_storage_that_fails_may_recover(
    serve: Serve, tmp_path: Path, route: Route, reason: str
) -> None:
    error = refused(anonymous(serve({"/bucket": route})), tmp_path)
    assert (error.reason, error.passes) == (reason, True)


def test_a_name_that_leaves_its_folder_is_refused(serve: Serve, tmp_path: Path) -> None:
    error = refused(anonymous(serve({"/bucket": listed({"m/../../x": b"1"})})), tmp_path)
    assert error.reason in {FetchReason.SOURCE_INVALID, FetchReason.SOURCE_UNREACHABLE}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    Authority(folder).make()
    return folder


def test_the_listing_goes_through_tls_and_stays_judged(authority: Path, tmp_path: Path) -> None:
    pair = (authority / "apiserver.crt", authority / "apiserver.key")
    routes = {"/bucket": listed({"m/config.json": b"{}"}), "/bucket/m/config.json": file(b"{}")}
    with Web(routes, tls=pair) as web:
        source = open_source(anonymous(web), secret_dir=tmp_path, ca_file=authority / "ca.crt")
        [entry] = source.list().files
        with source.read(entry, 0, None) as pieces:
            assert b"".join(pieces) == b"{}"
        web.routes["/bucket"] = redirect("https://169.254.169.254/bucket")
        error = refused(anonymous(web), tmp_path, ca_file=authority / "ca.crt")
        assert error.reason == FetchReason.SOURCE_FORBIDDEN
        # Inside the library a certificate that is not trusted is one failure among others.
        assert refused(anonymous(web), tmp_path).reason == FetchReason.SOURCE_UNREACHABLE


@pytest.mark.parametrize("account", ["", "me:pass%20word@"])
def test_listing_and_reading_go_through_the_proxy_of_the_environment(
    authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    pair = (authority / "apiserver.crt", authority / "apiserver.key")
    routes = {"/bucket": listed({"m/config.json": b"{}"}), "/bucket/m/config.json": file(b"{}")}
    asked: list[str] = []

    def resolver(host: str, _: int) -> list[Address]:
        asked.append(host)
        return [ipaddress.ip_address("127.0.0.1")]

    # Our own relay is a proxy as good as any; it resolves names by itself, which is seen.
    upstream = Reader(Policy(plain_hosts=frozenset({"localhost"})), environ={}, resolver=resolver)
    with Web(routes, tls=pair) as web, relay(upstream) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", f"://{account}"))
        told = FetchConfig(
            "fetch",
            "s3://bucket/m",
            object_endpoint=f"https://localhost:{web.port}",
            plain_hosts=["localhost"],
        )
        source = open_source(told, secret_dir=tmp_path, ca_file=authority / "ca.crt")
        [entry] = source.list().files
        assert asked == ["localhost"]
        with source.read(entry, 0, None) as pieces:
            assert b"".join(pieces) == b"{}"
        assert asked == ["localhost"] * 2
        told = replace(told, object_endpoint=f"https://127.0.0.3:{web.port}")
        assert refused(told, tmp_path).reason == FetchReason.SOURCE_FORBIDDEN


@pytest.mark.parametrize(
    "uri", ["s3://", "s3://B/x", "s3://bucket/../x", "s3://bucket//x", "gs://a..b/x", "s3://b@d/x"]
)
def test_an_address_that_cannot_be(tmp_path: Path, uri: str) -> None:
    error = refused(FetchConfig("fetch", uri), tmp_path)
    assert error.reason == FetchReason.SOURCE_INVALID
