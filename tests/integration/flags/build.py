"""Build the engine's configuration from command lines, as a server would, and start nothing.

Runs on the engine's own Python, once for all cases, because the import is what takes time:

    PYTHONPATH=<engine's packages> python3.11 build.py order.json answers.json

The parser accepts what the configuration refuses, so both are asked. Where a case names a GPU,
the engine is told that it is on one: vLLM then takes its CUDA platform's own rules for types,
quantization and parallelism, which need a capability and a size and no device. Kernels are never
asked, so what only they know (does this attention backend have this head size) stays unknown here.
"""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any


class Library(types.ModuleType):
    """Stands for a library of compiled kernels: has every name, and none does anything."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


class Operators:
    """Kernels as torch knows them; one that is missing says yes when asked what it supports."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._real, name)
        except AttributeError:
            if "supports" in name:
                return lambda *_: True
            raise


here: dict[str, Any] = {}
"""The GPU of the case that is being built."""


def pretend() -> None:
    """Put a GPU where vLLM looks for one; must come before anything else of vLLM."""
    import torch  # type: ignore[import-not-found]  # noqa: PLC0415

    for name in ("vllm._C_stable_libtorch", "vllm.vllm_flash_attn"):
        sys.modules[name] = Library(name)
    torch.ops._C = Operators(torch.ops._C)
    import vllm.platforms as found  # type: ignore[import-not-found]  # noqa: PLC0415
    from vllm.platforms import cuda, interface  # noqa: PLC0415

    class Pretended(cuda.NonNvmlCudaPlatform):  # type: ignore[misc]
        """A node full of GPUs of one type."""

        @classmethod
        def get_device_capability(cls, *_: Any, **__: Any) -> Any:
            return interface.DeviceCapability(*here["capability"])

        @classmethod
        def get_device_name(cls, *_: Any, **__: Any) -> str:
            return str(here["name"])

        @classmethod
        def get_device_total_memory(cls, *_: Any, **__: Any) -> int:
            return int(here["memory"])

        @classmethod
        def device_count(cls) -> int:
            return 8

        @classmethod
        def is_fully_connected(cls, *_: Any, **__: Any) -> bool:
            return True

    found._current_platform = Pretended()  # where the platform is kept

    from vllm.model_executor.models import registry  # type: ignore[import-not-found]  # noqa: PLC0415

    # A process of its own would look at the model without the pretence.
    registry._run_in_subprocess = lambda look: look()


def build(parser: Any, arguments: Any, case: dict[str, Any]) -> dict[str, Any]:
    """Parse, build, and read back what a plan depends on."""
    os.environ.update(case["env"])
    here.update(case["gpu"] or {})
    try:
        parsed = parser.parse_args(case["words"])
        config = arguments.from_cli_args(parsed).create_engine_config()
    except SystemExit:  # the parser has said why
        return {"refused": "the parser refuses it"}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the engine's answer
        return {"refused": f"{type(error).__name__}: {error}"}
    finally:
        for name in case["env"]:
            del os.environ[name]
    return {"accepted": _read(config)}


def _read(config: Any) -> dict[str, Any]:
    cache, scheduler, parallel = (
        config.cache_config,
        config.scheduler_config,
        config.parallel_config,
    )
    speculative = config.speculative_config
    return {
        "max_model_len": config.model_config.max_model_len,
        "max_num_seqs": scheduler.max_num_seqs,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
        "block_size": cache.block_size,
        "gpu_memory_utilization": cache.gpu_memory_utilization,
        "kv_dtype": cache.cache_dtype,
        "kv_bytes": cache.kv_cache_memory_bytes,
        "kv_offload_gib": cache.kv_offloading_size or 0.0,
        "cpu_offload_gib": config.offload_config.uva.cpu_offload_gb,
        "prefix_caching": cache.enable_prefix_caching,
        "chunked_prefill": scheduler.enable_chunked_prefill,
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "quantization": config.model_config.quantization or "none",
        "compile": not config.model_config.enforce_eager,
        "tensor": parallel.tensor_parallel_size,
        "pipeline": parallel.pipeline_parallel_size,
        "data": parallel.data_parallel_size,
        "expert_parallel": parallel.enable_expert_parallel,
        "loader": config.load_config.load_format,
        "attention_backend": getattr(config.attention_config.backend, "name", None),
        "speculation": speculative.method if speculative else "none",
        "speculative_tokens": speculative.num_speculative_tokens if speculative else 0,
        "schedule": speculative and speculative.num_speculative_tokens_per_batch_size,
        "lora_rank": config.lora_config.max_lora_rank if config.lora_config else 0,
        "counted": _counted(config),
    }


def _counted(config: Any) -> dict[str, int]:
    """What a step of one prompt and one answer counts for, where operations are counted."""
    if not config.observability_config.enable_mfu_metrics:
        return {}
    from vllm.v1.metrics.perf import (  # type: ignore[import-not-found]  # noqa: PLC0415
        ExecutionContext,
        ModelMetrics,
    )

    step, metrics = ExecutionContext(), ModelMetrics(config)
    step.add(100, 100, is_prefill=True)
    step.add(1, 500, is_prefill=False)
    return {
        "operations": metrics.get_num_flops(step),
        "bytes": metrics.get_read_bytes(step) + metrics.get_write_bytes(step),
    }


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    here.update(order["cases"][0]["gpu"] or {})
    if here:
        pretend()
    import vllm  # noqa: PLC0415
    from vllm.engine.arg_utils import (  # type: ignore[import-not-found]  # noqa: PLC0415
        AsyncEngineArgs,
    )
    from vllm.utils.argparse_utils import (  # type: ignore[import-not-found]  # noqa: PLC0415
        FlexibleArgumentParser,
    )

    parser = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser())
    answers = {each["name"]: build(parser, AsyncEngineArgs, each) for each in order["cases"]}
    text = json.dumps({"version": vllm.__version__, "answers": answers})
    Path(sys.argv[2]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
