"""How the engine runs a step and gets its weights: compilation, attention, offload, loader."""

from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Technique
from stoker.planner.ask import Ask, Decided

COMPILE: Final = "compile"
ATTENTION: Final = "attentionBackend"
OFFLOAD: Final = "cpuOffload"
LOADER: Final = "loader"


def compiles(ask: Ask) -> bool:
    """On unless it is refused: the cache of compiled code outlives the pod."""
    return True if ask.request.compile is None else ask.request.compile


def explain_compile(ask: Ask, decided: Decided) -> Technique:
    """torch.compile, and CUDA graphs with it."""
    used = decided.configuration.compile
    state = "on" if used else "off"
    if ask.request.compile is not None:
        why = "as asked" if used else "eager as asked: a start of half the time, slower steps"
        return Technique(COMPILE, state, reasons.AS_ASKED, why)
    what = "compiled" if decided.gpu.shared_memory else "compiled, with CUDA graphs"
    why = f"{what}; only the first start pays, as the compile cache is kept"
    return Technique(COMPILE, state, reasons.ENGINE_DECIDES, why)


def refuse_attention(ask: Ask, gpu: Gpu) -> Verdict | None:
    """A backend that this engine does not have for this GPU."""
    wanted = ask.request.attention_backend
    if wanted is None or wanted == "auto":
        return None
    support = ask.features.attention_backend(wanted, gpu)
    if not support.usable:
        return Verdict(support.reason, f"optimization.attentionBackend: {support.why}")
    kept = ask.request.kv_dtype
    only = None if kept is None else ask.features.kv_dtype(kept, gpu).attention
    if only is not None and only != wanted:
        return Verdict(
            reasons.KV_DTYPE_NOT_SUPPORTED,
            f"optimization.attentionBackend: {wanted} does not read a KV cache in {kept}, only "
            f"{only} does; remove one of the two fields",
        )
    return None


def attention(ask: Ask) -> str | None:
    """The user's, or None: the engine knows its kernels best."""
    wanted = ask.request.attention_backend
    return None if wanted == "auto" else wanted


def explain_attention(ask: Ask, decided: Decided) -> Technique:
    """Which implementation, and who chose it."""
    del ask
    used = decided.configuration.attention_backend
    if used is not None:
        return Technique(ATTENTION, "on", reasons.AS_ASKED, f"{used} as asked")
    why = f"the engine takes its fastest for {decided.gpu.name}"
    return Technique(ATTENTION, "off", reasons.ENGINE_DECIDES, why)


def refuse_offload(ask: Ask, gpu: Gpu) -> Verdict | None:
    """On a processor the weights are in its memory already."""
    if not ask.request.cpu_offload_gib:
        return None
    support = ask.features.technique("cpuOffload", gpu)
    return (
        None
        if support.usable
        else Verdict(support.reason, f"optimization.cpuOffloadGiB: {support.why}")
    )


def explain_offload(ask: Ask, decided: Decided) -> Technique:
    """Weights that every step fetches over the bus: a way out, never a choice."""
    used = decided.configuration.cpu_offload_gib
    if used:
        why = f"{used:g} GiB per accelerator are read over the bus in every step"
        return Technique(OFFLOAD, "on", reasons.AS_ASKED, why)
    if ask.request.cpu_offload_gib is not None:
        return Technique(OFFLOAD, "off", reasons.AS_ASKED, "off as asked")
    why = "the weights fit; offloaded ones would be read over the bus in every step"
    return Technique(OFFLOAD, "off", reasons.NOT_NEEDED, why)


def refuse_loader(ask: Ask, gpu: Gpu) -> Verdict | None:
    """A loader that the stock engine or the GPU lacks."""
    wanted = ask.request.loader
    if wanted is None or wanted == "auto":
        return None
    support = ask.features.loader(wanted, gpu)
    return (
        None if support.usable else Verdict(support.reason, f"optimization.loader: {support.why}")
    )


def loader(ask: Ask) -> str:
    """The user's, or the engine's own."""
    return ask.request.loader or "auto"


def explain_loader(ask: Ask, decided: Decided) -> Technique:
    """How weights get from the volume into memory."""
    del ask
    used = decided.configuration.loader
    if used != "auto":
        return Technique(LOADER, "on", reasons.AS_ASKED, f"{used} as asked")
    why = "safetensors files are mapped into memory, and read ahead where the volume is a network's"
    return Technique(LOADER, "off", reasons.ENGINE_DECIDES, why)
