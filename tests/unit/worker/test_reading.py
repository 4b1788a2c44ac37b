"""What is read of a model while its engine starts: in which order, how much, and what it proves."""

import threading
from pathlib import Path
from queue import SimpleQueue

from stoker_worker.contract import Termination, TerminationReason
from stoker_worker.proof import prove
from stoker_worker.reading import SLICE, Reading, Slice, slices
from tests.support.published import flip_bit, publish

A, B = Path("a"), Path("b")


def test_files_are_read_from_the_front_in_the_order_of_their_names() -> None:
    assert slices([(A, SLICE + 5), (B, 7)], None) == [
        Slice(A, 0, SLICE),
        Slice(A, SLICE, 5),
        Slice(B, 0, 7),
    ]


def test_no_more_is_read_ahead_than_memory_has_room_for() -> None:
    assert slices([(A, SLICE + 5), (B, 7)], SLICE + 5) == [Slice(A, 0, SLICE), Slice(A, SLICE, 5)]
    assert slices([(A, SLICE + 5)], SLICE - 1) == []


def judged(reading: Reading) -> Termination | None:
    heard: SimpleQueue[Termination | None] = SimpleQueue()
    reading.tell(heard.put)
    reading.start()
    verdict = heard.get(timeout=60)
    assert heard.empty(), "told once"
    return verdict


def touched(folder: Path) -> Reading:
    """What reads a folder of which every file looks changed."""
    for file in folder.iterdir():
        file.touch()
    return Reading(folder, prove(folder).suspects, ahead=True, memory_bytes=None)


def test_files_that_are_as_they_were_are_proven(sharded: Path) -> None:
    manifest = publish(sharded)
    reading = touched(sharded)
    assert len(prove(sharded).suspects) == len(manifest.files)
    assert reading.unproven
    assert judged(reading) is None
    assert not reading.unproven


def test_a_bad_file_is_named_with_both_digests(sharded: Path) -> None:
    manifest = publish(sharded)
    shard = sorted(sharded.glob("*.safetensors"))[2]
    flip_bit(shard, shard.stat().st_size - 1)
    reading = touched(sharded)
    fault = judged(reading)
    assert fault.reason == TerminationReason.MODEL_CORRUPT
    (wanted,) = [each.sha256 for each in manifest.files if each.path == shard.name]
    assert fault.message.startswith(f"{shard.name} has sha256 ")
    assert f"instead of {wanted}" in fault.message
    assert reading.unproven, "what is bad is never proven"
    late: list[Termination | None] = []
    reading.tell(late.append)
    assert late == [fault]


def test_nothing_is_said_of_a_model_without_suspects(sharded: Path) -> None:
    reading = Reading(sharded, (), ahead=True, memory_bytes=None)
    assert not reading.unproven
    said: list[Termination | None] = []
    reading.tell(said.append)
    before = {thread.name for thread in threading.enumerate()}
    reading.start()
    for thread in threading.enumerate():
        if thread.name.startswith("reader-") and thread.name not in before:
            thread.join(60)
    assert said == []
