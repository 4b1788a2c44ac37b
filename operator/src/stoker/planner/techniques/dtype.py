"""The type of computation: the model's own, where the accelerator has it.

T4 and V100 have no bfloat16; float16 does instead, except for models whose activations leave its
range, which the engine refuses: they compute in float32 there, with twice the memory.
"""

from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Technique
from stoker.planner.ask import Ask, Decided

NAME: Final = "computeDtype"
# vLLM's own list: it ends at start when such a model is to compute in float16.
_NO_FLOAT16: Final = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})
# These kernels multiply in 16 bits only.
_SIXTEEN_BITS_ONLY: Final = frozenset({"awq", "gptq", "int4", "bitsandbytes", "fp8", "int8"})
_ORDER: Final = ("bfloat16", "float16", "float32")


def choice(ask: Ask, gpu: Gpu) -> str | None:
    """The type, or None where the accelerator has none that the model can compute in."""
    own = ask.facts.dtype if ask.facts.dtype in _ORDER else "bfloat16"
    # vLLM computes models that were stored in 32 bits in 16.
    wanted = "bfloat16" if own == "float32" else own
    for name in dict.fromkeys((wanted, *_ORDER)):
        if name not in gpu.flops:
            continue
        if name == "float16" and ask.facts.model_type in _NO_FLOAT16:
            continue
        if name == "float32" and ask.found in _SIXTEEN_BITS_ONLY:
            continue
        return name
    return None


def refuse(ask: Ask, gpu: Gpu) -> Verdict | None:
    """No type in common."""
    found = choice(ask, gpu)
    if found == "float32" and ask.request.quantization not in {None, "none"}:
        return Verdict(
            reasons.DTYPE_NOT_SUPPORTED,
            f"optimization.quantization: a {ask.facts.model_type} model computes in float32 on "
            f"{gpu.name}, and kernels for {ask.request.quantization} weights in 16 bits only; "
            "remove the field or choose a GPU with bfloat16",
        )
    if found is not None:
        return None
    return Verdict(
        reasons.DTYPE_NOT_SUPPORTED,
        f"{gpu.name} computes in {', '.join(sorted(gpu.flops))}; a {ask.facts.model_type} model "
        f"with {ask.found} weights can use none of them",
    )


def explain(ask: Ask, decided: Decided) -> Technique:
    """On where it is not the model's own."""
    used = decided.configuration.dtype
    if used == ask.facts.dtype:
        return Technique(NAME, "off", reasons.AS_THE_MODEL, f"{used}, as the model was made")
    if ask.facts.dtype in decided.gpu.flops:
        why = f"{used} instead of {ask.facts.dtype}: half the memory, as the engine does by itself"
        return Technique(NAME, "on", reasons.ENGINE_DECIDES, why)
    why = f"{used}, because {decided.gpu.name} has no {ask.facts.dtype}"
    return Technique(NAME, "on", reasons.HARDWARE_DECIDES, why)
