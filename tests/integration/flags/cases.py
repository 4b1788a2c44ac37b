"""Every word that a plan can put on the engine's command line, once or more on each type.

Nothing is listed by hand that the catalogue of engines knows: what it calls usable on a type of
accelerator is planned there, one feature after the other, so a new entry is a new case.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stoker.catalog.load import builtin_engines, builtin_gpus
from stoker.model.sizing import Adapter, Configuration
from stoker.planner import flags
from stoker_worker.modelfacts import Quantization
from tests.support.tiny import TINY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stoker.catalog.engines import EngineFeatures
    from stoker.catalog.gpus import Gpu
    from stoker_worker.modelfacts import ModelFacts

# Where a plan names the draft's folder.
DRAFT = "/models/draft"
ADAPTERS = "/models/adapters"
# Packages that an image may bring for words that the engine has by itself. bitsandbytes is no such
# word: the engine learns it from the plugin.
PACKAGES = ("runai-model-streamer", "fastsafetensors", "instanttensor")

MIXTURE = replace(TINY, architecture="MixtralForCausalLM", model_type="mixtral", experts=8,
                  experts_active=2, expert_parameters=1_000_000)  # fmt: skip

Change = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One configuration, and for what."""

    name: str
    configuration: Configuration
    gpu: Gpu
    features: EngineFeatures
    facts: ModelFacts = TINY

    @property
    def args(self) -> dict[str, str]:
        """What the plan says to the engine."""
        return flags.args_of(self.configuration, self.facts, self.gpu, self.features)

    @property
    def env(self) -> dict[str, str]:
        """What the plan puts into the engine's environment."""
        return flags.env_of(self.configuration)


def all_cases(version: str) -> list[Case]:
    """Every case of every type of accelerator, for one version of vLLM."""
    return [case for gpu in builtin_gpus().values() for case in cases_of(gpu, version)]


def cases_of(gpu: Gpu, version: str) -> Iterator[Case]:
    """The cases of one type of accelerator; none where the engine does not run on it."""
    features = builtin_engines()["vllm"].at(version, PACKAGES)
    if not features.runs_on(gpu).usable:
        return
    dtype = "bfloat16" if features.dtype("bfloat16", gpu).usable else "float16"
    block = 128 if gpu.shared_memory else 16
    plain = Configuration(accelerator=gpu.name, dtype=dtype, block_size=block)
    yield Case("plain", plain, gpu, features)
    changes = [*_precision(gpu, features), *_execution(gpu, features), *_parallel(gpu, features)]
    for name, change in changes:
        yield Case(name, replace(plain, **change), gpu, features)
    adapters = tuple(Adapter(name, name, f"{ADAPTERS}/{name}") for name in "ab")
    found = replace(TINY, adapters=(("a", 12, 1), ("b", 8, 1), ("c", 64, 1)))
    yield Case("adapters", replace(plain, adapters=adapters), gpu, features, found)
    carried = Quantization("compressed-tensors", 8, kv_dtype="fp8", floating=True)
    yield Case("checkpoint's KV type is not followed", replace(plain, quantization="fp8"), gpu,
               features, replace(TINY, quantization=carried))  # fmt: skip
    yield Case("embedder", plain, gpu, features, replace(TINY, task="embed"))
    if features.parallelism("expert", gpu).usable:
        yield Case(
            "experts", replace(plain, tensor=2, expert_parallel=True), gpu, features, MIXTURE
        )


def _precision(gpu: Gpu, features: EngineFeatures) -> Iterator[Change]:
    for name in features.dtypes:
        if features.dtype(name, gpu).usable:
            yield f"computed in {name}", {"dtype": name}
    for name in features.loadtime:
        if features.made_at_load(name, gpu).usable:
            yield f"weights {name}", {"quantization": name}
    for name in features.kv:
        if features.kv_dtype(name, gpu).usable:
            yield f"KV {name}", {"kv_dtype": name}


def _execution(gpu: Gpu, features: EngineFeatures) -> Iterator[Change]:
    for method in features.speculations:
        if features.speculation(method, gpu).usable:
            model = DRAFT if method in {"draft", "eagle"} else None
            drafted: dict[str, Any] = {
                "speculation": method,
                "speculative_tokens": 4,
                "speculative_model": model,
            }
            yield f"speculation {method}", drafted
            yield f"speculation {method} at low load", drafted | {"speculative_until": 4}
    for name in features.loaders:
        if features.loader(name, gpu).usable:
            yield f"loader {name}", {"loader": name}
    for name in features.attention:
        if features.attention_backend(name, gpu).usable:
            yield f"attention {name}", {"attention_backend": name}
    yield "no prefix caching", {"prefix_caching": False}
    yield "no chunks", {"chunked_prefill": False, "max_num_batched_tokens": 4096}
    yield "no compiling", {"compile": False}
    yield "numbers", {
        "max_model_len": 2048, "max_num_seqs": 7, "max_num_batched_tokens": 512,
        "block_size": 64, "gpu_memory_utilization": 0.85,
    }  # fmt: skip
    if features.technique("kvOffload", gpu).usable:
        yield "KV offload", {"kv_offload_gib": 2.5}
    if features.technique("cpuOffload", gpu).usable:
        yield "weights offload", {"cpu_offload_gib": 1.5}
    if gpu.shared_memory:
        yield "whole KV space", {"kv_space_gib": 2.0}
        yield "fraction of KV space", {"kv_space_gib": 0.5}


def _parallel(gpu: Gpu, features: EngineFeatures) -> Iterator[Change]:
    for name in ("tensor", "pipeline", "data"):
        if features.parallelism(name, gpu).usable:
            yield f"{name} parallel", {name: 2}
