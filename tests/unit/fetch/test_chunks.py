"""Whatever order chunks are taken, lost and finished in, each is fetched and none is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.fetch.chunks import Chunks


@given(st.integers(0, 200), st.integers(1, 9), st.data())
def test_everything_is_there_in_the_end(  # noqa: C901 - four moves and their conditions
    size: int, chunk: int, data: st.DataObject
) -> None:
    chunks = Chunks(size, chunk)
    taken: list[range] = []
    done: set[int] = set()
    for _ in range(60):
        match data.draw(st.sampled_from(["take", "finish", "give back", "spoil"])):
            case "take":
                run = chunks.take(data.draw(st.integers(1, 5)))
                if run is not None:
                    assert not done & set(run)
                    assert all(not set(run) & set(other) for other in taken)
                    taken.append(run)
            case "finish" if taken:
                index = data.draw(st.sampled_from(taken[0]))
                chunks.finish(index)
                done.add(index)
            case "give back" if taken:
                chunks.give_back(taken.pop(0))
            case "spoil" if done:
                index = data.draw(st.sampled_from(sorted(done)))
                if not any(index in run for run in taken):
                    chunks.spoil(index)
                    done.discard(index)
            case _:
                pass
        held = {index for run in taken for index in run} - done
        assert chunks.missing == chunks.count - len(done) - len(held)
        assert chunks.done_bytes() == sum(chunks.length(index) for index in done)
        assert {i for i in range(chunks.count) if chunks.is_done(i)} == done
    for run in taken:
        chunks.give_back(run)
    while (run := chunks.take(3)) is not None:
        for index in run:
            chunks.finish(index)
    assert chunks.whole()
    assert (chunks.missing, chunks.done_bytes()) == (0, size)


def test_places_of_chunks() -> None:
    chunks = Chunks(25, 10)
    assert [chunks.start(index) for index in range(4)] == [0, 10, 20, 25]
    assert [chunks.length(index) for index in range(3)] == [10, 10, 5]
    assert Chunks(0, 10).whole()
    assert Chunks(0, 10).take(5) is None
