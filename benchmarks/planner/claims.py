"""What the literature claims, and the planner's number beside it, as docs/claims.md has it.

Each claim is put to the planner's own functions; the text around a number is written by hand, the
number never. A test compares the document with what this module makes of it.
"""

# ruff: noqa: RUF001 - the document is typeset: a minus and a multiplication sign
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, log

from benchmarks.planner.models import model
from stoker.catalog.gpus import Gpu
from stoker.catalog.load import builtin_gpus
from stoker.model.sizing import GIB, Configuration, Workload
from stoker.planner.calibration import Calibration, calibration_of
from stoker.planner.memory import concurrency_of, memory_of, request_bytes, weights_of
from stoker.planner.replay import Arrival, replay
from stoker.planner.time import Pace, pace_of
from stoker_worker.modelfacts import ModelFacts

H100, A100, RTX = "nvidia-h100-80gb", "nvidia-a100-40gb", "nvidia-rtx-4090"


@dataclass(frozen=True)
class Claim:
    """One row of the document."""

    claim: str
    planned: str
    verdict: str  # reproduced, in part, contradicted
    reason: str


def claims() -> list[Claim]:
    """All claims, in the order of the document."""
    makers: Sequence[Callable[[], Claim]] = (
        _int4_weights,
        _int4_latency,
        _int8_kv,
        _int4_kv,
        _speculation,
        _continuous_batching,
        _seven_billion,
        _fp8_latency,
        _pruning,
        _hundred_billion,
        _tail,
    )
    return [make() for make in makers]


def document() -> str:
    """The whole of docs/claims.md."""
    head = (
        "# Claims of the literature, and what the planner says\n\n"
        "Written by `python -m benchmarks.planner --claims docs/claims.md`; a test keeps it true.\n"
        "Numbers are the planner's own, from `stoker.planner`, the catalogue and the "
        "calibration.\n\n"
        "| claim | planned | verdict | why |\n|---|---|---|---|\n"
    )
    rows = "".join(
        f"| {each.claim} | {each.planned} | {each.verdict} | {each.reason} |\n" for each in claims()
    )
    return head + rows


def _gpu(name: str) -> Gpu:
    return builtin_gpus()[name]


def _pace(facts: ModelFacts, gpu: Gpu, configuration: Configuration) -> Pace:
    return pace_of(facts, gpu, configuration, calibration_of(gpu, facts))


def _change(before: float, after: float) -> str:
    percent = round((after / before - 1) * 100)
    return f"{percent:+d} %".replace("-", "−") if percent else "unchanged"


def _weights(facts: ModelFacts, **settings: object) -> float:
    configuration = replace(Configuration(H100), **settings)  # type: ignore[arg-type]
    return weights_of(facts, configuration, Calibration(loaded=1.0)) / GIB


def _int4_weights() -> Claim:
    facts = model("Llama-2-7B")
    full, four = _weights(facts), _weights(facts, quantization="awq")
    return Claim(
        "INT4 weights: memory −75 %",
        f"Llama-2-7B {full:.1f} → {four:.1f} GiB, {_change(full, four)}",
        "in part",
        "scales take a quarter of a bit per weight and embeddings stay in 16 bits; published 4-bit "
        "checkpoints are about 70 % smaller. The KV cache and the engine's own memory do not "
        "shrink "
        "(whole process: −59 % for 7B, measured by FastChat)",
    )


def _int4_latency() -> Claim:
    facts, gpu = model("Llama-2-7B"), _gpu(A100)
    full, four = (
        _pace(facts, gpu, Configuration(A100, quantization=name)) for name in ("none", "awq")
    )
    one, many = (four.decode_s(batch, 512) / full.decode_s(batch, 512) for batch in (1, 128))
    first = four.prefill_s(1024) / full.prefill_s(1024)
    return Claim(
        "INT4 weights: latency −70 %",
        f"Llama-2-7B on an A100: token {_change(1, one)} at batch 1, {_change(1, many)} at batch "
        f"128; first token {_change(1, first)}",
        "in part",
        "only weights are read faster; the KV cache, fixed costs and 16-bit compute stay, so "
        "the gain "
        "fades with batch and is none for the first token. Measured: −52 % (7B, batch 1, A6000)",
    )


def _kv(kv_dtype: str) -> tuple[float, float]:
    """Bytes per token, and requests of 2,048 tokens that fit on one H100."""
    facts, gpu = model("Llama-2-7B"), _gpu(H100)
    configuration = Configuration(H100, kv_dtype=kv_dtype, max_num_seqs=10_000)
    memory = memory_of(facts, gpu, replace(configuration, max_num_seqs=256), Calibration())
    fit = concurrency_of(memory, facts, configuration, Workload(1536, 512))
    return memory.kv_per_token, fit


