"""Continuous batching in one engine: the scheduler of vLLM, moved on from boundary to boundary.

Steps as the engine plans them: running sequences first, each one token or the next chunk of its
prompt, then waiting ones in order of arrival, within the tokens of a step, the sequences and the
blocks. Where blocks run out, the latest sequence is put off and later computed again from its
start. No prefix cache.

What makes it fast: while nothing is computed but one token per sequence, nobody has to look at the
sequences. Until one of them ends, the blocks run out or somebody comes who can be taken in, n steps
are one move:

* A sequence that decodes has computed `offset + ticks` tokens, where `ticks` counts decode steps of
  the engine; only `ticks` moves. It ends at a tick that is known when it starts.
* It needs a block when that length is a multiple of the block size, so once per `size` ticks, at
  its phase. The number of sequences per phase gives the blocks that n steps take.
* The time of a step grows linearly with the mean context, up to the round corners of the model, so
  n steps take n times the step in the middle.

The tokens of a step bound the sequences too, as the engine itself demands.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

# Steps in one move at most: the context they add stays small beside what a step takes.
_LONGEST_MOVE: Final = 256


class Steps(Protocol):
    """How long steps take; `stoker.planner.time.Pace` is one."""

    @property
    def chunk(self) -> int:
        """Tokens per step."""

    def step_s(
        self,
        decodes: float,
        context: float = 0.0,
        prompt_tokens: float = 0.0,
        prompt_keys: float = 0.0,
        sampled: float | None = None,
    ) -> float:
        """Seconds of one step; the arguments are those of `Pace.step_s`."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request: when it comes, in seconds, and how long it is, in tokens."""

    at_s: float
    input_tokens: int
    output_tokens: int


@dataclass(slots=True, eq=False)
class Job:
    """A request in an engine. Times in seconds of the engine's clock; -1: not yet."""

    number: int
    request: Arrival
    came: float = -1.0  # to this engine
    started: float = -1.0  # of its first step
    first: float = -1.0  # token
    last: float = -1.0  # token before it was put off
    ended: float = -1.0
    prompt: int = 0  # tokens to compute before the next one can be drawn
    done: int = 0  # computed, while it does not decode
    drawn: int = 0
    blocks: int = 0  # while it does not decode
    offset: int = 0  # while it decodes: tokens computed, less the engine's ticks
    end_tick: int = -1  # at which the last token is drawn; -1: does not decode


