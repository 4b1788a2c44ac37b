"""What a technique costs in quality, as data, and how much of it a plan may spend.

A loss is the percentage of a benchmark's score that a typical model loses against its own 16-bit
version. Sources disagree and models differ, so each entry is a range; a plan adds up the typical
values. Only what the plan itself adds counts: a checkpoint that comes quantized was somebody's
choice before.
"""

from dataclasses import dataclass
from typing import Final

from stoker.model.sizing import Request

# Without a bound of the user's, a plan may spend what FP8 weights and an FP8 KV cache take
# together at their worst, and nothing that a user could notice without measuring.
DEFAULT_BOUND: Final = 1.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Percent of a benchmark's score."""

    low: float
    typical: float
    high: float
    source: str

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g} % ({self.source})"


_KURTIC = "Kurtic et al. 2024, arXiv 2411.02355"

WEIGHTS: Final = {
    "fp8": Loss(0.1, 0.3, 0.5, _KURTIC),
    "int8": Loss(0.1, 0.3, 0.5, "weights only; Dettmers et al. 2022, arXiv 2208.07339"),
    "int4": Loss(1.0, 2.0, 3.0, _KURTIC),
    "awq": Loss(1.0, 2.0, 3.0, _KURTIC),
    "gptq": Loss(1.0, 2.0, 3.0, _KURTIC),
    "bitsandbytes": Loss(1.0, 2.0, 3.0, "NF4; Dettmers et al. 2023, arXiv 2305.14314"),
}
KV_CACHE: Final = {
    "fp8": Loss(0.1, 0.2, 0.3, "vLLM's measurements of fp8 KV caches, April 2026"),
    "int8": Loss(0.1, 0.3, 0.5, "LMDeploy's KV quantization, 8 bit"),
    "int4": Loss(3.0, 3.5, 4.0, "LMDeploy's KV quantization, 4 bit, on gsm8k"),
}


def loss_of(quantization: str, kv_dtype: str) -> float:
    """Typical loss in percent of weights quantized at load, and of a KV cache in fewer bits."""
    spent = (WEIGHTS.get(quantization), KV_CACHE.get(kv_dtype))
    return sum(loss.typical for loss in spent if loss is not None)


def bound_of(request: Request) -> float:
    """Percent that the planner may spend of its own accord."""
    return DEFAULT_BOUND if request.max_quality_loss is None else request.max_quality_loss
