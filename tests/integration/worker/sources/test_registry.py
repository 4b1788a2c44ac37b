"""oci:// against the distribution registry, and against registries that are not honest."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from backports import zstd

from stoker_worker.cachecontract import FETCH, RESOLVE, FetchConfig, FetchReason
from stoker_worker.fetch.listing import Image
from stoker_worker.fetch.source import Source, SourceError
from stoker_worker.fetch.sources import blobs, open_source
from stoker_worker.fetch.sources.registry import machine
from tests.support.scripted import Asked, Reply, Route, Web, file, redirect
from tests.support.stores import TITLE, Layer, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    Serve = Callable[..., Web]
    Write = Callable[..., Path]

WEIGHTS = hashlib.shake_256(b"weights").digest(3_000_000)
FILES = {"config.json": b"{}", "model-1.safetensors": WEIGHTS, "sub/notes.txt": b"n" * 700}
OCI = "application/vnd.oci.image.manifest.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"
CONFIG = Layer(b"{}", "application/vnd.oci.image.config.v1+json")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tar(files: Mapping[str, bytes | None], links: Mapping[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def opened(
    host: str, place: str, secret_dir: Path, task: str = FETCH, revision: str = ""
) -> Source:
    hosts = ["127.0.0.1", "127.0.0.2"]
    config = FetchConfig(task, f"oci://{host}/{place}", revision, plain_hosts=hosts)
    return open_source(config, secret_dir=secret_dir)


def contents(source: Source) -> dict[str, bytes]:
    found = {}
    for entry in source.list().files:
        with source.read(entry, 0, None) as pieces:
            found[entry.path] = b"".join(pieces)
        assert len(found[entry.path]) == entry.size
        if entry.sha256:
            assert hashlib.sha256(found[entry.path]).hexdigest() == entry.sha256
    return found


def refused(source: Source) -> SourceError:
    with pytest.raises(SourceError) as error:
        source.list()
    assert "s3cret" not in str(error.value)
    return error.value


def test_an_artifact_is_listed_and_read(registry: Registry, model: Path, tmp_path: Path) -> None:
    pushed = registry.push_artifact("org/artifact", "v1", model)
    source = opened(registry.netloc, "org/artifact:v1", tmp_path)
    listing = source.list()
    assert listing.revision == pushed
    assert {entry.path: entry.sha256 for entry in listing.files} == {
        name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()
    }
    assert contents(source) == FILES
    weights = listing.files[1]
    with source.read(weights, 10, 2_000_000) as pieces:
        assert b"".join(pieces) == WEIGHTS[10:2_000_000]
    for place, revision in ((f"org/artifact@{pushed}", ""), ("org/artifact:gone", pushed)):
        assert opened(registry.netloc, place, tmp_path, revision=revision).list() == listing


@pytest.mark.parametrize("packing", ["", "+gzip", "+zstd"])
def test_an_image_is_unpacked_layer_over_layer(
    registry: Registry, tmp_path: Path, packing: str
) -> None:
    packs: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "+gzip": gzip.compress,
        "+zstd": zstd.compress,
    }
    pack = packs[packing]
    layers = [
        tar({"etc/passwd": b"root", "models/old.bin": b"old", "models/a/x.json": b"1"},
            {"bin": "usr/bin"}),
        tar({"./models/": None, "./models/config.json": b"{}", "./models/.wh.old.bin": b""}),
        tar({"models/a/.wh..wh..opq": b"", "models/a/y.json": b"2",
             "models/w.safetensors": WEIGHTS}),
    ]  # fmt: skip
    name = f"image/{packing.strip('+') or 'plain'}"
    registry.push(name, "v1", [Layer(pack(each), TAR + packing) for each in layers], CONFIG)
    source = opened(registry.netloc, f"{name}:v1", tmp_path)
    expected = {"config.json": b"{}", "a/y.json": b"2", "w.safetensors": WEIGHTS}
    assert contents(source) == expected
    assert all(entry.sha256 for entry in source.list().files)
    look = opened(registry.netloc, f"{name}:v1", tmp_path, task=RESOLVE).list()
    assert {entry.path: entry.size for entry in look.files} == {
        path: len(content) for path, content in expected.items()
    }
    assert look.image == Image(f"{registry.netloc}/{name}@{look.revision}", "models")


def test_what_runtimes_cannot_mount_says_so(
    registry: Registry, model: Path, tmp_path: Path
) -> None:
    registry.push_artifact("org/no-image", "v1", model)
    told = opened(registry.netloc, "org/no-image:v1", tmp_path).list().image
    assert "is an artifact" in told.unmountable
    registry.push_image("org/image", "v1", model)
    (tmp_path / "username").write_text("me")
    (tmp_path / "password").write_text("s3cret")
    told = opened(registry.netloc, "org/image:v1", tmp_path).list().image
    assert "kubernetes.io/dockerconfigjson" in told.unmountable
    (tmp_path / ".dockerconfigjson").write_text("{}")
    told = opened(registry.netloc, "org/image:v1", tmp_path).list().image
    assert told.reference.startswith(f"{registry.netloc}/org/image@sha256:")


def test_a_look_at_a_plain_layer_jumps_over_what_is_in_it(serve: Serve, tmp_path: Path) -> None:
    archive = tar({"models/config.json": b"{}", "models/w.safetensors": WEIGHTS})
    web = dishonest(serve, [Layer(archive, TAR)])
    opened(web.address, "a/b:v1", tmp_path, task=RESOLVE).list()
    ranges = [asked.headers["Range"] for asked in web.asked if "/blobs/" in asked.path]
    asked = sum(int(end) + 1 - int(start) for start, end in
                (each.removeprefix("bytes=").split("-") for each in ranges))  # fmt: skip
    assert asked < 10_000


def test_modelpack_and_kitops_are_understood(registry: Registry, tmp_path: Path) -> None:
    path = "org.cncf.model.filepath"
    layers = [
        Layer(WEIGHTS, "application/vnd.cncf.model.weight.v1.raw", {path: "w.safetensors"}),
        Layer(tar({"config.json": b"{}"}), "application/vnd.cncf.model.weight.config.v1.tar"),
        Layer(
            gzip.compress(tar({"extra/x.txt": b"x"})),
            "application/vnd.kitops.modelkit.model.v1.tar+gzip",
        ),
        Layer(b"raw", TAR, {TITLE: "README.md"}),  # as ORAS marks a file
        Layer(
            gzip.compress(tar({"folder/y.txt": b"y"})),
            f"{TAR}+gzip",
            {TITLE: "folder", "io.deis.oras.content.unpack": "true"},
        ),
    ]
    registry.push("org/pack", "v1", layers, CONFIG)
    assert contents(opened(registry.netloc, "org/pack:v1", tmp_path)) == {
        "w.safetensors": WEIGHTS,
        "config.json": b"{}",
        "extra/x.txt": b"x",
        "README.md": b"raw",
        "folder/y.txt": b"y",
    }


def test_many_readers_share_one_reading(serve: Serve, tmp_path: Path) -> None:
    parts = {f"w-{n}.safetensors": hashlib.shake_256(b"%d" % n).digest(1_100_000) for n in range(6)}
    web = dishonest(serve, [Layer(gzip.compress(tar(parts), 1), f"{TAR}+gzip")])
    source = opened(web.address, "a/b:v1", tmp_path)
    files = source.list().files
    found: dict[str, bytes] = {}
    barrier = threading.Barrier(len(files))

    def read(number: int) -> None:
        barrier.wait()
        with source.read(files[number], 0, None) as pieces:
            found[files[number].path] = b"".join(pieces)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(len(files))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == parts
    readings = [asked for asked in web.asked if "/blobs/" in asked.path]
    assert 2 <= len(readings) <= 3  # the list, and one or two: who comes first may be in the middle


def test_a_reader_who_leaves_in_the_middle_stops_nobody(serve: Serve, tmp_path: Path) -> None:
    parts = {f"w-{n}.safetensors": hashlib.shake_256(b"%d" % n).digest(2_500_000) for n in range(2)}
    web = dishonest(serve, [Layer(gzip.compress(tar(parts), 1), f"{TAR}+gzip")])
    source = opened(web.address, "a/b:v1", tmp_path)
    [first, second] = source.list().files
    with source.read(first, 0, None) as pieces:
        assert parts[first.path].startswith(next(pieces))
    with source.read(second, 100, 200) as pieces:
        assert b"".join(pieces) == parts[second.path][100:200]
    with source.read(first, 0, None) as pieces:
        assert b"".join(pieces) == parts[first.path]


def manifest_of(layers: Sequence[Layer], **more: Any) -> bytes:
    told = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": CONFIG.described(),
        "layers": [layer.described() for layer in layers],
    }
    return json.dumps(told | more).encode()


def dishonest(serve: Serve, layers: Sequence[Layer], **more: Any) -> Web:
    routes: dict[str, Route] = {
        f"/v2/a/b/blobs/{each.digest}": file(each.content) for each in layers
    }
    manifest = manifest_of(layers, **more)
    routes["/v2/a/b/manifests/v1"] = lambda _: Reply(body=manifest, headers={"Content-Type": OCI})
    return serve(routes)


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (tar({"../x": b"1"}), "leaves the archive's folder"),
        (tar({"/etc/x": b"1"}), "leaves the archive's folder"),
        (tar({"models/../../x": b"1"}), "leaves the archive's folder"),
        (tar({"models/x": b"1"}, {"models/link": "/etc/passwd"}), "is a link"),
        (tar({"x": b"1"}, {"y": "x"}), "is a link"),
        (tar({"x": b"1" * 4000})[:2048], "is cut off"),
        (b"no archive at all" * 100, "damaged"),
    ],
)
def test_an_archive_that_is_unsafe_is_refused(
    serve: Serve, tmp_path: Path, archive: bytes, said: str
) -> None:
    web = dishonest(serve, [Layer(archive, TAR)])
    for task in (FETCH, RESOLVE):
        error = refused(opened(web.address, "a/b:v1", tmp_path, task=task))
        assert error.reason == FetchReason.ARCHIVE_UNSAFE
        assert said in error.message


def test_a_bomb_is_not_unpacked(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gibibyte of nothing in one mebibyte; reading stops where nothing honest goes."""
    monkeypatch.setattr(blobs, "BOMB_BYTES", 2**24)
    head = tarfile.TarInfo("models/w.safetensors")
    head.size = 2**30
    bomb = gzip.compress(head.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(2**24)) * 64
    web = dishonest(serve, [Layer(bomb, f"{TAR}+gzip")])
    error = refused(opened(web.address, "a/b:v1", tmp_path))
    assert error.reason == FetchReason.ARCHIVE_UNSAFE
    assert "a bomb" in error.message


