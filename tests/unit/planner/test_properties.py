"""What holds for every request, every model and every accelerator."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stoker.catalog.gpus import Gpu
from stoker.model.sizing import (
    Infeasible,
    Objective,
    Planned,
    Request,
    Speculation,
    Targets,
    Workload,
)
from stoker.planner.ask import Ask
from stoker.planner.decide import plan, problem_of
from stoker.planner.estimate import Estimator, estimator_of
from stoker_worker import modelfacts
from stoker_worker.modelfacts import Layers, ModelFacts, Quantization
from tests.unit.planner.problems import FEATURES, GPUS

runs = st.builds(
    Layers,
    count=st.integers(1, 40),
    kind=st.sampled_from(modelfacts.KINDS),
    kv_heads=st.sampled_from([1, 2, 8, 12]),
    head_dim=st.sampled_from([0, 64, 128, 256]),
    window=st.sampled_from([0, 512, 4096]),
    latent=st.sampled_from([0, 576]),
    state_values=st.sampled_from([0, 100_000]),
)
quantizations = st.none() | st.builds(
    Quantization,
    method=st.sampled_from(["fp8", "awq", "gptq", "mxfp4", "compressed-tensors", "odd"]),
    bits=st.sampled_from([4, 8]),
    group=st.sampled_from([0, 32, 128]),
    floating=st.booleans(),
    kv_dtype=st.sampled_from([None, None, "fp8"]),
    sparse=st.sampled_from([False, False, True]),
)


@st.composite
def models(draw: st.DrawFn) -> ModelFacts:
    """Models from a few thousand parameters to two terabytes; not all of them make sense."""
    parameters = draw(st.integers(0, 40)) ** 7 + draw(st.integers(1, 10**7))
    experts = draw(st.sampled_from([0, 0, 8, 128]))
    quantization = draw(quantizations)
    return ModelFacts(
        digest="d",
        architecture="Some",
        model_type=draw(st.sampled_from(["llama", "gemma2", "other"])),
        dtype=draw(st.sampled_from(["bfloat16", "float16", "float32", "strange"])),
        hidden=draw(st.sampled_from([0, 192, 4096, 8192])),
        heads=draw(st.sampled_from([0, 1, 12, 32, 40, 71])),
        vocab=draw(st.sampled_from([0, 768, 128_256])),
        max_positions=draw(st.sampled_from([0, 1, 512, 8192, 131_072, 10_000_000])),
        layers=tuple(draw(st.lists(runs, max_size=3))),
        parameters=parameters,
        embedding_parameters=parameters // 10,
        weight_bytes=parameters * (1 if quantization else 2),
        known=draw(st.booleans()),
        task=draw(st.sampled_from(["generate", "generate", "embed"])),
        intermediate=draw(st.sampled_from([0, 512, 14_336])),
        experts=experts,
        experts_active=min(experts, 2),
        expert_parameters=parameters // 2 if experts else 0,
        draft_layers=draw(st.sampled_from([0, 0, 1])),
        quantization=quantization,
        adapters=draw(st.sampled_from([(), (), (("sql", 16, 10**7),)])),
    )


def maybe(*values: object) -> st.SearchStrategy[object]:
    return st.sampled_from([None, None, None, *values])


workloads = st.builds(
    Workload,
    input_tokens=st.sampled_from([1, 1024, 100_000]),
    output_tokens=st.sampled_from([0, 1, 256]),
    concurrency=maybe(1, 16, 5000),
)
targets = st.just(Targets()) | st.builds(
    Targets,
    ttft_s=maybe(0.001, 1.0),
    itl_s=maybe(0.0001, 0.05),
    cost_per_million_tokens=maybe(0.001, 5.0),
    price_per_hour=maybe(0.01, 5.0),
)
requests = st.builds(
    Request,
    accelerators=st.lists(st.sampled_from(sorted(GPUS)), max_size=2).map(tuple),
    per_replica=maybe(1, 2, 3, 8),
    tensor=maybe(-1, 0, 1, 2, 3, 8, 64),
    pipeline=maybe(1, 2, 50),
    data=maybe(1, 2),
    expert=maybe(True, False),
    max_model_len=maybe(0, 1, 2048, 10**9),
    objective=st.sampled_from(list(Objective)),
    workload=workloads,
    targets=targets,
    quantization=maybe("none", "fp8", "int8", "awq", "bitsandbytes", "odd"),
    kv_dtype=maybe("bf16", "fp8", "int8", "int4", "odd"),
    kv_offload_gib=maybe(0, 8),
    cpu_offload_gib=maybe(0, 4),
    speculation=maybe(Speculation("none"), Speculation("ngram", 3), Speculation("mtp")),
    prefix_caching=maybe(True, False),
    chunked_prefill=maybe(True, False),
    max_num_seqs=maybe(1, 7, 4096),
    max_num_batched_tokens=maybe(16, 4096),
    block_size=maybe(1, 32),
    compile=maybe(True, False),
    attention_backend=maybe("FLASH_ATTN", "ODD"),
    gpu_memory_utilization=maybe(0.1, 0.95, 2.0),
    kv_space_gib=maybe(0, 1, 100),
    loader=maybe("auto", "safetensors", "odd"),
    max_quality_loss=maybe(0, 2, 100),
)


def answer_of(request: Request, facts: ModelFacts) -> Planned | Infeasible:
    return plan(request, facts, GPUS, FEATURES)


def estimator(request: Request, facts: ModelFacts, gpu: Gpu) -> tuple[Ask, Estimator]:
    problem = problem_of(request, facts, GPUS, FEATURES)
    return problem.ask, estimator_of(problem.ask, gpu, problem.request.workload, "")


@given(requests, models())
def test_there_is_an_answer_and_it_is_always_the_same(request: Request, facts: ModelFacts) -> None:
    answer = answer_of(request, facts)
    assert answer.verdict.reason
    assert answer.verdict.message
    assert answer_of(request, facts) == answer
    if isinstance(answer, Infeasible):
        assert answer.shortage_gib >= 0
        prices = [each.expected.price_per_hour or 0 for each in answer.remedies]
        assert prices == sorted(prices)


@given(requests, models())
def test_a_plan_fits_by_its_own_memory(request: Request, facts: ModelFacts) -> None:
    answer = answer_of(request, facts)
    ways = answer.alternatives if isinstance(answer, Planned) else answer.remedies
    for each in ways:
        assert each.kv_tokens > 0
        assert each.concurrency >= 1
    if not isinstance(answer, Planned):
        return
    used, memory = answer.configuration, answer.memory
    gpu = GPUS[used.accelerator]
    known, judge = estimator(request, facts, gpu)
    assert memory.kv_budget > 0
    assert memory.shortage == 0
    assert memory.kv_budget >= judge.request_bytes(used, used.max_model_len)
    assert memory == judge.memory(used)
    assert 1 <= used.max_model_len <= known.facts.max_positions
    assert answer.concurrency >= (known.request.workload.concurrency or 1)
    parts = memory.weights + memory.activations + memory.non_torch + memory.kv_budget
    assert parts <= max(memory.total, memory.usable)


_UNCHANGED = (
    "tensor",
    "pipeline",
    "data",
    "max_model_len",
    "prefix_caching",
    "chunked_prefill",
    "max_num_seqs",
    "block_size",
    "compile",
    "attention_backend",
    "gpu_memory_utilization",
    "kv_offload_gib",
    "cpu_offload_gib",
    "loader",
)


@given(requests, models())
def test_explicit_fields_are_obeyed_or_refused(request: Request, facts: ModelFacts) -> None:
    answer = answer_of(request, facts)
    if not isinstance(answer, Planned):
        return
    used, expected = answer.configuration, answer.expected
    pairs = {name: (getattr(request, name), getattr(used, name)) for name in _UNCHANGED}
    pairs["per_replica"] = (request.per_replica, used.accelerators)
    pairs["expert"] = (request.expert, used.expert_parallel)
    if facts.quantization is None:
        pairs["quantization"] = (request.quantization, used.quantization)
    kept = "bf16" if used.kv_dtype == "auto" else used.kv_dtype
    pairs["kv_dtype"] = (request.kv_dtype, kept)
    if request.speculation is not None:
        pairs["speculation"] = (request.speculation.method, used.speculation)
    if used.chunked_prefill:
        pairs["tokens"] = (request.max_num_batched_tokens, used.max_num_batched_tokens)
    changed = {name: pair for name, pair in pairs.items() if pair[0] not in (None, pair[1])}
    assert changed == {}
    assert used.accelerator in (request.accelerators or GPUS)
    bounds = request.targets
    assert expected.itl_s.typical <= (bounds.itl_s or math.inf)
    assert expected.ttft_s.typical <= (bounds.ttft_s or math.inf)
    assert (expected.price_per_hour or 0) <= (bounds.price_per_hour or math.inf)


@given(requests, models(), st.sampled_from(sorted(GPUS)), st.floats(1.0, 4.0))
def test_more_memory_never_makes_it_worse(
    request: Request, facts: ModelFacts, name: str, factor: float
) -> None:
    request = replace(request, accelerators=(name,))
    small = GPUS[name]
    large = replace(small, memory_bytes=int(small.memory_bytes * factor))
    before = plan(request, facts, {name: small}, FEATURES)
    after = plan(request, facts, {name: large}, FEATURES)
    if not isinstance(before, Planned):
        return
    assert isinstance(after, Planned)
    _, judge = estimator(request, facts, large)
    same = judge.memory(before.configuration)
    assert judge.concurrency(same, before.configuration) >= before.concurrency
    assert same.kv_tokens >= before.memory.kv_tokens
