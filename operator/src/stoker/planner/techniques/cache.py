"""The KV cache: its type, its overflow into processor memory, and prefixes that are kept."""

from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Objective, Technique
from stoker.planner import quality, words
from stoker.planner.ask import Ask, Decided
from stoker_worker import modelfacts

DTYPE: Final = "kvCacheDtype"
OFFLOAD: Final = "kvCacheOffload"
PREFIX: Final = "prefixCaching"
# Least loss of quality first.
QUANTIZED: Final = ("fp8", "int8", "int4")
# What a user may write for the model's own type.
_PLAIN: Final = frozenset({"auto", "none", "bf16", "bfloat16", "float16"})
_OFFLOAD_GAIN: Final = "host memory is unknown to the plan; set optimization.kvCache.offloadGiB"


def refuse_dtype(ask: Ask, gpu: Gpu) -> Verdict | None:
    """A type that this GPU or engine has not, or no cache to put it in."""
    wanted = ask.request.kv_dtype
    if wanted is None or wanted in _PLAIN:
        return None
    if not ask.keeps_tokens:
        return Verdict(
            reasons.NO_KV_CACHE,
            f"optimization.kvCache.dtype: {ask.facts.architecture} keeps nothing per token, so "
            f"there is no cache to store in {wanted}; remove the field",
        )
    found = ask.features.kv_dtype(wanted, gpu)
    if not found.support.usable:
        return Verdict(found.support.reason, f"optimization.kvCache.dtype: {found.support.why}")
    if _latent(ask) and not found.latent:
        return Verdict(
            reasons.KV_DTYPE_NOT_SUPPORTED,
            f"optimization.kvCache.dtype: {wanted} has a scale per head, and the latent cache of "
            f"{ask.facts.architecture} has no heads; choose fp8 or remove the field",
        )
    return None


def refuse_offload(ask: Ask, gpu: Gpu) -> Verdict | None:
    """On a processor the cache is in its memory already."""
    if not ask.request.kv_offload_gib:
        return None
    support = ask.features.technique("kvOffload", gpu)
    if not support.usable:
        return Verdict(support.reason, f"optimization.kvCache.offloadGiB: {support.why}")
    if not ask.keeps_tokens:
        return Verdict(
            reasons.NO_KV_CACHE,
            f"optimization.kvCache.offloadGiB: {ask.facts.architecture} keeps nothing per token; "
            "remove the field",
        )
    return None


def dtype_choices(ask: Ask, gpu: Gpu) -> tuple[str, ...]:
    """Types of the cache, least loss of quality first; one where there is no choice."""
    wanted = ask.request.kv_dtype
    if wanted is not None:
        return ("auto",) if wanted in _PLAIN else (wanted,)
    if not ask.keeps_tokens:
        return ("auto",)
    scheme = carried(ask)
    if scheme is not None and _usable(ask, gpu, scheme):
        return (scheme,)
    bound = quality.bound_of(ask.request)
    usable = [
        name
        for name in QUANTIZED
        if quality.KV_CACHE[name].typical <= bound and _usable(ask, gpu, name)
    ]
    if "fp8" in usable and "int8" in usable:
        usable.remove("int8")  # no smaller, and slower
    return ("auto", *usable)


def explain_dtype(ask: Ask, decided: Decided) -> Technique:
    """On where a value takes fewer than 16 bits."""
    used = decided.configuration.kv_dtype
    if not ask.keeps_tokens:
        why = f"{ask.facts.architecture} keeps nothing per token"
        return Technique(DTYPE, "off", reasons.NO_KV_CACHE, why)
    size = f"{decided.memory.kv_per_token / 1024:.0f} KiB per token and accelerator"
    if used == "auto":
        return _dtype_off(ask, decided, size)
    told = f"{size}, {decided.memory.kv_tokens:,} tokens; costs {quality.KV_CACHE[used]}"
    why = f"{used}: {told}"
    if used == carried(ask) and ask.request.kv_dtype is None:
        why = f"the checkpoint asks for {used}: {size}, {decided.memory.kv_tokens:,} tokens"
        return Technique(DTYPE, "on", reasons.FOUND_IN_CHECKPOINT, why)
    if ask.request.kv_dtype is not None:
        found = ask.features.kv_dtype(used, decided.gpu)
        # Before the rest, since a status may cut the end off.
        note = "" if found.honoured else f"the engine stores {found.bits} bits all the same; "
        return Technique(DTYPE, "on", reasons.AS_ASKED, f"{used}: {note}{told}")
    if not decided.lossless_fits:
        return Technique(DTYPE, "on", reasons.FITS_ONLY_SO, f"it does not fit in 16 bits; {why}")
    return Technique(DTYPE, "on", reasons.OBJECTIVE_PREFERS, why)


