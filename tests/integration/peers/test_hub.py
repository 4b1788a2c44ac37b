"""The hub of the tests is a hub: huggingface_hub's own client finds nothing amiss."""

from __future__ import annotations

import hashlib
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import (
    HfApi,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.support.authority import Authority
from tests.support.hub import Hub
from tests.support.repositories import Blob

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = "tests/small"
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def hub(model: Path) -> Iterator[Hub]:
    with Hub() as made:
        made.add(REPO, model)
        yield made


def contents(folder: Path | str) -> dict[str, bytes]:
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def download(
    hub: Hub, tmp_path: Path, *, token: str | bool = False, revision: str = "main"
) -> Path:
    cache = tmp_path / "cache"
    return Path(
        snapshot_download(REPO, endpoint=hub.url, cache_dir=cache, token=token, revision=revision)
    )


def get(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def location(hub: Hub) -> str:
    """A signed address of the other host, as the hub gives it out."""
    url = hf_hub_url(REPO, SHARD, endpoint=hub.url)
    return get_hf_file_metadata(url, token=False).location


def test_the_real_client_gets_every_byte(hub: Hub, model: Path, tmp_path: Path) -> None:
    assert contents(download(hub, tmp_path)) == contents(model)
    assert len(hub.cdn.requests(method="GET")) == 2, "weights come from the other host"
    sizes = sum(len(each) for each in contents(model).values())
    assert hub.sent() > sizes


def test_what_it_says_of_files_is_true(hub: Hub, model: Path) -> None:
    info = HfApi(endpoint=hub.url, token=False).model_info(REPO, files_metadata=True)
    found = {each.rfilename: each for each in info.siblings or []}
    assert set(found) == set(contents(model))
    content = (model / SHARD).read_bytes()
    assert found[SHARD].size == len(content)
    assert found[SHARD].lfs.sha256 == hashlib.sha256(content).hexdigest()
    config = (model / "config.json").read_bytes()
    told = b"blob %d\0" % len(config) + config
    assert found["config.json"].blob_id == hashlib.sha1(told, usedforsecurity=False).hexdigest()
    assert found["config.json"].lfs is None


def test_a_long_tree_comes_in_pages(hub: Hub, model: Path, tmp_path: Path) -> None:
    hub.page_size = 2
    assert contents(download(hub, tmp_path)) == contents(model)
    assert len(hub.hub.requests("*/tree/*")) == 3


def test_branches_and_commits_are_what_they_were(hub: Hub, model: Path, tmp_path: Path) -> None:
    before = hub.repositories[REPO].branches["main"]
    (model / "config.json").write_text("{}")
    after = hub.commit(
        REPO,
        {**hub.repositories[REPO].commits[before], "config.json": Blob.of(model / "config.json")},
    )
    assert before != after
    assert (download(hub, tmp_path) / "config.json").read_text() == "{}"
    api = HfApi(endpoint=hub.url, token=False)
    assert api.model_info(REPO, revision=before).sha == before
    assert {ref.target_commit for ref in api.list_repo_refs(REPO).branches} == {after}


def test_what_is_not_there(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError):
        download(hub, tmp_path, revision="nowhere")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download(
            REPO, "none.json", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False
        )
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.url, token=False).model_info("tests/other")


def test_private_and_gated_ask_for_the_right_token(hub: Hub, tmp_path: Path) -> None:
    repository = hub.repositories[REPO]
    hub.tokens |= {"hf_reader", "hf_stranger"}
    repository.readers.add("hf_reader")
    repository.private = True
    with pytest.raises(RepositoryNotFoundError):
        download(hub, tmp_path, token="hf_stranger")
    repository.private, repository.gated = False, True
    for token in (False, "hf_stranger"):
        with pytest.raises(GatedRepoError):
            hf_hub_download(
                REPO, "config.json", endpoint=hub.url, cache_dir=tmp_path / "c", token=token
            )
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        HfApi(endpoint=hub.url, token="hf_nobody").model_info(REPO)
    assert (download(hub, tmp_path, token="hf_reader") / SHARD).exists()
    assert {seen.authorization for seen in hub.cdn.seen} == {None}, "no token leaves the hub"
    assert "Bearer hf_reader" in {seen.authorization for seen in hub.hub.seen}


def test_the_other_host_wants_a_signature_and_no_token(hub: Hub) -> None:
    url = location(hub)
    assert get(url)[0] == 200
    assert get(url, Authorization="Bearer hf_reader")[0] == 400
    assert get(url.replace("Signature=", "Signature=0"))[0] == 403
    hub.expire_signatures()
    status, body = get(url)
    assert (status, b"expired" in body) == (403, True)
    assert get(location(hub))[0] == 200


def test_ranges(hub: Hub, model: Path) -> None:
    url, content = location(hub), (model / SHARD).read_bytes()
    assert get(url, Range="bytes=10-19") == (206, content[10:20])
    assert get(url, Range="bytes=100-") == (206, content[100:])
    assert get(url, Range=f"bytes={len(content)}-")[0] == 416


def test_a_failing_hub_fails_as_often_as_it_was_told(hub: Hub, model: Path, tmp_path: Path) -> None:
    limit = hub.hub.fail(where="/api/models/*", status=429, headers={"Retry-After": "1"})
    status, _ = get(f"{hub.url}/api/models/{REPO}")
    assert (status, limit.met) == (429, 1)
    broken = hub.cdn.fail(cut_after=1000, method="GET")
    assert contents(download(hub, tmp_path)) == contents(model)
    assert broken.met == 1
    assert [seen.sent for seen in hub.cdn.requests(method="GET")].count(1000) == 1


def test_bodies_that_lie(hub: Hub, model: Path) -> None:
    content = (model / SHARD).read_bytes()
    hub.cdn.fail(flip_at=200)
    _, flipped = get(location(hub))
    assert [at for at, (a, b) in enumerate(zip(flipped, content, strict=True)) if a != b] == [200]
    hub.cdn.fail(longer=-10)
    assert get(location(hub))[1] == content[:-10]
    hub.cdn.fail(delay_s=0.1, bytes_per_second=len(content) * 5)
    began = time.monotonic()
    assert get(location(hub))[1] == content
    assert time.monotonic() - began >= 0.3


def test_redirects_to_where_it_is_told(hub: Hub) -> None:
    hub.hub.fail(where="*config.json*", redirect="{self}", times=None)
    with pytest.raises(urllib.error.HTTPError, match="infinite loop"):
        urllib.request.urlopen(f"{hub.url}/{REPO}/resolve/main/config.json", timeout=20)  # noqa: S310


def test_stopped_it_is_gone_and_started_it_is_back(hub: Hub) -> None:
    url = f"{hub.url}/api/models/{REPO}"
    assert get(url)[0] == 200
    hub.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=20)  # noqa: S310
    hub.start()
    assert get(url)[0] == 200


def test_it_serves_over_tls(model: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "keys")
    authority.make()
    context = ssl.create_default_context(cafile=authority.folder / "ca.crt")
    with Hub(authority=authority) as hub:
        hub.add(REPO, model)
        address = f"{hub.url}/{REPO}/resolve/main/{SHARD}"
        with urllib.request.urlopen(address, timeout=20, context=context) as answer:  # noqa: S310
            assert answer.url.startswith("https://127.0.0.2:")
            assert answer.read() == (model / SHARD).read_bytes()
