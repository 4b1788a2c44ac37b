"""From a configuration to the engine's command line. The engine itself checks them elsewhere."""

import json
from dataclasses import replace

import pytest

from stoker.model.sizing import Adapter, Configuration
from stoker.planner.flags import args_of, env_of
from stoker_worker.modelfacts import ModelFacts, Quantization
from tests.support.families import FAMILIES
from tests.unit.planner.problems import FEATURES, GPUS, LLAMA_8B

L4 = Configuration("nvidia-l4")
ALWAYS = {
    "enable-chunked-prefill": "true",
    "enable-prefix-caching": "true",
    "gpu-memory-utilization": "0.9",
    "max-model-len": "4096",
    "max-num-batched-tokens": "2048",
    "max-num-seqs": "256",
}


def args(configuration: Configuration, facts: ModelFacts = LLAMA_8B) -> dict[str, str]:
    return args_of(configuration, facts, GPUS[configuration.accelerator], FEATURES)


def test_only_what_the_plan_depends_on_is_written() -> None:
    assert args(L4) == ALWAYS
    assert env_of(L4) == {}


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({"tensor": 2}, {"tensor-parallel-size": "2"}),
        ({"pipeline": 2, "data": 4}, {"pipeline-parallel-size": "2", "data-parallel-size": "4"}),
        ({"expert_parallel": True}, {"enable-expert-parallel": "true"}),
        ({"dtype": "float16"}, {"dtype": "float16"}),
        ({"quantization": "fp8"}, {"quantization": "fp8"}),
        ({"kv_dtype": "fp8"}, {"kv-cache-dtype": "fp8"}),
        ({"kv_dtype": "int8"}, {"kv-cache-dtype": "int8_per_token_head"}),
        ({"kv_dtype": "int4"}, {"kv-cache-dtype": "int4_per_token_head"}),
        ({"block_size": 32}, {"block-size": "32"}),
        ({"compile": False}, {"enforce-eager": "true"}),
        ({"attention_backend": "FLASHINFER"}, {"attention-backend": "FLASHINFER"}),
        ({"kv_offload_gib": 8.0}, {"kv-offloading-size": "8"}),
        ({"cpu_offload_gib": 2.5}, {"cpu-offload-gb": "2.5"}),
        ({"loader": "runai_streamer"}, {"load-format": "runai_streamer"}),
        ({"prefix_caching": False}, {"enable-prefix-caching": "false"}),
        ({"chunked_prefill": False}, {"enable-chunked-prefill": "false"}),
    ],
)
def test_each_choice_has_its_flag(change: dict[str, object], flags: dict[str, str]) -> None:
    assert args(replace(L4, **change)) == dict(sorted({**ALWAYS, **flags}.items()))  # type: ignore[arg-type]


def test_a_quantized_checkpoint_needs_no_flag() -> None:
    facts = FAMILIES["deepseek-v3"].facts
    assert "quantization" not in args(replace(L4, quantization="fp8"), facts)


def test_a_cache_scheme_of_the_checkpoint_is_followed_or_taken_back() -> None:
    stored = Quantization("fp8", 8, floating=True, kv_dtype="fp8")
    facts = replace(LLAMA_8B, quantization=stored)
    eight = replace(L4, quantization="fp8")
    assert args(eight, facts)["kv-cache-dtype"] == "bfloat16"
    assert args(replace(eight, kv_dtype="fp8"), facts)["kv-cache-dtype"] == "fp8"


def test_speculation_ends_at_a_load() -> None:
    drafts = replace(
        L4, speculation="ngram", speculative_tokens=4, speculative_until=8, max_num_seqs=64
    )
    config = json.loads(args(drafts)["speculative-config"])
    assert config["method"] == "ngram"
    assert config["num_speculative_tokens"] == 4
    assert config["num_speculative_tokens_per_batch_size"] == [[1, 8, 4], [9, 64, 0]]
    always = replace(drafts, max_num_seqs=8)
    assert "num_speculative_tokens_per_batch_size" not in args(always)["speculative-config"]
    # Copies could choose differently, so the engine drops the schedule there.
    copies = replace(drafts, data=2)
    assert "num_speculative_tokens_per_batch_size" not in args(copies)["speculative-config"]


def test_a_draft_model_is_named() -> None:
    drafts = replace(
        L4, speculation="draft", speculative_tokens=4, speculative_model="/models/draft"
    )
    config = json.loads(args(drafts)["speculative-config"])
    assert config["method"] == "draft_model"
    assert config["model"] == "/models/draft"


def test_adapters_get_room_for_the_largest_rank() -> None:
    found_there = (("lora/sql", 16, 10**7), ("lora/chat", 40, 10**7), ("lora/x", 256, 10**7))
    facts = replace(LLAMA_8B, adapters=found_there)
    assert not {name for name in args(L4, facts) if "lora" in name}
    named = tuple(Adapter(n, f"lora/{n}", f"/models/llama/lora/{n}") for n in ("sql", "chat"))
    found = args(replace(L4, adapters=named), facts)
    assert (found["enable-lora"], found["max-loras"], found["max-lora-rank"]) == ("true", "2", "64")
    modules = "sql=/models/llama/lora/sql chat=/models/llama/lora/chat"
    assert found["lora-modules"] == modules


def test_the_cache_of_a_processor() -> None:
    cpu = Configuration("cpu", block_size=128, kv_space_gib=4.0)
    assert env_of(cpu) == {"VLLM_CPU_KVCACHE_SPACE": "4"}
    assert "gpu-memory-utilization" not in args(cpu)
    half = replace(cpu, kv_space_gib=0.5)
    assert env_of(half) == {}
    assert args(half)["kv-cache-memory-bytes"] == str(2**29)
