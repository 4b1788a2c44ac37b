"""From a configuration to the engine's command line and environment (vLLM 0.19 to 0.33).

A flag is written when the plan depends on it or when it differs from the engine's default; what the
engine would do anyway is left to it. Names are checked in a test against the engine's own parser
and configuration, and against the source of the production version.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from stoker.catalog.engines import EngineFeatures
from stoker.catalog.gpus import Gpu
from stoker.model.sizing import GIB, Adapter, Configuration
from stoker.planner import lora
from stoker.planner.ask import found_quantization
from stoker.planner.techniques import speculation
from stoker_worker.modelfacts import ModelFacts

KV_SPACE: Final = "VLLM_CPU_KVCACHE_SPACE"


def args_of(
    configuration: Configuration, facts: ModelFacts, gpu: Gpu, features: EngineFeatures
) -> dict[str, str]:
    """Flags without dashes; a switch has the value true or false. Sorted by name."""
    args = {
        "max-model-len": str(configuration.max_model_len),
        "max-num-seqs": str(configuration.max_num_seqs),
        "max-num-batched-tokens": str(configuration.max_num_batched_tokens),
        **_parallel(configuration),
        **_precision(configuration, facts, gpu, features),
        **_memory(configuration, gpu),
        **_execution(configuration, facts),
        **_speculation(configuration, gpu, features),
        **_adapters(configuration, facts),
    }
    return dict(sorted(args.items()))


def env_of(configuration: Configuration) -> dict[str, str]:
    """Variables of the engine. The compile cache has its folder from the pod, whatever the plan."""
    space = configuration.kv_space_gib
    if space is None or space != int(space):
        return {}
    return {KV_SPACE: str(int(space))}


def _parallel(configuration: Configuration) -> dict[str, str]:
    sizes = {
        "tensor-parallel-size": configuration.tensor,
        "pipeline-parallel-size": configuration.pipeline,
        "data-parallel-size": configuration.data,
    }
    args = {name: str(size) for name, size in sizes.items() if size > 1}
    if configuration.expert_parallel:
        args["enable-expert-parallel"] = "true"
    return args


def _precision(
    configuration: Configuration, facts: ModelFacts, gpu: Gpu, features: EngineFeatures
) -> dict[str, str]:
    args = {}
    if configuration.dtype != facts.dtype:
        args["dtype"] = configuration.dtype
    if configuration.quantization not in {"none", found_quantization(facts)}:
        support = features.made_at_load(configuration.quantization, gpu)
        args["quantization"] = support.value or configuration.quantization
    carried = facts.quantization is not None and facts.quantization.kv_dtype
    if configuration.kv_dtype != "auto":
        support = features.kv_dtype(configuration.kv_dtype, gpu).support
        args["kv-cache-dtype"] = support.value or configuration.kv_dtype
    elif carried:
        # The engine would follow the checkpoint.
        args["kv-cache-dtype"] = configuration.dtype
    return args


def _memory(configuration: Configuration, gpu: Gpu) -> dict[str, str]:
    args = {}
    # On a processor the size of the cache is given, and the share plays no part.
    if not gpu.shared_memory or configuration.kv_space_gib is None:
        args["gpu-memory-utilization"] = f"{configuration.gpu_memory_utilization:g}"
    if configuration.block_size != (128 if gpu.shared_memory else 16):
        args["block-size"] = str(configuration.block_size)
    space = configuration.kv_space_gib
    if space is not None and space != int(space):
        args["kv-cache-memory-bytes"] = str(int(space * GIB))
    if configuration.kv_offload_gib:
        args["kv-offloading-size"] = f"{configuration.kv_offload_gib:g}"
    if configuration.cpu_offload_gib:
        args["cpu-offload-gb"] = f"{configuration.cpu_offload_gib:g}"
    return args


def _execution(configuration: Configuration, facts: ModelFacts) -> dict[str, str]:
    args = {}
    # The engine's own defaults follow the task and the architecture; only a difference is written.
    generates = facts.task == "generate"
    for name, used in (
        ("enable-prefix-caching", configuration.prefix_caching),
        ("enable-chunked-prefill", configuration.chunked_prefill),
    ):
        if generates or used:
            args[name] = "true" if used else "false"
    if not configuration.compile:
        args["enforce-eager"] = "true"
    if configuration.attention_backend is not None:
        args["attention-backend"] = configuration.attention_backend
    if configuration.loader != "auto":
        args["load-format"] = configuration.loader
    return args


def _speculation(
    configuration: Configuration, gpu: Gpu, features: EngineFeatures
) -> dict[str, str]:
    if configuration.speculation == "none":
        return {}
    method = features.speculation(configuration.speculation, gpu).value
    config: dict[str, object] = {
        "method": method or configuration.speculation,
        "num_speculative_tokens": configuration.speculative_tokens,
    }
    if configuration.speculation == "ngram":
        config["prompt_lookup_min"], config["prompt_lookup_max"] = 2, 4
    if configuration.speculative_model is not None:
        config["model"] = configuration.speculative_model
    ranges = speculation.schedule(configuration)
    if ranges is not None:
        config["num_speculative_tokens_per_batch_size"] = ranges
    return {"speculative-config": json.dumps(config, separators=(",", ":"))}


def _adapters(configuration: Configuration, facts: ModelFacts) -> Mapping[str, str]:
    if not configuration.adapters:
        return {}
    rank = str(lora.room_rank(facts, configuration))
    return {**lora_args(configuration.adapters), "max-lora-rank": rank}


def lora_args(adapters: Sequence[Adapter]) -> dict[str, str]:
    """Flags that serve adapters, as far as they need no facts; the modules are several words."""
    if not adapters:
        return {}
    return {
        "enable-lora": "true",
        "lora-modules": " ".join(f"{each.name}={each.path}" for each in adapters),
        "max-loras": str(len(adapters)),
    }
