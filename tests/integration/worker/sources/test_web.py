"""https:// against a server with a certificate of a private authority: archives of models."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from backports import zstd

from stoker_worker.cachecontract import FETCH, RESOLVE, FetchConfig, FetchReason
from stoker_worker.fetch.source import Source, SourceError
from stoker_worker.fetch.sources import open_source, zips
from tests.support.authority import Authority
from tests.support.scripted import Reply, Web, file, redirect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WEIGHTS = hashlib.shake_256(b"weights").digest(2_000_000)
FILES = {"config.json": b"{}", "sub/model.safetensors": WEIGHTS}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    Authority(folder).make()
    return folder


@pytest.fixture
def web(authority: Path) -> Iterator[Web]:
    pair = (authority / "apiserver.crt", authority / "apiserver.key")
    with Web({}, tls=pair) as server:
        yield server


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"tiny-model/{name}")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def opened(
    web: Web, authority: Path, path: str, revision: str, secret_dir: Path, task: str = FETCH
) -> Source:
    config = FetchConfig(task, f"{web.url}{path}", revision, plain_hosts=["127.0.0.1"])
    return open_source(config, secret_dir=secret_dir, ca_file=authority / "ca.crt")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def contents(source: Source) -> dict[str, bytes]:
    found = {}
    for entry in source.list().files:
        with source.read(entry, 0, None) as pieces:
            found[entry.path] = b"".join(pieces)
        assert entry.sha256 == hashlib.sha256(found[entry.path]).hexdigest()
    return found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.gguf", "GGUF is a format that no engine here loads"),
        ("Model.Q4_K_M.GGUF", "GGUF is a format that no engine here loads"),
        ("model.safetensors", "needs config.json and a tokenizer too"),
        ("model-00001-of-00002.safetensors", "needs config.json and a tokenizer too"),
        ("pytorch_model.bin", "one file of a web server is no model"),
        ("download", "one file of a web server is no model"),
        ("m.TAR", "one file of a web server is no model"),
        ("m.tar.xz", "best is .tar"),
    ],
)
def test_one_file_is_no_model_and_is_not_even_asked_for(
    web: Web, authority: Path, tmp_path: Path, name: str, said: str
) -> None:
    web.routes[f"/dir/{name}"] = file(WEIGHTS)
    with pytest.raises(SourceError, match=said) as error:
        opened(web, authority, f"/dir/{name}?key=1", digest(WEIGHTS), tmp_path)
    assert error.value.reason == FetchReason.SOURCE_INVALID
    assert "archive (.tar, .tar.gz, .tar.zst, .zip) of the folder with config.json" in str(
        error.value
    )
    assert web.asked == []


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("m.tar", bytes),
        ("m.tar.gz", gzip.compress),
        ("m.tgz", gzip.compress),
        ("m.tar.zst", zstd.compress),
    ],
)
def test_an_archive_is_a_folder(
    web: Web, authority: Path, tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(archive())
    web.routes[f"/{name}"] = file(packed)
    source = opened(web, authority, f"/{name}?key=1", digest(packed), tmp_path)
    assert contents(source) == FILES
    assert source.list().revision == digest(packed)
    assert web.asked[0].query == {"key": "1"}
    weights = next(entry for entry in source.list().files if entry.size == len(WEIGHTS))
    with source.read(weights, 1000, 1_500_000) as pieces:
        assert b"".join(pieces) == WEIGHTS[1000:1_500_000]


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz"])
def test_an_archive_with_another_digest_is_refused(
    web: Web, authority: Path, tmp_path: Path, name: str
) -> None:
    packed = archive() if name == "m.tar" else gzip.compress(archive())
    web.routes[f"/{name}"] = file(packed)
    with pytest.raises(SourceError) as error:
        opened(web, authority, f"/{name}", digest(b"other"), tmp_path).list()
    assert error.value.reason == FetchReason.DIGEST_MISMATCH


def zipped(files: dict[str, bytes], method: int, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, content, method)
    return buffer.getvalue()


STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_a_zip_is_a_folder(web: Web, authority: Path, tmp_path: Path, method: int) -> None:
    packed = zipped({f"./tiny/{name}": content for name, content in FILES.items()}, method)
    web.routes["/m.zip"] = file(packed)
    source = opened(web, authority, "/m.zip", digest(packed), tmp_path)
    assert contents(source) == FILES
    weights = next(entry for entry in source.list().files if entry.size == len(WEIGHTS))
    assert weights.ranges is (method == STORED)
    with source.read(weights, 1000, 1_500_000) as pieces:
        assert b"".join(pieces) == WEIGHTS[1000:1_500_000]
    look = opened(web, authority, "/m.zip", digest(packed), tmp_path, RESOLVE)
    [config, _] = look.list().files
    with look.read(config, 0, None) as pieces:
        assert b"".join(pieces) == b"{}"


def overlapping() -> bytes:
    """Two names for one member, as bombs have thousands."""
    raw = zipped({"a": b"x" * 5000, "b": b"y" * 5000}, DEFLATED)
    start = raw.rindex(b"PK\x01\x02")  # the entry of b: its member is a's
    return raw[: start + 42] + bytes(4) + raw[start + 46 :]


def lying() -> bytes:
    """A member that says in the directory that it is smaller than it is."""
    raw = zipped({"a": b"x" * 5000}, DEFLATED)
    start = raw.rindex(b"PK\x01\x02")
    return raw[: start + 24] + (10).to_bytes(4, "little") + raw[start + 28 :]


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (zipped({"../x": b"1"}, STORED), "leaves the archive's folder"),
        (zipped({"/etc/x": b"1"}, STORED), "leaves the archive's folder"),
        (zipped({"a": b"/etc/passwd"}, STORED, 0o120777), "is a link"),
        (zipped({"a": b"1"}, zipfile.ZIP_BZIP2), "other than deflate"),
        (zipped({"a": b"1"}, STORED)[:-30], "no directory"),
        (b"no archive" * 100, "no directory"),
        (overlapping(), "lie over one another"),
        (lying(), "larger than it says"),
    ],
)
def test_a_zip_that_is_unsafe_is_refused(
    web: Web, authority: Path, tmp_path: Path, packed: bytes, said: str
) -> None:
    web.routes["/m.zip"] = file(packed)
    with pytest.raises(SourceError, match=said) as error:
        opened(web, authority, "/m.zip", digest(packed), tmp_path).list()
    assert error.value.reason == FetchReason.ARCHIVE_UNSAFE


def test_a_zip_that_unpacks_to_far_more_is_a_bomb(
    web: Web, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zips, "BOMB_BYTES", 2**20)
    packed = zipped({"a": bytes(2**24)}, DEFLATED)
    web.routes["/m.zip"] = file(packed)
    with pytest.raises(SourceError, match="a bomb"):
        opened(web, authority, "/m.zip", digest(packed), tmp_path).list()


def test_a_zip_with_another_digest_is_refused(web: Web, authority: Path, tmp_path: Path) -> None:
    web.routes["/m.zip"] = file(zipped(FILES, STORED))
    with pytest.raises(SourceError) as error:
        opened(web, authority, "/m.zip", digest(b"other"), tmp_path).list()
    assert error.value.reason == FetchReason.DIGEST_MISMATCH


def test_a_signed_address_is_not_told(web: Web, authority: Path, tmp_path: Path) -> None:
    web.routes["/x.tar"] = lambda _: Reply(403)
    source = opened(web, authority, "/x.tar?X-Signature=s3cret", digest(b""), tmp_path)
    with pytest.raises(SourceError) as error:
        source.list()
    assert error.value.reason == FetchReason.UNAUTHORIZED
    assert "s3cret" not in str(error.value)


def test_the_secrets_token_goes_to_its_host_alone(
    web: Web, authority: Path, secret: Callable[..., Path]
) -> None:
    packed = archive()
    with Web({"/x": file(packed)}, host="127.0.0.2") as other:
        web.routes["/x.tar"] = redirect(f"{other.url}/x")
        source = opened(web, authority, "/x.tar", digest(packed), secret({"token": "s3cret"}))
        with pytest.raises(SourceError) as error:
            source.list()
        assert error.value.reason == FetchReason.SOURCE_FORBIDDEN  # from https to http
        assert not other.asked
    web.routes["/x.tar"] = file(packed)
    assert contents(source) == FILES
    assert {asked.headers["Authorization"] for asked in web.asked} == {"Bearer s3cret"}


@pytest.mark.parametrize(
    ("path", "revision", "said"),
    [
        ("/x.tar", "", "sha256sum"),
        ("/x.tar", "main", "sha256sum"),
        ("/x.tar", "sha256:abc", "sha256sum"),
        ("/", digest(b""), "names no file"),
        ("/dir/", digest(b""), "names no file"),
        ("/..", digest(b""), "names no file"),
        ("/%2e%2e", digest(b""), "names no file"),
        ("/a%00b", digest(b""), "names no file"),
    ],
)
def test_an_address_that_cannot_be(
    web: Web, authority: Path, tmp_path: Path, path: str, revision: str, said: str
) -> None:
    with pytest.raises(SourceError, match=said) as error:
        opened(web, authority, path, revision, tmp_path)
    assert error.value.reason == FetchReason.SOURCE_INVALID