def test_a_layer_that_is_not_what_its_digest_says(serve: Serve, tmp_path: Path) -> None:
    good = Layer(tar({"models/config.json": b"{}"}), TAR)
    other = tar({"models/config.json": b"[]"})
    web = dishonest(serve, [good])
    web.routes[f"/v2/a/b/blobs/{good.digest}"] = file(other)
    error = refused(opened(web.address, "a/b:v1", tmp_path))
    assert error.reason == FetchReason.DIGEST_MISMATCH


def test_a_manifest_that_is_not_what_its_digest_says(serve: Serve, tmp_path: Path) -> None:
    web = dishonest(serve, [Layer(b"x", "a", {TITLE: "config.json"})])
    pinned = digest(b"another")
    web.routes[f"/v2/a/b/manifests/{pinned}"] = web.routes["/v2/a/b/manifests/v1"]
    error = refused(opened(web.address, f"a/b@{pinned}", tmp_path))
    assert error.reason == FetchReason.DIGEST_MISMATCH


def test_of_an_index_the_manifest_for_this_machine_is_taken(serve: Serve, tmp_path: Path) -> None:
    web = dishonest(serve, [Layer(b"x", "a", {TITLE: "config.json"})])
    mine = manifest_of([Layer(b"x", "a", {TITLE: "config.json"})])
    web.routes[f"/v2/a/b/manifests/{digest(mine)}"] = lambda _: Reply(body=mine)
    entries = [
        {"digest": digest(b"1"), "platform": {"os": "linux", "architecture": "s390x"}},
        {"digest": digest(mine), "platform": {"os": "linux", "architecture": machine()}},
        {"digest": digest(b"2"), "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    web.routes["/v2/a/b/manifests/v1"] = lambda _: Reply(body=index)
    listing = opened(web.address, "a/b:v1", tmp_path).list()
    assert listing.revision == digest(index)
    assert [entry.path for entry in listing.files] == ["config.json"]


def tokens(web: Web, account: str = "") -> Route:
    def answer(asked: Asked) -> Reply:
        wanted = f"Basic {b64encode(account.encode()).decode()}" if account else None
        if asked.headers.get("Authorization") != wanted:
            return Reply(401)
        assert asked.query["scope"] == "repository:a/b:pull"
        return Reply(body=json.dumps({"token": "t0ken", "expires_in": 300}).encode())

    web.routes["/token"] = answer
    return answer


def guarded(web: Web, realm: str) -> None:
    """Make a registry want a token for everything."""
    told = f'Bearer realm="{realm}",service="test",scope="repository:a/b:pull"'
    for path, route in list(web.routes.items()):

        def guard(asked: Asked, route: Route = route) -> Reply:
            if asked.headers.get("Authorization") != "Bearer t0ken":
                return Reply(401, headers={"WWW-Authenticate": told})
            return route(asked)

        web.routes[path] = guard


SINGLE = [Layer(b"{}", "application/json", {TITLE: "config.json"})]


@pytest.mark.parametrize("named", [True, False])
def test_a_token_is_fetched_with_the_account_of_the_secret(
    serve: Serve, secret: Write, *, named: bool
) -> None:
    web = dishonest(serve, SINGLE)
    realm = serve({}, host="127.0.0.2")
    tokens(realm, "me:s3cret")
    guarded(web, f"{realm.url}/token")
    entry = {"auth": b64encode(b"me:s3cret").decode()}
    other = {"auth": b64encode(b"me:other").decode()}
    config = json.dumps({"auths": {"elsewhere": other, web.address: entry}})
    keys = {"username": "me", "password": "s3cret"} if named else {".dockerconfigjson": config}
    source = opened(web.address, "a/b:v1", secret(keys))
    assert contents(source) == {"config.json": b"{}"}
    assert len(realm.asked) == 1
    assert all("Basic" not in str(asked.headers.get("Authorization")) for asked in web.asked)


def test_a_registry_that_is_open_gives_a_token_to_anybody(serve: Serve, tmp_path: Path) -> None:
    web = dishonest(serve, SINGLE)
    realm = serve({})
    tokens(realm)
    guarded(web, f"{realm.url}/token")
    assert contents(opened(web.address, "a/b:v1", tmp_path)) == {"config.json": b"{}"}


@pytest.mark.parametrize(
    "realm",
    [
        "http://169.254.169.254/token",
        "https://169.254.169.254/token",
        "https://metadata.google.internal/token",
        "https://127.0.0.3/token",
        "http://other.example/token",
        "ftp://127.0.0.1/token",
        "",
    ],
)
def test_an_account_goes_to_no_place_that_is_forbidden(
    serve: Serve, secret: Write, realm: str
) -> None:
    web = dishonest(serve, SINGLE)
    guarded(web, realm)
    error = refused(opened(web.address, "a/b:v1", secret({"username": "me", "password": "s3cret"})))
    assert error.reason == FetchReason.SOURCE_FORBIDDEN


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "put a pull secret"),
        ({"username": "me", "password": "wrong"}, "check its password"),
        ({".dockerconfigjson": "{"}, "kubectl create secret docker-registry"),
    ],
)
def test_an_account_that_is_not_let_in(
    serve: Serve, secret: Write, keys: dict[str, str], said: str
) -> None:
    web = dishonest(serve, SINGLE)
    realm = serve({})
    tokens(realm, "me:s3cret")
    guarded(web, f"{realm.url}/token")
    error = refused(opened(web.address, "a/b:v1", secret(keys)))
    assert error.reason == FetchReason.UNAUTHORIZED
    assert said in error.message


