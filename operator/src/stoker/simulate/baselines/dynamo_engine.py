"""What Dynamo's planner believes of one engine that computes prompts and answers together.

Source, ai-dynamo/dynamo: `components/src/dynamo/planner/core/perf_model/agg.py`. The original fits
the time of an iteration to tokens of prompt and tokens of context from what engines report, or from
a sweep before deployment. Here both come from the service itself: the true times, which favours it.

    TTFT of the next request   iterations of the step's tokens until all prompts that wait and one
                               more are computed, each with the present context
    ITL                        an iteration with one sequence more, and the mean tokens of prompt
    rate(x)                    x / (O · T(x)) for x sequences of mean context I + O/2, each with I/O
                               tokens of prompt in an iteration (Little's law)

The best rate is that of the first x's up to the one before a target is missed, x below what the KV
cache and the engine hold and what leaves room for prompts: I / (tokens - x) ≤ O. Where even one
sequence misses, its rate counts.
"""

import math
from dataclasses import dataclass

from stoker.simulate.policy import ReplicaSignal, Targets
from stoker.simulate.service import Service


@dataclass(frozen=True, slots=True)
class Load:
    """What one engine has, as a planner reads it. Real numbers, since loads are thought moved."""

    running: float
    context_tokens: float  # in the KV cache
    queued_tokens: float  # of prompts that wait

    def times(self, factor: float) -> "Load":
        """So many times that."""
        return Load(
            self.running * factor, self.context_tokens * factor, self.queued_tokens * factor
        )


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine with requests of one mean length, in tokens."""

    service: Service
    prompt: float
    output: float

    def load_of(self, replica: ReplicaSignal) -> Load:
        """What a replica reports."""
        return Load(replica.running, replica.kv_tokens, replica.waiting * self.prompt)

    def iteration_s(self, prompt_tokens: float, running: float, context_tokens: float) -> float:
        """Seconds of one iteration."""
        context = context_tokens / running if running else 0.0
        keys = self.prompt / 2
        return self.service.steps.step_s(running, context, prompt_tokens, keys)

    def ttft_s(self, load: Load) -> float:
        """Of the next request that comes, in seconds."""
        left, total, step = load.queued_tokens + self.prompt, 0.0, self.service.steps.chunk
        whole = math.floor(left / step)
        if whole:
            total = whole * self.iteration_s(step, load.running, load.context_tokens)
            left -= whole * step
        if left > 0:
            total += self.iteration_s(left, load.running, load.context_tokens)
        return total

    def itl_s(self, load: Load) -> float:
        """With one sequence more, in seconds; queued prompts will be context."""
        running = load.running + 1
        context = load.context_tokens + self.prompt + self.output / 2
        prompts = min(running * self.prompt / max(1.0, self.output), self.service.steps.chunk)
        return self.iteration_s(prompts, running, context)

    def best_rate(self, targets: Targets) -> float:
        """Requests per second that one engine takes within the targets."""
        step, context = self.service.steps.chunk, self.prompt + self.output / 2
        most = min(max(1, int(self.service.kv_tokens / context)), self.service.max_num_seqs)
        balanced = math.floor(step - self.prompt / self.output)
        best = 0.0
        for batch in range(1, max(1, min(most, step - 1, balanced)) + 1):
            prompts = min(batch * self.prompt / max(1.0, self.output), step)
            itl = self.iteration_s(prompts, batch, batch * context)
            ttft = self.ttft_s(Load(batch, batch * context, prompts))
            missed = itl > targets.itl_s or ttft > targets.ttft_s
            if missed and batch > 1:
                break
            best = batch / (self.output * itl)
            if missed:
                break
        return best
