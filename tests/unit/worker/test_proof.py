"""What a look at a published model's files finds before the engine starts."""

from pathlib import Path

from stoker_worker.cachecontract import MANIFEST
from stoker_worker.contract import TerminationReason
from stoker_worker.proof import prove
from tests.support.published import flip_bit, publish


def test_a_folder_without_a_manifest_is_the_users_own(folder: Path) -> None:
    assert prove(folder) is None


def test_untouched_files_are_proven(folder: Path) -> None:
    manifest = publish(folder)
    proof = prove(folder)
    assert proof is not None
    assert proof.fault is None
    assert proof.suspects == ()
    assert proof.files == len(manifest.files)


def test_files_that_were_touched_are_to_be_hashed(sharded: Path) -> None:
    publish(sharded)
    shard = sorted(sharded.glob("*.safetensors"))[1]
    flip_bit(shard, shard.stat().st_size - 1)
    proof = prove(sharded)
    assert proof.fault is None
    assert [each.path for each in proof.suspects] == [shard.name]


def test_a_file_that_is_missing_or_short_is_refused_at_once(sharded: Path) -> None:
    publish(sharded)
    first, second, third = sorted(sharded.glob("*.safetensors"))
    first.unlink()
    size = second.stat().st_size
    with second.open("r+b") as file:
        file.truncate(size - 1)
    fault = prove(sharded).fault
    assert fault.reason == TerminationReason.MODEL_CORRUPT
    assert f"{first.name} is missing" in fault.message
    assert f"{second.name} has {size - 1} bytes instead of {size}" in fault.message
    assert third.name not in fault.message


def test_a_file_that_nobody_fetched_is_refused(folder: Path) -> None:
    publish(folder)
    (folder / "zzz.safetensors").write_bytes(b"x")
    assert "zzz.safetensors is not in the manifest" in prove(folder).fault.message


def test_many_bad_files_are_counted(folder: Path) -> None:
    for number in range(9):
        (folder / f"part-{number}.txt").write_text("x")
    publish(folder)
    for number in range(9):
        (folder / f"part-{number}.txt").unlink()
    assert "and 5 more files" in prove(folder).fault.message


def test_a_manifest_that_cannot_be_believed_is_no_proof(folder: Path) -> None:
    publish(folder)
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text[:-20])
    fault = prove(folder).fault
    assert fault.reason == TerminationReason.MODEL_CORRUPT
    assert MANIFEST in fault.message