def test_basic_is_understood(serve: Serve, secret: Write) -> None:
    web = dishonest(serve, SINGLE)
    wanted = f"Basic {b64encode(b'me:s3cret').decode()}"
    for path, route in list(web.routes.items()):

        def guard(asked: Asked, route: Route = route) -> Reply:
            if asked.headers.get("Authorization") != wanted:
                return Reply(401, headers={"WWW-Authenticate": 'Basic realm="here"'})
            return route(asked)

        web.routes[path] = guard
    keys = {"username": "me", "password": "s3cret"}
    assert contents(opened(web.address, "a/b:v1", secret(keys))) == {"config.json": b"{}"}
    error = refused(opened(web.address, "a/b:v1", secret(keys | {"password": "wrong"})))
    assert error.reason == FetchReason.UNAUTHORIZED


def test_a_blob_may_be_elsewhere_and_gets_no_token_there(serve: Serve, tmp_path: Path) -> None:
    storage = serve({"/blob": file(b"{}")}, host="127.0.0.2")
    web = dishonest(serve, SINGLE)
    web.routes[f"/v2/a/b/blobs/{SINGLE[0].digest}"] = redirect(f"{storage.url}/blob", 307)
    realm = serve({})
    tokens(realm)
    guarded(web, f"{realm.url}/token")
    assert contents(opened(web.address, "a/b:v1", tmp_path)) == {"config.json": b"{}"}
    assert "Authorization" not in storage.asked[0].headers


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("org/none:v1", FetchReason.REVISION_NOT_FOUND),
        ("org/artifact:none", FetchReason.REVISION_NOT_FOUND),
        (f"org/artifact@sha256:{'0' * 64}", FetchReason.REVISION_NOT_FOUND),
    ],
)
def test_what_is_not_there(registry: Registry, tmp_path: Path, place: str, reason: str) -> None:
    assert refused(opened(registry.netloc, place, tmp_path)).reason == reason


@pytest.mark.parametrize(
    "layers",
    [
        [Layer(b"x", "application/octet-stream")],
        [replace(SINGLE[0], annotations={TITLE: "../../etc/cron.d/x"})],
        [replace(SINGLE[0], annotations={TITLE: "/etc/x"})],
        [SINGLE[0], SINGLE[0]],
    ],
)
def test_layers_that_are_no_model(serve: Serve, tmp_path: Path, layers: list[Layer]) -> None:
    error = refused(opened(dishonest(serve, layers).address, "a/b:v1", tmp_path))
    assert error.reason == FetchReason.SOURCE_INVALID
