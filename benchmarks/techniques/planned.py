"""What the planner says about the same model and the same change, for the column beside.

The catalogue's `cpu` is a server with sixteen cores, so times are compared as ratios; memory and
tokens are what they are.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from benchmarks.techniques.servers import BASE, KV_GIB
from e2e.engine import VLLM_VERSION
from stoker.catalog.load import builtin_engines, builtin_gpus
from stoker.model.sizing import Configuration, Request, Workload
from stoker.planner.ask import Ask, found_quantization
from stoker.planner.estimate import Estimator, estimator_of
from stoker_worker.inspect import inspect_model

if TYPE_CHECKING:
    from pathlib import Path

    from stoker.model.sizing import Expected, Memory

GPU = builtin_gpus()["cpu"]


@cache
def estimator(folder: Path, prompt: int = 128, answer: int = 128) -> Estimator:
    """The planner's two models for a checkpoint and requests of these lengths."""
    features = builtin_engines()["vllm"].at(VLLM_VERSION)
    ask = Ask(Request(engine_version=VLLM_VERSION), inspect_model(folder), features)
    return estimator_of(ask, GPU, Workload(prompt, answer), VLLM_VERSION)


def stored(folder: Path) -> str:
    """How the checkpoint's weights are stored, in the planner's words."""
    return found_quantization(inspect_model(folder))


def configuration(**changes: Any) -> Configuration:
    """What the servers run, with changes."""
    given: dict[str, Any] = {
        "accelerator": GPU.name,
        "max_model_len": int(BASE["max-model-len"]),
        "max_num_seqs": int(BASE["max-num-seqs"]),
        "max_num_batched_tokens": int(BASE["max-num-batched-tokens"]),
        "block_size": 128,
        "kv_space_gib": float(KV_GIB),
        "compile": False,
    }
    return Configuration(**given | changes)


def memory(folder: Path, **changes: Any) -> Memory:
    """Where the memory goes."""
    return estimator(folder).memory(configuration(**changes))


def expected(folder: Path, at_once: int, prompt: int = 128, **changes: Any) -> Expected:
    """How fast, with so many requests at once."""
    return estimator(folder, prompt).expected(configuration(**changes), at_once)
