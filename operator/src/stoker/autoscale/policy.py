"""The rules of one service's scaling, read from its spec once."""

from dataclasses import dataclass
from typing import Final

from stoker import quantity
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.platform import EnginePlatform, Platform

# Engines serve this many requests at once when neither the user nor the catalogue says so.
DEFAULT_CONCURRENCY: Final = 256
_CONCURRENCY_ARG: Final = "max-num-seqs"


# A start in a cloud: a node, an image, weights, compilation (docs/scaling.md has the sources).
DEFAULT_LEAD_S: Final = 200.0
DEFAULT_QUANTILE: Final = 0.9
DEFAULT_UTILIZATION: Final = 0.7


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
    places: int  # sequences in a batch
    kv_tokens: int  # that the KV cache holds

    def request_s(self, prompt: float, output: float) -> float:
        """Seconds of one replica for one request of these lengths, whatever it lacks first."""
        length = prompt + output / 2
        first = prompt * (self.prompt_token_s + prompt / 2 * self.prompt_key_s)
        there = first + output * self.pace_s
        free = max(0.05, 1 - self.step_s / self.pace_s)
        time = first + output * (self.sequence_s + length * self.context_token_s)
        return max(time / free, there / self.places, there * length / max(1, self.kv_tokens))


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds, target and windows. Durations in seconds."""

    min_replicas: int
    max_replicas: int
    queue_target: int  # waiting requests per replica that are fine
    concurrency: int  # requests that one replica computes at once
    # Windows that the user has set; None: learned from the service's own past.
    idle_before_zero: float | None = None
    stabilization: float | None = None
    # From a replica being asked for to its first answer.
    lead_s: float = DEFAULT_LEAD_S
    # How sure a forecast has to be: the share of moments after which no more was needed.
    quantile: float = DEFAULT_QUANTILE
    utilization: float = DEFAULT_UTILIZATION  # how busy a replica may be by arrivals alone
    work: Work | None = None  # None: nobody knows a replica's pace
    # Mean lengths of requests before any was seen.
    prompt_tokens: float = 1000.0
    output_tokens: float = 250.0

    def clamp(self, replicas: int) -> int:
        """The nearest allowed number."""
        return max(self.min_replicas, min(replicas, self.max_replicas))


def policy_of(
    spec: InferenceServiceSpec, platform: Platform, planned: int | None = None
) -> Policy | None:
    """Rules of a service that scales by load; None when its replicas are fixed.

    `planned` is what the plan says one replica computes at once.
    """
    scaling = spec.scaling
    if scaling is None:
        return None
    return Policy(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        queue_target=scaling.target.queue_depth,
        concurrency=planned or _concurrency(spec, platform.engines.get(spec.engine.name.value)),
        idle_before_zero=quantity.parse_duration(scaling.scale_to_zero_after),
        stabilization=quantity.parse_duration(scaling.scale_down_stabilization),
    )


def _concurrency(spec: InferenceServiceSpec, engine: EnginePlatform | None) -> int:
    given = spec.engine.args.get(_CONCURRENCY_ARG)
    if given is None and engine is not None:
        given = engine.args.get(_CONCURRENCY_ARG)
    if given is not None and given.isdecimal() and int(given) > 0:
        return int(given)
    return engine.concurrency if engine is not None else DEFAULT_CONCURRENCY