def explain_offload(ask: Ask, decided: Decided) -> Technique:
    """Only when asked for: the planner does not know how much memory the machine can spare."""
    size = decided.configuration.kv_offload_gib
    if size:
        return Technique(OFFLOAD, "on", reasons.AS_ASKED, _offloaded(decided, size))
    support = ask.features.technique("kvOffload", decided.gpu)
    if not support.usable:
        return Technique(OFFLOAD, "off", support.reason, support.why)
    if ask.request.kv_offload_gib is not None:
        return Technique(OFFLOAD, "off", reasons.AS_ASKED, "off as asked")
    return Technique(OFFLOAD, "off", reasons.NOT_NEEDED, _OFFLOAD_GAIN)


def prefix_caching(ask: Ask) -> bool:
    """On where there is anything to keep: a miss costs next to nothing."""
    wanted = ask.request.prefix_caching
    return ask.keeps_tokens and ask.generates if wanted is None else wanted


def refuse_prefix(ask: Ask, gpu: Gpu) -> Verdict | None:
    """Nothing to keep."""
    del gpu
    if ask.request.prefix_caching and not ask.keeps_tokens:
        return Verdict(
            reasons.NO_KV_CACHE,
            f"optimization.prefixCaching: {ask.facts.architecture} keeps nothing per token, so no "
            "prefix can be found again; remove the field",
        )
    return None


def explain_prefix(ask: Ask, decided: Decided) -> Technique:
    """The engine's default for models that generate; the range is from no hit to a whole prompt."""
    used, reuse = decided.configuration.prefix_caching, decided.reuse
    state = "on" if used else "off"
    room = (
        f"room for {decided.memory.kv_tokens:,} tokens; "
        f"first token {words.seconds(reuse.whole_s)}, "
        f"{words.seconds(reuse.half_s)} with half of a prompt found, "
        f"{words.seconds(reuse.found_s)} with all"
    )
    if ask.request.prefix_caching is not None:
        return Technique(PREFIX, state, reasons.AS_ASKED, room if used else "off as asked")
    if not used:
        return Technique(PREFIX, state, reasons.NO_KV_CACHE, "nothing is kept between requests")
    if ask.request.objective is Objective.MULTI_TENANT:
        room += "; tenants share equal prompts"
    return Technique(PREFIX, state, reasons.ENGINE_DECIDES, f"{room}; a miss costs nothing")


def _offloaded(decided: Decided, size: float) -> str:
    """Copying back against computing anew, of half a prompt; and how many requests are kept."""
    reuse = decided.reuse
    kept = f"{size:g} GiB of processor memory keep {words.count(reuse.kept, 'request')} more"
    if reuse.fetched_s is None:
        return kept
    return (
        f"{kept}; first token {words.seconds(reuse.fetched_s)} with half of a prompt copied back, "
        f"{words.seconds(reuse.whole_s)} computed anew"
    )


def _dtype_off(ask: Ask, decided: Decided, size: str) -> Technique:
    if ask.request.kv_dtype is not None:
        return Technique(DTYPE, "off", reasons.AS_ASKED, f"the model's own type: {size}")
    support = ask.features.kv_dtype("fp8", decided.gpu).support
    if not support.usable:
        return Technique(DTYPE, "off", support.reason, support.why)
    held = words.count(decided.concurrency, "request")
    why = f"{size}; {held} fit without; fp8 would double that for {quality.KV_CACHE['fp8']}"
    return Technique(DTYPE, "off", reasons.QUALITY_FIRST, why)


def _usable(ask: Ask, gpu: Gpu, name: str) -> bool:
    found = ask.features.kv_dtype(name, gpu)
    return found.honoured and (found.latent or not _latent(ask))


def _latent(ask: Ask) -> bool:
    return any(run.kind == modelfacts.LATENT for run in ask.facts.layers)


def carried(ask: Ask) -> str | None:
    """A scheme for the cache in the checkpoint, as this planner calls it."""
    stored = ask.facts.quantization
    if stored is None or not stored.kv_dtype:
        return None
    return next((name for name in QUANTIZED if stored.kv_dtype.startswith(name)), None)
