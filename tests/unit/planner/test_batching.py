"""The scheduler of one engine, against steps counted by hand.

A step takes 1 s, and 0.01 s more per token of prompt; so times are counts.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.planner.batching import Arrival, Engine, Job
from stoker.simulate.service import Linear, LinearSteps


def clockwork(chunk: int = 100) -> LinearSteps:
    """Steps whose times can be added in the head."""
    return LinearSteps(Linear(1.0, 0.0, 0.0, prompt_token_s=0.01, chunk=chunk))


def job(number: int, prompt: int, output: int, at: float = 0.0) -> Job:
    return Job(number, Arrival(at, prompt, output))


def run(engine: Engine, jobs: list[Job]) -> None:
    for each in jobs:
        while engine.due < each.request.at_s:
            engine.advance()
        engine.submit(each, each.request.at_s)
    while math.isfinite(engine.due):
        engine.advance()


def test_a_prompt_takes_its_chunks_and_each_further_token_a_step() -> None:
    one = job(0, 250, 4)
    run(Engine(clockwork(), 1600, 8), [one])
    # Chunks of 100, 100 and 50 tokens: 2 + 2 + 1.5 s; then three tokens.
    assert one.first == pytest.approx(5.5)
    assert one.ended == pytest.approx(8.5)


def test_prompts_share_the_tokens_of_a_step_in_order_of_arrival() -> None:
    first, second = job(0, 60, 1), job(1, 60, 1)
    run(Engine(clockwork(), 1600, 8), [first, second])
    assert first.first == pytest.approx(2.0)  # 60 and 40 tokens
    assert second.first == pytest.approx(3.2)  # the other 20
    assert second.started == 0.0


def test_one_who_comes_during_decoding_waits_for_the_step_and_not_for_the_move() -> None:
    first, second = job(0, 50, 101), job(1, 50, 2, at=10.2)
    run(Engine(clockwork(), 1600, 8), [first, second])
    # First token at 1.5 s, so steps end at 2.5, … 10.5; the step with the prompt takes 1.5 s.
    assert second.started == pytest.approx(10.5)
    assert second.first == pytest.approx(12.0)
    assert second.ended == pytest.approx(13.0)
    assert first.ended == pytest.approx(101.5 + 0.5)


def test_no_more_sequences_than_allowed() -> None:
    jobs = [job(number, 10, 11) for number in range(3)]
    engine = Engine(clockwork(), 1600, 2)
    run(engine, jobs)
    assert [each.started for each in jobs] == pytest.approx([0.0, 0.0, 11.2])


def test_the_latest_is_put_off_when_blocks_run_out_and_computed_again() -> None:
    first, second = job(0, 32, 40), job(1, 32, 40)
    engine = Engine(clockwork(), 6 * 16, 8)
    run(engine, [first, second])
    # 2 blocks each; both take a third at once with their second token, and reach 48 tokens at the
    # same time: 6 blocks are full, 16 tokens after the prompts. There the second one goes.
    assert engine.put_off == 1
    assert first.ended == pytest.approx(1.64 + 39)
    # Its 32 + 17 tokens need 4 blocks when the first one holds up to 5; so it waits for the end,
    # computes 49 tokens again and draws the 18th with that step; 22 more follow.
    assert second.first == pytest.approx(1.64)
    assert second.ended == pytest.approx(first.ended + 1.49 + 22)


def test_signals_follow_what_is_in_the_engine() -> None:
    engine = Engine(clockwork(), 1600, 1)
    engine.submit(job(0, 33, 5), 0.0)
    engine.submit(job(1, 33, 5), 0.0)
    engine.advance()
    assert (engine.running, engine.waiting, engine.kv_tokens) == (1, 1, 48)
    assert engine.kv_share == pytest.approx(0.03)
    assert engine.abandon()[0].number == 0
    assert (engine.running, engine.waiting, engine.due) == (0, 0, math.inf)


def test_what_can_never_fit_is_told_before() -> None:
    engine = Engine(clockwork(), 160, 8)
    assert engine.holds(Arrival(0, 100, 60))
    assert not engine.holds(Arrival(0, 100, 61))


@given(
    st.lists(
        st.tuples(st.floats(0, 40), st.integers(1, 90), st.integers(1, 60)), min_size=1, max_size=25
    ),
    st.integers(10, 40),
    st.integers(1, 12),
)
def test_every_block_comes_back_and_everybody_ends(
    requests: list[tuple[float, int, int]], blocks: int, limit: int
) -> None:
    engine = Engine(clockwork(chunk=64), blocks * 16, limit)
    jobs = [Job(number, Arrival(*each)) for number, each in enumerate(sorted(requests))]
    run(engine, jobs)
    assert (engine.running, engine.waiting, engine.kv_tokens) == (0, 0, 0)
    for each in jobs:
        assert each.request.at_s <= each.started < each.first <= each.ended
        assert each.drawn == each.request.output_tokens


def gaps(engine: Engine, jobs: list[Job]) -> list[tuple[float, int]]:
    for each in jobs:
        engine.submit(each, 0.0)
    found = []
    while math.isfinite(engine.due):
        engine.advance()
        found.extend(engine.gaps)
    return found


def test_whoever_is_put_off_waits_long_for_the_next_token() -> None:
    # 10 blocks: both have 4 for their prompts and fill a fifth at their 80th token.
    jobs = [job(0, 64, 60), job(1, 64, 60)]
    engine = Engine(clockwork(200), 160, 8)
    found = gaps(engine, jobs)
    assert engine.put_off == 1
    assert [jobs[1].came, jobs[1].last] == [0.0, pytest.approx(jobs[1].first + 16)]
    # The first one has 43 tokens to go; then the other's 81 tokens are computed anew.
    ((seconds, tokens),) = [each for each in found if each[0] > 2]
    assert tokens == 1
    assert seconds == pytest.approx(43 + 1.81)


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 60)), min_size=1, max_size=12))
def test_times_between_tokens_add_up_to_what_answers_took(rows: list[tuple[int, int]]) -> None:
    jobs = [job(number, *row) for number, row in enumerate(rows)]
    found = gaps(Engine(clockwork(), 160, 8), jobs)
    took = sum(each.ended - each.first for each in jobs)
    assert sum(seconds * tokens for seconds, tokens in found) == pytest.approx(took)
    assert sum(tokens for _, tokens in found) == sum(output - 1 for _, output in rows)
