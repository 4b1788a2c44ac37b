"""What one request takes of one replica: the measure by which arrivals become replicas."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Final, Self

# Where no batch keeps the target for the time between tokens: this many fixed parts instead.
SLOWEST: Final = 2.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a request takes of one replica that makes a step every `pace_s`, its target.

    A step has a fixed part; each sequence present takes its own time for a token, each token of its
    context time to be read, and prompts that come meanwhile take theirs. A request also takes a
    place in the batch and KV cache for its tokens for as long as it is there. Times in seconds.
    """

    step_s: float  # of every step
    sequence_s: float  # per sequence that gets a token
    context_token_s: float  # per token of context that these sequences read
    prompt_token_s: float  # per token of prompt
    prompt_key_s: float  # per token of prompt and key that it attends to
    pace_s: float  # the time between two tokens that is aimed at
    places: float  # sequences in a batch
    kv_tokens: float  # that the KV cache holds
    # Mean lengths of the requests that this was computed for; longer ones make it a little wrong.
    prompt_tokens: float
    output_tokens: float

    def request_s(self, prompt: float, output: float) -> float:
        """Seconds of one replica for one request of these lengths, whatever it lacks first."""
        length = prompt + output / 2
        first = prompt * (self.prompt_token_s + prompt / 2 * self.prompt_key_s)
        there = first + output * self.pace_s
        free = max(0.05, 1 - self.step_s / self.pace_s)
        time = first + output * (self.sequence_s + length * self.context_token_s)
        return max(time / free, there / self.places, there * length / self.kv_tokens)

    def slower(self, factor: float) -> Self:
        """The same where each step takes so many times as long."""
        step = self.step_s * factor
        return dataclasses.replace(
            self,
            step_s=step,
            pace_s=max(self.pace_s, SLOWEST * step),
            sequence_s=self.sequence_s * factor,
            context_token_s=self.context_token_s * factor,
            prompt_token_s=self.prompt_token_s * factor,
            prompt_key_s=self.prompt_key_s * factor,
        )

    def to_text(self) -> str:
        """As a status keeps it: the fields in order, short; the estimates are worth no more."""
        return " ".join(f"{value:.3g}" for value in dataclasses.astuple(self))

    @classmethod
    def from_text(cls, text: object) -> Self | None:
        """What a status keeps; None where another version, or nobody, wrote it."""
        if not isinstance(text, str):
            return None
        try:
            values = [float(word) for word in text.split()]
            found = cls(*values)
        except (ValueError, TypeError):
            return None
        if not all(math.isfinite(value) and value >= 0 for value in values):
            return None
        return found if min(found.pace_s, found.places, found.kv_tokens) > 0 else None
