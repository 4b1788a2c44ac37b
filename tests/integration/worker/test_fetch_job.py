"""The whole job on a real file system, with a source that is a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker_worker.cachecontract import MANIFEST, RESOLVE, VERIFY
from stoker_worker.manifest import quick_check, read_manifest
from tests.integration.worker.fetching import Bench, make_model
from tests.support.foldersource import REVISION, FolderSource


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
