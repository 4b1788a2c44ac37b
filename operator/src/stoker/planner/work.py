"""What a request takes of a replica, read off the time model.

While tokens come within a target T, a replica makes a step every T seconds. Of it, a fixed part
goes into the step itself, each sequence present takes its own time for a token, and prompts that
come meanwhile take theirs. The time model is asked for steps that differ in one number only; the
differences are the coefficients of `Work`.
"""

from stoker.model.work import SLOWEST, Work
from stoker.planner.batching import Steps


def work_of(  # noqa: PLR0917 - a replica's limits, the lengths of requests, a target
    steps: Steps, places: int, kv_tokens: int, prompt: float, output: float, itl_s: float
) -> Work:
    """Coefficients near half of the largest batch, for requests of these mean lengths.

    `places` sequences and `kv_tokens` tokens are what the replica holds; `itl_s` is the target for
    the time between two tokens, in seconds. Of models that are no sums (weights and operations hide
    each other) these are the secants.
    """
    prompt = max(1.0, prompt)
    context = prompt + output / 2
    batch = max(2, min(places, int(kv_tokens / context), steps.chunk) // 2)
    tokens = min(prompt, max(1.0, steps.chunk - batch))
    one, many = steps.step_s(1), steps.step_s(batch)
    reading = steps.step_s(batch, context)
    short = steps.step_s(batch, context, tokens)
    long = steps.step_s(batch, context, tokens, prompt / 2)
    sequence = max(0.0, (many - one) / (batch - 1))
    step = max(0.0, one - sequence)
    return Work(
        step_s=step,
        sequence_s=sequence,
        context_token_s=max(0.0, reading - many) / (batch * context),
        prompt_token_s=max(0.0, short - reading) / tokens,
        prompt_key_s=max(0.0, long - short) / (tokens * prompt / 2),
        pace_s=max(itl_s, step * SLOWEST),
        places=places,
        kv_tokens=kv_tokens,
        prompt_tokens=prompt,
        output_tokens=output,
    )
