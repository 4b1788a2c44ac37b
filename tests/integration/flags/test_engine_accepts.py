"""What a plan says, taken by an engine's own configuration, and understood as it was meant.

Two engines are asked, each in one process and without a start: the installed one, on the CPU that
is here, and the source of the production one, told that it is on a GPU. Both parse the command line
and build the configuration, which refuses much that the parser accepts. What was understood is read
back, because a flag that is accepted and changed is as bad as one that is refused.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from e2e.cluster.settings import REPOSITORY
from e2e.engine import VLLM_VERSION, ensure_production_source, production_version
from stoker.catalog.load import builtin_gpus
from stoker.model.sizing import GIB
from stoker.planner.techniques import speculation
from tests.integration.flags.cases import DRAFT, Case, cases_of
from tests.integration.flags.engines import Answers, Checkpoints, Question, ask

pytestmark = pytest.mark.timeout(2400)  # the first one builds what is missing

# One of each generation that vLLM's CUDA platform tells apart.
GPUS = ("nvidia-t4", "nvidia-a100-80gb", "nvidia-l4", "nvidia-h100-80gb", "nvidia-b200")
# The tiny model has no draft layers, and there is no EAGLE head for it. The words themselves are
# compared in test_production.py.
WITHOUT_DRAFTS = ("speculation mtp", "speculation eagle")
# They look right, and neither parser nor configuration takes them: an engine that took these would
# prove nothing about the others.
REFUSED = {
    "a KV type of other engines": {"kv-cache-dtype": "int8"},
    "a method that left the core": {"quantization": "bitsandbytes"},
    "a key that is gone": {
        "speculative-config": '{"method":"ngram","num_speculative_tokens":4,'
        '"prompt_lookup_max":4,"disable_by_batch_size":4}'
    },
    "an attention backend that never was": {"attention-backend": "FLASH"},
    "more context than the model has": {"max-model-len": "99999"},
    "fewer tokens than requests": {"max-num-seqs": "1024", "max-num-batched-tokens": "512"},
    "a context that no step holds": {
        "enable-chunked-prefill": "false",
        "max-num-batched-tokens": "512",
    },
    "experts of a dense model": {"enable-expert-parallel": "true"},
}
SPARSE = "a word about sparsity"
# Of each way in which layers are counted: dense, experts, latent attention, windows, state space.
COUNTED = (
    "qwen2.5-7b", "mixtral-8x7b", "deepseek-v2-lite", "gemma-2-9b", "jamba-v0.1", "gpt-oss-20b",
    "bge-large-en",
)  # fmt: skip
# What the chart tells every engine.
_VALUES = yaml.safe_load((REPOSITORY / "charts/stoker/values.yaml").read_text(encoding="utf-8"))
DEFAULTS = _VALUES["engines"]["vllm"]["args"]

CPU_CASES = {case.name: case for case in cases_of(builtin_gpus()["cpu"], VLLM_VERSION)
             if not case.name.startswith(WITHOUT_DRAFTS)}  # fmt: skip
GPU_CASES = {f"{gpu}: {case.name}": case for gpu in GPUS
             for case in cases_of(builtin_gpus()[gpu], production_version())
             if not case.name.startswith(WITHOUT_DRAFTS)}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    return Checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, checkpoints: Checkpoints) -> Answers:
    asked = [_question(name, case, checkpoints) for name, case in CPU_CASES.items()]
    asked += [Question(name, checkpoints.plain, args) for name, args in REFUSED.items()]
    asked.append(Question(SPARSE, checkpoints.sparse, {}))
    asked.append(Question("as the chart has it", checkpoints.plain, DEFAULTS))
    return ask(tmp_path_factory.mktemp("installed"), asked)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, checkpoints: Checkpoints) -> Answers:
    asked = [_question(name, case, checkpoints) for name, case in GPU_CASES.items()]
    gpu = builtin_gpus()["nvidia-h100-80gb"]
    asked += [Question(name, checkpoints.plain, args, gpu=gpu) for name, args in REFUSED.items()]
    asked.append(Question(SPARSE, checkpoints.sparse, {}, gpu=gpu))
    counting = {**DEFAULTS, "max-model-len": "512"}
    asked += [Question(name, checkpoints.family(name), counting, gpu=gpu) for name in COUNTED]
    return ask(tmp_path_factory.mktemp("production"), asked, ensure_production_source())


def _question(name: str, case: Case, checkpoints: Checkpoints) -> Question:
    model = checkpoints.plain
    if case.facts.experts:
        model = checkpoints.mixture
    elif case.facts.quantization is not None:
        model = checkpoints.kv_scheme
    drafts = str(checkpoints.plain)
    args = {flag: value.replace(DRAFT, drafts) for flag, value in case.args.items()}
    return Question(name, model, args, case.env, None if case.gpu.name == "cpu" else case.gpu)


def test_the_installed_engine_takes_plans_for_a_processor(installed: Answers) -> None:
    assert installed.version.startswith(VLLM_VERSION)
    assert installed.refused(CPU_CASES) == {}
    assert _misunderstood(installed, CPU_CASES) == {}


@pytest.mark.parametrize("gpu", GPUS)
def test_the_production_engine_takes_plans_for_a_gpu(production: Answers, gpu: str) -> None:
    cases = {name: case for name, case in GPU_CASES.items() if case.gpu.name == gpu}
    assert len(cases) > 15
    assert production.refused(cases) == {}
    assert _misunderstood(production, cases) == {}


@pytest.mark.parametrize("name", [*REFUSED, SPARSE])
def test_what_neither_takes(installed: Answers, production: Answers, name: str) -> None:
    """The planner never says it, or refuses it with the same reason."""
    assert installed.refused([name])
    assert production.refused([name])


def test_operations_are_counted_of_all_kinds_of_models(
    installed: Answers, production: Answers
) -> None:
    """What the chart asks of every engine keeps no model from being served."""
    for answers, names in ((installed, ["as the chart has it"]), (production, COUNTED)):
        assert answers.refused(names) == {}
        for name in names:
            counted = answers.understood(name)["counted"]
            assert counted["operations"] > 0, name
            assert counted["bytes"] > 0, name
    assert not production.understood(next(iter(GPU_CASES)))["counted"]


def _misunderstood(answers: Answers, cases: dict[str, Case]) -> dict[str, dict[str, Any]]:
    """What is otherwise in the built configuration: (meant, understood)."""
    wrong = {}
    for name, case in cases.items():
        found = answers.understood(name)
        other = {key: (value, found[key]) for key, value in _meant(case).items()
                 if found[key] != value}  # fmt: skip
        if other:
            wrong[name] = other
    return wrong


def _meant(case: Case) -> dict[str, Any]:
    args, wanted = case.args, case.configuration
    same = (
        "max_model_len", "max_num_seqs", "max_num_batched_tokens", "block_size", "kv_offload_gib",
        "cpu_offload_gib", "dtype", "compile", "tensor", "pipeline", "data", "expert_parallel",
        "loader", "attention_backend", "speculative_tokens",
    )  # fmt: skip
    meant: dict[str, Any] = {name: getattr(wanted, name) for name in same}
    if case.facts.task == "generate":
        # What an embedder does is left to the engine, and this model is none.
        meant |= {
            "prefix_caching": wanted.prefix_caching,
            "chunked_prefill": wanted.chunked_prefill,
        }
    if wanted.kv_space_gib is None:
        meant["gpu_memory_utilization"] = wanted.gpu_memory_utilization
    else:
        meant["kv_bytes"] = int(wanted.kv_space_gib * GIB)
    checkpoint = "compressed-tensors" if case.facts.quantization is not None else "none"
    meant["quantization"] = args.get("quantization", checkpoint)
    meant["kv_dtype"] = args.get("kv-cache-dtype", "auto")
    speculative = json.loads(args.get("speculative-config", "{}"))
    meant["speculation"] = speculative.get("method", "none")
    meant["schedule"] = speculation.schedule(wanted)
    meant["lora_rank"] = int(args.get("max-lora-rank", 0))
    return meant
