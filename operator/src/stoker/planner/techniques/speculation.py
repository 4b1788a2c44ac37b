"""Speculative decoding: drafts are checked several at a time, while the hardware has time for it.

A step of a small batch waits for memory, so checking a few more tokens is free; a large batch waits
for arithmetic, and every rejected draft costs. So speculation is planned with a load above which
the engine stops drafting (`num_speculative_tokens_per_batch_size`), from the ridge of the
hardware's roofline. Published: 1.5-2.8 times faster at one request per second, 1.4-1.8 times slower
under load (vLLM's blog, October 2024); switched off by load it still costs 12-15 %.
"""

from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Configuration, Objective, Technique
from stoker.planner.ask import Ask, Decided

NAME: Final = "speculativeDecoding"
_TOKENS: Final = {"ngram": 4, "draft": 4, "eagle": 3, "mtp": 1}
_NEED_MODEL: Final = frozenset({"draft", "eagle"})
_MOST: Final = 64
# Below the ridge by this much, so that prompts in the same step still find room.
_MARGIN: Final = 4
# A schedule that switched drafting off: a step is dearer than without any (measured, 12-15 %).
SWITCHED_OFF: Final = 1.14


def refuse(ask: Ask, gpu: Gpu) -> Verdict | None:
    """A method that needs what is not there."""
    wanted = ask.request.speculation
    if wanted is None or wanted.method == "none":
        return None
    if not ask.generates:
        return Verdict(
            reasons.NOT_SUPPORTED,
            "optimization.speculative: a model that writes no tokens has none to draft; remove it",
        )
    if wanted.method == "mtp" and not ask.facts.draft_layers:
        return Verdict(
            reasons.NO_DRAFT_LAYERS,
            "optimization.speculative: the checkpoint carries no multi-token-prediction layers; "
            "choose ngram, or a checkpoint that has them",
        )
    if wanted.method in _NEED_MODEL and not wanted.model:
        return Verdict(
            reasons.NEEDS_DRAFT_MODEL,
            f"optimization.speculative: {wanted.method} needs the folder of a draft model; choose "
            "ngram, which needs none",
        )
    support = ask.features.speculation(wanted.method, gpu)
    return (
        None
        if support.usable
        else Verdict(support.reason, f"optimization.speculative: {support.why}")
    )


def choice(ask: Ask, gpu: Gpu) -> tuple[str, int, int, str | None]:
    """Method, drafted tokens, the load up to which it drafts, the draft's folder."""
    wanted = ask.request.speculation
    if wanted is not None:
        if wanted.method == "none":
            return "none", 0, 0, None
        tokens = wanted.tokens or _TOKENS.get(wanted.method, 4)
        return wanted.method, tokens, limit(ask, gpu, tokens), wanted.model
    latency = ask.request.objective is Objective.LATENCY
    able = ask.generates and ask.facts.draft_layers > 0
    if latency and able and ask.features.speculation("mtp", gpu).usable:
        tokens = _TOKENS["mtp"]
        return "mtp", tokens, limit(ask, gpu, tokens), None
    return "none", 0, 0, None


def limit(ask: Ask, gpu: Gpu, tokens: int) -> int:
    """Requests at once above which drafts cost more than they give; a power of two.

    The ridge is the number of tokens per step at which arithmetic takes as long as reading the
    weights: FLOP/s · bytes of a weight / (2 · bytes/s).
    """
    rate = max(gpu.flops.get("bfloat16", 0.0), gpu.flops.get("float16", 0.0))
    parameters = max(1, ask.facts.parameters)
    width = min(2.0, max(0.5, ask.facts.weight_bytes / parameters))
    ridge = rate * width / (2 * max(1.0, gpu.bandwidth))
    most = ridge / _MARGIN / (tokens + 1)
    power = 1
    while power * 2 <= min(most, _MOST):
        power *= 2
    return power


def schedule(configuration: Configuration) -> list[list[int]] | None:
    """Drafted tokens by requests at once: [first, last, tokens]; None where it always drafts."""
    until, last = configuration.speculative_until, configuration.max_num_seqs
    if not until or until >= last or configuration.data > 1:
        return None
    return [[1, until, configuration.speculative_tokens], [until + 1, last, 0]]


def explain(ask: Ask, decided: Decided) -> Technique:
    """On when asked for, or when latency matters and the checkpoint brings its own drafts."""
    used = decided.configuration
    if used.speculation == "none":
        return _off(ask)
    tokens = f"{used.speculation}, {used.speculative_tokens} drafted tokens"
    if schedule(used) is None:
        why = f"{tokens} at every load"
    else:
        why = f"{tokens} up to {used.speculative_until} requests at once, none above"
    reason = reasons.OBJECTIVE_PREFERS if ask.request.speculation is None else reasons.AS_ASKED
    return Technique(NAME, "on", reason, f"{why}; answers stay the same")


def _off(ask: Ask) -> Technique:
    if ask.request.speculation is not None:
        return Technique(NAME, "off", reasons.AS_ASKED, "off as asked")
    if not ask.generates:
        return Technique(NAME, "off", reasons.NOT_NEEDED, "the model writes no tokens")
    if ask.request.objective is Objective.LATENCY:
        why = (
            "the checkpoint carries no draft layers, and n-grams gain only where answers repeat "
            "the prompt; set optimization.speculative.method: ngram for such texts"
        )
        return Technique(NAME, "off", reasons.NO_DRAFT_LAYERS, why)
    why = "drafts cost throughput under load (1.4-1.8 times slower); objective latency plans them"
    return Technique(NAME, "off", reasons.FOLLOWS_LOAD, why)
