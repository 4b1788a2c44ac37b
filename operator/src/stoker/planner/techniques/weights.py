"""Weights: their quantization, and sparsity that a checkpoint carries.

The engine quantizes at load to FP8, experts also to INT8 (and to 4 bits with the bitsandbytes
plugin); AWQ, GPTQ and other
4-bit formats need a checkpoint that was made so. A checkpoint that is quantized stays what it is.
"""

from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Technique
from stoker.planner import quality, words
from stoker.planner.ask import Ask, Decided

NAME: Final = "weightQuantization"
SPARSITY: Final = "sparsity"
# Made at load, least loss of quality first.
AT_LOAD: Final = ("fp8", "int8", "bitsandbytes")
_FOUR_BITS: Final = frozenset({"int4", "awq", "gptq"})


def refuse(ask: Ask, gpu: Gpu) -> Verdict | None:
    """What cannot be had: a format that the GPU or the engine lacks, or another checkpoint's."""
    wanted, found = ask.request.quantization, ask.found
    if found != "none":
        if wanted not in {None, "none", found} and not (wanted == "int4" and found in _FOUR_BITS):
            return Verdict(
                reasons.CHECKPOINT_IS_QUANTIZED,
                f"optimization.quantization: the checkpoint is quantized to {found} already and "
                f"cannot become {wanted}; remove the field, or choose a checkpoint in {wanted}",
            )
        support = ask.features.quantization(_kernels(ask, found), gpu)
        return None if support.usable else Verdict(support.reason, f"model.uri: {support.why}")
    if wanted in {None, "none"}:
        return None
    support = ask.features.made_at_load(wanted, gpu)
    if support.usable and support.experts and not ask.facts.experts:
        return Verdict(
            reasons.NO_EXPERTS,
            f"optimization.quantization: {wanted} is made at load of experts alone, and "
            f"{ask.facts.architecture} has none; choose fp8, or a checkpoint in {wanted}",
        )
    return (
        None
        if support.usable
        else Verdict(support.reason, f"optimization.quantization: {support.why}")
    )


def refuse_sparse(ask: Ask, gpu: Gpu) -> Verdict | None:
    """A checkpoint with a sparsity configuration, where the engine refuses any."""
    del gpu
    if ask.facts.quantization is None or not ask.facts.quantization.sparse:
        return None
    support = ask.features.sparse_checkpoint()
    return None if support.usable else Verdict(reasons.SPARSE_CHECKPOINT_REFUSED, support.why)


def choices(ask: Ask, gpu: Gpu) -> tuple[str, ...]:
    """Ways to keep the weights, least loss of quality first; one where there is no choice."""
    wanted, found = ask.request.quantization, ask.found
    if found != "none":
        return (found,)
    if wanted is not None:
        return (wanted,)
    bound = quality.bound_of(ask.request)
    usable = [
        name
        for name in AT_LOAD
        if quality.WEIGHTS[name].typical <= bound
        and (support := ask.features.made_at_load(name, gpu)).usable
        and (ask.facts.experts or not support.experts)
    ]
    if "fp8" in usable and "int8" in usable:
        usable.remove("int8")  # of experts alone, and no more exact
    return ("none", *usable)


def explain(ask: Ask, decided: Decided) -> Technique:
    """On where weights have fewer than 16 bits."""
    used, found = decided.configuration.quantization, ask.found
    size = words.gib(decided.memory.weights)
    if found != "none":
        why = f"the checkpoint is quantized to {found}; {size} of weights per accelerator"
        return Technique(NAME, "on", reasons.FOUND_IN_CHECKPOINT, why)
    if used == "none":
        return _off(ask, decided, size)
    how = ask.features.made_at_load(used, decided.gpu).why.rstrip(".")
    why = f"{used} at load: {size} of weights per accelerator ({how})"
    why += f"; costs {quality.WEIGHTS[used]} of quality"
    if ask.request.quantization is not None:
        return Technique(NAME, "on", reasons.AS_ASKED, why)
    if not decided.lossless_fits:
        return Technique(NAME, "on", reasons.FITS_ONLY_SO, f"it does not fit in 16 bits; {why}")
    return Technique(NAME, "on", reasons.OBJECTIVE_PREFERS, why)


def _kernels(ask: Ask, found: str) -> str:
    """The engine's feature behind a checkpoint's format: activations decide on the kernels."""
    stored = ask.facts.quantization
    if stored is None or stored.bits != 8 or found not in {"fp8", "int8", "gptq"}:
        return found
    if stored.activation_bits > 8:
        return "fp8_weight_only" if stored.floating else "int8_weight_only"
    return "fp8_static" if found == "fp8" and stored.static else found


def explain_sparsity(ask: Ask, decided: Decided) -> Technique:
    """Off: no engine gains from it; a pruned checkpoint that is uniform is simply smaller."""
    del decided
    if ask.facts.quantization is not None and ask.facts.quantization.sparse:
        why = "the checkpoint's sparsity is loaded as dense weights: nothing is saved"
        return Technique(SPARSITY, "off", reasons.NOT_SUPPORTED, why)
    why = "the checkpoint carries none; a pruned model is planned by its real sizes"
    return Technique(SPARSITY, "off", reasons.NOT_NEEDED, why)


def _off(ask: Ask, decided: Decided, size: str) -> Technique:
    if ask.request.quantization == "none":
        return Technique(NAME, "off", reasons.AS_ASKED, f"16 bits as asked: {size}")
    support = ask.features.made_at_load("fp8", decided.gpu)
    if not support.usable:
        return Technique(NAME, "off", support.reason, support.why)
    why = f"{size} of weights in 16 bits fit; fp8 would cost {quality.WEIGHTS['fp8']} of quality"
    return Technique(NAME, "off", reasons.QUALITY_FIRST, why)