class Engine:
    """One engine. `due` is when something changes by itself; `advance` makes it happen."""

    def __init__(
        self, steps: Steps, kv_tokens: int, max_num_seqs: int, block_size: int = 16
    ) -> None:
        self._steps = steps
        self._chunk = max(1, steps.chunk)
        self._limit = min(max_num_seqs, self._chunk)
        self._size = block_size
        self._blocks = kv_tokens // block_size
        self._free = self._blocks
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}  # in the order they were admitted
        self._partial: Job | None = None  # the one whose prompt is not computed; always the last
        self._ticks = 0
        self._decoding = 0
        self._offsets = 0  # sum over decoding sequences
        self._phases = [0] * block_size
        self._ends: list[tuple[int, int]] = []  # (tick, number); stale entries are skipped
        # The move in progress: n steps of `each` seconds from `began`; prompts only if n is 1.
        self._began = 0.0
        self._each = 0.0
        self._moves = 0
        self._prompts: list[tuple[Job, int]] = []
        self._busy_s = 0.0
        self._steps_done = 0
        self.due = math.inf
        self.put_off = 0  # preemptions so far
        # Of the boundary that was carried out last: who got a first token, and how many other
        # tokens came how many seconds after the one before.
        self.first_tokens: list[Job] = []
        self.gaps: list[tuple[float, int]] = []

    @property
    def running(self) -> int:
        """Requests being computed."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that are not."""
        return len(self._waiting)

    @property
    def kv_tokens(self) -> int:
        """Tokens of the KV cache in use at the last boundary, by blocks."""
        return (self._blocks - self._free) * self._size

    @property
    def kv_share(self) -> float:
        """The same as a share."""
        return 1 - self._free / self._blocks if self._blocks else 1.0

    def worked(self, now: float) -> tuple[float, int]:
        """Seconds that it has computed so far, and the steps in them."""
        if not self._moves:
            return self._busy_s, self._steps_done
        since = max(0.0, now - self._began)
        return self._busy_s + since, self._steps_done + int(since / self._each)

    def holds(self, request: Arrival) -> bool:
        """Whether the cache is large enough for this request alone."""
        tokens = max(1, request.input_tokens) + request.output_tokens
        return -(-tokens // self._size) <= self._blocks

    def submit(self, job: Job, now: float) -> None:
        """A request that came; it is taken in at the next boundary."""
        job.prompt = max(1, job.request.input_tokens)
        job.came = now
        self._waiting.append(job)
        if not self._running:
            self.due = min(self.due, now)
        elif self._moves > 1 and len(self._running) < self._limit and len(self._waiting) == 1:
            # It need not wait for the whole move: end it with the step in progress.
            steps = max(1, math.ceil((now - self._began) / self._each - 1e-9))
            if steps < self._moves:
                self._moves = steps
                self.due = self._began + steps * self._each

    def abandon(self) -> list[Job]:
        """All requests, as they are lost with the engine; none is left, and nothing is due."""
        lost = [*self._running.values(), *self._waiting]
        self._running.clear()
        self._waiting.clear()
        self.due = math.inf
        return lost

    def advance(self) -> list[Job]:
        """Carry out what is due and plan the next move; the requests that have ended."""
        now = self.due
        self.first_tokens, self.gaps = [], []
        ended = self._finish(now) if self._moves else []
        self._plan(now)
        return ended

    # The end of a move.

    def _finish(self, now: float) -> list[Job]:
        ended: list[Job] = []
        steps = self._moves
        self._busy_s += steps * self._each
        self._steps_done += steps
        if self._decoding:
            self.gaps.append((self._each, steps * self._decoding))
            self._free -= self._growth(steps)
            self._ticks += steps
            ends = self._ends
            while ends and ends[0][0] <= self._ticks:
                tick, number = heapq.heappop(ends)
                job = self._running.get(number)
                if job is not None and job.end_tick == tick:
                    self._leave(job)
                    del self._running[number]
                    job.drawn = job.request.output_tokens
                    job.ended = now
                    ended.append(job)
        for job, tokens in self._prompts:
            job.done += tokens
            if job.done < job.prompt:
                continue
            if job is self._partial:
                self._partial = None
            job.drawn += 1
            if job.first < 0:
                job.first = now
                self.first_tokens.append(job)
            else:
                self.gaps.append((now - job.last, 1))
            if job.drawn >= job.request.output_tokens:
                self._free += job.blocks
                del self._running[job.number]
                job.ended = now
                ended.append(job)
            else:
                self._decode(job)
        self._prompts = []
        self._moves = 0
        return ended

    def _decode(self, job: Job) -> None:
        """Its prompt is computed: from now on it moves with the ticks."""
        job.offset = job.done - self._ticks
        job.end_tick = self._ticks + job.request.output_tokens - job.drawn
        heapq.heappush(self._ends, (job.end_tick, job.number))
        self._decoding += 1
        self._offsets += job.offset
        self._phases[-job.offset % self._size] += 1

    def _leave(self, job: Job) -> None:
        """It no longer decodes; its blocks are free."""
        length = job.offset + self._ticks
        self._free += -(-length // self._size)
        self._decoding -= 1
        self._offsets -= job.offset
        self._phases[-job.offset % self._size] -= 1
        job.end_tick = -1

    def _growth(self, steps: int) -> int:
        """Blocks that so many steps of all decoding sequences take."""
        rounds, rest = divmod(steps, self._size)
        blocks = rounds * self._decoding
        phases, size, tick = self._phases, self._size, self._ticks
        for step in range(rest):
            blocks += phases[(tick + step) % size]
        return blocks

    # The next move.

    def _plan(self, now: float) -> None:
        put_off = False
        while self._decoding and self._phases[self._ticks % self._size] > self._free:
            self._put_off(now)
            put_off = True
        budget = self._chunk - self._decoding
        prompts: list[tuple[Job, int]] = []
        partial = self._partial
        if partial is not None and budget > 0:
            free = self._free - self._phases[self._ticks % self._size]
            tokens = min(budget, partial.prompt - partial.done)
            if self._reserve(partial, tokens, free):
                prompts.append((partial, tokens))
                budget -= tokens
            else:
                self._put_off(now)
                put_off = True
        if not put_off and self._waiting:
            self._admit(budget, prompts, now)
        self._prompts = prompts
        self._began = now
        if not self._running:
            # Blocks that nobody holds are enough for anybody, so nothing waits either.
            self.due = math.inf
            return
        # Who was put off may be taken in again one step later.
        self._moves = 1 if prompts or put_off else self._free_steps()
        self._each = self._duration()
        self.due = now + self._moves * self._each

    def _admit(self, budget: int, prompts: list[tuple[Job, int]], now: float) -> None:
        waiting, running = self._waiting, self._running
        coming = self._phases[self._ticks % self._size]
        while waiting and budget > 0 and len(running) < self._limit:
            job = waiting[0]
            tokens = min(budget, job.prompt)
            if not self._reserve(job, tokens, self._free - coming):
                break
            waiting.popleft()
            running[job.number] = job
            prompts.append((job, tokens))
            budget -= tokens
            if job.started < 0:
                job.started = now
            if tokens < job.prompt:
                self._partial = job

    def _reserve(self, job: Job, tokens: int, free: int) -> bool:
        """Blocks for the next tokens of a prompt; False where there are none."""
        more = -(-(job.done + tokens) // self._size) - job.blocks
        if more > free:
            return False
        self._free -= more
        job.blocks += more
        return True

    def _put_off(self, now: float) -> None:
        """Take the latest sequence out; it begins again, before all who wait."""
        _, job = self._running.popitem()
        if job.end_tick >= 0:
            job.drawn = job.request.output_tokens - (job.end_tick - self._ticks)
            job.last = now
            self._leave(job)
        else:
            self._free += job.blocks
            self._partial = None
        job.prompt = max(1, job.request.input_tokens) + job.drawn
        job.done = job.blocks = 0
        self._waiting.appendleft(job)
        self.put_off += 1

    def _free_steps(self) -> int:
        """Decode steps until a sequence ends or the blocks do."""
        ends = self._ends
        while True:
            tick, number = ends[0]
            job = self._running.get(number)
            if job is not None and job.end_tick == tick:
                break
            heapq.heappop(ends)
        steps = min(tick - self._ticks, _LONGEST_MOVE)
        if self._growth(steps) > self._free:
            steps = min(steps, max(1, self._free // self._decoding * self._size))
            while self._growth(steps) > self._free:  # the phases of one round
                steps -= 1
            while self._growth(steps + 1) <= self._free:
                steps += 1
        return steps

    def _duration(self) -> float:
        """Seconds of each step of the move."""
        decodes = self._decoding
        # Sequences have computed offset + ticks tokens; halfway through the move, that much more.
        context = self._ticks + (self._moves - 1) / 2
        if decodes:
            context += self._offsets / decodes
        if not self._prompts:
            return self._steps.step_s(decodes, context)
        tokens = keys = 0
        heads = decodes
        for job, now in self._prompts:
            tokens += now
            keys += now * (2 * job.done + now) // 2
            heads += job.done + now >= job.prompt
        return self._steps.step_s(
            decodes, context if decodes else 0.0, tokens, keys / tokens, heads
        )
