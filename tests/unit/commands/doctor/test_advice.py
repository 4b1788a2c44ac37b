"""What engines show becomes figures; figures become advice and what bounds a service; by values."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from stoker.catalog.load import builtin_gpus
from stoker.commands.doctor.advice import Advice, Case, Judgement, advice_of
from stoker.commands.doctor.bounds import Bound, bound_of, shares
from stoker.commands.doctor.figures import Figures, Page, figures_of, totals
from stoker.commands.doctor.theory import Theory, theory_of
from stoker.model.sizing import Configuration
from stoker.planner.calibration import calibration_of
from stoker.telemetry import dialects
from stoker_worker import modelfacts
from tests.support.families import FAMILIES

LLAMA = FAMILIES["llama-3.1-8b"].facts
H100 = builtin_gpus()["nvidia-h100-80gb"]
PLAN = Configuration(accelerator=H100.name, max_num_seqs=64)


def theory(**changes: Any) -> Theory:
    return Theory(LLAMA, H100, replace(PLAN, **changes), calibration_of(H100, LLAMA, "0.32.0"))


BUSY = Figures(
    replicas=1,
    seconds=5.0,
    running=8.0,
    waiting=0.0,
    kv=0.2,
    generated=900.0,
    prompts=800.0,
    itl_s=0.0088,
    ttft_s=0.08,
    prompt_tokens=512.0,
    generated_tokens=256.0,
    preemptions=0.0,
)
SPECULATING = {"speculation": "ngram", "speculative_tokens": 4}


def advice(
    name: str, figures: Figures | None, of: Theory | None, status: dict[str, Any] | None = None
) -> Advice:
    case = Case(status or {}, figures, of, bound_of(figures, of))
    return next(each for each in advice_of(case) if each.id == name)


def counted(mfu: float, mbu: float) -> dict[str, Any]:
    return {"flops": mfu * theory().peak_flops, "bandwidth": mbu * H100.bandwidth}


@pytest.mark.parametrize(
    ("figures", "of", "name", "words"),
    [
        (None, theory(), "not known", "could not be read"),
        (
            Figures(1, 5.0, running=0, waiting=0, generated=0),
            theory(),
            "nothing",
            "no request came",
        ),
        (replace(BUSY, kv=0.97, waiting=3.0), theory(), "KV capacity", "97% full and 3 requests"),
        (replace(BUSY, kv=0.95, preemptions=0.4), theory(), "KV capacity", "0.4 preemptions/s"),
        (replace(BUSY, running=64.0, waiting=9.0), theory(), "queue", "64 of 64 places"),
        (replace(BUSY, waiting=9.0), None, "queue", "8 are taken"),
        (replace(BUSY, **counted(0.55, 0.3)), theory(), "compute", "55% of the peak operations"),
        (replace(BUSY, **counted(0.05, 0.7)), theory(), "memory bandwidth", "70% of the memory"),
        (replace(BUSY, cpu=7.8, cpu_limit=8.0), theory(), "host CPU", "7.8 of its 8"),
        (BUSY, theory(), "memory bandwidth", "8.8 ms per token are measured"),
        (replace(BUSY, running=400.0, prompts=60_000.0), theory(), "compute", "compute"),
        (BUSY, None, "not known", "the accelerator's peaks"),
    ],
)
def test_what_bounds_a_service(
    figures: Figures | None, of: Theory | None, name: str, words: str
) -> None:
    found = bound_of(figures, of)
    assert found.name == name
    assert words in found.words
    if name in {"memory bandwidth", "compute"} and figures and figures.flops is None:
        assert found.basis == "the planner's model, not measured"


def test_messages_between_ranks_that_take_the_most_time() -> None:
    of = theory(tensor=4)
    assert of.parts(BUSY)["network"] > 0 == theory().parts(BUSY)["network"]
    slow = replace(of, calibration=replace(of.calibration, allreduce_s=0.001))
    assert bound_of(BUSY, slow).name == "network"


def test_weights_in_16_bits_where_memory_bounds() -> None:
    found = advice("weights", BUSY, theory())
    assert found.judgement is Judgement.GAIN
    assert "14.9 GiB of 16-bit weights" in found.words or "15.0 GiB" in found.words, found.words
    assert found.figures["tokenSecondsThen"] < 0.9 * found.figures["tokenSeconds"]
    assert "optimization.quantization" in found.change
    assert advice("weights", BUSY, theory(quantization="fp8")).judgement is Judgement.WELL
    full = replace(BUSY, running=64.0, waiting=9.0)
    assert advice("weights", full, theory()).judgement is Judgement.WELL  # the queue bounds it
    assert advice("weights", BUSY, None).judgement is Judgement.UNKNOWN
    assert advice("weights", None, theory()).judgement is Judgement.UNKNOWN


def test_prompts_that_recur_with_the_cache_off() -> None:
    off = theory(prefix_caching=False)
    found = advice("prefix-cache", replace(BUSY, repeated=0.63), off)
    assert found.judgement is Judgement.GAIN
    assert "63% of the prompts' beginnings" in found.words
    assert advice("prefix-cache", replace(BUSY, repeated=0.1), off).judgement is Judgement.WELL
    assert advice("prefix-cache", BUSY, off).judgement is Judgement.UNKNOWN
    on = advice("prefix-cache", replace(BUSY, prefix_hits=0.31), theory())
    assert on.judgement is Judgement.WELL
    assert "31%" in on.words


def test_places_that_leave_the_accelerator_idle() -> None:
    full = replace(BUSY, running=64.0, waiting=9.0)
    idle = advice("batch", replace(full, **counted(0.1, 0.3)), theory())
    assert idle.judgement is Judgement.GAIN
    assert idle.change == "optimization.batching.maxNumSeqs: 128"
    assert "30% of its peak" in idle.words
    assert advice("batch", replace(full, **counted(0.1, 0.8)), theory()).judgement is Judgement.WELL
    assert advice("batch", full, theory()).judgement is Judgement.UNKNOWN
    assert advice("batch", BUSY, theory()).judgement is Judgement.WELL
    proposal = {"change": "optimization.batching.maxNumSeqs: 96", "why": "full", "gain": "+30 %"}
    told = advice("batch", BUSY, theory(), {"plan": {"proposals": [proposal]}})
    assert (told.judgement, told.change) == (Judgement.GAIN, proposal["change"])


def test_eager_mode_where_the_host_is_slower_than_the_accelerator() -> None:
    of = theory(compile=False)
    fast = replace(of, calibration=replace(of.calibration, mbu_weights=5.0, mbu_batch=5.0))
    found = advice("eager", BUSY, fast)
    assert found.judgement is Judgement.GAIN
    assert "8.8 ms are measured" in found.words
    # Where reading the weights takes longer than all launches, compiling would gain nothing.
    slow = replace(of, calibration=replace(of.calibration, mbu_weights=0.2, mbu_batch=0.2))
    assert advice("eager", BUSY, slow).judgement is Judgement.WELL
    assert advice("eager", BUSY, theory()).judgement is Judgement.WELL
    nobody = Figures(1, 5.0, running=0.0, waiting=0.0, generated=0.0)
    assert advice("eager", nobody, of).judgement is Judgement.UNKNOWN


def test_speculation_that_loses_under_load() -> None:
    of = theory(**SPECULATING, max_num_seqs=512)
    loses = replace(BUSY, running=400.0, acceptance=0.2, drafting=True)
    found = advice("speculation", loses, of)
    assert found.judgement is Judgement.GAIN
    assert found.change == "optimization.speculative.method: none"
    assert "20% of 4 guesses" in found.words
    gains = replace(BUSY, running=1.0, acceptance=0.8, drafting=True)
    assert advice("speculation", gains, of).judgement is Judgement.WELL
    assert advice("speculation", replace(loses, drafting=False), of).judgement is Judgement.WELL
    assert advice("speculation", BUSY, of).judgement is Judgement.UNKNOWN
    assert advice("speculation", loses, theory()).judgement is Judgement.WELL


def page(at: float, factor: float, *, more: str = "") -> Page:
    """An engine that did `factor` times as much since its start."""
    lines = [
        "# TYPE vllm:num_requests_running gauge",
        'vllm:num_requests_running{engine="0"} 3',
        'vllm:num_requests_running{engine="1"} 5',
        'vllm:num_requests_waiting{engine="0"} 2',
        'vllm:kv_cache_usage_perc{engine="0"} 0.4',
        'vllm:kv_cache_usage_perc{engine="1"} 0.6',
    ]
    counters = {
        "vllm:generation_tokens_total": 10_000,
        "vllm:prompt_tokens_total": 20_000,
        "vllm:num_preemptions_total": 0,
        "vllm:time_to_first_token_seconds_sum": 10,
        "vllm:time_to_first_token_seconds_count": 100,
        "vllm:inter_token_latency_seconds_sum": 99,
        "vllm:inter_token_latency_seconds_count": 9900,
        "vllm:request_generation_tokens_sum": 10_000,
        "vllm:request_generation_tokens_count": 100,
        "vllm:request_queue_time_seconds_sum": 1,
        "vllm:request_prompt_tokens_sum": 20_000,
        "vllm:prefix_cache_queries_total": 20_000,
        "vllm:prefix_cache_hits_total": 5_000,
        "vllm:spec_decode_num_draft_tokens_total": 4_000,
        "vllm:spec_decode_num_accepted_tokens_total": 1_000,
        "vllm:estimated_flops_per_gpu_total": 1e15,
        "vllm:estimated_read_bytes_per_gpu_total": 1e13,
    }
    lines += [f'{name}{{engine="0"}} {value * factor}' for name, value in counters.items()]
    return Page(at, "\n".join(lines) + "\n" + more)


def test_two_pages_become_rates_and_means() -> None:
    picker = "inference_extension_prefix_indexer_hit_ratio_sum 30\n"
    picker += "inference_extension_prefix_indexer_hit_ratio_count 100\n"
    found = figures_of([(page(0, 1), page(10, 1.1))], picker)
    assert found is not None
    assert (found.running, found.waiting, found.kv) == (8, 2, 0.6)
    assert found.generated == pytest.approx(100)
    assert found.prompts == pytest.approx(200)
    assert found.itl_s == pytest.approx(0.01)
    assert found.ttft_s == pytest.approx(0.1)
    assert found.prompt_tokens == pytest.approx(200)
    assert found.generated_tokens == pytest.approx(100)
    assert (found.prefix_hits, found.acceptance) == (0.25, 0.25)
    assert found.drafting is True
    assert found.flops == pytest.approx(1e13)
    assert found.bandwidth == pytest.approx(1e11)
    assert found.repeated == 0.3
    mfu, mbu = shares(found, theory())
    assert mfu == pytest.approx(1e13 / theory().peak_flops)
    assert mbu == pytest.approx(1e11 / H100.bandwidth)


def test_what_a_page_does_not_tell_is_not_known_and_no_zero() -> None:
    bare = "vllm:num_requests_running 1\n"
    found = figures_of([(Page(0, bare), Page(5, bare))])
    assert found is not None
    assert found.running == 1
    told = {name for name, value in asdict(found).items() if value is not None}
    about = {"engine", "tells_prefix", "tells_drafts"}
    assert told - about == {"replicas", "seconds", "running"}
    assert (found.engine, found.tells_prefix, found.tells_drafts) == ("vllm", False, False)
    assert figures_of([]) is None
    assert figures_of([(Page(0, "<html>"), Page(5, "<html>"))]) is None
    restarted = figures_of([(page(0, 2), page(5, 1))])
    assert restarted is not None
    assert restarted.generated is restarted.itl_s is restarted.flops is None
    assert totals("vllm:x{ 1") == {}


def spoken(engine: str, factor: float) -> str:
    """A page with every number that this dialect has."""
    values: dict[dialects.Series, float] = {
        dialects.RUNNING: 4,
        dialects.WAITING: 2,
        dialects.KV_CACHE: 0.5,
        dialects.GENERATION_TOKENS: 10_000 * factor,
        dialects.PROMPT_TOKENS: 20_000 * factor,
        dialects.REQUESTS_FINISHED: 100 * factor,
        dialects.PREFIX_CACHE_HITS: 5_000 * factor,
        dialects.SPEC_DRAFT_TOKENS: 4_000 * factor,
        dialects.SPEC_ACCEPTED_TOKENS: 1_000 * factor,
        dialects.SPEC_ACCEPTANCE: 0.25,
    }
    lines = {}
    for series, value in values.items():
        name = next((each.metric for each in series.spellings if each.engine == engine), None)
        if name is not None:
            lines[name] = value
    for series, seconds in ((dialects.TTFT, 10), (dialects.ITL, 99)):
        name = next((each.metric for each in series.spellings if each.engine == engine), None)
        if name is not None:
            lines |= {f"{name}_sum": seconds * factor, f"{name}_count": 100 * factor}
    return "".join(f'{name}{{rank="0"}} {value}\n' for name, value in lines.items())


@pytest.mark.parametrize(
    ("engine", "kv", "first", "prefix", "acceptance"),
    [
        ("sglang", 0.5, 0.1, 0.25, 0.25),
        ("tensorrt-llm", 0.5, 0.1, 0.25, 0.25),
        ("lmdeploy", 0.5, 0.1, None, 0.25),
        ("tgi", None, None, None, None),
    ],
)
def test_other_dialects_are_read_and_what_they_lack_is_said(
    engine: str,
    kv: float | None,
    first: float | None,
    prefix: float | None,
    acceptance: float | None,
) -> None:
    found = figures_of([(Page(0, spoken(engine, 1)), Page(10, spoken(engine, 1.1)))])
    assert found is not None
    assert (found.engine, found.running, found.waiting, found.kv) == (engine, 4, 2, kv)
    assert found.generated == pytest.approx(100)
    assert found.prompts == pytest.approx(200)
    assert (found.prompt_tokens, found.generated_tokens) == pytest.approx((200, 100))
    assert found.itl_s == pytest.approx(0.99)
    assert found.ttft_s == (None if first is None else pytest.approx(first))
    assert (found.prefix_hits, found.acceptance) == (prefix, acceptance)
    unknown = f"not known for this engine ({engine})"
    said = advice("prefix-cache", found, theory()).words
    assert (unknown in said) == (prefix is None)
    said = advice("speculation", found, theory(**SPECULATING)).words
    assert (unknown in said) == (acceptance is None)


def test_an_engine_of_no_dialect_is_not_idle_but_not_known() -> None:
    strange = "# TYPE my_requests gauge\nmy_requests 7\n"
    found = figures_of([(Page(0, strange), Page(5, strange))])
    assert found is not None
    assert not found.idle
    bound = bound_of(found, theory())
    assert bound.name == "not known"
    assert "its metrics are in no dialect of Stoker" in bound.words
    of = theory(compile=False, prefix_caching=True, **SPECULATING)
    for name in ("weights", "prefix-cache", "batch", "eager", "speculation"):
        each = advice(name, found, of)
        assert each.judgement is Judgement.UNKNOWN, each
        assert "0%" not in each.words
        assert "nobody waits" not in each.words


def test_a_status_tells_the_theory_or_it_is_not_known() -> None:
    plan = {"inputs": {"spec": "a", "model": "b"}, "configuration": json.dumps(asdict(PLAN))}
    status = {"plan": plan, "model": {"facts": modelfacts.to_json(LLAMA)}}
    found = theory_of(status, {}, "0.32.0")
    assert found is not None
    assert found.configuration == PLAN
    assert found.gpu == H100
    slower = {"accelerators": {H100.name: {"hardware": {"bandwidthGBs": 1000}}}}
    changed = theory_of(status, slower, "")
    assert changed is not None
    assert changed.gpu.bandwidth < H100.bandwidth
    assert theory_of(status, {"accelerators": {H100.name: 3}}, "") is not None
    for broken in (
        {},
        {"plan": plan},
        {"plan": {}, "model": status["model"]},
        {**status, "plan": {**plan, "configuration": json.dumps({"accelerator": "abacus"})}},
    ):
        assert theory_of(broken, {}, "") is None


def test_nothing_is_claimed_where_nothing_is_known() -> None:
    found = advice_of(Case({}, None, None, Bound("not known", "")))
    assert {each.judgement for each in found} == {Judgement.UNKNOWN}
    assert all(each.words and not each.change for each in found)
