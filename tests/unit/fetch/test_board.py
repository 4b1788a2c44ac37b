"""The board hands each chunk to one connection, and a file to one hash at a time."""

from __future__ import annotations

import threading

import pytest

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.board import RUN, Board
from stoker_worker.fetch.chunks import Chunks
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.filework import FileWork, Hasher
from stoker_worker.fetch.journal import Recorded
from stoker_worker.fetch.listing import RemoteFile

CHUNK = 10
WRONG = "0" * 64


def _work(number: int, chunks: int, *, ranges: bool = True, sha256: str | None = None) -> FileWork:
    size = chunks * CHUNK
    remote = RemoteFile(f"file-{number}", size, sha256, ranges=ranges)
    return FileWork(number, remote, Chunks(size, CHUNK), Hasher(size, git=False))


class Lost:
    def __init__(self) -> None:
        self.told: list[tuple[int, int, bool]] = []

    def __call__(self, work: FileWork, count: int, why: str, whole: bool) -> None:  # noqa: FBT001
        assert why
        self.told.append((work.number, count, whole))


def _board(works: list[FileWork], parallel: int = 2) -> tuple[Board, Lost]:
    lost = Lost()
    return Board(works, parallel, lost), lost


def _take(board: Board) -> tuple[int, range]:
    taken = board.take()
    assert taken is not None
    return taken[0].number, taken[1]


def _finish_all(board: Board, work: FileWork) -> None:
    taken = board.take()
    while taken is not None:
        assert taken[0] is work
        for index in taken[1]:
            board.finish(work, index)
        board.leave(*taken)
        if work.chunks.whole():
            return
        taken = board.take()


def test_connections_have_a_file_for_themselves_as_long_as_there_are_enough() -> None:
    board, _ = _board([_work(n, 100) for n in range(2)], parallel=4)
    runs = [_take(board) for _ in range(4)]
    assert [number for number, _ in runs] == [0, 1, 0, 1]
    assert runs[0][1] == range(RUN)
    assert runs[2][1] == range(RUN, 2 * RUN)


def test_no_more_files_are_begun_than_there_are_connections() -> None:
    works = [_work(n, 100) for n in range(4)]
    board, _ = _board(works, parallel=2)
    assert [_take(board)[0] for _ in range(4)] == [0, 1, 0, 1]


def test_what_is_kept_of_a_chunk_goes_with_it() -> None:
    work = _work(0, 2)
    board, _ = _board([work])
    taken = board.take()
    assert taken is not None
    assert (board.is_due(work, 0), board.is_due(work, 1)) == (True, False)
    assert board.finish(work, 0, memoryview(b"0123456789"))
    assert board.is_due(work, 1)
    assert bytes(work.kept[0]) == b"0123456789"
    board.spoil(work, "bad")
    assert not board.finish(work, 1, memoryview(b"0123456789"))
    assert 1 not in work.kept, "whoever wrote it has it back"


def test_towards_the_end_runs_grow_short_so_that_nobody_is_idle() -> None:
    board, _ = _board([_work(0, 12)], parallel=4)
    assert [len(_take(board)[1]) for _ in range(4)] == [3, 2, 1, 1]


def test_a_file_without_ranges_has_one_reader() -> None:
    board, _ = _board([_work(0, 100, ranges=False), _work(1, 1)])
    assert _take(board) == (0, range(100))
    assert _take(board) == (1, range(1))


def test_what_a_connection_leaves_another_one_gets() -> None:
    work = _work(0, 3)
    board, _ = _board([work], parallel=1)
    taken = board.take()
    assert taken is not None
    board.finish(work, 0)
    board.leave(*taken)
    assert _take(board) == (0, range(1, 3))


def test_hashing_follows_the_order_of_chunks() -> None:
    work = _work(0, 3)
    board, _ = _board([work])
    board.take()
    board.finish(work, 2)
    assert not work.can_hash()
    board.finish(work, 0)
    assert board.next_to_hash() is work
    assert not work.can_hash(), "one thread at a time"
    assert not board.hashed(work), "the second chunk is not there yet"
    board.finish(work, 1)
    assert board.hashed(work)