def _int8_kv() -> Claim:
    (full, fit), (eight, more) = _kv("auto"), _kv("int8")
    return Claim(
        "INT8 KV cache: −50 %, concurrency 1.3×",
        f"{_change(full, eight)}, concurrency {more / fit:.2f}×",
        "in part",
        "a scale per token and head takes 4 of 132 bytes. 1.3× is the requests per second that "
        "LMDeploy "
        "measured; the requests that fit at once nearly double",
    )


def _int4_kv() -> Claim:
    (full, fit), (four, more) = _kv("auto"), _kv("int4")
    return Claim(
        "INT4 KV cache: −75 %",
        f"{_change(full, four)}, concurrency {more / fit:.2f}×",
        "in part",
        "the same scale takes 4 of 68 bytes; published capacity is 3.86×",
    )


def _speculation() -> Claim:
    facts, gpu = model("Llama-3.3-70B"), _gpu(H100)
    plain = Configuration(H100, tensor=4)
    base = _pace(facts, gpu, plain)
    gains = []
    for method, tokens in (("eagle", 3), ("draft", 4)):
        configuration = replace(plain, speculation=method, speculative_tokens=tokens)
        pace = _pace(facts, gpu, configuration)
        gains.append(
            [base.decode_s(batch, 1024) / pace.decode_s(batch, 1024) for batch in (1, 32, 256)]
        )
    shown = ", ".join(
        f"{name} {' / '.join(f'{gain:.1f}×' for gain in row)}"
        for name, row in zip(("EAGLE", "draft model"), gains, strict=True)
    )
    return Claim(
        "Speculative decoding: 2 to 4×",
        f"Llama-3.3-70B on 4 H100 at batch 1 / 32 / 256: {shown}",
        "in part",
        "at batch 1 it is; with load the verification computes tokens that are thrown away, so "
        "the plan "
        "switches it off above a batch. Measured: 1.5 to 2.8× at one request per second, 1.4 "
        "to 1.8× "
        "slower at many (vLLM 2024)",
    )


def _lengths(count: int, shortest: int, typical: int, longest: int) -> list[int]:
    """Quantiles of an exponential distribution, in a fixed shuffled order."""
    found = [
        min(longest, shortest + round(-typical * log(1 - (index + 0.5) / count)))
        for index in range(count)
    ]
    return [found[index * 37 % count] for index in range(count)]


def _continuous_batching() -> Claim:
    facts, gpu = model("OPT-13B"), _gpu(A100)
    configuration = Configuration(A100, dtype="float16", max_model_len=2048)
    calibration = calibration_of(gpu, facts)
    pace = pace_of(facts, gpu, configuration, calibration)
    memory = memory_of(facts, gpu, configuration, calibration)
    # As in the published comparison: prompts of 512 tokens, answers of very different lengths.
    outputs = _lengths(400, 1, 256, 1536)
    slots = memory.kv_budget // request_bytes(facts, configuration, 2048)
    static = 0.0
    for start in range(0, len(outputs), slots):
        batch = outputs[start : start + slots]
        static += pace.prefill_s(512 * len(batch))
        static += sum(pace.decode_s(len(batch), 512 + done) for done in range(max(batch)))
    alone = sum(
        pace.prefill_s(512) + count * pace.decode_s(1, 512 + count / 2) for count in outputs
    )
    arrivals = [Arrival(0.0, 512, count) for count in outputs]
    continuous = max(each.e2e_s for each in replay(pace, arrivals, memory.kv_tokens, 256))
    return Claim(
        "Continuous batching: 10× throughput",
        f"OPT-13B on an A100 with 40 GB, answers of 1 to 1,536 tokens: "
        f"{static / continuous:.1f}× over "
        f"static batches of {slots}, {alone / continuous:.1f}× over one by one",
        "in part",
        "near 10× holds over one request at a time. Static batches waste slots on finished "
        "requests "
        "and memory on the longest length; the published 8 to 23× were also over a slower engine. "
        "Over any server of today the gain is none, as all do it",
    )


