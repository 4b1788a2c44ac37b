"""pvc:// over real folders, with links and with somebody who writes meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.source import Source, SourceError
from stoker_worker.fetch.sources import open_source

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = bytes(range(256)) * 8192  # two pieces


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    model = tmp_path / "claim" / "models" / "tiny"
    (model / "sub").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "sub" / "model.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "token").write_text("s3cret")
    return tmp_path / "claim"


def opened(claim: Path, uri: str = "pvc://weights/models/tiny", revision: str = "") -> Source:
    return open_source(FetchConfig("fetch", uri, revision), source_dir=claim)


def read(source: Source, path: str, start: int = 0, end: int | None = None) -> bytes:
    [file] = [file for file in source.list().files if file.path == path]
    with source.read(file, start, end) as pieces:
        return b"".join(pieces)


def test_a_folder_is_listed_and_read(claim: Path) -> None:
    source = opened(claim)
    listing = source.list()
    assert [(file.path, file.size) for file in listing.files] == [
        ("config.json", 2),
        ("sub/model.safetensors", len(WEIGHTS)),
    ]
    assert read(source, "sub/model.safetensors") == WEIGHTS
    assert read(source, "sub/model.safetensors", 5, 1_500_000) == WEIGHTS[5:1_500_000]
    assert opened(claim, revision=listing.revision).list() == listing
    whole = opened(claim, "pvc://weights")
    assert [file.path for file in whole.list().files] == [
        "models/tiny/config.json",
        "models/tiny/sub/model.safetensors",
    ]


def test_links_within_the_claim_are_followed(claim: Path) -> None:
    """Caches of the hub's own library consist of them."""
    blobs = claim / "blobs"
    blobs.mkdir()
    (blobs / "abc").write_bytes(b"weights")
    (claim / "models" / "tiny" / "more.safetensors").symlink_to("../../blobs/abc")
    assert read(opened(claim), "more.safetensors") == b"weights"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("../../../token", "out of the claim"),
        ("/etc/hostname", "out of the claim"),
        ("nowhere", "leads nowhere"),
        ("bad", "leads nowhere"),  # to itself
        ("..", "no ordinary file"),
    ],
)
def test_other_links_are_refused(claim: Path, target: str, said: str) -> None:
    (claim / "models" / "tiny" / "bad").symlink_to(target)
    with pytest.raises(SourceError, match=said) as error:
        opened(claim).list()
    assert error.value.reason == FetchReason.SOURCE_FORBIDDEN


def test_what_is_no_file_is_refused(claim: Path) -> None:
    os.mkfifo(claim / "models" / "tiny" / "pipe")
    with pytest.raises(SourceError, match="no ordinary file"):
        opened(claim).list()


@pytest.mark.parametrize("uri", ["pvc://weights/other", "pvc://weights/models/tiny/config.json"])
def test_a_folder_that_is_not_there(claim: Path, uri: str) -> None:
    with pytest.raises(SourceError) as error:
        opened(claim, uri).list()
    assert error.value.reason == FetchReason.SOURCE_NOT_FOUND


def test_a_folder_that_leads_out_of_the_claim_is_not_there(claim: Path) -> None:
    (claim / "out").symlink_to("/etc")
    with pytest.raises(SourceError) as error:
        opened(claim, "pvc://weights/out").list()
    assert error.value.reason == FetchReason.SOURCE_NOT_FOUND


@pytest.mark.parametrize(
    "uri", ["pvc://", "pvc://Weights/x", "pvc://w/../x", "pvc://w//x", "pvc://w/a/./b"]
)
def test_an_address_that_cannot_be(claim: Path, uri: str) -> None:
    with pytest.raises(SourceError) as error:
        opened(claim, uri)
    assert error.value.reason == FetchReason.SOURCE_INVALID


def test_a_folder_that_changed_is_not_what_was_pinned(claim: Path) -> None:
    revision = opened(claim).list().revision
    (claim / "models" / "tiny" / "config.json").write_text("{ }")
    with pytest.raises(SourceError) as error:
        opened(claim, revision=revision).list()
    assert error.value.reason == FetchReason.REVISION_NOT_FOUND


def test_a_file_that_changes_while_it_is_read_is_no_file(claim: Path) -> None:
    source = opened(claim)
    [_, weights] = source.list().files
    with source.read(weights, 0, None) as pieces:
        next(pieces)
        path = claim / "models" / "tiny" / weights.path
        with path.open("r+b") as file:
            file.write(b"other")
        with pytest.raises(SourceError, match="changes while"):
            list(pieces)


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_a_link_that_takes_a_files_place_is_not_followed(claim: Path, *, folder: bool) -> None:
    source = opened(claim)
    [_, weights] = source.list().files
    sub = claim / "models" / "tiny" / "sub"
    (claim.parent / "model.safetensors").write_text("s3cret")
    if folder:
        sub.rename(sub.with_name("away"))
        sub.symlink_to(claim.parent)
    else:
        (sub / "model.safetensors").unlink()
        (sub / "model.safetensors").symlink_to(claim.parent / "token")
    with pytest.raises(SourceError, match="cannot be read"), source.read(weights, 0, None):
        pytest.fail("opened")


def test_an_error_of_whoever_reads_stays_his(claim: Path) -> None:
    source = opened(claim)
    [config, _] = source.list().files
    with pytest.raises(OSError, match="full"), source.read(config, 0, None):
        raise OSError(28, "full")