def test_a_file_that_is_bad_begins_again_once_nobody_has_it() -> None:
    work = _work(0, 2, sha256=WRONG)
    board, lost = _board([work])
    taken = board.take()
    assert taken is not None
    board.finish(work, 0)
    board.spoil(work, "expected 20 bytes, got 10")
    assert board.ended(work)
    assert not board.finish(work, 1), "late bytes count no more"
    assert lost.told == []
    board.leave(*taken)
    assert lost.told == [(0, 10, True)]
    assert (work.chunks.missing, work.spoiled, work.mismatches) == (2, "", 1)


def test_the_second_mismatch_ends_it_with_both_digests() -> None:
    work = _work(0, 1, sha256=WRONG)
    board, _ = _board([work])
    for _ in range(2):
        _finish_all(board, work)
        assert board.next_to_hash() is work
        work.hashed = 1
        board.judge(work)
        board.stop_hashing(work)
    with pytest.raises(FetchError, match="file-0: expected sha256 0000") as ended:
        board.wait_for_all(threading.Event())
    assert ended.value.reason == FetchReason.DIGEST_MISMATCH
    assert work.hasher.sha256 in ended.value.message


def test_what_an_earlier_job_left_bad_is_not_the_sources_fault() -> None:
    recorded = Recorded(20, CHUNK, {0, 1})
    work = FileWork.of(0, RemoteFile("file-0", 20, WRONG), recorded)
    board, lost = _board([work])
    assert board.next_to_hash() is work
    work.hashed = 2
    board.judge(work)
    board.stop_hashing(work)
    assert lost.told == [(0, 20, True)]
    assert (work.mismatches, work.resumed, work.chunks.missing) == (0, False, 2)


def test_a_journal_with_absurd_chunks_is_not_believed() -> None:
    work = FileWork.of(0, RemoteFile("file-0", 1 << 40), Recorded(1 << 40, 1, {0}))
    assert (work.resumed, work.chunks.count) == (False, (1 << 40) >> 23)


def test_a_chunk_that_differs_from_its_record_is_fetched_alone() -> None:
    recorded = Recorded(30, CHUNK, {0, 1, 2}, {0: "a" * 64, 1: "b" * 64})
    work = FileWork.of(0, RemoteFile("file-0", 30), recorded)
    board, lost = _board([work])
    work.hashed = 1
    board.lose_chunk(work, 1)
    assert lost.told == [(0, 10, False)]
    assert _take(board) == (0, range(1, 2))
    assert work.recorded == {0: "a" * 64}


def test_it_is_over_when_every_file_is_settled() -> None:
    works = [_work(0, 1), _work(1, 0)]
    board, _ = _board(works)
    _finish_all(board, works[0])
    for _ in works:
        work = board.next_to_hash()
        assert work is not None
        work.hashed = work.chunks.count
        board.judge(work)
        board.stop_hashing(work)
    assert board.take_dirty() == [works[0]]
    verified = board.verified(0)
    assert verified is not None
    for work in verified:
        board.settle(work)
    board.wait_for_all(threading.Event())
    assert board.take() is None
    assert board.next_to_hash() is None
    assert board.verified(0) is None


def test_who_asks_it_to_end_and_what_goes_wrong_end_it() -> None:
    stop = threading.Event()
    stop.set()
    board, _ = _board([_work(0, 1)])
    with pytest.raises(FetchError) as ended:
        board.wait_for_all(stop)
    assert ended.value.reason == FetchReason.INTERRUPTED
    board, _ = _board([_work(0, 1)])
    board.fail(OSError("first"))
    board.fail(OSError("second"))
    with pytest.raises(OSError, match="first"):
        board.wait_for_all(threading.Event())
    assert board.take() is None
