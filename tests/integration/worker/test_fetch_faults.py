"""Jobs as processes, at a hub that fails as hubs do, killed as nodes do."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker_worker.cachecontract import (
    EXIT_PASSES,
    EXIT_STANDS,
    STATE,
    VERIFY,
    FetchReason,
    Progress,
)
from stoker_worker.fetch.chunks import CHUNK
from tests.integration.worker.fetching import NAME, REPO, Pod, Running, make_model
from tests.support.hub import Hub
from tests.support.web import Answer, Request

BIG = "tokenizer.model"
CHUNKS = 8
KILLS = 4
# Slow enough to be killed in the middle, fast enough for a test.
SLOW = 12 << 20


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("source") / "tiny", CHUNKS)


@pytest.fixture
def pod(tmp_path: Path, source: Path) -> Iterator[Pod]:
    (tmp_path / "volume").mkdir()
    with Hub() as hub:
        hub.add(REPO, source)
        pod = Pod(tmp_path, hub)
        try:
            yield pod
        finally:
            pod.stop()


def _size(pod: Pod) -> int:
    tree = pod.hub.repositories[REPO].commits[pod.revision]
    return sum(blob.size for path, blob in tree.items() if not path.endswith(".md"))


def _hashed(pod: Pod, index: int) -> bool:
    lines = pod.journal.read_text().splitlines() if pod.journal.exists() else []
    return any(line[0] == "d" and line.split(" ")[2] == str(index) for line in lines)


def _hearing(running: Running, number: signal.Signals) -> list[str]:
    """The threads of a job that do not block a signal."""
    found = []
    for task in Path(f"/proc/{running.process.pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        (blocked,) = (line.split()[1] for line in lines if line.startswith("SigBlk:"))
        if not int(blocked, 16) & 1 << (number - 1):
            found.append(task.name)
    return found


def _two(pod: Pod) -> tuple[Running, Running]:
    """One that has the lock and gets nothing, and one that waits for it."""
    pod.hub.cdn.fail(status=503, times=None)
    first = pod.start()
    first.wait_until(lambda told: told.reason == FetchReason.SOURCE_UNREACHABLE, "it tries")
    second = pod.start()
    second.wait_until(lambda told: "another job" in told.message, "the second waits")
    return first, second


def test_killed_at_random_it_goes_on_from_what_was_written(pod: Pod) -> None:
    chance = random.Random(6)  # noqa: S311 - repeatable
    kept = [0]
    for _ in range(KILLS):
        running = pod.start(bandwidth=SLOW, parallel=2)
        goal = min(_size(pod) - 4 * CHUNK, kept[-1] + chance.randrange(CHUNK // 2, 2 * CHUNK))
        running.wait_until(lambda told, goal=goal: told.done >= goal, "it downloads")  # type: ignore[misc]
        assert running.kill() == -signal.SIGKILL
        assert not pod.model.exists(), "half a model is never shown"
        kept.append(pod.done_bytes())
        assert kept[-1] >= kept[-2]
    assert kept[-1] > 0
    result = pod.run()
    # Not a byte that was written is fetched again.
    assert result.fetched == _size(pod) - kept[-1]
    pod.check()


def test_what_went_bad_while_nobody_looked_is_found_when_it_goes_on(pod: Pod) -> None:
    running = pod.start(bandwidth=SLOW, parallel=1)
    running.wait_until(lambda _: _hashed(pod, 1), "the second chunk of the large file is hashed")
    running.kill()
    kept = pod.done_bytes()
    with (pod.volume / STATE / "partial" / NAME / BIG).open("r+b") as file:
        file.seek(CHUNK + 12345)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    result = pod.run()
    assert result.fetched == _size(pod) - kept + CHUNK, "that chunk again, and no other"
    pod.check()


def test_two_writers_make_one_download(pod: Pod) -> None:
    first, second = _two(pod)
    pod.hub.cdn.faults.clear()
    assert (first.wait(), second.wait()) == (0, 0)
    assert (first.result().fetched, second.result().fetched) == (_size(pod), 0)
    assert second.result().digest == first.result().digest
    pod.check()


def test_a_writer_that_dies_lets_the_next_one_go_on(pod: Pod) -> None:
    first, second = _two(pod)
    pod.hub.cdn.faults.clear()
    first.kill()
    assert second.wait() == 0, second.log()
    pod.check()


def test_asked_to_end_it_ends_and_says_so(pod: Pod) -> None:
    running = pod.start(bandwidth=SLOW)
    running.wait_until(lambda told: told.done > CHUNK, "it downloads")
    assert running.kill(signal.SIGTERM) == EXIT_PASSES
    assert running.failure().reason == FetchReason.INTERRUPTED
    kept = pod.done_bytes()
    assert pod.run().fetched == _size(pod) - kept
    pod.check()


def test_asked_to_end_while_the_source_is_silent(pod: Pod) -> None:
    pod.hub.cdn.fail(delay_s=60, times=None)
    running = pod.start()
    running.wait_until(lambda told: told.state == "downloading", "it asks")
    # Whichever thread the kernel would choose, there is one that hears the signal.
    assert len(_hearing(running, signal.SIGTERM)) == 1
    assert running.kill(signal.SIGTERM) == EXIT_PASSES
    assert running.failure().reason == FetchReason.INTERRUPTED


def test_every_fault_that_passes_is_outlived(pod: Pod) -> None:
    pod.hub.hub.fail(status=500, times=2)
    pod.hub.cdn.fail(status=503)
    pod.hub.cdn.fail(cut_after=100_000, times=3)
    pod.hub.cdn.fail(status=429, headers={"Retry-After": "1"}, times=2)
    pod.hub.cdn.fail(delay_s=0.2)
    pod.hub.cdn.fail(bytes_per_second=50_000_000)
    pod.run()
    pod.check()


def test_a_limit_is_told_with_its_end_and_honoured_by_all_connections(pod: Pod) -> None:
    arrived: list[float] = []
    deliver = pod.hub.cdn.application

    def note(request: Request) -> Answer:
        arrived.append(time.time())
        return deliver(request)

    pod.hub.cdn.application = note
    pod.hub.cdn.fail(status=429, headers={"Retry-After": "3"})
    running = pod.start()
    told = running.wait_until(lambda told: told.state == "waiting", "it waits")
    assert told.reason == FetchReason.RATE_LIMITED
    assert told.until is not None
    assert running.wait() == 0
    # What was under way when the limit was told may still arrive; then nobody asks.
    until = told.until
    assert [moment for moment in arrived if until - 1.5 < moment < until] == []
    assert [moment for moment in arrived if moment >= until]
    pod.check()


def test_a_limit_beyond_all_patience_ends_the_job(pod: Pod) -> None:
    pod.hub.hub.fail(status=429, headers={"Retry-After": "7200"}, times=None)
    running = pod.start()
    assert running.wait() == EXIT_PASSES
    assert running.failure().reason == FetchReason.RATE_LIMITED
    assert "no question before 20" in running.failure().message


@pytest.mark.parametrize("fault", [{"flip_at": 100}, {"longer": 10}, {"longer": -10}])
def test_one_wrong_answer_is_asked_for_again(pod: Pod, fault: dict[str, int]) -> None:
    pod.hub.cdn.fail(where="*", times=1, **fault)
    pod.run()
    pod.check()


def test_a_source_that_keeps_sending_other_bytes_is_named(pod: Pod) -> None:
    pod.hub.cdn.fail(flip_at=100, times=None)
    running = pod.start()
    assert running.wait() == EXIT_STANDS
    failed = running.failure()
    assert failed.reason == FetchReason.DIGEST_MISMATCH
    assert "expected sha256" in failed.message
    assert not pod.model.exists()
    assert "fetching it again" in running.log() or "fetched again" in running.log()


def test_a_bad_file_stays_away_also_while_the_hub_is_down(pod: Pod) -> None:
    pod.run()
    (pod.model / "config.json").write_text("[]")
    pod.hub.stop()
    running = pod.start(VERIFY, patience_s=1.0)
    assert running.wait() == EXIT_PASSES
    assert running.failure().reason == FetchReason.SOURCE_UNREACHABLE
    assert not (pod.model / "config.json").exists(), "none is better than a bad one"
    pod.hub.start()
    assert pod.run(VERIFY).repaired == ("config.json",)
    pod.check()


def test_a_good_model_needs_no_hub(pod: Pod) -> None:
    pod.run()
    pod.hub.stop()
    for task in ("fetch", "verify"):
        assert pod.run(task).fetched == 0
    pod.hub.start()


def test_secrets_are_nowhere(pod: Pod) -> None:
    secret = "hf_a_token_of_somebody"
    (pod.folder / "secret").mkdir()
    (pod.folder / "secret/token").write_text(secret)
    pod.hub.tokens.add(secret)
    pod.hub.hub.fail(status=500, times=1)
    pod.hub.cdn.fail(status=500, times=3)
    running = pod.start(bandwidth=2 * SLOW)
    running.wait_until(lambda told: told.done > 0, "it downloads")
    pages = running.page() + running.page("/metrics")
    assert running.wait() == 0
    assert secret in str(pod.hub.hub.seen), "the hub got it"
    assert secret not in str(pod.hub.cdn.seen), "and its CDN did not"
    told = pages + running.log() + running.termination() + (pod.model / ".stoker.json").read_text()
    assert secret not in told
    assert "Signature" not in told


def test_the_page_counts_up_to_the_whole(pod: Pod) -> None:
    running = pod.start(bandwidth=SLOW)
    seen: list[Progress] = []

    def enough(told: Progress) -> bool:
        seen.append(told)
        return told.done > 2 * CHUNK

    last = running.wait_until(enough, "it downloads")
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert (last.bytes, last.uid, last.task) == (_size(pod), "uid-of-the-job", "fetch")
    assert last.speed > 0
    metrics = running.page("/metrics")
    assert f"stoker_fetch_model_bytes {float(_size(pod))}\n" in metrics