def _seven_billion() -> Claim:
    facts, gpu = model("Llama-2-7B"), _gpu(RTX)
    configuration = Configuration(RTX, dtype="float16", max_model_len=2048, max_num_seqs=64)
    calibration = calibration_of(gpu, facts)
    memory = memory_of(facts, gpu, configuration, calibration)
    pace = pace_of(facts, gpu, configuration, calibration)
    fit = concurrency_of(memory, facts, configuration, Workload(1536, 512))
    first, token = pace.prefill_s(1536), pace.decode_s(1, 1792)
    within = int((0.5 - first) / token)
    return Claim(
        "7B on a 24 GB GPU: below 500 ms, at most 8 sequences",
        f"Llama-2-7B on an RTX 4090, 1,536 tokens in: first token {first * 1e3:.0f} ms, then "
        f"{token * 1e3:.0f} ms each, {within} tokens in 500 ms; {fit} sequences of 2,048 tokens",
        "in part",
        "the sequences are what half a MiB per token leaves room for; 500 ms hold the first "
        "token and "
        "a short answer, no more. Models with grouped heads hold four times as many",
    )


def _fp8_latency() -> Claim:
    facts, gpu = model("Llama-3.1-8B"), _gpu(H100)
    full, eight = (
        _pace(facts, gpu, Configuration(H100, quantization=name)) for name in ("none", "fp8")
    )
    one, many = (eight.decode_s(batch, 1024) / full.decode_s(batch, 1024) for batch in (1, 128))
    first = eight.prefill_s(4096) / full.prefill_s(4096)
    return Claim(
        "FP8: latency −50 %",
        f"Llama-3.1-8B on an H100: token {_change(1, one)} at batch 1, {_change(1, many)} at batch "
        f"128; first token of 4,096 {_change(1, first)}",
        "in part",
        "weights and matrix products halve; the output head, the KV cache (in 16 bits here), "
        "attention "
        "and fixed costs do not",
    )


def _pruning() -> Claim:
    facts = model("Llama-2-7B")
    pruned = replace(
        facts,
        parameters=facts.embedding_parameters
        + round(0.75 * (facts.parameters - facts.embedding_parameters)),
    )
    full, both = _weights(facts), _weights(pruned, quantization="awq")
    return Claim(
        "INT4 with pruning: memory −70 %",
        f"Llama-2-7B with a quarter of its layers' weights gone: {full:.1f} → {both:.1f} GiB, "
        f"{_change(full, both)}",
        "reproduced",
        "INT4 alone is near it. Only structural pruning counts: zeros are stored like other "
        "weights, and vLLM since 0.24 refuses checkpoints whose sparsity_config names targets",
    )


def _hundred_billion() -> Claim:
    facts = replace(
        model("Llama-3.3-70B"), parameters=100_000_000_000, embedding_parameters=0, experts=0
    )
    full, four = _weights(facts), _weights(facts, quantization="awq")
    return Claim(
        "100 B parameters from 80 to 20 GB",
        f"{full:.0f} → {four:.0f} GiB",
        "contradicted",
        "two bytes per parameter are 186 GiB, and four bits with their scales 49; 80 GB hold "
        "100 B at "
        "six bits, and 20 GB at one and a half",
    )


def _tail() -> Claim:
    facts, gpu = model("Llama-3.1-8B"), _gpu(RTX)
    configuration = Configuration(RTX, max_model_len=4096, max_num_seqs=64)
    calibration = calibration_of(gpu, facts)
    pace = pace_of(facts, gpu, configuration, calibration)
    memory = memory_of(facts, gpu, configuration, calibration)
    outputs = _lengths(300, 16, 96, 512)
    alone = pace.prefill_s(512) + sum(outputs) / len(outputs) * pace.decode_s(1, 600)
    # Gaps of an open loop at 80 % of what one by one can carry.
    gaps = [each * alone / 0.8 / 1000 for each in _lengths(300, 0, 1000, 10_000)]
    moments = [sum(gaps[:index]) for index in range(300)]
    arrivals = [
        Arrival(moment, 512, count) for moment, count in zip(moments, outputs[::-1], strict=True)
    ]
    one, many = (
        sorted(each.e2e_s for each in replay(pace, arrivals, memory.kv_tokens, limit))
        for limit in (1, 64)
    )
    index = ceil(0.99 * 300) - 1
    return Claim(
        "Batching: P99 latency −40 to −60 %",
        f"Llama-3.1-8B on an RTX 4090 at 80 % of what one by one carries: P99 {one[index]:.1f} → "
        f"{many[index]:.1f} s, {_change(one[index], many[index])}",
        "reproduced",
        "and more near saturation, as what is saved is the queue. Tried on CPU: −63 to −72 %. "
        "Under "
        "light load there is no queue to save",
    )
