"""Continuous batching over given arrivals: what each request waits and takes, by the time model.

Steps as the engine plans them: running sequences first, each one token or the next chunk of its
prompt, then waiting ones in order of arrival, within the tokens of a step, the sequences and the
blocks. Where blocks run out, the latest sequence is put off and later computed again from its
start. One data parallel rank, no prefix cache, no speculation. Pure: the clock is the steps' sum.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.planner.time import Pace


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request: when it comes, in seconds, and how long it is, in tokens."""

    at_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request saw, in seconds from its arrival."""

    queue_s: float  # to its first step
    ttft_s: float
    e2e_s: float


@dataclass(slots=True)
class _Sequence:
    index: int
    request: Arrival
    prompt: int  # tokens to compute before the next one can be drawn
    done: int = 0  # of the prompt and what was drawn after it
    drawn: int = 0
    blocks: int = 0
    started: float = -1.0
    first: float = -1.0


class _Blocks:
    """The KV cache: how many blocks are left."""

    def __init__(self, tokens: int, size: int) -> None:
        self.size = size
        self.free = tokens // size

    def grow(self, sequence: _Sequence, tokens: int) -> bool:
        """Room for the sequence at this length; False where there is none."""
        more = max(0, -(-tokens // self.size) - sequence.blocks)
        if more > self.free:
            return False
        self.free -= more
        sequence.blocks += more
        return True

    def release(self, sequence: _Sequence) -> None:
        self.free += sequence.blocks
        sequence.blocks = 0


def replay(
    pace: Pace, arrivals: Sequence[Arrival], kv_tokens: int, max_num_seqs: int, block_size: int = 16
) -> tuple[Outcome, ...]:
    """Outcomes in the order of `arrivals`, which come sorted by time.

    ValueError for a request that the KV cache cannot hold even alone.
    """
    longest = max((each.input_tokens + each.output_tokens for each in arrivals), default=0)
    if -(-longest // block_size) > kv_tokens // block_size:
        raise ValueError(f"a request of {longest} tokens in a cache of {kv_tokens}")
    blocks = _Blocks(kv_tokens, block_size)
    coming = deque(enumerate(arrivals))
    waiting: deque[_Sequence] = deque()
    running: list[_Sequence] = []
    found: dict[int, Outcome] = {}
    now = 0.0
    while coming or waiting or running:
        if not waiting and not running:
            now = max(now, coming[0][1].at_s)
        while coming and coming[0][1].at_s <= now:
            index, request = coming.popleft()
            waiting.append(_Sequence(index, request, request.input_tokens))
        planned = _plan(pace.chunk, waiting, running, blocks, max_num_seqs)
        for sequence, _ in planned:
            if sequence.started < 0:
                sequence.started = now
        now += _duration(pace, planned)
        for sequence, tokens in planned:
            _advance(sequence, tokens, now)
            if sequence.drawn >= sequence.request.output_tokens:
                running.remove(sequence)
                blocks.release(sequence)
                at = sequence.request.at_s
                found[sequence.index] = Outcome(
                    sequence.started - at, sequence.first - at, now - at
                )
    return tuple(found[index] for index in range(len(arrivals)))


def _plan(
    chunk: int,
    waiting: deque[_Sequence],
    running: list[_Sequence],
    blocks: _Blocks,
    max_num_seqs: int,
) -> list[tuple[_Sequence, int]]:
    """Sequences of the next step and their tokens; puts off and admits as needed."""
    planned: list[tuple[_Sequence, int]] = []
    budget, position, put_off = chunk, 0, False
    while position < len(running) and budget > 0:
        sequence = running[position]
        tokens = min(budget, max(1, sequence.prompt - sequence.done))
        while not blocks.grow(sequence, sequence.done + tokens):
            put_off = True
            last = running.pop()
            blocks.release(last)
            last.prompt, last.done = last.request.input_tokens + last.drawn, 0
            waiting.appendleft(last)
            if last is sequence:
                return planned
        planned.append((sequence, tokens))
        budget -= tokens
        position += 1
    while waiting and not put_off and budget > 0 and len(running) < max_num_seqs:
        sequence = waiting[0]
        tokens = min(budget, sequence.prompt)
        if not blocks.grow(sequence, tokens):
            break
        running.append(waiting.popleft())
        planned.append((sequence, tokens))
        budget -= tokens
    return planned


def _duration(pace: Pace, planned: Sequence[tuple[_Sequence, int]]) -> float:
    decodes = context = prompts = keys = sampled = 0
    for sequence, tokens in planned:
        if sequence.done >= sequence.prompt:
            decodes += 1
            context += sequence.done
        else:
            prompts += tokens
            keys += tokens * (2 * sequence.done + tokens) // 2
        sampled += sequence.done + tokens >= sequence.prompt
    return pace.step_s(
        decodes, context / max(1, decodes), prompts, keys / max(1, prompts), sampled=sampled
    )


def _advance(sequence: _Sequence, tokens: int, now: float) -> None:
    sequence.done += tokens
    if sequence.done >= sequence.prompt:
        sequence.drawn += 1
        if sequence.first < 0:
            sequence.first = now
