"""Wishes: from three places into one value, and what names them."""

from typing import Any

import pytest

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.sizing import Objective, Request, Speculation, Targets, Workload
from stoker.planner import request


def spec(**fields: Any) -> InferenceServiceSpec:
    return InferenceServiceSpec.model_validate({"model": {"uri": "pvc://models/tiny"}, **fields})


def test_nothing_is_asked_for_by_a_bare_spec() -> None:
    assert request.request_of(spec(), "0.33") == Request(engine_version="0.33")


def test_every_field_becomes_a_wish() -> None:
    asked = request.request_of(
        spec(
            accelerator={"types": ["nvidia-l4", "nvidia-a100-80gb"], "perReplica": 4},
            parallelism={"tensor": 2, "pipeline": 2, "data": 1, "expert": "off"},
            context={"maxModelLen": 4096},
            optimization={
                "objective": "longContext",
                "quantization": "fp8",
                "kvCache": {"dtype": "none", "offloadGiB": 8},
                "speculative": {"method": "eagle", "model": "heads/a", "tokens": 3},
                "prefixCaching": "off",
                "batching": {
                    "maxNumSeqs": 8,
                    "maxNumBatchedTokens": 512,
                    "blockSize": 32,
                    "chunkedPrefill": "on",
                },
                "compile": "on",
                "cpuOffloadGiB": 0,
                "attentionBackend": "FLASHINFER",
                "gpuMemoryUtilization": 0.8,
                "loader": "runai_streamer",
                "maxQualityLoss": 1,
                "targets": {
                    "ttft": "800ms",
                    "itl": "40ms",
                    "costPerMillionTokens": "0.80",
                    "pricePerHour": "12.50",
                },
                "workload": {"inputTokens": 10, "outputTokens": 20, "concurrency": 30},
            },
        )
    )
    assert asked == Request(
        accelerators=("nvidia-l4", "nvidia-a100-80gb"),
        per_replica=4,
        tensor=2,
        pipeline=2,
        data=1,
        expert=False,
        max_model_len=4096,
        objective=Objective.LONG_CONTEXT,
        workload=Workload(10, 20, 30),
        targets=Targets(0.8, 0.04, 0.8, 12.5),
        quantization="fp8",
        kv_dtype="bf16",
        kv_offload_gib=8,
        cpu_offload_gib=0,
        speculation=Speculation("eagle", 3, "/models/heads/a"),
        prefix_caching=False,
        chunked_prefill=True,
        max_num_seqs=8,
        max_num_batched_tokens=512,
        block_size=32,
        compile=True,
        attention_backend="FLASHINFER",
        gpu_memory_utilization=0.8,
        loader="runai_streamer",
        max_quality_loss=1,
    )


def test_every_objective_is_known() -> None:
    for objective in Objective:
        asked = request.request_of(spec(optimization={"objective": objective.value}))
        assert asked.objective is objective


def test_auto_is_absent() -> None:
    words = {
        "quantization": "auto",
        "kvCache": {"dtype": "auto"},
        "speculative": {"method": "auto"},
        "prefixCaching": "auto",
        "batching": {"chunkedPrefill": "auto"},
        "compile": "auto",
        "attentionBackend": "auto",
        "loader": "auto",
    }
    assert request.request_of(spec(optimization=words)) == Request()


@pytest.mark.parametrize(
    ("flag", "text", "wish", "value"),
    [
        ("max-num-seqs", "4", "max_num_seqs", 4),
        ("max-num-seqs", "many", "max_num_seqs", None),
        ("max-num-batched-tokens", "2048", "max_num_batched_tokens", 2048),
        ("block-size", "32", "block_size", 32),
        ("gpu-memory-utilization", "0.8", "gpu_memory_utilization", 0.8),
        ("gpu-memory-utilization", "most", "gpu_memory_utilization", None),
        ("kv-cache-dtype", "fp8_e5m2", "kv_dtype", "fp8"),
        ("kv-cache-dtype", "int4_per_token_head", "kv_dtype", "int4"),
        ("kv-cache-dtype", "auto", "kv_dtype", "bf16"),
        ("enable-prefix-caching", "false", "prefix_caching", False),
        ("enable-chunked-prefill", "true", "chunked_prefill", True),
        ("enforce-eager", "true", "compile", False),
        ("enforce-eager", "perhaps", "compile", None),
        ("seed", "1", "max_num_seqs", None),
    ],
)
def test_a_flag_is_a_wish_too(flag: str, text: str, wish: str, value: object) -> None:
    for asked in (
        request.request_of(spec(engine={"args": {flag: text}})),
        request.request_of(spec(), args={flag: text}),
    ):
        assert getattr(asked, wish) == value


def test_the_typed_field_speaks_before_the_users_flag_and_that_before_the_default() -> None:
    defaults = {"max-num-seqs": "1", "block-size": "1", "gpu-memory-utilization": "0.1"}
    asked = request.request_of(
        spec(
            optimization={"batching": {"maxNumSeqs": 3}},
            engine={"args": {"max-num-seqs": "2", "block-size": "2"}},
        ),
        args=defaults,
    )
    assert (asked.max_num_seqs, asked.block_size, asked.gpu_memory_utilization) == (3, 2, 0.1)


def test_the_cache_of_a_processor_comes_by_a_variable() -> None:
    name = request.KV_SPACE_VARIABLE
    assert request.request_of(spec(), env={name: "2"}).kv_space_gib == 2
    own = spec(engine={"env": [{"name": name, "value": "1"}]})
    assert request.request_of(own, env={name: "2"}).kv_space_gib == 1


def test_the_digest_is_frozen() -> None:
    # A change here plans every service anew at the upgrade of the operator.
    assert request.digest_of(spec()) == "06c466547f7f493f"
    full = spec(
        accelerator={"types": ["nvidia-l4"]},
        optimization={"targets": {"ttft": "1s"}, "kvCache": {"dtype": "fp8"}},
        engine={"image": "r.io/vllm:1", "args": {"max-num-seqs": "8"}},
    )
    assert request.digest_of(full) == "fc9c4583379f10a1"


@pytest.mark.parametrize(
    "fields",
    [
        {"accelerator": {"types": ["cpu"]}},
        {"parallelism": {"tensor": 2}},
        {"context": {"maxModelLen": 64}},
        {"optimization": {"objective": "cost"}},
        {"optimization": {"workload": {"inputTokens": 5}}},
        {"engine": {"image": "r.io/vllm:2"}},
        {"engine": {"args": {"max-num-seqs": "8"}}},
    ],
)
def test_what_is_planned_with_has_another_digest(fields: dict[str, Any]) -> None:
    assert request.digest_of(spec(**fields)) != request.digest_of(spec())


@pytest.mark.parametrize(
    "fields",
    [
        {"replicas": 3},
        {"scaling": {"maxReplicas": 4}},
        {"frontend": {"replicas": 2}},
        {"model": {"uri": "pvc://models/tiny", "servedName": "x"}},
        {"template": {"labels": {"a": "b"}}},
        {"engine": {"args": {"seed": "1"}}},
        {"optimization": {"quantization": "auto"}},
    ],
)
def test_what_is_not_planned_with_has_not(fields: dict[str, Any]) -> None:
    assert request.digest_of(spec(**fields)) == request.digest_of(spec())
