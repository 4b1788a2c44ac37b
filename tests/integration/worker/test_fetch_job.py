"""The whole job on a real file system, with a source that is a folder."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from stoker_worker.cachecontract import (
    MANIFEST,
    MOUNT,
    RESOLVE,
    VERIFY,
    FetchConfig,
    FetchReason,
    FetchResult,
)
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.job import Job, Tools
from stoker_worker.fetch.progress import Meter
from stoker_worker.fetch.sources import open_source
from stoker_worker.manifest import quick_check, read_manifest
from tests.integration.worker.fetching import Bench, make_model
from tests.support.foldersource import REVISION, FolderSource

DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "volume").mkdir()
    return Bench(tmp_path / "volume", FolderSource(make_model(tmp_path / "source")))


def test_resolve_counts_and_touches_no_volume(bench: Bench) -> None:
    bench.volume.rmdir()
    result = bench.run(RESOLVE, revision="main", folder="")
    wanted = [p for p in bench.source.folder.rglob("*") if p.is_file() and p.suffix != ".md"]
    assert result.revision == REVISION
    assert result.files == len(wanted)
    assert result.bytes == sum(path.stat().st_size for path in wanted)
    assert not bench.volume.exists()


def test_a_fetch_publishes_what_the_source_has_and_can_prove_it(bench: Bench) -> None:
    result = bench.run()
    bench.check()
    manifest = read_manifest(bench.model)
    assert quick_check(bench.model, manifest) == []
    assert (result.digest, result.bytes) == (manifest.digest, manifest.bytes)
    assert result.fetched == result.bytes
    assert result.facts is not None
    assert result.facts["architecture"] == "LlamaForCausalLM"
    assert manifest.source == "https://models.example/tiny"
    assert not list((bench.volume / ".stoker/partial").iterdir())
    again = bench.run()
    assert (again.fetched, bench.source.listings) == (0, 1), "what is there is not asked for"


@pytest.mark.parametrize("promise", ["sha256", "git_sha1", "nothing"])
@pytest.mark.parametrize("ranges", [True, False])
def test_every_kind_of_source(bench: Bench, promise: str, ranges: bool) -> None:  # noqa: FBT001
    bench.source.promise, bench.source.ranges = promise, ranges
    result = bench.run()
    bench.check()
    assert result.fetched == result.bytes


@pytest.mark.parametrize("full", [False, True])
def test_only_what_is_bad_is_fetched_again(bench: Bench, full: bool) -> None:  # noqa: FBT001
    bench.run()
    bench.source.given.clear()
    with (bench.model / "tokenizer.model").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\0\0\0\0\0\0\0\0")
    with (bench.model / "config.json").open("r+b") as file:
        file.truncate(10)
    (bench.model / "model-00002-of-00003.safetensors").unlink()
    result = bench.run(VERIFY, full=full)
    bench.check()
    bad = ["config.json", "model-00002-of-00003.safetensors", "tokenizer.model"]
    assert list(result.repaired) == bad
    assert result.fetched == sum((bench.model / path).stat().st_size for path in bad)
    aside = sorted(p.name.split("-", 1)[1] for p in bench.volume.glob(".stoker/quarantine/*/*"))
    assert aside == ["config.json", "tokenizer.model"]
    assert quick_check(bench.model, read_manifest(bench.model)) == []


def test_a_manifest_that_lies_has_everything_read_again(bench: Bench) -> None:
    bench.run()
    bench.source.given.clear()
    text = (bench.model / MANIFEST).read_text()
    (bench.model / MANIFEST).write_text(text.replace("tokenizer.json", "../../../evil.json"))
    (bench.model / "tokenizer.json").write_text("[]")
    result = bench.run()
    bench.check()
    assert result.fetched == len("{}")
    assert quick_check(bench.model, read_manifest(bench.model)) == []


def mounted(tmp_path: Path, **fields: object) -> FetchResult:
    """Look at what a runtime mounted into the pod, at /source, with the model in models/tiny."""
    config = FetchConfig(MOUNT, "oci://registry.test/tiny:v1", DIGEST, "models/tiny")
    tools = Tools(
        lambda: open_source(config, source_dir=tmp_path / "source"),
        Meter(MOUNT, "pod"),
        lambda _: None,
        threading.Event(),
        tmp_path / "volume",
        tmp_path / "source",
    )
    return Job(replace(config, **fields), tools).run()  # type: ignore[arg-type]


def test_an_image_that_was_mounted_is_looked_at_and_nothing_is_written(tmp_path: Path) -> None:
    model = make_model(tmp_path / "source/models/tiny")
    (model / "code.py").write_text("print()")
    before = sorted(tmp_path.rglob("*"))
    found = mounted(tmp_path)
    assert (found.revision, found.digest) == (DIGEST, DIGEST)
    assert found.facts is not None
    assert found.facts["architecture"] == "LlamaForCausalLM"
    assert 0 < found.bytes < sum(path.stat().st_size for path in model.iterdir() if path.is_file())
    assert sorted(tmp_path.rglob("*")) == before
    right = hashlib.sha256((model / "config.json").read_bytes()).hexdigest()
    assert mounted(tmp_path, digests={"config.json": right}).files == found.files
    with pytest.raises(FetchError, match="expected sha256") as wrong:
        mounted(tmp_path, digests={"config.json": "0" * 64})
    assert wrong.value.reason == FetchReason.DIGEST_MISMATCH


@pytest.mark.parametrize("folder", ["source", "source/models/tiny"])
def test_an_empty_folder_is_what_a_kubelet_mounts_that_does_not_know_images(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(FetchError, match="does not mount images") as error:
        mounted(tmp_path)
    assert error.value.reason == FetchReason.IMAGE_NOT_MOUNTED
