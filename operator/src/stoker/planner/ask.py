"""What a decision starts from, and what it ends with, before it becomes an answer.

`Ask` holds the three things that stay the same while candidates are compared: the wishes, the
model, the engine. `Decided` is one candidate that fits, with everything known about it: the rules
in `stoker.planner.techniques` explain it, `stoker.planner.objectives` score it.
"""

from dataclasses import dataclass, field
from typing import Final

from stoker.catalog.engines import EngineFeatures
from stoker.catalog.gpus import Gpu
from stoker.model.sizing import Configuration, Expected, Memory, Objective, Request, Reuse
from stoker.planner.calibration import Residual
from stoker_worker import modelfacts
from stoker_worker.modelfacts import ModelFacts

# How a checkpoint's own method is called in `optimization.quantization`, by bits of a weight, where
# the method is a container for several.
_CONTAINERS = frozenset({"compressed-tensors", "quark", "modelopt", "torchao"})
# Models may claim millions of tokens; one such request would take the whole cache.
_USUAL_CONTEXT: Final = 131_072
# Marlin and others: kernels that formerly had a name of their own.
_FAMILIES = {"awq_marlin": "awq", "auto_awq": "awq", "gptq_marlin": "gptq", "auto_gptq": "gptq"}


@dataclass(frozen=True, slots=True)
class Ask:
    """The wishes, the model, the engine."""

    request: Request
    facts: ModelFacts
    features: EngineFeatures

    @property
    def found(self) -> str:
        """How the checkpoint stores its weights: none, fp8, int8, int4, awq, gptq, mxfp4, …."""
        return found_quantization(self.facts)

    @property
    def keeps_tokens(self) -> bool:
        """Whether any layer keeps something for each token."""
        return any(
            run.kind in {modelfacts.FULL, modelfacts.SLIDING, modelfacts.LATENT}
            for run in self.facts.layers
        )

    @property
    def generates(self) -> bool:
        """Whether the model writes tokens; an embedder only reads them."""
        return self.facts.task == "generate"

    @property
    def needed_context(self) -> int:
        """Tokens of one request of the workload: the shortest context that is of use."""
        workload = self.request.workload
        return max(1, workload.input_tokens + workload.output_tokens)

    @property
    def limit(self) -> int:
        """The longest context that the planner gives unasked: the model's own, within reason."""
        if self.request.objective is Objective.LONG_CONTEXT:
            return self.facts.max_positions
        return min(self.facts.max_positions, max(self.needed_context, _USUAL_CONTEXT))


@dataclass(frozen=True, slots=True)
class Decided:
    """One configuration that fits, and what it gives."""

    gpu: Gpu
    configuration: Configuration
    memory: Memory
    expected: Expected
    concurrency: int
    reuse: Reuse
    lossless_fits: bool  # whether the same accelerators hold it without any loss of quality
    # What engines of the service taught about this type.
    residual: Residual = field(default_factory=Residual)


def found_quantization(facts: ModelFacts) -> str:
    """The name in `optimization.quantization` for what the checkpoint holds; none for 16 bit."""
    stored = facts.quantization
    if stored is None:
        return "none"
    method = stored.method.lower().replace("_", "-")
    if method in _CONTAINERS:
        if stored.bits == 8:
            return "fp8" if stored.floating else "int8"
        if stored.bits == 4:
            return "nvfp4" if stored.floating else "int4"
    return _FAMILIES.get(stored.method.lower(), stored.method.lower())
